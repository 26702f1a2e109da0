"""A map of any size as 64 x 64 cells over the whole picture; and how far a click or a fixation spreads in it."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from grounding.boxes import Values

CELLS: Final = 64  # each way
Cells = npt.NDArray[np.float32]  # (64, 64), at least 0, sums to 1


@dataclass(frozen=True, slots=True)
class Spread:
    """How far a click or a fixation reaches.

    Attributes:
        kind: `gaussian`; `discs`, a flat disc, applied twice, as the ClickMe lab does it (21 px at 256 px; in the
            repository serre-lab/human_clickme_data_processing); or `none`.
        size: as a share of the picture's shorter side: the Gaussian's standard deviation, or the disc's diameter,
            which becomes an odd number of px.
    """

    kind: Literal["gaussian", "discs", "none"] = "gaussian"
    size: float = 0.05


NO_SPREAD: Final = Spread("none")


def to_cells(map_: Values, spread: Spread, width: int, height: int) -> Cells | None:
    """Spread a map and squash it to 64 x 64 cells, each the mean of what it covers, with sum 1.

    What spreads over the border of the picture is lost.

    Args:
        map_: (h, w), finite and at least 0, over the whole picture; its sides may be in another ratio than the
            picture's, and the spread is then stretched with it.
        width: of the picture, in px: what `spread.size` is a share of.
        height: of the picture, in px.

    Returns:
        (64, 64) float32; None for a map that is 0 everywhere.
    """
    if not map_.max(initial=0) > 0:
        return None
    shares = [spread.size * min(width, height) / side for side in (height, width)]  # of each side of the map
    values = map_ / map_.max()  # no sum overflows
    if spread.kind == "discs":
        values = _twice_by_discs(values, *shares)
    down, across = (
        _overlaps(side) if spread.kind != "gaussian" else _spread_overlaps(side, share * side)
        for side, share in zip(map_.shape, shares, strict=True)
    )
    cells = down @ values @ across.T
    return np.asarray(cells / cells.sum(), np.float32)


def odd_px(length: float) -> int:
    """The nearest whole number of px, or the odd one above it; at least 1."""
    return max(1, round(length)) // 2 * 2 + 1


@lru_cache(64)
def _overlaps(side: int) -> Values:
    """(64, side): how much of each pixel of a side lies in each cell; the sum over the cells is 1."""
    edges = np.arange(CELLS + 1) * side / CELLS
    pixels = np.arange(side)
    return np.asarray(
        (np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)).clip(0), np.float64
    )


@lru_cache(64)
def _spread_overlaps(side: int, sigma_px: float) -> Values:
    """(64, side): the same of pixels that a Gaussian spreads, with height 1 at its middle."""
    pixels = np.arange(side)
    with np.errstate(over="ignore"):  # of a very narrow one
        gaussian = np.exp(-(((pixels[:, None] - pixels) / sigma_px) ** 2) / 2)
    return np.asarray(_overlaps(side) @ gaussian, np.float64)


def _twice_by_discs(values: Values, down: float, across: float) -> Values:
    """(h, w): two convolutions with an even disc whose diameters are these shares of the sides."""
    import cv2

    height, width = (odd_px(share * side) for share, side in zip((down, across), values.shape, strict=True))
    y, x = np.ogrid[:height, :width]
    rows, columns = (height - 1) / 2, (width - 1) / 2  # of the lab: to the centres of the outermost pixels
    inside = ((y - rows) / max(rows, 0.5)) ** 2 + ((x - columns) / max(columns, 0.5)) ** 2 <= 1 + 1e-9
    disc = inside / inside.sum()
    for _ in range(2):
        values = np.asarray(cv2.filter2D(values, cv2.CV_64F, disc, borderType=cv2.BORDER_CONSTANT), np.float64)
    return np.maximum(values, 0)  # a large disc goes through Fourier space
