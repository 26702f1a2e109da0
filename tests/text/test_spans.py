"""Where base phrases begin and end."""

import pytest

from grounding.text.phrases import Chunker


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("trucks race around a racetrack", ["trucks", "a racetrack"]),
        ("Two trucks race down a road.", ["Two trucks", "a road"]),
        ("Horses race on a track", ["Horses", "a track"]),
        ("A dog watches while boys bike down a hill", ["A dog", "boys", "a hill"]),
        ("Two men box in a ring", ["Two men", "a ring"]),
        ("A man rides a sports bike in a race", ["A man", "a sports bike", "a race"]),
        ("A man watches the horse race on television", ["A man", "the horse race", "television"]),
        ("the yellow truck with the number five leads", ["the yellow truck", "the number five"]),
        ("The number 23 runs", ["The number 23"]),
        ("number eight wins .", ["number eight"]),
        ("car number 3 leads", ["car number 3"]),
        ("player number 23 shoots the ball", ["player number 23", "the ball"]),
        ("the number five car", ["the number five car"]),
        ("Little boy sits in car 's driver 's seat .", ["Little boy", "car", "driver 's seat"]),
        ("the girl's mother's car", ["the girl", "mother's car"]),
        ("a car’s driver’s seat", ["a car", "driver’s seat"]),
        ("a boy's red bike", ["a boy's red bike"]),
        ('cat\'s "toy"', ['cat\'s "toy"']),
        ("my cat's “toy” on the floor", ["my cat's “toy”", "the floor"]),
        ("a “stop” sign", ["a “stop” sign"]),
        ('a "stop" sign', ['a "stop" sign']),
        ('"stop" sign', ['"stop" sign']),
        ("“stop” sign", ["“stop” sign"]),
        ("a man in the U.S.", ["a man", "the U.S."]),
        ("Mr. Smith and Mrs. Jones", ["Mr. Smith", "Mrs. Jones"]),
        ("J. K. Rowling with a book", ["J. K. Rowling", "a book"]),
        ("a cat &amp; a dog", ["a cat", "a dog"]),
        ("the 1st, 2nd and 3rd runners", ["the 1st", "2nd", "3rd runners"]),
        ("a house in Washington D.C.", ["a house", "Washington D.C."]),
        ("a house on Main St.", ["a house", "Main St."]),
        ("the U.S. flag", ["the U.S. flag"]),
    ],
)
def test_base_phrases(caption, expected):
    assert [phrase.text for phrase in Chunker.load().phrases(caption)] == expected
