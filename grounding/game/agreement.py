"""How well the players agree where to look: the split-half agreement of their maps."""

import random
from collections.abc import Mapping, Sequence
from itertools import combinations
from math import comb
from typing import Final, NamedTuple

import numpy as np

from grounding.evaluation.protocols.agreement import spearman
from grounding.game.cells import cells_of
from grounding.game.rounds import Round

SPLITS: Final = 20


class HalfAgreement(NamedTuple):
    """Spearman's rank correlation of the maps of two halves of a picture's players.

    Attributes:
        same: the mean over splits, then over pictures; None where no picture has two players.
        different: of halves of two different pictures, which is what everybody's painting the middle gives; None where
            only one picture has two players.
        pictures: how many have at least two players.
    """

    same: float | None
    different: float | None
    pictures: int


def half_agreement(pictures: Mapping[str, Sequence[Round]], seed: int) -> HalfAgreement:
    """The agreement of players, over all ways to halve them or 20 random ones.

    Args:
        pictures: the rounds of each, one a player.
    """
    shared = {name: rounds for name, rounds in sorted(pictures.items()) if len(rounds) > 1}
    within, halves = [], []
    for name, rounds in shared.items():
        maps = []
        for some in _splits(len(rounds), random.Random(f"{seed} {name}")):
            groups = [[r for i, r in enumerate(rounds) if (i in some) == half] for half in (True, False)]
            maps.append([_map(group) for group in groups])
        within.append(np.mean([spearman(one, other) for one, other in maps]))
        halves.append(maps[0])
    beside = [spearman(halves[i][0], halves[i - 1][1]) for i in range(len(halves))] if len(halves) > 1 else []
    return HalfAgreement(
        float(np.mean(within)) if within else None, float(np.mean(beside)) if beside else None, len(shared)
    )


def _splits(players: int, chance: random.Random) -> list[set[int]]:
    """The smaller halves: every one where these are few."""
    half = players // 2
    if comb(players, half) <= 2 * SPLITS:
        return [set(some) for some in combinations(range(players), half)]
    return [set(chance.sample(range(players), half)) for _ in range(SPLITS)]


def _map(rounds: Sequence[Round]) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
    cells = cells_of([each.bubbles for each in rounds], rounds[0].width, rounds[0].height)
    assert cells is not None, "rounds without bubbles are in no map"
    return cells
