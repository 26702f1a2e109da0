"""The masks of COCO: polygons, and run lengths, plain or compressed.

pycocotools turns polygons into run lengths. Its decoder warns under NumPy 2, and of damaged run lengths it gives memory
that nobody wrote, so that they are checked and laid out here.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from grounding.datasets.labelled import Mask
from grounding.errors import GroundingError

_LAST, _SIGN, _BITS = 0x20, 0x10, 0x1F  # of a character less 48: another follows; it is negative; its five bits


def decoded_mask(segmentation: object, width: int, height: int, where: str) -> Mask:
    """The (height, width) mask of a `segmentation`.

    Args:
        segmentation: a list of polygons `[x, y, x, y, ...]`, or `{"size": [height, width], "counts": runs}`, where runs
            are lengths of 0s and 1s in turn, column by column, or those compressed to a text.
        where: it stands, for messages.

    Raises:
        GroundingError: it is none of these, of another size, or a point is farther outside than the picture is large.
    """
    try:
        if isinstance(segmentation, Mapping):
            runs = _checked_runs(segmentation, width, height)
        else:
            runs = _polygon_runs(segmentation, width, height)
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise GroundingError(f"{where}: its segmentation cannot be decoded ({error}): is the file whole?") from error
    pixels = np.repeat(np.arange(len(runs)) % 2 == 1, runs)  # column by column
    return pixels.reshape(width, height).T


def _polygon_runs(polygons: Any, width: int, height: int) -> list[int]:
    from pycocotools import mask

    checked = []
    for polygon in polygons:
        edges = np.array(polygon, np.float64)
        if edges.ndim != 1 or len(edges) < 6 or len(edges) % 2:
            raise ValueError("a polygon is no list of at least 3 points x, y")
        points = edges.reshape(-1, 2) / (width, height)
        if not ((points >= -1) & (points <= 2)).all():  # also for NaN
            raise ValueError("a point of a polygon is far outside the picture")  # pycocotools would take all memory
        checked.append(edges.tolist())
    return _expanded(mask.merge(mask.frPyObjects(checked, height, width))["counts"].decode("ascii"))


def _checked_runs(segmentation: Mapping[str, Any], width: int, height: int) -> list[int]:
    size, counts = list(segmentation["size"]), segmentation["counts"]
    if size != [height, width]:
        raise ValueError(f"its size is {size}, but that of the picture {[height, width]}")
    runs = _expanded(counts) if isinstance(counts, str) else [int(count) for count in counts]
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ValueError(f"its runs add up to {sum(runs)} px, but the picture has {height * width}")
    return runs


def _expanded(text: str) -> list[int]:
    """Run lengths from their compressed form.

    A number is written from its lowest bits on, five in a character, in two's complement; from the fourth on it is what
    a run differs by from the last but one (cocoapi, `rleToString`).
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64:
            raise ValueError(f"{character!r} does not occur in compressed run lengths")
        value |= (code & _BITS) << shift
        shift += 5
        if not code & _LAST:
            value -= (1 << shift) if code & _SIGN else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("its compressed run lengths are cut short")
    return runs
