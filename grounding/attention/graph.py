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
            there = following[0]
            if there.overload in BATCH_NORMS or there.overload in PRODUCTS:
                there.scales = _scales(there, axis)
                operation.scales += there.scales
                axis = axis if there.scales else None
            else:
                axis = _moved(there, axis)
            value = there.outputs[0] if axis is not None else value


def _scales(operation: Operation, axis: int) -> tuple[Value | float, ...]:
    """The constant by which an operation multiplies each entry along this dimension of its input; none for others."""
    if operation.overload in BATCH_NORMS:
        scale: Value | None = operation.args[1]
        averaged = operation.args[3] is not None  # an instance normalisation has no mean
        return (scale,) if axis == 1 and averaged and scale is not None else ()
    shape = operation.inputs[0].shape
    if len(operation.inputs) != 1 or operation.outputs[0].shape != shape:
        return ()
    constant = next(arg for arg in operation.args if not getattr(arg, "active", False))
    if isinstance(constant, (int, float)):
        return (float(constant),)
    given = [1] * (len(shape) - len(constant.shape)) + list(constant.shape)
    expected = [size if at == axis else 1 for at, size in enumerate(shape)]
    return (constant,) if given == expected or math.prod(given) == 1 else ()


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
