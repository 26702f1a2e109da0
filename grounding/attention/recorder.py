"""Record one forward pass as a list of ATen operations, without touching the network."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from grounding.attention.annotations import attach_folds, detach_gates, release
from grounding.attention.canonical import canonical, measure_depths
from grounding.attention.checks import (
    check_batched,
    check_images,
    check_model,
    is_input,
)
from grounding.attention.dispatch import Recorder
from grounding.attention.gradients import Gradients, check_differentiable, check_gradient
from grounding.attention.graph import Operation, Rule, Tape, Value
from grounding.attention.head import join_head
from grounding.attention.linear_sums import merge_sums
from grounding.attention.module_names import ModuleNames
from grounding.attention.outputs import Output, pick, scores_first
from grounding.attention.signals import checked_names
from grounding.attention.spatial import label
from grounding.attention.table import layer_table
from grounding.errors import GroundingError


class UncompiledRecorder(Recorder):
    """The same where `torch.compile` is in use: Dynamo passes over what it would else try to compile."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return True

    __torch_dispatch__ = Recorder.__torch_dispatch__


def record(
    model: Callable[..., Any],
    *inputs: Tensor,
    output: Output | None = None,
    names: Sequence[str] | None = None,
    rules: Mapping[OpOverload, Rule] | None = None,
    differentiable: bool = False,
    **keywords: Any,
) -> Tape:
    """Run one forward pass and record it. Nothing of the model is patched, hooked, edited or switched.

    Args:
        model: a module in evaluation mode, or any function of tensors, that returns the scores (N, T), or a tuple of
            tensors with the scores first; anything else, where `output` says what the scores are.
        inputs: what it is called with. The images are the first of them that is (N, C, H, W), or a film
            (N, C, T, H, W), and that the scores depend on: `layers.layers` and strides are counted from these.
        output: which of what the model returns are the scores: the name of an attribute or key such as `logits` (in
            others, joined by dots), a position, or a function that picks them.
        names: T names of the scores, by which signals may then be given.
        rules: of your own, by ATen operation; they come before the package's.
        differentiable: keep the autograd graph, so that maps have a gradient by the inputs and the weights: through x,
            W+ and Z of arXiv 1608.00507, equation 10. The scores, `Tape.scores`, then have theirs too.
        keywords: what else the model is called with, by name. Tensors of floating point numbers are inputs too, and
            bytes; other tensors (ids, masks) and other values are constants.

    Raises:
        GroundingError: batch normalisation or dropout in training mode, a forward pass that changes a tensor of the
            model, a result that is no tensor or tuple of tensors, or scores that do not depend on the inputs; names
            that are not as many as the scores; one image without a batch; a differentiable recording where gradients
            are off, or of what requires none.
    """
    model = getattr(model, "_orig_mod", model)  # what torch.compile wraps: a recording runs uncompiled
    check_model(model)
    named = {name: value for name, value in keywords.items() if is_input(value)}
    tensors = (*inputs, *named.values())
    check_images(tensors)
    if differentiable:
        check_differentiable()
    kind = UncompiledRecorder if "torch._dynamo" in sys.modules else Recorder
    recorder = kind(tensors, rules or {}, Gradients() if differentiable else None, ModuleNames(model, record.__code__))
    with torch.inference_mode(False), torch.set_grad_enabled(differentiable), recorder:
        try:
            returned = pick(model(*inputs, **keywords), output)
        except (RuntimeError, TypeError, ValueError, IndexError, AssertionError) as error:
            if not isinstance(error, GroundingError):
                check_batched(recorder.inputs, recorder.operations, error)
            raise
    check_batched(recorder.inputs, recorder.operations)
    outputs = scores_first(returned, output)
    scores = recorder.value_of(outputs[0])
    if not scores.active:
        raise GroundingError("the output of the model does not depend on its inputs")
    if differentiable:
        check_gradient(outputs[0])
    named_scores = checked_names(names, scores.shape[1] if len(scores.shape) > 1 else 0)
    recorder.close()
    with torch.inference_mode(False), torch.set_grad_enabled(differentiable):
        operations = in_linear_form(recorder.operations, scores, rules or {})
    release(operations, scores)
    return Tape(
        recorder.inputs,
        scores,
        tuple(operations),
        outputs,
        recorder.modules.canonical,
        differentiable,
        _input_names(len(inputs), named, recorder.modules.canonical),
        named_scores,
        layer_table,
    )


def in_linear_form(recorded: list[Operation], output: Value, given: Mapping[OpOverload, Rule]) -> list[Operation]:
    """The recorded operations with what is linear written in the forms that have rules, and annotated."""
    operations = merge_sums(canonical(recorded, given))
    measure_depths(operations)
    attach_folds(operations, output)
    detach_gates(operations)
    label(operations)
    return join_head(operations, output)


def _input_names(positional: int, named: Iterable[str], modules: Mapping[str, str]) -> tuple[str, ...]:
    """Of each input its keyword, where no module has that name, or its place in `Tape.inputs`."""
    keywords = [*[""] * positional, *named]
    return tuple(name if name and name not in modules else f"inputs[{at}]" for at, name in enumerate(keywords))
