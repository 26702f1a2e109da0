"""Numbers that others report, and which of them may stand beside a run's: those of the same whole split."""

from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from typing import Any, Final

import yaml

from grounding.evaluation.report.charts import describe
from grounding.evaluation.report.terminal import text_table
from grounding.wording import counted

SPLITS: Final = {"val": (1000, 14_433), "test": (1000, 14_481)}  # images, and phrases with a box, behind every number
_SHOWN: Final = ("method", "training", "nearest", "value")


@cache
def published() -> dict[str, list[dict[str, Any]]]:
    """Numbers that others report, by what their methods learnt from: the content of published.yaml."""
    text = resources.files("grounding.evaluation.report").joinpath("published.yaml").read_text("utf-8")
    content: dict[str, list[dict[str, Any]]] = yaml.safe_load(text)
    return content


def same_split(row: Mapping[str, Any], dataset: Mapping[str, Any]) -> bool:
    """Whether a run is about all that a published number is about.

    Args:
        row: of `published`.
        dataset: of the run's metrics.json.
    """
    known = SPLITS.get(row["split"])
    return row["split"] == dataset["split"] and known == (dataset["images_evaluated"], dataset["phrases"])


def comparable(row: Mapping[str, Any], dataset: Mapping[str, Any]) -> bool:
    """Whether a published number compares with a run's: same protocol, same whole split."""
    return row["differs"] is None and same_split(row, dataset)


def whole_split(split: str) -> str:
    """What the published numbers of a split are of: `the full test split of 1,000 pictures`."""
    return f"the full {split} split of {counted(SPLITS[split][0], 'picture')}"


def apart(splits: Iterable[str], dataset: Mapping[str, Any]) -> str:
    """Why numbers published on these splits do not stand beside a run's."""
    where = " or ".join(map(whole_split, splits))
    return f"published on {where}; this run: {dataset['split']}, {dataset['coverage']}"


def elsewhere(dataset: Mapping[str, Any]) -> tuple[int, list[str]]:
    """How many published numbers are not of what a run is about, and the splits that they are of."""
    rows = [row for row in _rows() if not same_split(row, dataset)]
    return len(rows), list(dict.fromkeys(row["split"] for row in rows))


def published_lines(metrics: Mapping[str, Any]) -> str:
    """For a terminal: what compares with this run, as a table, and that the others do not."""
    data, run = metrics["dataset"], metrics["run"]
    if run is None:
        return ""
    beside = [row for row in _rows() if comparable(row, data)]
    count, splits = elsewhere(data)
    text = ""
    if beside:
        headers = ["published method", "learnt from", "protocol", "published", metrics["name"]]
        table = [
            [*(str(row[key]) for key in _SHOWN), describe(run.get(row["nearest"], {"count": 0}))] for row in beside
        ]
        title = f"published on {whole_split(data['split'])}, the same protocol; percent"
        text = text_table(title, headers, table)
    if differing := len(_rows()) - len(beside) - count:
        text += f"{counted(differing, 'published number')} of another protocol: in the report, marked\n"
    if count:
        text += f"{counted(count, 'published number')} not comparable: {apart(splits, data)}\n"
    return text


def _rows() -> list[dict[str, Any]]:
    return [row for group in published().values() for row in group]
