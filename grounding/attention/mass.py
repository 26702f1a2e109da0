"""Mass: the share of the winning probability that gets to a layer. Where little does, a map tells of little.

A unit whose output comes from its bias alone has Z = 0, and its winning probability is lost, as equation 10 of arXiv
1608.00507 demands. Behind trained depthwise convolutions most units are of that kind.
"""

import warnings
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from grounding.attention.graph import Value
from grounding.errors import GroundingError

LITTLE = 0.2  # a smaller mass is worth a warning
NOTHING = 1e-6  # of a smaller one, the map is rounding


Watch = Literal["each", "mean", "none"]


class LostMassWarning(UserWarning):
    """Less than a fifth of the winning probability gets to the layer that is read, or nothing of one signal."""


@dataclass(frozen=True, eq=False, slots=True)
class Reading:
    """What one walk found at one layer.

    Attributes:
        maps: what `mwp` or `contrastive_mwp` returns for this layer.
        mass: (N, K) of the dtype of the maps, from 0 to 1: the share of each signal's winning probability that gets to
            the places or units of the map; with the contrast, the mean of the shares for it and against it. Of weights
            below 0, their sizes count. (N, 1): the mean over signals. Sums shared by the signs of their parts
            (`residual="signed"`) may lead anywhere.
    """

    maps: Tensor = field(repr=False)
    mass: Tensor


def watched(p: Tensor, watch: Watch) -> Tensor:
    """What is walked beside the signals to measure the mass: their sizes, so scaled that each sums to 1.

    Args:
        p: (K, *scores.shape)
        watch: those of each signal; or only their mean, whose mass is the mean of theirs and costs less; or none.

    Returns:
        (K, 1 or 0, *scores.shape)
    """
    if watch == "none" or not len(p):
        return p.new_zeros(0, *p.shape[1:])
    sizes = p.abs()
    sums = sizes.flatten(2).sum(2).reshape(*p.shape[:2], *[1] * (p.dim() - 2))
    shares = sizes / sums.clamp(min=torch.finfo(p.dtype).tiny)  # a signal per image may be zero in one of them
    return shares if watch == "each" else shares.mean(0, keepdim=True)


def check_arrival(reading: Reading, layer: Value) -> None:
    """That maps say something.

    Raises:
        GroundingError: nothing gets to the layer.

    Warns:
        LostMassWarning: as `tell_losses`.
    """
    if reading.mass.numel() and bool((reading.mass.abs() < NOTHING).all()):
        shape = "x".join(map(str, layer.shape))
        raise GroundingError(
            f"no winning probability gets to the layer of shape {shape}: read one nearer to the scores "
            "(tape.layers() lists what gets where). If nothing gets anywhere, the classifier's weights for them are 0, "
            "as those of an untrained vision transformer of torchvision"
        )
    zero = (~reading.maps.flatten(2).any(2)).nonzero().tolist() if reading.mass.numel() else []
    if zero:
        image, signal = zero[0]
        _warn(f"the map of signal {signal} in image {image} is zero everywhere", 5)
    else:
        tell_losses(reading, 5)


def tell_losses(reading: Reading, stacklevel: int = 3) -> None:
    """Warn where less than a fifth of the winning probability got to the layer."""
    if bool((reading.mass.abs() < LITTLE).any()):
        _warn(
            "less than a fifth of the winning probability gets to the layer that is read, because many units above it "
            "are active by their bias alone; read one nearer to the scores (tape.layers() tells what gets where)",
            stacklevel + 1,
        )


def _warn(message: str, stacklevel: int) -> None:
    warnings.warn(f"little signal arrives: {message}", LostMassWarning, stacklevel)
