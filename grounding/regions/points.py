"""Which of several a phrase means: its point, chosen by what the caption says beside the phrase's own words."""

import itertools
import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from grounding.regions.maps import Point, axis, bell, normalize, peak, smooth
from grounding.text.context import PhraseContext

_ATTRIBUTE_SIGMA = 0.1  # of a side, as all lengths here
_TOO_NEAR = 0.07  # two people do not have their points so near each other
_MOST_PEOPLE = 24  # of a caption, its first ones, are told apart: bounds the time that a very long caption takes
_APART = 0.08  # the width of what is taken out round the point of the other
_EDGE = 0.1  # how sharply a side of the picture ends
_MIDDLE = 0.2
_FLOOR = 0.02  # of what is left where nothing speaks for a place


def in_context(point_maps: Tensor, maps: Tensor, people: Sequence[int], contexts: Sequence[PhraseContext]) -> Tensor:
    """Choose among several by what the caption says that they wear or have, and keep different people apart.

    Args:
        point_maps: (P, side, side) of phrases, each sums to 1 or all zero.
        maps: (P, side, side), at least 0, of the same phrases, not smoothed: what they wear and have is among them.
        people: which of the phrases name people, and have a map.

    Returns:
        (P, side, side), each sums to 1 or all zero. All phrases that name one person have the map of the first.
    """
    chosen = point_maps.clone()
    owned: dict[int, list[int]] = {}
    for k, context in enumerate(contexts):
        if context.owner is not None and context.is_on_owner:
            owned.setdefault(context.owner, []).append(k)
    for owner, attributes in owned.items():
        chosen[owner] = with_attributes(point_maps[owner], maps[attributes])
    single = [k for k in people if contexts[k].same_as is None and not contexts[k].several]
    if len(single) > 1:
        first = single[:_MOST_PEOPLE]
        chosen[first] = torch.stack(apart(list(chosen[first])))
    for k in people:
        if contexts[k].same_as in single:
            chosen[k] = chosen[contexts[k].same_as]
    return chosen


def rivals_of(person: int, people: Sequence[int], contexts: Sequence[PhraseContext]) -> list[int]:
    """The first phrases of the other single people of a caption; a group has no rivals and is nobody's."""
    if contexts[person].several:
        return []
    first = person if contexts[person].same_as is None else contexts[person].same_as
    single = (k for k in people if contexts[k].same_as is None and not contexts[k].several)
    return [k for k in itertools.islice(single, _MOST_PEOPLE) if k != first]


def with_attributes(map_: Tensor, attributes: Tensor) -> Tensor:
    """Multiply the map of who wears or has something with the mean map of that: 'a man in a red hat'.

    Args:
        map_: (side, side), at least 0.
        attributes: (A, side, side), at least 0; empty ones count for nothing.

    Returns:
        (side, side), sums to 1; the map itself, normalised, where no attribute has a map.
    """
    mean = smooth(normalize(attributes).sum(0), _ATTRIBUTE_SIGMA * len(map_))
    top = mean.max()
    return normalize(map_ * (mean / top + _FLOOR) if top > 0 else map_)


def on_side(side: int, name: Literal["left", "right", "middle"]) -> Tensor:
    """Make a (side, side) prior for what is said to be on a side of the picture, in (0, 1.02]."""
    x = axis(side)
    if name == "middle":
        across = torch.exp(-0.5 * ((x - 0.5) / _MIDDLE) ** 2)
    else:
        across = torch.sigmoid((0.5 - x if name == "left" else x - 0.5) / _EDGE)
    return (across + _FLOOR).expand(side, side)


def share_point(map_: Tensor) -> Point:
    """The maximum of a (side, side) map as (x, y) in shares of the sides."""
    x, y = peak(map_)
    return x / len(map_), y / len(map_)


def apart(maps: Sequence[Tensor]) -> list[Tensor]:
    """Keep the points of different people apart: where two maps have theirs at one place, one of them gives way.

    The surroundings of the other's point are taken out of the map that loses less of its maximum by that. Pairs are
    settled in the order given, each once.

    Args:
        maps: (side, side) each, with a maximum above 0.

    Returns:
        As many maps, each sums to 1, or as it was where it did not give way.
    """
    maps = list(maps)
    points = [share_point(map_) for map_ in maps]
    for later in range(len(maps)):
        for earlier in range(later):
            if math.dist(points[later], points[earlier]) >= _TOO_NEAR:
                continue
            pair = (later, earlier), (earlier, later)
            left = {one: _without(maps[one], points[other]) for one, other in pair}
            kept = {one: float(map_.max() / maps[one].max()) for one, map_ in left.items()}
            yields = earlier if kept[earlier] > kept[later] else later
            if kept[yields] > 0:
                maps[yields] = normalize(left[yields])
                points[yields] = share_point(maps[yields])
    return maps


def _without(map_: Tensor, point: Point) -> Tensor:
    return map_ * (1 - bell(len(map_), point, _APART, _APART))
