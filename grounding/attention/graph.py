"""What the recorded operations are to each other: which normalisation is folded, and what is a gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from grounding.attention.rules import BATCH_NORMS, GATES, PRODUCTS, RESHAPES, WEIGHTED

if TYPE_CHECKING:
    from grounding.attention.tape import Operation, Value

_SPREADS = RESHAPES | {torch.ops.aten.expand.default}  # what leaves a gate a gate


def attach_batch_norms(operations: list[Operation]) -> None:
    """Tell each convolution and linear layer which batch normalisation follows it, where that is its only reader."""
    readers: dict[Value, list[Operation]] = {}
    for operation in operations:
        for value in operation.inputs:
            readers.setdefault(value, []).append(operation)
    for operation in operations:
        following = readers.get(operation.outputs[0], []) if operation.outputs else []
        if operation.overload in WEIGHTED and len(following) == 1 and following[0].overload in BATCH_NORMS:
            operation.batch_norm = following[0]


def detach_gates(operations: list[Operation]) -> None:
    """Leave the gate out of the inputs of each product of an activation and a gate."""
    gates: set[Value] = set()
    for operation in operations:
        inputs = [value for value in operation.inputs if value not in gates]
        if operation.overload in GATES or (operation.overload in _SPREADS and not inputs):
            gates.update(operation.outputs)
        if operation.overload in PRODUCTS and len(inputs) == 1:
            operation.inputs = tuple(inputs)
