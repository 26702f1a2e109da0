"""Signals given as classes, by number or name, for all images or one for each: they are rows of the unit matrix."""

import numpy as np
import pytest
import torch
from torch import nn

from grounding import baselines
from grounding.attention import contrastive_mwp, contrastive_mwp_at, mwp, mwp_at, record
from grounding.attention.signals import expand_signals
from grounding.errors import GroundingError
from helpers.errors import facts

NAMES = ["tabby", "tiger cat", "crane", "crane", "bee"]  # ImageNet too has two cranes
IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
SCORES = torch.zeros(2, 5)
ONE, TWO = torch.eye(5)[[1, 4]], torch.eye(5)[None, [4, 0]]  # (2, 5), (1, 2, 5)

CLASSES = {
    "numbers": ([1, 4], ONE),
    "names": (["tiger cat", "bee"], ONE),
    "mixed": ((1, "bee"), ONE),
    "numbers of numpy": (list(np.array([1, 4])), ONE),
    "a range": (range(1, 5, 3), ONE),
    "whole numbers": (torch.tensor([1, 4]), ONE),
    "whole numbers of 32 bits": (torch.tensor([1, 4], dtype=torch.int32), ONE),
    "one for each image": ([[4, 0]], TWO),
    "one name for each image": ([("bee", "tabby")], TWO),
    "a whole number for each image": (torch.tensor([[4, 0]]), TWO),
    "the same twice": ([4, 4], torch.eye(5)[[4, 4]]),
}


@pytest.mark.parametrize("name", CLASSES)
def test_classes_are_rows_of_the_unit_matrix(name):
    given, weights = CLASSES[name]
    expected = weights if weights.dim() == 3 else weights[:, None].expand(-1, 2, -1)
    assert torch.equal(expand_signals(given, SCORES, names=NAMES), expected)
    assert expand_signals(given, SCORES.double(), names=NAMES).dtype == torch.float64


REFUSED = {
    "no list": ([], r"signals are an empty list: expected a floating point tensor \(K, 2, 5\), or a list of class"),
    "a text": ("bee", r"signals are a str: expected .* or a list of class numbers or names"),
    "a number": (3, r"signals are a int: expected .* a list of class"),
    "nothing": (None, r"signals are a NoneType: expected"),
    "an array": (np.array([1, 4]), r"signals are a ndarray: expected"),
    "too high": ([1, 5], r"output is 5: expected a position from 0 to 4"),
    "below 0": ([-1], r"output is -1: expected a position from 0 to 4"),
    "a flag": ([True], r"a class is True: expected a position from 0 to 4, or a name"),
    "a fraction": ([1.0], r"a class is 1.0: expected a position"),
    "nothing in it": ([None], r"a class is None: expected a position"),
    "a name like another": (["tabbi"], r"no output is named 'tabbi': did you mean 'tabby'\?"),
    "a name like none": (["xyz"], r"no output is named 'xyz': see names"),
    "the name of two": (["crane"], r"'crane' is the name of outputs 2, 3: give the number"),
    "too few images": ([[1]], r"signals are lists of 1 classes: expected either 2 in each"),
    "too many images": ([[1, 2], [1, 2, 3]], r"signals are lists of 2, 3 classes: expected either 2 in each"),
    "lists and classes": ([[1, 2], 3], r"signals are lists of 2, 1 classes: expected either 2 in each"),
    "an empty list in it": ([[]], r"signals are lists of 0 classes"),
    "whole weights": (torch.eye(5).long(), r"\(5, 5\) torch.int64: expected floating point"),
    "no whole numbers": (torch.tensor([], dtype=torch.int64), r"signals are an empty list"),
    "whole numbers too high": (torch.tensor([[1, 9]]), r"output is 9"),
    "whole numbers of too high a rank": (torch.tensor([[[1, 2]]]), r"\(1, 1, 2\) torch.int64: expected floating"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_class(name):
    given, match = REFUSED[name]
    with pytest.raises(GroundingError, match=match) as caught:
        expand_signals(given, SCORES, names=NAMES)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 250


def test_whole_numbers_that_may_be_weights_are_refused():
    with pytest.raises(GroundingError, match=facts(r"\(1, 2\) torch.int64", "weights or classes", "list")):
        expand_signals(torch.tensor([[0, 1]]), torch.zeros(2, 2))
    assert expand_signals([[0, 1]], torch.zeros(2, 2)).tolist() == [[[1, 0], [0, 1]]]


def test_scores_at_places_have_no_classes():
    with pytest.raises(GroundingError, match=facts(r"shape \(2, 5, 4, 4\)", r"tensor \(K, 2, 5, 4, 4\)")):
        expand_signals([1], torch.zeros(2, 5, 4, 4))


def test_names_are_asked_of_record():
    with pytest.raises(GroundingError, match=facts("no output is named 'bee'", r"record\(..., names=\[...\]\)")):
        expand_signals(["bee"], SCORES)


# --- through the engine -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    body = nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*body, nn.Linear(8, 5)).eval()


@pytest.mark.parametrize("walk", [mwp, contrastive_mwp])
def test_walks_take_classes(model, walk):
    tape = record(model, IMAGES, names=NAMES)
    assert tape.names == tuple(NAMES)
    assert torch.equal(walk(tape, [1, "bee"], layer="1"), walk(tape, ONE, layer="1"))
    assert torch.equal(walk(tape, [["bee", 0]], layer="1"), walk(tape, TWO, layer="1"))
    several = {mwp: mwp_at, contrastive_mwp: contrastive_mwp_at}[walk]
    assert torch.equal(several(tape, ["bee"], ["1"])[0], walk(tape, ONE[1:], layer="1"))


def test_baselines_take_numbers(model):
    assert torch.equal(baselines.gradient(model, IMAGES, [1, 4]), baselines.gradient(model, IMAGES, ONE))


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["a"] * 4, facts("names are 4", "expected a list of 5, one for each output")),
        ([], facts("names are 0", "a list of 5")),
        ("abcde", facts("the text 'abcde'", "a list of 5")),
        ({0: "a"}, facts("names are a dict", "a list of 5")),
        (["a", "b", "c", "d", 5], facts("one of the names is a int", "expected texts")),
    ],
)
def test_names_that_do_not_fit(model, names, match):
    with pytest.raises(GroundingError, match=match):
        record(model, IMAGES, names=names)
