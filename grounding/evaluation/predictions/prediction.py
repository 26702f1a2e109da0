"""What a method says about one phrase: the only thing an evaluation sees of it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from grounding.boxes import Values
from grounding.datasets.flickr30k import EntityImage, EntityPhrase, boxed_phrases

Key = tuple[str, int, int]  # image id, sentence from 0, phrase from 0 among all marked phrases of the sentence
Map = npt.NDArray[np.float32 | np.uint8]  # (h, w), at least 0, spread over the whole picture; uint8 as stored


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """One phrase's result, in px of the original photograph (the size in its XML file).

    Attributes:
        boxes: (N, 4) float64, best first, half-open.
        scores: (N,) float64, or None where the order is all there is.
        point: (x, y); None stands for the centre of the best box, and for no point where there is no box.
        map: the phrase map; None where the method has no maps, all zero where it found no evidence.
        point_map: the map whose maximum the point is, where that is another one.
        status: `localized`, or why not.
        proposal_iou: the best IoU that any proposal of the method reaches, with any box and with the merged box, where
            it considered more boxes than it gives.
        presence: the probability that the photograph shows it, in [0, 1].
    """

    boxes: Values = field(default_factory=lambda: np.zeros((0, 4)))
    scores: Values | None = None
    point: tuple[float, float] | None = None
    map: Map | None = None
    point_map: Map | None = None
    status: str = "localized"
    proposal_iou: tuple[float, float] | None = None
    presence: float | None = None


MISSING: Final = Prediction(status="missing")  # stands for a phrase without a prediction


def phrase_key(image: EntityImage, phrase: EntityPhrase) -> Key:
    """The key of a phrase's prediction."""
    return image.id, phrase.sentence, phrase.index


def phrase_index(images: Iterable[EntityImage]) -> pd.MultiIndex:
    """The keys of every phrase with a box, in the order of images and phrases: the index of every table."""
    keys = [phrase_key(image, phrase) for image, phrase in boxed_phrases(images)]
    return pd.MultiIndex.from_tuples(keys, names=("image", "sentence", "phrase"))
