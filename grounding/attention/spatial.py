"""Which dimensions of a recorded tensor are the places of the image, followed from the image through the network.

The functions from `aligned` to `sliced` say it of one output of an operation from its shape; each stands in the record
of the operations that it holds for (`rules`). They return no axes where the output has no places.
"""

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from grounding.attention.graph import Axes, Factor, Operation, Tokens, Value

SIDES = ("t", "h", "w")  # time, or depth, only of an image of three dimensions


@functools.lru_cache(maxsize=1024)
def image_axes(shape: torch.Size) -> Axes:
    """Those of (N, C, h, w), or of (N, C, t, h, w)."""
    names = ("n", None, *SIDES[-(len(shape) - 2) :])
    return tuple(((name, size),) for name, size in zip(names, shape, strict=True))


def input_axes(shape: torch.Size) -> Axes:
    """Those of an image (N, C, h, w), of a film (N, C, t, h, w), or (N, t, 3, h, w) where t > 4; else none."""
    if len(shape) == 5 and shape[1] > 4 and shape[2] == 3:
        return tuple(((name, size),) for name, size in zip(("n", "t", None, "h", "w"), shape, strict=True))
    return image_axes(shape) if len(shape) in (4, 5) else ()


def label(operations: Sequence[Operation]) -> None:
    """Give each value that the operations returned its `axes`, or else `lost_at`; the inputs have theirs.

    Where the image is cut into windows, the windows are its places; at the residual sum these are fine again.
    """
    for operation in operations:
        places = operation.rule.places if operation.rule else None
        lost_at = next((value.lost_at for value in operation.inputs if value.lost_at), "")
        known = any(value.axes for value in operation.inputs)
        for output in operation.outputs:
            if known and places is not None:
                output.axes = places(operation, output.shape)
            if not output.axes:
                output.lost_at = operation.name if known and places is None else lost_at


def grid(value: Value) -> tuple[int, ...] | None:
    """The places of a value, (height, width) or (time, height, width); None where it has none."""
    sizes = {name: size for factors in value.axes for name, size in factors}
    tokens = next((name for name in sizes if isinstance(name, Tokens)), None)
    if "n" not in sizes or not (tokens or {"h", "w"} <= sizes.keys()):
        return None
    return tokens.sides if tokens else tuple(sizes[name] for name in SIDES if name in sizes)


def sum_to_map(probability: Tensor, value: Value) -> Tensor:
    """(K, *shape) of a value that has a grid -> (K, N, *grid), summed over all that is no place."""
    factors = [factor for dim in value.axes for factor in dim]
    names = [type(name).__name__ if isinstance(name, Tokens) else name for name, _ in factors]
    kept = [names.index(name) + 1 for name in ("n", Tokens.__name__, *SIDES) if name in names]
    rest = [at for at in range(1, len(factors) + 1) if at not in kept]
    apart = probability.reshape(len(probability), *(size for _, size in factors))  # (K, *factors)
    total = apart.sum(rest) if rest else apart
    total = total.permute(0, *(1 + sorted(kept).index(at) for at in kept))  # (K, N, tokens) or (K, N, *grid)
    for name, _ in factors:
        if isinstance(name, Tokens):
            total = total.narrow(2, name.first, name.count).unflatten(2, name.sides)
    return total


def aligned(operation: Operation, shape: torch.Size) -> Axes:
    """Element by element, pooled, resized or reduced: the places of the finest input of that shape.

    An image, of whole channels, may also have other sides; with another number of channels its places count as gone.
    """
    first = operation.inputs[0]
    if len(operation.inputs) == 1 and first.shape == shape:
        return first.axes
    sources = _sources(operation)
    alike = max((value.axes for value in sources if value.shape == shape), key=_count, default=())
    before = sources[0].shape
    pooled = len(shape) == len(before) and is_image(sources[0]) and before[:2] == shape[:2]
    return alike or (image_axes(shape) if pooled else ())


def convolved(operation: Operation, shape: torch.Size) -> Axes:
    """(N, C, h, w) -> (N, D, h', w'), and so in three dimensions."""
    return image_axes(shape) if is_image(_sources(operation)[0]) else ()


def projected(operation: Operation, shape: torch.Size) -> Axes:
    """A linear layer: another last dimension."""
    return (*_sources(operation)[0].axes[:-1], ((None, shape[-1]),))


def regrouped(operation: Operation, shape: torch.Size) -> Axes:
    """The same factors in order, in dimensions of another shape; of one that is cut, the outer part keeps the name."""
    factors = [factor for dim in _sources(operation)[0].axes for factor in dim]
    axes: list[tuple[Factor, ...]] = []
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
        axes.append(tuple(factor for factor in dim if factor != (None, 1)) or ((None, size),))
    return tuple(axes)


def permuted(operation: Operation, shape: torch.Size) -> Axes:
    """`permute`, `transpose` and `t`."""
    axes = _sources(operation)[0].axes
    return tuple(axes[at] for at in order_of(operation))


def order_of(operation: Operation) -> list[int]:
    """For each dimension of the output of `permute`, `transpose` or `t`, the dimension of the input that it was."""
    order = list(range(len(operation.inputs[0].shape)))
    if operation.overload is torch.ops.aten.permute.default:
        return [order[at] for at in operation.args[1]]
    first, second = operation.args[1:3] if len(operation.args) > 2 else (0, -1)
    order[first], order[second] = order[second], order[first]
    return order


