"""Marginal winning probability (MWP) and its contrastive form, for K top-down signals in one walk.

Excitation Backprop, arXiv 1608.00507: section 3.2 for MWP, 3.3 for the contrast. Rules and choices: `rules`.
"""

from typing import overload

import torch
from torch import Tensor

from grounding.attention.flow import Flow
from grounding.attention.layers import classifiers, find_layer, indexed_layer, named_layer
from grounding.attention.rules import RULES, SPLITS, WEIGHTED, main_branch, sum_to, supported
from grounding.attention.tape import Operation, Tape, Value
from grounding.errors import GroundingError, UnsupportedOperationError

Layer = int | str

_RESIDUAL = ("split", "main")


@overload
def mwp(
    tape: Tape,
    signals: Tensor,
    *,
    layer: Layer | None = None,
    stride: float | None = None,
    residual: str = "split",
    channels: bool = False,
    dtype: torch.dtype | None = None,
) -> Tensor: ...
@overload
def mwp(
    tape: Tape,
    signals: Tensor,
    *,
    layer: list[Layer] | tuple[Layer, ...],
    stride: None = None,
    residual: str = "split",
    channels: bool = False,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, ...]: ...
def mwp(
    tape: Tape,
    signals: Tensor,
    *,
    layer: Layer | list[Layer] | tuple[Layer, ...] | None = None,
    stride: float | None = None,
    residual: str = "split",
    channels: bool = False,
    dtype: torch.dtype | None = None,
) -> Tensor | tuple[Tensor, ...]:
    """Marginal winning probability at one layer, or at several.

    Args:
        tape: a recorded forward pass with output (N, T).
        signals: (K, T), the same for every image, or (K, N, T). A signal that sums to 1 gives an MWP that sums to 1,
            less what falls on units that nothing excites (Z = 0).
        layer: read the output of the module of this name, or this entry of `layers(tape)`: 0 is the image, which is the
            default, -1 the classifier's input. A list reads several in one walk.
        stride: or read the layer whose sides are the image's divided by this: see `find_layer`.
        residual: `split` shares a sum in proportion to its inputs, `main` gives all to the deeper one.
        channels: keep the channels apart, or the units of a layer that has no places.
        dtype: of the walk; by default float32, or float64 where signals or network are. bfloat16 is faster on
            processors that have it, and maps move by about a hundredth.

    Returns:
        (N, K, h, w) maps, summed over channels, of `dtype` and at least 0 where the signals are. With `channels`,
        (N, K, C, h, w), or N, K and the shape of the layer behind N. A tuple of these for a list of layers.

    Raises:
        UnsupportedOperationError: an operation on the way down has no rule; nothing has been computed.
        GroundingError: signals or options that do not fit, or no such layer.
    """
    return _read(tape, signals, layer, stride, residual, channels, dtype, contrast=False)


@overload
def contrastive_mwp(
    tape: Tape,
    signals: Tensor,
    *,
    layer: Layer | None = None,
    stride: float | None = None,
    residual: str = "split",
    channels: bool = False,
    dtype: torch.dtype | None = None,
) -> Tensor: ...
@overload
def contrastive_mwp(
    tape: Tape,
    signals: Tensor,
    *,
    layer: list[Layer] | tuple[Layer, ...],
    stride: None = None,
    residual: str = "split",
    channels: bool = False,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, ...]: ...
def contrastive_mwp(
    tape: Tape,
    signals: Tensor,
    *,
    layer: Layer | list[Layer] | tuple[Layer, ...] | None = None,
    stride: float | None = None,
    residual: str = "split",
    channels: bool = False,
    dtype: torch.dtype | None = None,
) -> Tensor | tuple[Tensor, ...]:
    """MWP less the MWP of the dual signal, whose classifier has the weights -W; signed.

    The difference is taken at the input of the classifier, the last operation with weights, and carried down in the
    same walk: every rule is linear in the signal. Each signal's map sums to 0, less what falls on units with Z = 0; the
    paper's attention map is what is above 0 of it.

    Args, returns and errors are those of `mwp`; with neither `layer` nor `stride`, it reads stride 16.

    Raises:
        GroundingError: also a layer that lies above the input of the classifier.
    """
    stride = 16 if layer is None and stride is None else stride
    return _read(tape, signals, layer, stride, residual, channels, dtype, contrast=True)


def _read(
    tape: Tape,
    signals: Tensor,
    layer: Layer | list[Layer] | tuple[Layer, ...] | None,
    stride: float | None,
    residual: str,
    channels: bool,
    dtype: torch.dtype | None,
    contrast: bool,
) -> Tensor | tuple[Tensor, ...]:
    if residual not in _RESIDUAL:
        raise GroundingError(f"residual is '{residual}': expected 'split' or 'main'")
    if stride is not None and layer is not None:
        raise GroundingError(f"both stride {stride:g} and layer {layer} were given: expected one")
    several = isinstance(layer, (list, tuple))
    asked = layer if isinstance(layer, (list, tuple)) else [0 if layer is None else layer]
    stops = [find_layer(tape, stride)] if stride is not None else [_layer(tape, each) for each in asked]
    p = _expand(tape, signals, dtype)
    ends = classifiers(tape)
    plan = _plan(tape, stops, residual)
    for stop, name in zip(stops, asked, strict=True) if contrast else ():
        if stop not in _below(plan, ends):
            raise GroundingError(
                f"layer '{name}' lies above the contrast: read the classifier's input or a layer below it"
            )
    found = tuple(_result(flow, channels) for flow in _walk(tape, p, plan, stops, residual, ends if contrast else []))
    return found if several else found[0]


