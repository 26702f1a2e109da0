"""What comes in is checked, and does what it says to a picture."""

import json
import math

import pytest

from grounding.annotation.decisions import ACTIONS, applied, clipped, read_decision
from grounding.annotation.records import Annotated, Drafted
from grounding.errors import GroundingError
from helpers.annotation import HAT, MAN, PICTURES

PICTURE = PICTURES[0]
BOX = {"x0": 1, "y0": 2, "x1": 30, "y1": 40}


def given(action="done", **values):
    return {"person": "ann", "picture": 0, "action": action, **values}


def after(*decisions, picture=PICTURE):
    annotated = picture.start()
    for each in decisions:
        annotated = applied(annotated, clipped(read_decision(each), picture))
    return annotated


def told(annotated):
    return annotated.state, [(box.label, box.edges, box.state) for box in annotated.boxes]


@pytest.mark.parametrize(
    ("decisions", "expected"),
    [
        ([], ("open", [(*MAN[:2], "open"), (*HAT[:2], "open")])),
        ([given("accept", box=1)], ("open", [(*MAN[:2], "open"), (*HAT[:2], "accepted")])),
        ([given("reject", box=0)], ("open", [(*MAN[:2], "rejected"), (*HAT[:2], "open")])),
        ([given("reject", box=0), given("accept", box=0)], ("open", [(*MAN[:2], "accepted"), (*HAT[:2], "open")])),
        ([given("move", box=0, **BOX)], ("open", [("man", (1, 2, 30, 40), "accepted"), (*HAT[:2], "open")])),
        ([given("relabel", box=0, label=" a  cap ")], ("open", [("a cap", MAN[1], "accepted"), (*HAT[:2], "open")])),
        (
            [given("draw", label="dog", **BOX)],
            ("open", [(*MAN[:2], "open"), (*HAT[:2], "open"), ("dog", (1, 2, 30, 40), "accepted")]),
        ),
        ([given("reject", box=0), given()], ("done", [(*MAN[:2], "rejected"), (*HAT[:2], "accepted")])),
        ([given("skip")], ("skipped", [(*MAN[:2], "open"), (*HAT[:2], "open")])),
        ([given("skip"), given("accept", box=0)], ("open", [(*MAN[:2], "accepted"), (*HAT[:2], "open")])),
        ([given(), given("reject", box=0)], ("done", [(*MAN[:2], "rejected"), (*HAT[:2], "accepted")])),
        ([given(), given("reopen")], ("open", [(*MAN[:2], "accepted"), (*HAT[:2], "accepted")])),
    ],
)
def test_what_decisions_do(decisions, expected):
    assert told(after(*decisions)) == expected


