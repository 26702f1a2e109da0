"""Recorded linear operations in the one form that has rules: the constant on the right, a minus sign as a factor.

`text @ image.T`, einsum in some orders, and vmap put the constant on the left of a matrix product; a layer of a tensor
that is not contiguous is a batch of products with one matrix again and again; `-x` and `1 - x` hide a factor. Each is
replaced by operations that compute the same and return the same `Value`, so that nothing above or below changes.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from grounding.attention.graph import Derived, Operation, Rule, Value, write_count
from grounding.attention.rules.reordered import BATCHED, TRANSPOSED
from grounding.attention.rules.table import TABLE

aten = torch.ops.aten

Rewriting = Callable[[Operation], list[Operation] | None]


def canonical(operations: Sequence[Operation], given: Mapping[OpOverload, Rule]) -> list[Operation]:
    """The same forward pass; operations with rules that the user gave stay as they are."""
    written: list[Operation] = []
    for operation in operations:
        overload = operation.overload
        rewriting = _REWRITINGS.get(overload) if overload is not None and overload not in given else None
        written += (rewriting and rewriting(operation)) or [operation]
    return written


def measure_depths(operations: Sequence[Operation]) -> None:
    """Count the convolutions and linear layers below each value again, where operations were replaced."""
    for operation in operations:
        depth = max((value.depth for value in operation.inputs), default=0) + operation.weighted
        for value in operation.outputs:
            value.depth = depth


def emit(like: Operation, overload: OpOverload, *args: Any, output: Value, **kwargs: Any) -> Operation:
    """An operation in the place of another, that returns this value."""
    given = (*args, *kwargs.values())
    inputs = tuple(value for value in given if isinstance(value, Value) and value.active)
    return Operation(overload, args, kwargs, inputs, (output,), like.module, TABLE[overload])


def fresh(*shape: int) -> Value:
    """An activation that a new operation makes."""
    return Value(torch.Size(shape), _strides(shape), active=True)


def derive(function: Callable[..., Tensor], shape: Sequence[int], *sources: Value | float) -> Derived:
    """A constant of this shape, computed from constants."""
    lost = next((source.lost_in for source in sources if isinstance(source, Value) and source.lost_in), "")
    return Derived(torch.Size(shape), _strides(shape), False, lost_in=lost, function=function, sources=sources)


def _strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Of a contiguous tensor."""
    return tuple(math.prod(shape[at + 1 :]) for at in range(len(shape)))


def view_of(value: Value, function: Callable[[Tensor], Tensor], made: Value) -> None:
    """Give a value that a new operation made the content that it has: a view of that of another."""
    if value.tensor is not None:
        made.tensor = function(value.tensor)
        made.version, made.lost_in = write_count(made.tensor), value.lost_in


def _active(argument: Any) -> bool:
    return isinstance(argument, Value) and argument.active


def _minus(operation: Operation) -> list[Operation]:
    """`-x`: x * -1."""
    return [emit(operation, aten.mul.Tensor, operation.args[0], -1.0, output=operation.outputs[0])]


def _less(operation: Operation) -> list[Operation] | None:
    """`c - x`: x * -1 + c."""
    constant, x = operation.args[:2]
    if _active(constant) or not _active(x):
        return None
    return _times_and_plus(operation, x, -float(operation.kwargs.get("alpha", 1)), constant)


def _less_reversed(operation: Operation) -> list[Operation] | None:
    """`rsub(x, c)`, which is c - x: x * -1 + c; of two activations x and c, c - x itself."""
    x, other = operation.args[:2]
    alpha = operation.argument(2, "alpha", 1)
    if _active(other):
        return [emit(operation, aten.sub.Tensor, other, x, alpha=alpha, output=operation.outputs[0])]
    return _times_and_plus(operation, x, -float(alpha), other)


def _times_and_plus(operation: Operation, x: Value, factor: float, constant: Any) -> list[Operation]:
    product = fresh(*x.shape)
    return [
        emit(operation, aten.mul.Tensor, x, factor, output=product),
        emit(operation, aten.add.Tensor, product, constant, output=operation.outputs[0]),
    ]


