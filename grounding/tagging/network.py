"""A backbone, a linear word head, and how the scores of all places are pooled to one score a tag."""

import copy
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from grounding.errors import GroundingError
from grounding.tagging.gala import ApplyTo, GalaSettings, attended, gala_layers, gala_parameters, insert_gala
from grounding.tagging.timm_features import Rgb, TimmFeatures


class PlainFeatures(nn.Sequential):
    """3x3 convolutions with batch normalisation and ReLU: non-negative throughout, so Excitation Backprop is exact.

    The input is RGB in [0, 1], so the image too is non-negative.

    Args:
        layers: (channels, stride) of each convolution.
        normalised: False builds the convolutions with batch normalisation already folded into them.
    """

    def __init__(self, layers: Sequence[Sequence[int]], normalised: bool = True) -> None:
        blocks: OrderedDict[str, nn.Module] = OrderedDict()
        previous = 3
        for number, (channels, stride) in enumerate(layers, start=1):
            blocks[f"conv{number}"] = nn.Conv2d(previous, channels, 3, stride, 1, bias=not normalised)
            if normalised:
                blocks[f"norm{number}"] = nn.BatchNorm2d(channels)
            blocks[f"relu{number}"] = nn.ReLU(inplace=True)
            previous = channels
        super().__init__(blocks)
        self.layers = tuple((channels, stride) for channels, stride in layers)
        self.normalised = normalised

    def fold(self) -> None:
        """Fold every batch normalisation into its convolution, in place; in evaluation mode nothing else changes.

        Raises:
            GroundingError: attention between the two.
        """
        for number in range(1, len(self.layers) + 1) if self.normalised else ():
            conv, norm = getattr(self, f"conv{number}"), getattr(self, f"norm{number}")
            for name, place in ((f"conv{number}", attended(conv)), (f"norm{number}", attended(norm))):
                if place:
                    self.check_attention(name, place)
            setattr(self, f"conv{number}", fuse_conv_bn_eval(conv, norm))
            delattr(self, f"norm{number}")
        self.normalised = False

    def check_attention(self, name: str, apply_to: ApplyTo) -> None:
        """Raise a `GroundingError` where attention would part a convolution from its batch normalisation."""
        kind = name.rstrip("0123456789")
        if self.normalised and (kind == "norm" or (kind == "conv" and apply_to == "output")):
            raise GroundingError(
                f"gala: attention on the {apply_to} of '{name}' keeps batch normalisation from being folded into its "
                "convolution: name a relu, or the input of a conv"
            )


