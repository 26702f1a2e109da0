"""What is folded into the layer below, however it is written; and biases that take a share, by their definition."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

from grounding.attention import contrastive_mwp, mwp, record
from grounding.attention.rules.folding import fold
from grounding.errors import UnsupportedOperationError
from helpers.oracles import IMAGES, TAGS, check, dense, normal, positive, units

SCALE = torch.tensor([0.7, -0.4, 1.3, -1.1], dtype=torch.float64)
BIAS, MEAN, VARIANCE = normal(4, seed=4), normal(4, seed=5), positive(4, seed=6)


def every(shape):
    """(mean, deviation, scale, bias) of the channels, each in this shape."""
    return (each.reshape(shape) for each in (MEAN, (VARIANCE + 1e-5).sqrt(), SCALE, BIAS))


def standardise(x, shape=(4, 1, 1)):
    mean, deviation, scale, bias = every(shape)
    return (x - mean) / deviation * scale + bias


def expanded(x, over):
    mean, deviation, scale, bias = (each.expand(over(x)) for each in every((1, 4, 1, 1)))
    return (x - mean).mul(scale).div(deviation).add(bias)


def in_place(x):
    mean, deviation, scale, bias = every((1, 4, 1, 1))
    return x.sub_(mean).div_(deviation).mul_(scale).add_(bias)


def in_one(x):
    mean, deviation, scale, bias = every((4, 1, 1))
    return torch.addcmul(bias - mean * scale / deviation, x, scale / deviation)


def by_module(x):
    return functional.batch_norm(x, MEAN, VARIANCE, SCALE, BIAS)


WRITTEN = {
    "module": by_module,
    "module without scale, then a scale": lambda x: functional.batch_norm(x, MEAN, VARIANCE) * SCALE[:, None, None],
    "less, over, times, plus": standardise,
    "one for each image": lambda x: standardise(x, (1, 4, 1, 1)),
    "expanded over places": lambda x: expanded(x, lambda x: (1, *x.shape[1:])),
    "expanded over the batch": lambda x: expanded(x, lambda x: (len(x), 4, 1, 1)),
    "expanded over all": lambda x: expanded(x, lambda x: x.shape),
    "in place": in_place,
    "in one": in_one,
    "a cast between": lambda x: standardise((x * 2).to(torch.float64).clone().detach()),
    "scale, then mean": lambda x: (x * SCALE[:, None, None] - MEAN[:, None, None]) * 2,
    "mean twice": lambda x: torch.sub(x, MEAN[:, None, None], alpha=-2) * SCALE[:, None, None] - 0.3,
    "constant first": lambda x: torch.add(BIAS[:, None, None], x, alpha=-0.5) * 1.5 + MEAN[:, None, None],
    "numbers": lambda x: ((x - 0.2) / -0.5 * 3 + 0.1) / 2,
    "one element": lambda x: x * torch.tensor([-0.5], dtype=torch.float64) + torch.tensor(0.2, dtype=torch.float64),
    "dropout and module": lambda x: by_module(functional.dropout(x, 0.5, training=False)),
    "a zero": lambda x: (
        x * torch.tensor([1.0, 0.0, -1.0, 2.0], dtype=torch.float64)[:, None, None] + BIAS[:, None, None]
    ),
    "as channels last": lambda x: (
        (x.permute(0, 2, 3, 1) - MEAN).mul(SCALE).permute(0, 3, 1, 2).div(VARIANCE[:, None, None]) + 0.1
    ),
    "flattened": lambda x: (x.flatten(2) * SCALE[:, None] + BIAS[:, None]).reshape_as(x),
}
WEIGHT, OFFSET = normal(4, 3, 2, 2, seed=2), normal(4, seed=3)
LAYERS = {  # of (N, 3, 3, 4), or of rows of 5; what is written behind them has the shape (N, 4, ...)
    "convolution": (lambda x: functional.conv2d(x, WEIGHT, OFFSET), (3, 3, 4)),
    "convolution under vmap": (
        torch.vmap(lambda image: functional.conv2d(image[None], WEIGHT, OFFSET)[0]),
        (3, 3, 4),
    ),
    "some of what a layer returns": (
        lambda x: functional.linear(x, normal(4, 5), OFFSET)[:, :, 1:, None].select(3, 0).permute(0, 3, 1, 2),
        (2, 3, 5),
    ),
    "linear layer": (
        lambda x: functional.linear(x, normal(4, 5), OFFSET).permute(0, 3, 1, 2),
        (2, 3, 5),
    ),
}


def written(layer, name):
    function, shape = LAYERS[layer]
    return lambda x: WRITTEN[name](function(x)), shape


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("layer", LAYERS)
def test_a_normalisation_written_out_is_folded(layer, name):
    function, shape = written(layer, name)
    check(function, shape)


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("layer", LAYERS)
def test_scale_and_shift_are_those_of_all_that_is_folded(layer, name):
    """Only the signs of the scale and of the shift show in a map; s and t themselves must be right for biases."""
    function, shape = written(layer, name)
    images = positive(1, *shape)
    tape = record(function, images)
    layers = [operation for operation in tape.operations if operation.weighted]
    (scale, shift), hidden = fold(layers[0]), LAYERS[layer][0](images)
    scale, shift = (torch.as_tensor(each).expand(4)[:, None, None] for each in (scale, shift))
    torch.testing.assert_close(scale * hidden + shift, function(images), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["less, over, times, plus", "in place", "in one"])
def test_under_vmap(name):
    """The map of each image is that of the same written with the module."""
    head, images = normal(TAGS, 4), positive(IMAGES, 3, 4, 4)
    signals = positive(2, TAGS)

    def network(written):
        def of_one(image):
            return functional.linear(written(functional.conv2d(image[None], WEIGHT, OFFSET)).relu().mean((2, 3)), head)[
                0
            ]

        return torch.vmap(of_one)

    def plain(x):
        return functional.linear(by_module(functional.conv2d(x, WEIGHT, OFFSET)).relu().mean((2, 3)), head)

    found, expected = (
        mwp(record(model, images), signals, layer=0, channels=True) for model in (network(WRITTEN[name]), plain)
    )
    torch.testing.assert_close(found, expected)


ALONE = {  # what stands between keeps the scale from being folded
    "of each place": lambda y: (y + normal(3, 2)) * SCALE[:, None, None],
    "of each image": lambda y: (y - normal(1, 4, 3, 2)) * SCALE[:, None, None],
    "a rectifier": lambda y: y.relu() * SCALE[:, None, None],
}


@pytest.mark.parametrize("name", ALONE)
def test_what_is_not_one_for_each_channel_is_not_folded(name):
    tape = record(lambda x: ALONE[name](functional.conv2d(x, WEIGHT)), positive(1, 3, 4, 3))
    assert not any(operation.folds or operation.folded for operation in tape.operations)


def test_nothing_is_folded_above_the_scores_or_where_another_reads():
    tape = record(lambda x: (y := functional.conv2d(x, WEIGHT).mean((2, 3)), y * -2), positive(1, 3, 4, 4))
    assert not any(operation.folds for operation in tape.operations)
    scores = record(lambda x: (y := functional.linear(x, normal(4, 3)), y * -2), positive(1, 3))
    assert not any(operation.folds for operation in scores.operations)
    both = record(lambda x: (y := functional.conv2d(x, WEIGHT)) * -2 + y, positive(1, 3, 4, 4))
    assert not any(operation.folds for operation in both.operations)


# --- biases that take a share -----------------------------------------------------------------------------------------


def excite_with_bias(matrix, bias, x, p):
    """P(x_j) = x_j sum_i W+_ij P(y_i) / Z_i, Z_i = sum_k W+_ik x_k + b+_i, and 0 where Z = 0."""
    matrix, x = matrix.clamp(min=0), x.clamp(min=0)
    z = matrix @ x + bias.clamp(min=0)
    return x * (matrix.T @ torch.where(z != 0, p / z, 0))


def affine(function, shape):
    return dense(function, shape), function(torch.zeros(1, *shape, dtype=torch.float64)).flatten()


def linear_forms(head, bias):
    return {
        "linear": lambda x: functional.linear(x, head, bias),
        "product and sum": lambda x: x @ head.t() + bias,
        "scaled": lambda x: functional.linear(x, head * 2, bias * 2) / 2,
        "addmm": lambda x: torch.addmm(bias, x, head.t()),
        "addmm, a row each": lambda x: torch.addmm(bias.expand(len(x), -1), x, head.t()),
        "constant from the left": lambda x: (head @ x.t()).t() + bias,
        "a batch of matrices": lambda x: (x[:, None] @ torch.stack([head.t(), head.t()])).squeeze(1) + bias,
        "two of one": lambda x: functional.linear(x, head * 3, bias) - functional.linear(x.flip(1), head.flip(1) * 2),
        "convolution": lambda x: functional.conv1d(x[..., None], head[..., None], bias).flatten(1),
    }


SHARED = [
    *itertools.product(["convolution"], ["module"], linear_forms(None, None)),
    *itertools.product(LAYERS, ["less, over, times, plus", "numbers", "a zero", "constant first"], ["linear"]),
]


@pytest.mark.parametrize("contrast", [False, True])
@pytest.mark.parametrize(("layer", "name", "classifier"), SHARED)
def test_a_bias_takes_its_share(layer, name, classifier, contrast):
    function, shape = written(layer, name)
    images = positive(IMAGES, *shape)
    features = function(images.clone()).relu().flatten(1)
    head, offset = normal(TAGS, features.shape[1], seed=7), normal(TAGS, seed=8)
    score = linear_forms(head, offset)[classifier]
    tape = record(lambda x: score(function(x).relu().flatten(1)), images.clone())
    signals = positive(2, TAGS, seed=9)
    found = units(tape, signals, contrastive_mwp if contrast else mwp, layer=0, bias="share")
    weights = affine(function, shape)
    for k, n in itertools.product(range(2), range(IMAGES)):
        p = excite_with_bias(head, offset, features[n], signals[k])
        if contrast:
            p = p - excite_with_bias(-head, -offset, features[n], signals[k])
        expected = excite_with_bias(*weights, images[n].flatten(), p)
        torch.testing.assert_close(found[k, n].flatten(), expected, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(found, units(tape, signals, contrastive_mwp if contrast else mwp, layer=0))


def test_without_biases_it_changes_nothing():
    model = lambda x: functional.linear(functional.conv2d(x, WEIGHT).relu().mean((2, 3)), normal(TAGS, 4))  # noqa: E731
    tape = record(model, positive(1, 3, 4, 4))
    signals = torch.eye(TAGS, dtype=torch.float64)
    torch.testing.assert_close(mwp(tape, signals, bias="share"), mwp(tape, signals))


def test_a_map_is_its_units_summed_with_biases_too():
    """Where only a map is asked for, a shorter way is taken that knows of no bias."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(36, TAGS)).double()
    tape = record(model, positive(1, 3, 8, 8))
    signals = torch.ones(40, TAGS, dtype=torch.float64) / TAGS
    maps, apart = (mwp(tape, signals, bias="share", channels=channels) for channels in (False, True))
    torch.testing.assert_close(maps, apart.sum(2))
    assert maps.sum((2, 3)).max() < 0.95 * mwp(tape, signals).sum((2, 3)).min()