def _product(operation: Operation) -> list[Operation] | None:
    """`mm` and `bmm` with a constant on the left, or with one that is the same matrix for the whole batch."""
    left, right = operation.args[:2]
    if _active(left) == _active(right):
        return None
    return _products(operation, left, right, operation.outputs[0])


def _products(operation: Operation, left: Value, right: Value, output: Value) -> list[Operation]:
    """The operations that multiply an activation by a constant, from either side."""
    if _active(left):
        return [_by_constant(operation, left, right, output)]
    *batch, rows, columns = output.shape
    turned, product = fresh(*batch, columns, right.shape[-2]), fresh(*batch, columns, rows)
    view_of(right, _transposed, turned)
    return [
        emit(operation, aten.transpose.int, right, -2, -1, output=turned),
        _by_constant(operation, turned, derive(_transposed, (*batch, *left.shape[:-3:-1]), left), product),
        emit(operation, aten.transpose.int, product, -2, -1, output=output),
    ]


def _by_constant(operation: Operation, x: Value, constant: Value, output: Value) -> Operation:
    if len(constant.shape) == 2:
        return emit(operation, aten.mm.default, x, constant, output=output)
    if _one_matrix(constant):
        weight = derive(_first_transposed, constant.shape[:0:-1], constant)
        return emit(operation, aten.linear.default, x, weight, None, output=output)
    each = emit(operation, aten.bmm.default, x, constant, output=output)  # a matrix for each
    each.rule = BATCHED
    return each


def _one_matrix(constant: Value) -> bool:
    """Whether (B, j, l) holds one matrix B times."""
    if constant.shape[0] == 1 or constant.stride[0] == 0:
        return True
    content = constant.content()
    return torch.equal(content[1:], content[:-1])


def _sum_and_product(operation: Operation) -> list[Operation] | None:
    """`addmm` that is no plain linear layer: scaled, with a constant on the left, or added to an activation."""
    x, left, right = operation.args[:3]
    alpha, beta = operation.kwargs.get("alpha", 1), operation.kwargs.get("beta", 1)
    plain = alpha == beta == 1 and not _active(x)
    if (plain and _active(left)) or _active(left) == _active(right):
        return None
    product, scaled = fresh(*operation.outputs[0].shape), fresh(*operation.outputs[0].shape)
    if _active(x):  # the sum shares by what is added
        scaled.tensor = alpha * (left.content() @ right.content())
    return [
        *_products(operation, left, right, product),
        emit(operation, aten.mul.Tensor, product, float(alpha), output=scaled),
        emit(operation, aten.add.Tensor, scaled, x, alpha=beta, output=operation.outputs[0]),
    ]


def _layer(operation: Operation) -> list[Operation] | None:
    """`linear` of a constant matrix by weights that are an activation: the product of both."""
    constant, x, bias = operation.args[0], operation.args[1], operation.argument(2, "bias", None)
    if _active(constant) or not _active(x) or _active(bias) or len(constant.shape) != 2:
        return None
    turned, product = fresh(*x.shape[::-1]), fresh(*operation.outputs[0].shape)
    view_of(x, _transposed, turned)
    end = operation.outputs[0]
    return [
        emit(operation, aten.transpose.int, x, 0, 1, output=turned),
        *_products(operation, constant, turned, end if bias is None else product),
        *([] if bias is None else [emit(operation, aten.add.Tensor, product, bias, output=end)]),
    ]


def _convolution(operation: Operation) -> list[Operation] | None:
    """A transposed convolution has a rule of its own."""
    if operation.args[6] and len(operation.inputs) == 1 and operation.args[0] is operation.inputs[0]:
        operation.rule = TRANSPOSED
    return None


def _transposed(tensor: Tensor) -> Tensor:
    return tensor.mT


def _first_transposed(tensor: Tensor) -> Tensor:
    return tensor[0].t()


_REWRITINGS: Mapping[OpOverload, Rewriting] = {
    aten.neg.default: _minus,
    aten.neg_.default: _minus,
    aten.sub.Tensor: _less,
    aten.sub_.Tensor: _less,
    aten.rsub.Scalar: _less_reversed,
    aten.rsub.Tensor: _less_reversed,
    aten.mm.default: _product,
    aten.bmm.default: _product,
    aten.addmm.default: _sum_and_product,
    aten.linear.default: _layer,
    aten.convolution.default: _convolution,
}
