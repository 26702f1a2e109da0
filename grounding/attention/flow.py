"""Winning probability on its way down, as a product that is formed only where it must be."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

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

    def shared(self) -> Flow:
        """For several readers, none of which may write."""
        return Flow(self.ratio, self.activation)

    def plus(self, other: Flow) -> Flow:
        """The sum of two ways down to the same value."""
        first, second = (self, other) if self.own else (other, self)
        if first.activation is None:
            total = first.ratio.add_(second.probability()) if first.own else first.ratio + second.probability()
        elif second.activation is None:
            total = second.ratio.addcmul(first.ratio, first.activation)
        elif torch.equal(first.activation, second.activation):
            ratio = first.ratio.add_(second.ratio) if first.own else first.ratio + second.ratio
            return Flow(ratio, first.activation, own=True)
        else:
            total = first.probability().addcmul_(second.ratio, second.activation)
        return Flow(total, own=True)

    def _multiply(self, factor: Tensor) -> Tensor:
        return self.ratio.mul_(factor) if self.own else self.ratio * factor


def reciprocal(z: Tensor) -> Tensor:
    """1 / Z, and 0 where Z = 0."""
    return torch.where(z.abs() > _ZERO, z.reciprocal(), 0)
