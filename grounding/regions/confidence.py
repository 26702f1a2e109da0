"""How sure a box is: the share of all boxes which the map leaves possible that agree with it."""

import numpy as np
import numpy.typing as npt

from grounding.boxes import Boxes, Values, area, intersection

_LEAST = 16.0  # below the greatest log weight: what is less counts for nothing
_FALL = 0.99  # from the score of a region to that of the next, at least
_LEAST_SCORE = 1e-9
_ROUNDING = 1e-5  # an IoU of exactly 1/2, which is frequent on a grid, is enough
_TINY = np.finfo(np.float32).tiny


def agreement(
    scores: npt.NDArray[np.float32], proposals: Boxes, best: npt.NDArray[np.intp], sharpness: float
) -> Values:
    """Weigh every proposal by `score ** sharpness / area`; sum the weights of those that agree with each of the best.

    The weights are a posterior over boxes: the score is the likelihood, and before it every size is as likely.

    Args:
        scores: (N,) at least 0.
        proposals: (N, 4).
        best: (K,) indices into `proposals`.
        sharpness: see `RegionConfig`.

    Returns:
        (K,) in [0, 1]: the share of the weight of all proposals whose IoU with the box is at least 1/2.
    """
    if not len(best):
        return np.zeros(0)
    log_weights = sharpness * np.log(np.maximum(scores, _TINY)) - np.log(np.maximum(area(proposals), _TINY))
    possible = np.flatnonzero(log_weights > log_weights.max() - _LEAST)
    weights = np.exp(log_weights[possible] - log_weights.max())
    agreeing = agree(proposals[best], proposals.take(possible, 0)) * (weights / weights.sum())  # (K, M)
    share: Values = np.minimum(agreeing.sum(axis=1), 1)  # row by row: the same for any K
    return share


def agree(boxes: Boxes, others: Boxes) -> npt.NDArray[np.bool_]:
    """(K, 4), (M, 4) -> (K, M) whether the IoU is at least 1/2: thrice the intersection is the sum of areas or more."""
    areas = (area(boxes)[:, None] + area(others)) * (1 - _ROUNDING)
    enough: npt.NDArray[np.bool_] = 3 * intersection(boxes, others) >= areas
    return enough


def falling(values: Values) -> Values:
    """Lower (K,) values, where they must be, so that each is at most `_FALL` times the one before it, and above 0."""
    steps = _FALL ** np.arange(len(values))
    lowered: Values = np.minimum.accumulate(np.maximum(values, _LEAST_SCORE) / steps) * steps
    return lowered
