"""What the recorded operations are to each other: which scale is folded, what is a gate, what needs no content."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from grounding.attention.rules import (
    BATCH_NORMS,
    GATES,
    MATRIX_PRODUCTS,
    NEEDS_VALUES,
    PRODUCTS,
    RESHAPES,
    SUBTRACTIONS,
    WEIGHTED,
    WEIGHTS,
)

if TYPE_CHECKING:
    from grounding.attention.tape import Operation, Value

aten = torch.ops.aten


def attach_scales(operations: list[Operation]) -> None:
    """Tell each convolution and linear layer which scale alone follows it: of a batch normalisation, or a layer scale.

    Between the two may lie reshapes and permutations that keep the outputs of the layer one dimension.
    """
    readers: dict[Value, list[Operation]] = {}
    for operation in operations:
        for value in operation.inputs:
            readers.setdefault(value, []).append(operation)
    for operation in operations:
        if operation.overload not in WEIGHTED or not operation.outputs:
            continue
        value = operation.outputs[0]
        axis: int | None = 1 if operation.overload is aten.convolution.default else len(value.shape) - 1
        while axis is not None and len(following := readers.get(value, [])) == 1:
            axis_there, there = axis, following[0]
            if there.overload in BATCH_NORMS or there.overload in PRODUCTS:
                operation.scale = there.scale = _scale(there, axis_there)
                break
            axis = _moved(there, axis)
            value = there.outputs[0] if axis is not None else value


def _scale(operation: Operation, axis: int) -> Value | None:
    """The constant by which an operation multiplies each entry along this dimension of its input."""
    if operation.overload in BATCH_NORMS:
        scale: Value | None = operation.args[1]
        return scale if axis == 1 and operation.args[3] is not None else None  # an instance norm has no mean
    constants = [arg for arg in operation.args if hasattr(arg, "content") and not arg.active]
    shape = operation.inputs[0].shape
    if len(operation.inputs) != 1 or len(constants) != 1 or operation.outputs[0].shape != shape:
        return None
    expected = [size if at == axis else 1 for at, size in enumerate(shape)]
    given = constants[0].shape
    return constants[0] if [1] * (len(shape) - len(given)) + list(given) == expected else None


def _moved(operation: Operation, axis: int) -> int | None:
    """Where a permutation or reshape leaves this dimension; None for other operations, and where it merges it."""
    if not operation.outputs:
        return None
    at: int
    before, after = operation.inputs[0].shape, operation.outputs[0].shape
    if operation.overload is aten.permute.default:
        at = [dim % len(before) for dim in operation.args[1]].index(axis)
        return at
    if operation.overload is aten.transpose.int:
        one, two = (dim % len(before) for dim in operation.args[1:3])
        at = {one: two, two: one}.get(axis, axis)
        return at
    if operation.overload in RESHAPES:
        outer = math.prod(before[:axis])
        same = (n for n, size in enumerate(after) if size == before[axis] and math.prod(after[:n]) == outer)
        return next(same, None)
    return None


def detach_gates(operations: list[Operation]) -> None:
    """Leave out of the inputs of each product, quotient and difference what is a constant to the signal.

    That is a gate beside an activation; the smaller of two factors, which modulates the larger; what is divided by or
    subtracted. An operation whose inputs are all gates makes a gate; convolutions and linear layers only of
    attention weights, where they mix heads.
    """
    gates: dict[Value, bool] = {}  # whether it is made of attention weights alone
    for operation in operations:
        inputs = operation.inputs
        weights = operation.overload in WEIGHTS or all(gates.get(value, False) for value in inputs)
        passed = all(value in gates for value in inputs) and (weights or operation.overload not in WEIGHTED)
        if passed or operation.overload in GATES:
            gates.update(dict.fromkeys(operation.outputs, weights))
        if len(inputs) == 2:
            operation.inputs = _carriers(operation, gates)


def _carriers(operation: Operation, gates: dict[Value, bool]) -> tuple[Value, ...]:
    """Which of two inputs carry the signal."""
    inputs = operation.inputs
    if operation.overload in SUBTRACTIONS:
        return inputs[:1]
    if operation.overload in PRODUCTS or operation.overload in MATRIX_PRODUCTS:
        activations = tuple(value for value in inputs if value not in gates)
        if len(activations) == 1:
            return activations
        if operation.overload in PRODUCTS:
            extents = [_extent(value) for value in inputs]
            return tuple(v for v, extent in zip(inputs, extents, strict=True) if extent == max(extents))
    return inputs


def _extent(value: Value) -> int:
    """How many elements a value has, before it was expanded."""
    return math.prod(size for size, step in zip(value.shape, value.stride, strict=True) if step)


def release(operations: list[Operation], output: Value) -> None:
    """Let go of the activations that no rule will ask for: of queries and keys, most of what attention computes."""
    live = {output}
    spare: set[Value] = set()
    needed: set[Value] = set()
    for operation in reversed(operations):
        carries = not live.isdisjoint(operation.outputs)
        if carries:
            live.update(operation.inputs)
        if operation.overload in NEEDS_VALUES:
            (needed if carries else spare).update(arg for arg in operation.args if getattr(arg, "active", False))
    for value in spare - needed:
        value.tensor = None
