"""Losses over noisy words. Every loss is a sum over the T tags and a mean over everything else."""

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


def word_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of (N, T) or (N, T, h, w) logits against probabilities of the same shape, as a scalar."""
    summed = binary_cross_entropy_with_logits(logits.float(), targets, reduction="none").sum(1)
    return summed.mean()
