"""Sums of linear maps of one activation, such as LoRA's base(x) + B(A(x)) * s, as the one linear map that they are.

Each branch is a linear layer or a convolution, or a chain of such with constant factors and no activation function in
between. A sum with the activation itself, a skip connection, stays a sum; so does a chain without a branch beside it.
"""

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from grounding.attention.canonical import derive, emit, fresh, view_of
from grounding.attention.decompositions import by_name
from grounding.attention.graph import Derived, Operation, Value
from grounding.attention.rules.arithmetic import rules_for
from grounding.attention.rules.folding import of_channels
from grounding.attention.rules.table import TABLE

aten = torch.ops.aten

_LINEAR = (aten.linear.default, aten.mm.default, aten.addmm.default)
_SUMS = {aten.add.Tensor: 1.0, aten.add_.Tensor: 1.0, aten.sub.Tensor: -1.0, aten.sub_.Tensor: -1.0}
_SAME = "view _unsafe_view expand unsqueeze squeeze squeeze.dim clone alias _to_copy native_dropout"
_NORMS = "native_batch_norm _native_batch_norm_legit_no_training cudnn_batch_norm"
_WITHOUT_BIAS = {  # of merged layers, whose biases are not kept: none can take its share
    overload: replace(TABLE[overload], with_bias=None) for overload in (aten.linear.default, aten.convolution.default)
}
_PASSING = frozenset(rules_for(_SAME, TABLE[aten.clone.default]))
_NORMALISING = frozenset(rules_for(_NORMS, TABLE[aten.native_batch_norm.default]))
_Axis = tuple[int, int, int, int, int]  # of `_geometry`


@dataclass(frozen=True, slots=True)
class _Branch:
    """A value as a linear map of one below it.

    Attributes:
        source: the value below.
        factors: of the map, from the top down: weights, constants for each output, numbers.
        layer: the lowest linear layer or convolution; None where the map has none.
        reshaped: below that layer there are only reshapes and copies.
    """

    source: Value
    factors: tuple[Value | float, ...]
    layer: Operation | None = None
    reshaped: bool = True


def merge_sums(operations: Sequence[Operation]) -> list[Operation]:
    """The same forward pass with each such sum as one linear layer or convolution, whose weights are derived."""
    makers: dict[Value, Operation] = {}
    merged: list[Operation] = []
    for operation in operations:
        replacing = _merge(operation, makers) or [operation]
        merged += replacing
        makers.update((value, each) for each in replacing for value in each.outputs)
    return merged


def _merge(operation: Operation, makers: dict[Value, Operation]) -> list[Operation] | None:
    sign = _SUMS.get(operation.overload) if operation.overload else None
    if sign is None or len(operation.inputs) != 2 or not _by_package(operation):
        return None
    first, second = operation.inputs
    if not first.shape == second.shape == operation.outputs[0].shape:
        return None
    for down, as_one in ((_linear_branches, _as_layer), (_convolved_branches, _as_convolution)):
        ways = {branch.source: branch for branch in down(_Branch(first, ()), makers)}
        for other in down(_Branch(second, (sign * operation.kwargs.get("alpha", 1),)), makers):
            if one := ways.get(other.source):
                if one.layer and other.layer:
                    return as_one(operation, one, other)
                break  # a skip connection
    return None


def _linear_branches(branch: _Branch, makers: dict[Value, Operation]) -> Iterator[_Branch]:
    """The value as a map of itself, and of each value below it, along the last dimension."""
    yield branch
    if (operation := _maker(branch.source, makers)) is None:
        return
    below = operation.inputs[0]
    step: _Branch | None = None
    if operation.overload in _LINEAR:
        weight = (
            operation.args[1]
            if operation.overload is _LINEAR[0]
            else derive(torch.t, operation.args[-1].shape[::-1], operation.args[-1])
        )
        step = _Branch(below, (*branch.factors, weight), operation)
    elif operation.overload in _PASSING and below.shape[-1:] == branch.source.shape[-1:] and _as_many(operation):
        step = replace(branch, source=below)
    elif (factors := _factors(operation, len(below.shape) - 1)) is not None:
        step = _Branch(below, (*branch.factors, *factors), branch.layer, not factors and branch.reshaped)
    if step:
        yield from _linear_branches(step, makers)


