"""Memory that is written in parts, through views: each element gives its signal to what was written there last."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional

from grounding.attention import contrastive_mwp, mwp, record
from grounding.attention.spatial import grid
from grounding.errors import UnsupportedOperationError
from helpers.oracles import check, dense, normal, positive, units

SHAPE = (4, 3, 5)
WEIGHT = normal(4, 4, 1, 1)


def side_by_side(x):
    """`cat` in a buffer."""
    buffer = torch.empty(len(x), 6, 3, 5, dtype=x.dtype)
    buffer[:, 2:] = x
    buffer[:, :2] = 2 * x[:, 1:3]
    return buffer


def shifted_in_time(x):
    """The temporal shift module: a part of the channels from the next frame, a part from the one before."""
    frames = x.reshape(len(x), 4, 3, 5)  # time, channels, places
    shifted = torch.zeros_like(frames)
    shifted[:, :-1, :1] = frames[:, 1:, :1]
    shifted[:, 1:, 1:2] = frames[:, :-1, 1:2]
    shifted[:, :, 2:] = frames[:, :, 2:]
    return shifted


def all_of_it(x):
    out = torch.empty_like(x)
    out[...] = functional.conv2d(x, WEIGHT)
    return out


def over_one_another(x):
    """What is overwritten keeps nothing."""
    buffer = torch.zeros(len(x), 4, 3, 5, dtype=x.dtype)
    buffer[:, :3] = x[:, 1:]
    buffer[:, 1:, :2] = 3 * x[:, :3, 1:]
    buffer[:, 2, 1] = 7.0
    buffer[:, :, 2].zero_()
    return buffer


def a_part_rectified(x):
    y = functional.conv2d(x, WEIGHT)
    y[:, 1::2].mul_(0.5)
    return y


def part_of(x):
    """A view made before it was written, read through another that was made after."""
    buffer = torch.zeros(len(x), 60, dtype=x.dtype)
    view = buffer.view(len(x), 4, 15)
    view[:, 1:3].copy_(x.flatten(2)[:, 1:3])
    buffer[:, :4] += x[:, 0, 0, :4]
    return view.transpose(1, 2)[:, 2:]


def broadcast(x):
    buffer = torch.ones(len(x), 4, 3, 5, dtype=x.dtype)
    buffer[:, 1:3] = x[:, :1, :, :1]
    return buffer


def an_alias(x):
    y = functional.conv2d(x, WEIGHT)
    alias = y.view(len(x), -1)
    y.mul_(0.5)
    return alias + 0


def an_alias_that_was_not_written(x):
    y = x * 2.0
    first, second = y.chunk(2, 1)
    first.zero_()
    return torch.cat([second, first + x[:, 1:3]], 1)


def spread(x):
    """An expanded view of what is written afterwards."""
    y = x[:, :1] * 1.0
    wide = y.expand(-1, 3, -1, -1)
    y[:, :, 1:] = x[:, 1:2, 1:]
    return wide + 0


def twice_in_place(x):
    buffer = x.new_zeros(len(x), 4, 3, 5)
    buffer += x
    buffer[:, 1:] += x[:, :3]
    return buffer


WRITTEN = {
    "side by side": (side_by_side, lambda x: torch.cat([2 * x[:, 1:3], x], 1)),
    "shifted in time": (shifted_in_time, None),
    "all of it": (all_of_it, lambda x: functional.conv2d(x, WEIGHT)),
    "over one another": (over_one_another, None),
    "a part scaled": (a_part_rectified, None),
    "part of": (part_of, None),
    "broadcast": (broadcast, None),
    "an alias": (an_alias, lambda x: functional.conv2d(x, WEIGHT).flatten(1)),
    "an alias that was not written": (an_alias_that_was_not_written, lambda x: torch.cat([x[:, 2:], x[:, 1:3]], 1)),
    "spread": (spread, None),
    "circular padding": (lambda x: functional.pad(x, (2, 1, 1, 3), mode="circular"), None),
    "circular padding, 1d": (lambda x: functional.pad(x.flatten(2), (3, 2), mode="circular"), None),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_the_signal_goes_to_what_was_written_last(name):
    function, plain = WRITTEN[name]
    matrix = dense(plain or function, SHAPE)
    check(function, SHAPE, lambda image: matrix)


def test_a_sum_in_place_into_a_part():
    images, head, signals = positive(1, *SHAPE), normal(3, 60), torch.eye(3, dtype=torch.float64)
    plain = record(lambda x: functional.linear(torch.cat([x[:, :1], x[:, 1:] + x[:, :3]], 1).flatten(1), head), images)
    found = record(lambda x: functional.linear(twice_in_place(x).flatten(1), head), images)
    torch.testing.assert_close(units(found, signals), units(plain, signals))


@pytest.mark.parametrize("kernel", [(3, 3), (5, 2)])
def test_a_convolution_with_circular_padding(kernel):
    torch.manual_seed(0)
    convolution = nn.Conv2d(4, 5, kernel, padding=tuple(k // 2 for k in kernel), padding_mode="circular").double()
    check(lambda x: convolution(x), (4, 6, 5))


def test_an_image_that_is_written_into():
    """The first channel of the image gets nothing; the network must not change what is not its own: it copies."""

    def function(x):
        x = x + 0
        x[:, 0] = 0.5
        return x

    check(function, SHAPE, lambda image: torch.diag(torch.arange(60) >= 15).double())


def test_an_image_whose_batch_is_one_image_expanded():
    image, head = positive(1, *SHAPE), normal(3, 60)

    def model(x):
        x[:1, 1:].mul_(0.5)
        return functional.linear(x[:1].flatten(1), head)

    found = units(record(model, image.clone().expand(2, -1, -1, -1)), torch.eye(3, dtype=torch.float64), layer=0)
    plain = units(
        record(lambda x: functional.linear(x.flatten(1), head * HALVED), image), torch.eye(3, dtype=torch.float64)
    )
    torch.testing.assert_close(found.sum(1), plain.sum(1))


HALVED = torch.tensor([1, 0.5, 0.5, 0.5], dtype=torch.float64).repeat_interleave(15)


def test_a_recurrent_network_that_collects_its_states():
    """As by `stack`."""
    step, again, head = normal(6, 15, seed=2), normal(6, 6, seed=3), normal(3, 24, seed=4)

    def states(x):
        state = torch.zeros(len(x), 6, dtype=x.dtype)
        for row in x.flatten(2).unbind(1):
            state = (row @ step.t() + state @ again.t()).relu()
            yield state

    def written(x):
        kept = x.new_zeros(len(x), 4, 6)
        for at, state in enumerate(states(x)):
            kept[:, at] = state
        return functional.linear(kept.flatten(1), head)

    images, signals = positive(2, *SHAPE), torch.eye(3, dtype=torch.float64)
    stacked = record(lambda x: functional.linear(torch.stack([*states(x)], 1).flatten(1), head), images)
    torch.testing.assert_close(units(record(written, images), signals), units(stacked, signals))


# --- places -----------------------------------------------------------------------------------------------------------


def tokens(x):
    """(N, C, h, w) -> (N, 1 + h * w, C) with a class token in front."""
    rows = torch.zeros(len(x), 16, 4, dtype=x.dtype)
    rows[:, 1:] = x.flatten(2).transpose(1, 2)
    return rows


def frames(x):
    buffer = torch.zeros(len(x), 2, 4, 3, 5, dtype=x.dtype)
    buffer[:, 0], buffer[:, 1] = x, 2 * x
    return buffer


PLACES = {
    "channels": (side_by_side, (3, 5)),
    "all": (all_of_it, (3, 5)),
    "over one another": (over_one_another, (3, 5)),
    "circular padding": (lambda x: functional.pad(x, (2, 1, 1, 3), mode="circular"), (7, 8)),
    "tokens": (tokens, (3, 5)),
    "frames": (frames, (3, 5)),
    "a part of the rows": (lambda x: side_by_side(x)[:, :, 1:], None),
}


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name", PLACES)
def test_places_stay(name, count):
    function, expected = PLACES[name]
    tape = record(lambda x: functional.linear((function(x) * 1.0).flatten(1), HEADS[name]), positive(count, *SHAPE))
    (product,) = [operation for operation in tape.operations if operation.name == "aten.mul.Tensor"][-1:]
    assert grid(product.outputs[0]) == expected
    assert mwp(tape, torch.eye(3, dtype=torch.float64), layer=0).shape == (count, 3, 3, 5)


HEADS = {name: normal(3, function(positive(1, *SHAPE)).numel()) for name, (function, _) in PLACES.items()}


def test_tokens_lie_where_they_were_written():
    """A map read above is that of the same tokens joined by `cat`."""
    head, signals = normal(3, 64), torch.eye(3, dtype=torch.float64)

    def joined(x):
        return torch.cat([torch.zeros(len(x), 1, 4, dtype=x.dtype), x.flatten(2).transpose(1, 2)], 1)

    found, expected = (
        record(lambda x, f=f: functional.linear((f(x) * 1.0).flatten(1), head), positive(2, *SHAPE))
        for f in (tokens, joined)
    )
    at = [[o for o in tape.operations if o.name == "aten.mul.Tensor"][-1].outputs[0] for tape in (found, expected)]
    torch.testing.assert_close(mwp(found, signals, layer=at[0]), mwp(expected, signals, layer=at[1]))


# --- the record -------------------------------------------------------------------------------------------------------


def network(function, seed=1):
    head = normal(3, function(positive(1, *SHAPE)).numel(), seed=seed)
    return lambda x: functional.linear(function(x).relu().flatten(1), head)


def test_nothing_is_added_where_a_tensor_is_as_it_was():
    """An alias that no write touched, or a rectifier in place, is no operation of its own."""
    for function in (an_alias_that_was_not_written, lambda x: functional.relu_(functional.conv2d(x, WEIGHT))):
        names = [operation.name for operation in record(network(function), positive(1, *SHAPE)).operations]
        assert names.count("an in-place write through a view") == 0


def test_what_is_only_looked_at_to_be_written_is_not_read():
    """Circular padding copies the image and four edges; views of the memory that it writes are no operations."""
    tape = record(network(lambda x: functional.pad(x, (2, 1, 1, 3), mode="circular")), positive(1, *SHAPE))
    written = [operation.outputs[0] for operation in tape.operations if operation.overload is None]
    assert len(written) == 5
    readers = [operation for operation in tape.operations if not set(written).isdisjoint(operation.inputs)]
    assert not [operation for operation in readers if operation.name == "aten.slice.Tensor"]


def test_a_walk_through_writes_is_copied_and_pickled():
    tape = record(network(side_by_side), positive(1, *SHAPE))
    signals = torch.eye(3, dtype=torch.float64)
    expected = contrastive_mwp(tape, signals, layer=0)
    for other in (copy.deepcopy(tape), pickle.loads(pickle.dumps(tape))):
        torch.testing.assert_close(contrastive_mwp(other, signals, layer=0), expected, rtol=0, atol=0)


@pytest.mark.parametrize("function", [side_by_side, shifted_in_time, a_part_rectified])
def test_a_map_has_the_gradient_of_the_same_without_writes(function):
    weight = WEIGHT.clone().requires_grad_()
    plain = {
        side_by_side: lambda x: torch.cat([2 * x[:, 1:3], x], 1),
        a_part_rectified: lambda x: (
            functional.conv2d(x, WEIGHT) * torch.tensor([1, 0.5, 1, 0.5]).double()[:, None, None]
        ),
        shifted_in_time: lambda x: x.flatten(1)[:, MOVED] * ~EMPTY,
    }[function]
    gradients = []
    for each in (function, plain):
        body = network(each)
        tape = record(lambda x, b=body: b(functional.conv2d(x, weight)), positive(1, *SHAPE), differentiable=True)
        maps = mwp(tape, torch.eye(3, dtype=torch.float64), layer=0)
        gradients += torch.autograd.grad((maps * normal(3, 3, 5)).sum(), weight)
    assert gradients[0].abs().max() > 1e-3
    torch.testing.assert_close(*gradients)


MOVED = shifted_in_time(torch.arange(60.0).reshape(1, *SHAPE) + 1).flatten().long() - 1
EMPTY = MOVED < 0


def test_elements_of_another_size_are_refused_by_name():
    def function(x):
        buffer = torch.zeros(len(x), 2, 60, dtype=x.dtype)
        halves = buffer.view(torch.int32).view(torch.float32)
        halves[:, :, ::2] = x.flatten(1)[:, None].float()
        return buffer

    tape = record(lambda x: functional.linear(function(x).flatten(1), normal(3, 120)), positive(1, *SHAPE))
    with pytest.raises(UnsupportedOperationError, match=r"an in-place write through a view .*another size of elements"):
        units(tape, torch.eye(3, dtype=torch.float64))
