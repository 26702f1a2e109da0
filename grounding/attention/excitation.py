"""Marginal winning probability (MWP) and its contrastive form, for K top-down signals in one walk.

Excitation Backprop, arXiv 1608.00507: section 3.2 for MWP, 3.3 for the contrast. Rules and choices: `rules`.
"""

import math

import torch
from torch import Tensor

from grounding.attention.rules import RULES, WEIGHTED, main_branch, sum_to, supported
from grounding.attention.tape import Operation, Tape, Value
from grounding.errors import GroundingError, UnsupportedOperationError

_RESIDUAL = ("split", "main")


def mwp(
    tape: Tape, signals: Tensor, *, stride: float | None = None, layer: int | None = None, residual: str = "split"
) -> Tensor:
    """Marginal winning probability at one layer.

    Args:
        tape: a recorded forward pass with output (N, T).
        signals: (K, T), the same for every image, or (K, N, T). A signal that sums to 1 gives an MWP that sums to 1,
            less what falls on units that nothing excites (Z = 0).
        stride: read the layer whose sides are the image's divided by this: see `find_layer`.
        layer: or read this entry of `layers(tape)`: 0 is the image, which is the default, -1 the classifier's input.
        residual: `split` shares a sum in proportion to its inputs, `main` gives all to the deeper one.

    Returns:
        (K, N, C, h, w), or the shape of the layer behind K; float32, or float64 where signals or network are. At least
        0 where the signals and the layers' inputs are.

    Raises:
        UnsupportedOperationError: an operation on the way down has no rule; nothing has been computed.
        GroundingError: signals or options that do not fit, or no layer of that stride.
    """
    return _walk(tape, signals, stride, layer, residual, contrast=False)


def contrastive_mwp(
    tape: Tape,
    signals: Tensor,
    *,
    stride: float | None = 16,
    layer: int | None = None,
    residual: str = "split",
) -> Tensor:
    """MWP less the MWP of the dual signal, whose classifier has the weights -W; signed.

    The difference is taken at the input of the classifier, the last operation with weights, and carried down in the
    same walk: every rule is linear in the signal. Each signal's map sums to 0, less what falls on units with Z = 0.

    Args, returns and errors are those of `mwp`, with a layer of stride 16 by default; `layer` goes before `stride`.
    """
    return _walk(tape, signals, None if layer is not None else stride, layer, residual, contrast=True)


def attention_maps(contrastive: Tensor) -> Tensor:
    """(K, N, C, h, w) contrastive MWP -> (K, N, h, w) word maps, at least 0: channels summed, then clamped."""
    return contrastive.sum(2).clamp(min=0)


def layers(tape: Tape) -> list[Value]:
    """The layers that the whole signal passes through, from the image to the classifier's input.

    Such a layer is a cut of the graph: every way from the classifier to the image goes through it. Inside a residual
    block or an inception module there is none.

    Raises:
        GroundingError: no operation with weights, or several side by side, made the output.
    """
    return _descend(tape)[1][::-1]


def find_layer(tape: Tape, stride: float) -> Value:
    """The layer to read at this stride: by the ratio of sides the closest of `layers`, nearest the image among equals.

    For torchvision's networks that is the paper's choice: pool4 of VGG16 and the first block of ResNet-50's layer3 at
    stride 16, pool2 of GoogLeNet at stride 8. The ratio may be off by a factor of up to the square root of 2.

    Raises:
        GroundingError: no layer comes that close.
    """
    if not stride > 0:
        raise GroundingError(f"stride is {stride}: expected a number of image pixels above 0")
    height, width = tape.inputs[0].shape[-2:]
    found: tuple[float, Value] | None = None
    strides: list[str] = []
    for value in layers(tape):
        if len(value.shape) != 4 or 0 in value.shape:
            continue
        actual = math.sqrt(height / value.shape[2] * width / value.shape[3])
        strides.append(f"{actual:.3g}")
        distance = abs(math.log(actual / stride))
        if found is None or distance < found[0] - 1e-6:
            found = (distance, value)
    if found is None or found[0] > math.log(2) / 2 + 1e-6:
        raise GroundingError(
            f"no layer of the network has stride {stride:g}: expected one of {', '.join(dict.fromkeys(strides))}"
        )
    return found[1]


