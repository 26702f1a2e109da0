"""What a caption's phrases were found to be: frozen records, and their JSON form."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from grounding.images import RgbImage
from grounding.text.phrases import Phrase
from grounding.text.vocabulary import Match

SCHEMA_VERSION = 1
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
        time_s: the time that the caption took, divided by the number of its phrases.
    """

    phrase: Phrase
    status: Status
    words: tuple[Match, ...]
    point: tuple[float, float] | None
    regions: tuple[Region, ...]
    grid_map: npt.NDArray[np.float32] = field(repr=False)
    point_map: npt.NDArray[np.float32] = field(repr=False)
    image_size: tuple[int, int]
    time_s: float

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
    """The phrases of one caption in one picture, in caption order. Iterate it, or index it by number or by text."""

    image: RgbImage = field(repr=False)
    caption: str
    classifier: str
    phrases: tuple[GroundedPhrase, ...]

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
        for found in self.phrases:
            if found.phrase.text == key:
                return found
        raise KeyError(f"no phrase {key!r}: the caption has {[found.phrase.text for found in self.phrases]}")

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
            "phrases": [_phrase_to_dict(found) for found in self.phrases],
        }


def to_json(value: dict[str, Any], indent: int | None = None) -> str:
    """JSON text that can be written as UTF-8 even where a path or a caption holds bytes that were no text."""
    return json.dumps(value, ensure_ascii=False, indent=indent).encode("utf-8", "backslashreplace").decode()


def _phrase_to_dict(found: GroundedPhrase) -> dict[str, Any]:
    phrase = found.phrase
    return {
        "text": phrase.text,
        "start": phrase.start,
        "end": phrase.end,
        "head": phrase.head,
        "status": found.status,
        "words": [
            {"word": match.word, "tag": match.tag, "reason": match.reason, "weight": round(match.weight, 4)}
            for match in found.words
        ],
        "point": None if found.point is None else {"x": round(found.point[0], 2), "y": round(found.point[1], 2)},
        "regions": [
            {
                "score": round(region.score, 6),
                "box": dict(
                    zip(("xmin", "ymin", "xmax", "ymax"), (round(edge, 2) for edge in region.box), strict=True)
                ),
            }
            for region in found.regions
        ],
    }
