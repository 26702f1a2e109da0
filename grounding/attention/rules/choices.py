"""Rules for operations that choose: each output is one of several elements, and gives all of its signal to that one."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from grounding.attention.flow import Flow
from grounding.attention.graph import Operation, Rule
from grounding.attention.rules.arithmetic import accept_any_operands, rules_for, sum_to
from grounding.attention.spatial import aligned

aten = torch.ops.aten


def maximum(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """Max pooling over the last two dimensions, or three: each output gives all to its argmax."""
    rank = 3 if operation.overload in _OF_VOLUMES else 2
    *outer, channels = operation.inputs[0].shape[:-rank]
    sides, at = operation.inputs[0].shape[-rank:], -rank - 1  # of the places, and where the channels are
    places = operation.outputs[1].content(torch.int64).movedim(at, -1)  # (N, h', w', C), numbers of places
    indices = (places * channels + torch.arange(channels, device=places.device)).flatten(at)  # of units, channels last
    p = flow.take().movedim(at, -1).flatten(at)  # (K, N, h' * w' * C)
    below = p.new_zeros(len(p), *outer, math.prod(sides) * channels).scatter_add_(-1, indices.expand_as(p), p)
    return (Flow(below.unflatten(-1, (*sides, channels)).movedim(-1, at), own=True),)


def maximum_along(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """`max` and `amax` over dimensions: each output gives all to its argmax, the first of equals."""
    p = flow.take()
    x = operation.inputs[0].content()
    rank = x.dim()
    given = operation.args[1] if len(operation.args) > 1 else []
    dims = sorted({dim % rank for dim in ([given] if isinstance(given, int) else given)}) or list(range(rank))
    kept = [axis for axis in range(rank) if axis not in dims]
    lines = x.permute(*kept, *dims)  # (*kept, *dims)
    best = lines.flatten(len(kept)).max(-1).indices.unsqueeze(-1)  # (*kept, 1)
    below = p.new_zeros(len(p), *best.shape[:-1], math.prod(x.shape[dim] for dim in dims))
    below.scatter_(-1, best.expand(len(p), *best.shape), p.reshape(len(p), *best.shape))
    places = [1 + (*kept, *dims).index(axis) for axis in range(rank)]
    return (Flow(below.reshape(len(p), *lines.shape).permute(0, *places)),)


def choice(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """`where`: each output gives all to the operand that it was taken from; what falls on a constant is lost."""
    chosen = operation.args[0].content()
    return _shared_out(operation, flow, operation.args[1:], (chosen, ~chosen))


def larger(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """`maximum` and `minimum`: all to the larger, or smaller, the first of equals; beside a constant as a clamp."""
    if len(operation.inputs) == 1:
        return (sum_to(flow, operation.inputs[0]),)
    one, other = (value.content() for value in operation.args)
    first = one >= other if operation.overload is aten.maximum.default else one <= other
    return _shared_out(operation, flow, operation.args, (first, ~first))


def masking(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """`masked_fill`: nothing passes where a constant was filled in."""
    return _shared_out(operation, flow, operation.args[:1], (~operation.args[1].content(),))


def replacement(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """`index_put`: what was put there gets its part, the activation it was put into all else."""
    into, given, source = operation.args[:3]
    indices = tuple(slice(None) if index is None else index.content() for index in given)
    kept = torch.ones(into.shape, dtype=torch.bool, device=flow.ratio.device)
    kept[indices] = False
    flows = [*_shared_out(operation, flow, (into,), (kept,))]
    if source in operation.inputs:
        flows.append(sum_to(Flow(torch.stack([each[indices] for each in flow.probability()])), source))
    return tuple(flows)


def filling(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """`index_fill`: nothing passes where a constant was filled in."""
    into, dim, index = operation.args[:3]
    kept = torch.ones(into.shape, dtype=torch.bool, device=flow.ratio.device)
    return _shared_out(operation, flow, (into,), (kept.index_fill_(dim, index.content(torch.int64), False),))


def _shared_out(operation: Operation, flow: Flow, operands: Sequence[Any], masks: Sequence[Tensor]) -> tuple[Flow, ...]:
    """To each active operand what falls on the outputs of its mask."""
    flow, shape = flow.shared(), operation.outputs[0].shape
    return tuple(
        sum_to(flow.scaled(mask.to(flow.ratio.dtype).expand(shape)), value)
        for value, mask in zip(operands, masks, strict=True)
        if value in operation.inputs
    )


def _accumulation(operation: Operation) -> str | None:
    return "it adds to what is there" if operation.argument(3, "accumulate", False) else None


_MAXIMUM = Rule(maximum, places=aligned)
_OF_VOLUMES = (aten.max_pool3d_with_indices.default, aten.adaptive_max_pool3d.default)
_FILLS = "index_fill.int_Scalar index_fill_.int_Scalar index_fill.int_Tensor index_fill_.int_Tensor"
_MASKS = "masked_fill.Scalar masked_fill_.Scalar masked_fill.Tensor masked_fill_.Tensor"
RULES: dict[OpOverload, Rule] = {
    **rules_for("max_pool2d_with_indices adaptive_max_pool2d", _MAXIMUM),
    **rules_for("max_pool3d_with_indices adaptive_max_pool3d", _MAXIMUM),
    **rules_for("max.dim amax", Rule(maximum_along, needs_values=True, places=aligned)),
    **rules_for("maximum minimum", Rule(larger, needs_values=True, refuses=accept_any_operands, places=aligned)),
    **rules_for("where.self", Rule(choice, refuses=accept_any_operands, joins="choice", places=aligned)),
    **rules_for(_MASKS, Rule(masking, joins="choice", places=aligned)),
    **rules_for(_FILLS, Rule(filling, joins="choice", places=aligned)),
    **rules_for("index_put index_put_", Rule(replacement, refuses=_accumulation, joins="choice", places=aligned)),
}
