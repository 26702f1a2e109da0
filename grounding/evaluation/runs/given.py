"""Predictions from a file scored, or the trivial baselines alone."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from grounding.datasets.flickr30k import Flickr30kEntities
from grounding.distributed import world
from grounding.evaluation.predictions.reading import read_predictions
from grounding.evaluation.protocols.measure import measure
from grounding.evaluation.protocols.protocol import Columns
from grounding.evaluation.runs.folder import REPLACEABLE, Output, write_run
from grounding.evaluation.runs.scoring import Run, Selection, score
from grounding.folders import check_output, whole_folder


def score_given(
    path: Path | None,
    entities: Flickr30kEntities,
    selection: Selection,
    output: Output,
    note: Callable[[str], None],
    name: str | None = None,
    allow_missing: bool = False,
) -> dict[str, Any] | None:
    """Measure predictions and the baselines, and write the folder of the run where one is wanted.

    Args:
        path: of the predictions; None for the baselines alone.
        note: called with each message for the user.
        name: what the method is called; by default as its file.

    Returns:
        What metrics.json says; None in a rank above 0 of torchrun.

    Raises:
        GroundingError: as `read_predictions` and `check_output`.
    """
    if world()[0] > 0:
        return None
    if output.folder:
        check_output(output.folder, output.overwrite, REPLACEABLE, output.inputs)
    images, predictions, columns, digest = selection.images, {}, Columns(), None
    if path:
        loaded = read_predictions(path, images, selection.split, entities.ids_of_splits(), allow_missing)
        for text in loaded.notes:
            note(text)
        predictions, columns = loaded.predictions, measure(images, loaded.predictions)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    settings, name = {"limit": selection.limit, "predictions": digest}, name or (path.stem if path else "baselines")
    metrics = score(selection, name, settings, predictions, columns, output.photographs.paths)
    if output.folder:
        run = Run(metrics, images, predictions, columns)
        with whole_folder(output.folder, output.overwrite, REPLACEABLE) as folder:
            write_run(folder, run, output)
    return metrics
