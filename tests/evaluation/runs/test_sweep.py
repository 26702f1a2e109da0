"""Choosing settings on one half of the photographs and reporting them on the other, worked by hand."""

import pytest

from grounding.evaluation.runs import sweep


@pytest.fixture(scope="module")
def script():
    return sweep


def test_flattery_by_hand(script):
    even = {(): (70.0, 40.0, 60.0), ("a=1",): (75.0, 38.0, 60.0), ("a=2",): (72.0, 41.0, 59.0)}
    odd = {(): (71.0, 42.0, 61.0), ("a=1",): (72.0, 45.0, 61.0), ("a=2",): (74.0, 39.0, 60.0)}
    lines = list(script.flattery(even, odd))
    assert lines[:6] == [
        "pointing/phrase, chosen on the even half: 75.0 there (defaults 70.0), 72.0 on the other (71.0): a=1",
        "pointing/phrase, chosen on the odd half: 74.0 there (defaults 71.0), 72.0 on the other (70.0): a=2",
        "pointing/phrase: +4.0 where chosen, +1.5 elsewhere: tuning flatters by 2.5",
        "recall@1/merged-box, chosen on the even half: 41.0 there (defaults 40.0), 39.0 on the other (42.0): a=2",
        "recall@1/merged-box, chosen on the odd half: 45.0 there (defaults 42.0), 38.0 on the other (40.0): a=1",
        "recall@1/merged-box: +2.0 where chosen, -2.5 elsewhere: tuning flatters by 4.5",
    ]
    assert lines[6] == (
        "recall@5/merged-box, chosen on the even half: 60.0 there (defaults 60.0), 61.0 on the other (61.0): defaults"
    )
    assert lines[8] == "recall@5/merged-box: +0.0 where chosen, +0.0 elsewhere: tuning flatters by 0.0"


def test_flattery_of_the_defaults_alone_is_none(script):
    lines = list(script.flattery({(): (1.0, 2.0, 3.0)}, {(): (4.0, 5.0, 6.0)}))
    assert len(lines) == 9
    assert all(line.endswith(("defaults", "flatters by 0.0")) for line in lines)
