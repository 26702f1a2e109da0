"""From the maps of the phrases of one caption to a point and ranked boxes for each of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from grounding.boxes import Boxes, Values
from grounding.config import LocalizerConfig
from grounding.regions.frames import Frames, in_frame
from grounding.regions.maps import Point, centre_prior, normalize, smooth
from grounding.regions.points import apart, on_side, share_point, with_attributes
from grounding.regions.power import area_powers
from grounding.regions.scoring import score_boxes
from grounding.regions.wholes import whole_map
from grounding.text.context import PhraseContext
from grounding.text.phrases import Phrase
from grounding.text.wholes import attribute_kind, whole_kind

_AT_ONCE = 16  # phrases: bounds the memory that a very long caption takes
_FRAME_GAMMA = 0.05  # added to the power of the area of what is looked for on a person
_ALONE = PhraseContext(None, None, None, None, False)


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """What is known of a picture before anything is asked.

    Attributes:
        proposals: (N, 4) float32 in px.
        height, width: in px.
        closeness: how close it is taken, or None: see `regions.power`.
        parts: (side, side) the map of body parts and clothes, or None for a classifier without such tags.
    """

    proposals: Boxes = field(repr=False)
    height: int
    width: int
    closeness: float | None
    parts: Tensor | None = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Located:
    """Where P phrases are.

    Attributes:
        box_maps, point_maps: (P, side, side) float32, each sums to 1 or all zero.
        points: in shares of the sides of the picture; None for an empty map.
        scores: (rankings, N) float32 of all proposals, for each phrase; see `regions.turns`.
    """

    box_maps: Tensor = field(repr=False)
    point_maps: Tensor = field(repr=False)
    points: tuple[Point | None, ...]
    scores: tuple[npt.NDArray[np.float32], ...] = field(repr=False)


def locate(
    picture: Picture,
    phrases: Sequence[Phrase],
    maps: Tensor,
    contexts: Sequence[PhraseContext] | None,
    config: LocalizerConfig,
) -> Located:
    """Find the phrases of a caption: points first, then people as wholes, then what they wear in their frames.

    Args:
        maps: (P, side, side) float32, at least 0: the phrase maps.
        contexts: what the caption says about each phrase beside its own words; None finds each by itself.
    """
    side = config.maps.resolution
    asked = list(contexts or [_ALONE] * len(phrases))
    sided = torch.stack([map_ * _prior(one, side) for map_, one in zip(maps, asked, strict=True)])
    people = [k for k, phrase in enumerate(phrases) if whole_kind(phrase.head) == "person" and bool(maps[k].any())]
    point_maps = smooth(sided, config.maps.point_smoothing * side) * centre_prior(side, config.maps.centre_prior)
    point_maps = normalize(point_maps)
    if contexts is not None:
        point_maps = _in_context(point_maps, sided, people, contexts)
    points = [share_point(map_) if map_.any() else None for map_ in point_maps]

    evidence = sided.clone()
    gamma = np.zeros(len(phrases))
    if picture.parts is not None and picture.parts.any() and config.wholes.amount > 0:
        for k in people:
            rivals = [points[other] for other in _rivals(k, people, asked)] if contexts is not None else []
            point = points[k]
            if point is not None:
                near = [rival for rival in rivals if rival is not None]
                evidence[k] = whole_map(sided[k], picture.parts, point, near, config.wholes)
                gamma[k] = config.wholes.gamma
    box_maps = normalize(smooth(evidence, config.maps.box_smoothing * side))

    named = np.isin(np.arange(len(phrases)), people)
    scores = _scores(picture, box_maps, named, gamma, config)
    framed = [k for k, one in enumerate(asked) if _is_on_person(one, people) and k not in people]
    found = {k: map_ for k in framed if (map_ := _on_owner(k, phrases, asked, sided, scores, picture)) is not None}
    if found:
        rows = list(found)
        box_maps[rows] = normalize(smooth(torch.stack(list(found.values())), config.maps.box_smoothing * side))
        again = _scores(picture, box_maps[rows], named[rows], np.full(len(rows), _FRAME_GAMMA), config)
        for k, score in zip(rows, again, strict=True):
            scores[k] = score
    return Located(box_maps, point_maps, tuple(points), tuple(scores))


def _prior(context: PhraseContext, side: int) -> Tensor | float:
    return 1.0 if context.side is None else on_side(side, context.side)


def _in_context(point_maps: Tensor, maps: Tensor, people: Sequence[int], contexts: Sequence[PhraseContext]) -> Tensor:
    """The maps of points by what the phrases wear and have, and of different people apart: (P, side, side)."""
    chosen = point_maps.clone()
    for k in range(len(chosen)):
        thing = _thing(k, contexts)
        has = [a for a, one in enumerate(contexts) if one.owner == thing and one.link in ("wears", "has") and a != k]
        if has:
            chosen[k] = with_attributes(point_maps[k], maps[has])
    single = [k for k in people if not contexts[k].several and _thing(k, contexts) == k]
    if len(single) > 1:
        chosen[single] = torch.stack(apart(list(chosen[single])))
    for k in people:
        if not contexts[k].several and _thing(k, contexts) in single:
            chosen[k] = chosen[_thing(k, contexts)]
    return chosen


def _is_on_person(context: PhraseContext, people: Sequence[int]) -> bool:
    return context.owner in people and context.link in ("wears", "has")


def _thing(k: int, contexts: Sequence[PhraseContext]) -> int:
    """The first phrase that names the same thing as phrase k."""
    first = contexts[k].same_as
    return k if first is None else first


def _rivals(k: int, people: Sequence[int], contexts: Sequence[PhraseContext]) -> list[int]:
    """The other single people of a caption, each once; a group has none and is nobody's."""
    if contexts[k].several:
        return []
    others = dict.fromkeys(_thing(other, contexts) for other in people if not contexts[other].several)
    return [other for other in others if other != _thing(k, contexts) and other in people]


def _on_owner(
    k: int,
    phrases: Sequence[Phrase],
    contexts: Sequence[PhraseContext],
    maps: Tensor,
    scores: Sequence[npt.NDArray[np.float32]],
    picture: Picture,
) -> Tensor | None:
    """The map of what a person wears or has, in the frame of the person's best box; None without a template."""
    owner, head = contexts[k].owner, phrases[k].head
    template = Frames.embedded().find(head, attribute_kind(head))
    if owner is None or template is None:
        return None
    size = np.array([picture.width, picture.height] * 2)
    return in_frame(maps[k], template, picture.proposals[scores[owner][0].argmax()] / size)


def _scores(
    picture: Picture, maps: Tensor, people: npt.NDArray[np.bool_], gamma: Values, config: LocalizerConfig
) -> list[npt.NDArray[np.float32]]:
    """The scores of all proposals by each map, (rankings, N) each; some maps at a time."""
    scores: list[npt.NDArray[np.float32]] = []
    for first in range(0, len(maps), _AT_ONCE):
        rows = slice(first, first + _AT_ONCE)
        some = maps[rows].numpy()
        powers = area_powers(some, people[rows].tolist(), picture.closeness, config.regions, gamma[rows])
        all_scores = score_boxes(some, picture.proposals, picture.height, picture.width, powers)
        scores += list(all_scores.swapaxes(0, 1))  # (P, rankings, N)
    return scores
