"""Excitation Backprop by its definition, on the dense matrix of an operation, in float64."""

import torch
from torch.nn import functional

from grounding.attention import contrastive_mwp, mwp, readings, record
from grounding.attention.layers import find_layer

SIGNALS, TAGS, IMAGES = 3, 4, 2


def units(tape, signals, walk=mwp, layer=None, stride=None, **options):
    """(K, N, C, h, w): every unit of the layer, signals first, also where none of them gets anything."""
    contrast = walk is contrastive_mwp
    stride = 16 if contrast and layer is None and stride is None else stride
    layer = find_layer(tape, stride) if stride else layer or 0
    (found,) = readings(tape, signals, [layer], contrast=contrast, channels=True, **options)
    return found.maps.transpose(0, 1)


def contrastive(tape, signals, **options):
    return units(tape, signals, contrastive_mwp, **options)


def excite(matrix, x, p):
    """The definition: P(x_j) = x_j sum_i W+_ij P(y_i) / Z_i, Z_i = sum_k W+_ik x_k, and 0 where Z = 0.

    Negative inputs count as 0.
    """
    positive, x = matrix.clamp(min=0), x.clamp(min=0)
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


def check(function, shape, matrix=None, seed=None, lowest=0.05):
    """Walk from a linear head through `function` to the images; `matrix(image)` where it is not `dense(function)`."""
    drawn, seed = seed is not None, seed or 0
    images = positive(IMAGES, *shape, seed=seed) + lowest - 0.05
    features = function(images.clone()).flatten(1)
    head = normal(TAGS, features.shape[1], seed=seed + 1)
    signals = positive(SIGNALS, TAGS, seed=seed + 2)
    tape = record(lambda x: functional.linear(function(x).flatten(1), head), images.clone())
    found = units(tape, signals)
    assert found.shape == (SIGNALS, IMAGES, *shape)
    assert found.dtype == torch.float64
    assert found.any() or drawn  # of some weights that hypothesis draws no unit is excited
    if len(shape) in (3, 4):  # an image or a film
        (maps,) = readings(tape, signals, [0], contrast=False)
        torch.testing.assert_close(maps.maps, found.sum(2).transpose(0, 1), rtol=1e-9, atol=1e-12)
    fixed = dense(function, shape) if matrix is None else None
    for n, image in enumerate(images):
        weights = fixed if fixed is not None else matrix(image)
        for k, signal in enumerate(signals):
            expected = excite(weights, image.flatten(), excite(head, features[n], signal))
            torch.testing.assert_close(found[k, n].flatten(), expected, rtol=1e-9, atol=1e-10)
