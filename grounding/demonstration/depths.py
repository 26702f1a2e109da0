"""The layers at which a map can be read, as a slider has them: from fine, near the picture, to coarse."""

import contextlib
from dataclasses import dataclass, replace

from grounding.attention.layers import layers, layers_of_stride, mixed, same_signal
from grounding.config import MapConfig
from grounding.errors import GroundingError
from grounding.methods import Encoding, map_place

_STRIDES = (8, 16, 32)  # finer layers cost a long walk and show edges
_MOST = 6  # layers of a stride


@dataclass(frozen=True, slots=True)
class Depths:
    """Where maps can be read, finest first.

    Attributes:
        maps: the configuration that reads each.
        usual: the position of the one that is read where nobody asks.
    """

    maps: tuple[MapConfig, ...]
    usual: int


def depths_of(encoding: Encoding, config: MapConfig) -> Depths:
    """Find the layers of a network that can be read.

    Args:
        encoding: of any picture.
        config: whose layer is the usual one.
    """
    tape = encoding.tape
    order = {value: number for number, value in enumerate(layers(tape))}
    usual = map_place(encoding, config)
    found = {same_signal(tape, usual): (order.get(usual, 0), config)}
    for stride in _STRIDES:
        with contextlib.suppress(GroundingError):  # it has none of this stride
            there = layers_of_stride(tape, stride)
            steps = min(_MOST, len(mixed(tape, there) or there))
            for step in range(steps):
                depth = step / (steps - 1) if steps > 1 else 0.0
                maps = replace(config, stride=stride, depth=depth)
                value = map_place(encoding, maps)
                found.setdefault(same_signal(tape, value), (order[value], maps))
    ranked = sorted(found.values(), key=lambda place: place[0])
    maps_of = tuple(maps for _, maps in ranked)
    return Depths(maps_of, maps_of.index(config))
