"""Agreement of maps with where people look: Spearman, AUC, NSS, and how well people agree with each other.

The measures as in Bylinskii et al., *What Do Different Evaluation Metrics Tell Us About Saliency Models?* (arXiv
1604.03605), with ranks in place of values for the correlation, as Linsley et al. have it for ClickMe (1805.08819).
Fixations are (N, 3) float64: x and y in px of the map that they are compared with (pixel 0 reaches from 0 to 1), and
the duration in ms. Fixations outside the picture say nothing about it and stay out everywhere.

A constant map says nothing: its Spearman is 0, its AUC 0.5 and its NSS 0. Without fixations nothing is measured: NaN.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from grounding.boxes import Values
from grounding.errors import GroundingError
from grounding.evaluation.protocols.map_boxes import Map


class Agreement(NamedTuple):
    """One map or one group of people against another."""

    spearman: float
    auc: float
    nss: float


def human_map(viewers: Sequence[Values], width: int, height: int, sigma_px: float) -> Values:
    """Where the viewers of a picture look: Gaussians at their fixations, weighted by duration.

    Each viewer who looks at the picture has the same weight, however long or often.

    Args:
        viewers: the (N, 3) fixations of each: x, y in px, and duration.
        width: of the picture, in px.
        height: of the picture, in px.
        sigma_px: standard deviation of the Gaussians.

    Returns:
        (height, width) float64, sums to 1; all zero without fixations.

    Raises:
        GroundingError: `sigma_px` is not above 0.
    """
    return _shared([_viewer_map(viewer, width, height, sigma_px) for viewer in viewers], width, height)


def spearman(map_: Map, other: Map) -> float:
    """Rank correlation over the pixels of two maps of the same (H, W), in [-1, 1]; equal values share their mean rank.

    Raises:
        GroundingError: the sizes differ.
    """
    if map_.shape != other.shape:
        raise GroundingError(
            f"maps are {map_.shape[1]} x {map_.shape[0]} and {other.shape[1]} x {other.shape[0]} px: "
            "expected the same size; resize one to the other"
        )
    return _correlation(_ranks(map_), _ranks(other))


def auc(map_: Map, fixations: Values) -> float:
    """The probability that the (H, W) map is higher at a fixated pixel than at another one; equal counts half.

    Each fixated pixel counts once, however often it was fixated. NaN where no pixel is fixated, or every one.
    """
    return _auc(_ranks(map_), fixations)


def nss(map_: Map, fixations: Values) -> float:
    """Normalised scanpath saliency: the mean over fixations of the (H, W) map scaled to mean 0 and deviation 1."""
    columns, rows = _pixels(fixations, map_.shape[1], map_.shape[0])
    if not len(columns):
        return float("nan")
    values = map_.astype(np.float64)
    if values.min() == values.max():
        return 0.0
    return float((values[rows, columns].mean() - values.mean()) / values.std())


def split_half(viewers: Sequence[Values], width: int, height: int, sigma_px: float) -> Agreement:
    """How well the viewers of a picture agree with each other: a ceiling for any map.

    The mean over all ways to split V viewers into V // 2 and the rest, and over both directions: the human map of one
    group against that of the other (Spearman), and against the other's fixations (AUC, NSS). Viewers who do not look at
    the picture stay out; NaN where fewer than two do.

    Args:
        viewers: the (N, 3) fixations of each: x, y in px, and duration.
        width: of the picture, in px.
        height: of the picture, in px.
        sigma_px: standard deviation of the Gaussians at the fixations.
    """
    looking = [inside for viewer in viewers if len(inside := _inside(viewer, width, height))]
    if len(looking) < 2:
        return Agreement(*[float("nan")] * 3)
    maps = [_viewer_map(viewer, width, height, sigma_px) for viewer in looking]
    found = []
    for some in combinations(range(len(looking)), len(looking) // 2):
        groups = (some, tuple(sorted(set(range(len(looking))) - set(some))))
        group_maps = [_shared([maps[place] for place in group], width, height) for group in groups]
        ranks = [_ranks(map_) for map_ in group_maps]
        seen = [np.concatenate([looking[place] for place in group]) for group in groups]
        together = _correlation(*ranks)
        for one, other in ((0, 1), (1, 0)):
            found.append((together, _auc(ranks[one], seen[other]), nss(group_maps[one], seen[other])))
    return Agreement(*np.mean(found, axis=0).tolist())


def _inside(fixations: Values, width: int, height: int) -> Values:
    places = fixations[:, :2]
    return fixations[((places >= 0) & (places < [width, height])).all(1)]


def _pixels(fixations: Values, width: int, height: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The column and row of each fixation inside the picture."""
    columns, rows = _inside(fixations, width, height)[:, :2].astype(np.int64).T
    return columns, rows


def _viewer_map(fixations: Values, width: int, height: int, sigma_px: float) -> Values:
    """The sum of one viewer's Gaussians, (height, width); their weights add up to 1. All zero without fixations."""
    if not sigma_px > 0:
        raise GroundingError(f"sigma_px is {sigma_px:g}: expected more than 0; give one in px of the map")
    x, y, duration = _inside(fixations, width, height).T
    total = duration.sum()
    across, down = (
        np.exp(-(((np.arange(size) + 0.5 - at[:, None]) / sigma_px) ** 2) / 2)  # (N, size), at the pixels' centres
        for size, at in ((width, x), (height, y))
    )
    weights = duration / total if total > 0 else duration
    spread: Values = np.einsum("n,nh,nw->hw", weights, down, across)
    return spread


def _shared(maps: Sequence[Values], width: int, height: int) -> Values:
    """The sum of maps, scaled to sum 1 if there is anything in it."""
    total = np.zeros((height, width))
    for map_ in maps:
        total += map_
    mass = total.sum()
    return total / mass if mass > 0 else total


def _ranks(map_: Map) -> Values:
    """(H, W) -> (H, W) the rank of each pixel from 1; the mean rank for equal values."""
    _, group, sizes = np.unique(map_, return_inverse=True, return_counts=True)
    ranks: Values = (sizes.cumsum() - (sizes - 1) / 2)[group]
    return ranks.reshape(map_.shape)


def _correlation(ranks: Values, others: Values) -> float:
    mean = (ranks.size + 1) / 2
    first, second = ranks - mean, others - mean
    spread = float((first**2).sum() * (second**2).sum())
    return float((first * second).sum() / np.sqrt(spread)) if spread > 0 else 0.0


def _auc(ranks: Values, fixations: Values) -> float:
    """The Mann-Whitney statistic of the fixated pixels' ranks, as a share of all pairs."""
    fixated = np.zeros(ranks.shape, np.bool_)
    columns, rows = _pixels(fixations, ranks.shape[1], ranks.shape[0])
    fixated[rows, columns] = True
    count = int(fixated.sum())
    pairs = count * (ranks.size - count)
    return float((ranks[fixated].sum() - count * (count + 1) / 2) / pairs) if pairs else float("nan")
