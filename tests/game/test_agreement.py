"""How well players agree, against all halves by hand; and what is said of it."""

import itertools

import numpy as np
import pytest
from scipy.stats import spearmanr

from grounding.game.agreement import half_agreement
from grounding.game.cells import cells_of
from grounding.game.report import report
from helpers.clickme import PLAYERS, played, spot


def scattered(seed, players, name="cat/a.jpg", middle=(60, 40)):
    """Players who paint round a place, each a little off."""
    chance = np.random.default_rng(seed)
    return [
        played(name, PLAYERS[player], at=(np.clip(chance.normal(middle, 9, (15, 2)), 0, (120, 80))).tolist())
        for player in range(players)
    ]


def slow_agreement(rounds):
    """The mean over all ways to take half of the players, rounded down."""
    found = []
    for some in itertools.combinations(range(len(rounds)), len(rounds) // 2):
        halves = [
            [each.bubbles for place, each in enumerate(rounds) if (place in some) == half] for half in (True, False)
        ]
        found.append(spearmanr(*[cells_of(half, 120, 80).ravel() for half in halves])[0])
    return float(np.mean(found))


@pytest.mark.parametrize("pictures", [{}, {"a": scattered(0, 1)}])
def test_nobody_to_agree_with(pictures):
    found = half_agreement(pictures, 0)
    assert found == (None, None, 0)


@pytest.mark.parametrize("players", [2, 3, 4, 5])
def test_all_halves_of_few_players(players):
    rounds = scattered(players, players)
    found = half_agreement({"a": rounds, "b": scattered(1, 1)}, 0)
    assert found.same == pytest.approx(slow_agreement(rounds), abs=1e-9)
    assert (found.different, found.pictures) == (None, 1)


def test_some_halves_of_many_players():
    rounds = scattered(7, 8)
    first, again, other = (half_agreement({"a": rounds}, seed).same for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert first == pytest.approx(slow_agreement(rounds), abs=0.05)


def test_pictures_that_are_painted_in_other_places():
    pictures = {"a": scattered(1, 4, middle=(25, 25)), "b": scattered(2, 4, middle=(95, 55))}
    found = half_agreement(pictures, 0)
    assert found.same > 0.4
    assert found.different < 0.1
    assert found.pictures == 2


def test_an_empty_report():
    assert report([]) == ["no round has been played yet"]


def test_a_report_of_one_player():
    rounds = [played(at=spot(9, 9)), played("cat/b.jpg", at=[(1, 1)], outcome="recognised"), played(outcome="skipped")]
    assert report(rounds) == [
        "3 rounds of 1 player: 1 recognised, 1 out of time, 1 skipped",
        "1 picture with a map, of 1 round; 1 more have at most 10 clicks, and are left out",
        "catch trials: none yet",
        "split-half agreement: needs a picture that two players have painted; there is none yet",
    ]


def test_a_report_of_several():
    rounds = scattered(0, 4) + scattered(1, 4, "cat/b.jpg", (20, 20))
    rounds += [played(player=PLAYERS[3], catch="box", passed=False)] * 3 + [
        played(player=PLAYERS[0], catch="box", passed=True)
    ]
    lines = report(rounds)
    assert lines[:3] == [
        "12 rounds of 4 players: 12 out of time",
        "2 pictures with a map, of 6 rounds",
        "catch trials: 4, 3 failed; 1 of 4 players flagged (from 3 trials on); left out of the maps: "
        f"{PLAYERS[3]}, who failed more than half",
    ]
    found = half_agreement({"cat/a.jpg": rounds[:3], "cat/b.jpg": rounds[4:7]}, 0)
    assert lines[3] == (
        f"split-half agreement: Spearman {found.same:.2f} on 2 pictures of at least two players (up to 20 splits a "
        f"picture); {found.different:.2f} between different pictures"
    )