def _walk(
    tape: Tape, signals: Tensor, stride: float | None, layer: int | None, residual: str, contrast: bool
) -> Tensor:
    if residual not in _RESIDUAL:
        raise GroundingError(f"residual is '{residual}': expected 'split' or 'main'")
    p = _expand(tape, signals)
    classifier = _descend(tape)[0]
    stop = _stop(tape, stride, layer)
    plan = _plan(tape, stop, residual)
    if not len(p):
        return p.new_zeros(0, *stop.shape)
    live = {tape.output: p}  # the values that carry signal now
    with torch.no_grad():
        for operation in plan:
            p = live.pop(operation.outputs[0])
            for value, share in zip(*_step(operation, p, residual, contrast and operation is classifier), strict=True):
                live[value] = live[value] + share if value in live else share
    return live[stop]


def _step(operation: Operation, p: Tensor, residual: str, contrast: bool) -> tuple[tuple[Value, ...], list[Tensor]]:
    """One operation down: the values that receive signal, and what each receives."""
    assert operation.overload is not None
    if residual == "main" and (main := main_branch(operation)):
        return (main,), [sum_to(p, main)]
    if contrast:
        weighted = WEIGHTED[operation.overload]
        return operation.inputs, [weighted(operation, p)[0] - weighted(operation, p, negate=True)[0]]
    return operation.inputs, list(RULES[operation.overload](operation, p))


def _expand(tape: Tape, signals: Tensor) -> Tensor:
    """The signals as (K, *output.shape), on the device of the network and at least float32."""
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
    dtype = torch.promote_types(torch.promote_types(signals.dtype, tape.scores.dtype), torch.float32)
    return signals.detach().to(tape.scores.device, dtype)


def _descend(tape: Tape) -> tuple[Operation, list[Value]]:
    """The classifier, and the cuts of the graph from its input to the image."""
    live = {tape.output}
    classifier: Operation | None = None
    cuts: list[Value] = []
    for operation in reversed(tape.operations):
        if live.isdisjoint(operation.outputs):
            continue
        if classifier is None and operation.overload in WEIGHTED:
            if len(live) > 1:
                raise GroundingError("several layers side by side make the output: expected one classifier at the end")
            classifier = operation
        live.difference_update(operation.outputs)
        live.update(operation.inputs)
        if classifier is not None and len(live) == 1:
            cuts.append(next(iter(live)))
    if classifier is None:
        raise GroundingError("no convolution or linear layer lies between the inputs and the output")
    return classifier, cuts


def _stop(tape: Tape, stride: float | None, layer: int | None) -> Value:
    if stride is not None and layer is not None:
        raise GroundingError(f"both stride {stride:g} and layer {layer} were given: expected one")
    if stride is not None:
        return find_layer(tape, stride)
    found = layers(tape)
    index = 0 if layer is None else layer
    if not -len(found) <= index < len(found):
        raise GroundingError(f"layer is {index}: the network has {len(found)} layers, 0 the image and -1 the last")
    return found[index]


def _plan(tape: Tape, stop: Value, residual: str) -> list[Operation]:
    """The operations to walk, from the output down. Raises before anything is computed."""
    live, plan = {tape.output}, []
    for operation in reversed(tape.operations):
        if live == {stop}:
            break
        reached = live.intersection(operation.outputs)
        if not reached:
            continue
        if not supported(operation) or reached != {operation.outputs[0]}:
            kinds = ", ".join("x".join(map(str, value.shape)) for value in operation.inputs)
            raise UnsupportedOperationError(
                f"{operation.name} of ({kinds}) has no Excitation Backprop rule: "
                "read a layer above it, or use a network without it"
            )
        main = main_branch(operation) if residual == "main" else None
        live -= reached
        live.update((main,) if main else operation.inputs)
        plan.append(operation)
    assert live == {stop}, "the layer to read is no cut of the graph"
    return plan
