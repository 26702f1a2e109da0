"""How far rounding may move what is computed twice.

Processors order a sum differently, fuse a product with it or not, and choose other kernels for other shapes, strides
and numbers of threads. So bits are compared only where bits are promised: what nobody may have written to, and files
that go on after an interruption. Numbers that were computed twice are compared by `assert_rounded`.
"""

from typing import Any

import torch

PER_LAYER = 64  # units in the last place: a sum of 4,096 products drifts by about the square root of as many roundings


def tolerance(dtype: torch.dtype, depth: int) -> float:
    """Relative error that rounding may leave after `depth` layers one after another, forward pass and walk together."""
    return PER_LAYER * depth * torch.finfo(dtype).eps


def assert_rounded(found: Any, expected: Any, depth: int = 10) -> None:
    """Equal but for rounding, relative to the largest value: small ones may be differences of large ones."""
    found, expected = torch.as_tensor(found).detach(), torch.as_tensor(expected).detach()
    size = float(expected.abs().max()) if expected.numel() else 0.0
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance(expected.dtype, depth) * size)
