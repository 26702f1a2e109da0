"""Where people looked in the pictures of CUB-200-2011.

Y. Rong et al., "Human Attention in Fine-grained Classification" (CUB-GHA), BMVC 2021.
"""

import gzip
import math
import zlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from grounding.boxes import Values
from grounding.datasets.labelled import LabelledImage
from grounding.datasets.marks import known
from grounding.errors import GroundingError

_GZIP: Final = b"\x1f\x8b"
_DAMAGED: Final = "damaged rows"
_UNKNOWN: Final = "rows of other pictures"
_OTHERS: Final = "rows of other viewers"
_TWICE: Final = "rows given twice"
_OUTSIDE: Final = "fixations outside the picture"
_NOWHERE: Final = "rows without a fixation in the picture"


class _Row(NamedTuple):
    viewer: int
    image: str
    size: tuple[float, float]
    fixations: Values


@dataclass(frozen=True, slots=True, eq=False)
class Gaze:
    """Fixations of people.

    Attributes:
        fixations: by the picture's id, for each viewer in the order of their numbers, (N, 3) float64 `x, y,
            duration_ms` with N at least 1, in the order of time, in px of the annotated size and inside it. Pictures
            that nobody looked at have no entry.
        left_out: what is not in `fixations`, and why -> how many.
    """

    fixations: Mapping[str, tuple[Values, ...]]
    left_out: Mapping[str, int] = field(default_factory=dict)


def read_gaze(path: Path, images: Iterable[LabelledImage], viewers: Collection[int] = ()) -> Gaze:
    """Read the rows of the given pictures.

    Args:
        path: CSV, also as gzip, with a row `run,image_id,width,height` and then three values `x,y,duration_ms` a
            fixation, in px of the width and height of the row; lines that start with `#` are not read. A run is a
            viewer; one who looked again, in a second row that is not the same, has the fixations of both.
        images: gives the ids and annotated sizes.
        viewers: only the rows of these; all where it is empty.

    Raises:
        GroundingError: the file cannot be read, no row is of any of the pictures, or one of `viewers` has none there.
    """
    sizes = {image.id: (image.width, image.height) for image in images}
    found: dict[str, defaultdict[int, list[Values]]] = {image: defaultdict(list) for image in sizes}
    left_out = Counter[str]()
    seen: set[str] = set()
    asked, others = set[int](), set[int]()  # viewers of these pictures
    for line in _lines(path):
        if not line.strip() or line.startswith("#"):
            continue
        row = _row(line)
        if row is None:
            left_out[_DAMAGED] += 1
        elif row.image not in sizes:
            left_out[_UNKNOWN] += 1
        elif viewers and row.viewer not in viewers:
            left_out[_OTHERS] += 1
            others.add(row.viewer)
        elif line in seen:
            left_out[_TWICE] += 1
        else:
            seen.add(line)
            asked.add(row.viewer)
            inside = ((row.fixations[:, :2] >= 0) & (row.fixations[:, :2] < row.size)).all(1)
            left_out[_OUTSIDE] += int((~inside).sum())
            left_out[_NOWHERE] += not inside.any()
            if inside.any():
                found[row.image][row.viewer].append(_scaled(row.fixations[inside], row.size, sizes[row.image]))
    present = asked | others
    if present and (missing := set(viewers) - asked):
        numbers = ", ".join(map(str, sorted(present)))
        raise GroundingError(f"{path} has no viewer {min(missing)} of the pictures: expected some of {numbers}")
    fixations = {
        image: tuple(np.concatenate(theirs[viewer]) for viewer in sorted(theirs))
        for image, theirs in found.items()
        if theirs
    }
    if not fixations:
        counts = ", ".join(f"{reason}: {count}" for reason, count in known(left_out).items()) or "it is empty"
        raise GroundingError(f"{path} has no fixation in any of the {len(sizes)} pictures ({counts}): is it theirs?")
    return Gaze(fixations, known(left_out))


def annotated_sizes(path: Path) -> dict[str, set[tuple[float, float]]]:
    """The widths and heights, in px, that the rows of each picture state, by its id; damaged rows are not read.

    Raises:
        GroundingError: the file cannot be read.
    """
    sizes = defaultdict[str, set[tuple[float, float]]](set)
    for line in _lines(path):
        if not line.startswith("#") and (row := _row(line)):
            sizes[row.image].add(row.size)
    return dict(sizes)


def _lines(path: Path) -> list[str]:
    try:
        content = path.read_bytes()
        return (gzip.decompress(content) if content.startswith(_GZIP) else content).decode("utf-8-sig").splitlines()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise GroundingError(f"{path} cannot be read ({error}): expected CSV of fixations, or it as gzip") from error


def _row(line: str) -> _Row | None:
    """None where it is damaged."""
    try:
        run, image, *rest = map(str.strip, line.split(","))
        viewer, values = int(run), [float(value) for value in rest]
    except ValueError:  # also for less than two values
        return None
    if not image or len(values) % 3 != 2 or not all(map(math.isfinite, values)):
        return None
    size, fixations = (values[0], values[1]), np.array(values[2:], np.float64).reshape(-1, 3)
    return None if min(size) <= 0 or (fixations[:, 2] < 0).any() else _Row(viewer, image, size, fixations)


def _scaled(fixations: Values, size: tuple[float, float], annotated: tuple[int, int]) -> Values:
    """Fixations of a picture of one size in px of another; rounding leads none out of it."""
    scaled = fixations.copy()
    scaled[:, :2] = np.minimum(fixations[:, :2] * annotated / size, np.nextafter(annotated, 0.0))
    return scaled
