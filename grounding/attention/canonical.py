"""Recorded linear operations in the one form that has rules: the constant on the right, a minus sign as a factor.

`text @ image.T`, einsum in some orders, and vmap put the constant on the left of a matrix product; a layer of a tensor
that is not contiguous is a batch of products with one matrix again and again; `-x` and `1 - x` hide a factor. Each is
replaced by operations that compute the same and return the same `Value`, so that nothing above or below changes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
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
        own = operation.overload is None or operation.overload in given
        rewriting = None if own else _REWRITINGS.get(operation.overload)
        written += (rewriting and rewriting(operation)) or [operation]
    return written


def measure_depths(operations: Sequence[Operation]) -> None:
    """Count the convolutions and linear layers below each value again, where operations were replaced."""
    for operation in operations:
        depth = max((value.depth for value in operation.inputs), default=0) + operation.weighted
        for value in operation.outputs:
            value.depth = depth


def emit(like: Operation, overload: OpOverload, *args: Any, output: Value | None = None, **kwargs: Any) -> Operation:
    """An operation in the place of another. What it returns is a new value, unless `output` is given."""
    if output is None:
        shapes = (torch.empty_strided(a.shape, a.stride, device="meta") if isinstance(a, Value) else a for a in args)
        result = overload(*shapes, **kwargs)
        output = Value(result.shape, result.stride(), active=True)
    given = (*args, *kwargs.values())
    inputs = tuple(value for value in given if isinstance(value, Value) and value.active)
    return Operation(overload, args, kwargs, inputs, (output,), like.module, TABLE[overload])


def derive(function: Callable[..., Tensor], *sources: Value | float) -> Derived:
    """A constant computed from constants."""
    values = [source for source in sources if isinstance(source, Value)]
    shapes = (torch.empty_strided(s.shape, s.stride, device="meta") if isinstance(s, Value) else s for s in sources)
    result = function(*shapes)
    lost = next((value.lost_in for value in values if value.lost_in), "")
    return Derived(result.shape, result.stride(), False, lost_in=lost, function=function, sources=sources)


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
    product = emit(operation, aten.mul.Tensor, x, factor)
    return [product, emit(operation, aten.add.Tensor, product.outputs[0], constant, output=operation.outputs[0])]


def _product(operation: Operation) -> list[Operation] | None:
    """`mm` and `bmm` with a constant on the left, or with one that is the same matrix for the whole batch."""
    left, right = operation.args[:2]
    if _active(left) == _active(right):
        return None
    if _active(left):
        return _by_constant(operation, left, right, operation.outputs[0])
    turned = emit(operation, aten.transpose.int, right, -2, -1)
    view_of(right, _transposed, turned.outputs[0])
    *_, rows, columns = operation.outputs[0].shape
    shape = torch.Size((*operation.outputs[0].shape[:-2], columns, rows))
    output = Value(shape, torch.empty(shape, device="meta").stride(), active=True)
    product = _by_constant(operation, turned.outputs[0], derive(_transposed, left), output)
    back = emit(operation, aten.transpose.int, output, -2, -1, output=operation.outputs[0])
    return [turned, *product, back]


def _by_constant(operation: Operation, x: Value, constant: Value, output: Value) -> list[Operation]:
    if len(constant.shape) == 2:
        return [emit(operation, aten.mm.default, x, constant, output=output)]
    if _one_matrix(constant):
        weight = derive(_first_transposed, constant)
        return [emit(operation, aten.linear.default, x, weight, None, output=output)]
    return [replace(operation, args=(x, constant), inputs=(x,), outputs=(output,), rule=BATCHED)]


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
    first = emit(operation, aten.mm.default, left, right)
    product, steps = first.outputs[0], _product(first) or [first]
    if _active(x):  # the sum shares by what is added
        product.tensor = left.content() @ right.content()
    if alpha != 1:
        steps.append(emit(operation, aten.mul.Tensor, product, float(alpha)))
        scaled = steps[-1].outputs[0]
        if product.tensor is not None:
            scaled.tensor = product.tensor * alpha
        product = scaled
    added = emit(operation, aten.add.Tensor, product, x, alpha=beta, output=operation.outputs[0])
    return [*steps, added]


def _layer(operation: Operation) -> list[Operation] | None:
    """`linear` of a constant by weights that are an activation: the product of these with the constant."""
    constant, x, *bias = operation.args
    if _active(constant) or not _active(x):
        return None
    turned = emit(operation, aten.transpose.int, x, 0, 1)
    view_of(x, _transposed, turned.outputs[0])
    if len(constant.shape) != 2 or any(_active(each) for each in bias):
        return None
    product = emit(operation, aten.mm.default, constant, turned.outputs[0])
    if not bias or bias[0] is None:
        product.outputs = operation.outputs
        return [turned, *(_product(product) or [product])]
    added = emit(operation, aten.add.Tensor, product.outputs[0], bias[0], output=operation.outputs[0])
    return [turned, *(_product(product) or [product]), added]


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
