"""The way down from the scores to the layers that are read, planned before anything is computed."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor, autocast, inference_mode, is_grad_enabled, set_grad_enabled

from grounding.attention.choices import Choices
from grounding.attention.contrast import CLOSE_OVER, PAST, check_linear, classifiers, contrast
from grounding.attention.flow import Flow
from grounding.attention.graph import Operation, Tape, Value
from grounding.attention.rules.arithmetic import sum_to
from grounding.attention.rules.choices import maximum
from grounding.attention.rules.proportional import signed_addition
from grounding.attention.spatial import grid, is_image, sum_to_map
from grounding.errors import GroundingError, UnsupportedOperationError

_FLOOR = 1 << 25  # elements: 128 MiB in float32
_TENSORS = 4  # a walk holds about so many tensors as large as its largest one at the same time


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
        GroundingError: a layer that no signal gets to, or that lies above the contrast; weights that have changed.
    """
    if contrast:
        check_linear(tape)
    contrasts = classifiers(tape) if contrast else []
    above = _leading_to(tape, stops, residual)
    live, contrasted, steps = {tape.output} & above, set[Value](), list[Step]()
    for operation in reversed(tape.operations):
        reached = live.intersection(operation.outputs)
        onward = tuple(value for value in _receivers(operation, residual) if value in above)
        if not reached or not onward:
            continue
        _check(operation, reached)
        if with_gradients(tape):
            _check_gradients(operation)
        steps.append(Step(operation, operation in contrasts, onward))
        live.update(onward)
        if operation in contrasts and not contrasted.isdisjoint(operation.outputs):
            raise GroundingError(PAST)
        if operation in contrasts or not contrasted.isdisjoint(operation.outputs):
            contrasted.update(onward)
    if not live.issuperset(stops):
        raise GroundingError("no signal gets from the scores to the layer: read another")
    if contrast and not contrasted.issuperset(stops):
        raise GroundingError("the layer lies above the contrast: read the input of the classifier, or a layer below it")
    return steps


def check_biases(steps: Iterable[Step]) -> None:
    """That every layer on the way has a bias that can take its share, or none.

    Raises:
        UnsupportedOperationError: one has a rule that knows of no bias.
    """
    for operation in (step.operation for step in steps):
        if operation.weighted and operation.rule and operation.rule.with_bias is None:
            raise UnsupportedOperationError(
                f"the bias of {operation.name} (module '{operation.module}') cannot take a share, because it is a sum "
                "of layers that are merged, or has a rule that was given without with_bias: use bias='none'"
            )


def _leading_to(tape: Tape, stops: list[Value], residual: str) -> set[Value]:
    """The values that signal goes through to the layers, and these."""
    above = set(stops)
    for operation in tape.operations:
        if not above.isdisjoint(_receivers(operation, residual)):
            above.update(operation.outputs)
    return above


def _check(operation: Operation, reached: set[Value]) -> None:
    """That signal can pass down, and that all that the rule may read is as it was recorded."""
    refusal = operation.refusal
    if refusal is None and operation.rule and not operation.rule.every_output and reached != {operation.outputs[0]}:
        refusal = "an output behind the first carries signal"
    if refusal is not None:
        because = refusal and f", because {refusal}"
        kinds = ", ".join("x".join(map(str, value.shape)) for value in operation.inputs)
        if operation.weighted and len(operation.inputs) > 1:
            raise UnsupportedOperationError(
                f"{operation.name} of ({kinds}) multiplies two activations, which has no Excitation Backprop rule"
                f"{because}: {CLOSE_OVER}"
            )
        raise UnsupportedOperationError(
            f"{operation.name} of ({kinds}) has no Excitation Backprop rule{because}: read a layer above it, "
            "use a network without it, or give record() a rule"
        )
    if any(value.overwritten for value in _values(operation)):
        raise GroundingError("weights or images have changed since the forward pass was recorded: record it again")


def _check_gradients(operation: Operation) -> None:
    """That all contents that the rule may read have the gradient that they should."""
    for value in _values(operation):
        read = not value.active or (operation.rule is not None and operation.rule.needs_values)
        if value.lost_in and read:
            raise UnsupportedOperationError(
                f"a map has no gradient through {value.lost_in}, which ran without gradients, and whose values "
                f"{operation.name} reads: read a layer above it, compute it by plain operations "
                "(attention: torch.nn.attention.sdpa_kernel(SDPBackend.MATH)), or record without differentiable"
            )


def _values(operation: Operation) -> list[Value]:
    """All that the rule of an operation may read."""
    arguments = (*operation.args, *operation.kwargs.values(), *operation.outputs)
    each = (each for arg in arguments for each in (arg if isinstance(arg, list) else [arg]))
    return [value for value in each if isinstance(value, Value)]


def with_gradients(tape: Tape) -> bool:
    """Whether the maps of this tape have a gradient here."""
    return tape.differentiable and is_grad_enabled()


