"""Every rule against the definition of Excitation Backprop on the dense matrix of the operation, in float64."""

import itertools

import pytest
import timm
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from grounding.attention import contrastive_mwp, record
from grounding.errors import UnsupportedOperationError
from helpers.oracles import IMAGES, TAGS, check, dense, excite, normal, positive, units

EXAMPLES = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])


sides = st.integers(4, 7)
small = st.integers(1, 3)


@EXAMPLES
@given(
    height=sides,
    width=sides,
    kernel=st.tuples(small, small),
    stride=st.tuples(small, small),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    groups=st.sampled_from([1, 2]),
    seed=st.integers(0, 1000),
)
def test_convolution(height, width, kernel, stride, padding, dilation, groups, seed):
    fits = [s + 2 * p >= d * (k - 1) + 1 for s, p, d, k in zip((height, width), padding, dilation, kernel, strict=True)]
    assume(all(fits))
    weight, bias = normal(4, 4 // groups, *kernel, seed=seed), normal(4, seed=seed)
    check(
        lambda x: functional.conv2d(x, weight, bias, stride, padding, dilation, groups), (4, height, width), seed=seed
    )


def standardised(weight):
    """As NFNets do it: by a batch normalisation in training mode, of weights alone."""
    return functional.batch_norm(weight.reshape(1, len(weight), -1), None, None, training=True).reshape_as(weight)


CONVOLUTIONS = {
    "1d": (lambda x: functional.conv1d(x, normal(3, 2, 3), None, 2, 1), (2, 8)),
    "3d": (lambda x: functional.conv3d(x, normal(3, 2, 2, 3, 1), None, 1, (1, 0, 0)), (2, 3, 4, 2)),
    "padding same": (lambda x: functional.conv2d(x, normal(2, 2, 3, 3), padding="same", dilation=2), (2, 4, 5)),
    "depthwise": (lambda x: functional.conv2d(x, normal(6, 1, 3, 3), padding=1, groups=3), (3, 4, 4)),
    "one by one": (lambda x: functional.conv2d(x, normal(2, 2, 1, 1), normal(2)), (2, 3, 3)),
    "standardised weights": (lambda x: functional.conv2d(x, standardised(normal(4, 2, 3, 3))), (2, 4, 4)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_other_convolutions(name):
    check(*CONVOLUTIONS[name])


LINEAR = {
    "bias": (lambda x: functional.linear(x, normal(5, 6), normal(5)), (6,)),
    "no bias": (lambda x: functional.linear(x, normal(5, 6)), (6,)),
    "matmul": (lambda x: x @ normal(6, 5), (6,)),
    "several rows": (lambda x: functional.linear(x, normal(5, 4), normal(5)), (3, 4)),
    "many inputs": (lambda x: functional.linear(x, normal(3, 1100, seed=1)), (1100,)),
}


@pytest.mark.parametrize("name", LINEAR)
def test_linear_layers(name):
    check(*LINEAR[name])


def test_linear_layer_in_several_blocks(monkeypatch):
    monkeypatch.setattr("grounding.attention.rules.weighted._BLOCK", 12)
    check(lambda x: functional.linear(x, normal(7, 6), normal(7)), (6,))


@EXAMPLES
@given(
    height=sides,
    width=sides,
    kernel=st.tuples(small, small),
    stride=st.tuples(small, small),
    padded=st.booleans(),
    ceil_mode=st.booleans(),
    count_include_pad=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_average_pooling(height, width, kernel, stride, padded, ceil_mode, count_include_pad, seed):
    padding = tuple(k // 2 for k in kernel) if padded else 0
    check(
        lambda x: functional.avg_pool2d(x, kernel, stride, padding, ceil_mode, count_include_pad),
        (2, height, width),
        seed=seed,
    )


@pytest.mark.parametrize("bins", [(1, 1), (2, 3), (3, 4), (5, 7), (7, 7)])
def test_adaptive_average_pooling_with_uneven_bins(bins):
    check(lambda x: functional.adaptive_avg_pool2d(x, bins), (2, 5, 7))


def window_maxima(image, kernel, stride, padding, dilation, shape):
    """One row per output with a single 1, at the first maximum of its window."""
    channels, height, width = image.shape
    rows = []
    for c, i, j in itertools.product(range(channels), range(shape[0]), range(shape[1])):
        places = [
            (i * stride[0] - padding[0] + a * dilation[0], j * stride[1] - padding[1] + b * dilation[1])
            for a, b in itertools.product(range(kernel[0]), range(kernel[1]))
        ]
        inside = [(y, x) for y, x in places if 0 <= y < height and 0 <= x < width]
        best = max(inside, key=lambda place: float(image[c, place[0], place[1]]))
        row = torch.zeros_like(image)
        row[c, best[0], best[1]] = 1
        rows.append(row.flatten())
    return torch.stack(rows)


@EXAMPLES
@given(
    height=sides,
    width=sides,
    kernel=st.tuples(st.integers(2, 3), st.integers(2, 3)),
    stride=st.tuples(small, small),
    padded=st.booleans(),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    ceil_mode=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_max_pooling(height, width, kernel, stride, padded, dilation, ceil_mode, seed):
    padding = tuple(k // 2 for k in kernel) if padded else (0, 0)
    fits = [s + 2 * p >= d * (k - 1) + 1 for s, p, d, k in zip((height, width), padding, dilation, kernel, strict=True)]
    assume(all(fits))

    def pool(x):
        return functional.max_pool2d(x, kernel, stride, padding, dilation, ceil_mode)

    shape = pool(torch.zeros(1, 2, height, width)).shape[2:]
    check(pool, (2, height, width), lambda image: window_maxima(image, kernel, stride, padding, dilation, shape), seed)


def test_max_pooling_gives_all_to_the_first_of_equals():
    images = torch.ones(1, 1, 2, 2)
    tape = record(lambda x: functional.linear(functional.max_pool2d(x, 2).flatten(1), torch.ones(1, 1)), images)
    assert units(tape, torch.ones(1, 1)).flatten().tolist() == [1, 0, 0, 0]


def test_adaptive_max_pooling():
    def matrix(image):
        return window_maxima(image, (2, 2), (2, 2), (0, 0), (1, 1), (2, 3))

    check(lambda x: functional.adaptive_max_pool2d(x, (2, 3)), (2, 4, 6), matrix)


AFFINE = {
    "mean": lambda x: x.mean((2, 3)),
    "mean keepdim": lambda x: x.mean((-1, -2), keepdim=True),
    "mean over channels": lambda x: x.mean(1),
    "sum": lambda x: x.sum((1, 3)),
    "flatten": lambda x: x.flatten(1),
    "reshape": lambda x: x.reshape(len(x), 2, -1),
    "permute": lambda x: x.permute(0, 2, 3, 1),
    "permute and reshape": lambda x: x.permute(0, 3, 1, 2).reshape(len(x), -1, 2),
    "transpose": lambda x: x.transpose(1, -1),
    "matrix transpose": lambda x: x.flatten(1).t().contiguous().t(),
    "unsqueeze and squeeze": lambda x: x.unsqueeze(1).unsqueeze(-1).squeeze(1).squeeze(-1),
    "squeeze of several": lambda x: x[:, :1].unsqueeze(1).squeeze((1, 2)),
    "select": lambda x: x[:, 1],
    "slice": lambda x: x[:, :, 1::2, :-1],
    "expand": lambda x: x.unsqueeze(1).expand(-1, 3, -1, -1, -1),
    "pad": lambda x: functional.pad(x, (1, 2, 0, 1)),
    "crop by padding": lambda x: functional.pad(x, (-1, 0, 1, 0)),
    "clone": lambda x: x.clone(),
    "pooling of channels last to one cell": lambda x: functional.adaptive_avg_pool2d(
        x.contiguous(memory_format=torch.channels_last), 1
    ),
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "detach": lambda x: x.detach(),
    "dropout in evaluation mode": lambda x: functional.dropout(x, 0.5, training=False),
    "relu": functional.relu,
    "relu in place": lambda x: functional.relu_(x.clone()),
    "add a number": lambda x: x + 0.3,
    "subtract a number": lambda x: x - 0.02,
    "add what was made in its shape": lambda x: x + torch.full_like(x, 0.3) * x.new_ones(5),
    "add a constant": lambda x: x + normal(3, 1, 1),
    "add to a constant, scaled": lambda x: torch.add(normal(3, 1, 1), x, alpha=2),
    "add a larger constant": lambda x: x[:, :1] + positive(1, 3, 4, 5),
    "multiply by a number": lambda x: x * 0.458,
    "multiply in place": lambda x: x.clone().mul_(0.458),
    "multiply by a constant of both signs": lambda x: x * normal(3, 1, 1),
    "constant times larger": lambda x: normal(1, 3, 4, 5) * x[:, :1],
    "divide by a constant of both signs": lambda x: x / normal(3, 1, 1),
    "negate by a number": lambda x: torch.cat([x * -2.0, x], 1),
    "cat": lambda x: torch.cat([x[:, :2], x, x[:, 1:2]], 1),
    "cat with a constant": lambda x: torch.cat([x, positive(1, 2, 4, 5).expand(len(x), -1, -1, -1)], 1),
    "cat along the last": lambda x: torch.cat([x, x[..., :2]], -1),
    "stack": lambda x: torch.stack([x[:, 1], x[:, 0], x[:, 1]], -1),
    "stack with a constant": lambda x: torch.stack([positive(1, 3, 4, 5).expand_as(x), x], 1),
    "split": lambda x: torch.cat(torch.split(x, 2, 1)[::-1], 1),
    "split, one part unread": lambda x: torch.split(x, 1, 1)[1],
    "split by sizes": lambda x: torch.cat([x.split([1, 3], 2)[1], x.split([1, 3], 2)[0]], 2),
    "split along the last": lambda x: torch.cat([*x.split(3, -1), x], -1),
    "chunk": lambda x: x.chunk(2, 3)[1],
    "unbind": lambda x: torch.cat(x.unbind(1)[1:], 1),
    "unbind along the last": lambda x: torch.stack(x.unbind(-1)[::2], 1),
    "roll": lambda x: torch.roll(x, (1, -2), (2, 3)),
    "flip": lambda x: x.flip(2, 3),
    "repeat": lambda x: x.repeat(1, 2, 1, 3),
    "index": lambda x: x[:, torch.tensor([2, 0, 2])],
    "index of several": lambda x: x[:, :, torch.tensor([[0], [3]]), torch.tensor([1, 1, 4])],
    "index select": lambda x: x.index_select(2, torch.tensor([3, 1])),
    "reflection padding": lambda x: functional.pad(x, (1, 2, 2, 0), mode="reflect"),
    "replication padding": lambda x: functional.pad(x, (1, 2, 2, 0), mode="replicate"),
    "unfold": lambda x: functional.unfold(x, (2, 3), padding=1, stride=2),
    "fold": lambda x: functional.fold(x.reshape(len(x), 12, 5), (2, 6), (2, 2)),
    "upsampling": lambda x: functional.interpolate(x, scale_factor=2),
    "uneven upsampling": lambda x: functional.interpolate(x, (7, 8)),
    "bilinear upsampling": lambda x: functional.interpolate(x, (9, 7), mode="bilinear"),
    "bilinear downsampling": lambda x: functional.interpolate(x, (2, 3), mode="bilinear", align_corners=True),
    "pixel shuffle": lambda x: functional.pixel_shuffle(functional.pixel_unshuffle(x[..., :4], 2)[:, :8], 2),
    "scaled and shifted in one": lambda x: torch.addcmul(normal(3, 1, 1), normal(3, 1, 1, seed=1), x, value=2),
    "constant matrix from the left": lambda x: torch.bmm(
        normal(1, 6, 4).expand(3 * len(x), 6, 4), x.flatten(0, 1)
    ).reshape(len(x), -1),
    "constant matrix from the right": lambda x: torch.bmm(
        x.flatten(0, 1), normal(1, 5, 2).expand(3 * len(x), 5, 2)
    ).reshape(len(x), -1),
    "batch of products added": lambda x: torch.baddbmm(
        normal(1, 4, 2), x.flatten(0, 1), normal(1, 5, 2).expand(3 * len(x), 5, 2), alpha=0.5
    ).reshape(len(x), -1),
    "transform_input of GoogLeNet": lambda x: torch.cat(
        [x[:, c].unsqueeze(1) * (0.2 + 0.1 * c) + (0.5 - 0.1 * c) for c in range(3)], 1
    ),
}


@pytest.mark.parametrize("name", AFFINE)
def test_affine_operations(name):
    check(AFFINE[name], (3, 4, 5))


SIGNED = {
    "convolution": lambda x: functional.conv2d(x, normal(2, 3, 3, 3), normal(2), padding=1),
    "linear layer": lambda x: functional.linear(x.flatten(1), normal(7, 60), normal(7)),
    "mean": lambda x: x.mean((2, 3)),
    "sum": lambda x: x.sum(3),
    "average pooling": lambda x: functional.avg_pool2d(x, 2, 1),
    "adaptive average pooling": lambda x: functional.adaptive_avg_pool2d(x, (3, 2)),
    "bilinear upsampling": lambda x: functional.interpolate(x, (9, 7), mode="bilinear"),
    "fold": lambda x: functional.fold(x.reshape(len(x), 12, 5), (2, 6), (2, 2)),
    "matrix product": lambda x: torch.bmm(x.flatten(0, 1), normal(1, 5, 2).expand(3 * len(x), 5, 2)).reshape(
        len(x), -1
    ),
}


@pytest.mark.parametrize("name", SIGNED)
def test_negative_inputs_count_as_0(name):
    check(SIGNED[name], (3, 4, 5), lowest=-0.5)


def test_a_negative_input_takes_nothing_and_changes_nobody_elses_share():
    tape = record(lambda x: functional.linear(x, torch.ones(1, 3)), torch.tensor([[3.0, -3.9, 1.0]]))
    assert units(tape, torch.ones(1, 1)).flatten().tolist() == [0.75, 0.0, 0.25]


def layer_norm(*shape, seed=0):
    return lambda x: functional.layer_norm(x, shape, normal(*shape, seed=seed), normal(*shape, seed=seed + 1))


PASSED = {
    "gelu": functional.gelu,
    "gelu by tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
    "silu in place": lambda x: functional.silu(x.clone(), inplace=True),
    "hardswish": functional.hardswish,
    "hardswish in place": lambda x: functional.hardswish(x.clone(), inplace=True),
    "leaky relu": functional.leaky_relu,
    "leaky relu in place": lambda x: functional.leaky_relu_(x.clone(), 0.3),
    "layer norm": layer_norm(3, 4, 4),
    "layer norm without scale": lambda x: functional.layer_norm(x, (4,)),
    "group norm": lambda x: functional.group_norm(x, 3, normal(3), normal(3, seed=1)),
    "swish as a product": lambda x: x * x.sigmoid(),
    "gelu as a product": lambda x: 0.5 * x * (1 + torch.tanh(0.8 * (x + 0.04 * x**3))),
    "mish as a product": lambda x: x * functional.softplus(x).tanh(),
    "elu": functional.elu,
    "celu": functional.celu,
    "selu": functional.selu,
    "mish": functional.mish,
    "hardtanh": functional.hardtanh,
    "prelu": lambda x: functional.prelu(x, normal(3)),
    "clamp": lambda x: x.clamp(min=-0.3, max=0.9),
    "tanh": torch.tanh,
    "log softmax": lambda x: functional.log_softmax(x, 1) + 1.2,
    "rms norm": lambda x: functional.rms_norm(x, (4, 4), positive(4, 4)),
    "less its mean": lambda x: x - x.mean(1, keepdim=True),
    "less what was pooled": lambda x: x - functional.avg_pool2d(x, 3, 1, 1) - 0.1 * x.cos(),
    "unit length": lambda x: functional.normalize(x, dim=1) - 0.1,
    "layer norm written out": lambda x: (x - x.mean(1, keepdim=True)) * (x.var(1, keepdim=True) + 1e-5).rsqrt(),
    "layer norm by a standard deviation": lambda x: (
        (x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True)
    ),
    "over its sum": lambda x: x / x.sum((2, 3), keepdim=True),
}

POSITIVE = {
    "sigmoid": torch.sigmoid,
    "hard sigmoid": functional.hardsigmoid,
    "softmax": lambda x: x.softmax(1),
    "softplus": functional.softplus,
    "square": lambda x: x**2,
    "square of a ReLU, scaled": lambda x: 0.9 * x.relu() ** 2 - 0.4,
    "a product with itself": lambda x: x * x,
}


@pytest.mark.parametrize("name", POSITIVE)
def test_the_signal_passes_unchanged_from_positive_outputs(name):
    check(POSITIVE[name], (3, 4, 4), lambda image: torch.eye(48, dtype=torch.float64))


@pytest.mark.parametrize("name", PASSED)
def test_the_signal_passes_unchanged_also_where_the_input_is_negative(name):
    assert PASSED[name](normal(IMAGES, 3, 4, 4)).min() < 0
    check(lambda x: PASSED[name](x - 0.6), (3, 4, 4), lambda image: torch.eye(48, dtype=torch.float64))


# --- gates ------------------------------------------------------------------------------------------------------------

SQUEEZE, EXPAND = normal(2, 3, seed=7), normal(3, 2, seed=8)


def gate(x):
    """Squeeze-excitation: (N, 3, h, w) -> (N, 3, 1, 1), in (0, 1)."""
    hidden = functional.silu(x.mean((2, 3)) @ SQUEEZE.t())
    return (hidden @ EXPAND.t()).sigmoid()[:, :, None, None]


GATED = {
    "activation first": lambda x: x * gate(x),
    "gate first": lambda x: gate(x) * x,
    "in place": lambda x: x.clone().mul_(gate(x)),
    "gate expanded": lambda x: x * gate(x).expand_as(x),
    "hard sigmoid": lambda x: x * functional.hardsigmoid(x.mean((2, 3), keepdim=True)),
    "in place sigmoid": lambda x: x * (x.mean((2, 3), keepdim=True) + 0).sigmoid_(),
    "of each place": lambda x: x * x.mean(1, keepdim=True).sigmoid(),
    "made by what has no rule": lambda x: x * torch.sin(x.amax((2, 3), keepdim=True)).sigmoid(),
    "computed from a gate": lambda x: x * (2 * gate(x) - 0.5).expand_as(x).clone(),
    "of two gates": lambda x: x * (gate(x) * x.mean(1, keepdim=True).tanh()),
    "softmax over branches": lambda x: x * torch.stack([x, 2 * x]).softmax(0)[1],
    "response normalisation": lambda x: (
        x * (x.norm(dim=(2, 3), keepdim=True) / x.flatten(1).norm(dim=1)[:, None, None, None])
    ),
    "response normalisation in one": lambda x: torch.addcmul(normal(3, 1, 1), x, x.norm(dim=(2, 3), keepdim=True)),
    "smaller activation": lambda x: x.mean((2, 3), keepdim=True) * x,
    "smaller activation expanded": lambda x: x * functional.relu(x.mean(1, keepdim=True)).expand_as(x),
    "divided by what is no gate": lambda x: x / (1 + x.cos()),
}


@pytest.mark.parametrize("name", GATED)
def test_a_gate_gets_nothing_and_its_activation_all(name):
    check(GATED[name], (3, 4, 4), lambda image: torch.eye(48, dtype=torch.float64))


def test_an_activation_that_makes_its_own_gate_is_read_by_both():
    straight, gating = normal(2, 3, 1, 1), normal(2, 3, 1, 1, seed=1)
    check(
        lambda x: functional.conv2d(x, straight) * functional.conv2d(x, gating).sigmoid(),
        (3, 2, 2),
        lambda image: dense(lambda x: functional.conv2d(x, straight), (3, 2, 2)),
    )


def test_a_gate_larger_than_its_activation_gathers_what_was_spread():
    def matrix(image):
        return torch.eye(3, dtype=torch.float64).repeat_interleave(16, 0)

    places = normal(1, 3, 4, 4)
    check(lambda x: x * (x + places).sigmoid(), (3, 1, 1), matrix)


FACTORS = {  # of the images, and what a linear layer in it reads
    "plain": (lambda x: x + 1, None),
    "linear layer": (lambda x: x @ FACTOR.t(), lambda x: x),
    "linear layer on sigmoids": (lambda x: x.sigmoid() @ FACTOR.t(), torch.sigmoid),
}
FACTOR = normal(5, 5, seed=3)


@pytest.mark.parametrize("name", FACTORS)
def test_two_factors_get_half_each(name):
    factor, hidden = FACTORS[name]
    images, head, signal = positive(1, 5), normal(TAGS, 5), positive(TAGS)
    found = units(record(lambda x: functional.linear(factor(x) * x, head), images), signal[None])
    above = excite(head, (factor(images) * images).flatten(), signal)
    through = excite(FACTOR, hidden(images).flatten(), above) if hidden else above
    torch.testing.assert_close(found.flatten(), 0.5 * above + 0.5 * through, rtol=1e-9, atol=1e-12)


def test_matrix_product_of_two_activations_gives_half_to_each_by_the_linear_rule():
    images = normal(1, 2, 3, 3)
    head, signal = normal(TAGS, 9, seed=1), positive(TAGS)
    tape = record(lambda x: functional.linear((x[:, 0] @ x[:, 1]).flatten(1), head), images)
    left, right = images[0]
    p = excite(head, (left @ right).flatten(), signal)
    eye = torch.eye(3, dtype=torch.float64)
    to_left = excite(torch.kron(eye, right.t().contiguous()), left.flatten(), p)
    to_right = excite(torch.kron(left.clamp(min=0), eye), right.flatten(), p)
    expected = 0.5 * torch.stack([to_left, to_right]).reshape(2, 3, 3)
    found = units(tape, signal[None])[0, 0]
    torch.testing.assert_close(found, torch.where(expected.isfinite(), expected, 0), rtol=1e-9, atol=1e-12)


MAXIMA = {
    "max": (lambda x: x.max(2).values, (2,)),
    "max keepdim": (lambda x: x.max(-1, keepdim=True)[0], (3,)),
    "amax": (lambda x: x.amax(1), (1,)),
    "amax of several": (lambda x: x.amax((1, 3)), (1, 3)),
    "amax of several out of order": (lambda x: x.amax((-1, 2), keepdim=True), (2, 3)),
}


@pytest.mark.parametrize("name", MAXIMA)
def test_maximum_over_dimensions_goes_to_its_argmax(name):
    function, dims = MAXIMA[name]

    def matrix(image):
        best = image[None] == image[None].amax(dims, keepdim=True)
        others = [axis for axis in range(1, 4) if axis not in dims]
        numbers = torch.arange(image.numel()).reshape(1, *image.shape)
        lines = [numbers.permute(0, *others, *dims).flatten(0, len(others)).flatten(1)][0]
        return torch.stack([best.flatten().double() * torch.isin(numbers.flatten(), line) for line in lines])

    check(function, (3, 4, 5), matrix)


def test_maximum_over_dimensions_goes_to_the_first_of_equals():
    tape = record(lambda x: functional.linear(x.amax((2, 3)), torch.ones(1, 1)), torch.ones(1, 1, 2, 2))
    assert units(tape, torch.ones(1, 1)).flatten().tolist() == [1, 0, 0, 0]


# --- a block of ConvNeXt, matrix by matrix ----------------------------------------------------------------------------


@pytest.mark.parametrize("channels_last", [True, False])
def test_block_of_convnext_matrix_by_matrix(channels_last):
    """Depthwise convolution, layer norm, two linear layers with GELU between, layer scale of both signs, residual."""
    depthwise, wide, narrow = normal(3, 1, 3, 3), normal(5, 3, seed=1), normal(3, 5, seed=2)
    scale = torch.tensor([0.7, -0.4, 1.1], dtype=torch.float64)
    norm, size = layer_norm(3, seed=3), 3 * 2 * 2

    def convolve(x):
        return functional.conv2d(x, depthwise, padding=1, groups=3)

    def widen(x):  # (N, h, w, 3) -> (N, h, w, 5)
        return functional.linear(x, wide)

    def narrowed(x):
        return functional.linear(x, narrow)

    def block(x):
        y = norm(convolve(x).permute(0, 2, 3, 1))
        if channels_last:
            return x + (narrowed(functional.gelu(widen(y))) * scale).permute(0, 3, 1, 2)
        y = functional.conv2d(y.permute(0, 3, 1, 2), wide[:, :, None, None])
        return x + functional.conv2d(functional.gelu(y), narrow[:, :, None, None]) * scale[:, None, None]

    images, signal = positive(1, 3, 2, 2), positive(TAGS)
    head = normal(TAGS, size, seed=4)
    found = units(record(lambda x: functional.linear(block(x).flatten(1), head), images), signal[None])

    normed = norm(convolve(images).permute(0, 2, 3, 1))
    hidden = functional.gelu(widen(normed))
    branch = (narrowed(hidden) * scale).permute(0, 3, 1, 2)
    total = images + branch
    assert min(part.min() for part in (normed, hidden, branch, total)) < 0
    above = excite(head, total.flatten(), signal)
    skipped, above = share((images.flatten(), branch.flatten()), above)
    p = above.reshape(1, 3, 2, 2).permute(0, 2, 3, 1)
    p = excite(dense(lambda x: narrowed(x) * scale, (2, 2, 5)), hidden.flatten(), p.flatten())
    p = excite(dense(widen, (2, 2, 3)), normed.flatten(), p)
    p = excite(dense(convolve, (3, 2, 2)), images.flatten(), p.reshape(2, 2, 3).permute(2, 0, 1).flatten())
    torch.testing.assert_close(found.flatten(), p + skipped, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", ["convnext_atto", "efficientnet_b0", "mobilenetv3_small_050", "regnety_002"])
def test_networks_with_negative_activations_and_gates_stay_bounded(name):
    """With negative inputs unclamped, EfficientNet overflows, and ConvNeXt grows to 1e4 with layer scales of 1e-6."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=8, drop_path_rate=0.1).eval()
    tape = record(model, torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(1)))
    signals = torch.eye(8)
    walked = units(tape, signals, stride=16)
    assert 0.1 < walked.flatten(1).sum(1).min() < walked.abs().flatten(1).sum(1).max() < 1.05
    maps = contrastive_mwp(tape, signals)[0].clamp(min=0)
    assert maps.shape == (8, 6, 6)
    assert maps.isfinite().all()
    assert maps.flatten(1).amax(1).min() > 0


def test_relu6_passes_the_signal_above_its_bound_too():
    check(lambda x: functional.relu6(x * 8), (3, 2, 2), lambda image: torch.eye(12, dtype=torch.float64))


def batch_norm(channels, dims=2, seed=0):
    norm = (nn.BatchNorm2d if dims == 2 else nn.BatchNorm1d)(channels).double().eval()
    with torch.no_grad():
        norm.weight.copy_(normal(channels, seed=seed))
        norm.bias.copy_(normal(channels, seed=seed + 1))
        norm.running_mean.copy_(normal(channels, seed=seed + 2))
        norm.running_var.copy_(positive(channels, seed=seed + 3))
    assert norm.weight.min() < 0 < norm.weight.max()
    return norm


def test_batch_normalisation_is_folded_with_its_sign():
    weight, norm = normal(4, 3, 3, 3), batch_norm(4)
    check(lambda x: norm(functional.conv2d(x, weight, normal(4), padding=1)), (3, 4, 4))


def test_batch_normalisation_behind_a_linear_layer():
    weight, norm = normal(4, 5), batch_norm(4, dims=1)
    check(lambda x: norm(functional.linear(x, weight)), (5,))


def test_batch_normalisation_with_a_zero_scale_kills_the_channel():
    weight, norm = normal(4, 3, 1, 1), batch_norm(4)
    with torch.no_grad():
        norm.weight[0] = 0
    check(lambda x: norm(functional.conv2d(x, weight)), (3, 2, 2))


def test_batch_normalisation_without_scale():
    weight, norm = normal(4, 3, 1, 1), nn.BatchNorm2d(4, affine=False).double().eval()
    check(lambda x: norm(functional.conv2d(x, weight)), (3, 2, 2))


def test_batch_normalisation_elsewhere_passes_the_signal():
    norm = batch_norm(3)
    check(norm, (3, 2, 2), lambda image: torch.eye(12, dtype=torch.float64))


SCALED = {  # of 4 outputs, by a scale of both signs and a 0
    "linear layer": (lambda x, scale: functional.linear(x, normal(4, 5)) * scale, (5,)),
    "of several rows": (lambda x, scale: scale * functional.linear(x, normal(4, 5), normal(4)), (3, 5)),
    "in place": (lambda x, scale: functional.linear(x, normal(4, 5)).mul_(scale), (3, 5)),
    "and shifted": (lambda x, s: torch.addcmul(normal(4), functional.linear(x, normal(4, 5)), s), (3, 5)),
    "convolution": (lambda x, s: functional.conv2d(x, normal(4, 3, 2, 2)) * s[:, None, None], (3, 3, 4)),
    "convolution, one per image": (
        lambda x, s: s.reshape(1, 4, 1, 1) * functional.conv2d(x, normal(4, 3, 1, 1)),
        (3, 4, 4),
    ),
    "linear layer, permuted": (
        lambda x, s: functional.linear(x, normal(4, 5)).permute(0, 3, 1, 2) * s[:, None, None],
        (4, 4, 5),
    ),
    "convolution, flattened": (
        lambda x, s: functional.conv2d(x, normal(4, 3, 1, 1)).flatten(2).transpose(1, 2) * s,
        (3, 4, 4),
    ),
    "batch normalisation of rows": (
        lambda x, s: functional.batch_norm(
            functional.linear(x, normal(4, 5)).flatten(0, 1), normal(4), positive(4), s
        ).reshape(len(x), 3, 4),
        (3, 5),
    ),
}


@pytest.mark.parametrize("name", SCALED)
def test_a_scale_behind_a_linear_layer_or_convolution_is_folded_with_its_sign(name):
    function, shape = SCALED[name]
    scale = torch.tensor([0.7, -0.4, 0.0, -1.1], dtype=torch.float64)
    check(lambda x: function(x, scale), shape)


NOT_FOLDED = {
    "along another dimension": lambda x, scale: functional.linear(x, normal(4, 5)) * scale[:, None],
    "of each element": lambda x, scale: functional.linear(x, normal(4, 5)) * scale[:, None] * scale,
    "behind a rectifier": lambda x, scale: functional.linear(x, normal(4, 5)).relu() * scale,
    "of a merged dimension": lambda x, scale: functional.linear(x, normal(2, 5)).reshape(len(x), 2, 4) * scale,
    "batch normalisation of tokens": lambda x, scale: functional.batch_norm(
        functional.linear(x, normal(4, 5)), normal(4), positive(4), scale
    ),
}


@pytest.mark.parametrize("name", NOT_FOLDED)
def test_another_scale_is_not_folded(name):
    images, signal = positive(1, 4, 5), positive(TAGS)
    scale = torch.tensor([0.7, -0.4, 0.3, -1.1], dtype=torch.float64)
    head = normal(TAGS, NOT_FOLDED[name](images, scale).numel(), seed=2)
    found = units(
        record(lambda x: functional.linear(NOT_FOLDED[name](x, scale).flatten(1), head), images), signal[None]
    )
    hidden = functional.linear(images, normal(2 if "merged" in name else 4, 5))
    above = excite(head, NOT_FOLDED[name](images, scale).flatten(), signal)
    factor = NOT_FOLDED[name](images, scale) / hidden.reshape(NOT_FOLDED[name](images, scale).shape)
    if "batch" in name:
        kept = torch.ones(16, dtype=torch.float64)
    elif "each" in name:
        kept = ((scale[:, None] > 0) & (scale > 0)).flatten().double()
    elif "rectifier" in name:
        kept = (scale > 0).double().repeat(4)
    else:
        kept = (factor > 0).flatten().double()
    weights = dense(lambda x: functional.linear(x, normal(2 if "merged" in name else 4, 5)), (4, 5))
    torch.testing.assert_close(found.flatten(), excite(weights, images.flatten(), above * kept), rtol=1e-9, atol=1e-12)


def test_instance_normalisation_passes_the_signal_of_one_image_and_of_several():
    weight, scale, head = normal(4, 3, 1, 1), normal(4), normal(TAGS, 16)

    def model(x):
        return functional.linear(functional.instance_norm(functional.conv2d(x, weight), weight=scale).flatten(1), head)

    assert scale.min() < 0
    images = positive(IMAGES, 3, 2, 2)
    together = units(record(model, images), positive(1, TAGS))
    for n in range(IMAGES):
        alone = units(record(model, images[n : n + 1]), positive(1, TAGS))
        torch.testing.assert_close(together[:, n : n + 1], alone)
    assert together.any()


def test_batch_normalisation_is_not_folded_where_the_convolution_has_another_reader():
    weight, norm = normal(3, 3, 1, 1), batch_norm(3)

    def function(x):
        y = functional.conv2d(x, weight)
        return torch.cat([y, norm(y)], 1)

    def matrix(image):
        return dense(lambda x: torch.cat([functional.conv2d(x, weight)] * 2, 1), (3, 2, 2))

    images = positive(1, 3, 2, 2)
    features = function(images).flatten()
    head, signal = normal(TAGS, len(features)), positive(TAGS)
    found = units(record(lambda x: functional.linear(function(x).flatten(1), head), images), signal[None])
    above = excite(head, features, signal)
    expected = excite(matrix(images)[:12], images.flatten(), above[:12] + above[12:])
    torch.testing.assert_close(found.flatten(), expected)


def share(parts, p):
    """What a sum of two gives to each, unit by unit: by size among those that pull it where it went."""
    given = []
    for one, two, mass in zip(*(part.tolist() for part in (*parts, p)), strict=True):
        sizes = [abs(part) if part * (one + two) > 0 else 0.0 for part in (one, two)]
        given.append([mass * size / sum(sizes) if any(sizes) else 0.0 for size in sizes])
    return torch.tensor(given, dtype=torch.float64).T


@pytest.mark.parametrize("alpha", [1, 0.5])
def test_sum_splits_among_the_inputs_of_its_sign(alpha):
    images = positive(1, 6)
    left, right = normal(4, 3, seed=5), normal(4, 3, seed=6)
    left[3] = right[3] = 0
    head, signal = normal(TAGS, 4), positive(TAGS)
    tape = record(
        lambda x: functional.linear(torch.add(x[:, :3] @ left.t(), x[:, 3:] @ right.t(), alpha=alpha), head), images
    )
    found = units(tape, signal[None]).flatten()
    low, high = images[0, :3], images[0, 3:]
    parts = (left @ low, alpha * (right @ high))
    assert min(part.min() for part in parts) < 0
    above = excite(head, parts[0] + parts[1], signal)
    shares = share(parts, above)
    torch.testing.assert_close(shares[0] + shares[1], above)
    expected = torch.cat([excite(left, low, shares[0]), excite(right, high, shares[1])])
    torch.testing.assert_close(found, expected)
    assert found.isfinite().all()


def test_sum_of_different_shapes_gathers_what_was_spread():
    images = positive(1, 3, 2, 2)
    head, signal = normal(TAGS, 12), positive(TAGS)
    tape = record(lambda x: functional.linear((x + x.mean((2, 3), keepdim=True)).flatten(1), head), images)
    found = units(tape, signal[None])[0]
    mean = images.mean((2, 3), keepdim=True)
    above = excite(head, (images + mean).flatten(), signal).reshape(1, 3, 2, 2)
    spread = (above * mean / (images + mean)).sum((2, 3), keepdim=True)
    expected = above * images / (images + mean) + images / images.sum((2, 3), keepdim=True) * spread
    torch.testing.assert_close(found, expected)


def test_a_unit_that_nothing_excites_loses_its_signal_without_nan():
    weight = torch.tensor([[1.0, 2.0], [-1.0, -3.0]])
    tape = record(lambda x: functional.linear(x, weight), torch.tensor([[1.0, 2.0]]))
    assert units(tape, torch.eye(2))[:, 0].tolist() == [pytest.approx([0.2, 0.8]), [0.0, 0.0]]
    tiny = record(lambda x: functional.linear(x, weight), torch.tensor([[1e-38, 1e-40]]))
    assert units(tiny, torch.eye(2)).isfinite().all()


UNSUPPORTED = [
    ("aten.sin.default", torch.sin),
    ("aten.rsqrt.default", torch.rsqrt),
    ("aten.linalg_vector_norm.default", lambda x: x.norm(dim=1)),
    ("aten.pow.Tensor_Scalar", lambda x: x**-1.5),
    ("aten.mm.default", lambda x: (x.flatten(2)[0].t() @ x.flatten(2)[0])[None]),
    ("aten.div.Tensor", lambda x: torch.ones(3, 1, 1) / x),
    ("aten.index.Tensor", lambda x: x[:, x.flatten(1).sum(0)[:3].argsort()]),
    ("aten.max.dim", lambda x: x.max(1).indices.float()),
    ("aten.unfold.default", lambda x: x.unfold(2, 3, 1)),
    ("aten.convolution.default", lambda x: functional.conv_transpose2d(torch.ones(1, 3, 4, 4), x[0, :, None])),
    ("aten.as_strided_.default", lambda x: x.clone().as_strided_((1, 3, 4, 4), (48, 16, 1, 4))),
    ("aten.as_strided_.default", lambda x: x.clone()[:, 1:].as_strided_((1, 2, 4, 4), (48, 16, 4, 1), 0)),
    ("aten.as_strided_.default", lambda x: x.clone().as_strided_((1, 2, 4, 4), (48, 16, 4, 1))),
    ("aten.upsample_bicubic2d.default", lambda x: functional.interpolate(x, (5, 5), mode="bicubic")),
]


@pytest.mark.parametrize(("name", "function"), UNSUPPORTED)
def test_operation_without_a_rule_is_named(name, function):
    def model(x):
        return functional.linear(function(x).flatten(1), torch.ones(2, 1).expand(2, features))

    images = torch.rand(1, 3, 4, 4)
    features = function(images).numel()
    with pytest.raises(UnsupportedOperationError, match=name.replace(".", r"\.")):
        units(record(model, images), torch.eye(2))


NORM = batch_norm(4)
TWICE = {
    "batch normalisation, then a layer scale": lambda x, w: NORM(functional.conv2d(x, w)) * normal(4, 1, 1),
    "two scales": lambda x, w: functional.conv2d(x, w) * normal(4, 1, 1) * normal(4, 1, 1, seed=9),
    "a negative number": lambda x, w: functional.conv2d(x, w) * -1.5,
    "one negative element": lambda x, w: functional.conv2d(x, w) * torch.tensor([-0.5], dtype=torch.float64),
    "of a linear layer": lambda x, w: (
        functional.linear(x.permute(0, 2, 3, 1).contiguous(), w[:, :, 0, 0]) * -2.0 * normal(4)
    ),
}


@pytest.mark.parametrize("name", TWICE)
def test_scales_in_a_row_are_folded_with_their_signs(name):
    weight = normal(4, 3, 1, 1)
    check(lambda x: TWICE[name](x, weight), (3, 4, 5))


def test_a_comparison_is_a_gate():
    check(lambda x: x * (x > 0.3), (3, 2, 2), lambda image: torch.eye(12, dtype=torch.float64))
