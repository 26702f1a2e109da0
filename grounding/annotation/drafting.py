"""Boxes drafted by a localizer: for each label or phrase those that it thinks best, and how unsure it is."""

import contextlib
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch

from grounding.annotation.decisions import can_be_seen
from grounding.annotation.drafted import draft_line, left_out_line
from grounding.annotation.pictures import Asked
from grounding.annotation.records import Drafted, Edges
from grounding.annotation.several import several_regions
from grounding.boxes import iou
from grounding.errors import GroundingError
from grounding.grounded import GroundedPhrase, Region
from grounding.images import RgbImage, read_image
from grounding.pipeline import Localizer, Scene
from grounding.text.kinds import Kinds, noun_forms
from grounding.text.phrases import Phrase, find_phrases
from grounding.text.things import is_plural
from grounding.workers import one_thread, ordered_map

Draft = tuple[str, Edges, float]  # label, edges, score
Found = tuple[str, float, list[Region]]  # label, how sure the model is of it, regions
LabelOf = Literal["head", "phrase"]
_SINGULAR: Final = {"men": "man", "people": "person"}  # too short to be told by their ends
_SAME: Final = 0.5  # IoU from which on two boxes of one label are one
_LONGEST: Final = 100  # characters of a label


@dataclass(frozen=True, slots=True)
class Drafting:
    """How boxes are drafted.

    Attributes:
        boxes_per_label: at most so many for a label or a phrase; they hardly overlap.
        min_presence: nothing is drafted for what is less probably in the picture. None: of labels that are asked for in
            every picture as the localizer says, of what is said about a picture 0.
        label_of: what the label of a caption's phrase is: its head noun in the singular, or all of it.
        everywhere: whether the labels of each picture are asked for, rather than known to be in it.
        asked_as: (label, phrase) pairs: in place of the label, boxes are drafted for the phrase.
    """

    boxes_per_label: int = 1
    min_presence: float | None = None
    label_of: LabelOf = "head"
    everywhere: bool = False
    asked_as: tuple[tuple[str, str], ...] = ()

    def phrase_for(self, label: str) -> str:
        """The words that a label is looked for with."""
        return dict(self.asked_as).get(label, label)


def draft_all(
    localizer: Localizer, images: Path, asked: Sequence[Asked], first: int, how: Drafting, workers: int
) -> Generator[dict[str, Any]]:
    """The lines of `drafts.jsonl` from picture `first` on, in order.

    Args:
        workers: threads, each of which does pictures of its own.
    """

    def work(place: int) -> dict[str, Any]:
        return _line(localizer, images, place, asked[place], how)

    mapped = ordered_map(work, range(first, len(asked)), workers, partial(torch.set_num_threads, 1))
    with one_thread(), contextlib.closing(mapped):
        yield from mapped


def _line(localizer: Localizer, images: Path, place: int, one: Asked, how: Drafting) -> dict[str, Any]:
    """A drafted picture, or why it is left out."""
    try:
        picture = read_image(images / one.name, one.name)
        return _drafted(localizer, picture, place, one, how)
    except GroundingError as error:
        return left_out_line(place, one.name, str(error))
    except (MemoryError, torch.OutOfMemoryError):
        return left_out_line(place, one.name, f"image {one.name} does not fit the memory: make it smaller first")


def _drafted(localizer: Localizer, picture: RgbImage, place: int, one: Asked, how: Drafting) -> dict[str, Any]:
    """The line of a picture; `note` in it says which captions could not be used."""
    height, width = picture.shape[:2]
    captions = " / ".join(caption for caption, _ in one.captions if caption.strip())
    notes: list[str] = []
    found: list[Found] = []
    if one.captions or one.labels:
        scene = localizer.encode(picture)
        threshold = how.min_presence if how.min_presence is not None or how.everywhere else 0.0
        if one.labels:
            grounding = scene.ground(None, [how.phrase_for(label) for label in one.labels], 1, threshold)
            found += [_found(scene, label, each, how) for label, each in zip(one.labels, grounding, strict=True)]
        for caption, phrases in one.captions:
            try:
                grounding = scene.ground(caption if caption.strip() else None, phrases, 1, threshold)
            except GroundingError as error:
                notes.append(str(error))
                continue
            said = [phrase for phrase in grounding if not phrase.phrase.negated]
            found += [_found(scene, label_of(each.phrase, how.label_of), each, how) for each in said]
    drafts, uncertainty = chosen(found, (width, height))
    line = draft_line(Drafted(place, one.name, width, height, captions, uncertainty, tuple(drafts)))
    return {**line, "note": "; ".join(notes)} if notes else line


