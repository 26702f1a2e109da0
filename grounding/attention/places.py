"""Which dimensions of a recorded tensor are the places of the image, followed from the image through the network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from grounding.attention.rules import RESHAPES

if TYPE_CHECKING:
    from grounding.attention.tape import Operation, Value

aten = torch.ops.aten

_MOVED = (aten.roll.default, aten.flip.default, aten.index.Tensor, aten.index_select.default)  # places end up elsewhere


@dataclass(frozen=True, slots=True)
class Tokens:
    """A dimension of tokens, of which those from `first` on are the places of a (height, width) grid, row by row."""

    first: int
    height: int
    width: int


Factor = tuple[str | Tokens | None, int]  # "n", "h", "w", tokens or anything else, and its size
Axes = tuple[tuple[Factor, ...], ...]  # for each dimension the factors of its size, slowest first


def image_axes(shape: torch.Size) -> Axes:
    """Those of (N, C, h, w)."""
    return tuple(((name, size),) for name, size in zip(("n", None, "h", "w"), shape, strict=True))


def label(operations: Sequence[Operation]) -> None:
    """Give each value that the operations made its `axes`; the inputs have theirs.

    Where the image is cut into windows, the windows are its places; at the residual sum these are fine again.
    """
    for operation in operations:
        for output in operation.outputs:
            output.axes = _axes(operation, output.shape)


def grid(value: Value) -> tuple[int, int] | None:
    """(height, width) of the places of a value; None where it has none."""
    named = {name: size for factors in value.axes for name, size in factors}
    tokens = next((name for name in named if isinstance(name, Tokens)), None)
    if "n" not in named or not (tokens or {"h", "w"} <= named.keys()):
        return None
    return (tokens.height, tokens.width) if tokens else (named["h"], named["w"])


def summed(probability: Tensor, value: Value) -> Tensor:
    """(K, *shape) of a value that has a grid -> (K, N, h, w), summed over all that is no place."""
    factors = [factor for dim in value.axes for factor in dim]
    names = [type(name).__name__ if isinstance(name, Tokens) else name for name, _ in factors]
    kept = [names.index(name) + 1 for name in ("n", Tokens.__name__, "h", "w") if name in names]
    rest = [at for at in range(1, len(factors) + 1) if at not in kept]
    apart = probability.reshape(len(probability), *(size for _, size in factors))
    total = apart.sum(rest) if rest else apart
    total = total.permute(0, *(1 + sorted(kept).index(at) for at in kept))
    for name, _ in factors:
        if isinstance(name, Tokens):
            total = total.narrow(2, name.first, name.height * name.width).unflatten(2, (name.height, name.width))
    return total


def _axes(operation: Operation, shape: torch.Size) -> Axes:
    overload = operation.overload
    sources = [value for value in operation.inputs if value.axes]
    if not sources:
        return ()
    source = sources[0]
    if overload in RESHAPES:
        return _regrouped(source.axes, shape)
    if overload is aten.permute.default:
        return tuple(source.axes[at] for at in operation.args[1])
    if overload is aten.transpose.int:
        order = list(range(len(shape)))
        one, two = operation.args[1:3]
        order[one], order[two] = order[two], order[one]
        return tuple(source.axes[at] for at in order)
    if overload is aten.select.int:
        dim = operation.args[1] % len(source.axes)
        return source.axes[:dim] + source.axes[dim + 1 :]
    if overload is aten.stack.default:
        dim = (operation.args[1] if len(operation.args) > 1 else operation.kwargs.get("dim", 0)) % len(shape)
        return (*source.axes[:dim], ((None, shape[dim]),), *source.axes[dim:])
    if overload is aten.cat.default:
        return _joined(operation, shape)
    if overload is aten.slice.Tensor:
        return _sliced(operation, source.axes, shape)
    if overload in (aten.linear.default, aten.addmm.default, aten.mm.default):
        return (*source.axes[:-1], ((None, shape[-1]),))
    if overload is aten.convolution.default:
        return image_axes(shape) if _is_image(source) else ()
    if overload in _MOVED:
        return ()
    alike = max((value.axes for value in sources if value.shape == shape), key=_places, default=())
    pooled = len(shape) == 4 and _is_image(source) and source.shape[:2] == shape[:2]
    return alike or (image_axes(shape) if pooled else ())


def _is_image(value: Value) -> bool:
    return len(value.shape) == 4 and value.axes == image_axes(value.shape)


def _places(axes: Axes) -> int:
    return math.prod(size for dim in axes for name, size in dim if name is not None)


def _regrouped(axes: Axes, shape: torch.Size) -> Axes:
    """The same factors in order, in dimensions of another shape; of one that is cut, the outer part keeps the name."""
    factors = [factor for dim in axes for factor in dim]
    found: list[tuple[Factor, ...]] = []
    for size in shape:
        dim: list[Factor] = [factors.pop(0)] if size == 1 and factors and factors[0][1] == 1 else []
        missing = size
        while missing > 1 and factors:
            name, each = factors.pop(0)
            if each > missing and each % missing == 0:
                name = None if isinstance(name, Tokens) else name
                factors.insert(0, (None, each // missing))
                each = missing
            if missing % each:
                return ()
            missing //= each
            dim.append((name, each))
        found.append(tuple(factor for factor in dim if factor != (None, 1)) or ((None, size),))
    return tuple(found)


def _joined(operation: Operation, shape: torch.Size) -> Axes:
    """Concatenation: a grid with other tokens before or behind it is still a grid."""
    values: list[Value] = operation.args[0]
    dim = (operation.args[1] if len(operation.args) > 1 else operation.kwargs.get("dim", 0)) % len(shape)
    at = max((at for at, value in enumerate(values) if value.axes), key=lambda at: _places(values[at].axes))
    axes = list(values[at].axes)
    before = sum(value.shape[dim] for value in values[:at])
    match axes[dim]:
        case (("h", height), ("w", width)):
            name: str | Tokens | None = Tokens(before, height, width)
        case ((Tokens() as tokens, _),):
            name = Tokens(before + tokens.first, tokens.height, tokens.width)
        case _:
            name = None
    axes[dim] = ((name, shape[dim]),)
    return tuple(axes)


def _sliced(operation: Operation, axes: Axes, shape: torch.Size) -> Axes:
    """A part of a dimension: every other row is still a row, and tokens of which no place is missing still a grid."""
    args = operation.args
    dim, start, step = (args[at] if at < len(args) else default for at, default in ((1, 0), (2, 0), (4, 1)))
    start = (start or 0) % operation.inputs[0].shape[dim]
    found, size = list(axes), shape[dim]
    found[dim] = ((None, size),)
    match axes[dim]:
        case ((Tokens() as tokens, _),) if step == 1:
            first = tokens.first - start
            if first == 0 and size == tokens.height * tokens.width:
                found[dim] = (("h", tokens.height), ("w", tokens.width))
            elif first >= 0 and first + tokens.height * tokens.width <= size:
                found[dim] = ((Tokens(first, tokens.height, tokens.width), size),)
        case ((str() as name, before),) if size == -(-before // step):
            found[dim] = ((name, size),)
    return tuple(found)
