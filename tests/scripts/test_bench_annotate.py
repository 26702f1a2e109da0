"""What the scripted annotator does about a draft."""

import importlib

import pytest

from helpers.paths import ROOT

TRUTH = (20.0, 20.0, 120.0, 120.0)
CASES = {  # a draft, the least IoU: the handles that are pulled, None where it is drawn anew
    "as it is": (TRUTH, 0.7, ()),
    "good enough": ((20.0, 20.0, 120.0, 90.0), 0.7, ()),
    "one edge": ((20.0, 20.0, 120.0, 60.0), 0.7, "one"),
    "a corner": ((60.0, 60.0, 120.0, 120.0), 0.5, "one"),
    "opposite corners": ((50.0, 50.0, 80.0, 80.0), 0.7, "two"),
    "elsewhere": ((200.0, 200.0, 260.0, 260.0), 0.5, "two"),
    "the far corner": ((121.0, 0.0, 122.0, 19.0), 0.5, "one"),
}


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return importlib.import_module("bench_annotate")


@pytest.mark.parametrize(("draft", "least_iou", "expected"), CASES.values(), ids=list(CASES))
def test_corrections(script, draft, least_iou, expected):
    handles = script.corrections(draft, TRUTH, least_iou)
    if expected == ():
        assert handles == ()
        return
    assert len(handles) == {"one": 1, "two": 2}[expected]
    box = draft
    for handle in handles:
        box = script.pulled(box, handle, TRUTH)
        assert box[0] < box[2]
        assert box[1] < box[3]
    assert script.overlap(box, TRUTH) >= least_iou
    assert expected == "one" or box == TRUTH


@pytest.mark.parametrize("handle", ["nw", "se"])
def test_a_box_does_not_turn_over(script, handle):
    draft = (130.0, 20.0, 140.0, 30.0) if handle == "se" else (0.0, 0.0, 10.0, 10.0)
    assert script.pulled(draft, handle, TRUTH) is None


def test_table(script):
    row = script.Outcome("centre", 0.5, 0.5, 1.5, 0.75, 0.2)
    assert script.table([]).count("\n") == 1
    assert script.table([row]).splitlines()[-1] == "| centre | 0.5 | 50% | 1.50 | 0.75 | 0.20 |"
