"""Every rule against the definition of Excitation Backprop on the dense matrix of the operation, in float64."""

import itertools

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from grounding.attention import mwp, record
from grounding.errors import UnsupportedOperationError

SIGNALS, TAGS, IMAGES = 3, 4, 2
EXAMPLES = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])


def excite(matrix, x, p):
    """The definition: P(x_j) = x_j sum_i W+_ij P(y_i) / Z_i, Z_i = sum_k W+_ik x_k, and 0 where Z = 0."""
    positive = matrix.clamp(min=0)
    z = positive @ x
    return x * (positive.T @ torch.where(z != 0, p / z, 0))


def dense(function, shape):
    """The matrix of an affine function of one image, column by column, without its bias."""
    bias = function(torch.zeros(1, *shape, dtype=torch.float64)).flatten()
    size = torch.Size(shape).numel()
    units = torch.eye(size, dtype=torch.float64).reshape(size, 1, *shape)
    return torch.stack([function(unit).flatten() - bias for unit in units], 1)


def positive(*shape, seed=0):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 0.05


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def check(function, shape, matrix=None, seed=0):
    """Walk from a linear head through `function` to the images; `matrix(image)` where it is not `dense(function)`."""
    images = positive(IMAGES, *shape, seed=seed)
    features = function(images.clone()).flatten(1)
    head = normal(TAGS, features.shape[1], seed=seed + 1)
    signals = positive(SIGNALS, TAGS, seed=seed + 2)
    tape = record(lambda x: functional.linear(function(x).flatten(1), head), images.clone())
    found = mwp(tape, signals)
    assert found.shape == (SIGNALS, IMAGES, *shape)
    assert found.dtype == torch.float64
    fixed = dense(function, shape) if matrix is None else None
    for n, image in enumerate(images):
        weights = fixed if fixed is not None else matrix(image)
        for k, signal in enumerate(signals):
            expected = excite(weights, image.flatten(), excite(head, features[n], signal))
            torch.testing.assert_close(found[k, n].flatten(), expected, rtol=1e-9, atol=1e-10)


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


