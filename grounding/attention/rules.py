"""How winning probability passes down through each operation: one small pure function each.

Excitation Backprop (arXiv 1608.00507, section 3). For a linear operation y = W x with x >= 0 and winning probability
P(y), no bias, and 0 where Z = 0:

    P(x_j) = x_j * sum_i W+_ij P(y_i) / Z_i        Z_i = sum_k W+_ik x_k        W+ = max(W, 0)

A rule gets one operation of the tape and the `Flow` of its first output: P, (K, *output.shape) floating point, under
each of K signals. It returns one flow of (K, *input.shape) for each active input, in the order of `Operation.inputs`.
Every rule is linear in P, so P may be signed, and a walk may carry a difference.

Choices:

* Negative inputs excite nothing: in Z and in the product, x counts as max(x, 0). The authors apply the equation as it
  stands, which is the same behind a ReLU. Elsewhere (normalised images, linear bottlenecks, layer normalisation, SiLU)
  positive and negative x nearly cancel in Z, and P would grow at every layer, to noise and to overflow.
* A sum of two activations is the linear rule with W = [1, 1]: each input gets P * x_i / (x_1 + x_2), 0 where that sum
  is 0. A negative input gets a negative share; the shares still add up to P, and stay bounded where P is proportional
  to the sum itself, as below a linear layer; below a layer normalisation a share may be larger than P.
* Batch normalisation is folded into the convolution or linear layer that it alone reads. Only the sign of its scale can
  matter, because its size cancels in P / Z. Elsewhere it passes the signal through.
* Adding a constant is a bias: the signal passes. Multiplying by a constant is a diagonal W: the signal passes where the
  constant is positive, and nothing passes elsewhere.
* A maximum gives all to its argmax as PyTorch reports it, the first of equals.
* GELU, SiLU, hardswish and leaky ReLU pass the signal as ReLU does, P unchanged, also where their input is negative;
  but what they leave of such an input is negative too, and gets no signal from a linear layer above.
* Layer and group normalisation pass the signal, whatever the sign of their scale or input. Of their outputs, which have
  both signs, a linear layer above gives signal to the positive ones.
* A gate is constant: a product with the output of a sigmoid or hard sigmoid (squeeze-excitation) gives all to the other
  operand, and nothing to the branch that made the gate. Behind a gate that is 0 nothing is left to give signal to.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch._ops import OpOverload

from grounding.attention.flow import Flow, reciprocal
from grounding.attention.weighted import convolution, linear_layer

if TYPE_CHECKING:
    from grounding.attention.tape import Operation, Value

aten = torch.ops.aten

Rule = Callable[["Operation", Flow], tuple[Flow, ...]]


def formed(rule: Callable[[Operation, Tensor], Tensor]) -> Rule:
    """A rule for one input from a function of P itself, (K, *output.shape) -> (K, *input.shape)."""

    @functools.wraps(rule)
    def of_flow(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
        return (Flow(rule(operation, flow.probability())),)

    return of_flow


def average(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """Means and sums over dimensions: linear operations without weights, none of them negative."""
    x = operation.inputs[0].content(flow.ratio.dtype).clamp(min=0)
    z = _apply(operation, x)
    dims = operation.args[1] if len(operation.args) > 1 and operation.args[1] else range(x.dim())
    kept = [1 if axis in {dim % x.dim() for dim in dims} else size for axis, size in enumerate(x.shape)]
    n = flow.times(reciprocal(z)).reshape(len(flow.ratio), *kept)
    if operation.overload is not aten.sum.dim_IntList:
        n = n / (x.numel() // math.prod(kept))
    return (Flow(n.expand(len(n), *x.shape), x),)


def average_pooling(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """Average pooling over the last two dimensions: the same, with the signals as a batch."""
    adaptive = operation.overload is aten._adaptive_avg_pool2d.default
    if adaptive and operation.inputs[0].shape == operation.outputs[0].shape:
        return (flow,)  # bins of one element
    x = operation.inputs[0].content(flow.ratio.dtype).clamp(min=0)
    n = flow.times(reciprocal(_apply(operation, x))).flatten(0, 1)  # (K * N, C, h', w')
    pull = torch.func.vjp(lambda x: _apply(operation, x), n.new_zeros(len(n), *x.shape[1:]))[1]
    return (Flow(pull(n)[0].reshape(len(flow.ratio), *x.shape), x, own=True),)


@formed
def maximum(operation: Operation, p: Tensor) -> Tensor:
    """Max pooling over the last two dimensions: each output gives all to its argmax."""
    indices = operation.outputs[1].content(torch.int64).flatten(-2)  # (N, C, h' * w')
    shape = operation.inputs[0].shape
    below = p.new_zeros(len(p), *shape[:-2], shape[-2] * shape[-1])
    below.scatter_add_(-1, indices.expand(len(p), *indices.shape), p.flatten(-2))
    return below.reshape(len(p), *shape)


def addition(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """A sum of two activations, each in proportion to its share; with a constant, all to the activation."""
    alpha = operation.kwargs.get("alpha", 1)
    terms = [(operation.args[0], 1.0), (operation.args[1], float(alpha))]
    active = [(value, max(0.0, factor)) for value, factor in terms if getattr(value, "active", False)]
    if len(active) == 1:
        value, factor = active[0]
        return (sum_to(flow if factor else Flow(flow.ratio * 0), value),)
    parts = [factor * value.content(flow.ratio.dtype) for value, factor in active]
    per_unit = reciprocal(parts[0] + parts[1])
    flow = flow.shared()
    return tuple(sum_to(flow.scaled(per_unit * part), value) for part, (value, _) in zip(parts, active, strict=True))


def main_branch(operation: Operation) -> Value | None:
    """The deeper input of a sum of two activations, the first of equals; None for any other operation.

    Depth counts convolutions and linear layers on the longest way from an input: an identity or a projection beside a
    residual block is shallower than the block. `residual="main"` gives the whole signal to this input.
    """
    if operation.overload not in SUMS or len(operation.inputs) < 2:
        return None
    return max(operation.inputs, key=lambda value: value.depth)


def scaling(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """A product with, or quotient by, a constant: through where it is positive. A gate lets all through."""
    if not all(getattr(arg, "active", False) for arg in operation.args):
        constant = next(arg for arg in operation.args if not getattr(arg, "active", False))
        if isinstance(constant, (int, float)):
            flow = flow if constant > 0 else Flow(flow.ratio * 0)
        else:
            flow = flow.scaled((constant.content(flow.ratio.dtype) > 0).to(flow.ratio.dtype))
    return (sum_to(flow, operation.inputs[0]),)


def shift(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """An activation less a constant, which is a bias."""
    return (sum_to(flow, operation.inputs[0]),)


def concatenation(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """Each input gets its part."""
    values: list[Value] = operation.args[0]
    dim = operation.args[1] if len(operation.args) > 1 else operation.kwargs.get("dim", 0)
    dim = dim % len(values[0].shape)
    sizes = [value.shape[dim] for value in values]
    ratios = torch.split(flow.ratio, sizes, dim + 1)
    activations = [None] * len(sizes) if flow.activation is None else torch.split(flow.activation, sizes, dim)
    return tuple(
        Flow(ratio, activation, flow.own)
        for ratio, activation, value in zip(ratios, activations, values, strict=True)
        if value.active
    )


def identity(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """Rectifiers, normalisation, dropout in evaluation mode, copies and casts."""
    return (flow,)


@formed
def reshape(operation: Operation, p: Tensor) -> Tensor:
    """The same elements in the same order."""
    return p.reshape(len(p), *operation.inputs[0].shape)


@formed
def routing(operation: Operation, p: Tensor) -> Tensor:
    """Each output is one input element, or padding: permutations, selections, expansions."""
    pull = torch.func.vjp(lambda x: _apply(operation, x), p.new_zeros(operation.inputs[0].shape))[1]
    below: Tensor = torch.func.vmap(pull)(p)[0]
    return below


def _apply(operation: Operation, x: Tensor) -> Tensor:
    assert operation.overload is not None
    result: Tensor = operation.overload(x, *operation.args[1:], **operation.kwargs)
    return result


def sum_to(flow: Flow, value: Value) -> Flow:
    """Undo broadcasting: (K, *broadcast shape) -> (K, *value.shape)."""
    if flow.ratio.shape[1:] == value.shape:
        return flow
    p = flow.probability()
    missing = p.dim() - 1 - len(value.shape)
    return Flow(p.sum_to_size(len(p), *[1] * missing, *value.shape).reshape(len(p), *value.shape))


def _same_places(operation: Operation) -> bool:
    """Whether `as_strided_` leaves every element where it was: adaptive pooling of channels-last to one cell does."""
    before, after = operation.inputs[0], operation.outputs[0]
    if before.shape != after.shape or operation.args[3:]:  # an offset
        return False
    sides = zip(after.shape, before.stride, after.stride, strict=True)
    return all(size == 1 or old == new for size, old, new in sides)


def _named(names: str) -> frozenset[OpOverload]:
    return frozenset(getattr(aten, name).default for name in names.split())


WEIGHTED: dict[OpOverload, Callable[..., tuple[Flow, ...]]] = {
    aten.convolution.default: convolution,
    aten.linear.default: linear_layer,
    aten.addmm.default: linear_layer,
    aten.mm.default: linear_layer,
}
BATCH_NORMS = _named(
    "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training cudnn_batch_norm miopen_batch_norm"
)
SUMS: frozenset[OpOverload] = frozenset({aten.add.Tensor, aten.add_.Tensor})
PRODUCTS: frozenset[OpOverload] = frozenset({aten.mul.Tensor, aten.mul_.Tensor})
GATES = _named("sigmoid sigmoid_ hardsigmoid hardsigmoid_")
_POOLINGS = (aten.avg_pool2d.default, aten._adaptive_avg_pool2d.default)
_AVERAGES = (aten.mean.default, aten.mean.dim, aten.sum.dim_IntList)
_IDENTITIES = (
    *BATCH_NORMS,
    *_named("native_layer_norm native_group_norm native_dropout clone detach alias _to_copy as_strided_"),
    *_named("relu relu_ hardtanh hardtanh_ gelu gelu_ silu silu_ hardswish hardswish_ leaky_relu leaky_relu_"),
)
RESHAPES = _named("view _unsafe_view _reshape_alias squeeze unsqueeze") | {aten.squeeze.dim, aten.squeeze.dims}
_ROUTINGS = _named("t permute expand constant_pad_nd") | {aten.transpose.int, aten.select.int, aten.slice.Tensor}
RULES: dict[OpOverload, Rule] = {
    **WEIGHTED,
    **dict.fromkeys(SUMS, addition),
    **dict.fromkeys(PRODUCTS, scaling),
    aten.div.Tensor: scaling,
    aten.div_.Tensor: scaling,
    aten.sub.Tensor: shift,
    aten.sub_.Tensor: shift,
    aten.cat.default: concatenation,
    aten.max_pool2d_with_indices.default: maximum,
    aten.adaptive_max_pool2d.default: maximum,
    **dict.fromkeys(_AVERAGES, average),
    **dict.fromkeys(_POOLINGS, average_pooling),
    **dict.fromkeys(_IDENTITIES, identity),
    **dict.fromkeys(RESHAPES, reshape),
    **dict.fromkeys(_ROUTINGS, routing),
}
NEEDS_VALUES: frozenset[OpOverload] = frozenset({*WEIGHTED, *SUMS, *_AVERAGES, *_POOLINGS})  # of their active inputs


SPLITS: dict[
    OpOverload, Callable[[Operation, dict[Value, Flow]], tuple[Flow, ...]]
] = {}  # several outputs carry signal


def supported(operation: Operation) -> bool:
    """Whether there is a rule for this operation on these operands."""
    overload, args = operation.overload, operation.args
    if overload not in RULES:
        return False
    if overload in SUMS or overload is aten.cat.default:
        return True
    if (overload in WEIGHTED and operation.kwargs) or (overload is aten.convolution.default and args[6]):
        return False  # a scaled product; a transposed convolution
    if overload is aten.as_strided_.default and not _same_places(operation):
        return False
    data = args[1] if overload is aten.addmm.default else args[0]
    return len(operation.inputs) == 1 and (data is operation.inputs[0] or overload in PRODUCTS)
