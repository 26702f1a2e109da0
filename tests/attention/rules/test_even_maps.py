"""Maps of a convolution below a mean over places: the short way, beside the walk to every unit."""

import functools
import itertools

import pytest
import torch
from torch.nn import functional

from grounding.attention import contrastive_mwp, mwp, record
from grounding.attention.rules import weighted
from grounding.attention.rules.taps import met
from helpers.oracles import SIGNALS, TAGS, normal, positive, units

UNPOOLED = functools.partial(functional.conv2d, weight=normal(1, 5, 2, 2))
NUMBERS = {"rtol": 1e-9, "atol": 1e-12}


def pooled(kernel, channels=5, filters=70, dtype=torch.float64, **settings):
    """A convolution, a rectifier, the mean over places and a head; more filters than are done at a time."""
    weight, bias = normal(filters, channels, *kernel).to(dtype), normal(filters, seed=1).to(dtype)
    head = normal(TAGS, filters, seed=2).to(dtype)
    return lambda x: functional.linear(functional.conv2d(x, weight, bias, **settings).relu().mean((2, 3)), head)


@pytest.fixture
def short(monkeypatch):
    """Counts how often the short way is taken."""
    taken = []
    real = weighted.even_map
    monkeypatch.setattr(weighted, "even_map", lambda *given: taken.append(1) or real(*given))
    monkeypatch.setattr(weighted, "_BLOCK", 1)
    return taken


@pytest.mark.parametrize("walk", [mwp, contrastive_mwp])
@pytest.mark.parametrize(
    ("kernel", "settings"),
    [
        ((1, 1), {}),
        ((3, 3), {"padding": 1}),
        ((3, 2), {"padding": (0, 1)}),
        ((2, 3), {"stride": (2, 1)}),
        ((3, 3), {"stride": 2, "padding": 1}),
        ((1, 1), {"stride": 3}),
        ((3, 3), {"dilation": 2, "padding": 2}),
        ((2, 2), {"dilation": (3, 1), "stride": (2, 3), "padding": (2, 0)}),
        ((3, 3), {"padding": 3}),  # outputs that read nothing but padding
        ((5, 7), {}),  # one output
    ],
)
def test_the_short_way_gives_the_sums_of_all_units(short, walk, kernel, settings):
    images = positive(2, 5, 5, 7)
    images[:, :, :2, :3] = 0  # where Z may be 0
    tape = record(pooled(kernel, **settings), images)
    for signals in (positive(SIGNALS, TAGS), normal(SIGNALS, 2, TAGS), positive(20, TAGS)):
        found = walk(tape, signals, layer=0)
        assert short.pop()
        expected = units(tape, signals, walk, layer=0).sum(2).transpose(0, 1)
        torch.testing.assert_close(found, expected, **NUMBERS)
        assert found.any()


@pytest.mark.parametrize(
    ("why", "model"),
    [
        ("groups", lambda x: pooled((2, 2), channels=1, filters=5, groups=5)(x)),
        ("no mean", lambda x: functional.linear(UNPOOLED(x).relu().flatten(1), normal(TAGS, 24))),
    ],
)
def test_what_has_no_short_way(short, why, model):
    tape = record(model, positive(1, 5, 5, 7))
    assert mwp(tape, positive(SIGNALS, TAGS), layer=0).any(), why
    assert not short


def test_gradients_take_the_long_way(short):
    images = positive(1, 5, 5, 7).requires_grad_()
    tape = record(pooled((3, 3)), images, differentiable=True)
    mwp(tape, positive(SIGNALS, TAGS), layer=0).square().sum().backward()
    assert images.grad.any()
    assert not short


@pytest.mark.parametrize("signals", [1, 2, 3, 5, 17, 30])
def test_a_signal_changes_no_other_on_one_thread(signals, request):
    """To the last bit, of one-hot signals: what rows of a table are done together may show in no result."""
    threads = torch.get_num_threads()
    request.addfinalizer(lambda: torch.set_num_threads(threads))
    torch.set_num_threads(1)
    tape = record(pooled((3, 3), channels=64, dtype=torch.float32), positive(1, 64, 9, 9).float())
    every = torch.eye(TAGS).repeat(8, 1)  # (32, T)
    together = contrastive_mwp(tape, every, layer=0)
    assert torch.equal(contrastive_mwp(tape, every[:signals], layer=0), together[:, :signals])


def test_taps():
    for size, kernel, stride, padding, dilation in itertools.product([1, 4, 7], [1, 2, 3], [1, 2, 3], range(4), [1, 2]):
        outputs = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        for tap, (above, below) in enumerate(met(size, outputs, kernel, stride, padding, dilation)):
            pairs = list(zip(range(outputs)[above], range(size)[below], strict=True))
            reads = ((output, output * stride - padding + tap * dilation) for output in range(outputs))
            assert pairs == [(output, at) for output, at in reads if 0 <= at < size]
