"""Losses over noisy words."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, logsigmoid


def word_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of (N, T) logits against (N, T) probabilities: summed over tags, mean over pictures."""
    return _cross_entropy(logits, targets)


def teacher_loss(local: Tensor, wanted: Tensor) -> Tensor:
    """Binary cross-entropy of (N, T, h, w) logits against as many probabilities: summed over tags, else the mean."""
    return _cross_entropy(local, wanted)


def caption_contrast_loss(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """How well the words of each picture's captions tell it from the other pictures of the batch, and it from theirs.

    With p_it the probability of tag t in picture i, and y_jt the target of t in the captions of picture j,

        s_ij = sum_t y_jt log p_it / (temperature * sum_t y_jt)
        loss = mean_i -(log softmax_j(s_ij)[i] + log softmax_j(s_ji)[i]) / 2

    over the M pictures that have any tag; 0 where M is 0 or 1. It is InfoNCE (arXiv 1807.03748), both ways.

    Args:
        logits: (N, T), of p.
        targets: (N, T), at least 0.
        temperature: above 0.
    """
    worded = targets.sum(1) > 0
    targets = targets[worded].float()
    words = targets / targets.sum(1, keepdim=True)  # (M, T)
    with torch.autocast(logits.device.type, enabled=False):
        scores = logsigmoid(logits[worded].float()) @ words.T / temperature  # (M, M): picture i, captions j
    if not len(scores):
        return scores.sum()
    own = torch.arange(len(scores), device=scores.device)
    return (cross_entropy(scores, own) + cross_entropy(scores.T, own)) / 2


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Summed over dimension 1, mean over the others."""
    return binary_cross_entropy_with_logits(logits.float(), targets, reduction="none").sum(1).mean()
