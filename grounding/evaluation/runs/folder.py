"""The files of a run: metrics.json, predictions.jsonl, predictions.parquet and report.html."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grounding.errors import GroundingError
from grounding.evaluation.protocols.measure import counted
from grounding.evaluation.predictions.parquet import read_parquet, write_parquet
from grounding.evaluation.predictions.prediction import phrase_key
from grounding.evaluation.predictions.records import prediction_to_json
from grounding.evaluation.report.page import Photograph, render_report
from grounding.evaluation.runs.scoring import METRICS_VERSION, Run
from grounding.resumable import difference

_KEYS = {"name", "dataset", "statuses", "run", "baselines", "settings", "versions"}


def write_run(folder: Path, run: Run, photograph: Photograph) -> None:
    """Write all files into an existing folder; for baselines only, just metrics.json and the report."""
    (folder / "metrics.json").write_text(json.dumps(run.metrics, indent=2) + "\n", encoding="utf-8")
    if run.columns:
        with (folder / "predictions.jsonl").open("w", encoding="utf-8") as file:
            for image, phrase in counted(run.images):
                key = phrase_key(image, phrase)
                if key in run.predictions:
                    file.write(json.dumps(prediction_to_json(key, run.predictions[key])) + "\n")
        write_parquet(folder / "predictions.parquet", run.images, run.predictions, run.columns)
    (folder / "report.html").write_text(render_report(run, photograph), encoding="utf-8")


def read_metrics(folder: Path) -> dict[str, Any]:
    """The metrics.json of a finished run.

    Raises:
        GroundingError: there is none, or it is another program's or a later version's.
    """
    path = folder / "metrics.json"
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise GroundingError(
            f"{path} cannot be read ({error.strerror}): expected the --output of a finished run"
        ) from error
    except ValueError as error:
        raise GroundingError(f"{path} is not JSON ({error}): expected the --output of a finished run") from error
    if (
        not isinstance(metrics, dict)
        or metrics.get("schema_version") != METRICS_VERSION
        or _KEYS - metrics.keys()
        or "photographs" not in metrics["dataset"]
    ):
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
    return Run(metrics, *read_parquet(folder / "predictions.parquet"), str(folder))


def finished(folder: Path, settings: Mapping[str, Any], overwrite: bool) -> dict[str, Any] | None:
    """The metrics of a run that is finished in this folder already, or None where it is still to be done.

    Raises:
        GroundingError: the folder holds another finished run, and `overwrite` is False.
    """
    if overwrite or not (folder / "metrics.json").is_file():
        return None
    metrics = read_metrics(folder)
    changed = difference(json.loads(json.dumps(settings)), metrics["settings"])
    if changed is None:
        return metrics
    raise GroundingError(
        f"{folder} holds a finished run with another {changed}: choose another output or add --overwrite"
    )
