"""From the maps of the phrases of one caption to a point and ranked boxes for each of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from grounding.boxes import Boxes, Values
from grounding.config import LocalizerConfig, WholeConfig
from grounding.regions.frames import Frames, in_frame
from grounding.regions.maps import Point, centre_prior, normalize, smooth
from grounding.regions.points import in_context, on_side, rivals_of, share_point
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
    sided = maps.clone()
    for k, context in enumerate(asked):
        if context.side is not None:
            sided[k] *= on_side(side, context.side)
    people = [k for k, phrase in enumerate(phrases) if whole_kind(phrase.head) == "person" and bool(maps[k].any())]
    named = np.isin(np.arange(len(phrases)), people)
    prior = centre_prior(side, config.maps.centre_prior)
    point_maps = normalize(smooth(sided, config.maps.point_smoothing * side) * prior)
    if contexts is not None:
        point_maps = in_context(point_maps, sided, people, contexts)
    points = tuple(share_point(map_) if map_.any() else None for map_ in point_maps)

    evidence, gamma = _as_wholes(picture, sided, points, people, contexts, config.wholes)
    box_maps, scores = _scored(picture, evidence, named, gamma, config)
    in_frames = _in_frames(picture, phrases, sided, scores, people, asked)
    if in_frames:
        rows = list(in_frames)
        evidence, gamma = torch.stack(list(in_frames.values())), np.full(len(rows), _FRAME_GAMMA)
        box_maps[rows], again = _scored(picture, evidence, named[rows], gamma, config)
        for k, score in zip(rows, again, strict=True):
            scores[k] = score
    return Located(box_maps, point_maps, points, tuple(scores))


def _as_wholes(
    picture: Picture,
    maps: Tensor,
    points: Sequence[Point | None],
    people: Sequence[int],
    contexts: Sequence[PhraseContext] | None,
    config: WholeConfig,
) -> tuple[Tensor, Values]:
    """The maps to read boxes from, (P, side, side), and what is added to the powers of the area, (P,)."""
    evidence, gamma = maps.clone(), np.zeros(len(maps))
    if picture.parts is None or not picture.parts.any() or config.amount == 0:
        return evidence, gamma
    for k in people:
        if (point := points[k]) is not None:
            rivals = [] if contexts is None else [points[other] for other in rivals_of(k, people, contexts)]
            others = [rival for rival in rivals if rival is not None]
            evidence[k] = whole_map(maps[k], picture.parts, point, others, config)
            gamma[k] = config.gamma
    return evidence, gamma


def _in_frames(
    picture: Picture,
    phrases: Sequence[Phrase],
    maps: Tensor,
    scores: Sequence[npt.NDArray[np.float32]],
    people: Sequence[int],
    contexts: Sequence[PhraseContext],
) -> dict[int, Tensor]:
    """The maps of what people wear and have, in the frames of their best boxes; without a template or box, none."""
    size = np.array([picture.width, picture.height] * 2)
    found: dict[int, Tensor] = {}
    if not len(picture.proposals):
        return found
    for k, (phrase, context) in enumerate(zip(phrases, contexts, strict=True)):
        owner = context.owner
        if owner is None or owner not in people or not context.is_on_owner or k in people:
            continue
        template = Frames.embedded().find(phrase.head, attribute_kind(phrase.head))
        if template is not None:
            box = picture.proposals[scores[owner][0].argmax()] / size
            found[k] = in_frame(maps[k], template, box)
    return found


def _scored(
    picture: Picture, evidence: Tensor, people: npt.NDArray[np.bool_], gamma: Values, config: LocalizerConfig
) -> tuple[Tensor, list[npt.NDArray[np.float32]]]:
    """The maps that boxes are scored by, and the scores of all proposals by each, (rankings, N); some at a time."""
    maps = normalize(smooth(evidence, config.maps.box_smoothing * config.maps.resolution))
    scores: list[npt.NDArray[np.float32]] = []
    for first in range(0, len(maps), _AT_ONCE):
        rows = slice(first, first + _AT_ONCE)
        some = maps[rows].numpy()
        powers = area_powers(some, people[rows].tolist(), picture.closeness, config.regions, gamma[rows])
        all_scores = score_boxes(some, picture.proposals, picture.height, picture.width, powers)
        scores += list(all_scores.swapaxes(0, 1))  # (P, rankings, N)
    return maps, scores
