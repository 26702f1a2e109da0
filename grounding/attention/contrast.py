"""The contrast of Excitation Backprop: where it is taken, and what it is. arXiv 1608.00507, section 3.3."""

import torch

from grounding.attention.flow import Flow
from grounding.attention.graph import Operation, Tape
from grounding.attention.head import comes_past
from grounding.errors import GroundingError

PAST = "the scores come past the classifier too, so there is no one layer to contrast: use mwp"
CLOSE_OVER = "make one a constant; of images and text, record(lambda images: model(images, text), images)"


def contrast(classifier: Operation, flow: Flow, contrasted: int, bias: str) -> tuple[Flow, ...]:
    """MWP less dual MWP at each input of the classifier: its rule with the weights W, less its rule with -W.

    Only of the first `contrasted` signals; of the others their mean. Every rule is linear in the signal, so the signed
    difference is carried down in one walk. It is taken in at least float32, because the two are close.
    """
    rule = classifier.rule
    assert rule is not None, "a classifier is an operation with weights"
    assert rule.pass_down is not None, "a classifier is an operation with weights"
    assert rule.dual is not None, "a classifier is an operation with weights"
    flow = flow.shared()
    precise = Flow(flow.probability().to(torch.promote_types(flow.ratio.dtype, torch.float32)))
    if bias == "share" and rule.with_bias is not None:
        ours, dual = (rule.with_bias(classifier, precise, negate=negate) for negate in (False, True))
    else:
        ours, dual = rule.pass_down(classifier, precise), rule.dual(classifier, precise)
    both = zip(ours, dual, strict=True)
    return tuple(_difference(mwp, dual_mwp, contrasted).to(flow.ratio.dtype) for mwp, dual_mwp in both)


def _difference(mwp: Flow, dual_mwp: Flow, contrasted: int) -> Flow:
    """Of two flows to one value, which have its activation in common."""
    difference = mwp.ratio[:contrasted] - dual_mwp.ratio[:contrasted]
    mean = (mwp.ratio[contrasted:] + dual_mwp.ratio[contrasted:]) / 2
    return Flow(torch.cat([difference, mean]), mwp.activation, own=True)


def check_linear(tape: Tape) -> None:
    """That there is one W to negate.

    Raises:
        GroundingError: the scores are a product of two activations, such as those of an image and a text that were both
            recorded, or a sum over layers of which one lies below another.
    """
    if comes_past(tape.operations, tape.output):
        raise GroundingError(PAST)
    live = {tape.output}
    for operation in reversed(tape.operations):
        if live.isdisjoint(operation.outputs):
            continue
        joins = operation.rule.joins if operation.rule else None
        if len(operation.inputs) > 1 and joins in ("product", "matrix product"):
            raise GroundingError(f"the scores are a product of two activations ({operation.name}): {CLOSE_OVER}")
        if not operation.weighted:
            live.update(operation.inputs)


def classifiers(tape: Tape) -> list[Operation]:
    """The operations with weights that no other one lies above: the last linear layer, or several side by side.

    Raises:
        GroundingError: there is none.
    """
    last: list[Operation] = []
    live = {tape.output}
    for operation in reversed(tape.operations):
        if live.isdisjoint(operation.outputs):
            continue
        if operation.weighted:
            last.append(operation)
        else:
            live.update(operation.inputs)
    if not last:
        raise GroundingError("no convolution or linear layer lies between the inputs and the output")
    return last