def main_branch(operation: Operation) -> Value | None:
    """The deeper input of a sum of two activations, the first of equals; None for any other operation.

    Depth counts convolutions and linear layers on the longest way from an input: an identity or a projection beside a
    residual block is shallower than the block. `residual="main"` gives the whole signal to this input.
    """
    if operation.rule is None or operation.rule.joins != "sum" or len(operation.inputs) < 2:
        return None
    return max(operation.inputs, key=lambda value: value.depth)


def _receivers(operation: Operation, residual: str) -> tuple[Value, ...]:
    main = main_branch(operation) if residual == "main" else None
    return (main,) if main else operation.inputs


def _passed(steps: list[Step]) -> set[Value]:
    """The values that signal goes on from."""
    return {value for step in steps for value in step.operation.outputs}


def at_once(tape: Tape, steps: list[Step], channels: bool) -> int:
    """How many signals to walk together, so that they need little more memory than the activations of the network.

    Every group makes W+ and Z again, so where the activations are small, `_FLOOR` may be used instead.
    """
    activations = sum(
        math.prod(value.shape)
        for operation in tape.operations
        if operation.overload and not any(each.alias_info for each in operation.overload._schema.returns)
        for value in operation.outputs[:1]
    )
    passed = _passed(steps)
    allocated = [step.onward[0] for step in steps if _allocates(step.operation)]
    largest = max((math.prod(value.shape) for value in allocated if channels or value in passed), default=1)
    return max(1, max(activations, _FLOOR) // (_TENSORS * largest))


def _allocates(operation: Operation) -> bool:
    """Whether its rule takes new memory for each signal."""
    return operation.weighted or (operation.rule is not None and operation.rule.pass_down is maximum)


def walk(
    tape: Tape, p: Tensor, steps: list[Step], stops: list[Value], choices: Choices, channels: bool, contrasted: int
) -> list[Tensor]:
    """P of the signals at each of the layers.

    Args:
        p: (K, *output.shape), the signals.
        steps: of `plan`, for the same layers and the same `residual`.
        channels: keep all units apart instead of summing each place.
        contrasted: from the first signal on so many are contrasted, where the steps have a contrast.

    Returns:
        For each layer (N, K, h, w); with `channels` (N, K, *layer.shape[1:]).
    """
    if not len(p):
        return [p.new_zeros(stop.shape[0], 0, *(stop.shape[1:] if channels else grid(stop) or ())) for stop in stops]
    live = {tape.output: Flow(p)}  # the values that carry signal now
    passed = _passed(steps)
    map_only = set() if channels else set(stops) - passed  # only sums are read there, and nothing goes on from them
    read: dict[Value, Tensor] = {}
    full = autocast(p.device.type, enabled=False)  # a walk has the precision that it was asked for
    gradients = with_gradients(tape)
    with inference_mode(False), set_grad_enabled(gradients), full:  # up to torch 2.8, vjp is 0 in inference mode
        for step in steps:
            flows = {value: live.pop(value) for value in step.operation.outputs if value in live}
            for value in flows.keys() & set(stops):
                flows[value] = flows[value].shared()
                probability = flows[value].probability()
                read[value] = probability if channels else sum_to_map(probability, value)
            for value, flow in _descend(step, flows, choices, map_only, contrasted):
                if gradients and isinstance(flow, Flow):
                    flow = flow.shared()  # autograd may need what it holds: nothing may be overwritten
                if value in map_only:
                    part = flow if isinstance(flow, Tensor) else sum_to_map(flow.take(), value)
                    read[value] = read[value] + part if value in read else part
                elif isinstance(flow, Flow) and (value in passed or value in stops):
                    live[value] = live[value].plus(flow) if value in live else flow
    for stop in set(stops) - read.keys():
        probability = live[stop].take()
        read[stop] = probability if channels else sum_to_map(probability, stop)
    return [read[stop].transpose(0, 1) for stop in stops]


def _descend(
    step: Step, flows: dict[Value, Flow], choices: Choices, map_only: set[Value], contrasted: int
) -> Iterable[tuple[Value, Flow | Tensor]]:
    """One operation down: the values that receive signal, and what each receives: a map, where nothing else is read."""
    operation, rule = step.operation, step.operation.rule
    assert rule is not None, "plan refuses an operation without a rule"
    assert rule.pass_down is not None, "plan refuses an operation without a rule"
    if rule.every_output:
        return zip(operation.inputs, rule.pass_down(operation, flows), strict=True)
    flow = flows[operation.outputs[0]]
    if choices.residual == "main" and (main := main_branch(operation)):
        return [(main, sum_to(flow, main))]
    if choices.residual == "signed" and rule.joins == "sum" and len(operation.inputs) == 2:
        return zip(operation.inputs, signed_addition(operation, flow), strict=True)
    source = operation.inputs[0]
    if step.contrast:
        return zip(operation.inputs, contrast(operation, flow, contrasted, choices.bias), strict=True)
    if choices.bias == "share" and rule.with_bias is not None:
        return zip(operation.inputs, rule.with_bias(operation, flow), strict=True)
    if rule.pass_map is not None and source in map_only and is_image(source):
        map_ = rule.pass_map(operation, flow)
        if map_ is not None:
            return [(source, map_)]
    return zip(operation.inputs, rule.pass_down(operation, flow), strict=True)
