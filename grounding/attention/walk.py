"""The way down from the scores to the layers that are read, planned before anything is computed."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from grounding.attention.flow import Flow
from grounding.attention.layers import classifiers
from grounding.attention.places import grid, image_axes, summed
from grounding.attention.rules import RULES, SPLITS, WEIGHTED, main_branch, sum_to, supported
from grounding.attention.tape import Operation, Tape, Value
from grounding.attention.weighted import convolution, convolution_map
from grounding.errors import GroundingError, UnsupportedOperationError

RESIDUAL = ("split", "main")
_MAKE = {*WEIGHTED, torch.ops.aten.max_pool2d_with_indices.default}  # these take new memory for each signal
_TENSORS = 4  # of the largest of these there are at one time


@dataclass(frozen=True, slots=True)
class Step:
    """One operation to walk: with the contrast, or not; and the inputs that lead to a layer."""

    operation: Operation
    contrast: bool
    onward: tuple[Value, ...]


def plan(tape: Tape, stops: list[Value], residual: str, contrast: bool) -> list[Step]:
    """The operations between the output and the layers to read, from the output down.

    Raises:
        UnsupportedOperationError: one of them has no rule.
        GroundingError: a layer that no signal gets to, or that lies above the contrast.
    """
    ends = classifiers(tape) if contrast else []
    above = set(stops)  # the values that signal goes through to the layers
    for operation in tape.operations:
        if not above.isdisjoint(_receivers(operation, residual)):
            above.update(operation.outputs)
    live, contrasted, steps = {tape.output} & above, set[Value](), list[Step]()
    for operation in reversed(tape.operations):
        reached = live.intersection(operation.outputs)
        onward = tuple(value for value in _receivers(operation, residual) if value in above)
        if not reached or not onward:
            continue
        if not supported(operation) or (operation.overload not in SPLITS and reached != {operation.outputs[0]}):
            kinds = ", ".join("x".join(map(str, value.shape)) for value in operation.inputs)
            raise UnsupportedOperationError(
                f"{operation.name} of ({kinds}) has no Excitation Backprop rule: "
                "read a layer above it, or use a network without it"
            )
        steps.append(Step(operation, operation in ends, onward))
        live.update(onward)
        if operation in ends and not contrasted.isdisjoint(operation.outputs):
            raise GroundingError(
                "the scores come past the classifier too, so there is no one layer to contrast: use mwp"
            )
        if operation in ends or not contrasted.isdisjoint(operation.outputs):
            contrasted.update(onward)
    if not live.issuperset(stops):
        raise GroundingError("no signal gets from the scores to the layer: read another")
    if contrast and not contrasted.issuperset(stops):
        raise GroundingError("the layer lies above the contrast: read the input of the classifier, or a layer below it")
    return steps


def _passed(steps: list[Step]) -> set[Value]:
    """The values that signal goes on from."""
    return {value for step in steps for value in step.operation.outputs}


def at_once(tape: Tape, steps: list[Step], channels: bool) -> int:
    """How many signals to walk together, so that they need little more memory than the activations of the network."""
    activations = sum(
        math.prod(value.shape)
        for operation in tape.operations
        if operation.overload and not any(each.alias_info for each in operation.overload._schema.returns)
        for value in operation.outputs[:1]
    )
    passed = _passed(steps)
    made = [step.onward[0] for step in steps if step.operation.overload in _MAKE]
    largest = max((math.prod(value.shape) for value in made if channels or value in passed), default=1)
    return max(1, activations // (_TENSORS * largest))


def walk(tape: Tape, p: Tensor, steps: list[Step], stops: list[Value], residual: str, channels: bool) -> list[Tensor]:
    """P of the signals at each of the layers.

    Args:
        p: (K, *output.shape), the signals.
        steps: of `plan`, for the same layers and the same `residual`.
        channels: keep all units apart instead of summing each place.

    Returns:
        For each layer (N, K, h, w), or (N, K) and its shape behind N.
    """
    if not len(p):
        return [p.new_zeros(stop.shape[0], 0, *(stop.shape[1:] if channels else grid(stop) or ())) for stop in stops]
    live = {tape.output: Flow(p)}  # the values that carry signal now
    passed = _passed(steps)
    ends = set() if channels else set(stops) - passed  # only sums are read there, and nothing goes on from them
    found: dict[Value, Tensor] = {}
    with torch.no_grad():
        for step in steps:
            flows = {made: live.pop(made) for made in step.operation.outputs if made in live}
            for value in flows.keys() & set(stops):
                flows[value] = flows[value].shared()
                probability = flows[value].probability()
                found[value] = probability if channels else summed(probability, value)
            for value, flow in _descend(step, flows, residual, ends):
                if value in ends:
                    part = flow if isinstance(flow, Tensor) else summed(flow.probability(), value)
                    found[value] = found[value] + part if value in found else part
                elif isinstance(flow, Flow) and (value in passed or value in stops):
                    live[value] = live[value].plus(flow) if value in live else flow
    for stop in set(stops) - found.keys():
        probability = live[stop].probability()
        found[stop] = probability if channels else summed(probability, stop)
    return [found[stop].transpose(0, 1) for stop in stops]


def _descend(
    step: Step, flows: dict[Value, Flow], residual: str, ends: set[Value]
) -> Iterable[tuple[Value, Flow | Tensor]]:
    """One operation down: the values that receive signal, and what each receives: at an end, a map will do."""
    operation = step.operation
    assert operation.overload is not None
    if operation.overload in SPLITS:
        return zip(operation.inputs, SPLITS[operation.overload](operation, flows), strict=True)
    flow = flows[operation.outputs[0]]
    if residual == "main" and (main := main_branch(operation)):
        return [(main, sum_to(flow, main))]
    if step.contrast:
        weighted, flow = WEIGHTED[operation.overload], flow.shared()
        full = Flow(flow.probability().to(torch.promote_types(flow.ratio.dtype, torch.float32)))
        (ours,), (dual,) = weighted(operation, full), weighted(operation, full, negate=True)
        difference = Flow(ours.ratio.sub_(dual.ratio), ours.activation, own=True)
        return [(operation.inputs[0], difference.to(flow.ratio.dtype))]
    source = operation.inputs[0]
    if RULES[operation.overload] is convolution and source in ends and source.axes == image_axes(source.shape):
        map_ = convolution_map(operation, flow)
        if map_ is not None:
            return [(source, map_)]
    return zip(operation.inputs, RULES[operation.overload](operation, flow), strict=True)


def _receivers(operation: Operation, residual: str) -> tuple[Value, ...]:
    main = main_branch(operation) if residual == "main" else None
    return (main,) if main else operation.inputs
