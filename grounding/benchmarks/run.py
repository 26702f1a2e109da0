"""A benchmark from beginning to end, picture by picture, so that an interruption costs one picture at most."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import pandas as pd
from tqdm import tqdm

from grounding.benchmarks.measurer import Job, Measurer, Outcome, settings_of
from grounding.benchmarks.methods import costs
from grounding.benchmarks.statistics import RESAMPLES, SEED, intervals
from grounding.distributed import from_rank_0, in_order, world
from grounding.errors import GroundingError
from grounding.evaluation.runs.scoring import versions
from grounding.resumable import LINES_FILES, difference, resumable_lines
from grounding.tagging.classifier import TagClassifier
from grounding.wording import counted

METRICS, ROWS, REPORT, FIGURE = "metrics.json", "rows.jsonl", "report.html", "figure.png"
FILES: Final = (METRICS, ROWS, REPORT, FIGURE)
METRICS_VERSION: Final = 1


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """A benchmark with its pictures, for pages and figures.

    Attributes:
        metrics: what metrics.json says.
        table: a row for each class in a picture and method: `image` and `class` as places in the data set, `method`,
            `predicted`, and what the task measures.
    """

    metrics: Mapping[str, Any]
    table: pd.DataFrame
    measurer: Measurer


Draw = Callable[[Finished, Path], None]  # writes pictures and pages of a finished benchmark into its folder


def run_benchmark(
    job: Job,
    output: Path,
    draw: Draw,
    note: Callable[[str], None],
    name: str | None = None,
    workers: int = 1,
    overwrite: bool = False,
    classifier: TagClassifier | None = None,
) -> dict[str, Any] | None:
    """Measure every picture, and write the folder; or read the metrics of the same run, finished earlier.

    Args:
        output: its folder.
        note: called with each message for the user.
        name: what the classifier is called; by default its own name.
        workers: processes; with more than one, and under torchrun, the classifier must be one that its source loads.
        classifier: the job's, where it is loaded already.

    Returns:
        What metrics.json says; None in a rank above 0 of torchrun.

    Raises:
        GroundingError: the folder is another run's; no picture can be read; or as `Measurer`.
    """
    if world()[0] > 0:
        todo: tuple[str, ...] = from_rank_0(())
        for _ in in_order(partial(Measurer, job), todo):
            pass
        return None
    measurer = Measurer(job, classifier)
    settings = settings_of(job, measurer.classifier) | {"versions": versions(), "annotations": _fingerprint(measurer)}
    if not overwrite and (metrics := _finished(output, settings)) is not None:
        note(f"{output} holds this run already, finished: nothing to do")
        return metrics
    _tell(measurer, note)
    prepare = partial(Measurer, job, measurer.classifier if workers == 1 else None)
    with resumable_lines(output, settings, overwrite, FILES, job.source.open().sources, keep=False) as file:
        done = {record["image"] for record in map(json.loads, file.done) if "error" not in record}
        todo = tuple(image for image in measurer.images if image not in done)
        from_rank_0(todo)
        if todo and len(todo) < len(measurer.images):
            note(f"going on: {len(done):,} of {counted(len(measurer.images), 'picture')} are measured")
        progress = tqdm(
            in_order(prepare, todo, workers), total=len(measurer.images), initial=len(done), unit=" pictures"
        )
        for outcome in progress:
            file.write(_to_line(outcome))
        records = {record["image"]: record for record in map(json.loads, file.read())}
        ordered = [records[image] for image in measurer.images]
        table = _table(ordered, measurer)
        metrics = _metrics(name or measurer.classifier.name, measurer, settings, ordered, table)
        lines = (json.dumps(record) + "\n" for record in ordered)
        (file.folder / ROWS).write_text("".join(lines), encoding="utf-8")
        (file.folder / METRICS).write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
        draw(Finished(metrics, table, measurer), file.folder)
    return metrics


def _tell(measurer: Measurer, note: Callable[[str], None]) -> None:
    """What the user should know before it starts."""
    data = measurer.data
    for reason, count in {**data.left_out, **measurer.left_out}.items():
        note(f"left out: {count:,} {reason}")
    present = {region.name for image in measurer.images.values() for region in image.regions}
    without = [name for name in present if not measurer.signals[name].weights]
    if without:
        note(
            f"{counted(len(without), 'class has', 'classes have')} no tag in {measurer.classifier.name}: "
            f"{', '.join(sorted(without))}; --classes FILE says which tags stand for them"
        )


def _fingerprint(measurer: Measurer) -> str:
    marks = [
        (image.id, image.width, image.height, [(region.name, region.boxes.tolist()) for region in image.regions])
        for image in measurer.images.values()
    ]
    return hashlib.sha256(json.dumps(marks).encode()).hexdigest()


def _finished(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    if not (folder / METRICS).is_file():
        return None
    metrics = read_metrics(folder)
    if changed := difference(json.loads(json.dumps(settings)), metrics["settings"]):
        raise GroundingError(
            f"{folder} holds a finished run with another {changed}: choose another output or add --overwrite"
        )
    for name in LINES_FILES:  # left by a run that was killed while it tidied up
        (folder / name).unlink(missing_ok=True)
    return metrics


def read_metrics(folder: Path) -> dict[str, Any]:
    """The metrics.json of a finished benchmark.

    Raises:
        GroundingError: there is none, or it is another program's or a later version's.
    """
    path, expected = folder / METRICS, "expected the --output of a finished benchmark"
    try:
        metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise GroundingError(f"{path} cannot be read ({error.strerror}): {expected}") from error
    except ValueError as error:
        raise GroundingError(f"{path} is not JSON ({error}): {expected}") from error
    if not isinstance(metrics, dict) or metrics.get("benchmark_version") != METRICS_VERSION:
        raise GroundingError(f"{path} is not a benchmark of version {METRICS_VERSION}: {expected}")
    return metrics


def _to_line(outcome: Outcome) -> str:
    if outcome.error is not None:
        return json.dumps({"image": outcome.image, "error": outcome.error})
    return json.dumps({key: value for key, value in dataclasses.asdict(outcome).items() if key != "error"})


def _table(records: Sequence[Mapping[str, Any]], measurer: Measurer) -> pd.DataFrame:
    classes = {name: place for place, name in enumerate(measurer.data.classes)}
    rows = [
        {"image": place, "class": classes[name], "method": method, "predicted": classes.get(record["predicted"]), **row}
        for place, record in enumerate(records)
        for name, methods in record.get("rows", {}).items()
        for method, row in methods.items()
    ]
    if not rows:
        failed = next((record["error"] for record in records if "error" in record), "")
        raise GroundingError(
            f"nothing was measured on {counted(len(records), 'picture')}"
            + (f", such as: {failed}" if failed else ": none shows a class with a tag")
        )
    return pd.DataFrame(rows)


def _metrics(
    name: str,
    measurer: Measurer,
    settings: Mapping[str, Any],
    records: Sequence[Mapping[str, Any]],
    table: pd.DataFrame,
) -> dict[str, Any]:
    data, images, classes = measurer.data, len(records), len(measurer.data.classes)
    failed = {record["image"]: record["error"] for record in records if "error" in record}
    untagged, task = _untagged(measurer, records), measurer.task
    groups = {str(method): rows for method, rows in table.groupby("method", sort=False)}
    scores = {method: task.scores(rows, images, classes) for method, rows in groups.items()}
    numbers, differences = intervals(scores, images)
    missed: dict[str, Any] = {}
    if not untagged.empty:
        everything = {method: pd.concat([rows, untagged], ignore_index=True) for method, rows in groups.items()}
        missed, _ = intervals({m: task.scores(rows, images, classes) for m, rows in everything.items()}, images)
    first = table[table["method"] == next(iter(scores))]
    right = (first["predicted"] == first["class"]).groupby(first["image"]).max()
    passes = costs(measurer.job.makers, measurer.classifier, measurer.job.config)
    return {
        "benchmark_version": METRICS_VERSION,
        "task": task.name,
        "name": name,
        "dataset": {
            "name": data.name,
            "images": images,
            "limit": measurer.job.source.limit,
            "rows": len(first),
            "rows_without_tag": len(untagged),
            "left_out": dict(data.left_out) | dict(measurer.left_out),
            "failed": failed,
        },
        "classes": {
            signal.name: {
                "tags": dict(signal.weights),
                "reason": signal.reason,
                "images": sum(signal.name in record.get("rows", {}) for record in records),
            }
            for signal in measurer.signals.values()
        },
        "classifier_top_1": round(100 * float(right.mean()), 6),
        "methods": numbers,
        "untagged_as_misses": missed,
        "differences": {"of": next(iter(scores)), "less": differences},
        "by_class": _by_class(measurer, table),
        "costs": {
            maker.name: {"one_class": round(passes[maker.name][0], 3), "further_class": round(passes[maker.name][1], 3)}
            for maker in measurer.job.makers
        },
        "bootstrap": {"resamples": RESAMPLES, "seed": SEED, "cluster": "image"},
        "settings": dict(settings),
        "versions": versions(),
    }


def _untagged(measurer: Measurer, records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The classes in pictures that were not asked for because no tag stands for them, each a miss."""
    classes = {name: place for place, name in enumerate(measurer.data.classes)}
    rows = [
        {"image": place, "class": classes[region.name], **missed}
        for place, (image, record) in enumerate(zip(measurer.images.values(), records, strict=True))
        if "error" not in record
        for region in image.regions
        if not measurer.signals[region.name].weights and (missed := measurer.task.miss(image, region)) is not None
    ]
    return pd.DataFrame(rows)


def _by_class(measurer: Measurer, table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Class -> method -> mean of `Task.hits`, in percent where it is a share."""
    scale = 1.0 if measurer.task.name == "agreement" else 100.0
    found: dict[str, dict[str, float]] = {}
    for method, rows in table.groupby("method", sort=False):
        means = pd.Series(measurer.task.hits(rows), rows.index).groupby(rows["class"]).mean()
        for place, value in zip(means.index.tolist(), means.tolist(), strict=True):
            found.setdefault(measurer.data.classes[place], {})[str(method)] = round(scale * value, 6)
    return found
