"""The losses: tags against captions or teachers, and captions against each other."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, logsigmoid


def tag_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of logits against probabilities, (N, T) or (N, T, h, w): summed over tags, else the mean."""
    return binary_cross_entropy_with_logits(logits.float(), targets, reduction="none").sum(1).mean()


def caption_contrast_loss(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """InfoNCE (arXiv 1807.03748) between the pictures of a batch and their captions, both ways.

    With p_it the probability of tag t in picture i, and y_jt the target of t in the captions of picture j,

        s_ij = sum_t y_jt log p_it / (temperature * sum_t y_jt)
        loss = mean_i -(log softmax_j(s_ij)[i] + log softmax_j(s_ji)[i]) / 2

    over the M pictures that have any tag; 0 where M is 0 or 1.

    Args:
        logits: (N, T), of p.
        targets: (N, T), at least 0.
        temperature: above 0.
    """
    tagged = targets.sum(1) > 0  # (N,)
    targets = targets[tagged].float()
    words = targets / targets.sum(1, keepdim=True)  # (M, T)
    with torch.autocast(logits.device.type, enabled=False):
        scores = logsigmoid(logits[tagged].float()) @ words.T / temperature  # (M, M): picture i, captions j
    if not len(scores):
        return scores.sum()
    own = torch.arange(len(scores), device=scores.device)
    return (cross_entropy(scores, own) + cross_entropy(scores.T, own)) / 2