def _layer(tape: Tape, layer: Layer) -> Value:
    return named_layer(tape, layer) if isinstance(layer, str) else indexed_layer(tape, layer)


def _result(flow: Flow, channels: bool) -> Tensor:
    """What the caller gets of one layer."""
    if channels:
        return flow.probability().transpose(0, 1)
    if flow.ratio.dim() != 5:
        raise GroundingError(
            f"the layer has shape {tuple(flow.ratio.shape[1:])}, no places: read another, or ask for channels=True"
        )
    return flow.probability().sum(2).transpose(0, 1)


def _walk(
    tape: Tape, p: Tensor, plan: list[Operation], stops: list[Value], residual: str, contrasted: list[Operation]
) -> list[Flow]:
    """The flows at the layers to read."""
    if not len(p):
        return [Flow(p.new_zeros(0, *stop.shape)) for stop in stops]
    live = {tape.output: Flow(p)}  # the values that carry signal now
    found: dict[Value, Flow] = {}
    needed = {value for operation in plan for value in operation.outputs}.union(stops)
    with torch.no_grad():
        for operation in plan:
            flows = {made: live.pop(made) for made in operation.outputs if made in live}
            for made in flows.keys() & set(stops):
                found[made] = flows[made] = flows[made].shared()
            for value, share in _step(operation, flows, residual, operation in contrasted):
                if value in needed:
                    live[value] = live[value].plus(share) if value in live else share
    return [found[stop] if stop in found else live[stop] for stop in stops]


def _step(operation: Operation, flows: dict[Value, Flow], residual: str, contrast: bool) -> list[tuple[Value, Flow]]:
    """One operation down: the values that receive signal, and what each receives."""
    assert operation.overload is not None
    if operation.overload in SPLITS:
        return list(zip(operation.inputs, SPLITS[operation.overload](operation, flows), strict=True))
    flow = flows[operation.outputs[0]]
    if residual == "main" and (main := main_branch(operation)):
        return [(main, sum_to(flow, main))]
    if contrast:
        weighted, flow = WEIGHTED[operation.overload], flow.shared()
        (ours,), (dual,) = weighted(operation, flow), weighted(operation, flow, negate=True)
        return [(operation.inputs[0], Flow(ours.ratio.sub_(dual.ratio), ours.activation, own=True))]
    return list(zip(operation.inputs, RULES[operation.overload](operation, flow), strict=True))


def _expand(tape: Tape, signals: Tensor, dtype: torch.dtype | None) -> Tensor:
    """The signals as (K, *output.shape), on the device of the network."""
    shape = tape.output.shape
    if signals.dim() == 2 and len(shape) == 2 and signals.shape[1] == shape[1]:
        signals = signals[:, None].expand(-1, *shape)
    if signals.shape[1:] != shape or not signals.dtype.is_floating_point:
        raise GroundingError(
            f"signals are {tuple(signals.shape)} {signals.dtype}: expected floating point (K, {shape[-1]}) "
            f"or (K, {', '.join(map(str, shape))})"
        )
    if not bool(signals.isfinite().all()):
        raise GroundingError("signals hold NaN or infinity: expected finite weights")
    for k in (~signals.flatten(1).any(1)).nonzero()[:, 0].tolist() if len(signals) else ():
        raise GroundingError(f"signal {k} is all zero: expected a weight other than 0 on at least one output")
    if dtype is None:
        dtype = torch.promote_types(torch.promote_types(signals.dtype, tape.scores.dtype), torch.float32)
    if not dtype.is_floating_point:
        raise GroundingError(f"dtype is {dtype}: expected a floating point type")
    return signals.detach().to(tape.scores.device, dtype)


def _receivers(operation: Operation, residual: str) -> tuple[Value, ...]:
    main = main_branch(operation) if residual == "main" else None
    return (main,) if main else operation.inputs


def _plan(tape: Tape, stops: list[Value], residual: str) -> list[Operation]:
    """The operations between the output and the layers to read, from the output down.

    Raises:
        UnsupportedOperationError: one of them has no rule.
        GroundingError: no signal gets to a layer.
    """
    above = set(stops)  # the values that signal gets to the layers through
    for operation in tape.operations:
        if not above.isdisjoint(_receivers(operation, residual)):
            above.update(operation.outputs)
    live, plan = {tape.output} & above, []
    for operation in reversed(tape.operations):
        reached = live.intersection(operation.outputs)
        onward = above.intersection(_receivers(operation, residual))
        if not reached or not onward:
            continue
        if not supported(operation) or (operation.overload not in SPLITS and reached != {operation.outputs[0]}):
            kinds = ", ".join("x".join(map(str, value.shape)) for value in operation.inputs)
            raise UnsupportedOperationError(
                f"{operation.name} of ({kinds}) has no Excitation Backprop rule: "
                "read a layer above it, or use a network without it"
            )
        live |= onward
        plan.append(operation)
    if not live.issuperset(stops):
        raise GroundingError("the layer is on no way that the signal takes from the scores down: read another")
    return plan


def _below(plan: list[Operation], ends: list[Operation]) -> set[Value]:
    """The values that the difference of the contrast gets to."""
    found: set[Value] = set()
    for operation in plan:
        if operation in ends or not found.isdisjoint(operation.outputs):
            found.update(operation.inputs)
    return found
