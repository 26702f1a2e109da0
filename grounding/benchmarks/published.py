"""Numbers that others report on the same data sets, each with its network and its source, and whether they compare."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any, Final

import yaml

from grounding.datasets.marks import NO_OBJECT
from grounding.wording import counted

# Pictures of each whole split, with and without an object that counts.
PICTURES: Final = {"VOC07 test": 4952, "COCO val2014": 40_504, "ImageNet val": 50_000, "CUB test": 5794}


@cache
def _all() -> list[dict[str, Any]]:
    text = resources.files("grounding.benchmarks").joinpath("published.yaml").read_text("utf-8")
    rows: list[dict[str, Any]] = yaml.safe_load(text)
    return rows


def published(dataset: str, task: str) -> list[dict[str, Any]]:
    """The rows of a data set and a task."""
    return [row for row in _all() if (row["dataset"], row["task"]) == (dataset, task)]


def apart(row: Mapping[str, Any], dataset: Mapping[str, Any]) -> str:
    """Why a published number does not stand beside a run's: they are not of the same pictures; empty where they are.

    Args:
        row: of `published`.
        dataset: of the run's metrics.json.
    """
    pictures = dataset["images"] + dataset["left_out"].get(NO_OBJECT, 0)
    whole = row["split"] == dataset["name"] and pictures == PICTURES[row["split"]]
    if whole and not (dataset["failed"] or dataset["rows_without_tag"]):
        return ""
    here = f"{dataset['name']}, {counted(dataset['images'], 'picture')}"
    here += ", those that can be read" if dataset["failed"] else ""
    here += ", classes with a tag" if dataset["rows_without_tag"] else ""
    return f"published on the full {row['split']} split of {PICTURES[row['split']]:,} pictures; this run: {here}"


def reasons(rows: Sequence[Mapping[str, Any]], dataset: Mapping[str, Any]) -> list[str]:
    """`apart` of several numbers, each reason once."""
    return list(dict.fromkeys(filter(None, (apart(row, dataset) for row in rows))))


def published_line(metrics: Mapping[str, Any]) -> str:
    """For a terminal: how many published numbers stand in the report, and whether they compare; empty without any."""
    rows = published(metrics["settings"]["dataset"], metrics["task"])
    why = reasons(rows, metrics["dataset"])
    number = counted(len(rows), "published number")
    return f"{number} in the report{', not comparable: ' if why else ''}{'; '.join(why)}\n" if rows else ""
