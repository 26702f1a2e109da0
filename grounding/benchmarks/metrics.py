"""Everything that metrics.json says of a benchmark, from the lines of its pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from grounding.benchmarks.measurer import Measurer
from grounding.benchmarks.methods import costs
from grounding.benchmarks.statistics import RESAMPLES, SEED, intervals
from grounding.benchmarks.tasks import with_ceiling
from grounding.errors import GroundingError
from grounding.evaluation.runs.folder import read_json
from grounding.evaluation.runs.scoring import versions
from grounding.wording import counted

METRICS: Final = "metrics.json"
METRICS_VERSION: Final = 1
Record = Mapping[str, Any]  # a line of a picture: `image`, and `error` or `sha256`, `predicted` and `rows`


def to_table(records: Sequence[Record], classes: Sequence[str]) -> pd.DataFrame:
    """A row for each class in a picture and method.

    Args:
        records: of all pictures, in order.
        classes: of the data set, in order.

    Returns:
        `image`, `class` and `predicted` as places in these orders, `method`, and what the task measures; of agreement
        also the ceiling (`with_ceiling`).

    Raises:
        GroundingError: nothing was measured.
    """
    places = {name: place for place, name in enumerate(classes)}
    rows = [
        {"image": place, "class": places[name], "method": method, "predicted": places.get(record["predicted"]), **row}
        for place, record in enumerate(records)
        for name, methods in record.get("rows", {}).items()
        for method, row in methods.items()
    ]
    if not rows:
        failed = next((f", such as: {record['error']}" for record in records if "error" in record), "")
        raise GroundingError(
            f"nothing was measured on {counted(len(records), 'picture')}{failed or ': none shows a class with a tag'}"
        )
    return with_ceiling(pd.DataFrame(rows))


def summarize(
    name: str,
    measurer: Measurer,
    settings: Mapping[str, Any],
    records: Sequence[Record],
    table: pd.DataFrame,
) -> dict[str, Any]:
    """Plain values, the same for the same input.

    Args:
        name: what the classifier is called.
        records: of all pictures, in order.
        table: that `to_table` makes of them.
    """
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


def _untagged(measurer: Measurer, records: Sequence[Record]) -> pd.DataFrame:
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
        means = means.dropna()  # nothing is measured where one viewer is to agree with himself
        for place, value in zip(means.index.tolist(), means.tolist(), strict=True):
            found.setdefault(measurer.data.classes[place], {})[str(method)] = round(scale * value, 6)
    return found


def read_metrics(folder: Path) -> dict[str, Any]:
    """The metrics.json of a finished benchmark.

    Raises:
        GroundingError: there is none, or it is another program's or a later version's.
    """
    path, expected = folder / METRICS, "expected the --output of a finished benchmark"
    metrics: dict[str, Any] = read_json(path, expected)
    if not isinstance(metrics, dict) or metrics.get("benchmark_version") != METRICS_VERSION:
        raise GroundingError(f"{path} is not a benchmark of version {METRICS_VERSION}: {expected}")
    return metrics
