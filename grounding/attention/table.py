"""The table of the layers of a recording: what can be read where, and how much arrives there."""

import math
from contextlib import suppress

from grounding.attention.excitation import readings
from grounding.attention.graph import Tape, Value
from grounding.attention.layers import image_of, layers, named_layer, same_signal
from grounding.attention.mass import NOTHING, watched
from grounding.attention.rows import LayerRow, LayerTable
from grounding.attention.signals import Signals, expand_signals
from grounding.attention.spatial import grid
from grounding.attention.walk import plan
from grounding.errors import GroundingError


def layer_table(tape: Tape, signals: Signals | None) -> LayerTable:
    """See `Tape.layers`. A row for each value that can be named: of modules that end in the same one, the outermost."""
    if signals is None and tape.scores.dim() > 1:
        signals = (tape.scores == tape.scores.amax(1, keepdim=True))[None].float()  # (1, *scores.shape)
    weights = expand_signals(signals, tape.scores, names=tape.names).detach()  # (K, *scores.shape)
    named = _named(tape)
    usable = {value: _usable(tape, value) for value in named}
    readable = [value for value in named if usable[value] == "yes"]
    found = readings(tape, watched(weights, "mean"), readable, contrast=False, watch="none")
    mass = {value: float(reading.maps.flatten(1).sum(1).mean()) for value, reading in zip(readable, found, strict=True)}
    usable |= {value: "nothing gets here" for value, share in mass.items() if abs(share) < NOTHING}
    rows = (
        LayerRow(name, tuple(value.shape), _stride(tape, value), usable[value], mass.get(value))
        for value, name in named.items()
    )
    return LayerTable(tuple(rows))


def _named(tape: Tape) -> dict[Value, str | int]:
    """What each value is called, from the inputs up: inputs, modules, and what else all signal passes through.

    Modules that have no one output, or computed nothing, are left out: asked for, they say so.
    """
    found: list[tuple[Value, str | int]] = list(zip(tape.inputs, tape.input_names, strict=True))
    modules = dict.fromkeys(name for name in tape.modules.values() if name)
    for name in sorted(modules, key=lambda name: name.count(".")):
        with suppress(GroundingError):
            found.append((named_layer(tape, name), name))
    with suppress(GroundingError):  # a network without weights has none
        found += [(value, at) for at, value in enumerate(layers(tape))]
    names: dict[Value, str | int] = {}
    for value, called in found:
        names.setdefault(same_signal(tape, value), called)
    order = (*tape.inputs, *(value for operation in tape.operations for value in operation.outputs))
    return {value: names[value] for value in order if value in names}


def _usable(tape: Tape, value: Value) -> str:
    """`yes`, or why no contrastive map can be read there: what `contrastive_mwp` would say, without the advice."""
    try:
        plan(tape, [value], "split", contrast=True)
    except GroundingError as error:
        return str(error).partition(": ")[0].partition(", because")[0]
    if grid(value) is None:
        return f"above {value.lost_at} it is unknown where the places are" if value.lost_at else "no places"
    return "yes"


def _stride(tape: Tape, value: Value) -> float | None:
    sides, image = grid(value), image_of(tape).shape
    if not sides or 0 in sides or len(image) < 4:
        return None
    return math.sqrt(image[-2] / sides[-2] * image[-1] / sides[-1])
