"""What passes down: the winning probability of one value, kept as two factors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False, slots=True)
class Flow:
    """The winning probability P of one value under K signals: P = ratio * activation.

    A linear operation gives P(x) = x * (W+^T P(y) / Z), and what is below multiplies by something of its own again.
    With the two factors kept apart, all that does not depend on the signal is computed once for all K, and a residual
    sum costs nothing.

    Attributes:
        ratio: (K, *shape) floating point.
        activation: (*shape), or None for 1.
        own: this flow alone owns `ratio`. Then `take` and `take_times` overwrite it to save memory, and the flow must
            not be used afterwards. A rule that is in doubt reads `probability` and returns flows without `own`.
    """

    ratio: Tensor
    activation: Tensor | None = None
    own: bool = False

    def probability(self) -> Tensor:
        """P, (K, *shape)."""
        return self.ratio if self.activation is None else self.ratio * self.activation

    def take(self) -> Tensor:
        """P, (K, *shape), in the memory of the ratio where that may be written."""
        return self.ratio if self.activation is None else self._multiply(self.activation)

    def take_times(self, factor: Tensor) -> Tensor:
        """P times a (*shape) factor, (K, *shape), likewise."""
        return self._multiply(factor if self.activation is None else self.activation * factor)

    def scaled(self, factor: Tensor) -> Flow:
        """As `take_times`, but as a flow: only `activation` is multiplied, not the ratios of all K signals."""
        return Flow(self.ratio, factor if self.activation is None else self.activation * factor, self.own)

    def part(self, channels: slice) -> Flow:
        """Some of the channels, (K, N, c, ...)."""
        activation = None if self.activation is None else self.activation[:, channels]
        return Flow(self.ratio[:, :, channels], activation)

    def reshape(self, *shape: int) -> Flow:
        """The same elements in the same order, (K, *shape)."""
        activation = None if self.activation is None else self.activation.reshape(shape)
        return Flow(self.ratio.reshape(len(self.ratio), *shape), activation, self.own)

    def shared(self) -> Flow:
        """For several readers, none of which may write."""
        return Flow(self.ratio, self.activation)

    def to(self, dtype: torch.dtype) -> Flow:
        """The same in another precision."""
        if dtype == self.ratio.dtype:
            return self
        return Flow(self.ratio.to(dtype), None if self.activation is None else self.activation.to(dtype), own=True)

    def plus(self, other: Flow) -> Flow:
        """The sum of two ways down to the same value."""
        first, second = (self, other) if self.own else (other, self)
        if first.activation is None:
            total = first.ratio.add_(second.take()) if first.own else first.ratio + second.take()
        elif second.activation is None:
            start = second.ratio if second.own else second.ratio.clone()
            total = start.addcmul_(first.ratio, first.activation)
        elif _same(first.activation, second.activation):
            ratio = first.ratio.add_(second.ratio) if first.own else first.ratio + second.ratio
            return Flow(ratio, first.activation, own=True)
        else:
            total = first.take().addcmul_(second.ratio, second.activation)
        return Flow(total, own=True)

    def _multiply(self, factor: Tensor) -> Tensor:
        return self.ratio.mul_(factor) if self.own else self.ratio * factor


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two activations are one. Equal numbers may have different gradients."""
    if torch.is_grad_enabled() and (one.requires_grad or other.requires_grad):
        return one is other
    return torch.equal(one, other)