def _found(scene: Scene, label: str, phrase: GroundedPhrase, how: Drafting) -> Found:
    regions = several_regions(scene, phrase, how.boxes_per_label) if phrase.status == "localized" else []
    return label, _sureness(phrase), regions


def chosen(found: Iterable[Found], size: tuple[int, int]) -> tuple[list[Draft], float]:
    """The drafts of a picture, best first, and how unsure they are: 1 less the mean sureness of all labels.

    Boxes of one label that are at one place are one. Without any label the uncertainty is 1.

    Args:
        found: of each phrase its label, how sure the model is of it, and its regions; several may have one label, and
            the surest counts.
        size: width and height of the picture in px.
    """
    drafts: list[Draft] = []
    sure: dict[str, float] = {}
    for label, sureness, regions in found:
        sure[label] = max(sure.get(label, 0.0), sureness)
        drafts += [(label, _rounded(region, size), region.score) for region in regions]
    kept: list[Draft] = []
    for label, edges, score in sorted(drafts, key=lambda draft: -draft[2]):
        same = any(other == label and _overlap(edges, others) >= _SAME for other, others, _ in kept)
        if not same and edges[0] < edges[2] and edges[1] < edges[3]:
            kept.append((label, edges, float(f"{min(score, 1.0):.6g}")))
    return kept, round(1 - sum(sure.values()) / len(sure), 6) if sure else 1.0


def _sureness(phrase: GroundedPhrase) -> float:
    """How sure the model is of a phrase, in [0, 1].

    The score of its best box; where none is drafted because it seems absent, the probability that it is absent; where
    the model knows none of its words, or sees nothing, 0.
    """
    if phrase.status == "localized":
        return min(1.0, phrase.regions[0].score)
    if phrase.phrase.negated:  # a label such as 'no helmet', of which nothing can be known
        return 0.0
    return 1 - phrase.presence if phrase.status == "absent" and phrase.presence is not None else 0.0


def _overlap(edges: Edges, others: Edges) -> float:
    return float(iou(np.array([edges]), np.array([others]))[0, 0])


def _rounded(region: Region, size: tuple[int, int]) -> Edges:
    (x0, y0, x1, y1), (width, height) = region.box, size
    return round(max(x0, 0), 2), round(max(y0, 0), 2), round(min(x1, width), 2), round(min(y1, height), 2)


def label_of(phrase: Phrase, kind: LabelOf) -> str:
    """The label of a caption's phrase: all of it, or its head noun in lower case and in the singular."""
    if kind == "phrase":
        return _visible(phrase.text)
    head = _visible(phrase.head).lower()
    if head in _SINGULAR:
        return _SINGULAR[head]
    singular = (form for form in noun_forms(head)[1:] if form in Kinds.embedded().synsets)
    return next(singular, head) if is_plural(head) else head


def _visible(text: str) -> str:
    """A text that can be a label: one line, without characters that cannot be seen."""
    shown = "".join(letter if can_be_seen(letter) else " " for letter in text)
    return " ".join(shown.split())[:_LONGEST].rstrip() or "?"


def unknown_labels(localizer: Localizer, labels: Sequence[str], how: Drafting) -> list[str]:
    """Those for which no box can be drafted: no tag stands for their words, or they say what is not there."""
    found = find_phrases("", [how.phrase_for(label) for label in labels])
    matches = map(localizer.vocabulary.match, found)
    unknown = (not any(match.tags for match in words) for words in matches)
    triples = zip(labels, found, unknown, strict=True)
    return [label for label, phrase, lost in triples if lost or phrase.negated]
