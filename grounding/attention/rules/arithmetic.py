"""What several rules compute, and how they write down their part of the table."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from grounding.attention.flow import Flow
from grounding.attention.graph import Operation, Rule, Value

_ZERO = 1e-30  # a Z below this is 0: its reciprocal would overflow float32


def rules_for(names: str, rule: Rule) -> dict[OpOverload, Rule]:
    """The same rule for several ATen operations, by name and overload, `default` where none is given.

    Those that an older torch does not have are left out.
    """
    table = {}
    for name in names.split():
        packet, _, overload = name.partition(".")
        if hasattr(torch.ops.aten, packet):
            table[getattr(getattr(torch.ops.aten, packet), overload or "default")] = rule
    return table


def accept_any_operands(operation: Operation) -> str | None:
    """The refusal of rules that take all operands."""
    return None


def excitation(value: Value, dtype: torch.dtype) -> Tensor:
    """What of a recorded activation excites: its values, at least 0, in the layout that suits convolutions."""
    return channels_last(value.content(dtype)).clamp(min=0)


def channels_last(tensor: Tensor) -> Tensor:
    """The layout in which a convolution of many signals is fastest."""
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


def reciprocal(z: Tensor) -> Tensor:
    """1 / Z, and 0 where Z = 0."""
    there = z.abs() > max(_ZERO, torch.finfo(z.dtype).tiny)
    if torch.is_grad_enabled() and z.requires_grad:
        z = torch.where(there, z, 1)  # the derivative of 1 / 0 is not finite, and 0 times it is NaN
    return torch.where(there, z.reciprocal(), 0)


def apply(operation: Operation, x: Tensor) -> Tensor:
    """The operation on another first argument."""
    assert operation.overload is not None
    result: Tensor = operation.overload(x, *_contents(operation.args[1:]), **operation.kwargs)
    return result


def sum_to(flow: Flow, value: Value) -> Flow:
    """Undo broadcasting: (K, *broadcast shape) -> (K, *value.shape)."""
    if flow.ratio.shape[1:] == value.shape:
        return flow
    p = flow.take()
    missing = p.dim() - 1 - len(value.shape)
    return Flow(p.sum_to_size(len(p), *[1] * missing, *value.shape).reshape(len(p), *value.shape))


def _contents(arguments: Iterable[Any]) -> list[Any]:
    """Constants among the arguments in the place of their values."""
    return [
        _contents(each) if isinstance(each, list) else each.content() if isinstance(each, Value) else each
        for each in arguments
    ]
