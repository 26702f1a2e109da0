"""Which picture a player gets next: those with the fewest rounds first, and now and then a catch trial."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from grounding.game.pictures import Picture
from grounding.game.schedule import choose
from helpers.clickme import PLAYERS, played, spot

PICTURES = [Picture(f"cat/{name}.jpg", Path(name), "cat", 120, 80) for name in "abcdef"]
ME, OTHER = PLAYERS[:2]


def chosen(rounds=(), player=ME, busy=(), broken=(), catch_share=0.0, seed=0, pictures=PICTURES):
    return choose(pictures, list(rounds), player, busy, broken, catch_share, seed)


def by(player, *names, **changed):
    return [played(f"cat/{name}.jpg", player, at=spot(9, 9), **changed) for name in names]


def test_nothing_is_left():
    assert chosen(pictures=[]) is None
    assert chosen(by(ME, *"abcdef")) is None
    assert chosen(by(ME, *"abcde"), broken=["cat/f.jpg"]) is None


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [
        (by(OTHER, *"abcde"), "f"),
        (by(OTHER, *"abcdef") + by(PLAYERS[2], *"bcdef"), "a"),
        (by(ME, *"acdef") + by(OTHER, "b", "b", "b"), "b"),  # the only one that I have not had
        (by(OTHER, *"abcde") + by(PLAYERS[2], "f", outcome="skipped") + by(ME, "f"), None),
        (by(OTHER, *"bcdef") + by(PLAYERS[3], "a", catch="repeat", passed=True), "a"),  # a trial is no map
        (by(OTHER, *"bcdef") + by(PLAYERS[3], "a", outcome="skipped"), "a"),
    ],
)
def test_pictures_with_the_fewest_rounds_first(rounds, expected):
    found = chosen(rounds)
    assert found is not None
    assert found.picture.name != "cat/f.jpg" if expected is None else found.picture.name == f"cat/{expected}.jpg"
    assert found.catch is None


def test_what_others_are_playing_comes_later():
    first = chosen().picture.name
    assert chosen(player=OTHER).picture.name == first  # the same order for everybody
    assert chosen(player=OTHER, busy=[first]).picture.name != first


def test_the_order_is_that_of_the_seed():
    def order(seed):
        names = []
        while found := chosen(by(ME, *names), seed=seed):
            names.append(found.picture.name[4])
        return "".join(names)

    assert sorted(order(0)) == list("abcdef")
    assert order(0) == order(0)
    assert len({order(seed) for seed in range(5)}) > 1


def test_a_share_of_the_rounds_are_trials():
    """Of many players with three rounds about a third get a trial, and never one before."""
    before = Counter(chosen(by(player, *"ab"), player, catch_share=0.3).catch for player in PLAYERS)
    assert before == {None: len(PLAYERS)}
    trials = [chosen(by(player, *"abc"), player, catch_share=0.3) for player in PLAYERS]
    assert 0.15 < sum(each.catch is not None for each in trials) / len(PLAYERS) < 0.45
    assert {each.picture.name for each in trials if each.catch} == {"cat/a.jpg"}
    assert {each.catch for each in trials} == {None, "repeat"}


def test_pictures_are_repeated_once_and_after_three_rounds():
    rounds = by(ME, *"abc")
    assert chosen(rounds, catch_share=1).picture.name == "cat/a.jpg"
    rounds += by(ME, "a", catch="repeat", passed=True)
    assert chosen(rounds, catch_share=1).picture.name == "cat/b.jpg"
    rounds += by(ME, "b", catch="repeat", passed=True)
    assert chosen(rounds, catch_share=1).picture.name == "cat/c.jpg"
    skipped = by(ME, "a", outcome="skipped") + by(ME, *"bcd")
    assert chosen(skipped, catch_share=1).picture.name == "cat/b.jpg"
    assert chosen(by(ME, *"abc"), catch_share=1, broken=["cat/a.jpg"]).catch is None


def test_pictures_with_boxes_are_for_trials_alone():
    pictures = [*PICTURES[:4], *(replace(each, boxes=((0, 0, 9, 9),)) for each in PICTURES[4:])]
    rounds = by(ME, *"abc")
    found = chosen(rounds, pictures=pictures, catch_share=1)
    assert (found.catch, found.picture.name) == ("box", "cat/e.jpg")
    rounds += by(ME, *"ef", catch="box", passed=True)
    assert chosen(rounds, pictures=pictures, catch_share=1).picture.name == "cat/d.jpg"
    assert chosen(by(ME, *"abcd"), pictures=pictures) is None
