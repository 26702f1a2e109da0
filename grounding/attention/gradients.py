"""Keep the autograd graph of what is recorded, though operations are seen below autograd.

The tensors that a recording sees are the very ones that autograd gives a `grad_fn` as soon as the operation has run. So
what is kept by reference has its graph, with two exceptions: copies made during the recording, and what is computed
inside a fused operation that is written out, in a function of `torch.autograd.Function`, or under `torch.no_grad`.
"""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.overrides import enable_reentrant_dispatch
from torch.utils.weak import WeakTensorKeyDictionary

from grounding.errors import GroundingError

_DELIBERATE = torch.ops.aten.detach.default  # a model that detaches a value means a constant


class Gradients:
    """Which tensors of one recording have no gradient, although what they were computed from has one."""

    def __init__(self) -> None:
        self._lost = WeakTensorKeyDictionary()  # tensor -> an operation below, for all without a graph yet

    def follow(self, name: str, func: OpOverload, given: Iterable[Tensor], returned: Iterable[Tensor]) -> None:
        """Note an operation that has run, under this name: its own, or that of the fused operation which it is part of.

        Its outputs get their graph later or never: `lost_in` tells, once they are read.
        """
        given = list(given)
        lost = next(filter(None, map(self.lost_in, given)), "")
        if func is _DELIBERATE or not (lost or any(tensor.requires_grad for tensor in given)):
            return
        for tensor in returned:
            if tensor.dtype.is_floating_point:  # a comparison, or the argmax of a maximum, has no gradient
                self._lost[tensor] = lost or name

    def lost_in(self, tensor: Tensor) -> str:
        """The operation inside which the gradient of a tensor was lost; empty where none was."""
        name: str = "" if tensor.requires_grad else self._lost.get(tensor, "")
        return name


def copy_with_graph(func: OpOverload, tensor: Tensor) -> Tensor:
    """A copy that autograd knows as one, made just before `func` overwrites the tensor.

    Raises:
        GroundingError: autograd does not see the copy.
    """
    with enable_reentrant_dispatch():
        copied = tensor.clone()
    if tensor.requires_grad and copied.grad_fn is None:
        raise GroundingError(f"{func} overwrites a value whose gradient the map needs: use it out of place")
    return copied


def check_differentiable() -> None:
    """That gradients are on where a differentiable recording starts.

    Raises:
        GroundingError: they are not.
    """
    if not torch.is_grad_enabled():
        raise GroundingError(
            "record(differentiable=True) was called where gradients are off: leave torch.no_grad or inference_mode"
        )


def check_gradient(scores: Tensor) -> None:
    """That a differentiable recording has something to differentiate by.

    Raises:
        GroundingError: no input and no weight requires a gradient.
    """
    if not scores.requires_grad:
        raise GroundingError(
            "the scores have no gradient: expected images or weights with requires_grad=True, or record without "
            "differentiable"
        )
