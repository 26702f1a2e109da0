"""The parts of a training's configuration that say where the network is to attend."""

from dataclasses import dataclass
from typing import Literal

from grounding.config import HUGE, TINY, check_limits, limited
from grounding.errors import GroundingError


@dataclass(frozen=True, slots=True)
class DgdmConfig:
    """Dropping the most discriminative channels and regions of chosen layers while training: `training.dgdm`.

    `layers` are modules of the backbone, as `network.frozen` names them; their outputs are dropped from.
    With `channels`, the `top_k` channels with the highest means are kept (None: half of them), and each other one with
    the probability `low_keep`. `spatial` is `guided` (drop mask with probability `drop_rate`, else importance map),
    `dropblock` (torchvision's, of `block_share` and `block_size`, unguided) or `none`. Thresholds are shares of
    the highest value of the attention map: from `peak_threshold` on is the peak, from `foreground_threshold` on the
    foreground, in which blocks of `block_size` cells a side are drawn so that they cover about `block_share` of it.
    """

    enabled: bool = False
    layers: tuple[str, ...] = ()
    channels: bool = True
    top_k: int | None = limited(None, 1, HUGE)
    low_keep: float = limited(0.75, 0, 1)
    spatial: Literal["guided", "dropblock", "none"] = "guided"
    drop_rate: float = limited(0.25, 0, 1)
    peak_threshold: float = limited(0.9, TINY, 1)
    foreground_threshold: float = limited(0.5, 0, 1)
    block_size: int = limited(3, 1, 1024)
    block_share: float = limited(0.1, 0, 1)

    def __post_init__(self) -> None:
        check_limits(self, "dgdm.")
        if self.enabled and not self.layers:
            raise GroundingError(
                "dgdm.enabled needs dgdm.layers: the modules of the backbone whose outputs are dropped"
            )
        if self.enabled and not self.channels and self.spatial == "none":
            raise GroundingError("dgdm.enabled with channels false and spatial none drops nothing: set one of them")


@dataclass(frozen=True, slots=True)
class GalaConfig:
    """Global and local attention in chosen layers of the network: `tagging.gala`.

    `layers` are modules of the backbone, as `network.frozen` names them; what they are given (`apply_to: input`) or
    return (`output`) is multiplied by their attention. `reduction` is that of the channels in its branches.
    """

    enabled: bool = False
    layers: tuple[str, ...] = ()
    reduction: int = limited(4, 1, 8192)
    squash: Literal["tanh", "sigmoid"] = "tanh"
    apply_to: Literal["input", "output"] = "input"

    def __post_init__(self) -> None:
        check_limits(self, "gala.")
        if self.enabled and not self.layers:
            raise GroundingError("gala.enabled needs gala.layers: the modules of the backbone that get attention")


@dataclass(frozen=True, slots=True)
class HumanMapsConfig:
    """Where people look or click in the pictures, which a map of the network is taught: `training.human_maps`.

    `source` are files or folders of `datasets.human_maps`. `teaches` says which map: that of every GALA layer, or the
    contrastive Excitation Backprop map of the picture's own tags (`excitation`). `weight` is that of the loss, which is
    computed for at most `per_batch` pictures of each batch (None: all that have a map).
    `spread` makes maps of clicks and fixations: by a Gaussian whose standard deviation is `spread_size` times the
    shorter side of the picture, by a flat disc of that diameter, applied twice (`discs`), or not at all (`none`).
    `normalisation` divides each map by its length (`unit`), or by the root of its sum (`authors`).
    """

    source: tuple[str, ...] = ()
    teaches: Literal["gala", "excitation"] = "gala"
    weight: float = limited(10.0, TINY, HUGE)
    per_batch: int | None = limited(None, 1, HUGE)
    spread: Literal["gaussian", "discs", "none"] = "gaussian"
    spread_size: float = limited(0.05, TINY, 1)
    normalisation: Literal["unit", "authors"] = "unit"

    def __post_init__(self) -> None:
        check_limits(self, "human_maps.")
