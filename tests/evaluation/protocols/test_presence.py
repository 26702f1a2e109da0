"""Presence: what another photograph's captions name and this one's do not, and what is said of it."""

import numpy as np
import pytest

from grounding.datasets.flickr30k import EntityImage, EntityPhrase
from grounding.evaluation.predictions.prediction import Prediction
from grounding.evaluation.protocols.presence import phrases_of_others, summarize_presence


def image(name, *captions, phrases=()):
    """An image whose phrases all have a box and stand in its first caption."""
    marked = tuple(EntityPhrase(0, n, text, 0, len(text), f"{n}", ("other",)) for n, text in enumerate(phrases))
    boxes = {phrase.chain: np.array([[0.0, 0.0, 1.0, 1.0]]) for phrase in marked}
    return EntityImage(name, 10, 10, captions, marked, boxes, frozenset(), frozenset())


@pytest.mark.parametrize(
    ("captions", "asked"),
    [
        (["A man sits ."], ["a brown spaniel", "a red car"]),
        (["Dogs run ."], ["a red car"]),
        (["An animal runs .", "A truck"], ["a red car"]),
        (["A vehicle"], ["a brown spaniel"]),
        (["An automobile"], ["a brown spaniel"]),
        (["A poodle"], ["a brown spaniel", "a red car"]),
        (["Cars , dogs"], []),
    ],
)
def test_what_a_picture_is_asked_that_it_does_not_show(captions, asked):
    images = [image("1", *captions), image("2", "", phrases=["a brown spaniel", "a red car", "a red car"])]
    assert phrases_of_others(images)["1"] == tuple(asked)


def test_the_last_image_is_asked_for_the_phrases_of_the_first():
    images = [image("1", "a dog", phrases=["a dog"]), image("2", "a car", phrases=["a car"])]
    assert phrases_of_others(images) == {"1": ("a car",), "2": ("a dog",)}
    assert phrases_of_others(images[:1]) == {}
    assert phrases_of_others([]) == {}


def test_a_summary_by_hand():
    images = [image("1", "", phrases=["a", "b"]), image("2", "", phrases=["c"])]
    predictions = {
        (name, 0, n): Prediction(presence=value) for name, n, value in (("1", 0, 0.9), ("1", 1, 0.1), ("2", 0, 0.6))
    }
    summary = summarize_presence(images, predictions, {"1": (0.3,), "2": (0.05, None)}, 0.2)
    assert (summary["shown"], summary["of_others"], summary["count"]) == (3, 2, 5)
    assert summary["shown_called_absent"] == pytest.approx(100 / 3)
    assert summary["of_others_called_absent"] == 50
    assert summary["auc"]["value"] == pytest.approx(5 / 6)


def test_nothing_is_said_without_presence():
    images = [image("1", "", phrases=["a"])]
    assert summarize_presence(images, {}, {}, 0.0) is None
    assert summarize_presence(images, {("1", 0, 0): Prediction()}, {"1": (None,)}, 0.0) is None
    alone = summarize_presence(images, {("1", 0, 0): Prediction(presence=0.5)}, {}, 0.0)
    assert (alone["shown"], alone["count"], alone["of_others_called_absent"]) == (1, 0, None)
