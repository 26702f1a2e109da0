"""Who fails catch trials, and when that counts."""

import pytest

from grounding.game.catch import Trials, in_boxes, same_again, trials_of
from grounding.game.rounds import Bubble
from helpers.clickme import PLAYERS, played, spot

BOXES = [(0, 0, 10, 10), (50, 50, 60, 60)]


@pytest.mark.parametrize(
    ("at", "passed"),
    [
        ([], False),
        ([(5, 5)], True),
        ([(10, 5)], False),  # half-open
        ([(5, 5), (55, 55)], True),  # of either box
        ([(5, 5), (30, 30)], True),  # half of them
        ([(5, 5), (30, 30), (31, 30)], False),
    ],
)
def test_bubbles_in_boxes(at, passed):
    assert in_boxes([Bubble(x, y, 0) for x, y in at], BOXES) is passed


def bubbles(at):
    return played(at=at).bubbles


@pytest.mark.parametrize(
    ("again", "passed"),
    [
        ([], False),
        (spot(20, 20), True),  # where the first time was
        (spot(22, 21), True),
        (spot(90, 50), False),  # where the other pictures were painted
        (spot(60, 0), False),
    ],
)
def test_a_picture_that_is_shown_again(again, passed):
    first = played(at=spot(20, 20))
    others = [played(f"cat/{x}.jpg", at=spot(x, 50)) for x in (88, 92)]
    assert same_again(bubbles(again), first, others) is passed


def test_who_always_paints_the_same_place_does_not_pass_for_that():
    always = spot(60, 40)
    others = [played("cat/b.jpg", at=always), played("cat/c.jpg", at=always)]
    assert not same_again(bubbles(always), played(at=always), others)
    assert same_again(bubbles(always), played(at=always), [])
    assert not same_again(bubbles(always), played(at=()), [])


def test_trials_by_player():
    def trial(player, passed):
        return played(player=PLAYERS[player], catch="box", passed=passed)

    assert trials_of([played()]) == {}
    rounds = [trial(0, True), played(), trial(1, False), trial(0, False), trial(1, False), trial(1, True)]
    assert trials_of(rounds) == {PLAYERS[0]: Trials(2, 1), PLAYERS[1]: Trials(3, 2)}


@pytest.mark.parametrize(
    ("trials", "failed", "flagged"), [(2, 2, False), (3, 1, False), (3, 2, True), (4, 2, False), (5, 3, True)]
)
def test_players_are_flagged_from_three_trials_on(trials, failed, flagged):
    assert Trials(trials, failed).flagged is flagged
