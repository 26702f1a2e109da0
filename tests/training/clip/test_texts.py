"""Captions, phrases and tags that a CLIP is taught with, worked by hand."""

import pytest
import torch

from grounding.errors import GroundingError
from grounding.training.clip.texts import read_texts

TAGS = ("man", "red", "dog", "hat")


def test_a_phrase_stands_for_the_tags_that_it_says():
    texts = read_texts(
        TAGS, [["A man in a red hat walks his dogs."], ["Nobody"], ["a puppy", "two dogs without a hat"]], 0
    )
    assert texts.tags == TAGS
    assert texts.columns.tolist() == [0, 1, 2, 3]
    assert texts.held_out == ()
    assert dict(texts.phrases[0]) == {"A man": {0: 1.0}, "a red hat": {1: 0.5, 3: 0.5}, "his dogs": {2: 1.0}}
    assert texts.phrases[1] == ()  # nobody is no tag
    assert dict(texts.phrases[2]) == {"two dogs": {2: 1.0}}  # a puppy is a kind of dog, not the tag; no hat is there


def test_what_is_held_out_is_in_no_text():
    captions = [["A man and a dog", "A hat"], ["dogs"], ["red things"]]
    texts = read_texts(TAGS, captions, 2)  # red and hat: from 1, every second
    assert texts.held_out == ("red", "hat")
    assert texts.tags == ("man", "dog")
    assert texts.columns.tolist() == [0, 2]
    assert texts.captions == (("A man and a dog",), ("dogs",), ())
    assert [dict(each) for each in texts.phrases] == [{"A man": {0: 1.0}, "a dog": {1: 1.0}}, {"dogs": {1: 1.0}}, {}]


def test_weights_are_rows_of_phrases():
    texts = read_texts(TAGS, [["a man"]], 0)
    expected = torch.tensor([[0.0, 0.5, 0.0, 0.5], [1.0, 0.0, 0.0, 0.0]])
    assert texts.weights([{1: 0.5, 3: 0.5}, {0: 1.0}]).equal(expected)
    assert texts.weights([]).shape == (0, 4)


def test_every_tag_held_out():
    with pytest.raises(GroundingError, match=r"held_out_every is 1: expected at least 2, or 0"):
        read_texts(TAGS, [["a man"]], 1)
