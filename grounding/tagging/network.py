"""The embedded architecture: plain convolutions with non-negative activations, so Excitation Backprop is exact."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval


class TagNetwork(nn.Module):
    """3x3 convolutions with batch normalisation and ReLU, and one linear word head.

    The input is RGB in [0, 1], so every layer's input is non-negative, the image included.

    Args:
        layers: (channels, stride) of each 3x3 convolution.
        tags: T, the number of outputs.
        normalised: False builds the network with batch normalisation already folded into the convolutions.
    """

    def __init__(self, layers: Sequence[tuple[int, int]], tags: int, normalised: bool = True) -> None:
        super().__init__()
        blocks: OrderedDict[str, nn.Module] = OrderedDict()
        previous = 3
        for number, (channels, stride) in enumerate(layers, start=1):
            blocks[f"conv{number}"] = nn.Conv2d(previous, channels, 3, stride, 1, bias=not normalised)
            if normalised:
                blocks[f"norm{number}"] = nn.BatchNorm2d(channels)
            blocks[f"relu{number}"] = nn.ReLU(inplace=True)
            previous = channels
        self.features = nn.Sequential(blocks)
        self.head = nn.Linear(previous, tags)

    def local_scores(self, features: Tensor) -> Tensor:
        """(N, C, h, w) features -> (N, T, h, w) logits, one per place and tag."""
        return score_places(self.head, features)

    def mean_scores(self, features: Tensor) -> Tensor:
        """(N, C, h, w) features -> (N, T): the head on mean-pooled features, which is where the walk starts."""
        scores: Tensor = self.head(features.mean((2, 3)))
        return scores

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) RGB in [0, 1] -> (N, T) logits: log-mean-exp of the local scores over all places."""
        return log_mean_exp(self.local_scores(self.features(images)))

    @torch.no_grad()
    def folded(self) -> "TagNetwork":
        """A copy in evaluation mode with every batch normalisation folded into its convolution."""
        layers, fused = [], []
        blocks = list(self.features)
        for conv, norm, _ in zip(blocks[0::3], blocks[1::3], blocks[2::3], strict=True):
            assert isinstance(conv, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            layers.append((conv.out_channels, conv.stride[0]))
            fused.append(fuse_conv_bn_eval(conv.eval(), norm.eval()))
        network = TagNetwork(layers, self.head.out_features, normalised=False).eval()
        for target, source in zip(list(network.features)[0::2], fused, strict=True):
            target.load_state_dict(source.state_dict())
        network.head.load_state_dict(self.head.state_dict())
        return network


def score_places(head: nn.Linear, features: Tensor) -> Tensor:
    """A linear head at every place: (N, C, h, w) features -> (N, T, h, w) logits."""
    return nn.functional.conv2d(features, head.weight[:, :, None, None], head.bias)


def log_mean_exp(local: Tensor) -> Tensor:
    """(N, T, h, w) -> (N, T): logsumexp over places minus the log of their number, a soft maximum of local evidence."""
    flat = local.flatten(2).float()
    return flat.logsumexp(2) - torch.log(torch.tensor(float(flat.shape[2])))