def _convolved_branches(branch: _Branch, makers: dict[Value, Operation]) -> Iterator[_Branch]:
    """The same along the channels; above the lowest convolution only those of single elements."""
    yield branch
    if (operation := _maker(branch.source, makers)) is None:
        return
    below = operation.inputs[0]
    step: _Branch | None = None
    if operation.overload is aten.convolution.default and not operation.args[6]:
        if branch.layer is None or (_of_single_elements(branch.layer) and operation.args[8] == 1):
            step = _Branch(below, (*branch.factors, operation.args[1]), operation)
    elif operation.overload in _PASSING and below.shape == branch.source.shape:
        step = replace(branch, source=below)
    elif branch.layer is None and (factors := _factors(operation, 1)) is not None:
        step = replace(branch, source=below, factors=(*branch.factors, *factors))
    if step:
        yield from _convolved_branches(step, makers)


def _maker(value: Value, makers: dict[Value, Operation]) -> Operation | None:
    """What made a value of one other, by a rule of the package that applies; else None."""
    operation = makers.get(value)
    if operation is None or len(operation.inputs) != 1 or operation.refusal is not None or not _by_package(operation):
        return None
    return operation


def _factors(operation: Operation, axis: int) -> tuple[Value | float, ...] | None:
    """The constants that an operation multiplies each entry of a dimension by; None where it does anything else."""
    if operation.inputs[0].shape != operation.outputs[0].shape:
        return None
    if operation.overload in _NORMALISING and axis == 1:
        call = by_name(operation.overload, *operation.args)
        weight = 1.0 if call.weight is None else call.weight
        return (
            (derive(_norm_factor, call.running_var.shape, weight, call.running_var, call.eps),)
            if call.running_var is not None
            else None
        )
    constant = next((arg for arg in operation.args[:2] if arg is not operation.inputs[0]), None)
    if operation.overload in _SUMS:
        subtracted = operation.args[0] is not operation.inputs[0]
        return (_SUMS[operation.overload] * operation.kwargs.get("alpha", 1),) if subtracted else ()
    if operation.overload in (aten.mul.Tensor, aten.mul_.Tensor):
        if not of_channels(operation, axis) or constant is None:
            return None
        if not isinstance(constant, Value):
            return (float(constant),)
        at = axis - len(operation.inputs[0].shape) + len(constant.shape)
        size = (constant.shape[at],) if at >= 0 else ()
        return (derive(functools.partial(_entries, axis=at), size, constant),)
    if operation.overload in (aten.div.Tensor, aten.div_.Tensor) and isinstance(constant, (int, float)):
        return (1 / constant,) if constant else None
    return None


def _entries(constant: Tensor, axis: int) -> Tensor:
    """Those along one dimension, all the others being the same: (size,), (1,) or ()."""
    return constant[tuple(slice(None) if at == axis else 0 for at in range(constant.dim()))]


def _as_layer(operation: Operation, one: _Branch, other: _Branch) -> list[Operation] | None:
    source, output = one.source, operation.outputs[0]
    if source.tensor is None:
        for branch in (one, other):
            if branch.reshaped and branch.layer and branch.layer.inputs[0].tensor is not None:
                view_of(branch.layer.inputs[0], lambda tensor: tensor.reshape(source.shape), source)
                break
        else:
            return None
    shape = torch.Size((*source.shape[:-1], output.shape[-1]))
    end = output if shape == output.shape else fresh(*shape)
    layer = emit(operation, aten.linear.default, source, _sum_of(one, other), None, output=end)
    layer.rule = _WITHOUT_BIAS[aten.linear.default]
    if end is output:
        return [layer]
    return [layer, emit(operation, aten.view.default, end, list(output.shape), output=output)]


def _as_convolution(operation: Operation, one: _Branch, other: _Branch) -> list[Operation] | None:
    """One kernel, where strides and groups are equal and the centres of the two kernels meet."""
    layers = [each.layer for each in (one, other) if each.layer]
    axes = list(zip(*map(_geometry, layers), strict=True))  # for each dimension the setting of both
    groups = layers[0].args[8]
    if groups != layers[1].args[8] or not all(_meet(*axis) for axis in axes):
        return None
    wider = [max(axis) for axis in axes]
    stride, dilation, padding = ([each[at] for each in wider] for at in (1, 2, 3))
    weight = _sum_of(one, other)
    arguments = (one.source, weight, None, stride, padding, dilation, False, [0] * len(padding), groups)
    layer = emit(operation, aten.convolution.default, *arguments, output=operation.outputs[0])
    layer.rule = _WITHOUT_BIAS[aten.convolution.default]
    return [layer]


