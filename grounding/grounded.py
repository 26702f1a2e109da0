"""What became of one phrase: frozen records."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from grounding.images import read_only
from grounding.text.phrases import Phrase
from grounding.text.vocabulary import Match
from grounding.wording import shortened

Status = Literal["localized", "absent", "out-of-vocabulary", "empty-map", "no-proposals"]


@dataclass(frozen=True, slots=True)
class Region:
    """A scored box in pixels of the upright picture, half-open edges.

    `score` estimates the probability that the box is right, in [0, 1]: the presence of the phrase times the share of
    all boxes which its map leaves possible that agree with this one (`regions.confidence`). It falls within a phrase.
    """

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
        status: `localized`; `absent` (its presence is below the threshold: point and regions say where it would be; or
            the caption says that it is not there: no point, no region, an empty map); `out-of-vocabulary` (no word has
            a tag: the map is uniform, so point and regions are a guess); `empty-map` (no evidence in this picture);
            `no-proposals` (no candidate box to score).
        presence: the probability that the picture shows it, in [0, 1]; None where nothing is known of its words.
        words: each content word, the tags that speak for it, and why.
        point: (x, y) in pixels of the maximum of `point_map`, or None for an empty map.
        regions: best first.
        grid_map: (h, w) float32 phrase map over the whole picture at working resolution, sums to 1 or all zero.
        point_map: (h, w) float32, the phrase map smoothed more widely and multiplied with a centre prior
            (`maps.point_smoothing`, `maps.centre_prior`), sums to 1 or all zero.
        image_size: (H, W) of the picture.
    """

    phrase: Phrase
    status: Status
    presence: float | None
    words: tuple[Match, ...]
    point: tuple[float, float] | None
    regions: tuple[Region, ...]
    grid_map: npt.NDArray[np.float32] = field(repr=False)
    point_map: npt.NDArray[np.float32] = field(repr=False)
    image_size: tuple[int, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "grid_map", read_only(self.grid_map))
        object.__setattr__(self, "point_map", read_only(self.point_map))

    def __repr__(self) -> str:
        presence = "" if self.presence is None else f", presence {self.presence:.2f}"
        box = (
            f", ({', '.join(f'{edge:.0f}' for edge in self.best.box)}) score {self.best.score:.2f}" if self.best else ""
        )
        return f"GroundedPhrase({shortened(self.phrase.text)!r}, {self.status}{presence}{box})"

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
