"""Dropping channels and regions while training, so that a network learns more of an object than what tells it best.

Yin et al., *Dual-attention Guided Dropblock Module for Weakly Supervised Object Localization* (DGDM, arXiv 2003.04719),
after its abstract and its figure. Its numbers (how many channels, which thresholds, blocks and layers) could not be
read. Of the defaults here and in `attention_config.DgdmConfig`, `low_keep` and `drop_rate` were chosen on held-out
train photographs of CUB (docs/results/attention.md); `peak_threshold` is that of ADL, and the others are ours.

Nothing has parameters, and nothing is in a network's state dict: `dropping` applies the modules from outside.
"""

import contextlib
import copy
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, pad
from torchvision.ops import DropBlock2d

from grounding.errors import GroundingError, did_you_mean
from grounding.training.attention_config import DgdmConfig


class ChannelAttentionDropout(nn.Module):
    """CAGD, channel attention guided dropout; identity in evaluation mode.

    The attention of a channel is its global average. The channels with the largest are kept, as important ones; so is
    each other one at random, so that it may grow.

    Args:
        top_k: how many are important; None for half of the channels.
        low_keep: the probability with which each other one is kept.
    """

    def __init__(self, top_k: int | None = None, low_keep: float = 0.75) -> None:
        super().__init__()
        self.top_k, self.low_keep = top_k, low_keep

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, h, w), the dropped channels 0.

        Raises:
            GroundingError: fewer channels than `top_k`.
        """
        return features * self.mask(features) if self.training else features

    @torch.no_grad()
    def mask(self, features: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, 1, 1), 1 for the channels to keep and 0 for others; of equals the first are kept."""
        count = features.shape[1]
        top_k = -(-count // 2) if self.top_k is None else self.top_k
        if top_k > count:
            raise GroundingError(f"dgdm.top_k is {top_k}: expected at most the {count} channels of the layer")
        order = features.mean((2, 3)).abs().argsort(dim=1, stable=True, descending=True)  # (N, C)
        low = torch.rand(len(features), count - top_k, device=features.device) < self.low_keep
        kept = torch.ones(len(features), count, dtype=features.dtype, device=features.device)
        kept.scatter_(1, order[:, top_k:], low.to(features.dtype))
        return kept[:, :, None, None]


class SpatialAttentionDropBlock(nn.Module):
    """SAGD, spatial attention guided dropblock; identity in evaluation mode.

    The self-attention map is the mean over channels, its sigmoid the importance map. A coin for the batch chooses what
    multiplies the features: the importance map, or the drop mask. That is 0 at the peak of the attention map and in
    contiguous blocks that are drawn, as DropBlock does (arXiv 1810.12890), round places of the foreground. The
    background is not dropped: nothing is to be learnt there.

    With `block_share` 0 this is ADL (arXiv 1908.10028), whose published `drop_rate` is 0.75 and `peak_threshold` 0.9.

    Args:
        drop_rate: the probability of the drop mask.
        peak_threshold: share of the map's maximum from which on a place is of the peak.
        foreground_threshold: share of the map's maximum from which on a place is of the foreground.
        block_size: side of a block in cells.
        block_share: the area of all blocks, overlaps counted again, expected as a share of the foreground.
    """

    def __init__(
        self,
        drop_rate: float = 0.25,
        peak_threshold: float = 0.9,
        foreground_threshold: float = 0.5,
        block_size: int = 3,
        block_share: float = 0.1,
    ) -> None:
        super().__init__()
        self.drop_rate, self.peak_threshold, self.foreground_threshold = drop_rate, peak_threshold, foreground_threshold
        self.block_size, self.block_share = block_size, block_share

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, h, w).

        Raises:
            GroundingError: a block is larger than the map.
        """
        if not self.training:
            return features
        attention = features.mean(1, keepdim=True)  # (N, 1, h, w)
        if torch.rand(()).item() < self.drop_rate:
            return features * self.drop_mask(attention)
        return features * attention.sigmoid()

    @torch.no_grad()
    def drop_mask(self, attention: Tensor) -> Tensor:
        """(N, 1, h, w) -> (N, 1, h, w), 0 at the peak and in the blocks, 1 elsewhere."""
        highest = attention.amax((2, 3), keepdim=True)
        dropped = (attention >= self.peak_threshold * highest) & (attention > 0)
        if self.block_share:
            dropped |= self.blocks(attention >= self.foreground_threshold * highest)
        return (~dropped).to(attention.dtype)

    @torch.no_grad()
    def blocks(self, foreground: Tensor) -> Tensor:
        """(N, 1, h, w) bool -> (N, 1, h, w) bool: whole blocks round random places of the foreground."""
        size, (height, width) = self.block_size, foreground.shape[2:]
        if size > min(height, width):
            raise GroundingError(f"dgdm.block_size is {size}: expected at most the {width} x {height} cells of the map")
        before, beyond = size // 2, size - 1 - size // 2
        centres = foreground[:, :, before : height - beyond, before : width - beyond].float()  # where a block fits in
        per_centre = foreground.float().sum((2, 3), keepdim=True) / centres.sum((2, 3), keepdim=True).clamp(min=1)
        drawn = torch.rand_like(centres) < centres * per_centre * self.block_share / size**2
        return max_pool2d(pad(drawn.float(), [size - 1] * 4), size, stride=1) > 0


def check_drops(config: DgdmConfig, backbone: nn.Module, example: Tensor) -> None:
    """Raise the `GroundingError` that a training would: of a layer that does not exist, or that a setting does not fit.

    Args:
        backbone: is left as it is.
        example: (1, 3, S, S).
    """
    if config.enabled:
        copied = copy.deepcopy(backbone).train()
        for module in copied.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()  # a single picture may have a single place
        certain = dataclasses.replace(config, drop_rate=1.0)  # the drop mask, and not the importance map
        with torch.no_grad(), dropping(copied, {name: drop_of(certain) for name in config.layers}):
            getattr(copied, "forward_features", copied)(example)


def drop_of(config: DgdmConfig) -> nn.Module:
    """The module of a configuration: channels first, then regions."""
    parts: list[nn.Module] = [ChannelAttentionDropout(config.top_k, config.low_keep)] if config.channels else []
    if config.spatial == "guided":
        values = config.drop_rate, config.peak_threshold, config.foreground_threshold
        parts.append(SpatialAttentionDropBlock(*values, config.block_size, config.block_share))
    elif config.spatial == "dropblock":
        parts.append(DropBlock2d(config.block_share, config.block_size))
    return nn.Sequential(*parts)


@contextlib.contextmanager
def dropping(network: nn.Module, drops: Mapping[str, nn.Module]) -> Iterator[None]:
    """Within it, drop from the outputs of modules of a network while that is in training mode.

    Args:
        network: any; it is left as it was, also after an exception. Copies that are made within keep the drops.
        drops: a module for each name, such as `{"layer3.0": SpatialAttentionDropBlock()}`.

    Raises:
        GroundingError: no module of such a name, with the nearest; or, when the network runs, an output that is no
            (N, C, h, w) tensor, or a drop that does not fit it.
    """
    handles = []
    modules = dict(network.named_modules())
    try:
        for name, drop in drops.items():
            if name not in modules:
                top = ", ".join(child for child, _ in network.named_children())
                advice = did_you_mean(name, [known for known in modules if known], f"expected a module such as {top}")
                raise GroundingError(f"dgdm.layers: the network has no module '{name}': {advice}")
            handles.append(modules[name].register_forward_hook(_hook(network, name, drop)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hook(network: nn.Module, name: str, drop: nn.Module) -> Any:
    def drop_output(_: nn.Module, __: Any, output: Any) -> Tensor | None:
        if not network.training:
            return None
        if not isinstance(output, Tensor) or output.dim() != 4:
            given = f"of shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
            raise GroundingError(f"dgdm.layers: '{name}' returns {given}: expected a module that returns (N, C, h, w)")
        try:
            dropped: Tensor = drop(output)
        except GroundingError as error:
            raise GroundingError(f"dgdm.layers '{name}': {error}") from error
        return dropped

    return drop_output
