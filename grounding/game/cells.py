"""The map of some players of a picture, as the ClickMe lab makes it, at a size at which maps are compared.

One binary map a player, their mean, then a flat disc of 21 px at 256 px, applied twice.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from grounding.datasets.clickme_tables import MAX_CLICKS
from grounding.datasets.map_cells import Cells, Spread, to_cells
from grounding.game.rounds import Bubble

_SIDE: Final = 256  # px of the map, squashed, that is spread
_NOISE: Final = 1e-9  # of the maximum: what is left of 0 by a spread through Fourier space, and would have a rank
SPREAD: Final = Spread("discs", 21 / 256)


def cells_of(players: Sequence[Sequence[Bubble]], width: int, height: int) -> Cells | None:
    """The map of a picture.

    Args:
        players: the bubbles of each, px of the picture; of each the first 75 count.
        width: of the picture, in px.
        height: of the picture, in px.

    Returns:
        (64, 64) float32 over the whole picture, sums to 1; None without a bubble.
    """
    total = np.zeros((_SIDE, _SIDE))
    for bubbles in players:
        points = np.array([bubble[:2] for bubble in bubbles[:MAX_CLICKS]], np.float64).reshape(-1, 2)
        columns, rows = np.minimum(points * _SIDE / (width, height), _SIDE - 1).astype(np.int64).T
        clicked = np.zeros((_SIDE, _SIDE))
        clicked[rows, columns] = 1
        total += clicked
    cells = to_cells(total / max(len(players), 1), SPREAD, width, height)
    if cells is not None:
        cells[cells < _NOISE * cells.max()] = 0
    return cells
