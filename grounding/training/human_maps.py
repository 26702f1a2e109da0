"""Where people look, as what a map of the network is taught; and the loss between the two.

Linsley et al., *Learning what and where to attend* (arXiv 1805.08819), teach the attention of GALA layers so. That the
Excitation Backprop map itself is taught is our own addition.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from grounding.attention.excitation import contrastive_mwp
from grounding.attention.recorder import record
from grounding.datasets.human_maps import read_human_maps
from grounding.datasets.map_cells import Spread
from grounding.datasets.webimages import CaptionedImages
from grounding.tagging.network import TagNetwork
from grounding.training.attention_config import HumanMapsConfig
from grounding.training.augmentation import crop_scores
from grounding.training.batches import Batch
from grounding.wording import counted

_TINY = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class HumanTargets:
    """Human maps of the pictures of a training.

    Attributes:
        maps: (M, S, S) float32, at least 0, each over a whole picture.
        rows: (N,) int64, for each picture its place in `maps`; -1 where it has none.
        left_out: what of the sources is not used, and why -> how many.
    """

    maps: Tensor
    rows: Tensor
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """A line for people: how many pictures have a map, and what was left out."""
        left_out = ", ".join(f"{reason}: {count:,}" for reason, count in self.left_out.items())
        have = f"{len(self.maps):,} of {counted(len(self.rows), 'picture')} have a human map"
        return have + (f" (left out: {left_out})" if left_out else "")

    @property
    def fingerprint(self) -> str:
        """The same for the same maps of the same pictures."""
        content = self.rows.numpy().tobytes() + self.maps.numpy().tobytes()
        return f"{len(self.maps)} human maps, {hashlib.sha256(content).hexdigest()[:16]}"

    def taught(self, batch: Batch, most: int | None = None) -> Tensor:
        """(B,) bool, which pictures of a batch have a map; of more than `most`, the first."""
        known = self.rows[batch.seen] >= 0
        return known if most is None else known & (known.cumsum(0) <= most)

    def of(self, batch: Batch, taught: Tensor) -> Tensor:
        """(M, 1, S, S): the maps of these pictures of a batch, M > 0, cropped and flipped as they are."""
        maps = self.maps[self.rows[batch.seen[taught]]][:, None]
        return crop_scores(maps, batch.crops[taught], batch.flipped[taught], maps.shape[-1])


def read_targets(config: HumanMapsConfig, images: CaptionedImages) -> HumanTargets:
    """Read the human maps of the pictures of a training; of a picture with several, from the last source that has one.

    Raises:
        GroundingError: as `datasets.human_maps.read_human_maps`.
    """
    spread = Spread(config.spread, config.spread_size)
    places = {name: place for place, name in enumerate(images.ids)}
    maps: dict[int, Tensor] = {}
    left_out: Counter[str] = Counter()
    for source in config.source:
        found = read_human_maps(
            Path(source).expanduser(), images.ids, lambda name: images.size_of(places[name]), spread
        )
        maps |= {places[name]: torch.from_numpy(map_) for name, map_ in found.maps.items()}
        left_out.update(found.left_out)
    rows = torch.full((len(images),), -1, dtype=torch.int64)
    rows[list(maps)] = torch.arange(len(maps))
    return HumanTargets(torch.stack(list(maps.values())), rows, left_out)


def human_map_loss(maps: Tensor, human: Tensor, normalisation: Literal["unit", "authors"]) -> Tensor:
    """The mean over pictures of half the squared distance between normalised maps.

    With `unit`, each map is divided by its Euclidean length: equal maps have loss 0 whatever their scale, and the loss
    is at most 1. With `authors`, by the root of its sum, as gala_tpu's `resnet_main.py` has it; there the sum over a
    batch is taken, of 1024 pictures, with weight 1e-5.

    Args:
        maps: (M, h, w), at least 0; M at least 1.
        human: (M, 1, S, S), at least 0; averaged to (h, w).
    """
    height, width = maps.shape[1:]
    people = adaptive_avg_pool2d(human, (height, width))[:, 0]  # (M, h, w)
    distance = _normalised(maps.float(), normalisation) - _normalised(people, normalisation)
    return distance.square().sum((1, 2)).mean() / 2


def _normalised(maps: Tensor, normalisation: Literal["unit", "authors"]) -> Tensor:
    size = maps.square().sum((1, 2)) if normalisation == "unit" else maps.sum((1, 2))
    return maps / size.clamp(min=_TINY).sqrt()[:, None, None]


def gala_loss(attentions: Sequence[Tensor], human: Tensor, normalisation: Literal["unit", "authors"]) -> Tensor:
    """The mean over GALA layers of `human_map_loss`.

    Args:
        attentions: of each layer (M, C, h, w); its map is the mean over channels of the squares.
        human: (M, 1, S, S).
    """
    maps = [attention.float().square().mean(1) for attention in attentions]
    return torch.stack([human_map_loss(map_, human, normalisation) for map_ in maps]).mean()


def excitation_maps(network: TagNetwork, images: Tensor, targets: Tensor, layer: int | str | None) -> Tensor:
    """The contrastive Excitation Backprop maps of the pictures' own tags, with gradient.

    The network is recorded in evaluation mode, as it will be used, and left in the mode that it had.

    Args:
        images: (M, 3, S, S), normalised.
        targets: (M, T), at least 0: the top-down signal of each picture is this, scaled to sum 1.
        layer: where the map is read, as `contrastive_mwp` has it; None for stride 16.

    Returns:
        (M, h, w) float32, at least 0.
    """
    training = network.training
    network.eval()
    try:
        tape = record(lambda images: network.mean_scores(network.features(images)), images, differentiable=True)
    finally:
        network.train(training)
    signals = targets / targets.sum(1, keepdim=True).clamp(min=_TINY)
    maps = contrastive_mwp(tape, signals[None], layer=layer)  # (M, 1, h, w)
    return maps[:, 0].clamp(min=0)
