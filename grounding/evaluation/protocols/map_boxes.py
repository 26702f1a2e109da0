"""From a map to boxes: the connected components above a threshold, or one box round all that is above it.

The boxes are half-open px of the map, as everywhere. A pixel belongs to what is kept when its value is at least the
threshold. Pixels that touch at a corner are connected.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from grounding.boxes import Values

Map = npt.NDArray[np.floating[Any]]  # (H, W), at least 0
_BINS: Final = 256


def normalised(map_: Map) -> Values:
    """(H, W) scaled to minimum 0 and maximum 1, float64; all zero where the map is constant."""
    values = map_.astype(np.float64)
    low = values.min()
    scale = values.max() - low
    return (values - low) / scale if scale > 0 else np.zeros_like(values)


def component_boxes(map_: Map, threshold: float) -> tuple[Values, npt.NDArray[np.int64]]:
    """The tight boxes of the connected components of {map >= threshold}.

    Returns:
        boxes: (N, 4) float64, the component of most pixels first; of equals the one whose box begins further up, then
            further left, then ends further up, then further left.
        areas: (N,) how many pixels each component has.
    """
    boxes, areas = connected(map_.astype(np.float64) >= threshold)
    order = _order(boxes, areas)
    return boxes[order], areas[order]


def connected(kept: npt.NDArray[np.bool_]) -> tuple[Values, npt.NDArray[np.int64]]:
    """The components of the True pixels of (H, W) as `component_boxes` has them, in no particular order."""
    import cv2

    pixels = kept.view(np.uint8)
    x, y, width, height = cv2.boundingRect(pixels)  # nothing else need be searched
    within = pixels[y : y + height, x : x + width]
    if not within.size:
        return np.zeros((0, 4)), np.zeros(0, np.int64)
    statistics = cv2.connectedComponentsWithStatsWithAlgorithm(within, 8, cv2.CV_32S, cv2.CCL_BBDT)[2]
    x0, y0, widths, heights, areas = statistics[1:].astype(np.int64).T  # without the background
    return np.stack([x0 + x, y0 + y, x0 + x + widths, y0 + y + heights], axis=1).astype(np.float64), areas


def largest_of(boxes: Values, areas: npt.NDArray[np.int64]) -> int:
    """Which of N >= 1 components `component_boxes` has first."""
    equals = np.flatnonzero(areas == areas.max())
    return int(equals[_order(boxes[equals], areas[equals])[0]] if len(equals) > 1 else equals[0])


def box_above_mean(map_: Map, multiple: float) -> Values:
    """(1, 4) the tight box round all pixels of at least `multiple` times the map's mean; (0, 4) where there is none.

    A map without a value above 0 has no box.
    """
    rows, columns = map_.max(1).astype(np.float64), map_.max(0).astype(np.float64)
    highest = rows.max()
    if highest <= 0:
        return np.zeros((0, 4))
    threshold = multiple * min(map_.mean(dtype=np.float64), highest)  # the rounded mean of equal values may be above
    down, across = np.flatnonzero(rows >= threshold), np.flatnonzero(columns >= threshold)
    if not len(down):
        return np.zeros((0, 4))
    return np.array([[across[0], down[0], across[-1] + 1, down[-1] + 1]], np.float64)


def otsu_threshold(map_: Map) -> float:
    """The threshold of the normalised map that separates its 256 equal bins best (Otsu, 1979).

    Where the map is constant it is above every pixel.

    Returns:
        One of 1/256 ... 255/256.
    """
    import cv2

    bins = (normalised(map_) * _BINS).clip(max=_BINS - 1).astype(np.uint8)
    last_below = cv2.threshold(bins, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[0]
    return (float(last_below) + 1) / _BINS


def _order(boxes: Values, areas: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    x0, y0, x1, y1 = boxes.T
    return np.lexsort((x1, y1, x0, y0, -areas))