class TagNetwork(nn.Module):
    """A backbone and a linear head that scores every tag at every place.

    Args:
        features: the backbone, (N, 3, H, W) -> (N, C, h, w).
        channels: C.
        tags: T, the number of outputs.
        pooling: how the scores of all places become one, a name of `POOLINGS`.
        mean: the input is (RGB in [0, 1] - mean) / std.
        std: of the same, for each channel.

    Attributes:
        attention: the second linear layer of attention pooling, with weights 0 at first; else None.
        frozen: what `freeze` was told.
        gala: the attention in the backbone; None where there is none.

    Raises:
        GroundingError: an unknown pooling.
    """

    def __init__(
        self,
        features: PlainFeatures | TimmFeatures,
        channels: int,
        tags: int,
        pooling: str = "log-sum-exp",
        mean: Rgb = (0.0, 0.0, 0.0),
        std: Rgb = (1.0, 1.0, 1.0),
    ) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise GroundingError(f"pooling is '{pooling}': expected one of {', '.join(POOLINGS)}")
        self.features, self.pooling, self.mean, self.std = features, pooling, mean, std
        self.head = nn.Linear(channels, tags)
        self.attention = nn.Linear(channels, tags, bias=False) if pooling == "attention" else None
        if self.attention is not None:
            nn.init.zeros_(self.attention.weight)
        self.frozen: tuple[str, ...] = ()
        self.gala: GalaSettings | None = None

    def local_scores(self, features: Tensor) -> Tensor:
        """(N, C, h, w) features -> (N, T, h, w) logits, one per place and tag."""
        return score_places(self.head, features)

    def mean_scores(self, features: Tensor) -> Tensor:
        """(N, C, h, w) features -> (N, T): the head on mean-pooled features, which is where the walk starts."""
        scores: Tensor = self.head(features.mean((2, 3)))
        return scores

    def pool(self, local: Tensor, features: Tensor) -> Tensor:
        """(N, T, h, w) local scores, and the (N, C, h, w) features they were made from -> (N, T) logits."""
        if self.attention is not None:
            return attention_mean(local, score_places(self.attention, features))
        return _POOLED[self.pooling](local)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W), normalised -> (N, T) logits."""
        features = self.features(images)
        return self.pool(self.local_scores(features), features)

    @property
    def backbone(self) -> nn.Module:
        """The module that the names in `freeze` and `insert_gala` are relative to."""
        return self.features.trunk if isinstance(self.features, TimmFeatures) else self.features

    def freeze(self, names: Sequence[str]) -> None:
        """Keep parts of the backbone as they are: no gradients, and evaluation mode there even while the rest trains.

        Attention (`insert_gala`) learns even there.

        Args:
            names: of parameters or modules of the backbone; `blocks.1` takes in `blocks.1.conv`, but not `blocks.10`.

        Raises:
            GroundingError: a name without parameters.
        """
        attention = set(map(id, gala_parameters(self)))
        kept = [(path, part) for path, part in self.backbone.named_parameters() if id(part) not in attention]
        for name in names:
            parts = [part for path, part in kept if _within(path, [name])]
            if not parts:
                known = ", ".join(path for path, _ in self.backbone.named_children())
                raise GroundingError(f"network.frozen: '{name}' holds no parameter: the backbone consists of {known}")
            for part in parts:
                part.requires_grad_(False)
        self.frozen = tuple(names)
        self.train(self.training)

    def insert_gala(self, settings: GalaSettings) -> None:
        """Give modules of the backbone attention, in place; until that has learnt, the network's output is the same.

        Raises:
            GroundingError: it has attention already; attention that would keep a plain network from being folded; or
                what `tagging.gala.insert_gala` refuses.
        """
        if self.gala is not None:
            raise GroundingError(f"gala: the network has attention already ({self.gala}): insert all of it at once")
        size_px = (32, 32)  # a plain network takes any
        if isinstance(self.features, PlainFeatures):
            for name in set(settings.layers) & {name for name, _ in self.features.named_children()}:
                self.features.check_attention(name, settings.apply_to)
        else:
            size_px = self.features.usual_size_px
        insert_gala(
            self.backbone,
            settings.layers,
            self.head.weight.new_zeros(1, 3, *size_px),
            reduction=settings.reduction,
            squash=settings.squash,
            apply_to=settings.apply_to,
            run=self.features,
        )
        self.gala = settings

    def train(self, mode: bool = True) -> Self:
        """Switch the mode as every module does, but what is frozen stays in evaluation mode."""
        super().train(mode)
        for path, module in self.backbone.named_modules():
            if _within(path, self.frozen):
                module.eval()
        return self

    @torch.no_grad()
    def folded(self) -> "TagNetwork":
        """Return a copy in evaluation mode; a plain backbone has its batch normalisation folded into convolutions."""
        network = copy.deepcopy(self).eval()
        if isinstance(network.features, PlainFeatures):
            network.features.fold()
        return network


def plain_network(
    layers: Sequence[Sequence[int]], tags: int, pooling: str = "log-sum-exp", normalised: bool = True
) -> TagNetwork:
    """Build a network with the backbone of `PlainFeatures`, from random weights. It takes RGB in [0, 1]."""
    return TagNetwork(PlainFeatures(layers, normalised), layers[-1][0], tags, pooling)


def timm_network(
    name: str, tags: int, pooling: str = "log-sum-exp", options: Mapping[str, Any] | None = None, weights: str = ""
) -> TagNetwork:
    """Build a network with the backbone of `TimmFeatures`. It takes what timm normalises for this model."""
    features = TimmFeatures(name, options or {}, weights)
    return TagNetwork(features, features.channels, tags, pooling, features.mean, features.std)


@torch.no_grad()
def warm_start(network: TagNetwork, folded: TagNetwork, images: Tensor) -> None:
    """Give the backbone of a plain network with batch normalisation the function of one without, in place.

    The normalisation takes its statistics from (N, 3, H, W) images in [0, 1] and undoes them by scale and shift, so it
    neither changes the function now nor is a stranger to the activations when training goes on. Attention that the
    other has is copied; where it has none, the network's takes part as it is.

    Raises:
        GroundingError: the networks have other layers.
    """
    layers = [getattr(each.features, "layers", None) for each in (network, folded)]
    if None in layers or layers[0] != layers[1]:
        raise GroundingError("network.initial has other layers than the network")
    attention = gala_layers(folded.features)
    for name, layer in gala_layers(network.features).items():
        if name in attention:
            layer.load_state_dict(attention[name].state_dict())
    blocks, sources = list(network.features.children()), list(folded.features.children())[0::2]
    for conv, norm, relu, source in zip(blocks[0::3], blocks[1::3], blocks[2::3], sources, strict=True):
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        assert isinstance(source, nn.Conv2d)
        assert source.bias is not None
        assert norm.running_mean is not None
        assert norm.running_var is not None
        conv.weight.copy_(source.weight)
        images = conv(images)
        variance, mean = torch.var_mean(images, (0, 2, 3))
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.copy_(mean + source.bias)
        images = relu(images + source.bias[:, None, None])


def score_places(head: nn.Linear, features: Tensor) -> Tensor:
    """Apply a linear head at every place: (N, C, h, w) features -> (N, T, h, w) logits."""
    return nn.functional.conv2d(features, head.weight[:, :, None, None], head.bias)


def log_mean_exp(local: Tensor) -> Tensor:
    """(N, T, h, w) -> (N, T): logsumexp over places minus the log of their number, a soft maximum of local evidence."""
    flat = _places(local)
    return flat.logsumexp(2) - math.log(flat.shape[2])


def average(local: Tensor) -> Tensor:
    """(N, T, h, w) -> (N, T): the mean over places."""
    return _places(local).mean(2)


def top_k_mean(local: Tensor) -> Tensor:
    """(N, T, h, w) -> (N, T): the mean of each tag's highest tenth of the places, of one place at least."""
    flat = _places(local)
    return flat.topk(max(1, round(0.1 * flat.shape[2])), dim=2).values.mean(2)


def attention_mean(local: Tensor, attention: Tensor) -> Tensor:
    """(N, T, h, w) scores, as many attention logits -> (N, T): the scores' mean weighted by a softmax over places."""
    return (_places(attention).softmax(2) * _places(local)).sum(2)


def _places(local: Tensor) -> Tensor:
    """(N, T, h, w) -> (N, T, h * w), at least float32."""
    return local.flatten(2).to(torch.promote_types(local.dtype, torch.float32))


def _within(path: str, names: Sequence[str]) -> bool:
    """Whether a dotted path is one of these names, or goes on from one."""
    return any(f"{path}.".startswith(f"{name}.") for name in names)


_POOLED: dict[str, Callable[[Tensor], Tensor]] = {
    "log-sum-exp": log_mean_exp,
    "average": average,
    "top-k": top_k_mean,
}
POOLINGS = (*_POOLED, "attention")
