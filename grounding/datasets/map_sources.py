"""What every reader of human maps gives, and how it checks a map."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from grounding.boxes import Values
from grounding.errors import GroundingError

RAW_CLICKME: Final = (
    "the raw release of ClickMe 2.0 (.npz) holds pickled objects, which would run code of whoever wrote them: expected "
    "its CSV or processed HDF5"
)
_TOLERANCE: Final = 0.03  # of the ratio of the sides


@dataclass(frozen=True, slots=True, eq=False)
class MapSource:
    """Human maps that are read when asked for.

    Attributes:
        names: of the maps; what pictures are told from.
        read: by the name of a map and the width and height of its picture in px, the (h, w) float64 map over the whole
            picture, at least 0; raises a `GroundingError` where it is damaged or does not fit.
        finished: the maps are not spread any more.
        left_out: what is in none of the maps, and why -> how many.
    """

    names: Sequence[str]
    read: Callable[[str, int, int], Values]
    finished: bool = False
    left_out: Mapping[str, int] = field(default_factory=dict)


def check_map(where: str, values: npt.NDArray[Any], width: int, height: int) -> Values:
    """A map over the whole picture, as it was given, in float64.

    Raises:
        GroundingError: it is not (h, w) numbers, at least 0 and finite; or its sides are in another ratio than the
            picture's `width` and `height`, and not equal either, as those of a squashed picture are.
    """
    if values.ndim != 2 or values.dtype.kind not in "buif" or not values.size:
        raise GroundingError(
            f"{where} has shape {values.shape} of {values.dtype}: expected a map (h, w) of numbers, one map a picture"
        )
    map_ = values.astype(np.float64)
    if not np.isfinite(map_).all() or map_.min() < 0:
        problem = "values below 0" if np.isfinite(map_).all() else "NaN or infinite values"
        raise GroundingError(f"{where} has {problem}: expected clicks or weights, 0 or more")
    check_ratio(where, map_.shape[1], map_.shape[0], width, height)
    return map_


def check_ratio(where: str, width: float, height: float, picture_width: int, picture_height: int) -> None:
    """Raise a `GroundingError` unless a map's sides are equal, or in the ratio of the picture's."""
    first, second = width * picture_height, height * picture_width
    if width != height and abs(first - second) > _TOLERANCE * second:
        raise GroundingError(
            f"{where} is {width:g} x {height:g} px and its picture {picture_width} x {picture_height}: expected sides "
            "in the same ratio, or a square over the whole picture; is it the map of another picture, or of a part?"
        )
