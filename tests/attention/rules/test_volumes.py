"""Pooling, resizing and padding in one and three dimensions, against dense matrices in float64."""

import functools

import pytest
import torch
from torch.nn import functional

from grounding.attention import record
from helpers.oracles import check, dense, excite, normal, positive, units


def window_maxima(image, pool):
    """One row per output with a single 1, at the first maximum of its window."""
    values, indices = pool(image[None], return_indices=True)
    places = image[0].numel()
    rows = torch.zeros(values.numel(), image.numel(), dtype=torch.float64)
    for at, (channel, index) in enumerate(
        zip(torch.arange(len(image)).repeat_interleave(indices[0, 0].numel()), indices.flatten(), strict=True)
    ):
        window = channel * places + index
        rows[at, window] = 1
        assert image.flatten()[window] == values.flatten()[at]
    return rows


MAXIMA = {
    "1d": (lambda x, **o: functional.max_pool1d(x, 2, 1, **o), (2, 6)),
    "3d": (lambda x, **o: functional.max_pool3d(x, 2, (1, 2, 1), **o), (2, 2, 4, 3)),
    "3d, padded": (lambda x, **o: functional.max_pool3d(x, (2, 3, 2), 2, (1, 1, 0), ceil_mode=True, **o), (2, 3, 3, 3)),
    "adaptive 1d": (lambda x, **o: functional.adaptive_max_pool1d(x, 4, **o), (2, 6)),
    "adaptive 3d": (lambda x, **o: functional.adaptive_max_pool3d(x, (1, 2, 3), **o), (2, 2, 3, 4)),
}


@pytest.mark.parametrize("name", MAXIMA)
def test_max_pooling_in_one_and_three_dimensions(name):
    pool, shape = MAXIMA[name]
    check(pool, shape, lambda image: window_maxima(image, pool))


RESAMPLED = {
    "average 1d": (lambda x: functional.avg_pool1d(x, 3, 2, 1), (2, 6)),
    "average 3d": (lambda x: functional.avg_pool3d(x, 2, (1, 2, 1), 1, ceil_mode=True), (2, 2, 3, 4)),
    "average 3d, padding left out": (
        lambda x: functional.avg_pool3d(x, 2, 1, 1, count_include_pad=False),
        (2, 2, 2, 3),
    ),
    "adaptive average 1d": (lambda x: functional.adaptive_avg_pool1d(x, 4), (2, 6)),
    "adaptive average 3d": (lambda x: functional.adaptive_avg_pool3d(x, (1, 2, 3)), (2, 2, 3, 4)),
    "adaptive average 3d to the same": (lambda x: functional.adaptive_avg_pool3d(x, (2, 2, 2)), (2, 2, 2, 2)),
    "upsampling 1d": (lambda x: functional.interpolate(x, 7), (2, 4)),
    "upsampling 3d": (lambda x: functional.interpolate(x, (3, 4, 2)), (2, 2, 2, 2)),
    "exact": (lambda x: functional.interpolate(x, (5, 3), mode="nearest-exact"), (2, 3, 4)),
    "linear": (lambda x: functional.interpolate(x, 7, mode="linear"), (2, 4)),
    "trilinear": (lambda x: functional.interpolate(x, (3, 4, 2), mode="trilinear"), (2, 2, 2, 3)),
    "bilinear with antialiasing": (
        lambda x: functional.interpolate(x, (2, 3), mode="bilinear", antialias=True),
        (2, 5, 4),
    ),
    "padding 1d": (lambda x: functional.pad(x, (1, 2), mode="replicate"), (2, 4)),
    "padding 3d": (lambda x: functional.pad(x, (1, 1, 1, 0, 0, 1), mode="reflect"), (2, 2, 3, 3)),
    "replicated 3d": (lambda x: functional.pad(x, (1, 1, 1, 0, 0, 1), mode="replicate"), (2, 2, 3, 3)),
}


@pytest.mark.parametrize("name", RESAMPLED)
def test_resampling_in_one_and_three_dimensions(name):
    check(*RESAMPLED[name])


def test_a_network_of_volumes():
    """A convolution, a rectifier, max pooling and a linear layer, matrix by matrix."""
    weight, shape, head = normal(3, 2, 2, 2, 2), (2, 3, 3, 4), normal(4, 3 * 2)
    convolve = functools.partial(functional.conv3d, weight=weight)
    pool = functools.partial(functional.max_pool3d, kernel_size=2, stride=1)
    images, signals = positive(1, *shape), torch.eye(4, dtype=torch.float64)
    tape = record(lambda x: functional.linear(pool(convolve(x).relu()).flatten(1), head), images)
    found = units(tape, signals, layer=0)
    hidden = convolve(images).relu()[0]
    pooled = window_maxima(hidden, lambda x, **options: functional.max_pool3d(x, 2, 1, **options))
    for k, signal in enumerate(signals):
        p = pooled.T @ excite(head, pooled @ hidden.flatten(), signal)
        expected = excite(dense(convolve, shape), images.flatten(), p)
        torch.testing.assert_close(found[k, 0].flatten(), expected)
    assert found.any()
