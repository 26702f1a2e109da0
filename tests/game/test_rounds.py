"""What a page may send of a round, and what is logged."""

import json
import math

import pytest

from grounding.errors import GroundingError
from grounding.game.rounds import MOST_BUBBLES, Bubble, Round, check_bubbles, check_outcome, check_player, check_pointer
from helpers.clickme import played
from helpers.labelled import refused


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([], ()),
        ([[0, 0, 0]], ((0, 0, 0),)),
        ([[120, 80, 14.9999]], ((120, 80, 15.0),)),  # edges count as inside; a little late is in time
        ([[1.26, 2.34, 0.12345]], ((1.3, 2.3, 0.123),)),
    ],
)
def test_bubbles(value, expected):
    assert check_bubbles(value, 120, 80, 10) == tuple(Bubble(*each) for each in expected)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "[[1, 1, 1]]",
        {"0": [1, 1, 1]},
        [1, 1, 1],
        [[1, 1]],
        [[1, 1, 1, 1]],
        [["1", 1, 1]],
        [["<b>", 1, 1]],
        [[True, 1, 1]],
        [[None, 1, 1]],
        [[[1], 1, 1]],
        [[-0.1, 1, 1]],
        [[1, 80.1, 1]],
        [[120.1, 1, 1]],
        [[1, 1, 15.1]],
        [[1, 1, -1]],
        [[math.nan, 1, 1]],
        [[1, math.inf, 1]],
        [[1, -math.inf, 1]],
        [[1, 1, 10**400]],
        [[1, 1, 1]] * (MOST_BUBBLES + 1),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_no_bubble(value):
    message = refused(check_bubbles, value, 120, 80, 10)
    assert "bubble" in message
    assert len(message) < 200


@pytest.mark.parametrize(
    "value", [None, 1, "", "A" * 16, "0" * 15, "0" * 17, "../../etc/passwd", "0" * 16 + "\n", ["0"]]
)
def test_what_is_no_player(value):
    assert "player is not one that this game has named" in refused(check_player, value)


@pytest.mark.parametrize("value", [None, 1, "", "recognised", "<b>", ["time"], {}])
def test_what_is_no_outcome_and_no_pointer(value):
    assert "expected time or skipped" in refused(check_outcome, value)
    assert "expected mouse or touch or pen or keyboard" in refused(check_pointer, value)


@pytest.mark.parametrize("changed", [{}, {"catch": "box", "passed": False}, {"outcome": "recognised", "at": ()}])
def test_rounds_are_read_as_they_were_written(changed):
    each = played("cat/ä \n'\".jpg", **changed)
    assert Round.from_dict(json.loads(json.dumps(each.to_dict()))) == each


@pytest.mark.parametrize(
    "changed",
    [
        {"width": 0},
        {"width": "3"},
        {"player": "me"},
        {"outcome": "won"},
        {"catch": "none"},
        {"passed": "yes"},
        {"bubbles": [[121, 1, 1]]},
        {"bubbles": [[1, 1, math.inf]]},
        {"time_s": None},
    ],
)
def test_rounds_that_are_none(changed):
    with pytest.raises((GroundingError, KeyError, TypeError)):
        Round.from_dict({**played().to_dict(), **changed})
