"""Presence: a picture's own phrases against the phrases of another picture's captions."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from grounding.datasets.flickr30k import EntityImage
from grounding.evaluation.predictions.prediction import MISSING, Key, Prediction, phrase_index
from grounding.evaluation.protocols.calibration import calibration
from grounding.evaluation.protocols.summary import SEED, image_of_phrase, resample
from grounding.text.mentions import mentioned
from grounding.text.phrases import find_phrases
from grounding.text.tags import content_words

DESCRIPTION: Final = (
    "phrases with a box, in their own image and in the image before it in the split, unless the head, a synonym, a "
    "kind of it or what it is a kind of stands in any caption there; either of the two counts half"
)


def phrases_of_others(images: Sequence[EntityImage]) -> dict[str, tuple[str, ...]]:
    """For each image the phrases that the next image's captions name and its own do not: what should be absent."""
    if len(images) == 1:  # there is no other
        return {}
    following = [*images[1:], *images[:1]]
    return {image.id: _not_mentioned(image, other) for image, other in zip(images, following, strict=True)}


def _not_mentioned(image: EntityImage, other: EntityImage) -> tuple[str, ...]:
    words = {word for caption in image.captions for word in content_words(caption)}
    texts = dict.fromkeys(phrase.text for phrase in other.boxed_phrases)
    return tuple(text for text in texts if not mentioned(find_phrases("", [text])[0].head, words))


def summarize_presence(
    images: Sequence[EntityImage],
    predictions: Mapping[Key, Prediction],
    of_others: Mapping[str, Sequence[float | None]],
    threshold: float,
) -> dict[str, Any] | None:
    """Everything that metrics.json says of presence; None where no phrase has one.

    Args:
        of_others: image id -> the presence of each phrase of `phrases_of_others`.
        threshold: below it a phrase is absent.
    """
    keys = phrase_index(images)
    own = [predictions.get(key, MISSING).presence for key in keys]
    others = [(place, value) for place, image in enumerate(images) for value in of_others.get(image.id, ())]
    asked = [(place, value, True) for place, value in zip(image_of_phrase(images).tolist(), own, strict=True)]
    asked += [(place, value, False) for place, value in others]
    known = [(place, value, shown) for place, value, shown in asked if value is not None]
    if not known:
        return None
    cluster, values, labels = map(np.array, zip(*known, strict=True))
    absent = values < threshold
    return {
        "description": DESCRIPTION,
        "threshold": threshold,
        "shown": int(labels.sum()),
        "of_others": int((~labels).sum()),
        "shown_called_absent": _percent(absent[labels]),
        "of_others_called_absent": _percent(absent[~labels]),
        **calibration(values, labels, cluster, resample(len(images), SEED), balanced=True),
    }


def _percent(values: npt.NDArray[np.bool_]) -> float | None:
    return 100 * float(values.mean()) if len(values) else None
