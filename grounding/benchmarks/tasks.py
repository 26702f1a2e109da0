"""The three things that a map is asked for: to point, to localize, and to agree with people."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from grounding.benchmarks.data import Fixations
from grounding.benchmarks.statistics import Score, best_threshold, class_mean, mean, pixel_precision, ratio
from grounding.boxes import Values
from grounding.datasets.labelled import ClassRegion, LabelledImage
from grounding.evaluation.protocols.agreement import auc, human_map, nss, spearman, split_half
from grounding.evaluation.protocols.localization import (
    IOUS,
    MEAN_MULTIPLES,
    THRESHOLDS,
    cross_fitted,
    measure_overlaps,
    pixel_counts,
)
from grounding.evaluation.protocols.pointing_game import TOLERANCE_PX, highest_pixel, is_difficult, point_hits

Map = npt.NDArray[np.float32]  # (H, W), at least 0, over the whole picture at the size of its annotations
Row = dict[str, Any]  # plain values: what a method's map of a class in a picture measures
_LEVEL: Final = 2  # of a hit: `_levels` counts the IoUs of `IOUS` that are reached, and 0.5 is the second
_AGREEMENT_SIDE_PX: Final = 128  # of the longer side of the map that is compared with fixations
_SIGMA: Final = 1 / 20  # of the longer side: how far a fixation spreads in the human map
PEOPLE, TRUE_BOX = "people, split half", "true box"


class Task(Protocol):
    """What a benchmark measures.

    Attributes:
        name: of the command.
        hit: says in words what makes a row a hit, for galleries and `gained` and `lost`.
    """

    @property
    def name(self) -> str:
        """See the class."""

    @property
    def hit(self) -> str:
        """See the class."""

    def measure(self, map_: Map, image: LabelledImage, region: ClassRegion) -> Row:
        """Measure the map of one class."""

    def other_rows(self, image: LabelledImage, region: ClassRegion) -> dict[str, Row]:
        """What is measured beside the methods, by name."""

    def miss(self, image: LabelledImage, region: ClassRegion) -> Row | None:
        """What a class without a tag measures where it counts as a miss; None where there is no such thing."""

    def scores(self, rows: pd.DataFrame, images: int, classes: int) -> dict[str, Score]:
        """The numbers of one method.

        Args:
            rows: a row a class in a picture, with `image` and `class` as places in the data set, `predicted` and
                what `measure` gave.
            images: how many the data set has.
            classes: how many the data set has.
        """

    def hits(self, rows: pd.DataFrame) -> Values:
        """(P,) for each row how well it does: 1 and 0 for hit and miss, or a correlation."""


@dataclass(frozen=True, slots=True)
class Pointing:
    """The pointing game: does the highest pixel of the map lie on the class, or at most 15 px away?"""

    name: str = "pointing"
    hit: str = f"the highest pixel lies at most {TOLERANCE_PX} px from the class"

    def measure(self, map_: Map, image: LabelledImage, region: ClassRegion) -> Row:
        """Whether it hits, and where it points."""
        pixel = highest_pixel(map_)
        hit = pixel is not None and point_hits(pixel, region, image.width, image.height)
        return {"hit": int(hit), "point": pixel and list(pixel), "difficult": int(is_difficult(image, region))}

    def other_rows(self, image: LabelledImage, region: ClassRegion) -> dict[str, Row]:
        """Nothing."""
        return {}

    def miss(self, image: LabelledImage, region: ClassRegion) -> Row | None:
        """No hit."""
        return {"hit": 0, "point": None, "difficult": int(is_difficult(image, region))}

    def scores(self, rows: pd.DataFrame, images: int, classes: int) -> dict[str, Score]:
        """Of all rows and of the difficult ones: the mean over classes, and over the rows."""
        found = {}
        for name, kept in (("all", rows), ("difficult", rows[rows["difficult"] == 1])):
            place, hit = kept["image"].to_numpy(), kept["hit"].to_numpy(np.float64)
            by_class = class_mean(hit, place, kept["class"].to_numpy(), images, classes)
            found[name] = Score(by_class, len(kept))
            found[f"{name}, pooled"] = Score(mean(hit, place, images), len(kept))
        return found

    def hits(self, rows: pd.DataFrame) -> Values:
        """As measured."""
        return rows["hit"].to_numpy(np.float64)


@dataclass(frozen=True, slots=True)
class Localization:
    """Boxes of a thresholded map against the boxes of the class, and its pixels against the mask."""

    name: str = "localization"
    hit: str = (
        "the box of the largest component reaches IoU 0.5, at the threshold that is best on the other half of the "
        "pictures"
    )

    def measure(self, map_: Map, image: LabelledImage, region: ClassRegion) -> Row:
        """How many of the IoUs 0.3, 0.5 and 0.7 are reached: a digit for each threshold."""
        overlaps = measure_overlaps(map_, region.boxes)
        row: Row = {
            "largest": _digits(overlaps.largest),
            "best": _digits(overlaps.best),
            "above_mean": _digits(overlaps.above_mean),
            "otsu": int(_levels(np.array([overlaps.otsu_largest]))[0]),
        }
        if region.mask is not None:
            row["inside"], row["outside"] = pixel_counts(map_, region.mask()).tolist()
        return row

    def other_rows(self, image: LabelledImage, region: ClassRegion) -> dict[str, Row]:
        """Nothing."""
        return {}

    def miss(self, image: LabelledImage, region: ClassRegion) -> Row | None:
        """No box, and the pixels of a map that is zero everywhere."""
        none = "0" * len(THRESHOLDS)
        row: Row = {"largest": none, "best": none, "above_mean": "0" * len(MEAN_MULTIPLES), "otsu": 0}
        if region.mask is not None:
            nothing = np.zeros((image.height, image.width), np.float32)
            row["inside"], row["outside"] = pixel_counts(nothing, region.mask()).tolist()
        return row | {"predicted": None}

    def scores(self, rows: pd.DataFrame, images: int, classes: int) -> dict[str, Score]:
        """MaxBoxAcc and its second version, GT-known and top-1 localization, boxes above the mean, realistic, PxAP."""
        place, count = rows["image"].to_numpy(), len(rows)
        largest, best = (_read_digits(rows[name], len(THRESHOLDS)) for name in ("largest", "best"))
        known = self.hits(rows)
        right = (rows["predicted"] == rows["class"]).to_numpy()
        above = _held_out(_read_digits(rows["above_mean"], len(MEAN_MULTIPLES)), place)
        levels = range(1, len(IOUS) + 1)
        otsu = rows["otsu"].to_numpy()
        found = {
            "MaxBoxAcc": Score(best_threshold([largest >= _LEVEL], place, images), count),
            "MaxBoxAccV2": Score(best_threshold([best >= level for level in levels], place, images), count),
            "GT-known": Score(mean(known, place, images), count),
            "top-1": Score(mean(known * right, place, images), count),
            "box above a multiple of the mean": Score(mean(above, place, images), count),
            "realistic": Score(mean(np.mean([otsu >= level for level in levels], axis=0), place, images), count),
        }
        if "inside" in rows and (masked := rows.dropna(subset="inside")).size:
            counts = np.stack([np.stack(masked[side].to_list()) for side in ("inside", "outside")], 1)  # (P, 2, T)
            found["PxAP"] = Score(pixel_precision(counts, masked["image"].to_numpy(), images), len(masked))
        return found

    def hits(self, rows: pd.DataFrame) -> Values:
        """GT-known localization."""
        return _held_out(_read_digits(rows["largest"], len(THRESHOLDS)), rows["image"].to_numpy())


@dataclass(frozen=True, slots=True)
class Agreement:
    """Maps against the fixations of people.

    Attributes:
        fixations: by image id; only `measure` and `other_rows` need them.
    """

    fixations: Fixations = field(default_factory=dict, repr=False)
    name: str = "agreement"
    hit: str = "Spearman's correlation with the map of the fixations"

    def measure(self, map_: Map, image: LabelledImage, region: ClassRegion) -> Row:
        """Spearman, AUC and NSS with all viewers of the picture, at most 128 px a side."""
        width, height, viewers = self._small(image)
        together = np.concatenate(viewers)
        small = np.asarray(cv2.resize(map_, (width, height), interpolation=cv2.INTER_AREA), np.float32)
        people = human_map(viewers, width, height, _SIGMA * max(width, height))
        return _agreement(spearman(small, people), auc(small, together), nss(small, together))

    def other_rows(self, image: LabelledImage, region: ClassRegion) -> dict[str, Row]:
        """The box itself as a map, and people against people."""
        inside = np.zeros((image.height, image.width), np.float32)
        for x0, y0, x1, y1 in np.round(region.boxes).astype(int).tolist():
            inside[y0:y1, x0:x1] = 1
        width, height, viewers = self._small(image)
        halves = split_half(viewers, width, height, _SIGMA * max(width, height))
        return {TRUE_BOX: self.measure(inside, image, region), PEOPLE: _agreement(*halves)}

    def miss(self, image: LabelledImage, region: ClassRegion) -> Row | None:
        """A correlation cannot be missed."""
        return None

    def scores(self, rows: pd.DataFrame, images: int, classes: int) -> dict[str, Score]:
        """The mean of each measure over pictures, and of Spearman and AUC the fraction of the ceiling.

        That is the method's mean above chance (0, and 0.5 of AUC) divided by that of people, split half, over the
        pictures where both are known; `with_ceiling` gives each row the numbers of people.
        """
        place = rows["image"].to_numpy()
        measured = {name: rows[key].to_numpy(np.float64) for name, key in _AGREEMENT.items()}
        found = {
            name: Score(mean(values[known], place[known], images), int(known.sum()), percent=False)
            for name, values in measured.items()
            for known in [~np.isnan(values)]
        }
        for name, chance in _CHANCE.items():
            if (ceiling := f"{_CEILING}{_AGREEMENT[name]}") in rows:
                above, below = measured[name] - chance, rows[ceiling].to_numpy(np.float64) - chance
                known = ~np.isnan(above + below)
                statistic = ratio(above[known], below[known], place[known], images)
                found[f"{name} / ceiling"] = Score(statistic, int(known.sum()), percent=False)
        return found

    def hits(self, rows: pd.DataFrame) -> Values:
        """Spearman."""
        return rows["spearman"].to_numpy(np.float64)

    def _small(self, image: LabelledImage) -> tuple[int, int, list[Values]]:
        """Width and height of the compared map, and the fixations in its px."""
        scale = min(1.0, _AGREEMENT_SIDE_PX / max(image.width, image.height))
        width, height = (max(1, round(side * scale)) for side in (image.width, image.height))
        shrink = np.array([width / image.width, height / image.height, 1.0])
        return width, height, [viewer * shrink for viewer in self.fixations[image.id]]


TASKS: Final[Mapping[str, Callable[[], Task]]] = {
    "pointing": Pointing,
    "localization": Localization,
    "agreement": Agreement,
}
_AGREEMENT: Final[Mapping[str, str]] = {"Spearman": "spearman", "AUC": "auc", "NSS": "nss"}
_CHANCE: Final = {"Spearman": 0.0, "AUC": 0.5}  # what a map that says nothing reaches
_CEILING: Final = "ceiling_"  # before the column of a measure: what people reach on the same picture


def with_ceiling(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of all methods with what people, split half, reach on the same class of the same picture.

    The rows of people themselves get none; a table without them, of another task, stays as it is.
    """
    people = table[table["method"] == PEOPLE]
    if people.empty:
        return table
    columns = {_AGREEMENT[name]: f"{_CEILING}{_AGREEMENT[name]}" for name in _CHANCE}
    beside = people[["image", "class", *columns]].rename(columns=columns)
    joined = table.merge(beside, "left", ["image", "class"])
    joined.loc[joined["method"] == PEOPLE, list(columns.values())] = None
    return joined


