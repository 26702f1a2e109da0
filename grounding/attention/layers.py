"""Where in a recorded network a map can be read: by stride, by position, or by the name of a module."""

import math
from collections.abc import Sequence

from grounding.attention.annotations import readers_of
from grounding.attention.contrast import classifiers
from grounding.attention.graph import Tape, Value
from grounding.attention.rules.routing import identity, reshape
from grounding.attention.spatial import grid
from grounding.errors import GroundingError, did_you_mean


def image_of(tape: Tape) -> Value:
    """The images: the first input (N, C, H, W) or (N, C, T, H, W) that the scores depend on, or else the first such."""
    if len(tape.inputs) == 1:
        return tape.inputs[0]
    above = {value: _above(tape, value) for value in tape.inputs}
    reaching = [value for value in tape.inputs if tape.output in above[value]] or list(tape.inputs)
    return next((value for value in reaching if value.axes), reaching[0])


def layers(tape: Tape) -> list[Value]:
    """The layers that all signal to the image passes through, from the image to the classifier's input.

    Such a layer is a cut of the graph: every way from the classifier to the image goes through it. Inside a residual
    block or an inception module there is none. Where the network has other inputs, such as metadata, what goes to them
    passes by these layers, and a map there sums to the share of the image.

    Raises:
        GroundingError: no operation with weights made the output.
    """
    above = _above(tape, image_of(tape))
    ends = {operation for operation in classifiers(tape) if not above.isdisjoint(operation.inputs)}
    live = {tape.output}
    cuts: list[Value] = []
    for operation in reversed(tape.operations):
        if live.isdisjoint(operation.outputs):
            continue
        ends.discard(operation)
        live.difference_update(operation.outputs)
        live.update(value for value in operation.inputs if value in above)
        if not ends and len(live) == 1:
            cuts.append(next(iter(live)))
    return cuts[::-1]


def find_layer(tape: Tape, stride: float) -> Value:
    """The layer to read at this stride: the first of `layers_of_stride`.

    For torchvision's networks that is the paper's choice: pool4 of VGG16 and the first block of ResNet-50's layer3 at
    stride 16, pool2 of GoogLeNet at stride 8.

    Raises:
        GroundingError: as `layers_of_stride`.
    """
    return layers_of_stride(tape, stride)[0]


def layers_of_stride(tape: Tape, stride: float, closest: bool = False) -> list[Value]:
    """Those of `layers` whose stride is closest to this one by the ratio of sides, from the image to the classifier.

    The ratio may be off by a factor of up to the square root of 2. Heights and widths are compared; the times of a film
    are not.

    Args:
        closest: take the closest stride however far it is.

    Raises:
        GroundingError: no layer comes that close; it names the strides that there are, the nearest first.
    """
    if not isinstance(stride, (int, float)) or not 0 < stride < math.inf:
        raise GroundingError(f"stride is {stride}: expected a number of image pixels above 0")
    height, width = image_of(tape).shape[-2:]
    found: list[Value] = []
    smallest = math.inf
    strides: dict[str, float] = {}  # each in words, and how far it is from the one asked for
    for value in layers(tape):
        sides = grid(value)
        if not sides or 0 in sides:
            continue
        actual = math.sqrt(height / sides[-2] * width / sides[-1])
        distance = strides[f"{actual:.3g}"] = abs(math.log(actual / stride))
        if distance < smallest - 1e-6:
            found, smallest = [], distance
        if distance < smallest + 1e-6:
            found.append(value)
    if not found:
        raise GroundingError("no layer of the network has places: read one by number or name, with channels=True")
    if not closest and smallest > math.log(2) / 2 + 1e-6:
        nearest = ", ".join(sorted(strides, key=strides.__getitem__))
        raise GroundingError(f"no layer of the network has stride {stride:g}: expected one of {nearest}")
    return found


def mixed(tape: Tape, values: Sequence[Value]) -> list[Value]:
    """Those of some values that an operation with weights, or with several inputs, made: where a map changes.

    Of a vision transformer's layers these are the patches and, for each block, the sums behind its attention and its
    multilayer perceptron.
    """
    made = {
        value
        for operation in tape.operations
        if operation.weighted or len(operation.inputs) > 1
        for value in operation.outputs
    }
    return [value for value in values if value in made]