CONVOLUTIONS = {
    "1d": (lambda x: functional.conv1d(x, normal(3, 2, 3), None, 2, 1), (2, 8)),
    "3d": (lambda x: functional.conv3d(x, normal(3, 2, 2, 3, 1), None, 1, (1, 0, 0)), (2, 3, 4, 2)),
    "padding same": (lambda x: functional.conv2d(x, normal(2, 2, 3, 3), padding="same", dilation=2), (2, 4, 5)),
    "depthwise": (lambda x: functional.conv2d(x, normal(6, 1, 3, 3), padding=1, groups=3), (3, 4, 4)),
    "one by one": (lambda x: functional.conv2d(x, normal(2, 2, 1, 1), normal(2)), (2, 3, 3)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_other_convolutions(name):
    check(*CONVOLUTIONS[name])


LINEAR = {
    "bias": (lambda x: functional.linear(x, normal(5, 6), normal(5)), (6,)),
    "no bias": (lambda x: functional.linear(x, normal(5, 6)), (6,)),
    "matmul": (lambda x: x @ normal(6, 5), (6,)),
    "several rows": (lambda x: functional.linear(x, normal(5, 4), normal(5)), (3, 4)),
    "many inputs": (lambda x: functional.linear(x, normal(3, 1100)), (1100,)),
}


@pytest.mark.parametrize("name", LINEAR)
def test_linear_layers(name):
    check(*LINEAR[name])


def test_linear_layer_in_several_blocks(monkeypatch):
    monkeypatch.setattr("grounding.attention.rules._BLOCK", 12)
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
    assert mwp(tape, torch.ones(1, 1)).flatten().tolist() == [1, 0, 0, 0]


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
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "detach": lambda x: x.detach(),
    "dropout in evaluation mode": lambda x: functional.dropout(x, 0.5, training=False),
    "relu": functional.relu,
    "relu in place": lambda x: functional.relu_(x.clone()),
    "add a number": lambda x: x + 0.3,
    "subtract a number": lambda x: x - 0.02,
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
    "transform_input of GoogLeNet": lambda x: torch.cat(
        [x[:, c].unsqueeze(1) * (0.2 + 0.1 * c) + (0.5 - 0.1 * c) for c in range(3)], 1
    ),
}


@pytest.mark.parametrize("name", AFFINE)
def test_affine_operations(name):
    check(AFFINE[name], (3, 4, 5))


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
    found = mwp(record(lambda x: functional.linear(function(x).flatten(1), head), images), signal[None])
    above = excite(head, features, signal)
    expected = excite(matrix(images)[:12], images.flatten(), above[:12] + above[12:])
    torch.testing.assert_close(found.flatten(), expected)


@pytest.mark.parametrize("alpha", [1, 0.5])
def test_sum_splits_in_proportion_even_where_an_input_is_negative_or_the_sum_zero(alpha):
    images = positive(1, 6)
    left, right = normal(4, 6, seed=5), normal(4, 6, seed=6)
    left[3] = right[3] = 0
    head, signal = normal(TAGS, 4), positive(TAGS)
    tape = record(lambda x: functional.linear(torch.add(x @ left.t(), x @ right.t(), alpha=alpha), head), images)
    found = mwp(tape, signal[None]).flatten()
    x = images[0]
    parts = (left @ x, alpha * (right @ x))
    assert min(part.min() for part in parts) < 0
    above = excite(head, parts[0] + parts[1], signal)
    total = parts[0] + parts[1]
    shares = [torch.where(total != 0, above * part / total, 0) for part in parts]
    expected = excite(left, x, shares[0]) + excite(right, x, shares[1])
    torch.testing.assert_close(found, expected)
    assert found.isfinite().all()


def test_sum_of_different_shapes_gathers_what_was_spread():
    images = positive(1, 3, 2, 2)
    head, signal = normal(TAGS, 12), positive(TAGS)
    tape = record(lambda x: functional.linear((x + x.mean((2, 3), keepdim=True)).flatten(1), head), images)
    found = mwp(tape, signal[None])[0]
    mean = images.mean((2, 3), keepdim=True)
    above = excite(head, (images + mean).flatten(), signal).reshape(1, 3, 2, 2)
    spread = (above * mean / (images + mean)).sum((2, 3), keepdim=True)
    expected = above * images / (images + mean) + images / images.sum((2, 3), keepdim=True) * spread
    torch.testing.assert_close(found, expected)


def test_a_unit_that_nothing_excites_loses_its_signal_without_nan():
    weight = torch.tensor([[1.0, 2.0], [-1.0, -3.0]])
    tape = record(lambda x: functional.linear(x, weight), torch.tensor([[1.0, 2.0]]))
    assert mwp(tape, torch.eye(2))[:, 0].tolist() == [pytest.approx([0.2, 0.8]), [0.0, 0.0]]
    tiny = record(lambda x: functional.linear(x, weight), torch.tensor([[1e-38, 1e-40]]))
    assert mwp(tiny, torch.eye(2)).isfinite().all()


def write_through_a_view(x):
    copy = x.clone()
    copy[:, 0].relu_()
    return copy


UNSUPPORTED = {
    "aten.sin.default": torch.sin,
    "aten.gelu.default": functional.gelu,
    "aten.mul.Tensor": lambda x: x * x.sigmoid(),
    "aten.mm.default": lambda x: (x.flatten(2)[0].t() @ x.flatten(2)[0])[None],
    "aten.sub.Tensor": lambda x: x - x.relu(),
    "aten.div.Tensor": lambda x: torch.ones(3, 1, 1) / x,
    "aten.convolution.default": lambda x: functional.conv_transpose2d(x, torch.ones(3, 2, 2, 2)),
    "aten.split.Tensor": lambda x: torch.cat(torch.split(x, 1, 1)[::-1], 1),
    "an in-place write through a view": write_through_a_view,
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_operation_without_a_rule_is_named(name):
    def model(x):
        return functional.linear(UNSUPPORTED[name](x).flatten(1), torch.ones(2, 1).expand(2, features))

    images = torch.rand(1, 3, 4, 4)
    features = UNSUPPORTED[name](images).numel()
    with pytest.raises(UnsupportedOperationError, match=name.replace(".", r"\.")):
        mwp(record(model, images), torch.eye(2))
