"""Boxes scored by a map, and the best that do not repeat each other."""

import functools
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
import numpy.typing as npt

from grounding.boxes import Boxes, area

_Distinct = tuple[npt.NDArray[Any], npt.NDArray[np.intp]]
_MOST_CANDIDATES = 1000  # only the best-scored proposals enter non-maximum suppression


def box_masses(maps: npt.NDArray[np.float32], boxes: Boxes, height: int, width: int) -> npt.NDArray[np.float32]:
    """Sum the map inside each box, by integral image; a cell that a box cuts counts with the share inside.

    Args:
        maps: (K, h, w) float32, non-negative, spread over the picture.
        boxes: (N, 4) in pixels of that picture.
        height: of the picture, in px.
        width: of the picture, in px.

    Returns:
        (K, N) float32.
    """
    integral = np.zeros((len(maps), maps.shape[1] + 1, maps.shape[2] + 1))
    integral[:, 1:, 1:] = maps.astype(np.float64).cumsum(1).cumsum(2)
    xs, ys, corners = _edges(boxes.tobytes(), boxes.dtype.str, height, width, maps.shape[1:])
    top, left = np.minimum(ys.astype(int), maps.shape[1] - 1)[:, None], np.minimum(xs.astype(int), maps.shape[2] - 1)
    down, right = ys[:, None] - top, xs - left
    upper = integral[:, top, left] * (1 - right) + integral[:, top, left + 1] * right
    lower = integral[:, top + 1, left] * (1 - right) + integral[:, top + 1, left + 1] * right
    sums = upper * (1 - down) + lower * down  # (K, Y, X), of all that is above and left of where edges meet
    inside = np.empty((len(maps), len(boxes)), np.float32)
    for row, above_left in zip(inside, sums.reshape(len(maps), -1), strict=True):  # small enough for the cache
        bottom_right, top_right, bottom_left, top_left = (above_left.take(corner) for corner in corners)
        row[:] = np.maximum(bottom_right - top_right - bottom_left + top_left, 0)
    return inside


@functools.lru_cache(maxsize=8)  # windows are the same for every picture of a size
def _edges(boxes: bytes, dtype: str, height: int, width: int, cells: tuple[int, int]) -> tuple[Any, Any, Any]:
    """The X distinct x and Y distinct y of the edges of boxes, in cells of a map, and for each box where they meet: in
    rows of X for each y, the bottom right, top right, bottom left and top left, (4, N).
    """
    scale = np.array([cells[1] / width, cells[0] / height])
    places = np.frombuffer(boxes, dtype).reshape(-1, 2, 2) * scale
    (xs, (x0, x1)), (ys, (y0, y1)) = _distinct(places[..., 0]), _distinct(places[..., 1])
    return xs, ys, np.stack([y * len(xs) + x for x in (x1, x0) for y in (y1, y0)])


@functools.lru_cache(maxsize=8)
def _sizes(boxes: bytes, dtype: str, height: int, width: int) -> _Distinct:
    """The distinct shares of the picture that boxes cover, more than 0, and which of them each box has."""
    shares = area(np.frombuffer(boxes, dtype).reshape(-1, 4)) / (height * width)
    return _distinct(np.maximum(shares, np.finfo(np.float32).tiny))


def _distinct(values: npt.NDArray[Any]) -> _Distinct:
    """The distinct values, and which of them each of (N, ...) values is, transposed: (..., N)."""
    distinct, which = np.unique(values, return_inverse=True)
    return distinct, which.reshape(values.shape).T


