"""Two finished benchmarks side by side: for each method that both have, paired differences by picture."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from grounding.benchmarks.metrics import METRICS, read_metrics, to_table
from grounding.benchmarks.page import shown
from grounding.benchmarks.run import read_rows
from grounding.benchmarks.statistics import intervals
from grounding.benchmarks.tasks import TASKS
from grounding.errors import GroundingError
from grounding.evaluation.report.page import render
from grounding.evaluation.report.terminal import text_table
from grounding.evaluation.runs.folder import write_table
from grounding.evaluation.runs.naming import Side, columns, whole_names
from grounding.folders import check_output, comparison_folder, whole_folder
from grounding.wording import counted

_FILES: Final = ("comparison.json", "comparison.csv", "comparison.html")
_KEY: Final = ["image", "class"]


def is_benchmark(folder: Path) -> bool:
    """Whether a folder holds a finished benchmark, and not a run on Flickr30k Entities."""
    try:
        metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(metrics, dict) and "benchmark_version" in metrics


def write_comparison(a: Path, b: Path, folder: Path | None, overwrite: bool) -> tuple[Path, dict[str, Any]]:
    """Compare two finished benchmarks, and write the comparison as JSON, as CSV and as a page.

    Args:
        folder: by default that of `comparison_folder`.

    Returns:
        Where the page is, and what comparison.json says.

    Raises:
        GroundingError: as `check_output` and `compare`.
    """
    folder = folder or comparison_folder(a, b, overwrite)
    check_output(folder, overwrite, _FILES, (a, b))
    summary = compare(a, b)
    with whole_folder(folder, overwrite, _FILES) as partial:
        (partial / _FILES[0]).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        write_table(partial / _FILES[1], *_csv(summary))
        page = render(
            "benchmarks.html.jinja", comparison=summary, cell=lambda *cell: _cell(summary, *cell), photographs=[]
        )
        (partial / _FILES[2]).write_text(page, encoding="utf-8")
    return folder / _FILES[2], summary


def compare(a: Path, b: Path) -> dict[str, Any]:
    """b less a on the classes in pictures that both measured.

    Raises:
        GroundingError: no finished benchmarks, of two tasks, or with no picture or method in common.
    """
    metrics = read_metrics(a), read_metrics(b)
    tasks = [each["task"] for each in metrics]
    if tasks[0] != tasks[1]:
        raise GroundingError(f"{a} is about {tasks[0]} and {b} about {tasks[1]}: expected two runs of one task")
    task, (tables, images) = TASKS[tasks[0]](), _tables(a, b, metrics)
    classes = len(metrics[0]["classes"])
    methods = [method for method in metrics[0]["methods"] if method in metrics[1]["methods"]]
    differences = {}
    for method in methods:
        before, after = _paired(*(table[table["method"] == method] for table in tables))
        if before.empty:
            continue
        scores = {side: task.scores(rows, images, classes) for side, rows in (("b", after), ("a", before))}
        numbers, less = intervals(scores, images)
        change = task.hits(after) - task.hits(before)
        differences[method] = {
            "scores": {
                name: {"a": numbers["a"][name], "b": numbers["b"][name], "difference": number}
                for name, number in less["a"].items()
            },
            "rows": len(before),
            "gained": int((change > 0).sum()),
            "lost": int((change < 0).sum()),
        }
    sides = [Side(own["name"], own["settings"], str(path)) for path, own in zip((a, b), metrics, strict=True)]
    if not differences:
        raise GroundingError(f"{a} and {b} have no method or no class of a picture in common")
    return {
        "task": tasks[0],
        "images": images,
        **{
            side: {"name": name, "column": column, "path": str(path), "metrics": own}
            for side, name, column, path, own in zip(
                "ab", whole_names(*sides), columns(*sides), (a, b), metrics, strict=True
            )
        },
        "methods": differences,
        "warnings": list(_warnings(metrics, images)),
    }


def comparison_table(summary: Mapping[str, Any]) -> str:
    """For a terminal: a line for each method and number."""
    headers = ["method", "number", *(f"{side}: {summary[side]['column']}" for side in "ab")]
    headers += ["b - a [95% interval]", "better", "worse"]
    rows = [
        [method, name, *(_cell(summary, method, name, key) for key in ("a", "b", "difference")),
         f"{own['gained']:,}", f"{own['lost']:,}"]
        for method, own in summary["methods"].items()
        for name in own["scores"]
    ]  # fmt: skip
    sides = ", ".join(f"{side}: {summary[side]['name']}, {summary[side]['path']}" for side in "ab")
    return text_table(f"{summary['task']}, {counted(summary['images'], 'picture')} in both; {sides}", headers, rows)


def _csv(summary: Mapping[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """Headers and rows of comparison.csv."""
    headers = ["method", "number", *(f"{side}: {summary[side]['column']}" for side in "ab")]
    headers += ["difference", "low", "high", "better", "worse"]
    rows = []
    for method, own in summary["methods"].items():
        for name, one in own["scores"].items():
            numbers = [one["a"].get("value"), one["b"].get("value")]
            numbers += [one["difference"].get(key) for key in ("value", "low", "high")]
            rows.append([method, name, *numbers, own["gained"], own["lost"]])
    return headers, rows


def _cell(summary: Mapping[str, Any], method: str, name: str, key: str) -> str:
    return shown(summary, summary["methods"][method]["scores"][name][key], "+" if key == "difference" else "")


def _tables(
    a: Path, b: Path, metrics: tuple[Mapping[str, Any], Mapping[str, Any]]
) -> tuple[tuple[pd.DataFrame, pd.DataFrame], int]:
    """The rows of the pictures that both measured, in a's order, and how many pictures these are."""
    records = [{record["image"]: record for record in read_rows(folder)} for folder in (a, b)]
    common = [name for name, record in records[0].items() if "rows" in record and "rows" in records[1].get(name, {})]
    same = [name for name in common if records[0][name]["sha256"] == records[1][name]["sha256"]]
    if not same:
        raise GroundingError(f"{a} and {b} have no picture in common: were they run on different data?")
    classes = list(metrics[0]["classes"])
    if classes != list(metrics[1]["classes"]):
        raise GroundingError(f"{a} and {b} have other classes: were they run on different data?")
    tables = [to_table([side[name] for name in same], classes) for side in records]
    return (tables[0], tables[1]), len(same)


def _paired(before: pd.DataFrame, after: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows that both have, in one order."""
    keys = pd.merge(before[_KEY], after[_KEY], on=_KEY)
    return pd.merge(keys, before, on=_KEY), pd.merge(keys, after, on=_KEY)


def _warnings(metrics: Sequence[Mapping[str, Any]], images: int) -> Iterator[str]:
    for side, own in zip("ab", metrics, strict=True):
        if own["dataset"]["images"] != images:
            yield f"{side} has {counted(own['dataset']['images'], 'picture')}: compared on the {images:,} of both"
    if metrics[0]["dataset"]["name"] != metrics[1]["dataset"]["name"]:
        yield f"the data are called {metrics[0]['dataset']['name']} and {metrics[1]['dataset']['name']}"
    if metrics[0]["settings"]["annotations"] != metrics[1]["settings"]["annotations"] and all(
        own["dataset"]["images"] == images for own in metrics
    ):
        yield "the same pictures were scored with other annotations"
