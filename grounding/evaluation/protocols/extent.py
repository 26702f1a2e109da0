"""Extent: how much of the picture the best boxes cover, against the true merged boxes."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from grounding.boxes import Boxes, area, enclosing
from grounding.datasets.flickr30k import EntityImage, boxed_phrases
from grounding.evaluation.predictions.prediction import MISSING, Key, Prediction, phrase_key
from grounding.evaluation.protocols.summary import SEED, image_of_phrase, interval, median_interval, resample

SMALL: Final = 0.1  # of the picture: a thing that covers less
WHOLE: Final = 0.95  # of the picture: a box that covers so much or more says nothing
DESCRIPTION: Final = (
    "median share of the picture that the best box of a phrase and its true merged box cover, and the share of phrases "
    f"whose best box covers at least {100 * WHOLE:g}% of the picture; phrases without a box of their own stay out"
)


def summarize_extent(images: Sequence[EntityImage], predictions: Mapping[Key, Prediction]) -> dict[str, Any]:
    """What metrics.json says of the size of best boxes, of all phrases and of small things.

    Returns:
        {"description", "all", "small"}: either {"best_box", "true_box", "whole_picture"}, each as `summary.interval`
        has them; `small` are the phrases whose merged box covers less than `SMALL` of the picture.
    """
    shares = [
        (
            share_of_picture(predictions.get(phrase_key(image, phrase), MISSING).boxes[:1], image),
            share_of_picture(enclosing(image.boxes[phrase.chain]), image),
        )
        for image, phrase in boxed_phrases(images)
    ]
    best, true = np.array(shares, np.float64).reshape(-1, 2).T
    cluster, weights = image_of_phrase(images), resample(len(images), SEED)
    answered = ~np.isnan(best)
    summary: dict[str, Any] = {"description": DESCRIPTION}
    for name, rows in (("all", answered), ("small", answered & (true < SMALL))):
        summary[name] = {
            "best_box": median_interval(best[rows], cluster[rows], weights),
            "true_box": median_interval(true[rows], cluster[rows], weights),
            "whole_picture": interval((best[rows] >= WHOLE).astype(np.float64), cluster[rows], weights),
        }
    return summary


def share_of_picture(boxes: Boxes, image: EntityImage) -> float:
    """The share of the picture that the first of (N, 4) boxes covers, without what is outside; NaN without a box."""
    if not len(boxes):
        return float("nan")
    inside = boxes[:1].clip(0, [image.width, image.height] * 2)
    return float(area(inside)[0]) / (image.width * image.height)
