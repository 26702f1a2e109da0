"""Excitation Backprop through linear layers whose weights lie otherwise: P(x) = x * (W+^T P(y) / Z), Z = W+ x.

arXiv 1608.00507, equation 10, as in `weighted`, for a transposed convolution and for a batch of matrices.
"""

import functools

import torch
from torch import Tensor

from grounding.attention.flow import Flow
from grounding.attention.graph import Operation, Rule
from grounding.attention.rules.arithmetic import excitation, reciprocal
from grounding.attention.rules.weighted import _positive, _sign, positive_bias
from grounding.attention.spatial import aligned, convolved

aten = torch.ops.aten


def transposed_convolution(
    operation: Operation, flow: Flow, negate: bool = False, with_bias: bool = False
) -> tuple[Flow, ...]:
    """Any stride, padding, dilation and groups, in 1, 2 or 3 dimensions. `negate` takes -W, -b: the dual unit."""
    source, weight, given, *settings = operation.args
    stride, padding, dilation, _, _, groups = settings
    x = excitation(source, flow.ratio.dtype)  # (N, C, h, w)
    filters = weight.content(flow.ratio.dtype)  # (C, D / groups, ...)
    by_output = filters.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)  # (D, C / groups, ...)
    positive = _positive(by_output, _sign(operation), negate).unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    bias = positive_bias(operation, given, x.dtype, negate) if with_bias else None
    z = aten.convolution.default(x, positive, bias, *settings)
    n = flow.take_times(reciprocal(z)).flatten(0, 1)  # (K * N, D, h', w')
    back = aten.convolution.default(n, positive, None, stride, padding, dilation, False, [0], groups)
    return (Flow(back.reshape(len(flow.ratio), *x.shape), x, own=True),)


def batched_linear(operation: Operation, flow: Flow, negate: bool = False, with_bias: bool = False) -> tuple[Flow, ...]:
    """`bmm` with constants on the right, one matrix for each of the batch. `negate` uses -W, -b: the dual unit."""
    source, weight = operation.args  # (B, i, j), (B, j, l)
    dtype, signals = flow.ratio.dtype, len(flow.ratio)
    x = source.content(dtype).clamp(min=0)
    positive = _positive(weight.content(dtype).movedim(-1, 0), _sign(operation), negate).movedim(0, -1)
    bias = positive_bias(operation, None, dtype, negate) if with_bias else None  # of what is folded
    z = x @ positive if bias is None else x @ positive + bias
    n: Tensor = flow.take_times(reciprocal(z))  # (K, B, i, l)
    rows = n.transpose(0, 1).flatten(1, 2) @ positive.mT  # (B, K * i, j)
    return (Flow(rows.unflatten(1, (signals, -1)).transpose(0, 1), x, own=True),)


TRANSPOSED = Rule(
    transposed_convolution,
    dual=functools.partial(transposed_convolution, negate=True),
    with_bias=functools.partial(transposed_convolution, with_bias=True),
    needs_values=True,
    places=convolved,
)
BATCHED = Rule(
    batched_linear,
    dual=functools.partial(batched_linear, negate=True),
    with_bias=functools.partial(batched_linear, with_bias=True),
    needs_values=True,
    places=aligned,
)
