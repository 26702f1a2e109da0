"""Operations that choose: each output comes from one element, against the dense matrix of that choice, in float64."""

import pytest
import torch
from torch.nn import functional

from grounding.attention import mwp, record
from grounding.errors import UnsupportedOperationError
from helpers.oracles import check, dense, normal, positive, units

SHAPE = (4, 3, 2)
EYE = torch.eye(24, dtype=torch.float64)
PLACES = normal(1, *SHAPE, seed=3)


def less(x):
    """An activation of both signs: positive where the image is above what is there."""
    return x - 0.5


def kept(where):
    """The matrix that keeps each element where `where` says so."""
    return EYE * where.flatten()


def set_channels(x):
    x = x.clone()
    x[:, torch.tensor([0, 2])] = 0.2
    return x


MASK = PLACES > 0
SOME = torch.tensor([0, 2])
OTHERS = kept(torch.tensor([0, 1, 0, 1])[:, None, None].expand(SHAPE))
CHOICES = {  # the function, and of one image the matrix
    "where of a comparison": (lambda x: torch.where(x > 0.5, x, 0), lambda x: kept(x > 0.5)),
    "where, scaled elsewhere": (lambda x: torch.where(x > 0.5, x, 0.1 * x), lambda x: EYE),
    "where with a constant mask": (lambda x: torch.where(MASK, x, PLACES), lambda x: kept(MASK)),
    "where of two": (
        lambda x: torch.where(x > 0.5, x, x.flip(1)),
        lambda x: kept(x > 0.5) + kept(x <= 0.5) @ dense(lambda x: x.flip(1), SHAPE),
    ),
    "where, broadcast": (
        lambda x: torch.where(MASK, x[:, :1], 0),
        lambda x: kept(MASK) @ dense(lambda x: x[:, :1].expand(-1, 4, -1, -1), SHAPE),
    ),
    "masked fill": (lambda x: x.masked_fill(x > 0.5, 0.3), lambda x: kept(x <= 0.5)),
    "masked fill in place": (lambda x: x.clone().masked_fill_(MASK, 0.3), lambda x: kept(~MASK)),
    "masked fill by a tensor": (lambda x: x.masked_fill(MASK, torch.tensor(0.3).double()), lambda x: kept(~MASK)),
    "set where a mask says so": (
        lambda x: x.clone().index_put_((x < 0.5,), torch.tensor(0.2).double()),
        lambda x: kept(x >= 0.5),
    ),
    "set some channels": (set_channels, lambda x: OTHERS),
    "fill some channels": (lambda x: x.index_fill(1, SOME, 0.2), lambda x: OTHERS),
    "fill some channels in place": (lambda x: x.clone().index_fill_(-3, SOME, 0.2), lambda x: OTHERS),
    "fill some channels by a tensor": (lambda x: x.index_fill(1, SOME, torch.tensor(0.2).double()), lambda x: OTHERS),
    "maximum of two": (
        lambda x: torch.maximum(less(x), less(x.flip(1))),
        lambda x: kept(x >= x.flip(0)) + kept(x < x.flip(0)) @ dense(lambda x: x.flip(1), SHAPE),
    ),
    "minimum of two": (
        lambda x: torch.minimum(x, x.flip(1)),
        lambda x: kept(x <= x.flip(0)) + kept(x > x.flip(0)) @ dense(lambda x: x.flip(1), SHAPE),
    ),
    "maximum with what is broadcast": (
        lambda x: torch.max(x, x[:, :1]),
        lambda x: kept(x >= x[:1]) + kept(x < x[:1]) @ dense(lambda x: x[:, :1].expand(-1, 4, -1, -1), SHAPE),
    ),
    "maximum with 0": (lambda x: torch.maximum(less(x), torch.tensor(0.0).double()), lambda x: EYE),
    "constant first": (lambda x: torch.minimum(PLACES.abs() + 0.2, x), lambda x: EYE),
    "clamp by tensors": (lambda x: less(x).clamp(PLACES * 0, PLACES * 0 + 0.9), lambda x: EYE),
    "clamp by a tensor in place": (lambda x: less(x).clamp_(min=torch.tensor(0.0).double()), lambda x: EYE),
    "clamp by one": (lambda x: less(x).clamp_min(torch.zeros(4, 1, 1).double()).clamp_max(0.9), lambda x: EYE),
    "threshold": (lambda x: functional.threshold(less(x), 0, 0), lambda x: EYE),
}


