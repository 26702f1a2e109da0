"""The protocols, as named objects: which phrases count, and when a prediction is right.

Each takes the measured columns of `metrics.measure` (one row a phrase with a box) and returns one value a phrase in
[0, 1], NaN where the protocol does not count the phrase. The sources of each are in docs/protocols.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from grounding.boxes import Values

Columns = Mapping[str, Values]
Target = Literal["any-box", "merged-box"]
TARGETS: Final[tuple[Target, ...]] = ("any-box", "merged-box")
TOP: Final = (1, 5, 10)
TOLERANCE_PX: Final = 15.0
_TARGET_TEXT: Final = {"any-box": "any box of its chain", "merged-box": "the box that encloses all boxes of its chain"}


@dataclass(frozen=True, slots=True)
class Recall:
    """Phrases with a box of the top k at this IoU or more; k None takes every proposal: the upper bound."""

    k: int | None
    target: Target
    iou: float = 0.5

    @property
    def name(self) -> str:
        """Unique, the key in metrics.json."""
        reach = "upper-bound" if self.k is None else f"recall@{self.k}"
        return f"{reach}/{self.target}" + ("" if self.iou == 0.5 else f"/iou-{self.iou:g}")

    @property
    def description(self) -> str:
        """One sentence for people."""
        boxes = {None: "any proposal", 1: "the first box"}.get(self.k, f"one of the first {self.k} boxes")
        return f"a phrase is hit when {boxes} has IoU >= {self.iou:g} with {_TARGET_TEXT[self.target]}"

    def values(self, columns: Columns) -> Values:
        """(P,) of 0, 1 and NaN."""
        reached = columns[iou_column(self.k, self.target)]
        return np.where(np.isnan(reached), np.nan, reached >= self.iou)


@dataclass(frozen=True, slots=True)
class MeanIou:
    """The mean IoU of the first box, 0 where there is none."""

    target: Target

    @property
    def name(self) -> str:
        """Unique, the key in metrics.json."""
        return f"mean-iou/{self.target}"

    @property
    def description(self) -> str:
        """One sentence for people."""
        return f"the mean IoU of the first box with {_TARGET_TEXT[self.target]}, 0 without a box"

    def values(self, columns: Columns) -> Values:
        """(P,) IoU, or NaN."""
        return columns[iou_column(1, self.target)]


@dataclass(frozen=True, slots=True)
class Pointing:
    """A pointing game: the map's maximum, or the point given, falls in the target.

    Attributes:
        column: which measured column says so.
        description: one sentence for people: when a point is right, and which phrases count.
        filter_column: phrases whose value here is `smallest` or more (above it, if `strict`) count.
    """

    name: str
    column: str
    description: str
    filter_column: str | None = None
    smallest: float = 0.05
    strict: bool = False

    def values(self, columns: Columns) -> Values:
        """(P,) of 0, 1 (a probability for the random point) and NaN."""
        hit = columns[self.column]
        if self.filter_column is None:
            return hit
        share = columns[self.filter_column]
        counted = share > self.smallest if self.strict else share >= self.smallest
        return np.where(counted, hit, np.nan)


@dataclass(frozen=True, slots=True)
class AttentionCorrectness:
    """The share of the phrase map's mass inside the target."""

    target: Target

    @property
    def name(self) -> str:
        """Unique, the key in metrics.json."""
        return f"attention-correctness/{self.target}"

    @property
    def description(self) -> str:
        """One sentence for people."""
        inside = "the boxes of its chain" if self.target == "any-box" else _TARGET_TEXT["merged-box"]
        return f"the share of the phrase map's mass that lies inside {inside}, 0 for an empty map"

    def values(self, columns: Columns) -> Values:
        """(P,) share, or NaN."""
        return columns[mass_column(self.target)]


Protocol = Recall | MeanIou | Pointing | AttentionCorrectness


def iou_column(k: int | None, target: Target) -> str:
    """The column with the best IoU among the first k boxes."""
    return f"best_iou_{'all' if k is None else k}_{target.removesuffix('-box')}"


def mass_column(target: Target) -> str:
    """The column with the map mass inside the target."""
    return f"mass_{target.removesuffix('-box')}"


POINTING: Final = (
    Pointing(
        "pointing/phrase",
        "point_on_any",
        "the point of a phrase lies in any box of its chain; no filter (InfoGround, AMC, SelfEQ)",
    ),
    Pointing(
        "pointing/phrase-merged",
        "point_on_merged",
        "the point of a phrase lies in the box that encloses all boxes of its chain; no filter (merged files)",
    ),
    Pointing(
        "pointing/phrase-5%",
        "point_on_any",
        "the point of a phrase lies in any box of its chain; phrases whose enclosing box covers under 5% of the image "
        "are left out (Akbari et al., GbS)",
        "merged_share",
    ),
    Pointing(
        "pointing/chain-5%",
        "chain_point_on_merged",
        "the maximum of the mean map of a chain's mentions lies in its enclosing box; chains whose first box covers at "
        "most 5% of the image are left out (WWbL)",
        "first_share",
        strict=True,
    ),
    Pointing(
        "pointing/phrase-15px",
        "point_near_any",
        f"the point of a phrase lies in, or less than {TOLERANCE_PX:g} px of the original photograph from, any box of "
        "its chain; no filter (the tolerance of EB and TorchRay on VOC and COCO)",
    ),
)
MEASURED: Final = (  # every column that `metrics.measure` gives
    *(iou_column(k, target) for target in TARGETS for k in (*TOP, None)),
    *(mass_column(target) for target in TARGETS),
    *("point_on_any", "point_on_merged", "point_near_any", "chain_point_on_merged", "merged_share", "first_share"),
)
HEADLINE: Final[tuple[Protocol, ...]] = (
    *POINTING,
    *(Recall(k, target) for target in TARGETS for k in (*TOP, None)),
    *(MeanIou(target) for target in TARGETS),
    *(AttentionCorrectness(target) for target in TARGETS),
)
CURVE: Final[tuple[Protocol, ...]] = tuple(
    Recall(k, target, tenths / 10) for target in TARGETS for k in (*TOP, None) for tenths in range(1, 10) if tenths != 5
)
