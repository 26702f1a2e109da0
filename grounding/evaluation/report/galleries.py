"""Cards for people to look at: which phrases, and their photographs and maps as data URIs."""

import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from grounding.boxes import enclosing
from grounding.datasets.flickr30k import EntityImage, EntityPhrase
from grounding.errors import GroundingError
from grounding.evaluation.predictions.prediction import Map, Prediction
from grounding.evaluation.protocols.measure import point_of
from grounding.evaluation.runs.folder import Photograph
from grounding.images import read_image
from grounding.templating import data_uri

CARDS: Final = 12
PER_TYPE: Final = 3
TRIVIAL_SHARE: Final = 0.8  # of the picture: a box and a target that both cover so much meet whatever is shown
_LONGEST_SIDE_PX: Final = 320
_LONGEST_MAP_SIDE: Final = 48
_FLAT: Final = 0.2  # how an even map is drawn, of 1
Box = tuple[float, ...]


class Album:
    """The photographs of a page, each small and held once."""

    def __init__(self, photograph: Photograph) -> None:
        self._photograph = photograph
        self._uris: dict[str, str | None] = {}

    def place(self, image: EntityImage) -> str | None:
        """The element id under which the page holds this photograph; None where there is none that can be read."""
        if image.id not in self._uris:
            content = self._photograph(image.id)
            self._uris[image.id] = None if content is None else _thumbnail(content)
        return None if self._uris[image.id] is None else f"photograph-{list(self._uris).index(image.id)}"

    def elements(self) -> list[tuple[str, str]]:
        """Element id and data URI of each photograph."""
        return [(f"photograph-{n}", uri) for n, uri in enumerate(self._uris.values()) if uri is not None]


def _thumbnail(content: bytes) -> str | None:
    try:
        picture = Image.fromarray(read_image(io.BytesIO(content)))
    except GroundingError:
        return None  # the page draws the boxes on a plain canvas
    picture.thumbnail((_LONGEST_SIDE_PX, _LONGEST_SIDE_PX), Image.Resampling.LANCZOS)
    return data_uri(picture, "JPEG", quality=80)


def map_uri(map_: Map | None) -> str | None:
    """A phrase map as a PNG to lay over the photograph: warm, and clear where the map is low. None for an empty map."""
    if map_ is None or not map_.any():
        return None
    small = Image.fromarray(np.asarray(map_, np.float32))
    if max(small.size) > _LONGEST_MAP_SIDE:
        shrink = _LONGEST_MAP_SIDE / max(small.size)
        small = small.resize([max(1, round(side * shrink)) for side in small.size], Image.Resampling.BOX)
    values = np.asarray(small, np.float64)
    low, high = values.min(), values.max()
    share = (values - low) / (high - low) if high > low else np.full_like(values, _FLAT)
    layers = (np.full_like(share, 255), 215 - 150 * share, 90 - 70 * share, 175 * share**0.8)  # yellow to red
    return data_uri(Image.fromarray(np.stack(layers, -1).round().astype(np.uint8)), "PNG", optimize=True)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one method says, as drawn: its first box and its point, in px of the original photograph.

    Attributes:
        name: written beside the box; empty for the only method on a card.
        facts: short texts such as `IoU 0.71`.
        hit: whether it counts; None where the card does not say.
    """

    name: str
    box: Box | None
    point: tuple[float, float] | None
    facts: tuple[str, ...]
    hit: bool | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Card:
    """One phrase on its photograph."""

    image: EntityImage
    phrase: EntityPhrase
    answers: tuple[Answer, ...]
    photograph: str | None
    map_uri: str | None = None

    @property
    def boxes(self) -> list[Box]:
        """The true boxes."""
        return [tuple(box) for box in self.image.boxes[self.phrase.chain].tolist()]

    @property
    def merged(self) -> Box:
        """The box that encloses them."""
        return tuple(enclosing(self.image.boxes[self.phrase.chain])[0].tolist())

    @property
    def caption(self) -> tuple[str, str, str]:
        """The sentence before, of and after the phrase."""
        sentence, phrase = self.image.captions[self.phrase.sentence], self.phrase
        return sentence[: phrase.start], sentence[phrase.start : phrase.end], sentence[phrase.end :]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A phrase of a sentence with its first box, in px of the original photograph, and the IoU with the merged box."""

    phrase: EntityPhrase
    box: Box
    overlap: float

    @property
    def fact(self) -> str:
        """As a card says it."""
        return overlap_fact(self.overlap)


@dataclass(frozen=True, slots=True, eq=False)
class SentenceCard:
    """Several phrases of one sentence on their photograph, each in a colour of its own."""

    image: EntityImage
    sentence: int
    parts: tuple[Part, ...]
    photograph: str | None

    @property
    def merged(self) -> list[Box]:
        """The merged box of each part."""
        return [tuple(enclosing(self.image.boxes[part.phrase.chain])[0].tolist()) for part in self.parts]

    @property
    def caption(self) -> list[tuple[str, int | None]]:
        """The sentence in pieces, each with the place of its part or None; a part inside another is not marked."""
        sentence, pieces, end = self.image.captions[self.sentence], list[tuple[str, int | None]](), 0
        for place, part in sorted(enumerate(self.parts), key=lambda pair: pair[1].phrase.start):
            if part.phrase.start >= end:
                pieces.append((sentence[end : part.phrase.start], None))
                pieces.append((sentence[part.phrase.start : part.phrase.end], place))
                end = part.phrase.end
        return [piece for piece in (*pieces, (sentence[end:], None)) if piece[0]]


@dataclass(frozen=True, slots=True, eq=False)
class Gallery:
    """Cards under a heading.

    Attributes:
        total: of how many these are examples.
        of: what they are examples of.
        left_out: how many trivial ones are left out.
    """

    title: str
    text: str
    cards: Sequence[Card | SentenceCard]
    total: int
    of: str = "phrase"
    left_out: int = 0


def overlap_fact(overlap: float) -> str:
    """The IoU with two decimals, never rounded up to the one that makes a hit."""
    return f"IoU {overlap:.2f}" if overlap >= 0.5 or overlap < 0.495 else "IoU just under 0.5"


def answer(name: str, prediction: Prediction, facts: Iterable[str], hit: bool | None = None) -> Answer:
    """A prediction as drawn on a card."""
    box = tuple(prediction.boxes[0].tolist()) if len(prediction.boxes) else None
    return Answer(name, box, point_of(prediction), tuple(facts), hit)


def choose(order: Iterable[int], phrases: Sequence[tuple[EntityImage, EntityPhrase]], cards: int = CARDS) -> list[int]:
    """The first rows of an order, at most one an image and `PER_TYPE` of an entity type.

    Where these are fewer than `cards`, the first of the others, still one an image.

    Args:
        order: rows of `phrases`, the most wanted first.
    """
    wanted = list(order)
    chosen: set[int] = set()
    images: set[str] = set()
    types: Counter[str] = Counter()
    for per_type in (PER_TYPE, cards):
        for row in wanted:
            image, phrase = phrases[row]
            kind = phrase.types[0]
            if len(chosen) < cards and image.id not in images and types[kind] < per_type:
                chosen.add(row)
                images.add(image.id)
                types[kind] += 1
    return [row for row in wanted if row in chosen]
