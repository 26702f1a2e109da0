"""Rules that share winning probability out in proportion to what each input gave: P(x) = x * (W+^T P(y) / Z)."""

import math

import torch
from torch import Tensor
from torch._ops import OpOverload

from grounding.attention.flow import Flow
from grounding.attention.graph import Operation, Rule
from grounding.attention.rules.arithmetic import accept_any_operands, apply, excitation, reciprocal, rules_for, sum_to
from grounding.attention.rules.folding import of_channels, scaled, shifted
from grounding.attention.spatial import aligned

aten = torch.ops.aten


def average(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """Means and sums over dimensions: linear operations without weights, none of them negative."""
    x = excitation(operation.inputs[0], flow.ratio.dtype)
    z = apply(operation, x).to(x.dtype)
    dims = operation.args[1] if len(operation.args) > 1 and operation.args[1] else range(x.dim())
    kept = [1 if axis in {dim % x.dim() for dim in dims} else size for axis, size in enumerate(x.shape)]
    n = flow.take_times(reciprocal(z)).reshape(len(flow.ratio), *kept)
    if operation.overload is not aten.sum.dim_IntList:
        n = n / (x.numel() // math.prod(kept))
    return (Flow(n.expand(len(n), *x.shape), x),)


def resampling(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """Average pooling, upsampling, overlapping patches summed: the transpose by autograd, K * N images as one batch."""
    adaptive = operation.overload in (aten._adaptive_avg_pool2d.default, aten._adaptive_avg_pool3d.default)
    if adaptive and operation.inputs[0].shape == operation.outputs[0].shape:
        return (flow,)  # bins of one element
    x = excitation(operation.inputs[0], flow.ratio.dtype)
    n = flow.take_times(reciprocal(apply(operation, x))).flatten(0, 1)  # (K * N, C, h', w')
    pull = torch.func.vjp(lambda x: apply(operation, x), n.new_zeros(len(n), *x.shape[1:]))[1]
    return (Flow(pull(n)[0].reshape(len(flow.ratio), *x.shape), x, own=True),)


def addition(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """A sum of two activations, in proportion, to those of the sum's sign; with a constant, all to the activation."""
    alpha = operation.kwargs.get("alpha", 1)
    terms = [(operation.args[0], 1.0), (operation.args[1], float(alpha))]
    active = [(value, max(0.0, factor)) for value, factor in terms if getattr(value, "active", False)]
    if len(active) == 1:
        value, factor = active[0]
        return (sum_to(flow if factor or operation.folded else Flow(flow.ratio * 0), value),)
    parts = [factor * value.content(flow.ratio.dtype) for value, factor in active]
    sign = (parts[0] + parts[1]).sign()
    parts = [(part * sign).clamp_(min=0) for part in parts]
    per_unit = reciprocal(parts[0] + parts[1])
    flow = flow.shared()
    return tuple(sum_to(flow.scaled(per_unit * part), value) for part, (value, _) in zip(parts, active, strict=True))


def signed_addition(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """A sum of two activations, whatever their signs: P x_i / (x_1 + x_2), and 0 where the sum is 0.

    It is made in at least single precision, so that it is what lies above saw: behind a rectifier, whose output is a
    factor of P, nothing grows where the sum is small.
    """
    alpha = float(operation.kwargs.get("alpha", 1))
    values = (operation.args[0], operation.args[1])
    precise = torch.promote_types(flow.ratio.dtype, torch.float32)
    parts = [factor * value.content(precise) for value, factor in zip(values, (1.0, alpha), strict=True)]
    flow = flow.shared()
    each = flow.activation if flow.activation is not None else flow.ratio.new_ones(())
    per_unit = each.to(precise) * reciprocal(parts[0] + parts[1])
    return tuple(
        sum_to(Flow(flow.ratio, (per_unit * part).to(flow.ratio.dtype)), value)
        for part, value in zip(parts, values, strict=True)
    )


def product(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """A product with, or quotient by, a constant: through where that is positive, or folded. Two factors: half each."""
    if len(operation.inputs) == 2:
        half = Flow(flow.ratio * 0.5, flow.activation)
        return tuple(sum_to(half, value) for value in operation.inputs)
    if not operation.folded and not all(getattr(arg, "active", False) for arg in operation.args[:2]):
        constant = next(arg for arg in operation.args if not getattr(arg, "active", False))
        if isinstance(constant, (int, float)):
            flow = flow if constant > 0 else Flow(flow.ratio * 0)
        else:
            passes = (constant.content(flow.ratio.dtype) > 0).to(flow.ratio.dtype)
            flow = flow.scaled(passes.expand(flow.ratio.shape[1:]))
    return (sum_to(flow, operation.inputs[0]),)


def matrix_product(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """A batch of matrix products: the linear rule with the other factor as weights. Two activations: half each.

    The signals lie beside the columns, or rows, of the one matrix product, so that no factor is repeated for them.
    """
    left, right = (value.content(flow.ratio.dtype).clamp(min=0) for value in operation.args)  # (B, i, j), (B, j, l)
    signals, inputs = len(flow.ratio), operation.inputs
    n: Tensor = flow.take_times(reciprocal(left @ right) / len(inputs))  # (K, B, i, l)
    below = []
    if operation.args[0] in inputs:
        rows = n.transpose(0, 1).flatten(1, 2) @ right.mT  # (B, K * i, j)
        below.append(Flow(rows.unflatten(1, (signals, -1)).transpose(0, 1), left, own=True))
    if operation.args[1] in inputs:
        columns = left.mT @ n.permute(1, 2, 0, 3).flatten(2)  # (B, j, K * l)
        below.append(Flow(columns.unflatten(2, (signals, -1)).permute(2, 0, 1, 3), right, own=True))
    return tuple(below)


_AVERAGE = Rule(average, needs_values=True, places=aligned)
_RESAMPLING = Rule(resampling, needs_values=True, places=aligned)
_SUM = Rule(
    addition,
    needs_values=True,
    refuses=accept_any_operands,
    joins="sum",
    places=aligned,
    folds=of_channels,
    affine=shifted,
)
_MATRIX_PRODUCT = Rule(
    matrix_product, needs_values=True, refuses=accept_any_operands, joins="matrix product", places=aligned
)
_PRODUCT = Rule(product, refuses=accept_any_operands, joins="product", places=aligned, folds=of_channels, affine=scaled)
RULES: dict[OpOverload, Rule] = {
    **rules_for("mean mean.dim sum.dim_IntList", _AVERAGE),
    **rules_for(
        "avg_pool2d avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d upsample_nearest1d upsample_nearest2d "
        "upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d "
        "upsample_linear1d upsample_bilinear2d _upsample_bilinear2d_aa upsample_trilinear3d col2im",
        _RESAMPLING,
    ),
    **rules_for("add.Tensor add_.Tensor", _SUM),
    **rules_for("mul.Tensor mul_.Tensor", _PRODUCT),
    **rules_for(
        "div.Tensor div_.Tensor", Rule(product, joins="first", places=aligned, folds=of_channels, affine=scaled)
    ),
    **rules_for("bmm", _MATRIX_PRODUCT),
}
