"""Presence from the log-odds of tags, worked out by hand; its file."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from grounding.errors import GroundingError
from grounding.tagging.classifier import TagClassifier
from grounding.tagging.presence import PresenceModel, expit, read_presence, to_log_odds, write_presence
from grounding.text.vocabulary import Match

INDICES = {"man": 0, "red": 1, "hat": 2}
MODEL = PresenceModel(
    np.array([-1.0, -3.0, -4.0]), np.array([2.0, 1.0, 0.5]), np.array([1.0, 2.0, 0.5, -3.0]), 0.25, 0.1, {"pictures": 7}
)
LOG_ODDS = np.array([3.0, -3.5, -3.0])
RED, HAT, UNKNOWN = (
    Match("red", ("red",), "exact", 0.25),
    Match("hats", ("hat",), "stem", 0.75),
    Match("x", (), "out-of-vocabulary", 0.0),
)
WEIGHT = replace(HAT, weight=1.0)


@pytest.mark.parametrize(
    ("words", "head", "features"),
    [
        ((RED, HAT), "hats", (2.0, 0.25 * -0.5 + 0.75 * 2.0, -3.0, 0)),
        ((RED, HAT), "red", (-0.5, 0.25 * -0.5 + 0.75 * 2.0, -3.5, 0)),
        ((RED, HAT), "x", (2.0, 0.25 * -0.5 + 0.75 * 2.0, -3.0, 0)),
        ((WEIGHT, UNKNOWN), "x", (2.0, 2.0, -3.0, 0)),
        ((UNKNOWN,), "x", (0, 0, 0, 1)),
        ((), "", (0, 0, 0, 1)),
    ],
)
def test_features_and_presence(words, head, features):
    np.testing.assert_allclose(MODEL.features(LOG_ODDS, words, head, INDICES), features)
    logit = 0.25 + sum(w * f for w, f in zip((1.0, 2.0, 0.5, -3.0), features, strict=True))
    assert MODEL(LOG_ODDS, words, head, INDICES) == pytest.approx(1 / (1 + math.exp(-logit)))


def test_probabilities_of_0_and_1_stay_finite():
    assert to_log_odds(torch.tensor([0.0, 0.5, 1.0]))[1] == 0
    assert np.isfinite(to_log_odds(torch.tensor([0.0, 1.0]))).all()
    assert (expit(-1e9), expit(0.0), expit(1e9)) == (0, 0.5, 1)


@pytest.mark.parametrize(
    ("multi_label", "source"),
    [(True, "the mean probability .* not calibrated"), (False, "exclude each other .* not calibrated")],
)
def test_without_a_model_presence_is_the_probability_of_the_tags(localizer, multi_label, source):
    classifier = TagClassifier(
        localizer.classifier.network, list(INDICES), localizer.classifier.preprocessing, "c", multi_label
    )
    expected = 0.25 / (1 + math.exp(3.5)) + 0.75 / (1 + math.exp(3.0))
    assert classifier.presence(LOG_ODDS, (RED, HAT, UNKNOWN), "hats") == pytest.approx(expected)
    assert classifier.presence(LOG_ODDS, (UNKNOWN,), "x") is None
    assert re.search(source, classifier.presence_source)


@pytest.mark.parametrize(("multi_label", "expected"), [(False, 0.2 + 0.3), (True, 0.3)])
def test_the_probability_of_a_word_with_several_tags(localizer, multi_label, expected):
    """Of tags that exclude each other one is there with the sum of their probabilities."""
    odds = np.array([math.log(p / (1 - p)) for p in (0.2, 0.3, 0.1)])
    network, preprocessing = localizer.classifier.network, localizer.classifier.preprocessing
    one = TagClassifier(network, list("abc"), preprocessing, "c", multi_label)
    several, plain = Match("x", ("a", "b"), "kinds", 0.75), Match("y", ("c",), "exact", 0.25)
    assert one.presence(odds, (several, plain), "x") == pytest.approx(0.75 * expected + 0.25 * 0.1)
    assert one.presence(np.full(3, 20.0), (replace(several, weight=1.0),), "x") == pytest.approx(1)


def test_features_of_a_word_with_several_tags_are_of_the_most_probable():
    several, one = Match("hats", ("red", "hat"), "kinds", 1.0), Match("hats", ("hat",), "exact", 1.0)
    expected = MODEL.features(LOG_ODDS, (one,), "hats", INDICES)
    np.testing.assert_array_equal(MODEL.features(LOG_ODDS, (several,), "hats", INDICES), expected)


def test_a_model_comes_back_from_its_file(tmp_path):
    write_presence(MODEL, tmp_path / "presence.json")
    back = read_presence(tmp_path / "presence.json", 3)
    assert (back.bias, back.threshold, back.recipe) == (MODEL.bias, MODEL.threshold, MODEL.recipe)
    for name in ("tag_means", "tag_stds", "weights"):
        np.testing.assert_array_equal(getattr(back, name), getattr(MODEL, name))
    assert read_presence(tmp_path / "none.json", 3) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, "cannot be read"),
        ({"schema_version": 2}, "is not one of version 1"),
        ({"bias": "x"}, "something else than numbers"),
        ({"tag_means": [1.0]}, "not of this classifier of 3 tags"),
        ({"tag_stds": [1.0, 0.0, 1.0]}, "not of this classifier of 3 tags"),
        ({"weights": [1.0]}, "not of this classifier of 3 tags"),
    ],
)
def test_broken_models(tmp_path, change, message):
    path = tmp_path / "presence.json"
    write_presence(MODEL, path)
    path.write_text("{" if change is None else json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(GroundingError, match=message) as error:
        read_presence(path, 3)
    assert "\n" not in str(error.value)


def test_a_classifier_keeps_its_model(localizer, tmp_path):
    localizer.classifier.save_pretrained(tmp_path / "c")
    back = TagClassifier.from_pretrained(tmp_path / "c")
    np.testing.assert_array_equal(back.presence_model.tag_means, localizer.classifier.presence_model.tag_means)
    replace(localizer.classifier, presence_model=None).save_pretrained(tmp_path / "c")
    assert TagClassifier.from_pretrained(tmp_path / "c").presence_model is None
