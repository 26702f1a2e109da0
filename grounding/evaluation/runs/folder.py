"""The folder of a run: metrics.json, predictions.jsonl, predictions.parquet and report.html."""

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from grounding.datasets.files import Photographs
from grounding.errors import GroundingError
from grounding.evaluation.predictions.parquet import read_parquet, write_parquet
from grounding.evaluation.predictions.prediction import phrase_index
from grounding.evaluation.predictions.records import to_line
from grounding.evaluation.protocols.protocol import MEASURED
from grounding.evaluation.runs.scoring import METRICS_VERSION, Run
from grounding.resumable import LINES_FILES, check_finished

Photograph = Callable[[str], bytes | None]  # an image id -> the bytes of its file, or None where there is none
_METRICS, _PREDICTIONS, _TABLE, REPORT = "metrics.json", "predictions.jsonl", "predictions.parquet", "report.html"
FILES: Final = (_METRICS, _PREDICTIONS, _TABLE, REPORT)
REPLACEABLE: Final = (*FILES, *LINES_FILES)
_KEYS: Final = {"name", "dataset", "statuses", "run", "baselines", "settings", "versions"}


@dataclass(frozen=True, slots=True)
class Output:
    """Where a run is written, and with which report.

    Attributes:
        folder: None to write nothing.
        photographs: those of the run, if there are any at hand.
        report: makes the text of report.html of a run and its photographs.
        overwrite: replace what the folder holds.
        inputs: files and folders that must not be replaced.
    """

    folder: Path | None
    photographs: Photographs
    report: Callable[[Run, Photograph], str]
    overwrite: bool = False
    inputs: Sequence[Path] = ()


def write_run(folder: Path, run: Run, output: Output) -> None:
    """Write all files into an existing folder; for baselines only, just metrics.json and the report."""
    (folder / _METRICS).write_text(json.dumps(run.metrics, indent=2) + "\n", encoding="utf-8")
    if not run.columns.empty:
        with (folder / _PREDICTIONS).open("w", encoding="utf-8") as file:
            keys = (key for key in phrase_index(run.images) if key in run.predictions)
            file.writelines(to_line(key, run.predictions[key]) for key in keys)
        write_parquet(folder / _TABLE, run.images, run.predictions, run.columns)
    (folder / REPORT).write_text(output.report(run, output.photographs.get), encoding="utf-8")


def write_table(path: Path, headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file; None is an empty cell."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(headers)
        writer.writerows(rows)


def read_json(path: Path, expected: str) -> Any:
    """The content of a JSON file; a `GroundingError` that says what was expected where it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise GroundingError(f"{path} cannot be read ({error.strerror}): {expected}") from error
    except (ValueError, RecursionError) as error:
        raise GroundingError(f"{path} is not JSON ({error}): {expected}") from error


def read_metrics(folder: Path) -> dict[str, Any]:
    """The metrics.json of a finished run.

    Raises:
        GroundingError: there is none, or it is another program's or a later version's.
    """
    path = folder / _METRICS
    metrics: dict[str, Any] = read_json(path, "expected the --output of a finished run")
    known = isinstance(metrics, dict) and metrics.get("schema_version") == METRICS_VERSION
    whole = known and not _KEYS - metrics.keys() and isinstance(metrics["dataset"], dict)
    if not whole or "photographs" not in metrics["dataset"]:
        raise GroundingError(f"{path} is not a metrics.json of version {METRICS_VERSION}: run the evaluation again")
    return metrics


def read_run(folder: Path) -> Run:
    """A finished run with its predictions.

    Raises:
        GroundingError: as `read_metrics`; or the run has no predictions (`--baselines-only`).
    """
    metrics = read_metrics(folder)
    if metrics["run"] is None:
        raise GroundingError(f"{folder} has baselines only: expected a run with predictions")
    return Run(metrics, *read_parquet(folder / _TABLE, MEASURED), str(folder))


def finished(folder: Path, settings: Mapping[str, Any], overwrite: bool) -> dict[str, Any] | None:
    """The metrics of a run that is finished in this folder already, or None where it is still to be done.

    Raises:
        GroundingError: the folder holds another finished run, and `overwrite` is False.
    """
    if overwrite or not (folder / _METRICS).is_file():
        return None
    metrics = read_metrics(folder)
    check_finished(folder, settings, metrics["settings"])
    return metrics
