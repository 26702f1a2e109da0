"""Scores: does the score of the first box say whether it hits?"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from grounding.datasets.flickr30k import EntityImage
from grounding.evaluation.predictions.prediction import MISSING, Key, Prediction
from grounding.evaluation.protocols.calibration import calibration
from grounding.evaluation.protocols.protocol import Columns, recall
from grounding.evaluation.protocols.summary import SEED, image_of_phrase, resample

HIT: Final = recall(1, "merged-box")
DESCRIPTION: Final = f"score of the first box against its hit under {HIT.name}; phrases without a box stay out"


def summarize_scores(
    images: Sequence[EntityImage], predictions: Mapping[Key, Prediction], columns: Columns
) -> dict[str, Any] | None:
    """What metrics.json says of scores; None where no first box has one, or where one lies outside [0, 1]."""
    if columns.empty:
        return None
    ranked = [predictions.get(key, MISSING).scores for key in columns.index]
    values = np.array([np.nan if scores is None or not len(scores) else scores[0] for scores in ranked], np.float64)
    hits = HIT.values(columns)
    known = np.isfinite(values) & np.isfinite(hits)
    if not known.any() or values[known].min() < 0 or values[known].max() > 1:
        return None
    cluster = image_of_phrase(images)[known]
    measured = calibration(values[known], hits[known] == 1, cluster, resample(len(images), SEED))
    return {"description": DESCRIPTION, **measured}
