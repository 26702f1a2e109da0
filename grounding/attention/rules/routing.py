"""Rules that share nothing out: winning probability passes unchanged, or to the place that an output came from."""

import math

import torch
from torch._ops import OpOverload

from grounding.attention.flow import Flow
from grounding.attention.graph import Operation, Rule, Value, first_operand_alone
from grounding.attention.rules.arithmetic import accept_any_operands, apply, rules_for, sum_to
from grounding.attention.rules.folding import (
    kept_dimension,
    normalised,
    of_channels,
    of_features,
    permuted_dimension,
    reshaped_dimension,
    shifted,
    unchanged,
)
from grounding.attention.spatial import aligned, joined, overlaid, permuted, regrouped, selected, sliced, split, stacked

aten = torch.ops.aten


def identity(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """Rectifiers, normalisation, dropout in evaluation mode, copies and casts."""
    return (flow,)


def shift(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """An activation less a constant or another activation, or clamped by constants: all to the activation."""
    return (sum_to(flow, operation.inputs[0]),)


def copied(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """Into memory whose content is overwritten: all to what was written, which may have been broadcast."""
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


def memory(operation: Operation, flow: Flow) -> tuple[Flow, ...]:
    """Memory that was written in parts: each element gives all to what was written there last."""
    index = operation.args[0].content().flatten()
    p = flow.take().flatten(1)
    sizes = [math.prod(value.shape) for value in operation.inputs]
    below = p.new_zeros(len(p), sum(sizes) + 1).index_add_(1, index, p)  # what falls on constants comes last
    parts = below[:, :-1].split(sizes, 1)
    return tuple(Flow(part.reshape(len(p), *value.shape)) for part, value in zip(parts, operation.inputs, strict=True))


def _same_layout(operation: Operation) -> str | None:
    """Of `as_strided_`: every element stays where it is, as in adaptive pooling of channels-last to one cell."""
    before, after = operation.inputs[0], operation.outputs[0]
    sides = zip(after.shape, before.stride, after.stride, strict=True)
    offset = operation.args[3:]
    if before.shape == after.shape and not offset and all(size == 1 or old == new for size, old, new in sides):
        return first_operand_alone(operation)
    return "the view moves elements"


def _known_parts(operation: Operation) -> str | None:
    return None if operation.args else "its parts were written with another size of elements"


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
_COPIED = Rule(copied, refuses=accept_any_operands, places=aligned, overwrites=True)
WRITTEN = Rule(memory, refuses=_known_parts, places=overlaid)
RULES: dict[OpOverload, Rule] = {
    **rules_for(
        "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training cudnn_batch_norm "
        "miopen_batch_norm",
        _NORM,
    ),
    **rules_for(
        "native_layer_norm native_group_norm _fused_rms_norm relu relu_ threshold threshold_ hardtanh hardtanh_ "
        "clamp clamp_ clamp_min clamp_min_ clamp_max clamp_max_ gelu gelu_ silu silu_ hardswish hardswish_ "
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
    **rules_for("permute transpose.int t", _PERMUTATION),
    **rules_for("select.int", Rule(routing, places=selected, moves_dimension=kept_dimension)),
    **rules_for("slice.Tensor", Rule(routing, places=sliced, moves_dimension=kept_dimension)),
    **rules_for(
        "expand repeat im2col constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d "
        "replication_pad1d replication_pad2d replication_pad3d pixel_shuffle "
        "pixel_unshuffle",
        Rule(routing, places=aligned),
    ),
    **rules_for("index.Tensor index_select roll flip", Rule(routing)),  # places end up elsewhere
    **rules_for("cat", Rule(concatenation, refuses=accept_any_operands, places=joined)),
    **rules_for("stack", Rule(stacking, refuses=accept_any_operands, places=stacked)),
    **rules_for("split.Tensor split_with_sizes", Rule(division, every_output=True, places=split)),
    **rules_for("unbind.int", Rule(division, every_output=True, places=selected)),
    **rules_for("copy_ fill_.Scalar fill_.Tensor zero_", _COPIED),
    **rules_for(
        "clamp.Tensor clamp_.Tensor clamp_min.Tensor clamp_min_.Tensor clamp_max.Tensor clamp_max_.Tensor",
        Rule(shift, places=aligned),
    ),
    **rules_for(
        "new_zeros new_ones new_full new_empty new_empty_strided zeros_like ones_like full_like empty_like",
        Rule(None, ignores_values=True),
    ),
    **rules_for("upsample_bicubic2d", Rule(None, places=aligned)),
}
