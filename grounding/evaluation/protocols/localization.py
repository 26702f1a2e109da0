"""Localization by boxes and masks of a map, its threshold swept and not chosen by taste.

Choe et al., *Evaluating Weakly Supervised Object Localization Methods Right* (CVPR 2020, arXiv 2001.07437; journal
version 2007.04178): MaxBoxAcc, MaxBoxAccV2, PxAP. Thresholds at multiples of the map's mean are those of Excitation
Backprop (arXiv 1608.00507, section 4.2). Every measure is a share between 0 and 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from grounding.boxes import Boxes, Values, iou
from grounding.datasets.labelled import Mask
from grounding.errors import GroundingError
from grounding.evaluation.protocols.map_boxes import (
    Map,
    box_above_mean,
    connected,
    largest_of,
    normalised,
    otsu_threshold,
)

THRESHOLDS: Final = np.arange(100) / 100  # (T,) of the normalised map
MEAN_MULTIPLES: Final = np.arange(21) / 2  # (M,)
IOUS: Final = (0.3, 0.5, 0.7)  # of MaxBoxAccV2

Counts = npt.NDArray[np.int64]
Hits = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Overlaps:
    """How well the boxes of one map overlap the boxes of its class, in IoU with the best of them; 0 without a box.

    Attributes:
        largest: (T,) of the box of the largest component at each of `THRESHOLDS`.
        best: (T,) of the box of whichever component overlaps most.
        above_mean: (M,) of the one box round all that is at least each of `MEAN_MULTIPLES` times the mean.
        otsu: as `best`, at Otsu's threshold.
        otsu_largest: as `largest`, at Otsu's threshold; no true box has chosen anything.
    """

    largest: Values
    best: Values
    above_mean: Values
    otsu: float
    otsu_largest: float


def measure_overlaps(map_: Map, boxes: Boxes) -> Overlaps:
    """Compare the boxes of an (H, W) map with the (N, 4) boxes of its class, N at least 1, in px of the map."""
    scaled = normalised(map_)
    levels = _levels(scaled)
    present = np.bincount(levels.ravel(), minlength=len(THRESHOLDS))
    # where no pixel is exactly at a threshold, those above it are the same as at the threshold before
    new = [place for place in range(len(THRESHOLDS)) if not place or present[place]]
    components = [connected(levels > place) for place in new]
    components.append(connected(scaled >= otsu_threshold(map_)))
    overlaps = _best_overlaps([found for found, _ in components], boxes)
    best = np.array([each.max(initial=0) for each in overlaps])
    largest = np.array(
        [each[largest_of(*some)] if len(each) else 0 for each, some in zip(overlaps, components, strict=True)]
    )
    where = np.searchsorted(new, np.arange(len(THRESHOLDS)), side="right") - 1
    above = _best_overlaps([box_above_mean(map_, multiple) for multiple in MEAN_MULTIPLES.tolist()], boxes)
    above_mean = np.array([each.max(initial=0) for each in above])
    return Overlaps(largest[where], best[where], above_mean, float(best[-1]), float(largest[-1]))


def max_box_acc(largest: Values) -> tuple[float, float]:
    """MaxBoxAcc: the share of pictures with an IoU of at least 0.5, at the threshold where it is highest.

    Args:
        largest: (P, T) the `Overlaps.largest` of P pictures.

    Returns:
        The share and its threshold, the lowest of equals; NaN twice without pictures.
    """
    return _highest_share(largest, 0.5)


def max_box_acc_v2(best: Values) -> tuple[float, dict[float, tuple[float, float]]]:
    """MaxBoxAccV2: the mean over IoU 0.3, 0.5, 0.7 of the highest share, each at its own threshold.

    Args:
        best: (P, T) the `Overlaps.best` of P pictures.

    Returns:
        The mean; and for each IoU the share and its threshold, as `max_box_acc` gives them.
    """
    found = {least: _highest_share(best, least) for least in IOUS}
    return float(np.mean([share for share, _ in found.values()])), found


def cross_fitted(overlaps: Values, least: float, halves: Hits) -> Hits:
    """Hits of each picture at the threshold that is best for the pictures of the other half.

    So the threshold is chosen on a held-out part, and every picture counts.

    Args:
        overlaps: (P, T) of P pictures at T thresholds of any kind.
        least: the IoU of a hit, itself included.
        halves: (P,) True for one half.

    Returns:
        (P,) True for a hit.

    Raises:
        GroundingError: there are pictures, and one half has none.
    """
    hits = overlaps >= least  # (P, T)
    found = np.zeros(len(hits), np.bool_)
    for half in (halves, ~halves) if len(hits) else ():
        if not half.any():
            raise GroundingError(
                f"one half of the {len(hits)} pictures is empty: expected a picture in each, "
                "to choose the threshold of the other; take more pictures"
            )
        found[~half] = hits[~half, hits[half].sum(0).argmax()]
    return found


def pixel_counts(map_: Map, mask: Mask) -> Counts:
    """How many pixels reach each threshold, so that the counts of pictures add up.

    Args:
        map_: (H, W).
        mask: (H, W) True where the class is.

    Returns:
        (2, T) int64: the pixels of the normalised map of at least each of `THRESHOLDS`, inside the mask and outside.

    Raises:
        GroundingError: the sizes differ.
    """
    if map_.shape != mask.shape:
        raise GroundingError(
            f"mask is {mask.shape[-1]} x {mask.shape[0]} px and the map {map_.shape[1]} x {map_.shape[0]} px: "
            "expected the same size; resize the map to the annotated picture"
        )
    levels, size = _levels(normalised(map_)), len(THRESHOLDS) + 1
    exactly = np.stack([np.bincount(levels[where], minlength=size) for where in (mask, ~mask)])  # (2, T + 1)
    return exactly[:, :0:-1].cumsum(1)[:, ::-1].astype(np.int64)


def px_ap(counts: Counts) -> float:
    """PxAP: the area below precision against recall of pixels, of (2, T) `pixel_counts` added up over pictures.

    From the highest threshold to the lowest, the precision times what recall has gained. NaN without a pixel inside.
    """
    inside, outside = counts[:, ::-1].astype(np.float64)
    if not inside[-1]:
        return float("nan")
    both = inside + outside
    precision = np.divide(inside, both, out=np.zeros_like(both), where=both > 0)
    return float((precision * np.diff(inside / inside[-1], prepend=0)).sum())


def _levels(scaled: Values) -> npt.NDArray[np.uint8]:
    """(H, W) in [0, 1] -> how many of `THRESHOLDS` each pixel reaches; so {scaled >= THRESHOLDS[i]} is {levels > i}."""
    return np.searchsorted(THRESHOLDS, scaled, side="right").astype(np.uint8)


def _best_overlaps(some: Sequence[Boxes], boxes: Boxes) -> list[Values]:
    """Of each (K, 4) of some, the (K,) IoU with the best of (N, 4) boxes."""
    overlaps = iou(np.concatenate(some), boxes).max(1)
    return np.split(overlaps, np.cumsum([len(each) for each in some])[:-1])


def _highest_share(overlaps: Values, least: float) -> tuple[float, float]:
    if not len(overlaps):
        return float("nan"), float("nan")
    shares = (overlaps >= least).mean(0)
    place = int(shares.argmax())
    return float(shares[place]), float(THRESHOLDS[place])
