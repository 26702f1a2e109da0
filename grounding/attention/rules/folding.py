"""What is folded into the convolution or linear layer below: constant factors, channel by channel."""

import math

from grounding.attention.graph import Operation, Value
from grounding.attention.spatial import order_of


def norm_scale(operation: Operation, axis: int) -> tuple[Value | float, ...]:
    """The scale of a batch normalisation over this dimension of its input; an instance normalisation has no mean."""
    scale, mean = operation.args[1], operation.args[3]
    return (scale,) if axis == 1 and mean is not None and scale is not None else ()


def product_scale(operation: Operation, axis: int) -> tuple[Value | float, ...]:
    """The constant factor of a product, where it is one for each entry of this dimension, or a single one."""
    shape = operation.inputs[0].shape
    if len(operation.inputs) != 1 or operation.outputs[0].shape != shape:
        return ()
    constant = next(arg for arg in operation.args if not getattr(arg, "active", False))
    if isinstance(constant, (int, float)):
        return (float(constant),)
    given = [1] * (len(shape) - len(constant.shape)) + list(constant.shape)
    expected = [size if at == axis else 1 for at, size in enumerate(shape)]
    return (constant,) if given == expected or math.prod(given) == 1 else ()


def permuted_dimension(operation: Operation, axis: int) -> int:
    """Where a permutation leaves this dimension."""
    return order_of(operation).index(axis)


def reshaped_dimension(operation: Operation, axis: int) -> int | None:
    """Where a reshape leaves this dimension; None where it merges or cuts it."""
    before, after = operation.inputs[0].shape, operation.outputs[0].shape
    outer = math.prod(before[:axis])
    same = (at for at, size in enumerate(after) if size == before[axis] and math.prod(after[:at]) == outer)
    return next(same, None)
