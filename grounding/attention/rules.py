"""How winning probability passes down through each operation: one small pure function each.

Excitation Backprop (arXiv 1608.00507, section 3). For a linear operation y = W x with x >= 0 and winning probability
P(y), no bias, and 0 where Z = 0:

    P(x_j) = x_j * sum_i W+_ij P(y_i) / Z_i        Z_i = sum_k W+_ik x_k        W+ = max(W, 0)

A rule gets one operation of the tape and `p`, (K, *output.shape) floating point, the probability of its first output
under each of K signals. It returns one (K, *input.shape) tensor for each active input, in the order of
`Operation.inputs`. Every rule is linear in `p`, so `p` may be signed, and a walk may carry a difference.

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

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch._ops import OpOverload

if TYPE_CHECKING:
    from grounding.attention.tape import Operation, Value

aten = torch.ops.aten

Rule = Callable[["Operation", Tensor], tuple[Tensor, ...]]

_ZERO = 1e-30  # a Z below this is 0: its reciprocal would overflow float32
_BLOCK = 1 << 20  # weights of a linear layer clamped at a time: 4 MiB, so that W+ never leaves the cache


def convolution(operation: Operation, p: Tensor, negate: bool = False) -> tuple[Tensor, ...]:
    """Any stride, padding, dilation and groups, in 1, 2 or 3 dimensions. `negate` uses -W: the dual unit."""
    source, weight, _, stride, padding, dilation, _, _, groups = operation.args
    x = _channels_last(source.content(p.dtype).clamp(min=0))  # (N, C, h, w)
    positive = _positive_(weight.content(p.dtype).clone(), _sign(operation), negate)  # (D, C / groups, ...)
    positive = _channels_last(positive)
    z = aten.convolution.default(x, positive, None, stride, padding, dilation, False, [0], groups)
    n = _channels_last((p * _reciprocal(z)).flatten(0, 1))  # (K * N, D, h', w')
    settings = (_repeat(setting, x) for setting in (stride, padding, dilation))
    extra = [  # rows and columns at the far edge that the stride skipped
        size - ((out - 1) * step - 2 * pad + spread * (kernel - 1) + 1)
        for size, out, kernel, step, pad, spread in zip(
            x.shape[2:], n.shape[2:], positive.shape[2:], *settings, strict=True
        )
    ]
    back = aten.convolution.default(n, positive, None, stride, padding, dilation, True, extra, groups)
    return (back.reshape(len(p), *x.shape).mul_(x),)


def linear_layer(operation: Operation, p: Tensor, negate: bool = False) -> tuple[Tensor, ...]:
    """`linear`, `addmm` or `mm` with constant weights. `negate` uses -W: the dual unit.

    W+ is made a few rows at a time, each used for Z and for the product while it is in the cache. Rows of outputs that
    no signal reaches are skipped: most of them, behind a ReLU.
    """
    linear = operation.overload is aten.linear.default
    weight = operation.args[1].content() if linear else operation.args[-1].content().t()  # (out, in)
    source = operation.inputs[0]
    x = source.content(p.dtype).reshape(-1, weight.shape[1]).clamp(min=0)  # (M, in)
    p = p.reshape(len(p), -1, weight.shape[0])  # (K, M, out)
    sign = _sign(operation)
    total = x.new_zeros(len(p) * len(x), weight.shape[1])  # (K * M, in)
    for rows in torch.split(p.flatten(0, 1).any(0).nonzero()[:, 0], max(1, _BLOCK // weight.shape[1])):
        positive = _positive_(weight[rows].to(p.dtype), None if sign is None else sign[rows], negate)  # (rows, in)
        z = x @ positive.t()  # (M, rows)
        total.addmm_((p[:, :, rows] * _reciprocal(z)).flatten(0, 1), positive)
    return (total.reshape(len(p), *x.shape).mul_(x).reshape(len(p), *source.shape),)


def average(operation: Operation, p: Tensor) -> tuple[Tensor, ...]:
    """Means and sums over dimensions: linear operations without weights, none of them negative."""
    x = operation.inputs[0].content(p.dtype).clamp(min=0)
    return (_transpose(operation, p * _reciprocal(_apply(operation, x))) * x,)


def average_pooling(operation: Operation, p: Tensor) -> tuple[Tensor, ...]:
    """Average pooling over the last two dimensions: the same, with the signals as a batch."""
    adaptive = operation.overload is aten._adaptive_avg_pool2d.default
    if adaptive and operation.inputs[0].shape == operation.outputs[0].shape:
        return (p,)  # bins of one element
    x = operation.inputs[0].content(p.dtype).clamp(min=0)
    n = (p * _reciprocal(_apply(operation, x))).flatten(0, 1)  # (K * N, C, h', w')
    pull = torch.func.vjp(lambda x: _apply(operation, x), n.new_zeros(len(n), *x.shape[1:]))[1]
    return (pull(n)[0].reshape(len(p), *x.shape).mul_(x),)


def maximum(operation: Operation, p: Tensor) -> tuple[Tensor, ...]:
    """Max pooling over the last two dimensions: each output gives all to its argmax."""
    indices = operation.outputs[1].content(torch.int64).flatten(-2)  # (N, C, h' * w')
    shape = operation.inputs[0].shape
    below = p.new_zeros(len(p), *shape[:-2], shape[-2] * shape[-1])
    below.scatter_add_(-1, indices.expand(len(p), *indices.shape), p.flatten(-2))
    return (below.reshape(len(p), *shape),)


def addition(operation: Operation, p: Tensor) -> tuple[Tensor, ...]:
    """A sum of two activations, each in proportion to its share; with a constant, all to the activation."""
    alpha = operation.kwargs.get("alpha", 1)
    terms = [(operation.args[0], 1.0), (operation.args[1], float(alpha))]
    active = [(value, max(0.0, factor)) for value, factor in terms if getattr(value, "active", False)]
    if len(active) == 1:
        value, factor = active[0]
        return (sum_to(p * float(factor > 0), value),)
    parts = [factor * _channels_last(value.content(p.dtype)) for value, factor in active]
    n = p * _reciprocal(parts[0] + parts[1])
    return tuple(sum_to(n * part, value) for part, (value, _) in zip(parts, active, strict=True))


def main_branch(operation: Operation) -> Value | None:
    """The deeper input of a sum of two activations, the first of equals; None for any other operation.

    Depth counts convolutions and linear layers on the longest way from an input: an identity or a projection beside a
    residual block is shallower than the block. `residual="main"` gives the whole signal to this input.
    """
    if operation.overload not in SUMS or len(operation.inputs) < 2:
        return None
    return max(operation.inputs, key=lambda value: value.depth)


def scaling(operation: Operation, p: Tensor) -> tuple[Tensor, ...]:
    """A product with, or quotient by, a constant: through where it is positive. A gate lets all through."""
    if all(getattr(arg, "active", False) for arg in operation.args):
        return (sum_to(p, operation.inputs[0]),)
    constant = next(arg for arg in operation.args if not getattr(arg, "active", False))
    positive = constant > 0 if isinstance(constant, (int, float)) else constant.content(p.dtype) > 0
    return (sum_to(p * positive, operation.inputs[0]),)


def shift(operation: Operation, p: Tensor) -> tuple[Tensor, ...]:
    """An activation less a constant, which is a bias."""
    return (sum_to(p, operation.inputs[0]),)


def concatenation(operation: Operation, p: Tensor) -> tuple[Tensor, ...]:
    """Each input gets its part."""
    values: list[Value] = operation.args[0]
    dim = operation.args[1] if len(operation.args) > 1 else operation.kwargs.get("dim", 0)
    dim = dim % len(values[0].shape)
    parts = torch.split(p, [value.shape[dim] for value in values], dim + 1)
    return tuple(part for part, value in zip(parts, values, strict=True) if value.active)


def identity(operation: Operation, p: Tensor) -> tuple[Tensor, ...]:
    """Rectifiers, normalisation, dropout in evaluation mode, copies and casts."""
    return (p,)


def reshape(operation: Operation, p: Tensor) -> tuple[Tensor, ...]:
    """The same elements in the same order."""
    return (p.reshape(len(p), *operation.inputs[0].shape),)


def routing(operation: Operation, p: Tensor) -> tuple[Tensor, ...]:
    """Each output is one input element, or padding: permutations, selections, expansions."""
    return (_transpose(operation, p),)


def _apply(operation: Operation, x: Tensor) -> Tensor:
    assert operation.overload is not None
    result: Tensor = operation.overload(x, *operation.args[1:], **operation.kwargs)
    return result


def _transpose(operation: Operation, p: Tensor) -> Tensor:
    """(K, *output.shape) -> (K, *input.shape): the transpose of a linear operation without weights."""
    pull = torch.func.vjp(lambda x: _apply(operation, x), p.new_zeros(operation.inputs[0].shape))[1]
    below: Tensor = torch.func.vmap(pull)(p)[0]
    return below


def _reciprocal(z: Tensor) -> Tensor:
    """1 / Z, and 0 where Z = 0."""
    return torch.where(z.abs() > _ZERO, z.reciprocal(), 0)


def _sign(operation: Operation) -> Tensor | None:
    """(D,) the sign of the batch normalisation behind each output; None where there is none."""
    if operation.batch_norm is None or operation.batch_norm.args[1] is None:
        return None
    scale: Tensor = operation.batch_norm.args[1].content(torch.float32)
    return scale.sign()


def _positive_(weight: Tensor, sign: Tensor | None, negate: bool) -> Tensor:
    """A copy of W becomes W+, or (-W)+ for the dual unit, with the batch normalisation folded in: (D, ...)."""
    if sign is not None:
        weight *= sign.to(weight.dtype).reshape(-1, *[1] * (weight.dim() - 1))
    return weight.neg_().clamp_(min=0) if negate else weight.clamp_(min=0)


def sum_to(p: Tensor, value: Value) -> Tensor:
    """Undo broadcasting: (K, *broadcast shape) -> (K, *value.shape)."""
    missing = p.dim() - 1 - len(value.shape)
    return p.sum_to_size(len(p), *[1] * missing, *value.shape).reshape(len(p), *value.shape)


def _same_places(operation: Operation) -> bool:
    """Whether `as_strided_` leaves every element where it was: adaptive pooling of channels-last to one cell does."""
    before, after = operation.inputs[0], operation.outputs[0]
    if before.shape != after.shape or operation.args[3:]:  # an offset
        return False
    sides = zip(after.shape, before.stride, after.stride, strict=True)
    return all(size == 1 or old == new for size, old, new in sides)


def _channels_last(tensor: Tensor) -> Tensor:
    """The layout in which a convolution of many signals is fastest."""
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


def _repeat(setting: list[int], x: Tensor) -> list[int]:
    """A setting for each spatial dimension; ATen lets one stand for all."""
    return list(setting) * (x.dim() - 2) if len(setting) == 1 else list(setting)


def _named(names: str) -> frozenset[OpOverload]:
    return frozenset(getattr(aten, name).default for name in names.split())


WEIGHTED: dict[OpOverload, Callable[..., tuple[Tensor, ...]]] = {
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
