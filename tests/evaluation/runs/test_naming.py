"""The columns of a comparison are called by what differs."""

import pytest

from grounding.config import METHOD
from grounding.evaluation.runs.naming import Side, columns, whole_names

A, B = "runs/a", "runs/b"
LONG = "/data/" + "very/" * 10


def config(**values):
    return {"config": values}


@pytest.mark.parametrize(
    ("a", "b", "named"),
    [
        ({}, {}, ("a", "b")),  # nothing differs: the folders
        (config(context="caption"), config(context="caption"), ("a", "b")),
        (config(context="caption"), config(context="none"), ("context=caption", "context=none")),
        (config(regions={"gamma": 0.2}), config(regions={"gamma": 0.3}), ("regions.gamma=0.2", "regions.gamma=0.3")),
        (
            config(context="caption", regions={"gamma": 0.2, "top": 1}),
            config(context="none", regions={"gamma": 0.3, "top": 1}),
            ("context=caption, regions.gamma=0.2", "context=none, regions.gamma=0.3"),
        ),
        (config(a=1, b=2, c=3, d=4), config(a=2, b=3, c=4, d=5), ("a=1, b=2 and 2 more", "a=2, b=3 and 2 more")),
        (config(maps={"stride": None}), config(maps={"stride": 8}), ("maps.stride=null", "maps.stride=8")),
        (config(wholes={"parts": True}), config(wholes={"parts": False}), ("wholes.parts=true", "wholes.parts=false")),
        (config(new=1), {}, ("new=1", "new=unset")),  # a key that another version has
        ({}, {"method": "cam"}, (f"method={METHOD}", "method=cam")),  # the default is not written down
        # what was set, and not what follows from it
        (
            {"min_presence": 0.1, "split": "val", **config(context="caption")},
            {"min_presence": 0.2, "split": "test", **config(context="none")},
            ("context=caption, split=val", "context=none, split=test"),
        ),
        (
            {"classifier": {"source": "embedded", "fingerprint": "1f"}, "versions": {"torch": "2.1"}},
            {"classifier": {"source": "runs/x", "fingerprint": "2e"}, "versions": {"torch": "2.2"}},
            ("classifier.source=embedded", "classifier.source=runs/x"),
        ),
        ({"versions": {"torch": "1"}}, {"versions": {"torch": "2"}}, ("versions.torch=1", "versions.torch=2")),
        ({"predictions": "1f"}, {"predictions": "2e"}, ("a", "b")),  # digests say nothing to people
        ({"methods": ["x", "y"]}, {"methods": ["x"]}, ("methods=x,y", "methods=x")),
        (config(x="a\nb"), config(x="a"), ("x=a b", "x=a")),
        # long values are cut, to the part that differs
        (config(x="1" * 30), config(x="2" * 30), ("x=" + "1" * 23 + "…", "x=" + "2" * 23 + "…")),
        (config(x=f"{LONG}one"), config(x=f"{LONG}two"), ("x=…very/very/very/very/one", "x=…very/very/very/very/two")),
        (
            config(x=f"{LONG}1{LONG}"),
            config(x=f"{LONG}2{LONG}"),
            (f"x={LONG}1{LONG}", f"x={LONG}2{LONG}"),
        ),
    ],
)
def test_columns_of_runs_of_one_name(a, b, named):
    sides = Side("embedded", a, A), Side("embedded", b, B)
    assert columns(*sides) == named
    assert whole_names(*sides) == tuple(f"embedded ({name})" for name in named)
    assert named[0] != named[1]


@pytest.mark.parametrize(
    ("a", "b", "named"),
    [
        ("a", "b", ("a", "b")),
        ("runs/a", "runs/b/", ("a", "b")),
        ("one/out", "two/out", ("one/out", "two/out")),
        ("one/x/out", "two/x/out", ("one/x/out", "two/x/out")),
        ("out", "two/out", ("out", "two/out")),
        ("out", "out", ("out", "out")),  # one run with itself
        ("", "", ("", "")),
    ],
)
def test_equal_settings_fall_back_on_the_folders(a, b, named):
    assert columns(Side("embedded", config(x=1), a), Side("embedded", config(x=1), b)) == named


def test_other_names_are_enough():
    sides = Side("mine", config(x=1), A), Side("theirs", config(x=2), B)
    assert columns(*sides) == whole_names(*sides) == ("mine", "theirs")
