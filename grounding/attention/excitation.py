"""Marginal winning probability (MWP) and its contrastive form, for K top-down signals in one walk.

Excitation Backprop, arXiv 1608.00507: section 3.2 for MWP, 3.3 for the contrast. Rules and choices: `rules.table`.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from grounding.attention.choices import Choices
from grounding.attention.graph import Tape, Value
from grounding.attention.layers import find_layer, given_value, indexed_layer, named_layer, same_signal
from grounding.attention.mass import Reading, Watch, check_arrival, watched
from grounding.attention.signals import Signals, expand_signals
from grounding.attention.spatial import grid
from grounding.attention.walk import at_once, check_biases, plan, walk, with_gradients
from grounding.errors import GroundingError

Layer = int | str | Value

DEFAULT_STRIDE = 16  # where contrastive maps are read, in image pixels


def mwp(
    tape: Tape,
    signals: Signals,
    *,
    layer: Layer | None = None,
    stride: float | None = None,
    residual: str = "split",
    bias: str = "none",
    channels: bool = False,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Marginal winning probability at one layer.

    Args:
        tape: a recorded forward pass with scores (N, T).
        signals: (K, T), the same for every image, or (K, N, T). A signal that sums to 1 gives an MWP that sums to 1,
            less what falls on units that nothing excites (Z = 0). Or K classes, `[5, 6]`, or by the names that `record`
            was given; `[[5, 6]]` are K = 1 classes for N = 2 images.
        layer: read the output of the module of this name, or of this end of a name; the input of this name; or this
            entry of `layers(tape)`: 0 is the image, which is the default (of several inputs the first (N, C, H, W)), -1
            the classifier's input; or a value of the tape, such as `tape.inputs[1]`. `tape.layers()` prints them.
        stride: or read the layer whose sides are the image's divided by this: see `find_layer`.
        residual: `split` shares a sum of two activations among those that have its sign, in proportion; `signed`
            gives each P * x_i / (x_1 + x_2) whatever their signs, as the authors' code does; `main` gives all to the
            deeper one.
        bias: `none` gives biases nothing, as the paper; `share` counts them in Z = W+ x + b+, with batch normalisation
            folded in, so that less passes down. Of the dual unit, the bias is -b.
        channels: keep the channels apart, or the units of a layer that has no places.
        dtype: of the walk; by default float32, or float64 where signals or network are. bfloat16 is faster on
            processors that have it, and maps move by about a hundredth.

    Returns:
        (N, K, h, w) maps, or (N, K, t, h, w) of films, summed over channels, of `dtype`, at least 0 where the signals
        are. With `channels`, (N, K, C, h, w), or N, K and the shape of the layer behind N. Of a differentiable tape,
        where gradients are on, they have a gradient by the inputs, the weights and the signals.

    Raises:
        UnsupportedOperationError: an operation on the way down has no rule, or no gradient that a differentiable tape
            needs; nothing has been computed.
        GroundingError: signals or options that do not fit, no such layer, or one that nothing gets to.

    Warns:
        LostMassWarning: little of the winning probability gets to the layer, or nothing of one signal (see `mass`).
    """
    return _maps(
        tape, signals, [_one_layer(tape, layer, stride)], Choices(residual, bias), channels, dtype, contrast=False
    )[0]


def mwp_at(
    tape: Tape,
    signals: Signals,
    layers: Sequence[Layer],
    *,
    residual: str = "split",
    bias: str = "none",
    channels: bool = False,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, ...]:
    """`mwp` at several layers, in one walk.

    Args:
        tape: a recorded forward pass with scores (N, T).
        signals: (K, T), (K, N, T), or K classes, as in `mwp`.
        layers: names of modules, entries of `layers(tape)` or values of the tape, as `layer` of `mwp`.
        residual: as of `mwp`.
        bias: as of `mwp`.
        channels: keep the channels apart, as in `mwp`.
        dtype: of the walk, as of `mwp`.

    Returns:
        For each layer, what `mwp` gives there.

    Raises:
        UnsupportedOperationError: as of `mwp`.
        GroundingError: as of `mwp`.
    """
    return _maps(tape, signals, _layers(tape, layers), Choices(residual, bias), channels, dtype, contrast=False)


