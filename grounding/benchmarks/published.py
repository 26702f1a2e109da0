"""Numbers that others report on the same data sets, each with its network and its source."""

from functools import cache
from importlib import resources
from typing import Any

import yaml


@cache
def _all() -> list[dict[str, Any]]:
    text = resources.files("grounding.benchmarks").joinpath("published.yaml").read_text("utf-8")
    rows: list[dict[str, Any]] = yaml.safe_load(text)
    return rows


def published(dataset: str, task: str) -> list[dict[str, Any]]:
    """The rows of a data set and a task."""
    return [row for row in _all() if (row["dataset"], row["task"]) == (dataset, task)]
