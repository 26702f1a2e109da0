"""Catch trials: rounds that tell whether a player paints what matters, or anything.

Where the place is known, at least half of a player's bubbles must lie in its boxes. A picture that is shown to a player
again must be painted more like the first time than like the player's other pictures: who always paints the middle, or
scribbles, does that half of the time.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np

from grounding.datasets.marks import Box
from grounding.evaluation.protocols.agreement import spearman
from grounding.game.cells import cells_of
from grounding.game.rounds import Bubble, Round

_SHARE: Final = 0.5  # of the bubbles that must lie in a box
LEAST_TRIALS: Final = 3  # before a player is left out


class Trials(NamedTuple):
    """The catch trials of a player, and how many were failed."""

    trials: int
    failed: int

    @property
    def flagged(self) -> bool:
        """Whether the player is left out of the maps: failed more than half of at least three."""
        return self.trials >= LEAST_TRIALS and self.failed > self.trials / 2


def in_boxes(bubbles: Sequence[Bubble], boxes: Iterable[Box]) -> bool:
    """Whether at least half of the bubbles, and one at least, lie in boxes (x0, y0, x1, y1 in px)."""
    boxes = list(boxes)
    inside = sum(any(x0 <= x < x1 and y0 <= y < y1 for x0, y0, x1, y1 in boxes) for x, y, _ in bubbles)
    return bool(bubbles) and inside >= _SHARE * len(bubbles)


def same_again(bubbles: Sequence[Bubble], first: Round, others: Sequence[Round]) -> bool:
    """Whether a repeated picture was painted more like the first time than like the player's other pictures.

    Args:
        first: of the same picture; the bubbles are px of it.
        others: of other pictures; the first time has to be alike at all, even without any.
    """
    again = cells_of([bubbles], first.width, first.height)
    then = cells_of([first.bubbles], first.width, first.height)
    if again is None or then is None:
        return False
    theirs = [cells_of([each.bubbles], each.width, each.height) for each in others]
    elsewhere = [spearman(again, cells) for cells in theirs if cells is not None]
    return spearman(again, then) > max(0.0, float(np.mean(elsewhere)) if elsewhere else 0.0)


def trials_of(rounds: Iterable[Round]) -> dict[str, Trials]:
    """The catch trials of each player who had one."""
    counts = defaultdict[str, list[bool]](list)
    for each in rounds:
        if each.passed is not None:
            counts[each.player].append(each.passed)
    return {player: Trials(len(passed), passed.count(False)) for player, passed in counts.items()}
