"""What became of a caption: the record of its phrases, as a picture, a table or JSON."""

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from grounding import drawing
from grounding.errors import GroundingError, check_at_least_one
from grounding.grounded import GroundedPhrase
from grounding.images import RgbImage, read_only
from grounding.text.captions import as_read
from grounding.wording import counted, shortened

if TYPE_CHECKING:  # imported where they are used: they take as long as everything else together
    from pandas import DataFrame
    from supervision import Detections

SCHEMA_VERSION = 1
_FACTS = ("phrase", "start", "end", "head", "status", "presence", "words", "rank")
_BOX = ("x0", "y0", "x1", "y1", "score")
_TYPES = dict.fromkeys(("start", "end", "rank"), "Int64") | dict.fromkeys(("presence", *_BOX), "float64")


@dataclass(frozen=True, eq=False, slots=True)
class Grounding:
    """The phrases of one caption in one picture, in caption order. Iterate it, or index it by number or by text.

    Attributes:
        image: (H, W, 3) uint8.
        classifier: its name.
        time_s: that the caption took, without encoding the picture.
        presence_source: what the `presence` of its phrases is computed from.
        min_presence: a phrase with a lower one is `absent`.
        context: `caption` where what the caption says about a phrase beside its own words counted, else `none`.
        notes: for the user, about how the caption was read; mostly none.
    """

    image: RgbImage = field(repr=False)
    caption: str
    classifier: str
    phrases: tuple[GroundedPhrase, ...]
    time_s: float
    presence_source: str = ""
    min_presence: float = 0.0
    context: Literal["caption", "none"] = "none"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "image", read_only(self.image))

    def __iter__(self) -> Iterator[GroundedPhrase]:
        """The phrases, in the order of the caption."""
        return iter(self.phrases)

    def __len__(self) -> int:
        """How many phrases; none ever vanishes, whatever its status."""
        return len(self.phrases)

    def __getitem__(self, key: int | str) -> GroundedPhrase:
        """Return the phrase with this position, or the first one with this text.

        Args:
            key: from 0 in the order of the caption, or a text.

        Raises:
            IndexError: no such position.
            KeyError: no such text; the message lists the phrases there are.
        """
        if not isinstance(key, str):
            return self.phrases[key]
        for grounded in self.phrases:
            if grounded.phrase.text in (key, as_read(key)):
                return grounded
        raise KeyError(f"no phrase {key!r}: the caption has {[grounded.phrase.text for grounded in self.phrases]}")

    def __contains__(self, item: object) -> bool:
        """Whether a phrase with this text is among them, or this very phrase."""
        return any(item is grounded or item == grounded.phrase.text for grounded in self.phrases)

    def __repr__(self) -> str:
        statuses = Counter(grounded.status for grounded in self.phrases)
        said = ", ".join(f"{count} {status}" for status, count in statuses.items())
        return f"Grounding({shortened(self.caption)!r}, {counted(len(self), 'phrase')}{': ' if said else ''}{said})"

    def overlay(self, top_k: int = 1) -> Image.Image:
        """Draw the picture with the boxes of each phrase and its label, one colour a phrase.

        Args:
            top_k: how many boxes of each phrase; those after the best are thin and dashed.
        """
        check_at_least_one("top_k", top_k)
        return drawing.overlay(self.image, self.phrases, top_k)

    def to_dict(self, path: str | None = None) -> dict[str, Any]:
        """Return plain values for JSON: boxes have the keys of Hugging Face's zero-shot object detection.

        Args:
            path: of the picture, which the result does not know by itself.

        Returns:
            `schema_version`, `image`, `caption`, `classifier`, `context`, `presence`, `notes` and `phrases`, one entry
            a phrase with its `text`, `start`, `end`, `head`, `status`, `presence`, `words`, `point` and `regions`; px
            are rounded to 2 digits.
        """
        height, width = self.image.shape[:2]
        return {
            "schema_version": SCHEMA_VERSION,
            "image": {"path": path, "width": width, "height": height},
            "caption": self.caption,
            "classifier": self.classifier,
            "context": self.context,
            "presence": {"computed_from": self.presence_source, "min_presence": round(self.min_presence, 6)},
            "notes": list(self.notes),
            "phrases": [_phrase_to_dict(grounded) for grounded in self.phrases],
        }

    def to_frame(self) -> "DataFrame":
        """Return a table with a row a region, best first, and one without a box for a phrase that has no region.

        The index is the position of the phrase in the caption, from 0. Columns: `phrase`, `start`, `end`, `head`,
        `status`, `presence`, `words` (each with its tag and the reason), `rank` from 1, `x0`, `y0`, `x1`, `y1` in px,
        `score`.
        """
        import pandas

        rows = []
        for position, grounded in enumerate(self.phrases):
            phrase, words = grounded.phrase, "; ".join(map(str, grounded.words))
            what = (position, phrase.text, phrase.start, phrase.end, phrase.head)
            facts = (*what, grounded.status, grounded.presence, words)
            ranked = enumerate(map(dataclasses.astuple, grounded.regions), start=1)
            rows += [(*facts, rank, *region) for rank, region in ranked] or [(*facts, None, *[math.nan] * 5)]
        frame = pandas.DataFrame(rows, columns=["position", *_FACTS, *_BOX])
        return frame.astype(_TYPES).set_index("position")

    def to_detections(self, top_k: int = 1) -> "Detections":
        """Return the boxes of the localized phrases as `supervision.Detections`, in caption order.

        `class_id` is the position of the phrase in the caption, from 0, `data["class_name"]` its text, `confidence` the
        score of the region.

        Args:
            top_k: at most so many boxes of each phrase.

        Raises:
            GroundingError: supervision is not installed.
        """
        check_at_least_one("top_k", top_k)
        try:
            import supervision
        except ImportError as error:
            raise GroundingError("Detections are supervision's: pip install supervision") from error
        rows = [
            (position, region)
            for position, grounded in enumerate(self.phrases)
            if grounded.status == "localized"
            for region in grounded.regions[:top_k]
        ]
        positions = np.array([position for position, _ in rows], int)
        return supervision.Detections(
            np.array([region.box for _, region in rows], np.float32).reshape(-1, 4),
            confidence=np.array([region.score for _, region in rows], np.float32),
            class_id=positions,
            data={"class_name": np.array([self.phrases[position].phrase.text for position in positions], str)},
        )


