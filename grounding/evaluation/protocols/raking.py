"""Weights under which some phrases look like all phrases of a split: raking, or iterative proportional fitting.

W. E. Deming and F. F. Stephan, "On a least squares adjustment of a sampled frequency table when the expected marginal
totals are known", 1940. The phrases of each category of each margin are scaled together until the categories have
their shares of the whole, one margin after the other, again and again.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from grounding.boxes import Values, area, enclosing
from grounding.datasets.flickr30k import EntityImage

MARGINS: Final = ("entity type", "area of the merged box", "number of boxes", "centre of the picture in the merged box")
AREA_EDGES: Final = (0, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.64, 0.8, 1)  # shares of the picture, low included
MOST_BOXES: Final = 5  # so many or more are one category
SWEEPS: Final = 200
TOLERANCE: Final = 1e-6  # of the share of a category
Cell = tuple[str, ...]  # a category of each margin
_AREAS: Final = tuple(f"{100 * low:g} to {100 * high:g}%" for low, high in pairwise(AREA_EDGES))


@dataclass(frozen=True, slots=True)
class Cells:
    """The entries of phrases in the cells of the margins.

    A phrase with two types has two entries, one of each type, that count half.

    Attributes:
        names: (E,) the cell of each entry.
        phrases: (E,) its phrase, a row of `boxed_phrases`.
        sizes: (E,) 1, or 1/2 for each of two.
    """

    names: tuple[Cell, ...]
    phrases: npt.NDArray[np.intp]
    sizes: Values

    def total(self) -> dict[Cell, float]:
        """How many phrases are in each cell."""
        sizes: defaultdict[Cell, float] = defaultdict(float)
        for name, size in zip(self.names, self.sizes.tolist(), strict=True):
            sizes[name] += size
        return dict(sizes)


def cells(images: Iterable[EntityImage]) -> Cells:
    """The cells of all phrases with a box, in the order of `boxed_phrases`."""
    names: list[Cell] = []
    phrases: list[int] = []
    sizes: list[float] = []
    number = 0
    for image in images:
        places = {chain: _place(boxes, image.width, image.height) for chain, boxes in image.boxes.items()}
        for phrase in image.boxed_phrases:
            for kind in phrase.types:
                names.append((kind, *places[phrase.chain]))
                phrases.append(number)
                sizes.append(1 / len(phrase.types))
            number += 1
    return Cells(tuple(names), np.array(phrases, np.intp), np.array(sizes, np.float64))


def _place(boxes: Values, width: int, height: int) -> tuple[str, str, str]:
    """The categories of a chain: area, number of boxes, centre."""
    merged = enclosing(boxes)
    share = float(area(merged)[0]) / (width * height)
    place = int(np.searchsorted(AREA_EDGES, share, side="right")) - 1
    count = f"{MOST_BOXES} or more" if len(boxes) >= MOST_BOXES else str(len(boxes))
    x0, y0, x1, y1 = merged[0].tolist()
    inside = x0 <= width / 2 < x1 and y0 <= height / 2 < y1
    return _AREAS[min(place, len(_AREAS) - 1)], count, "yes" if inside else "no"


def rake(names: Sequence[Cell], sizes: Values, whole: Mapping[Cell, float]) -> tuple[Values, Values]:
    """Scale the cells of R samples until each category has its share of the whole.

    A category of the whole that a sample lacks is left out, and the others of its margin have their shares of the rest.

    Args:
        names: (C,) cells, all different.
        sizes: (R, C) how many phrases of each sample are in each cell; a row of zeros gives zeros.
        whole: how many phrases of the whole are in each cell.

    Returns:
        (R, C) what a phrase of each cell is worth in each sample, 1 on average; and (R,) by how much at most the share
        of a category differs from that of the whole: more than `TOLERANCE` only where no weights meet all margins, or
        none within `SWEEPS`.
    """
    margins = [_margin(place, names, whole) for place in range(len(MARGINS))]
    totals = sizes.sum(1, keepdims=True)  # (R, 1)
    factors = np.zeros_like(sizes)
    off = np.zeros(len(sizes))
    todo = np.flatnonzero(totals[:, 0] > 0)
    shares = sizes[todo] / totals[todo]  # (R', C)
    factors[todo] = 1.0
    for _ in range(SWEEPS):
        worst = np.zeros(len(todo))
        for category, wanted in margins:
            now = np.stack([shares[:, category == number].sum(1) for number in range(len(wanted))], 1)  # (R', K)
            target = np.where(now > 0, wanted, 0)
            target /= target.sum(1, keepdims=True)
            worst = np.maximum(worst, np.abs(target - now).max(1))
            ratio = np.divide(target, now, out=np.zeros_like(now), where=now > 0)[:, category]  # (R', C)
            shares *= ratio
            factors[todo] *= ratio
        off[todo] = worst
        left = worst > TOLERANCE
        todo, shares = todo[left], shares[left]
        if not len(todo):
            break
    return factors, off


def _margin(place: int, names: Sequence[Cell], whole: Mapping[Cell, float]) -> tuple[npt.NDArray[np.intp], Values]:
    """(C,) the category of each cell in one margin, and (K,) how many phrases of the whole are in each."""
    counts: defaultdict[str, float] = defaultdict(float)
    for name, size in whole.items():
        counts[name[place]] += size
    numbers = {category: number for number, category in enumerate(counts)}
    return np.array([numbers[name[place]] for name in names], np.intp), np.array(list(counts.values()), np.float64)


def absent_categories(names: Iterable[Cell], whole: Mapping[Cell, float]) -> dict[tuple[str, str], float]:
    """The categories of the whole without a cell among these: (margin, category) -> how many phrases are in it."""
    missing: defaultdict[tuple[str, str], float] = defaultdict(float)
    present = [set(categories) for categories in zip(*names, strict=True)]
    for name, size in whole.items():
        for margin, category, known in zip(MARGINS, name, present, strict=True):
            if category not in known:
                missing[margin, category] += size
    return dict(missing)
