"""Where the rows of a head start whose tags the initial classifier does not know."""

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

from grounding.tagging.network import TagNetwork

_MOST: Final = 2000  # pictures that are looked at
_FOR_BIAS: Final = 64


@torch.no_grad()
def start_new_rows(
    network: TagNetwork, source: TagNetwork, rows: Sequence[int], targets: Tensor, features: Callable[[int], Tensor]
) -> None:
    """Start each of R new rows as the mean of the rows of another head, weighted by what its pictures show, in place.

    The weight of a row is the probability of its tag, summed over the pictures times the target of the new tag in each.
    The bias, which is the logit of the tag's frequency before, gives the same mean score as with weights 0. The row of
    a tag without a picture stays as it is.

    Args:
        network: which is to be trained, with the backbone of `source`.
        rows: R outputs of the network.
        targets: (N, T) uint8, twice the target of each tag.
        features: from the index of a picture to its (C, h, w) features.
    """
    if not rows:
        return
    shown = torch.zeros(len(rows), len(source.head.weight))  # (R, T of the source)
    for index in range(min(_MOST, len(targets))):
        wanted = targets[index, list(rows)].float()  # (R,)
        if wanted.any():
            picture = features(index)[None].to(source.head.weight)
            shown += wanted[:, None] * source.pool(source.local_scores(picture), picture).sigmoid().cpu()
    totals = shown.sum(1)  # (R,)
    seen = torch.tensor(rows)[totals > 0]
    weights = shown[totals > 0] / totals[totals > 0, None]
    network.head.weight[seen] = weights.to(source.head.weight) @ source.head.weight
    few = min(_FOR_BIAS, len(targets))
    pooled = torch.zeros(len(network.head.weight))
    for index in range(few):
        picture = features(index)[None].to(network.head.weight)
        pooled += network.pool(network.local_scores(picture), picture)[0].cpu() / few
    network.head.bias[seen] = 2 * network.head.bias[seen] - pooled.to(network.head.bias)[seen]
