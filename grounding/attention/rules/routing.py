"""Rules that share nothing out: winning probability passes unchanged, or to the element that an output came from."""

import math

import torch
from torch._ops import OpOverload

from grounding.attention.graph import Flow, Operation, Rule, Value, first_operand_alone
from grounding.attention.rules.arithmetic import accept_any_operands, apply, rules_for, sum_to
from grounding.attention.rules.folding import (
    normalised,
    of_channels,
    of_features,
    permuted_dimension,
    reshaped_dimension,
    shifted,
    unchanged,
)
from grounding.attention.spatial import aligned, joined, permuted, regrouped, selected, sliced, split, stacked

aten = torch.ops.aten


def identity(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """Rectifiers, normalisation, dropout in evaluation mode, copies and casts."""
    return (flow,)


def shift(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """An activation less a constant or another activation: all to what is subtracted from."""
    return (sum_to(flow, operation.inputs[0]),)


def reshape(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """The same elements in the same order."""
    p = flow.take()
    return (Flow(p.reshape(len(p), *operation.inputs[0].shape)),)


def routing(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """Each output is one input element, or padding: permutations, selections, expansions."""
    p = flow.take()
    pull = torch.func.vjp(lambda x: apply(operation, x), p.new_zeros(operation.inputs[0].shape))[1]
    return (Flow(torch.func.vmap(pull)(p)[0]),)


def concatenation(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """`cat`: each input gets its part."""
    values: list[Value] = operation.args[0]
    dim = operation.argument(1, "dim", 0) % len(values[0].shape)
    sizes = [value.shape[dim] for value in values]
    ratios = torch.split(flow.ratio, sizes, dim + 1)
    activations = [None] * len(sizes) if flow.activation is None else torch.split(flow.activation, sizes, dim)
    return tuple(
        Flow(ratio, activation, flow.own)
        for ratio, activation, value in zip(ratios, activations, values, strict=True)
        if value.active
    )


def stacking(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """`stack`: each input gets its part."""
    values: list[Value] = operation.args[0]
    dim = operation.argument(1, "dim", 0) % len(operation.outputs[0].shape)
    parts = flow.take().unbind(dim + 1)
    return tuple(Flow(part) for part, value in zip(parts, values, strict=True) if value.active)


def division(operation: Operation, flows: dict[Value, Flow]) -> tuple[Flow, ...]:
    """`split`, `unbind`: the parts side by side again; one that carries no signal counts as 0."""
    unbind = operation.overload is aten.unbind.int
    dim = operation.argument(1 if unbind else 2, "dim", 0) % len(operation.inputs[0].shape)
    like = next(iter(flows.values())).ratio
    parts = [
        flows[part].take() if part in flows else like.new_zeros(len(like), *part.shape) for part in operation.outputs
    ]
    return (Flow((torch.stack if unbind else torch.cat)(parts, dim + 1), own=True),)


def maximum(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """Max pooling over the last two dimensions: each output gives all to its argmax."""
    *outer, channels, height, width = operation.inputs[0].shape
    places = operation.outputs[1].content(torch.int64).movedim(-3, -1)  # (N, h', w', C), numbers of places
    indices = (places * channels + torch.arange(channels, device=places.device)).flatten(-3)  # of units, channels last
    p = flow.take().movedim(-3, -1).flatten(-3)  # (K, N, h' * w' * C)
    below = p.new_zeros(len(p), *outer, height * width * channels).scatter_add_(-1, indices.expand_as(p), p)
    return (Flow(below.unflatten(-1, (height, width, channels)).movedim(-1, -3), own=True),)


def maximum_along(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """`max` and `amax` over dimensions: each output gives all to its argmax, the first of equals."""
    p = flow.take()
    x = operation.inputs[0].content()
    rank = x.dim()
    given = operation.args[1] if len(operation.args) > 1 else []
    dims = sorted({dim % rank for dim in ([given] if isinstance(given, int) else given)}) or list(range(rank))
    kept = [axis for axis in range(rank) if axis not in dims]
    lines = x.permute(*kept, *dims)  # (*kept, *dims)
    best = lines.flatten(len(kept)).max(-1).indices.unsqueeze(-1)  # (*kept, 1)
    below = p.new_zeros(len(p), *best.shape[:-1], math.prod(x.shape[dim] for dim in dims))
    below.scatter_(-1, best.expand(len(p), *best.shape), p.reshape(len(p), *best.shape))
    places = [1 + (*kept, *dims).index(axis) for axis in range(rank)]
    return (Flow(below.reshape(len(p), *lines.shape).permute(0, *places)),)


def _same_layout(operation: Operation) -> str | None:
    """Of `as_strided_`: every element stays where it is, as in adaptive pooling of channels-last to one cell."""
    before, after = operation.inputs[0], operation.outputs[0]
    sides = zip(after.shape, before.stride, after.stride, strict=True)
    offset = operation.args[3:]
    if before.shape == after.shape and not offset and all(size == 1 or old == new for size, old, new in sides):
        return first_operand_alone(operation)
    return "the view moves elements"


def _positive_power(operation: Operation) -> str | None:
    exponent = operation.args[1]
    return first_operand_alone(operation) if exponent > 0 else f"the power {exponent} is not above 0"


_NORM = Rule(identity, places=aligned, folds=of_features, affine=normalised)
_PASSING = Rule(identity, places=aligned)
_COPY = Rule(identity, places=aligned, folds=of_channels, affine=unchanged)
_GATE = Rule(identity, places=aligned, makes="gate")
_WEIGHTS = Rule(identity, places=aligned, makes="attention weights")
_RESHAPE = Rule(reshape, places=regrouped, moves_dimension=reshaped_dimension)
_PERMUTATION = Rule(routing, places=permuted, moves_dimension=permuted_dimension)
_MAXIMUM = Rule(maximum, places=aligned)
RULES: dict[OpOverload, Rule] = {
    **rules_for(
        "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training cudnn_batch_norm "
        "miopen_batch_norm",
        _NORM,
    ),
    **rules_for(
        "native_layer_norm native_group_norm _fused_rms_norm relu relu_ hardtanh hardtanh_ clamp clamp_ clamp_min clamp_min_ gelu gelu_ silu silu_ hardswish hardswish_ "
        "leaky_relu leaky_relu_ elu elu_ celu celu_ selu selu_ mish mish_ softplus _prelu_kernel _log_softmax",
        _PASSING,
    ),
    **rules_for("native_dropout clone detach alias _to_copy", _COPY),
    **rules_for("as_strided_", Rule(identity, places=aligned, refuses=_same_layout)),
    **rules_for("pow.Tensor_Scalar", Rule(identity, places=aligned, refuses=_positive_power)),
    **rules_for("sigmoid sigmoid_ hardsigmoid hardsigmoid_ tanh tanh_", _GATE),
    **rules_for("_softmax _safe_softmax", _WEIGHTS),
    **rules_for(
        "sqrt rsqrt reciprocal linalg_vector_norm std.correction "
        "gt.Scalar ge.Scalar lt.Scalar le.Scalar gt.Tensor ge.Tensor lt.Tensor le.Tensor",
        Rule(None, places=aligned, makes="gate"),
    ),
    **rules_for(
        "sub.Tensor sub_.Tensor", Rule(shift, joins="first", places=aligned, folds=of_channels, affine=shifted)
    ),
    **rules_for("view _unsafe_view _reshape_alias squeeze squeeze.dim squeeze.dims unsqueeze", _RESHAPE),
    **rules_for("permute transpose.int", _PERMUTATION),
    **rules_for("t", Rule(routing, places=permuted)),
    **rules_for("select.int", Rule(routing, places=selected)),
    **rules_for("slice.Tensor", Rule(routing, places=sliced)),
    **rules_for(
        "expand repeat im2col constant_pad_nd reflection_pad1d reflection_pad2d replication_pad2d pixel_shuffle "
        "pixel_unshuffle",
        Rule(routing, places=aligned),
    ),
    **rules_for("index.Tensor index_select roll flip", Rule(routing)),  # places end up elsewhere
    **rules_for("cat", Rule(concatenation, refuses=accept_any_operands, places=joined)),
    **rules_for("stack", Rule(stacking, refuses=accept_any_operands, places=stacked)),
    **rules_for("split.Tensor split_with_sizes", Rule(division, every_output=True, places=split)),
    **rules_for("unbind.int", Rule(division, every_output=True, places=selected)),
    **rules_for("max_pool2d_with_indices adaptive_max_pool2d", _MAXIMUM),
    **rules_for("max.dim amax", Rule(maximum_along, needs_values=True, places=aligned)),
    **rules_for(
        "new_zeros new_ones new_full new_empty new_empty_strided zeros_like ones_like full_like empty_like",
        Rule(None, ignores_values=True),
    ),
    **rules_for("upsample_bicubic2d", Rule(None, places=aligned)),
}