def _agreement(*values: float) -> Row:
    return {
        key: None if np.isnan(value) else round(value, 6)
        for key, value in zip(_AGREEMENT.values(), values, strict=True)
    }


def _levels(overlaps: Values) -> npt.NDArray[np.int64]:
    reached: npt.NDArray[np.int64] = np.searchsorted(IOUS, overlaps, side="right")
    return reached


def _digits(overlaps: Values) -> str:
    return "".join(map(str, _levels(overlaps).tolist()))


def _read_digits(texts: pd.Series, length: int) -> npt.NDArray[np.uint8]:
    """(P,) texts of digits -> (P, length)."""
    joined = np.frombuffer("".join(texts).encode(), np.uint8)
    levels: npt.NDArray[np.uint8] = (joined - ord("0")).reshape(-1, length)
    return levels


def _held_out(levels: npt.NDArray[np.uint8], place: npt.NDArray[Any]) -> Values:
    """(P, T) levels -> (P,) hits at IoU 0.5, the threshold of even pictures chosen on the odd ones and conversely."""
    odd = place % 2 == 1
    one_sided = not odd.any() or odd.all()  # one picture: nothing is held out
    hits = (levels >= _LEVEL).any(1) if one_sided else cross_fitted(levels.astype(np.float64), _LEVEL, odd)
    return np.asarray(hits, np.float64)
