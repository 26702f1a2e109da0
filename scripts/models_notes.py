"""Which choices of the rules a network exercises, read off the walk down its recorded forward pass."""

import itertools
from collections import Counter
from collections.abc import Iterator

from grounding.attention.graph import Operation, Tape, Value
from grounding.attention.layers import same_signal
from grounding.attention.walk import plan

# Each note of the table, and what it stands for.
NOTES = {
    "attention": "softmax(q k^T) v: the values carry the signal, the attention weights are constants",
    "batch norm folded": "into the layer that it alone reads: the sign of its scale counts",
    "batch norm passed": "one that no convolution or linear layer lies right below",
    "channel gate": "a product with one constant a channel, as in squeeze-excitation: the other factor gets all",
    "constant factor": "a product with a parameter: the signal passes where that is positive",
    "gate": "a product of which one factor is a constant to the signal: the other gets all",
    "layer scale folded": "as batch norm",
    "linear bottleneck": "signed input that came from weights with no activation function or layer norm between",
    "matrix product": "of two activations: half to each",
    "matrix product by constants": "the linear rule",
    "product": "of two activations: half to each",
    "quotient": "the numerator gets all",
    "signed input": "a convolution or linear layer whose input has negative entries: these excite nothing",
    "sum": "of two activations, such as a residual sum: shared in proportion",
    "... passed": "an operation, by the name PyTorch has for it, through which the signal passes unchanged",
}
PASSED = (  # with a space around each
    " native_layer_norm native_group_norm _fused_rms_norm gelu silu hardswish leaky_relu elu celu selu mish softplus "
    "_prelu_kernel sigmoid hardsigmoid tanh _softmax _log_softmax "
)
# What neither rectifies nor normalises over channels.
REARRANGEMENTS = [
    "permute",
    "transpose",
    "clone",
    "native_dropout",
    "_to_copy",
    "slice",
    "cat",
    "as_strided",
    "add",
    "view",
    "_unsafe_view",
    "_reshape_alias",
    "squeeze",
    "unsqueeze",
]


def rule_notes(tape: Tape, stop: Value) -> dict[str, int]:
    """How often the walk down to a layer meets each of `NOTES`."""
    makers = {made: operation for operation in tape.operations for made in operation.outputs}
    steps = plan(tape, [same_signal(tape, stop)], "split", contrast=True)
    return dict(sorted(Counter(itertools.chain(*(choices(step.operation, makers) for step in steps))).items()))


def choices(operation: Operation, makers: dict[Value, Operation]) -> Iterator[str]:
    """The notes of one operation."""
    inputs, name = operation.inputs, plain_name(operation)
    joins = operation.rule.joins if operation.rule else None
    active = [arg for arg in operation.args[:2] if isinstance(arg, Value) and arg.active]
    if operation.weighted:
        if bool((inputs[0].content() < 0).any()):
            yield "signed input"
            if from_weights(inputs[0], makers):
                yield "linear bottleneck"
    elif "batch_norm" in name:
        yield "batch norm folded" if operation.folded else "batch norm passed"
    elif joins == "sum" and len(inputs) == 2:
        yield "sum"
    elif joins == "matrix product":
        carried = "attention" if len(active) == 2 else "matrix product by constants"
        yield "matrix product" if len(inputs) == 2 else carried
    elif joins == "product" or name == "div":
        if len(inputs) == 2:
            yield "product"
        elif len(active) == 2:
            other = next((each for each in active if each is not inputs[0]), inputs[0])
            one_a_channel = len(other.shape) == 4 and other.shape[2:] == (1, 1) != inputs[0].shape[2:]
            yield "quotient" if name == "div" else "channel gate" if one_a_channel else "gate"
        elif any(isinstance(arg, Value) and arg not in active for arg in operation.args[:2]):
            yield "layer scale folded" if operation.folded else "constant factor"
    elif f" {name} " in PASSED:
        yield f"{name.strip('_').removeprefix('native_')} passed"


def plain_name(operation: Operation) -> str:
    """`gelu` of `aten.gelu_.default`; empty for a write through a view."""
    return str(operation.overload).split(".")[1].removesuffix("_") if operation.overload else ""


def from_weights(value: Value, makers: dict[Value, Operation]) -> bool:
    """Whether weights made it with nothing but sums, batch normalisation and rearrangement between."""
    pending, seen = [value], set[Value]()
    while pending:
        made = pending.pop()
        if made in seen or made not in makers:
            continue
        seen.add(made)
        operation = makers[made]
        if operation.weighted:
            return True
        name = plain_name(operation)
        if "batch_norm" in name or name in REARRANGEMENTS:
            pending += operation.inputs
    return False
