"""Fitting a presence model: which phrases are asked of which picture, and a regression against its definition."""

import json

import numpy as np
import pytest
from torch import nn

from grounding.datasets.webimages import CaptionedImages
from grounding.errors import GroundingError
from grounding.tagging.classifier import Preprocessing, TagClassifier
from grounding.tagging.presence import read_presence
from grounding.text.vocabulary import Vocabulary
from grounding.training.presence import _RIDGE, examples, fit_presence, logistic_regression
from helpers.captioned import BLUE, GREEN, RED, folder, picture, said

COLOURS = {"tomato": RED, "frog": GREEN, "lake": BLUE}


class Colours(nn.Module):
    """Says which of three colours a picture has, with some doubt."""

    def forward(self, images):
        return 6 * images.mean((2, 3)) - 3


def classifier(multi_label=True):
    return TagClassifier(Colours(), list(COLOURS), Preprocessing(4), "colours", multi_label)


@pytest.fixture
def images(tmp_path):
    things = [list(COLOURS)[n % 3] for n in range(24)]
    pictures = [(f"{n:02}.png", picture(COLOURS[thing])) for n, thing in enumerate(things)]
    captions = [(f"{n:02}.json", said(f"a {thing}", f"the {thing}")) for n, thing in enumerate(things)]
    return CaptionedImages([folder(tmp_path / "pictures", *pictures, *captions)])


def test_each_picture_is_asked_for_its_phrases_and_for_those_of_the_next():
    captions = [["A dog runs .", "a dog and a tree"], ["An animal near a red car"], ["a man"]]
    asked = [(each.picture, each.phrase.text, each.shown) for each in examples(captions)]
    assert asked == [
        (0, "a dog", True),
        (0, "a tree", True),
        (0, "a red car", False),  # an animal may be the dog
        (1, "An animal", True),
        (1, "a red car", True),
        (1, "a man", False),
        (2, "a man", True),
        (2, "a dog", False),
        (2, "a tree", False),
    ]


def test_what_is_there_is_told_from_what_is_not(images):
    done = []
    model = fit_presence(classifier(), images, 100, done.append)
    assert len(done) == 24
    assert model.recipe["pictures"] == 24
    colours = classifier()
    match, indices = Vocabulary(colours.tags).match, colours.indices
    log_odds = np.array([3.0, -3.0, -3.0]) * 250 / 255
    phrases = {each.phrase.head: each.phrase for each in examples(images.captions)}
    presence = {head: model(log_odds, match(phrase), head, indices) for head, phrase in phrases.items()}
    assert presence["tomato"] > 0.9
    assert max(presence["frog"], presence["lake"]) < 0.1
    assert presence["frog"] < model.threshold <= presence["tomato"]


@pytest.mark.parametrize("seed", range(3))
def test_the_regression_is_where_its_loss_is_least(seed):
    draw = np.random.default_rng(seed)
    inputs = draw.normal(size=(80, 3))
    labels = inputs @ [1.0, -2.0, 0.0] + draw.logistic(size=80) > 1

    def loss(weights, bias):
        logits = inputs @ weights + bias
        losses = np.logaddexp(0, np.where(labels, -logits, logits))
        return losses[labels].mean() / 2 + losses[~labels].mean() / 2 + _RIDGE * (weights**2).sum()

    weights, bias = logistic_regression(inputs, labels)
    least = loss(weights, bias)
    for place in range(4):
        for step in (1e-3, -1e-3):
            moved = np.append(weights, bias) + step * (np.arange(4) == place)
            assert loss(moved[:3], moved[3]) > least


def test_what_cannot_be_learnt_is_said(images):
    with pytest.raises(GroundingError, match="exclude each other"):
        fit_presence(classifier(multi_label=False), images, 100, print)
    with pytest.raises(GroundingError, match="come from 1 picture: expected more"):
        fit_presence(classifier(), images, 1, lambda _: None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["embedded", "x"], "embedded is no folder: expected that of a classifier"),
        ([".", "x"], "config.json cannot be read"),
        ([".", "x", "--limit", 0], "--limit is 0: expected at least 1"),
    ],
)
def test_bad_commands_are_one_line_and_status_2(train, arguments, message):
    status, out, err = train("presence", *arguments)
    assert (status, out, len(err)) == (2, "", 1)
    assert message in err[0]


@pytest.mark.slow
def test_the_command_writes_a_model_beside_the_classifier(train, localizer, images, tmp_path):
    localizer.classifier.save_pretrained(tmp_path / "c")
    (tmp_path / "c" / "presence.json").unlink()
    status, out, err = train("presence", tmp_path / "c", tmp_path / "pictures", "--limit", 6)
    assert status == 0
    assert "pictures 6" in out
    assert read_presence(tmp_path / "c" / "presence.json", 1000).recipe["pictures"] == 6
    assert err[-1].startswith("warning: only 12 phrases of others, each of the next picture: a table that is sorted")
    lines = [{"image": f"pictures/{n:02}.png", "labels": [list(COLOURS)[n % 3]]} for n in range(3)]
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    status, out, _ = train("presence", tmp_path / "c", tmp_path / "labels.jsonl", "--caption-column", "labels")
    assert (status, "pictures 3" in out) == (0, True)
