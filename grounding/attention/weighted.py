"""Excitation Backprop through convolutions and linear layers, where nearly all of the arithmetic is.

Both give P(x) = x * (W+^T P(y) / Z) with Z = W+ x, without bias, as arXiv 1608.00507, equation 10. W+ and Z are made
once and serve all signals, whose walks are one batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from grounding.attention.flow import Flow, reciprocal

if TYPE_CHECKING:
    from grounding.attention.tape import Operation

aten = torch.ops.aten

_BLOCK = 1 << 20  # weights of a linear layer clamped at a time: 4 MiB, so that W+ never leaves the cache
_FEW = 8  # rows of input up to which a linear layer spends its time on reading weights


def convolution(operation: Operation, flow: Flow, negate: bool = False) -> tuple[Flow, ...]:
    """Any stride, padding, dilation and groups, in 1, 2 or 3 dimensions. `negate` uses -W: the dual unit."""
    source, weight, _, stride, padding, dilation, _, _, groups = operation.args
    x = channels_last(source.content(flow.ratio.dtype)).clamp(min=0)  # (N, C, h, w)
    positive = _positive(weight.content(flow.ratio.dtype), _sign(operation), negate)  # (D, C / groups, ...)
    z = aten.convolution.default(x, positive, None, stride, padding, dilation, False, [0], groups)
    n = channels_last(flow.times(reciprocal(z)).flatten(0, 1))  # (K * N, D, h', w')
    settings = (_repeat(setting, x) for setting in (stride, padding, dilation))
    extra = [  # rows and columns at the far edge that the stride skipped
        size - ((out - 1) * step - 2 * pad + spread * (kernel - 1) + 1)
        for size, out, kernel, step, pad, spread in zip(
            x.shape[2:], n.shape[2:], positive.shape[2:], *settings, strict=True
        )
    ]
    back = aten.convolution.default(n, positive, None, stride, padding, dilation, True, extra, groups)
    return (Flow(back.reshape(len(flow.ratio), *x.shape), x, own=True),)


def linear_layer(operation: Operation, flow: Flow, negate: bool = False) -> tuple[Flow, ...]:
    """`linear`, `addmm` or `mm` with constant weights. `negate` uses -W: the dual unit.

    W+ is made a few rows at a time, each used for Z and for the product while it is in the cache. Rows of outputs that
    no signal reaches are skipped: most of them, behind a ReLU.
    """
    linear = operation.overload is aten.linear.default
    weight = operation.args[1].content() if linear else operation.args[-1].content().t()  # (out, in)
    source = operation.inputs[0]
    dtype, signals = flow.ratio.dtype, len(flow.ratio)
    x = source.content(dtype).reshape(-1, weight.shape[1]).clamp(min=0)  # (M, in)
    p = flow.probability().reshape(signals, -1, weight.shape[0])  # (K, M, out)
    sign = _sign(operation)
    total = x.new_zeros(signals * len(x), weight.shape[1])  # (K * M, in)
    for rows in torch.split(p.flatten(0, 1).any(0).nonzero()[:, 0], max(1, _BLOCK // weight.shape[1])):
        positive = _positive(weight[rows].to(dtype), None if sign is None else sign[rows], negate)  # (rows, in)
        z = x @ positive.t()  # (M, rows)
        total.addmm_((p[:, :, rows] * reciprocal(z)).flatten(0, 1), positive)
    shape = source.shape
    return (Flow(total.reshape(signals, *shape), x.reshape(shape), own=True),)


def channels_last(tensor: Tensor) -> Tensor:
    """The layout in which a convolution of many signals is fastest."""
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


def _sign(operation: Operation) -> Tensor | None:
    """(D,) the sign of the batch normalisation behind each output; None where there is none."""
    if operation.batch_norm is None or operation.batch_norm.args[1] is None:
        return None
    scale: Tensor = operation.batch_norm.args[1].content(torch.float32)
    return scale.sign()


def _positive(weight: Tensor, sign: Tensor | None, negate: bool) -> Tensor:
    """W+, or (-W)+ for the dual unit, with the batch normalisation folded in: (D, ...)."""
    if sign is not None and not bool((sign == 1).all()):
        weight = weight * sign.to(weight.dtype).reshape(-1, *[1] * (weight.dim() - 1))
    return weight.clamp(max=0).neg_() if negate else weight.clamp(min=0)


def _repeat(setting: list[int], x: Tensor) -> list[int]:
    """A setting for each spatial dimension; ATen lets one stand for all."""
    return list(setting) * (x.dim() - 2) if len(setting) == 1 else list(setting)
