"""Winning probability on its way down, as a product that is formed only where it must be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from grounding.attention.tape import Value

_ZERO = 1e-30  # a Z below this is 0: its reciprocal would overflow float32


@dataclass(frozen=True, eq=False, slots=True)
class Flow:
    """The winning probability P of one value under K signals: P = ratio * activation.

    A linear operation gives P(x) = x * (W+^T P(y) / Z), and what is below multiplies by something of its own again.
    Kept apart, all that does not depend on the signal is computed once for all K, and a residual sum costs nothing.

    Attributes:
        ratio: (K, *shape).
        activation: (*shape), or None for 1.
        own: nothing else reads `ratio`, so that the next rule may write into it.
    """

    ratio: Tensor
    activation: Tensor | None = None
    own: bool = False

    def probability(self) -> Tensor:
        """P, (K, *shape)."""
        return self.ratio if self.activation is None else self._multiply(self.activation)

    def times(self, factor: Tensor) -> Tensor:
        """P times a (*shape) factor, (K, *shape)."""
        return self._multiply(factor if self.activation is None else self.activation * factor)

    def scaled(self, factor: Tensor) -> Flow:
        """The same as a flow; the product with the signals is left to the next rule."""
        return Flow(self.ratio, factor if self.activation is None else self.activation * factor, self.own)

    def part(self, channels: slice) -> Flow:
        """Some of the channels, (K, N, c, ...)."""
        return Flow(
            self.ratio[:, :, channels], self.activation if self.activation is None else self.activation[:, channels]
        )

    def shared(self) -> Flow:
        """For several readers, none of which may write."""
        return Flow(self.ratio, self.activation)

    def to(self, dtype: torch.dtype) -> Flow:
        """The same in another precision."""
        if dtype == self.ratio.dtype:
            return self
        return Flow(
            self.ratio.to(dtype), self.activation if self.activation is None else self.activation.to(dtype), True
        )

    def plus(self, other: Flow) -> Flow:
        """The sum of two ways down to the same value."""
        first, second = (self, other) if self.own else (other, self)
        if first.activation is None:
            total = first.ratio.add_(second.probability()) if first.own else first.ratio + second.probability()
        elif second.activation is None:
            start = second.ratio if second.own else second.ratio.clone()
            total = start.addcmul_(first.ratio, first.activation)
        elif torch.equal(first.activation, second.activation):
            ratio = first.ratio.add_(second.ratio) if first.own else first.ratio + second.ratio
            return Flow(ratio, first.activation, own=True)
        else:
            total = first.probability().addcmul_(second.ratio, second.activation)
        return Flow(total, own=True)

    def _multiply(self, factor: Tensor) -> Tensor:
        return self.ratio.mul_(factor) if self.own else self.ratio * factor


def excitation(value: Value, dtype: torch.dtype) -> Tensor:
    """What of a recorded activation excites: its values, at least 0, in the layout that suits convolutions."""
    return channels_last(value.content(dtype)).clamp(min=0)


def channels_last(tensor: Tensor) -> Tensor:
    """The layout in which a convolution of many signals is fastest."""
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


def reciprocal(z: Tensor) -> Tensor:
    """1 / Z, and 0 where Z = 0."""
    return torch.where(z.abs() > max(_ZERO, torch.finfo(z.dtype).tiny), z.reciprocal(), 0)
