"""Which of two: do two people of one caption get the same box?"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from grounding.boxes import Values, iou
from grounding.datasets.flickr30k import EntityImage, EntityPhrase
from grounding.evaluation.predictions.prediction import MISSING, Key, Prediction, phrase_key
from grounding.evaluation.protocols.summary import SEED, interval, resample

SAME: Final = 0.7  # IoU above which two boxes are the same
DESCRIPTION: Final = (
    "pairs of phrases of one caption that name two different people, one box each (entity type people, different "
    f"chains): the share whose best boxes have IoU > {SAME:g}, and the share whose true boxes have; a phrase without a "
    "box of its own shares none"
)


def summarize_which_of_two(images: Sequence[EntityImage], predictions: Mapping[Key, Prediction]) -> dict[str, Any]:
    """What metrics.json says of pairs of people.

    Returns:
        {"description", "best_boxes", "true_boxes"}: either as `summary.interval` has them, counting pairs.
    """
    pairs = [(number, image, pair) for number, image in enumerate(images) for pair in pairs_of_people(image)]
    best = [_same(*(_best(image, phrase, predictions) for phrase in pair)) for _, image, pair in pairs]
    true = [_same(*(image.boxes[phrase.chain] for phrase in pair)) for _, image, pair in pairs]
    cluster, weights = np.array([number for number, *_ in pairs], np.intp), resample(len(images), SEED)
    return {
        "description": DESCRIPTION,
        "best_boxes": interval(np.array(best, np.float64), cluster, weights),
        "true_boxes": interval(np.array(true, np.float64), cluster, weights),
    }


def pairs_of_people(image: EntityImage) -> Iterator[tuple[EntityPhrase, EntityPhrase]]:
    """Every two phrases of one caption that name different people, one box each; groups have more boxes."""
    people = [
        phrase for phrase in image.boxed_phrases if "people" in phrase.types and len(image.boxes[phrase.chain]) == 1
    ]
    for first, second in itertools.combinations(people, 2):
        if first.sentence == second.sentence and first.chain != second.chain:
            yield first, second


def _best(image: EntityImage, phrase: EntityPhrase, predictions: Mapping[Key, Prediction]) -> Values:
    """(1, 4), or (0, 4) without a box."""
    return predictions.get(phrase_key(image, phrase), MISSING).boxes[:1]


def _same(first: Values, second: Values) -> bool:
    return float(iou(first, second).max(initial=0)) > SAME
