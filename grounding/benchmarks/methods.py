"""The methods that a benchmark compares, under the names that people type, and their maps at the size of a picture."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from grounding import baselines
from grounding.config import LocalizerConfig, MapConfig, load
from grounding.errors import GroundingError
from grounding.methods import METHODS, Encoding, Explanation, Method, encode
from grounding.regions.maps import bell, smooth, upsample
from grounding.tagging.classifier import TagClassifier

_PIXELS: Final = ("gradient", "guided", "deconv", "lrp")  # one value a pixel of the network's input
PIXEL_SMOOTHING: Final = 0.02  # of the longer side, for methods of `_PIXELS`: the authors' code (Caffe `util.py`)
_ACTING: Final = ("maps.stride", "maps.residual", "maps.bias", "maps.resolution")
_CENTRE_WIDTH: Final = 0.25  # of each side
_LONGER: Final = {"guided": "guided_backprop", "deconv": "deconvnet"}  # what `METHODS` calls them


@dataclass(frozen=True, slots=True)
class MapMaker:
    """Makes the maps of one method for a picture.

    Attributes:
        name: one of `names.KNOWN`.
        smoothing: width of a Gaussian in shares of the longer side; None as in the papers: `PIXEL_SMOOTHING` for
            methods that give a value for each pixel of the input, else 0.
        rise_masks: how many forward passes RISE makes.
    """

    name: str
    smoothing: float | None = None
    rise_masks: int = 4000

    def __call__(self, encoding: Encoding, signals: Tensor, config: MapConfig, height: int, width: int) -> Tensor:
        """(K, T) signals -> (K, height, width) float32 maps over the whole picture, at least 0.

        Raises:
            GroundingError: the method cannot work on this classifier; its name comes first.
        """
        try:
            maps = self.coarse(encoding, signals, config)
        except GroundingError as error:
            raise GroundingError(f"method {self.name}: {error}") from error
        fine = upsample(maps.float().cpu(), height, width)
        share = self.smoothing if self.smoothing is not None else PIXEL_SMOOTHING * (self.name in _PIXELS)
        return smooth(fine, share * max(height, width)).clamp(min=0)

    def coarse(self, encoding: Encoding, signals: Tensor, config: MapConfig) -> Tensor:
        """(K, h, w), at the resolution of the method."""
        if self.name == "center":
            return centre_map(config).expand(len(signals), -1, -1)
        return self._method()(encoding, signals, config)

    def _method(self) -> Method:
        if self.name == "grad-cam":  # at the last layer, as its paper has it, and not at that of the walk
            return Explanation(baselines.grad_cam)
        if self.name == "rise":
            return Explanation(functools.partial(baselines.rise, masks=self.rise_masks), "probabilities")
        return METHODS[_LONGER.get(self.name, self.name.replace("-", "_"))]


def centre_map(config: MapConfig) -> Tensor:
    """(h, w), a Gaussian round the centre, at the resolution of maps."""
    return bell(config.resolution, (0.5, 0.5), _CENTRE_WIDTH, _CENTRE_WIDTH)


def read_map_config(path: Path | None, overrides: Sequence[str]) -> MapConfig:
    """The layer and the resolution of maps, from a file and overrides as for a localizer.

    Raises:
        GroundingError: an override of something else, which would change nothing here; or as `load`.
    """
    for override in overrides:
        if (key := override.partition("=")[0].strip()) not in _ACTING:
            raise GroundingError(f"'{key}' changes nothing here: expected {', '.join(_ACTING)}")
    return load(LocalizerConfig, path, overrides).maps


def costs(
    makers: Sequence[MapMaker], classifier: TagClassifier, config: MapConfig
) -> Mapping[str, tuple[float, float]]:
    """What a picture costs with each method, in forward passes: with one class asked, and each further class.

    Multiplications and additions of convolutions and matrix products are counted, those of the forward pass that all
    share included, so the numbers are the same on every machine; what else a method does is not.

    Args:
        classifier: on its device; it is shown random noise.
    """
    side = classifier.preprocessing.image_size_px
    device = next(classifier.network.parameters()).device
    images = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    with _Flops() as forward, torch.no_grad():
        classifier.evidence(images)
    signals = torch.eye(len(classifier.tags))[:2]
    found = {}
    for maker in makers:
        passes = []
        for few in (signals[:1], signals):
            encoding = encode(classifier, images)
            with _Flops() as flops:
                replace(maker, rise_masks=1).coarse(encoding, few, config)
            passes.append(flops.total / forward.total)
        looks = maker.name != "center"
        more_masks = maker.rise_masks - 1 if maker.name == "rise" else 0
        found[maker.name] = (passes[0] + looks + more_masks, passes[-1] - passes[0])
    return found


class _Flops(TorchDispatchMode):
    """Counts the floating point operations of what runs inside, as PyTorch's table of formulas does."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if formula := flop_registry.get(func.overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out
