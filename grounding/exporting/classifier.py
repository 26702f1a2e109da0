"""A tag classifier of any source as a plain module: from RGB in [0, 1] to the probabilities of its tags."""

import torch
from torch import Tensor, nn

from grounding.tagging.classifier import TagClassifier
from grounding.tagging.network import TagNetwork


class PlainClassifier(nn.Module):
    """A tag classifier with its normalisation before and its sigmoid or softmax behind.

    Args:
        classifier: its network is shared.
    """

    def __init__(self, classifier: TagClassifier) -> None:
        super().__init__()
        self.network = classifier.network
        self.normalise, self.probabilities = classifier.preprocessing.normalise, classifier.probabilities

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) RGB in [0, 1] -> (N, T) tag probabilities."""
        return self.probabilities(self._logits(self.normalise(pixels)))

    def _logits(self, images: Tensor) -> Tensor:
        if not isinstance(self.network, TagNetwork) or self.network.pooling != "log-sum-exp":
            logits: Tensor = self.network(images)
            return logits
        local = self.network.local_scores(self.network.features(images)).flatten(2)  # (N, T, h * w)
        places = torch.ones_like(local[:1, :1]).sum()  # their number as a tensor: export would write a number down
        return local.logsumexp(2) - places.log()
