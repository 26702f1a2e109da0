"""The pointing game by class: does the highest pixel of a class's map hit one of its objects?

Zhang et al., *Top-down Neural Attention by Excitation Backprop* (arXiv 1608.00507), section 4.1. Everything is counted
in whole pixels: a box covers the pixels whose centre lies in it, and at least the one at its own centre; a mask covers
its True pixels.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from grounding.boxes import Boxes
from grounding.datasets.labelled import ClassRegion, LabelledImage, Mask
from grounding.errors import GroundingError
from grounding.evaluation.protocols.map_boxes import Map

TOLERANCE_PX: Final = 15
DIFFICULT_SHARE: Final = 0.25  # of the picture: a difficult class covers less

Pixel = tuple[int, int]  # column, row


def highest_pixel(map_: Map) -> Pixel | None:
    """The column and row of the maximum of an (H, W) map; the first by row of equals; None without a value above 0."""
    row, column = divmod(int(map_.argmax()), map_.shape[1])
    return (column, row) if map_[row, column] > 0 else None


def point_hits(pixel: Pixel, region: ClassRegion, width: int, height: int) -> bool:
    """Whether a pixel of the region is at most `TOLERANCE_PX` away, from centre to centre: 15 px hits, 15.03 misses.

    The region's mask decides where it has one, else its boxes. A mask without a pixel is never hit.

    Args:
        pixel: column and row.
        region: of the class in the picture.
        width: of the picture, in px.
        height: of the picture, in px.

    Raises:
        GroundingError: the mask does not have the picture's size.
    """
    column, row = pixel
    if region.mask is not None:
        left, top = max(column - TOLERANCE_PX, 0), max(row - TOLERANCE_PX, 0)
        mask = _mask_of(region, width, height)[top : row + TOLERANCE_PX + 1, left : column + TOLERANCE_PX + 1]
        rows, columns = mask.nonzero()
        squares = (columns + left - column) ** 2 + (rows + top - row) ** 2
    else:
        ranges = _covered_ranges(region.boxes, width, height)
        nearest = np.clip([column, row], ranges[:, :2], ranges[:, 2:] - 1)  # (N, 2)
        squares = ((nearest - [column, row]) ** 2).sum(1)
    return bool((squares <= TOLERANCE_PX**2).any())


def covered_share(region: ClassRegion, width: int, height: int) -> float:
    """The share of the picture's pixels that the region's mask, or the union of its boxes, covers.

    Raises:
        GroundingError: the mask does not have the picture's size.
    """
    if region.mask is not None:
        return float(_mask_of(region, width, height).mean())
    covered = np.zeros((height, width), np.bool_)
    for x0, y0, x1, y1 in _covered_ranges(region.boxes, width, height).tolist():
        covered[y0:y1, x0:x1] = True
    return float(covered.mean())


def is_difficult(image: LabelledImage, region: ClassRegion) -> bool:
    """Whether the picture shows another class too, and this one covers less than a quarter of it."""
    return len(image.regions) >= 2 and covered_share(region, image.width, image.height) < DIFFICULT_SHARE


def _covered_ranges(boxes: Boxes, width: int, height: int) -> npt.NDArray[np.int64]:
    """(N, 4) boxes in px -> (N, 4) the whole pixels that they cover, half-open as boxes are, at least one each."""
    ranges: npt.NDArray[np.int64] = np.ceil(boxes - 0.5).clip(0, [width, height] * 2).astype(np.int64)
    nothing = (ranges[:, :2] >= ranges[:, 2:]).any(1)
    middle = np.floor((boxes[nothing, :2] + boxes[nothing, 2:]) / 2).clip(0, [width - 1, height - 1]).astype(np.int64)
    ranges[nothing] = np.concatenate([middle, middle + 1], axis=1)
    return ranges


def _mask_of(region: ClassRegion, width: int, height: int) -> Mask:
    assert region.mask is not None
    mask = region.mask()
    if mask.shape != (height, width):
        raise GroundingError(
            f"mask of {region.name!r} is {mask.shape[-1]} x {mask.shape[0]} px in a picture of {width} x {height} px: "
            "expected the same size; check the annotations"
        )
    return mask
