"""Which outputs of a linear layer signal reaches: behind a ReLU, or of queries and keys, it skips many."""

from collections.abc import Sequence

import torch
from torch import Tensor

from grounding.attention.flow import Flow

_SPARSE = 1.25  # outputs are picked one by one where signal reaches fewer than one in so many of their range


def reached_outputs(flow: Flow, most: int) -> Sequence[slice | Tensor]:
    """The outputs, (K, M, out), that signal reaches, at most so many at a time: all in a range where most of it is."""
    outputs = flow.ratio.shape[-1]
    if torch.is_grad_enabled():  # in one piece: each would have a gradient as large as W
        carries = flow.ratio if flow.activation is None else flow.activation
        if carries.requires_grad or flow.ratio.requires_grad:
            return [slice(0, outputs)]
        most = outputs
    carrying = flow.ratio.flatten(0, 1) if flow.activation is None else flow.activation
    reached = carrying.any(0).nonzero()[:, 0]
    if not len(reached):
        return []
    first, end = int(reached[0]), int(reached[-1]) + 1
    if end - first > _SPARSE * len(reached):
        return torch.split(reached, most)
    return [slice(start, min(start + most, end)) for start in range(first, end, most)]


def some(tensor: Tensor, which: slice | Tensor, dim: int) -> Tensor:
    """Some entries of a dimension: a view of a range, a copy of others."""
    if isinstance(which, slice):
        return tensor.narrow(dim, which.start, which.stop - which.start)
    return tensor.index_select(dim, which)


def some_outputs(flow: Flow, which: slice | Tensor) -> Flow:
    """The flow, (K, M, out), of some of the outputs."""
    activation = None if flow.activation is None else some(flow.activation, which, -1)
    if isinstance(which, slice):
        return Flow(some(flow.ratio, which, -1), activation, flow.own)
    return Flow(flow.ratio[..., which], activation, own=not torch.is_grad_enabled())
