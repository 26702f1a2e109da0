"""Networks with several inputs: the maps are those of the image, wherever it stands among them."""

import pytest
import torch
from torch import nn

from grounding.attention import contrastive_mwp, mwp, record
from grounding.attention.layers import image_of, layers
from grounding.errors import GroundingError
from helpers.errors import facts
from helpers.oracles import excite
from helpers.rounding import assert_rounded


def branch(channels, seed):
    torch.manual_seed(seed)
    layers = nn.Conv2d(3, channels, 3, 2, 1), nn.ReLU(), nn.Conv2d(channels, 6, 3, 2, 1), nn.ReLU()
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).double().eval()


class Fused(nn.Module):
    """Two branches whose features are concatenated under one linear layer."""

    def __init__(self, second, features):
        super().__init__()
        torch.manual_seed(9)
        self.first, self.second = branch(4, 1), second
        self.head = nn.Linear(6 + features, 5).double()
        self.eval()

    def forward(self, image, other):
        return self.head(torch.cat([self.first(image), self.second(other)], 1))


IMAGE = torch.rand(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
OTHER = torch.rand(2, 3, 16, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
METADATA = torch.rand(2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
SIGNALS = torch.eye(5, dtype=torch.float64)[:3]


def with_metadata():
    torch.manual_seed(3)
    return Fused(nn.Sequential(nn.Linear(4, 3), nn.ReLU()).double(), 3)


def by_definition(model, other):
    """P at the features of the image, and what they are, by the dense matrix of the head."""
    features = torch.cat([model.first(IMAGE), model.second(other)], 1)
    return torch.stack([torch.stack([excite(model.head.weight, x, p) for p in SIGNALS]) for x in features])[:, :, :6]


@pytest.mark.parametrize("swapped", [False, True], ids=["image first", "metadata first"])
@pytest.mark.parametrize("options", [{}, {"layer": 0}, {"stride": 1}, {"stride": 4}, {"layer": "first.1"}])
def test_the_map_of_the_image_beside_metadata(swapped, options):
    model = with_metadata()
    given = (METADATA, IMAGE) if swapped else (IMAGE, METADATA)
    with torch.no_grad():
        tape = record((lambda a, b: model(b, a)) if swapped else model, *given)
        expected = by_definition(model, METADATA).sum(2)
    if swapped and "layer" in options and options["layer"]:
        options = {"layer": 1}  # a function has no modules
    maps = mwp(tape, SIGNALS, **options)
    assert maps.shape[:2] == (2, 3)
    assert maps.shape[2] in (32, 16, 8)
    assert_rounded(maps.sum((2, 3)), expected)  # the rest went to the metadata


def test_never_the_units_of_another_layer():
    model = with_metadata()
    tape = record(model, IMAGE, METADATA)
    assert mwp(tape, SIGNALS, layer=0, channels=True).shape == (2, 3, 3, 32, 32)
    assert mwp(tape, SIGNALS, layer=-1, channels=True).shape == (2, 3, 9)
    assert [tuple(value.shape) for value in layers(tape)][-2:] == [(2, 6), (2, 9)]


def test_contrast_is_taken_at_the_fused_features():
    model = with_metadata()
    tape = record(model, IMAGE, METADATA)
    negated = with_metadata()
    negated.head.weight.data.neg_()
    dual = mwp(record(negated, IMAGE, METADATA), SIGNALS, layer=0)
    assert_rounded(contrastive_mwp(tape, SIGNALS, layer=0), mwp(tape, SIGNALS, layer=0) - dual)
    assert contrastive_mwp(tape, SIGNALS, stride=4).shape == (2, 3, 8, 8)


def test_two_images_have_both_places():
    model = Fused(branch(5, 4), 6)
    tape = record(model, IMAGE, OTHER)
    assert image_of(tape) is tape.inputs[0]
    first, second = mwp(tape, SIGNALS), mwp(tape, SIGNALS, layer=tape.inputs[1])
    assert (first.shape, second.shape) == ((2, 3, 32, 32), (2, 3, 16, 24))
    assert_rounded(first.sum((2, 3)) + second.sum((2, 3)), mwp(tape, SIGNALS, layer=-1, channels=True).sum(2))
    assert mwp(tape, SIGNALS, layer="second.3").shape == (2, 3, 4, 6)
    swapped = record(lambda a, b: model(b, a), OTHER, IMAGE)
    assert_rounded(mwp(swapped, SIGNALS), second)
    assert_rounded(mwp(swapped, SIGNALS, layer=swapped.inputs[1]), first)


def test_scores_added_by_two_classifiers():
    model, other = with_metadata(), nn.Linear(4, 5).double()
    alone = mwp(record(lambda x: model.head(torch.cat([model.first(x)] * 2, 1)[:, :9]), IMAGE), SIGNALS)
    both = record(lambda x, m: model.head(torch.cat([model.first(x)] * 2, 1)[:, :9]) + other(m), IMAGE, METADATA)
    assert mwp(both, SIGNALS).shape == contrastive_mwp(both, SIGNALS, layer=0).shape == alone.shape


def test_an_image_that_the_scores_do_not_depend_on_is_not_the_image():
    model = branch(4, 1)
    head = nn.Linear(6, 5).double()
    tape = record(lambda unused, image: head(model(image)) + 0 * len(unused), OTHER, IMAGE)
    assert image_of(tape) is tape.inputs[1]
    assert mwp(tape, SIGNALS).shape == (2, 3, 32, 32)


def test_a_value_of_another_recording_is_refused():
    model = with_metadata()
    tape, other = (record(model, IMAGE, METADATA) for _ in range(2))
    with pytest.raises(GroundingError, match=facts("another recording", r"tape.inputs\[0\]")):
        mwp(tape, SIGNALS, layer=other.inputs[0])


def test_a_tape_says_what_it_was_given():
    assert repr(record(with_metadata(), IMAGE, METADATA)).startswith("Tape((2, 3, 32, 32), (2, 4) -> (2, 5), ")