def indexed_layer(tape: Tape, index: int) -> Value:
    """An entry of `layers`: 0 is the image (of several inputs, `image_of` says which), -1 the classifier's input.

    Raises:
        GroundingError: there are not so many.
    """
    cuts = layers(tape)
    if not -len(cuts) <= index < len(cuts):
        s = "" if len(cuts) == 1 else "s"
        raise GroundingError(f"layer is {index}: the network has {len(cuts)} layer{s}, 0 the image and -1 the last")
    return cuts[index]


def named_layer(tape: Tape, name: str) -> Value:
    """The output of the module of this name, of its last run, where it ran several times; or the input of this name.

    The end of a name will do, `layer3` for `backbone.layer3`, where no other module has that end, but those inside it.

    Raises:
        GroundingError: no such module (with the nearest names), several, one that computed nothing, or several outputs.
    """
    if name not in tape.modules and name in tape.input_names:
        return tape.inputs[tape.input_names.index(name)]
    name = name if name in tape.modules else _completed(tape, name)
    if name and not tape.modules[name]:
        raise GroundingError(f"layer '{name}' is the name of two modules: record one module that holds both")
    inside = [_within(operation.module, tape.modules[name]) for operation in tape.operations]
    if True not in inside:
        raise GroundingError(f"layer '{name}' computed nothing from the images: name one before or after it")
    end = len(inside) - inside[::-1].index(True)
    start = next((at for at in range(end, 0, -1) if not inside[at - 1]), 0)
    computed = dict.fromkeys(value for operation in tape.operations[start:end] for value in operation.outputs)
    read = {value for operation in tape.operations[end:] for value in operation.inputs} | {tape.output}
    outputs = [value for value in computed if value in read]
    if len(outputs) != 1:
        raise GroundingError(
            f"layer '{name}' has {len(outputs)} outputs that the scores depend on, or ran twice without a pause: "
            "name a layer that has one"
        )
    return outputs[0]


def _completed(tape: Tape, end: str) -> str:
    """The one name of a module that ends so: of those that computed something, if any; of nested ones the outermost."""
    fits = {tape.modules[name] for name in tape.modules if end and name.endswith(f".{end}") and tape.modules[name]}
    ran = {operation.module for operation in tape.operations}
    fits = {name for name in fits if any(_within(module, name) for module in ran)} or fits
    found = [name for name in fits if not any(name != other and _within(name, other) for other in fits)]
    if len(found) == 1:
        return found[0]
    known = [module for module in dict.fromkeys(tape.modules.values()) if module]
    if found:
        several = sorted(found, key=known.index)
        more = f" and {len(several) - 5} more" if len(several) > 5 else ""
        raise GroundingError(
            f"layer '{end}' is the end of several names: expected one of {', '.join(several[:5])}{more}"
        )
    top = dict.fromkeys(module.split(".")[0] for module in known)
    advice = did_you_mean(end, known, f"expected a module such as {', '.join(top)}", most=3)
    raise GroundingError(f"the network has no layer '{end}': {advice}")


def same_signal(tape: Tape, value: Value) -> Value:
    """The value furthest up that the same signal passes through on its way to this one: of a convolution, its ReLU."""
    readers = readers_of(tape.operations)
    while value is not tape.output:
        following = readers.get(value, [])
        if len(following) != 1 or following[0].refusal is not None:
            return value
        rule = following[0].rule
        if rule is None or rule.pass_down is not identity:
            return value
        value = following[0].outputs[0]
    return value


def reshaped(tape: Tape) -> set[Value]:
    """The values that a reshape made: other dimensions of what lies below."""
    reshapes = (operation for operation in tape.operations if operation.rule and operation.rule.pass_down is reshape)
    return {value for operation in reshapes for value in operation.outputs}


def given_value(tape: Tape, value: Value) -> Value:
    """A value of the tape itself, such as `tape.inputs[1]`.

    Raises:
        GroundingError: it is of another recording.
    """
    if value in tape.inputs or any(value in operation.outputs for operation in tape.operations):
        return value
    raise GroundingError("layer is a Value of another recording: expected one of this tape, such as tape.inputs[0]")


def _above(tape: Tape, start: Value) -> set[Value]:
    """A value and all that signal reaches it from."""
    above = {start}
    for operation in tape.operations:
        if not above.isdisjoint(operation.inputs):
            above.update(operation.outputs)
    return above


def _within(module: str, name: str) -> bool:
    return not name or module == name or module.startswith(f"{name}.")