def to_json(value: dict[str, Any], indent: int | None = None) -> str:
    """Write JSON text that is UTF-8 even where a path or a caption holds bytes that were no text."""
    return json.dumps(value, ensure_ascii=False, indent=indent).encode("utf-8", "backslashreplace").decode()


def _phrase_to_dict(grounded: GroundedPhrase) -> dict[str, Any]:
    """Return plain values, rounded: pixels to 2 digits, presence to 6, scores to 6 significant ones."""
    phrase, point = grounded.phrase, grounded.point
    return {
        "text": phrase.text,
        "start": phrase.start,
        "end": phrase.end,
        "head": phrase.head,
        "negated": phrase.negated,
        "status": grounded.status,
        "presence": None if grounded.presence is None else round(grounded.presence, 6),
        "words": [
            {"word": match.word, "tag": match.tag, "reason": match.reason, "weight": round(match.weight, 4)}
            for match in grounded.words
        ],
        "point": None if point is None else {"x": round(point[0], 2), "y": round(point[1], 2)},
        "regions": [
            {
                "score": float(f"{region.score:.6g}"),  # falls within a phrase, however small
                "box": dict(
                    zip(("xmin", "ymin", "xmax", "ymax"), (round(edge, 2) for edge in region.box), strict=True)
                ),
            }
            for region in grounded.regions
        ],
    }
