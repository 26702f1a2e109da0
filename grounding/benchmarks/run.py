"""A benchmark from beginning to end, picture by picture, so that an interruption costs one picture at most."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import cv2
import pandas as pd
from tqdm import tqdm

from grounding.benchmarks.measurer import Job, Measurer, Outcome, settings_of
from grounding.benchmarks.metrics import METRICS, Record, read_metrics, summarize, to_table
from grounding.datasets.labelled import ClassRegion
from grounding.distributed import from_rank_0, in_order, world
from grounding.errors import GroundingError
from grounding.evaluation.runs.scoring import versions
from grounding.resumable import check_finished, resumable_lines
from grounding.tagging.classifier import TagClassifier
from grounding.wording import counted

ROWS, REPORT, FIGURE = "rows.jsonl", "report.html", "figure.png"
FILES: Final = (METRICS, ROWS, REPORT, FIGURE)


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
        GroundingError: the folder is another run's; a picture is not the one that an earlier part of this run saw; no
            picture can be read; or as `Measurer`.
    """
    if world()[1] > 1:
        cv2.setNumThreads(1)  # threads of OpenCV abort a rank that ends before the others, now and then
    if world()[0] > 0:
        todo: tuple[str, ...] = from_rank_0(())
        for _ in in_order(partial(Measurer, job), todo):
            pass
        return None
    measurer = Measurer(job, classifier)
    settings = settings_of(job, measurer.classifier) | {"versions": versions(), "annotations": _fingerprint(measurer)}
    if not overwrite and (metrics := _finished(output, settings, measurer)) is not None:
        from_rank_0(())  # tells the other ranks that nothing is left to do
        note(f"{output} holds this run already, finished: nothing to do")
        _tell_failed(metrics, note)
        return metrics
    _tell(measurer, note)
    prepare: Callable[[], Measurer] = (lambda: measurer) if workers == 1 else partial(Measurer, job)
    with resumable_lines(output, settings, overwrite, FILES, measurer.data.sources, keep=False) as file:
        done = _seen(map(json.loads, file.done))
        _check_pictures(done, measurer, f"the interrupted run in {file.folder}: remove that")
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
        table = to_table(ordered, measurer.data.classes)
        metrics = summarize(name or measurer.classifier.name, measurer, settings, ordered, table)
        lines = (json.dumps(record) + "\n" for record in ordered)
        (file.folder / ROWS).write_text("".join(lines), encoding="utf-8")
        (file.folder / METRICS).write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
        draw(Finished(metrics, table, measurer), file.folder)
    _tell_failed(metrics, note)
    return metrics


def read_rows(folder: Path) -> list[Record]:
    """The line of each picture of a finished benchmark.

    Raises:
        GroundingError: there are none, or they are damaged.
    """
    path = folder / ROWS
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise GroundingError(
            f"{path} cannot be read ({error}): expected the --output of a finished benchmark"
        ) from error


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


def _tell_failed(metrics: Mapping[str, Any], note: Callable[[str], None]) -> None:
    for error in metrics["dataset"]["failed"].values():
        note(f"not counted: {error}")


def _fingerprint(measurer: Measurer) -> str:
    """Of boxes and fixations; of masks only whether they are there, for reading them all takes long."""
    marks: list[Any] = [
        (image.id, image.width, image.height, [_mark(region) for region in image.regions])
        for image in measurer.images.values()
    ]
    marks += [(image, [viewer.tolist() for viewer in viewers]) for image, viewers in measurer.fixations.items()]
    return hashlib.sha256(json.dumps(marks).encode()).hexdigest()


def _mark(region: ClassRegion) -> tuple[Any, ...]:
    return region.name, region.boxes.tolist(), *(() if region.mask is None else ("mask",))


def _seen(records: Iterable[Record]) -> dict[str, str]:
    """The pictures that were read -> their SHA-256."""
    return {record["image"]: record["sha256"] for record in records if "error" not in record}


def _check_pictures(seen: Mapping[str, str], measurer: Measurer, run: str) -> None:
    """Raise a `GroundingError` where a picture is not the one that an earlier part of the run saw."""
    for image, wanted in seen.items():
        if hashlib.sha256(measurer.data.read(image)).hexdigest() != wanted:
            raise GroundingError(f"picture {image} has changed since {run} or add --overwrite")


def _finished(folder: Path, settings: Mapping[str, Any], measurer: Measurer) -> dict[str, Any] | None:
    if not (folder / METRICS).is_file():
        return None
    metrics = read_metrics(folder)
    check_finished(folder, settings, metrics["settings"])
    _check_pictures(_seen(read_rows(folder)), measurer, f"the finished run in {folder}: choose another output")
    return metrics


def _to_line(outcome: Outcome) -> str:
    if outcome.error is not None:
        return json.dumps({"image": outcome.image, "error": outcome.error})
    return json.dumps({key: value for key, value in dataclasses.asdict(outcome).items() if key != "error"})