def test_a_unit_that_only_its_bias_excites_gives_nothing():
    weight, bias = torch.tensor([[1.0, 2.0], [-1.0, -3.0]]), torch.tensor([5.0, 5.0])
    tape = record(lambda x: functional.linear(x, weight, bias), torch.tensor([[1.0, 2.0]]))
    found = units(tape, torch.eye(2), bias="share")[:, 0]
    torch.testing.assert_close(found, torch.tensor([[0.1, 0.4], [0.0, 0.0]]))


def test_a_transposed_convolution_shares_with_its_bias():
    weight, offset, head = normal(3, 4, 2, 2), normal(4, seed=1), normal(TAGS, 4 * 6 * 6, seed=2)

    def function(x):
        return functional.conv_transpose2d(x, weight, offset, 2)

    images = positive(1, 3, 3, 3)
    tape = record(lambda x: functional.linear(function(x).relu().flatten(1), head), images)
    found = units(tape, torch.eye(TAGS, dtype=torch.float64), layer=0, bias="share")
    for k in range(TAGS):
        p = excite_with_bias(
            head, torch.zeros(TAGS).double(), function(images).relu().flatten(), torch.eye(TAGS)[k].double()
        )
        expected = excite_with_bias(*affine(function, (3, 3, 3)), images.flatten(), p)
        torch.testing.assert_close(found[k, 0].flatten(), expected, rtol=1e-9, atol=1e-12)