def _meet(one: _Axis, other: _Axis) -> bool:
    """Whether two kernels, of sizes that may differ, are one about a common centre, along a dimension."""
    same_centre = one[1] == other[1] and one[4] == other[4] and one[0] % 2 == other[0] % 2
    return same_centre and (1 in (one[0], other[0]) or one[2] == other[2])


def _geometry(layer: Operation) -> list[_Axis]:
    """For each dimension of a convolution: kernel, stride, dilation, padding, and the input at its first output."""
    kernel = layer.args[1].shape[2:]
    stride, padding, dilation = (each * len(kernel) if len(each) == 1 else each for each in layer.args[3:6])
    settings = zip(kernel, stride, dilation, padding, strict=True)
    return [(size, step, spread, pad, spread * (size // 2) - pad) for size, step, spread, pad in settings]


def _of_single_elements(layer: Operation) -> bool:
    """Whether a convolution only mixes channels, all with all."""
    return layer.args[8] == 1 and all(
        (kernel, stride, padding) == (1, 1, 0) for kernel, stride, _, padding, _ in _geometry(layer)
    )


def _as_many(operation: Operation) -> bool:
    """Whether it returns as many elements as it gets, as `expand` does in products of three dimensions."""
    return math.prod(operation.inputs[0].shape) == math.prod(operation.outputs[0].shape)


def _by_package(operation: Operation) -> bool:
    return operation.overload is not None and operation.rule in (
        TABLE.get(operation.overload),
        _WITHOUT_BIAS.get(operation.overload),
    )


def _sum_of(*branches: _Branch) -> Derived:
    terms = [derive(_composed, _shape_of(branch.factors), *branch.factors) for branch in branches]
    return derive(_total, [max(sizes) for sizes in zip(*(term.shape for term in terms), strict=True)], *terms)


def _shape_of(factors: Sequence[Value | float]) -> list[int]:
    """Of the weights of a chain."""
    weights = [each for each in factors if isinstance(each, Value) and len(each.shape) > 1]
    return [weights[0].shape[0], *weights[-1].shape[1:]]


def _composed(*factors: Tensor | float) -> Tensor:
    """The weights of a chain: (out, in), or (out, in, ...) of a convolution; the first factor is the topmost."""
    return torch.as_tensor(functools.reduce(_after, factors))


def _after(upper: Tensor | float, lower: Tensor | float) -> Tensor | float:
    """Numbers, (D,) constants for each output, matrices and kernels, one after the other."""
    if not isinstance(upper, Tensor) or not isinstance(lower, Tensor) or upper.numel() == 1 or lower.dim() == 0:
        return upper * lower
    if upper.dim() == 1:
        return upper.reshape(-1, *[1] * (lower.dim() - 1)) * lower
    if lower.dim() == 1:
        return upper * lower.reshape(1, -1, *[1] * (upper.dim() - 2))
    return torch.einsum("oi,ij...->oj...", upper.flatten(1), lower)


def _total(one: Tensor, other: Tensor) -> Tensor:
    """The sum of two matrices, or of two kernels about their common centre."""
    sizes = [max(pair) for pair in zip(one.shape[2:], other.shape[2:], strict=True)]
    return _widened(one, sizes) + _widened(other, sizes)


def _widened(kernel: Tensor, sizes: list[int]) -> Tensor:
    """A kernel with zeros about it, up to these sizes."""
    missing = [size - own for size, own in zip(sizes, kernel.shape[2:], strict=True)]
    return functional.pad(kernel, [each // 2 for each in reversed(missing) for _ in "ab"]) if missing else kernel


def _norm_factor(weight: Tensor | float, variance: Tensor, eps: float) -> Tensor:
    """What batch normalisation multiplies each channel by."""
    return weight * (variance + eps).rsqrt()
