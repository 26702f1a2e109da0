"""The files of a run: metrics.json, predictions.jsonl, predictions.parquet and report.html."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from grounding.datasets.flickr30k import EntityImage
from grounding.errors import GroundingError
from grounding.evaluation.comparison import FinishedRun
from grounding.evaluation.exchange import prediction_to_json, read_parquet, write_parquet
from grounding.evaluation.metrics import counted
from grounding.evaluation.prediction import Key, Prediction
from grounding.evaluation.protocol import Columns
from grounding.evaluation.report import Run, render_report
from grounding.evaluation.scoring import METRICS_VERSION
from grounding.resumable import difference


def write_run(
    folder: Path,
    metrics: Mapping[str, Any],
    images: Sequence[EntityImage],
    predictions: Mapping[Key, Prediction],
    columns: Columns | None,
    photograph: Callable[[str], bytes | None],
) -> None:
    """Write all files into an existing folder; without columns only metrics.json and the report."""
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    if columns is not None:
        with (folder / "predictions.jsonl").open("w", encoding="utf-8") as file:
            for image, phrase in counted(images):
                key = image.id, phrase.sentence, phrase.index
                if key in predictions:
                    file.write(json.dumps(prediction_to_json(key, predictions[key])) + "\n")
        write_parquet(folder / "predictions.parquet", images, predictions, columns)
    report = render_report(Run(metrics, images, predictions, columns or {}), photograph)
    (folder / "report.html").write_text(report, encoding="utf-8")


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
    if not isinstance(metrics, dict) or metrics.get("schema_version") != METRICS_VERSION:
        raise GroundingError(f"{path} is not a metrics.json of version {METRICS_VERSION}: run the evaluation again")
    return metrics


def read_run(folder: Path) -> FinishedRun:
    """A finished run with its predictions.

    Raises:
        GroundingError: as `read_metrics`; or the run has no predictions (`--baselines-only`).
    """
    metrics = read_metrics(folder)
    if metrics["run"] is None:
        raise GroundingError(f"{folder} has baselines only: expected a run with predictions")
    return FinishedRun(str(folder), metrics, *read_parquet(folder / "predictions.parquet"))


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
