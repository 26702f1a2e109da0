"""The localizer of a plain network as one forward pass: scores, Z, and a walk of contrastive Excitation Backprop.

Written from the equations of arXiv 1608.00507 for convolutions with ReLU and a linear head, without the engine, so that
`torch.export` takes it and other runtimes can run it. `grounding.attention` gives the same maps.
"""

import torch
from torch import Tensor, nn

from grounding.attention import record
from grounding.attention.excitation import DEFAULT_STRIDE
from grounding.attention.layers import find_layer, indexed_layer
from grounding.errors import GroundingError
from grounding.exporting.convolution import WalkedConvolution, reciprocal
from grounding.tagging.classifier import TagClassifier
from grounding.tagging.network import PlainFeatures, TagNetwork


class PlainLocalizer(nn.Module):
    """A plain tag classifier with its word maps, in one forward pass of ordinary operations.

    The maps are those of the method `contrastive_mwp` under the default configuration, at the layer that the
    classifier recommends, or else at stride 16.

    Args:
        classifier: its network is a `TagNetwork` of `PlainFeatures`, without attention; it is copied.

    Raises:
        GroundingError: another network, or no layer to read maps at.
    """

    def __init__(self, classifier: TagClassifier) -> None:
        super().__init__()
        self.network = _plain(classifier)
        self.normalise, self.probabilities = classifier.preprocessing.normalise, classifier.probabilities
        self.depth = _map_depth(classifier)  # so many convolutions lie between the image and the map
        convolutions = [module for module in self.network.features.children() if isinstance(module, nn.Conv2d)]
        self.walked = nn.ModuleList(WalkedConvolution(each) for each in convolutions[self.depth :])
        weight = self.network.head.weight.detach()
        self.positive: Tensor  # W+ of the head, (T, C)
        self.negated: Tensor  # (-W)+, of its dual unit
        self.register_buffer("positive", weight.clamp(min=0))
        self.register_buffer("negated", weight.neg().clamp(min=0))

    def forward(self, pixels: Tensor, signals: Tensor) -> tuple[Tensor, Tensor]:
        """Run the network and one walk.

        Args:
            pixels: (N, 3, S, S) RGB in [0, 1], floating point.
            signals: (N, K, T) of the same type, the top-down signals of K words for each picture: 1 for the tag of a
                word and 0 for the others, or several weights, at least 0.

        Returns:
            (N, T) tag probabilities; (N, K, h, w) word maps: what is above 0 of the contrastive MWP, channels summed.
        """
        x, inputs = self.normalise(pixels), list[Tensor]()  # of the convolutions
        for module in self.network.features.children():
            if isinstance(module, nn.Conv2d):
                inputs.append(x)
            x = module(x)
        features, inputs = x, inputs[self.depth :]
        logits = self.network.pool(self.network.local_scores(features), features)
        ratio = self.contrast(features.mean((2, 3)), signals)[..., None, None]
        ratio = ratio / (features.shape[2] * features.shape[3])  # of a mean, each place gets the share x / (h w a)
        return self.probabilities(logits), self.walk(inputs, features, ratio).clamp(min=0)

    def contrast(self, means: Tensor, signals: Tensor) -> Tensor:
        """MWP less dual MWP at the input a of the head, as a ratio: W+^T (P / W+ a), less the same of -W. Section 3.3.

        Args:
            means: (N, C), a.
            signals: (N, K, T), P at the outputs.

        Returns:
            (N, K, C)
        """
        ours, dual = (
            (signals * reciprocal(means @ weight.t())[:, None]) @ weight for weight in (self.positive, self.negated)
        )
        return ours - dual

    def walk(self, inputs: list[Tensor], features: Tensor, ratio: Tensor) -> Tensor:
        """From the features down to the map.

        Args:
            inputs: of the convolutions above the map.
            features: (N, C, h', w'), the output of the last one.
            ratio: (N, K, C, 1, 1), of the features.

        Returns:
            (N, K, h, w), signed.
        """
        if not inputs:
            return (ratio * features[:, None]).sum(2)
        inputs = [each.clamp(min=0) for each in inputs]  # a normalised image may be below 0
        layers = [each for each in self.walked if isinstance(each, WalkedConvolution)]
        first, *others = zip(layers, inputs, [*inputs[1:], features], strict=True)
        for layer, x, y in reversed(others):
            ratio = layer.down(x, y, ratio)
        layer, x, y = first
        return layer.down_to_map(x, y, ratio)


def _plain(classifier: TagClassifier) -> TagNetwork:
    """A copy of the network, its batch normalisation folded into the convolutions.

    Raises:
        GroundingError: it is not one that `PlainLocalizer` is written for.
    """
    network = classifier.network
    kind = type(network).__name__
    if isinstance(network, TagNetwork):
        kind = "" if isinstance(network.features, PlainFeatures) else f"timm:{network.features.name}"
        kind = f"{kind or 'plain network'} with attention ({network.gala})" if network.gala else kind
    if kind or not isinstance(network, TagNetwork):
        raise GroundingError(
            f"the network of {classifier.name} is a {kind}, whose walk has no plain form: expected convolutions with "
            "ReLU alone, such as embedded; its classifier can be exported (--what classifier)"
        )
    return network.folded()


def _map_depth(classifier: TagClassifier) -> int:
    """How many convolutions lie between the image and the layer that maps are read at.

    Raises:
        GroundingError: there is no such layer, or it has no places.
    """
    side = classifier.preprocessing.image_size_px
    tape = record(classifier.evidence, torch.zeros(1, 3, side, side, dtype=classifier.dtype))
    at = classifier.map_layer
    layer = find_layer(tape, DEFAULT_STRIDE) if at is None else indexed_layer(tape, at)
    if len(layer.shape) != 4:
        raise GroundingError(f"the map layer of {classifier.name} is {at}, which has no places: expected one below it")
    return layer.depth
