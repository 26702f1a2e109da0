"""Copies and pickles of a recording say what it said, and know whether its weights have changed."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from grounding.attention import contrastive_mwp, mwp, record
from grounding.errors import GroundingError

IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
SIGNALS = torch.eye(5)[:2]


def network():
    torch.manual_seed(0)
    body = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.SiLU()
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)).eval()


def trained():
    """Weights that have been written to, as all have: their count of writes is not that of a copy."""
    model = network()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    return model


def saved(tape):
    file = io.BytesIO()
    torch.save(tape, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "pickle": lambda tape: pickle.loads(pickle.dumps(tape)),
    "torch.save": saved,
    "twice": lambda tape: pickle.loads(pickle.dumps(copy.deepcopy(tape))),
}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_walks_to_the_same_numbers(copied):
    tape = record(trained(), IMAGES)
    other = copied(tape)
    for walk in (mwp, contrastive_mwp):
        assert torch.equal(walk(other, SIGNALS, layer=0), walk(tape, SIGNALS, layer=0))
    assert torch.equal(other.scores, tape.scores)
    assert [each.name for each in other.operations] == [each.name for each in tape.operations]


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_of_a_spoilt_recording_is_spoilt(copied):
    model = trained()
    tape = record(model, IMAGES)
    with torch.no_grad():
        model[0].weight.mul_(2)
    with pytest.raises(GroundingError, match="changed since the forward pass"):
        mwp(copied(tape), SIGNALS, layer=0)


def test_a_copy_has_weights_of_its_own():
    model = trained()
    tape = record(model, IMAGES)
    expected, other = mwp(tape, SIGNALS), copy.deepcopy(tape)
    with torch.no_grad():
        model[0].weight.mul_(2)
    assert torch.equal(mwp(other, SIGNALS), expected)
    kept = next(value for each in other.operations for value in each.args if getattr(value, "tensor", None) is not None)
    with torch.no_grad():
        kept.tensor.mul_(2)
    assert kept.overwritten


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_walk_has_its_own_precision_under_autocast(dtype):
    tape = record(network(), IMAGES)
    expected = contrastive_mwp(tape, SIGNALS, layer=0)
    with torch.autocast("cpu", dtype=dtype):
        assert torch.equal(contrastive_mwp(tape, SIGNALS, layer=0), expected)
        cast = contrastive_mwp(record(network(), IMAGES), SIGNALS, layer=0)
    assert cast.dtype == torch.float32
    torch.testing.assert_close(cast, expected, atol=0.1 * float(expected.abs().max()), rtol=0)
