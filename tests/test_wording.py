"""Counts and long texts in lines for people."""

import pytest

from grounding.wording import counted, shortened


@pytest.mark.parametrize(
    ("count", "words", "expected"),
    [
        (0, ["picture"], "0 pictures"),
        (1, ["picture"], "1 picture"),
        (2, ["picture"], "2 pictures"),
        (12345, ["row"], "12,345 rows"),
        (1, ["process", "processes"], "1 process"),
        (3, ["process", "processes"], "3 processes"),
    ],
)
def test_one_is_not_many(count, words, expected):
    assert counted(count, *words) == expected


@pytest.mark.parametrize(
    ("text", "most", "expected"),
    [("", 5, ""), ("a hat", 5, "a hat"), ("a hats", 5, "a ha…"), ("a\n\t hat", 5, "a hat"), ("x" * 99, 3, "xx…")],
)
def test_a_text_on_one_line(text, most, expected):
    assert shortened(text, most) == expected
