"""From the scores of all proposals for a phrase to its regions, and what became of the phrase."""

from collections.abc import Sequence
from numbers import Real

import numpy as np
import numpy.typing as npt

from grounding.boxes import Boxes
from grounding.config import LocalizerConfig, RegionConfig
from grounding.errors import GroundingError
from grounding.grounded import Region, Status
from grounding.regions.confidence import agreement, falling
from grounding.regions.scoring import best_boxes, in_turns
from grounding.tagging.clip_classifier import Classifier
from grounding.text.phrases import Phrase
from grounding.text.vocabulary import Match


def ranked_regions(
    scores: npt.NDArray[np.float32], proposals: Boxes, presence: float | None, top_k: int, config: RegionConfig
) -> tuple[Region, ...]:
    """The best of N proposals by the scores of a phrase, (rankings, N): one ranking for each entry of `regions.turns`.

    The score of a region is the presence of the phrase times the agreement of the box in the first ranking.
    """
    rankings = [best_boxes(row, proposals, len(proposals), config.nms_iou) for row in scores]
    best = in_turns(rankings, proposals, top_k, config.nms_iou)
    agreeing = agreement(scores[0], proposals, best, config.sharpness)
    right = falling(agreeing * (1 if presence is None else presence))
    boxes = np.column_stack([proposals[best], right])  # (at most top_k, 5)
    return tuple(Region(*row) for row in boxes.tolist())


def min_presence(config: LocalizerConfig, classifier: Classifier) -> float:
    """The presence below which a phrase is absent: as configured, or as the presence model says, or 0."""
    if config.min_presence is not None:
        return config.min_presence
    return classifier.presence_model.threshold if classifier.presence_model else 0.0


def check_threshold(given: float | None, config: LocalizerConfig, classifier: Classifier) -> float:
    """The presence below which a phrase is absent: as given, or else `min_presence`.

    Raises:
        GroundingError: a threshold outside [0, 1].
    """
    if given is None:
        return min_presence(config, classifier)
    if isinstance(given, bool) or not (isinstance(given, Real) and 0 <= given <= 1):
        raise GroundingError(f"threshold is {given!r}: expected a probability from 0 to 1")
    return given


def status_of(
    phrase: Phrase,
    words: Sequence[Match],
    absent: bool,
    point: tuple[float, float] | None,
    regions: Sequence[Region],
) -> Status:
    """What became of a phrase, as `GroundedPhrase` says."""
    if phrase.negated:
        return "absent"
    if not any(match.tags for match in words):
        return "out-of-vocabulary"
    if absent:
        return "absent"
    if point is None:
        return "empty-map"
    return "localized" if regions else "no-proposals"
