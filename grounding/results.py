"""What a caption's phrases were found to be: frozen records, and their JSON form."""

import dataclasses
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from grounding.images import RgbImage, read_only
from grounding.text.phrases import Phrase
from grounding.text.vocabulary import Match

if TYPE_CHECKING:  # imported where it is used: it takes as long as everything else together
    from pandas import DataFrame

SCHEMA_VERSION = 1
_FACTS, _BOX = ("phrase", "start", "end", "head", "status", "words", "rank"), ("x0", "y0", "x1", "y1", "score")
_TYPES = dict.fromkeys(("start", "end", "rank"), "Int64") | dict.fromkeys(_BOX, "float64")
Status = Literal["localized", "out-of-vocabulary", "empty-map", "no-proposals"]


@dataclass(frozen=True, slots=True)
class Region:
    """A scored box in pixels of the upright picture, half-open edges."""

    x0: float
    y0: float
    x1: float
    y1: float
    score: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        """`x0 y0 x1 y1`."""
        return self.x0, self.y0, self.x1, self.y1


@dataclass(frozen=True, eq=False, slots=True)
class GroundedPhrase:
    """One phrase and where it is.

    Attributes:
        phrase: its text, span and head.
        status: `localized`; `out-of-vocabulary` (no word has a tag: the map is uniform, so point and regions are a
            guess); `empty-map` (no evidence in this picture); `no-proposals` (no candidate box to score).
        words: each content word, the tag it stands for, and why.
        point: (x, y) in pixels of the maximum of `point_map`, or None for an empty map.
        regions: best first.
        grid_map: (h, w) float32 phrase map over the whole picture at working resolution, sums to 1 or all zero.
        point_map: (h, w) float32, the phrase map smoothed more widely and multiplied with a centre prior
            (`maps.point_smoothing`, `maps.centre_prior`), sums to 1 or all zero.
        image_size: (H, W) of the picture.
    """

    phrase: Phrase
    status: Status
    words: tuple[Match, ...]
    point: tuple[float, float] | None
    regions: tuple[Region, ...]
    grid_map: npt.NDArray[np.float32] = field(repr=False)
    point_map: npt.NDArray[np.float32] = field(repr=False)
    image_size: tuple[int, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "grid_map", read_only(self.grid_map))
        object.__setattr__(self, "point_map", read_only(self.point_map))

    @property
    def best(self) -> Region | None:
        """The best region, or None."""
        return self.regions[0] if self.regions else None

    @property
    def phrase_map(self) -> npt.NDArray[np.float32]:
        """(H, W) float32 at image resolution, at least 0, sums to 1 or all zero. Computed when asked for."""
        height, width = self.image_size
        resized = Image.fromarray(self.grid_map).resize((width, height), Image.Resampling.BILINEAR)
        values = np.asarray(resized, np.float32)
        total = float(values.sum(dtype=np.float64))
        return values / total if total > 0 else values


@dataclass(frozen=True, eq=False, slots=True)
class Grounding:
    """The phrases of one caption in one picture, in caption order. Iterate it, or index it by number or by text.

    Attributes:
        image: (H, W, 3) uint8.
        classifier: its name.
        time_s: that the caption took, without encoding the picture.
    """

    image: RgbImage = field(repr=False)
    caption: str
    classifier: str
    phrases: tuple[GroundedPhrase, ...]
    time_s: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "image", read_only(self.image))

    def __iter__(self) -> Iterator[GroundedPhrase]:
        return iter(self.phrases)

    def __len__(self) -> int:
        return len(self.phrases)

    def __getitem__(self, key: int | str) -> GroundedPhrase:
        """The phrase with this position, or the first one with this text.

        Raises:
            IndexError: no such position.
            KeyError: no such text; the message lists the phrases there are.
        """
        if not isinstance(key, str):
            return self.phrases[key]
        for grounded in self.phrases:
            if grounded.phrase.text == key:
                return grounded
        raise KeyError(f"no phrase {key!r}: the caption has {[grounded.phrase.text for grounded in self.phrases]}")

    def overlay(self) -> Image.Image:
        """The picture with each localized phrase's best box and label, one colour a phrase."""
        from grounding.drawing import overlay

        return overlay(self)

    def to_dict(self, path: str | None = None) -> dict[str, Any]:
        """Plain values for JSON: boxes have the keys of Hugging Face's zero-shot object detection."""
        height, width = self.image.shape[:2]
        return {
            "schema_version": SCHEMA_VERSION,
            "image": {"path": path, "width": width, "height": height},
            "caption": self.caption,
            "classifier": self.classifier,
            "phrases": [_phrase_to_dict(grounded) for grounded in self.phrases],
        }

    def to_frame(self) -> "DataFrame":
        """A table with a row for each region, best first, and one without a box for each phrase that has no region.

        The index is the position of the phrase in the caption, from 0. Columns: `phrase`, `start`, `end`, `head`,
        `status`, `words` (each with its tag and the reason), `rank` from 1, `x0`, `y0`, `x1`, `y1` in px, `score`.
        """
        import pandas

        rows = []
        for position, grounded in enumerate(self.phrases):
            phrase, words = grounded.phrase, "; ".join(map(str, grounded.words))
            facts = (position, phrase.text, phrase.start, phrase.end, phrase.head, grounded.status, words)
            ranked = enumerate(map(dataclasses.astuple, grounded.regions), start=1)
            rows += [(*facts, rank, *region) for rank, region in ranked] or [(*facts, None, *[math.nan] * 5)]
        frame = pandas.DataFrame(rows, columns=["position", *_FACTS, *_BOX])
        return frame.astype(_TYPES).set_index("position")


def to_json(value: dict[str, Any], indent: int | None = None) -> str:
    """JSON text that can be written as UTF-8 even where a path or a caption holds bytes that were no text."""
    return json.dumps(value, ensure_ascii=False, indent=indent).encode("utf-8", "backslashreplace").decode()


def _phrase_to_dict(grounded: GroundedPhrase) -> dict[str, Any]:
    phrase, point = grounded.phrase, grounded.point
    return {
        "text": phrase.text,
        "start": phrase.start,
        "end": phrase.end,
        "head": phrase.head,
        "status": grounded.status,
        "words": [
            {"word": match.word, "tag": match.tag, "reason": match.reason, "weight": round(match.weight, 4)}
            for match in grounded.words
        ],
        "point": None if point is None else {"x": round(point[0], 2), "y": round(point[1], 2)},
        "regions": [
            {
                "score": round(region.score, 6),
                "box": dict(
                    zip(("xmin", "ymin", "xmax", "ymax"), (round(edge, 2) for edge in region.box), strict=True)
                ),
            }
            for region in grounded.regions
        ],
    }
