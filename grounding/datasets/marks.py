"""From the objects that the files of a data set mark to labelled pictures: the same rules for every data set."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final, NamedTuple

import numpy as np

from grounding.datasets.labelled import ClassRegion, LabelledImage, Mask
from grounding.errors import GroundingError

NO_OBJECT: Final = "pictures without objects"
CLIPPED: Final = "boxes reaching outside, clipped"
NOTHING_INSIDE: Final = "boxes with nothing inside the picture"
_MOST_PX = 1_000_000_000  # of a picture; a mask of it takes as many bytes
_NOISE_PX: Final = 1e-6  # what sums such as x + width are off by

Box = tuple[float, float, float, float]  # x0, y0, x1, y1, half-open, in px
Shape = Callable[[], Mask]  # gives a mask of the picture's (height, width)


class Mark(NamedTuple):
    """One object.

    Attributes:
        name: of its class.
        box: may reach outside the picture.
        shape: None where it has only a box.
    """

    name: str
    box: Box
    shape: Shape | None = None


def labelled_image(
    name: str, width: int, height: int, marks: Iterable[Mark], places: Mapping[str, int], left_out: Counter[str]
) -> LabelledImage | None:
    """Group the objects that count by class, in the order of the classes.

    A box is clipped to the picture; one with nothing inside is dropped, with its mask. The mask of a class is the union
    of those of its objects, and there is none where one of them has none.

    Args:
        places: the position of each class in the data set's order.
        left_out: is told what was clipped and dropped.

    Returns:
        None, also told to `left_out`, where no object is left.
    """
    groups: defaultdict[str, list[Mark]] = defaultdict(list)
    for mark in marks:
        if box := clipped(mark.box, width, height, left_out):
            groups[mark.name].append(mark._replace(box=box))
    if not groups:
        left_out[NO_OBJECT] += 1
        return None
    regions = (_region(each, groups[each], width, height) for each in sorted(groups, key=places.__getitem__))
    return LabelledImage(name, width, height, tuple(regions))


def clipped(box: Box, width: int, height: int, left_out: Counter[str]) -> Box | None:
    """The part of a box inside the picture; None where there is none. `left_out` is told of either."""
    x0, y0, x1, y1 = box
    inside = max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))
    if inside[0] >= inside[2] or inside[1] >= inside[3]:
        left_out[NOTHING_INSIDE] += 1
        return None
    left_out[CLIPPED] += any(abs(old - new) > _NOISE_PX for old, new in zip(box, inside, strict=True))
    return inside


def whole_size(where: str, width: object, height: object) -> tuple[int, int]:
    """Width and height as whole numbers.

    Raises:
        GroundingError: they are none, below 1, or those of no picture: over 1,000 million px.
    """
    sides = [number(where, side) for side in (width, height)]
    if any(side < 1 or side != int(side) for side in sides):
        raise GroundingError(f"{where}: the size is {width} x {height}: expected whole numbers, at least 1")
    if sides[0] * sides[1] > _MOST_PX:
        raise GroundingError(
            f"{where}: the size is {width} x {height}: expected at most {_MOST_PX // 1_000_000:,} million px"
        )
    return int(sides[0]), int(sides[1])


def number(where: str, value: object) -> float:
    """A finite number, from a number or its digits.

    Raises:
        GroundingError: it is none.
    """
    try:
        found = math.nan if isinstance(value, bool) or not isinstance(value, int | float | str) else float(value)
    except (ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise GroundingError(f"{where}: {value!r} is no number: expected px")
    return found


def known(left_out: Counter[str]) -> dict[str, int]:
    """What was left out, without what never happened."""
    return {reason: count for reason, count in left_out.items() if count}


def _region(name: str, marks: list[Mark], width: int, height: int) -> ClassRegion:
    shapes = [mark.shape for mark in marks if mark.shape]
    boxes = np.array([mark.box for mark in marks], np.float64)
    whole = len(shapes) == len(marks)
    return ClassRegion(name, boxes, partial(_union, tuple(shapes), (height, width)) if whole else None)


def _union(shapes: tuple[Shape, ...], size: tuple[int, int]) -> Mask:
    union = np.zeros(size, np.bool_)
    for shape in shapes:
        union |= shape()
    return union