def spread(maps: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Measure the share of the picture that each map covers: its participation ratio, (sum m)^2 / (cells * sum m^2).

    Args:
        maps: (K, h, w) float32, non-negative.

    Returns:
        (K,) float64 in (0, 1]: 1 for an even map, 1 / cells for a single peak; 1 for an empty map.
    """
    exact = maps.astype(np.float64)
    mass, power = exact.sum((1, 2)), (exact**2).sum((1, 2)) * maps[0].size
    ratio: npt.NDArray[np.float64] = np.divide(mass**2, power, out=np.ones_like(mass), where=power > 0)
    return ratio


def score_boxes(
    maps: npt.NDArray[np.float32],
    boxes: Boxes,
    height: int,
    width: int,
    gamma: float | npt.NDArray[np.float64],
) -> npt.NDArray[np.float32]:
    """Score boxes by `S_R / A_R^gamma`: the share of the map in a box over the share of the picture in it, to gamma.

    A map without mass scores 0 everywhere.

    Args:
        maps: (K, h, w) float32, non-negative, spread over the picture.
        boxes: (N, 4) in pixels of that picture.
        height: of the picture, in px.
        width: of the picture, in px.
        gamma: one for all maps, (K,), or (G, K) to score G times.

    Returns:
        (K, N) or (G, K, N) float32, at least 0.
    """
    total = maps.sum((1, 2), keepdims=True)
    shares = np.divide(maps, total, out=np.zeros_like(maps), where=total > 0)
    sizes, which = _sizes(boxes.tobytes(), boxes.dtype.str, height, width)  # many boxes, few sizes
    gammas = np.broadcast_to(np.asarray(gamma, np.float64), np.broadcast_shapes(np.shape(gamma), maps.shape[:1]))
    powers = sizes ** gammas[..., None]  # (K, S) or (G, K, S)
    scores = np.empty((*gammas.shape, len(boxes)), np.float32)
    for k, masses in enumerate(box_masses(shares, boxes, height, width)):  # small enough for the cache
        scores[..., k, :] = masses / powers[..., k, :].take(which, -1)
    return scores


def best_boxes(scores: npt.NDArray[np.float32], boxes: Boxes, top_k: int, nms_iou: float) -> npt.NDArray[np.intp]:
    """Choose the `top_k` best-scored boxes after non-maximum suppression, best first; ties keep the first.

    Args:
        scores: (N,) float32.
        boxes: (N, 4).
        top_k: how many at most.
        nms_iou: a box that overlaps a better one by more than this IoU is dropped.

    Returns:
        (at most top_k,) indices into `boxes`.
    """
    good = _best(scores, _MOST_CANDIDATES)  # the only ones worth sorting
    order = good[np.argsort(-scores[good], kind="stable")][:_MOST_CANDIDATES]
    return _unrepeated(order, boxes, top_k, nms_iou)


def _best(scores: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.intp]:
    """The indices of the `count` best scores, and of those that equal the least of them, in their order."""
    likely = np.flatnonzero(scores >= _nth(scores[::8], count // 6))  # by an eighth of them, with a third to spare
    good = likely if len(likely) >= count else np.arange(len(scores))
    best: npt.NDArray[np.intp] = good[scores[good] >= _nth(scores[good], count)]
    return best


def _nth(scores: npt.NDArray[np.float32], count: int) -> float:
    """The least of the `count` best scores; minus infinity where there are no more."""
    return np.partition(scores, -count)[-count] if len(scores) > count else -np.inf


def in_turns(turns: Sequence[npt.NDArray[np.intp]], boxes: Boxes, top_k: int, nms_iou: float) -> npt.NDArray[np.intp]:
    """Take the best of every ranking, then the second of every ranking and so on, less those that repeat a box.

    Args:
        turns: indices into `boxes`, best first, one array a ranking.
        boxes: (N, 4).
        nms_iou: as `best_boxes`.

    Returns:
        (at most top_k,) indices into `boxes`.
    """
    mixed = [index for group in zip_longest(*(turn.tolist() for turn in turns)) for index in group if index is not None]
    order = np.array(list(dict.fromkeys(mixed)), np.intp)
    return _unrepeated(order, boxes, top_k, nms_iou)


def _unrepeated(order: npt.NDArray[np.intp], boxes: Boxes, top_k: int, nms_iou: float) -> npt.NDArray[np.intp]:
    """Greedy non-maximum suppression of boxes in this order, best first, which ends at the `top_k`-th that is kept.

    Not torchvision's, whose import takes longer than all else that a picture needs, and which goes on to the last box.
    """
    x0, y0, x1, y1 = np.ascontiguousarray(boxes[order].T, np.float64)
    areas = (x1 - x0) * (y1 - y0)
    kept: list[int] = []
    free = np.ones(len(order), bool)
    while len(kept) < top_k and free.any():
        best = int(free.argmax())
        across = np.minimum(x1, x1[best]) - np.maximum(x0, x0[best])
        down = np.minimum(y1, y1[best]) - np.maximum(y0, y0[best])
        both = np.maximum(across, 0) * np.maximum(down, 0)
        union = np.maximum(areas + areas[best] - both, np.finfo(np.float64).tiny)
        free &= both / union <= nms_iou
        free[best] = False  # one without area does not overlap itself
        kept.append(best)
    return order[kept]