def test_what_is_said_of_a_box_is_told_from_how_it_began():
    there, back = given("move", box=0, **BOX), given("move", box=0, x0=10, y0=20, x1=60, y1=90)
    drawn, other = given("draw", label="dog", **BOX), given("relabel", box=2, label="cat")
    for decisions, place, origin, moved, relabelled, untouched in (
        ([], 0, "draft", False, False, False),  # not accepted
        ([given()], 0, "draft", False, False, True),
        ([there], 0, "draft", True, False, False),
        ([there, back], 0, "draft", False, False, True),
        ([given("relabel", box=0, label="boy")], 0, "draft", False, True, False),
        ([drawn], 2, "person", False, False, False),
        ([drawn, other], 2, "person", False, True, False),
    ):
        box = after(*decisions).boxes[place]
        found = box.origin, box.moved, box.relabelled, box.untouched
        assert found == (origin, moved, relabelled, untouched), decisions
        assert json.loads(json.dumps(box.to_dict())).keys() == {
            *("id", "label", "x0", "y0", "x1", "y1", "score", "origin", "state", "moved", "relabelled")
        }


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ((-5, -6.5, 20, 30), (0, 0, 20, 30)),
        ((50, 60, 400, 1e8), (50, 60, 100, 100)),
        ((1.234, 2.345678, 3.3333, 4.5), (1.23, 2.35, 3.33, 4.5)),
        ((0, 0, 1, 1), (0, 0, 1, 1)),
    ],
)
def test_boxes_are_kept_inside_the_picture_in_hundredths_of_a_px(edges, expected):
    values = dict(zip(("x0", "y0", "x1", "y1"), edges, strict=True))
    assert after(given("draw", label="dog", **values)).boxes[-1].edges == expected


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({}, "action is missing"),
        (given("delete"), "expected one of accept, reject"),
        (given(["accept"]), "action is ['accept']"),
        ({**given(), "person": None}, "person is missing"),
        ({**given(), "person": "../ann"}, "expected 1 to 64 letters"),
        ({**given(), "person": "a" * 65}, "person is"),
        ({**given(), "person": "ann\n"}, "person is"),
        ({**given(), "picture": "0"}, "picture is '0': expected a whole number"),
        ({**given(), "picture": True}, "picture is True"),
        ({**given(), "picture": -1}, "picture is -1"),
        ({**given(), "picture": 1.0}, "picture is 1.0"),
        (given("accept"), "box is missing"),
        (given("accept", box=2), "picture 0 has no box 2: it has 2"),
        (given("accept", box=10**30), "box is 1000"),
        (given("relabel", box=0), "label is missing"),
        (given("relabel", box=0, label=""), "expected a text that can be seen"),
        (given("relabel", box=0, label=" \n "), "expected a text that can be seen"),
        (given("relabel", box=0, label="a\0b"), "expected a text that can be seen"),
        (given("relabel", box=0, label="a\x1b[2J"), "expected a text that can be seen"),
        (given("relabel", box=0, label="\ud800"), "expected a text that can be seen"),
        (given("relabel", box=0, label="a\u202eb"), "expected a text that can be seen"),
        (given("relabel", box=0, label="a" * 101), "label has 101 characters"),
        (given("relabel", box=0, label="a" * 10_000_000), "label has 10,000,000 characters"),
        (given("relabel", box=0, label={"a": 1}), "expected a text"),
        (given("move", box=0, **{**BOX, "x0": None}), "x0 is missing"),
        (given("move", box=0, **{**BOX, "x0": "1"}), "x0 is '1': expected a number"),
        (given("move", box=0, **{**BOX, "y1": math.nan}), "y1 is nan"),
        (given("move", box=0, **{**BOX, "y1": math.inf}), "y1 is inf"),
        (given("move", box=0, **{**BOX, "y1": 10**400}), "y1 is 1000"),
        (given("move", box=0, **{**BOX, "y1": True}), "y1 is True"),
        (given("move", box=0, **{**BOX, "x1": 1}), "expected x0 < x1 and y0 < y1"),
        (given("move", box=0, **{**BOX, "y1": 0}), "expected x0 < x1 and y0 < y1"),
        (given("draw", label="dog", x0=200, y0=200, x1=300, y1=300), "less than 1 px in the 100 x 100 px"),
        (given("draw", label="dog", x0=1, y0=1, x1=1.99, y1=9), "less than 1 px"),
        (given(time_s=-1), "time_s is -1"),
        (given(time_s=math.nan), "time_s is nan"),
        (given(time_s="1"), "time_s is '1'"),
        (given(actions=1.5), "actions is 1.5"),
        (given(actions=-1), "actions is -1"),
    ],
)
def test_what_is_no_decision_is_refused_in_one_line(wrong, line):
    with pytest.raises(GroundingError) as refused:
        after(wrong)
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


def test_a_decision_survives_the_log():
    for action in ACTIONS:
        decision = read_decision(given(action, box=1, label="dog", **BOX, time_s=1.23456, actions=3, more="?"))
        assert read_decision(json.loads(json.dumps(decision.to_dict()))) == decision
        assert decision.time_s == 1.235
        assert "more" not in decision.to_dict()


def test_html_is_a_label_like_any_other():
    label = '<img src=x onerror="alert(1)"> & "=1+1"'
    assert after(given("relabel", box=0, label=label)).boxes[0].label == label


def test_a_picture_without_drafts_starts_open():
    assert Drafted(0, "a.jpg", 9, 9, "", 1.0, ()).start() == Annotated("open", ())
