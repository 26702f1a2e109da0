"""What is folded into the convolution or linear layer below: all that is affine channel by channel, y -> s y + t."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from grounding.attention.graph import Affine, Operation, Value
from grounding.attention.spatial import order_of

aten = torch.ops.aten

_DIVISIONS = (aten.div.Tensor, aten.div_.Tensor)
_DIFFERENCES = (aten.sub.Tensor, aten.sub_.Tensor)


def fold(operation: Operation) -> Affine | None:
    """s and t of all that is folded into a convolution or linear layer, one after the other; None where nothing is."""
    if not operation.folds:
        return None
    scale: Tensor | float = 1.0
    shift: Tensor | float = 0.0
    for above, axis in operation.folds:
        assert above.rule is not None, "what is folded has a rule"
        assert above.rule.affine is not None, "what is folded has a rule that says how"
        factor, term = above.rule.affine(above, axis)
        scale, shift = factor * scale, factor * shift + term
    return scale, shift


def of_channels(operation: Operation, axis: int) -> bool:
    """Whether an elementwise operation with constants has one for each entry of this dimension, or a single one."""
    shape = operation.inputs[0].shape
    if len(operation.inputs) != 1 or operation.outputs[0].shape != shape:
        return False
    constants = [arg for arg in operation.args if isinstance(arg, Value) and not arg.active]
    return all(_sides(constant, len(shape)) <= {axis} for constant in constants)


def of_features(operation: Operation, axis: int) -> bool:
    """Whether a batch normalisation is over this dimension of its input; an instance normalisation has no mean."""
    return axis == 1 and operation.args[3] is not None


def unchanged(operation: Operation, axis: int) -> Affine:
    """Of casts and copies."""
    return 1.0, 0.0


def normalised(operation: Operation, axis: int) -> Affine:
    """Of a batch normalisation: w / sqrt(v + eps) and b - m w / sqrt(v + eps)."""
    weight, bias, mean, variance = (
        arg.content(torch.promote_types(arg.content().dtype, torch.float32)) if isinstance(arg, Value) else None
        for arg in operation.args[1:5]
    )
    assert mean is not None, "an instance normalisation is not folded"
    assert variance is not None, "a mean comes with a variance"
    scale = (variance + operation.args[-1]).rsqrt()
    scale = scale if weight is None else scale * weight
    return scale, -mean * scale if bias is None else bias - mean * scale


def scaled(operation: Operation, axis: int) -> Affine:
    """Of a product with a constant, or a quotient by one."""
    constant = _constant(operation, axis)
    return (1 / constant if operation.overload in _DIVISIONS else constant), 0.0


def shifted(operation: Operation, axis: int) -> Affine:
    """Of a sum with a constant, or a difference from one, either of which `alpha` may scale."""
    alpha = float(operation.kwargs.get("alpha", 1))
    constant = _constant(operation, axis)
    alpha = -alpha if operation.overload in _DIFFERENCES else alpha
    return (1.0, alpha * constant) if operation.args[0] is operation.inputs[0] else (alpha, constant)


def permuted_dimension(operation: Operation, axis: int) -> int:
    """Where a permutation leaves this dimension."""
    return order_of(operation).index(axis)


def kept_dimension(operation: Operation, axis: int) -> int | None:
    """Where this dimension is behind the choice of one, or some, of another."""
    chosen = operation.argument(1, "dim", 0) % len(operation.inputs[0].shape)
    removed = len(operation.outputs[0].shape) < len(operation.inputs[0].shape)
    return None if axis == chosen else axis - (removed and chosen < axis)


def reshaped_dimension(operation: Operation, axis: int) -> int | None:
    """Where a reshape leaves this dimension; None where it merges or cuts it."""
    before, after = operation.inputs[0].shape, operation.outputs[0].shape
    outer = math.prod(before[:axis])
    same = (at for at, size in enumerate(after) if size == before[axis] and math.prod(after[:at]) == outer)
    return next(same, None)


def _sides(constant: Value, rank: int) -> set[int]:
    """The dimensions, of this many, along which a constant may differ: not those it is expanded or has one entry of."""
    offset = rank - len(constant.shape)
    sides = zip(constant.shape, constant.stride, strict=True)
    return {offset + at for at, (size, stride) in enumerate(sides) if size != 1 and stride}


def _constant(operation: Operation, axis: int) -> Tensor:
    """The constant operand: (), or (1,) or (size of this dimension,), of at least single precision."""
    operands: Sequence[Any] = operation.args[:2]
    constant = next(arg for arg in operands if not getattr(arg, "active", False))
    if not isinstance(constant, Value):
        return torch.tensor(float(constant), dtype=torch.float64)
    content = constant.content()
    content = content.to(torch.promote_types(content.dtype, torch.float32))
    at = axis - (len(operation.inputs[0].shape) - content.dim())
    return content[tuple(slice(None) if each == at else 0 for each in range(content.dim()))]