def test_a_batch_of_matrices_shares_with_what_is_added():
    """Each image has a matrix of its own."""
    matrices, offset, head = normal(2, 5, 4), normal(4, seed=1), normal(TAGS, 12, seed=2)
    images, signals = positive(2, 3, 5), torch.eye(TAGS, dtype=torch.float64)
    tape = record(lambda x: functional.linear((torch.bmm(x, matrices) + offset).relu().flatten(1), head), images)
    found = units(tape, signals, layer=0, bias="share")
    for n, k in itertools.product(range(2), range(TAGS)):

        def function(x, n=n):
            return x @ matrices[n] + offset

        p = excite_with_bias(head, torch.zeros_like(signals[k]), function(images[n]).relu().flatten(), signals[k])
        expected = excite_with_bias(*affine(function, (3, 5)), images[n].flatten(), p)
        torch.testing.assert_close(found[k, n].flatten(), expected, rtol=1e-9, atol=1e-12)


def test_merged_layers_whose_biases_are_not_known_are_refused():
    one, other, head = normal(4, 3, 1, 1), normal(4, 3, 1, 1, seed=1), normal(TAGS, 4)

    def model(x):
        y = functional.conv2d(x, one, OFFSET) + functional.conv2d(x, other)
        return functional.linear(y.relu().mean((2, 3)), head)

    tape, signals = record(model, positive(1, 3, 4, 4)), torch.eye(TAGS, dtype=torch.float64)
    assert mwp(tape, signals).any()
    with pytest.raises(UnsupportedOperationError, match=r"cannot take a share, .* merged.*: use bias='none'"):
        mwp(tape, signals, bias="share")


def test_half_precision_takes_the_same_share():
    tape = record(lambda x: by_module(functional.conv2d(x, WEIGHT, OFFSET)).relu().mean((2, 3)), positive(1, 3, 6, 6))
    exact, half = (
        mwp(tape, torch.eye(4, dtype=torch.float64), layer=0, bias="share", dtype=dtype).double()
        for dtype in (torch.float64, torch.bfloat16)
    )
    torch.testing.assert_close(half, exact, rtol=0.05, atol=0.002)
