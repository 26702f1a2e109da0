"""The one box convention: (N, 4) float `x0 y0 x1 y1`, half-open pixel edges, so the area is `(x1-x0)*(y1-y0)`."""

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.floating[Any]]  # (N, 4)
Values = npt.NDArray[np.float64]


def area(boxes: Boxes) -> npt.NDArray[np.floating[Any]]:
    """(N, 4) -> (N,) areas in square pixels."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def iou(boxes: Boxes, others: Boxes) -> Values:
    """Intersection over union of each box with each other one.

    Args:
        boxes: (N, 4) in px.
        others: (M, 4) in px.

    Returns:
        (N, M) float64 from 0 to 1; 0 where both boxes are empty. Whole-number edges give the nearest float64 to the
        true ratio, so that an IoU of exactly 1/2 compares equal to 0.5.
    """
    first, second = boxes.astype(np.float64), others.astype(np.float64)
    both = intersection(first, second)
    union = area(first)[:, None] + area(second) - both
    ratio: Values = np.divide(both, union, out=np.zeros_like(both), where=union > 0)
    return ratio


def intersection(boxes: Boxes, others: Boxes) -> npt.NDArray[np.floating[Any]]:
    """(N, 4) and (M, 4) -> (N, M) areas that both cover."""
    x0, y0, x1, y1 = np.ascontiguousarray(others.T)
    across = (np.minimum(boxes[:, 2:3], x1) - np.maximum(boxes[:, 0:1], x0)).clip(0)
    down = (np.minimum(boxes[:, 3:4], y1) - np.maximum(boxes[:, 1:2], y0)).clip(0)
    both: npt.NDArray[np.floating[Any]] = across * down
    return both


def enclosing(boxes: Boxes) -> Boxes:
    """(N, 4), N at least 1 -> (1, 4), the smallest box round them all."""
    return np.concatenate([boxes[:, :2].min(0), boxes[:, 2:].max(0)])[None]


def disjoint_parts(boxes: Boxes) -> Boxes:
    """(N, 4) -> (M, 4) boxes that cover the same pixels, each pixel once."""
    columns, rows = np.unique(boxes[:, ::2]), np.unique(boxes[:, 1::2])
    parts = [
        (x0, y0, x1, y1)
        for y0, y1 in pairwise(rows)
        for x0, x1 in pairwise(columns)
        if ((boxes[:, 0] <= x0) & (x1 <= boxes[:, 2]) & (boxes[:, 1] <= y0) & (y1 <= boxes[:, 3])).any()
    ]
    return np.array(parts, np.float64).reshape(-1, 4)
