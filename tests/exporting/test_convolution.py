"""One convolution down, beside its dense matrix."""

import pytest
import torch
from torch import nn

from grounding.exporting.convolution import WalkedConvolution, reciprocal
from helpers.rounding import assert_rounded

CASES = [  # kernel, stride, padding, sides of x
    (3, 1, 1, (5, 6)),
    (3, 2, 1, (8, 8)),
    (3, 2, 1, (7, 6)),
    (3, 3, 1, (8, 10)),
    ((1, 3), (2, 1), (0, 1), (4, 5)),
    (1, 1, 0, (3, 4)),
]


def dense(layer, x):
    """W+ as a matrix (outputs, inputs), by what each unit of the input adds to each output."""
    units = torch.eye(x[0].numel(), dtype=x.dtype).reshape(-1, *x.shape[1:])
    weight = layer.weight.clamp(min=0)
    return nn.functional.conv2d(units, weight, None, layer.stride, layer.padding).flatten(1).t()


@pytest.mark.parametrize(("kernel", "stride", "padding", "sides"), CASES)
@pytest.mark.parametrize("same", [False, True], ids=["a ratio for each place", "one ratio"])
def test_p_is_shared_in_proportion_to_positive_weights(kernel, stride, padding, sides, same):
    layer = nn.Conv2d(4, 5, kernel, stride, padding).double()
    x = torch.randn(2, 4, *sides, dtype=torch.float64).clamp(min=0)
    with torch.no_grad():
        y = layer(x).relu()
        ratio = torch.randn(
            2, 3, 5, *([1, 1] if same else y.shape[2:]), dtype=torch.float64
        )  # a contrast has both signs
        walked, matrix = WalkedConvolution(layer), dense(layer, x)
        p = (ratio * y[:, None]).flatten(2)  # (N, K, outputs)
        z = x.flatten(1) @ matrix.t()  # (N, outputs)
        expected = x.flatten(1)[:, None] * ((p * torch.where(z > 0, 1 / z, 0)[:, None]) @ matrix)
        expected = expected.reshape(2, 3, 4, *sides)
        assert expected.abs().max() > 0
        assert_rounded(walked.down(x, y, ratio) * x[:, None], expected, depth=2)
        assert_rounded(walked.down_to_map(x, y, ratio), expected.sum(2), depth=2)


def test_nothing_passes_where_z_is_zero():
    z = torch.tensor([0.0, 1e-38, 0.5, 4.0])
    assert reciprocal(z).tolist() == [0.0, 0.0, 2.0, 0.25]
