"""Numbers and ordinals."""

import pytest

from grounding.text.numbers import is_number, other_way


@pytest.mark.parametrize(
    "word", ["3", "23", "1,000", "2.5", "1st", "22nd", "#5", "80s", "three", "Third", "twenty-third", "hundred", "0"]
)
def test_numbers(word):
    assert is_number(word)


@pytest.mark.parametrize("word", ["", "dog", "4x4", "one-man", "3d", "tenth-grader", "st", "a"])
def test_no_numbers(word):
    assert not is_number(word)


@pytest.mark.parametrize(
    ("number", "other"),
    [
        ("3", "three"),
        ("three", "3"),
        ("1st", "first"),
        ("second", "2nd"),
        ("3rd", "third"),
        ("9th", "ninth"),
        ("11th", "eleventh"),
        ("12th", "twelfth"),
        ("20th", "twentieth"),
        ("Twenty", "20"),
        ("21", None),
        ("dog", None),
    ],
)
def test_the_other_way_to_write_a_number(number, other):
    assert other_way(number) == other
