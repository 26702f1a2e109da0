"""Marginal winning probability (MWP) and its contrastive form, for K top-down signals in one walk.

Excitation Backprop, arXiv 1608.00507: section 3.2 for MWP, 3.3 for the contrast. Rules and choices: `rules`.
"""

from typing import overload

import torch
from torch import Tensor

from grounding.attention.layers import find_layer, indexed_layer, named_layer, same_signal
from grounding.attention.places import grid
from grounding.attention.tape import Tape, Value
from grounding.attention.walk import RESIDUAL, at_once, plan, walk
from grounding.errors import GroundingError

Layer = int | str


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
    if residual not in RESIDUAL:
        raise GroundingError(f"residual is '{residual}': expected 'split' or 'main'")
    if stride is not None and layer is not None:
        raise GroundingError(f"both stride {stride} and layer {layer} were given: expected one")
    several = isinstance(layer, (list, tuple))
    asked = layer if isinstance(layer, (list, tuple)) else [0 if layer is None else layer]
    stops = [find_layer(tape, stride)] if stride is not None else [_layer(tape, each) for each in asked]
    stops = [same_signal(tape, stop) for stop in stops]
    p = _expand(tape, signals, dtype)
    steps = plan(tape, stops, residual, contrast)
    for stop in stops:
        if not channels and grid(stop) is None:
            raise GroundingError(f"the layer has shape {tuple(stop.shape)}, no places: ask for channels=True")
    parts = [walk(tape, some, steps, stops, residual, channels) for some in p.split(at_once(tape, steps, channels))]
    found = tuple(torch.cat(of_layer, 1) for of_layer in zip(*parts, strict=True))
    return found if several else found[0]


def _layer(tape: Tape, layer: Layer) -> Value:
    if isinstance(layer, str):
        return named_layer(tape, layer)
    if isinstance(layer, int) and not isinstance(layer, bool):
        return indexed_layer(tape, layer)
    raise GroundingError(f"layer is a {type(layer).__name__}: expected the name of a module, or a number")


def _expand(tape: Tape, signals: Tensor, dtype: torch.dtype | None) -> Tensor:
    """The signals as (K, *output.shape), on the device of the network."""
    shape = tape.output.shape
    if len(shape) < 2:
        raise GroundingError(f"the model returned a tensor of shape {tuple(shape)}: expected scores (N, T)")
    expected = f"(K, {', '.join(map(str, shape))})" + (f" or (K, {shape[1]})" if len(shape) == 2 else "")
    if not isinstance(signals, Tensor):
        raise GroundingError(f"signals are a {type(signals).__name__}: expected a floating point tensor {expected}")
    if signals.dim() == 2 and len(shape) == 2 and signals.shape[1] == shape[1]:
        signals = signals[:, None].expand(-1, *shape)
    if signals.shape[1:] != shape or not signals.dtype.is_floating_point:
        raise GroundingError(f"signals are {tuple(signals.shape)} {signals.dtype}: expected floating point {expected}")
    if not bool(signals.isfinite().all()):
        raise GroundingError("signals hold NaN or infinity: expected finite weights")
    blank = (~signals.flatten(1).any(1)).nonzero()[:, 0].tolist() if len(signals) else []
    if blank:
        raise GroundingError(f"signal {blank[0]} is all zero: expected a weight other than 0 on at least one output")
    if dtype is None:
        dtype = torch.promote_types(torch.promote_types(signals.dtype, tape.scores.dtype), torch.float32)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise GroundingError(f"dtype is {dtype}: expected a floating point type")
    return signals.detach().to(tape.scores.device, dtype)
