"""The protocols, as named objects: which phrases count, and when a prediction is right.

Each takes the columns of `measure` (a row a phrase with a box) and returns one value a phrase in [0, 1], NaN where the
protocol does not count the phrase. The sources of each are in docs/reference/protocols.md.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pandas as pd

from grounding.boxes import Values

Columns = pd.DataFrame  # float64, with the index (image, sentence, phrase)
Target = Literal["any-box", "merged-box"]
TARGETS: Final[tuple[Target, ...]] = ("any-box", "merged-box")
TOP: Final = (1, 5, 10)
TOLERANCE_PX: Final = 15.0
_TARGET_TEXT: Final = {
    "any-box": "any box of its chain",
    "merged-box": "the box that encloses all boxes of its chain",
}


@dataclass(frozen=True, slots=True)
class Protocol:
    """Which phrases count, and what the prediction for a phrase is worth.

    Attributes:
        name: unique, the key in metrics.json.
        description: one sentence for people.
        column: the measured column that decides.
        iou: the least value of the column that is a hit; None where the column itself is the value.
        filter_column: phrases whose value here is `smallest` or more (above it, if `strict`) count; None for all.
    """

    name: str
    description: str
    column: str
    iou: float | None = None
    filter_column: str | None = None
    smallest: float = 0.05
    strict: bool = False

    def values(self, columns: Columns) -> Values:
        """(P,) from 0 to 1, NaN where the phrase does not count or nothing was measured."""
        values = columns[self.column].to_numpy()
        if self.iou is not None:
            values = np.where(np.isnan(values), np.nan, values >= self.iou)
        if self.filter_column is not None:
            share = columns[self.filter_column].to_numpy()
            values = np.where(share > self.smallest if self.strict else share >= self.smallest, values, np.nan)
        return values


def iou_column(k: int | None, target: Target) -> str:
    """The column with the best IoU among the first k boxes."""
    return f"best_iou_{'all' if k is None else k}_{target.removesuffix('-box')}"


def mass_column(target: Target) -> str:
    """The column with the map mass inside the target."""
    return f"mass_{target.removesuffix('-box')}"


def recall(k: int | None, target: Target, iou: float = 0.5) -> Protocol:
    """Phrases with a box of the top k at this IoU or more; k None takes every proposal: the upper bound."""
    reach = "upper-bound" if k is None else f"recall@{k}"
    boxes = {None: "any proposal", 1: "the first box"}.get(k, f"one of the first {k} boxes")
    return Protocol(
        f"{reach}/{target}" + ("" if iou == 0.5 else f"/iou-{iou:g}"),
        f"a phrase is hit when {boxes} has IoU >= {iou:g} with {_TARGET_TEXT[target]}",
        iou_column(k, target),
        iou,
    )


def _mean_iou(target: Target) -> Protocol:
    text = f"the mean IoU of the first box with {_TARGET_TEXT[target]}, 0 without a box"
    return Protocol(f"mean-iou/{target}", text, iou_column(1, target))


def _attention_correctness(target: Target) -> Protocol:
    inside = "the boxes of its chain" if target == "any-box" else _TARGET_TEXT[target]
    text = f"the share of the phrase map's mass that lies inside {inside}, 0 for an empty map"
    return Protocol(f"attention-correctness/{target}", text, mass_column(target))


POINTING: Final = (  # the map's maximum, or the point given, falls in the target
    Protocol(
        "pointing/phrase",
        "the point of a phrase lies in any box of its chain; no filter (InfoGround, AMC, SelfEQ)",
        "point_on_any",
    ),
    Protocol(
        "pointing/phrase-merged",
        "the point of a phrase lies in the box that encloses all boxes of its chain; no filter (merged files)",
        "point_on_merged",
    ),
    Protocol(
        "pointing/phrase-5%",
        "the point of a phrase lies in any box of its chain; phrases whose enclosing box covers under 5% of the image "
        "are left out (Akbari et al., GbS)",
        "point_on_any",
        filter_column="merged_share",
    ),
    Protocol(
        "pointing/chain-5%",
        "the maximum of the mean map of a chain's mentions lies in its enclosing box; chains whose first box covers at "
        "most 5% of the image are left out (WWbL)",
        "chain_point_on_merged",
        filter_column="first_share",
        strict=True,
    ),
    Protocol(
        "pointing/phrase-15px",
        f"the point of a phrase lies in, or less than {TOLERANCE_PX:g} px of the original photograph from, any box of "
        "its chain; no filter (the tolerance of EB and TorchRay on VOC and COCO)",
        "point_near_any",
    ),
)
POINTS: Final = ("point_on_any", "point_on_merged", "point_near_any", "chain_point_on_merged")
MASSES: Final = tuple(mass_column(target) for target in TARGETS)
SHARES: Final = ("merged_share", "first_share")
IOUS: Final = tuple(iou_column(k, target) for target in TARGETS for k in (*TOP, None))
MEASURED: Final = (*IOUS, *MASSES, *POINTS, *SHARES)  # every column that `measure` gives
HEADLINE: Final = (
    *POINTING,
    *(recall(k, target) for target in TARGETS for k in (*TOP, None)),
    *(_mean_iou(target) for target in TARGETS),
    *(_attention_correctness(target) for target in TARGETS),
)
CURVE: Final = tuple(
    recall(k, target, tenths / 10) for target in TARGETS for k in (*TOP, None) for tenths in range(1, 10) if tenths != 5
)