def contrastive_mwp(
    tape: Tape,
    signals: Signals,
    *,
    layer: Layer | None = None,
    stride: float | None = None,
    residual: str = "split",
    bias: str = "none",
    channels: bool = False,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """MWP less the MWP of the dual signal, whose classifier has the weights -W; signed.

    The difference is taken at the input of the classifier, the last operation with weights (`contrast.contrast`), and
    carried down in the same walk: every rule is linear in the signal. Each signal's map sums to 0, less what falls on
    units with Z = 0; the paper's attention map is what is above 0 of it.

    Args:
        tape: a recorded forward pass with scores (N, T).
        signals: (K, T), the same for every image, or (K, N, T); or K classes, by number or by name, as in `mwp`.
        layer: where the map is read, as in `mwp`.
        stride: or read the layer whose sides are the image's divided by this; 16 where neither is given.
        residual: as of `mwp`.
        bias: as of `mwp`.
        channels: keep the channels apart, as in `mwp`.
        dtype: of the walk, as of `mwp`.

    Returns:
        (N, K, h, w) maps, signed, or (N, K, t, h, w) of films, summed over channels, of `dtype`; with `channels`, as
        `mwp` gives them.

    Raises:
        UnsupportedOperationError: an operation on the way down has no rule; nothing has been computed.
        GroundingError: as of `mwp`; also a layer that lies above the input of the classifier.

    Warns:
        LostMassWarning: little of the winning probability gets to the layer, or nothing of one signal (see `mass`).
    """
    stride = DEFAULT_STRIDE if layer is None and stride is None else stride
    return _maps(
        tape, signals, [_one_layer(tape, layer, stride)], Choices(residual, bias), channels, dtype, contrast=True
    )[0]


def contrastive_mwp_at(
    tape: Tape,
    signals: Signals,
    layers: Sequence[Layer],
    *,
    residual: str = "split",
    bias: str = "none",
    channels: bool = False,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, ...]:
    """`contrastive_mwp` at several layers, in one walk.

    Args:
        tape: a recorded forward pass with scores (N, T).
        signals: (K, T), (K, N, T), or K classes, as in `mwp`.
        layers: names of modules, entries of `layers(tape)` or values of the tape, as `layer` of `mwp`.
        residual: as of `mwp`.
        bias: as of `mwp`.
        channels: keep the channels apart, as in `mwp`.
        dtype: of the walk, as of `mwp`.

    Returns:
        For each layer, what `contrastive_mwp` gives there.

    Raises:
        UnsupportedOperationError: as of `mwp`.
        GroundingError: as of `contrastive_mwp`.
    """
    return _maps(tape, signals, _layers(tape, layers), Choices(residual, bias), channels, dtype, contrast=True)


def readings(
    tape: Tape,
    signals: Signals,
    layers: Sequence[Layer],
    *,
    contrast: bool = True,
    residual: str = "split",
    bias: str = "none",
    channels: bool = False,
    dtype: torch.dtype | None = None,
    watch: Watch = "each",
) -> tuple[Reading, ...]:
    """The maps of `contrastive_mwp_at`, or without `contrast` of `mwp_at`, each with the mass that got to its layer.

    Measured of each signal, it takes as long as twice as many signals would; of their mean, as one more. A layer that
    nothing gets to is no error here, nor worth a warning.

    Args:
        tape: a recorded forward pass with scores (N, T).
        signals: (K, T), (K, N, T), or K classes, as in `mwp`.
        layers: names of modules, entries of `layers(tape)` or values of the tape, as `layer` of `mwp`.
        contrast: whether the maps are contrastive.
        residual: as of `mwp`.
        bias: as of `mwp`.
        channels: keep the channels apart, as in `mwp`.
        dtype: of the walk, as of `mwp`.
        watch: whose mass is measured: `each` signal's, that of their `mean`, or `none`.

    Returns:
        For each layer its maps and what arrives there.

    Raises:
        UnsupportedOperationError: as of `mwp`.
        GroundingError: as of `contrastive_mwp_at`.
    """
    return _read(tape, signals, _layers(tape, layers), Choices(residual, bias), channels, dtype, contrast, watch)


def _maps(
    tape: Tape,
    signals: Signals,
    stops: list[Value],
    choices: Choices,
    channels: bool,
    dtype: torch.dtype | None,
    contrast: bool,
) -> tuple[Tensor, ...]:
    """The maps of the signals at each of the layers, which say something."""
    watch: Watch = "none" if with_gradients(tape) else "mean"
    found = _read(tape, signals, stops, choices, channels, dtype, contrast, watch)
    for reading, stop in zip(found, stops, strict=True):
        check_arrival(reading, stop)
    return tuple(reading.maps for reading in found)


def _read(
    tape: Tape,
    signals: Signals,
    stops: list[Value],
    choices: Choices,
    channels: bool,
    dtype: torch.dtype | None,
    contrast: bool,
    watch: Watch,
) -> tuple[Reading, ...]:
    """The maps of the signals at each of the layers, with what arrives of each signal, of their mean, or of none."""
    stops = [same_signal(tape, stop) for stop in stops]
    p = expand_signals(signals, tape.scores, dtype, tape.names)  # (K, *scores.shape)
    p = p if with_gradients(tape) else p.detach()
    steps = plan(tape, stops, choices.residual, contrast)
    if choices.bias == "share":
        check_biases(steps)
    for stop in stops:
        if not channels and grid(stop) is None:
            lost = f"above {stop.lost_at} it is unknown where the places are" if stop.lost_at else "no places"
            raise GroundingError(f"the layer has shape {tuple(stop.shape)}, {lost}: ask for channels=True")
    rows, count = torch.cat([p, watched(p, watch)]), len(p)
    groups = max(1, round(len(rows) / at_once(tape, steps, channels)))  # of equal size: each makes W+ and Z again
    group = max(1, math.ceil(len(rows) / groups))
    parts = [
        walk(tape, rows[at : at + group], steps, stops, choices, channels, contrasted=max(0, count - at))
        for at in range(0, max(1, len(rows)), group)
    ]
    found = [torch.cat(of_layer, 1) for of_layer in zip(*parts, strict=True)]
    return tuple(Reading(maps[:, :count], maps[:, count:].flatten(2).sum(2)) for maps in found)


def _one_layer(tape: Tape, layer: Layer | None, stride: float | None) -> Value:
    if stride is not None and layer is not None:
        raise GroundingError(f"both stride {stride} and layer {layer} were given: expected one")
    return find_layer(tape, stride) if stride is not None else _layer(tape, 0 if layer is None else layer)


def _layers(tape: Tape, layers: Sequence[Layer]) -> list[Value]:
    if isinstance(layers, str) or not isinstance(layers, Sequence):
        raise GroundingError(f"layers are {layers!r}: expected a list of names of modules, or of numbers")
    return [_layer(tape, layer) for layer in layers]


def _layer(tape: Tape, layer: Layer) -> Value:
    if isinstance(layer, str):
        return named_layer(tape, layer)
    if isinstance(layer, int) and not isinstance(layer, bool):
        return indexed_layer(tape, layer)
    if isinstance(layer, Value):
        return given_value(tape, layer)
    raise GroundingError(
        f"layer is a {type(layer).__name__}: expected the name of a module, or a number (several: mwp_at)"
    )
