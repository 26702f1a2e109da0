"""Rules that hand winning probability on as it is: each output is one input element, so nothing is shared out."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from grounding.attention.flow import Flow

if TYPE_CHECKING:
    from grounding.attention.tape import Operation, Value

aten = torch.ops.aten

Rule = Callable[["Operation", Flow], tuple[Flow, ...]]


def formed(rule: Callable[[Operation, Tensor], Tensor]) -> Rule:
    """A rule for one input from a function of P itself, (K, *output.shape) -> (K, *input.shape)."""

    @functools.wraps(rule)
    def of_flow(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
        return (Flow(rule(operation, flow.probability())),)

    return of_flow


def identity(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """Rectifiers, normalisation, dropout in evaluation mode, copies and casts."""
    return (flow,)


def shift(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """An activation less a constant or another activation: all to what is subtracted from."""
    return (sum_to(flow, operation.inputs[0]),)


@formed
def reshape(operation: Operation, p: Tensor) -> Tensor:
    """The same elements in the same order."""
    return p.reshape(len(p), *operation.inputs[0].shape)


@formed
def routing(operation: Operation, p: Tensor) -> Tensor:
    """Each output is one input element, or padding: permutations, selections, expansions."""
    pull = torch.func.vjp(lambda x: apply(operation, x), p.new_zeros(operation.inputs[0].shape))[1]
    below: Tensor = torch.func.vmap(pull)(p)[0]
    return below


def concatenation(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """`cat`: each input gets its part."""
    values: list[Value] = operation.args[0]
    dim = _dim(operation, 1) % len(values[0].shape)
    sizes = [value.shape[dim] for value in values]
    ratios = torch.split(flow.ratio, sizes, dim + 1)
    activations = [None] * len(sizes) if flow.activation is None else torch.split(flow.activation, sizes, dim)
    return tuple(
        Flow(ratio, activation, flow.own)
        for ratio, activation, value in zip(ratios, activations, values, strict=True)
        if value.active
    )


def stacking(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """`stack`: each input gets its part."""
    values: list[Value] = operation.args[0]
    dim = _dim(operation, 1) % len(operation.outputs[0].shape)
    parts = flow.probability().unbind(dim + 1)
    return tuple(Flow(part) for part, value in zip(parts, values, strict=True) if value.active)


def division(operation: Operation, flows: dict[Value, Flow]) -> tuple[Flow, ...]:
    """`split`, `unbind`: the parts side by side again; one that carries no signal counts as 0."""
    unbind = operation.overload is aten.unbind.int
    dim = _dim(operation, 1 if unbind else 2) % len(operation.inputs[0].shape)
    some = next(iter(flows.values())).ratio
    parts = [
        flows[made].probability() if made in flows else some.new_zeros(len(some), *made.shape)
        for made in operation.outputs
    ]
    return (Flow((torch.stack if unbind else torch.cat)(parts, dim + 1), own=True),)


def maximum(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """Max pooling over the last two dimensions: each output gives all to its argmax."""
    *outer, channels, height, width = operation.inputs[0].shape
    places = operation.outputs[1].content(torch.int64).movedim(-3, -1)  # (N, h', w', C), numbers of places
    indices = (places * channels + torch.arange(channels, device=places.device)).flatten(-3)  # of units, channels last
    p = flow.probability().movedim(-3, -1).flatten(-3)  # (K, N, h' * w' * C)
    below = p.new_zeros(len(p), *outer, height * width * channels).scatter_add_(-1, indices.expand_as(p), p)
    return (Flow(below.unflatten(-1, (height, width, channels)).movedim(-1, -3), own=True),)


@formed
def maximum_along(operation: Operation, p: Tensor) -> Tensor:
    """`max` and `amax` over dimensions: each output gives all to its argmax, the first of equals."""
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
    return below.reshape(len(p), *lines.shape).permute(0, *places)


def apply(operation: Operation, x: Tensor) -> Tensor:
    """The operation on another first argument."""
    assert operation.overload is not None
    result: Tensor = operation.overload(x, *_contents(operation.args[1:]), **operation.kwargs)
    return result


def sum_to(flow: Flow, value: Value) -> Flow:
    """Undo broadcasting: (K, *broadcast shape) -> (K, *value.shape)."""
    if flow.ratio.shape[1:] == value.shape:
        return flow
    p = flow.probability()
    missing = p.dim() - 1 - len(value.shape)
    return Flow(p.sum_to_size(len(p), *[1] * missing, *value.shape).reshape(len(p), *value.shape))


def _contents(arguments: Any) -> list[Any]:
    """Constants among the arguments in the place of their values."""
    return [
        _contents(each) if isinstance(each, list) else each.content() if hasattr(each, "content") else each
        for each in arguments
    ]


def _dim(operation: Operation, position: int) -> int:
    dim: int = operation.args[position] if len(operation.args) > position else operation.kwargs.get("dim", 0)
    return dim