def selected(operation: Operation, shape: torch.Size) -> Axes:
    """`select` and `unbind`: without one dimension."""
    axes = _sources(operation)[0].axes
    dim = operation.argument(1, "dim", 0) % len(axes)
    return axes[:dim] + axes[dim + 1 :]


def stacked(operation: Operation, shape: torch.Size) -> Axes:
    """`stack`: with one dimension more."""
    axes = _sources(operation)[0].axes
    dim = operation.argument(1, "dim", 0) % len(shape)
    return (*axes[:dim], ((None, shape[dim]),), *axes[dim:])


def split(operation: Operation, shape: torch.Size) -> Axes:
    """A part of one dimension, which has no places then."""
    axes = list(_sources(operation)[0].axes)
    dim = operation.argument(2, "dim", 0) % len(shape)
    axes[dim] = ((None, shape[dim]),)
    return tuple(axes)


def joined(operation: Operation, shape: torch.Size) -> Axes:
    """`cat`: a grid with other tokens before or behind it is still a grid."""
    values: list[Value] = operation.args[0]
    dim = operation.argument(1, "dim", 0) % len(shape)
    at = max((at for at, value in enumerate(values) if value.axes), key=lambda at: _count(values[at].axes))
    axes = list(values[at].axes)
    before = sum(value.shape[dim] for value in values[:at])
    match axes[dim]:
        case (("h", _), ("w", _)) | (("t", _), ("h", _), ("w", _)):
            name: str | Tokens | None = Tokens(before, tuple(size for _, size in axes[dim]))
        case ((Tokens() as tokens, _),):
            name = Tokens(before + tokens.first, tokens.sides)
        case _:
            name = None
    axes[dim] = ((name, shape[dim]),)
    return tuple(axes)


def sliced(operation: Operation, shape: torch.Size) -> Axes:
    """A part of a dimension: every other row is still a row, and tokens of which no place is missing still a grid."""
    dim, step = operation.argument(1, "dim", 0), operation.argument(4, "step", 1)
    start = (operation.argument(2, "start", 0) or 0) % operation.inputs[0].shape[dim]
    axes, size = list(_sources(operation)[0].axes), shape[dim]
    before = axes[dim]
    axes[dim] = ((None, size),)
    match before:
        case ((Tokens() as tokens, _),) if step == 1:
            first = tokens.first - start
            if first == 0 and size == tokens.count:
                axes[dim] = tuple(zip(SIDES[-len(tokens.sides) :], tokens.sides, strict=True))
            elif first >= 0 and first + tokens.count <= size:
                axes[dim] = ((Tokens(first, tokens.sides), size),)
        case ((str() as name, whole),) if size == -(-whole // step):
            axes[dim] = ((name, size),)
    return tuple(axes)


def overlaid(operation: Operation, shape: torch.Size) -> Axes:
    """Memory written in parts: the places of the finest part, along the dimensions that it lies in."""
    output, parts = operation.outputs[0], zip(operation.inputs, operation.kwargs["starts"], strict=True)
    return max((_along(output, part, start) for part, start in parts if part.axes), key=_count, default=())


def _along(output: Value, part: Value, start: int) -> Axes:
    """The axes of a part of the memory of a value, for its dimensions: those with the same step from entry to entry.

    Of an image that covers a part of the rows, as with padding, the rows are still rows; tokens may lie among others.

    Args:
        start: elements from the beginning of the value to that of the part; negative where the part begins before.
    """
    axes: list[tuple[Factor, ...]] = []
    same_rank, left = len(part.shape) == len(output.shape), list(range(len(part.shape)))
    for dim, (size, step) in enumerate(zip(output.shape, output.stride, strict=True)):
        alike = [at for at in left if part.stride[at] == step or (same_rank and part.shape[at] == size == 1)]
        at = (dim if dim in alike else None) if same_rank else next(iter(alike), None)
        axes.append(((None, size),))
        if at is None:
            continue
        left = [other for other in left if other > at]
        before = start // step % size if step > 0 and start >= 0 else 0
        match part.axes[at]:
            case factors if part.shape[at] == size:
                axes[dim] = factors
            case (("t" | "h" | "w" as name, smaller),) if smaller < size:
                axes[dim] = ((name, size),)
            case (("h", _), ("w", _)) | (("t", _), ("h", _), ("w", _)) if before + part.shape[at] <= size:
                axes[dim] = ((Tokens(before, tuple(side for _, side in part.axes[at])), size),)
            case ((Tokens() as tokens, smaller),) if before + smaller <= size:
                axes[dim] = ((Tokens(before + tokens.first, tokens.sides), size),)
    return tuple(axes)


def is_image(value: Value) -> bool:
    """Whether the dimensions of a value are those of (N, C, h, w) or (N, C, t, h, w)."""
    return len(value.shape) in (4, 5) and value.axes == image_axes(value.shape)


def _sources(operation: Operation) -> list[Value]:
    return [value for value in operation.inputs if value.axes]


def _count(axes: Axes) -> int:
    """How many places there are, times the images."""
    return math.prod(size for dim in axes for name, size in dim if name is not None)
