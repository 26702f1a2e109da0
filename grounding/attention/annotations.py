"""What the recorded operations are to each other: what is folded, what is a gate, what needs no content."""

import math
from collections.abc import Sequence

import torch

from grounding.attention.graph import Operation, Value

_CONVOLUTION = torch.ops.aten.convolution.default


def readers_of(operations: Sequence[Operation]) -> dict[Value, list[Operation]]:
    """For each value the operations that signal reaches it from."""
    readers: dict[Value, list[Operation]] = {}
    for operation in operations:
        for value in operation.inputs:
            readers.setdefault(value, []).append(operation)
    return readers


def attach_folds(operations: list[Operation], output: Value) -> None:
    """Tell each convolution and linear layer which operations, affine channel by channel, alone follow it.

    Those are batch normalisations, in one or written out, and layer scales. Between them may lie casts and copies, and
    reshapes and permutations that keep the outputs of the layer one dimension.
    """
    readers = readers_of(operations)
    for operation in operations:
        if not operation.weighted or not operation.outputs:
            continue
        value = operation.outputs[0]
        axis: int | None = 1 if operation.overload is _CONVOLUTION else len(value.shape) - 1
        while axis is not None and value is not output and len(following := readers.get(value, [])) == 1:
            above = following[0]
            rule = above.rule
            if rule and rule.folds and rule.folds(above, axis):
                above.folded = True
                operation.folds += ((above, axis),)
            else:
                axis = rule.moves_dimension(above, axis) if rule and rule.moves_dimension and above.outputs else None
            value = above.outputs[0] if axis is not None else value


def detach_gates(operations: list[Operation]) -> None:
    """Leave out of the inputs of each operation on several activations what is a constant to the signal.

    That is a gate beside an activation; the smaller of two factors, which modulates the larger; what is divided by or
    subtracted; a mask or an index, of what is chosen by it. An operation whose inputs are all gates makes a gate;
    convolutions and linear layers only of attention weights, where they mix heads.
    """
    gates: dict[Value, bool] = {}  # whether it is made of attention weights alone
    for operation in operations:
        makes = operation.rule.makes if operation.rule else None
        attention = makes == "attention weights" or all(gates.get(value, False) for value in operation.inputs)
        passed = all(value in gates for value in operation.inputs) and (attention or not operation.weighted)
        if passed or makes:
            gates.update(dict.fromkeys(operation.outputs, attention))
        operation.inputs = _carriers(operation, gates)
        if not operation.inputs:
            gates.update(dict.fromkeys(operation.outputs, False))


def _carriers(operation: Operation, gates: dict[Value, bool]) -> tuple[Value, ...]:
    """Which of several inputs carry the signal."""
    inputs, joins = operation.inputs, operation.rule.joins if operation.rule else None
    if joins == "choice":
        return tuple(value for value in inputs if value.tensor is None or value.tensor.dtype.is_floating_point)
    if len(inputs) != 2:
        return inputs
    if joins == "first":
        return inputs[:1]
    if joins in ("product", "matrix product"):
        activations = tuple(value for value in inputs if value not in gates)
        if len(activations) == 1:
            return activations
    if joins == "product":
        largest = max(map(_extent, inputs))
        return tuple(value for value in inputs if _extent(value) == largest)
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
        if operation.rule and operation.rule.needs_values:
            (needed if carries else spare).update(arg for arg in operation.args if getattr(arg, "active", False))
    for value in spare - needed:
        if value.tensor is not None and value.tensor.dtype.is_floating_point:
            value.tensor = None
