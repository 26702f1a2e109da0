"""What the model is called with, and which of what it returns are the scores."""

from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

from grounding.attention import mwp, record
from grounding.attention.layers import image_of
from grounding.errors import GroundingError
from helpers.errors import facts
from helpers.rounding import assert_rounded

IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
SIGNALS = torch.eye(5)[:2]
Pair = namedtuple("Pair", ["logits", "features"])


@dataclass
class Result:
    """As detection libraries return it."""

    logits: Any
    loss: float = 0.5

    @property
    def probabilities(self):
        """No field, but an attribute."""
        return self.logits * 1.0


class Network(nn.Module):
    """Two heads, and options."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU())
        self.first, self.second = nn.Linear(6, 5), nn.Linear(6, 5)

    def forward(self, pixel_values, *, mask=None, shift=None, double=False, form="tuple"):
        x = self.body(pixel_values)
        x = x * mask if mask is not None else x
        features = x.mean((2, 3))
        features = features if shift is None else features + shift
        a, b = self.first(features) * (2 if double else 1), self.second(features)
        return {
            "tuple": (b, a),
            "with none": (None, a),
            "list": [b, a],
            "mapping": {"logits": a, "aux": {"logits": b, "none": None}, "deep": [b, {"scores": a}]},
            "named tuple": Pair(a, b),
            "dataclass": Result(a),
            "number keys": {1: a, 0: b},
        }[form]


@pytest.fixture(scope="module")
def model():
    return Network().eval()


@pytest.fixture(scope="module")
def expected(model):
    return mwp(record(lambda x: model.first(model.body(x).mean((2, 3))), IMAGES), SIGNALS)


PICKED = {
    "position": ("tuple", 1),
    "position from behind": ("tuple", -1),
    "position beside nothing": ("with none", 1),
    "position in a list": ("list", 1),
    "position as text": ("list", "1"),
    "key": ("mapping", "logits"),
    "key in a position in a key": ("mapping", "deep.1.scores"),
    "field of a named tuple": ("named tuple", "logits"),
    "position in a named tuple": ("named tuple", 0),
    "field of a dataclass": ("dataclass", "logits"),
    "attribute": ("dataclass", "probabilities"),
    "key that is a number": ("number keys", 1),
    "function": ("mapping", lambda returned: returned["deep"][1]["scores"]),
    "function that computes": ("tuple", lambda returned: returned[1] * 3 + 0 * returned[0]),
    "function with more than the scores": ("tuple", lambda returned: (returned[1], returned[0])),
}


@pytest.mark.parametrize("name", PICKED)
def test_the_output_that_was_named(model, expected, name):
    form, output = PICKED[name]
    tape = record(model, IMAGES, output=output, form=form)
    assert_rounded(mwp(tape, SIGNALS), expected)
    assert len(tape.outputs) == (2 if "more" in name else 1)


def test_the_other_head_has_another_map(model, expected):
    other = mwp(record(model, IMAGES, form="tuple"), SIGNALS)  # of a tuple the first
    assert (other - expected).abs().max() > 0.01 * expected.max()
    assert_rounded(mwp(record(model, IMAGES, form="mapping", output="aux.logits"), SIGNALS), other)


UNPICKED = {
    "no such key": ("mapping", "logit", facts("no output='logit'", "a dict with logits, aux", "did you mean.*logits'")),
    "unlike any": ("mapping", "zzz", facts("no output='zzz'", "a dict with logits, aux", "give one of these")),
    "no such key in a key": ("mapping", "aux.none", facts("no output='aux.none'", "a dict with logits")),
    "no such position": ("tuple", 2, facts("no output=2", "a tuple with 0, 1", "give one of these")),
    "too far from behind": ("tuple", -3, facts("no output=-3", "a tuple with 0, 1")),
    "name in a tuple": ("tuple", "logits", facts("no output='logits'", "a tuple with 0, 1", "give one of these")),
    "position in a mapping": ("mapping", 0, facts("no output=0", "a dict with logits, aux")),
    "nothing": ("mapping", "", facts("no output=''", "a dict with logits")),
    "a tensor has no parts": ("mapping", "logits.scores", facts("no output='logits.scores'", "a Tensor", "leave")),
    "no tensor": ("dataclass", "loss", facts("output='loss' is a float", "expected one tensor")),
    "nothing in a tuple": ("with none", 0, facts("output=0 is a NoneType", "expected one tensor")),
    "a function that picks no tensor": ("mapping", lambda returned: returned, facts(r"output\(\) gave a dict")),
    "none given": ("mapping", None, facts("returned a dict with logits, aux", "give output='logits'")),
    "none given, a dataclass": ("dataclass", None, facts(r"a Result with logits, loss \(float\)", "output='logits'")),
    "no name": ("mapping", 1.5, facts("output is a float", "expected the name or position", "function")),
    "a flag": ("tuple", True, facts("output is a bool", "expected the name or position")),
}


@pytest.mark.parametrize("name", UNPICKED)
def test_an_output_that_there_is_not(model, name):
    form, output, match = UNPICKED[name]
    with pytest.raises(GroundingError, match=match) as caught:
        record(model, IMAGES, output=output, form=form)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 300


def test_nothing_of_the_checks_is_recorded(model):
    def names(tape):
        return [operation.name for operation in tape.operations]

    assert names(record(model, IMAGES, form="mapping", output="logits")) == names(
        record(lambda x: model(x, form="mapping")["logits"], IMAGES)
    )


# --- keyword arguments ------------------------------------------------------------------------------------------------


def test_keywords_go_to_the_model_and_images_among_them_are_inputs(model, expected):
    tape = record(model, pixel_values=IMAGES, form="mapping", output="logits", double=True)
    assert tape.input_names == ("pixel_values",)
    assert_rounded(tape.scores, 2 * model(IMAGES)[1].detach())
    assert_rounded(mwp(tape, SIGNALS), expected)
    assert_rounded(mwp(tape, SIGNALS, layer="pixel_values"), expected)


def test_numbers_are_inputs_and_masks_are_constants(model):
    mask, shift = torch.arange(64).reshape(1, 1, 8, 8) % 3, torch.rand(2, 6)
    tape = record(model, IMAGES, mask=mask, shift=shift, output=1)
    assert tape.input_names == ("inputs[0]", "shift")
    assert image_of(tape) is tape.inputs[0]
    maps = mwp(tape, SIGNALS, stride=2)
    assert (maps.sum((0, 1)) == 0)[mask[0, 0] == 0].all()
    assert (maps.sum((0, 1)) > 0).sum() > 30
    shifted = mwp(tape, SIGNALS, layer="shift", channels=True)
    assert shifted.shape == (2, 2, 6)
    assert_rounded(maps.sum((2, 3)) + shifted.sum(2), torch.ones(2, 2))
    closed = record(lambda x: model(x, mask=mask, shift=shift)[1], IMAGES)  # here the shift is a bias, and gets nothing
    assert (mwp(closed, SIGNALS, stride=2).sum((2, 3)) > maps.sum((2, 3))).any()


def test_bytes_by_name_are_pixels(model):
    pixels = (IMAGES * 255).to(torch.uint8)
    tape = record(lambda *, pixels: model(pixels / 255)[1], pixels=pixels)
    assert_rounded(mwp(tape, SIGNALS), mwp(record(model, pixels / 255, output=1), SIGNALS))


def test_only_ids_are_no_input():
    embed = nn.Embedding(4, 5)
    with pytest.raises(GroundingError, match=facts(r"inputs of \[\]", "expected tensors")):
        record(lambda *, ids: embed(ids).mean(1), ids=torch.tensor([[1, 2]]))


# --- one image without a batch ----------------------------------------------------------------------------------------


def flattened(*tail):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), *tail).eval()


UNBATCHED = {
    "that the linear layer refuses": flattened(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)),
    "that batch normalisation refuses": flattened(nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    "that the shape tells": lambda images: torch.zeros([size for size, _, _, _ in [images.shape]]),
    "that runs all the same": flattened(nn.Flatten(), nn.Linear(36, 5)),
}


@pytest.mark.parametrize("name", UNBATCHED)
def test_one_image_without_a_batch(name):
    image = torch.rand(3, 8, 8)
    said = [] if "runs" in name else [r"the model failed: "]
    with pytest.raises(
        GroundingError, match=facts(r"shape \(3, 8, 8\)", r"\(N, C, H, W\)", r"images\[None\]", *said)
    ) as caught:
        record(UNBATCHED[name], image)
    assert len(str(caught.value).splitlines()) == 1
    assert (caught.value.__cause__ is None) == ("runs" in name)


def test_one_film_without_a_batch():
    model = nn.Sequential(nn.Conv3d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 5)).eval()
    with pytest.raises(GroundingError, match=facts(r"shape \(3, 3, 5, 5\)", r"\(N, C, T, H, W\)", r"images\[None\]")):
        record(model, torch.rand(3, 3, 5, 5))


def test_what_is_no_image_without_a_batch():
    """A sound (N, C, t), a batch that the model makes itself, tokens, and an image of ten channels."""
    sound = nn.Sequential(nn.Conv1d(8, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 5)).eval()
    assert record(sound, torch.rand(3, 8, 20)).scores.shape == (3, 5)
    batched = flattened(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    assert record(lambda image: batched(image[None]), torch.rand(3, 8, 8)).scores.shape == (1, 5)
    assert record(nn.Sequential(nn.Linear(8, 4), nn.Flatten()), torch.rand(3, 8, 8)).scores.shape == (3, 32)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        record(nn.Linear(7, 4), torch.rand(3, 8, 8))
    with pytest.raises(RuntimeError, match="expected input"):
        record(batched, torch.rand(10, 8, 8))