@pytest.mark.parametrize("name", CHOICES)
def test_the_signal_goes_to_where_the_value_came_from(name):
    check(CHOICES[name][0], SHAPE, CHOICES[name][1])


GLU = {
    "along the channels": (lambda x: functional.glu(x, 1), lambda x: x[:, :2]),
    "along the last": (lambda x: functional.glu(x), lambda x: x[..., :1]),
}


@pytest.mark.parametrize("name", GLU)
def test_a_gated_linear_unit_gives_all_to_what_is_gated(name):
    check(GLU[name][0], SHAPE, lambda image: dense(GLU[name][1], SHAPE))


@pytest.mark.parametrize("function", [torch.maximum, torch.minimum])
def test_the_first_of_equals(function):
    one, other = torch.ones(1, 2), torch.ones(1, 2)
    tape = record(lambda x, y: functional.linear(function(x, y), torch.ones(1, 2)), one, other)
    assert units(tape, torch.ones(1, 1), layer=tape.inputs[0]).flatten().tolist() == [0.5, 0.5]
    assert not units(tape, torch.ones(1, 1), layer=tape.inputs[1]).any()


def test_what_is_put_into_a_constant():
    def function(x):
        rows = torch.zeros(len(x), 5, 6, dtype=x.dtype)
        rows[:, torch.tensor([3, 0, 4, 1])] = x.flatten(2)
        return rows

    check(function, SHAPE)


def test_what_is_put_at_indices_apart():
    """Indices with a whole dimension between them come first."""

    def function(x):
        cells = torch.zeros(len(x), 5, 6, 3, dtype=x.dtype)
        cells[:, torch.tensor([3, 0, 4, 1]), :, torch.tensor([0, 1, 2, 0])] = x.flatten(2).transpose(0, 1)
        return cells

    check(function, SHAPE)


def test_a_mask_that_is_given_as_an_input():
    images, mask, head = positive(1, *SHAPE), MASK[0].expand(1, *SHAPE), normal(4, 24)
    masked = record(lambda x, m: functional.linear(x.masked_fill(m, 0).flatten(1), head), images, mask)
    product = record(lambda x: functional.linear((x * ~mask).flatten(1), head), images)
    signals = torch.eye(4, dtype=torch.float64)
    torch.testing.assert_close(mwp(masked, signals, layer=0), mwp(product, signals, layer=0))


@pytest.mark.parametrize("mask", [lambda x: x > 0.5, lambda x: (4 * x).round() == 2])
def test_a_choice_between_constants_is_a_gate(mask):
    check(lambda x: x * torch.where(mask(x), 1.0, 2.0), SHAPE, lambda image: EYE)


def test_rectifiers_written_out_are_the_rectifier():
    """Behind a linear layer, whose negative outputs get nothing from the one above, all of them agree."""
    first, second = normal(6, 3, 3, 3), normal(4, 6 * 9)
    zero = torch.tensor(0.0, dtype=torch.float64)
    written = {
        "relu": torch.relu,
        "where": lambda y: torch.where(y > 0, y, 0),
        "maximum": lambda y: torch.maximum(y, zero),
        "clamp": lambda y: y.clamp(min=zero),
        "masked fill": lambda y: y.masked_fill(y < 0, 0),
        "product": lambda y: y * (y > 0),
        "in place": lambda y: y.index_put_((y < 0,), zero),
    }
    images, signals = positive(1, 3, 5, 5), torch.eye(4, dtype=torch.float64)
    maps = {
        name: mwp(
            record(lambda x, f=f: functional.linear(f(functional.conv2d(x, first)).flatten(1), second), images), signals
        )
        for name, f in written.items()
    }
    for found in maps.values():
        torch.testing.assert_close(found, maps["relu"])


REFUSED = [
    ("aten.masked_fill.Tensor", "more than one", lambda x: x.masked_fill(MASK, x.sum())),
    ("aten.index_put.default", "adds", lambda x: x.index_put((torch.tensor([0]),), x, accumulate=True)),
    ("aten.clamp.Tensor", "more than one", lambda x: x.clamp(min=x.flip(1))),
]


@pytest.mark.parametrize(("name", "why", "function"), REFUSED)
def test_what_is_refused_is_named(name, why, function):
    tape = record(lambda x: functional.linear(function(x).flatten(1), normal(4, 24)), positive(1, *SHAPE))
    with pytest.raises(UnsupportedOperationError, match=rf"{name}.*{why}"):
        mwp(tape, torch.eye(4, dtype=torch.float64))
