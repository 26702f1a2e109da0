"""Human maps from the clicks of ClickMe 2.0, as its CSV has them.

A row is what one participant clicked in one picture. As the ClickMe lab does it (its repository
serre-lab/human_clickme_data_processing): of a participant who saw a picture twice the first row counts, rows of at most
10 clicks are left out, of the others the first 75 clicks count, and a picture's map is the mean of its participants'
binary maps.
"""

import ast
import csv
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final, NamedTuple

import numpy as np

from grounding.boxes import Values
from grounding.datasets.map_sources import MapSource
from grounding.datasets.marks import known
from grounding.datasets.places import DAMAGED, opener_of
from grounding.errors import GroundingError
from grounding.wording import shortened

_COLUMNS: Final = ("image_path", "clicks")
_USER: Final = "user_id"
MIN_CLICKS: Final = 10  # a row with no more is left out
MAX_CLICKS: Final = 75
_NONE: Final = "rows without a click"
_FEW: Final = f"rows of at most {MIN_CLICKS} clicks"
_AGAIN: Final = "rows of a participant who saw the picture before"
_BRACES: Final = str.maketrans("", "", '{}"')  # the lab's own files write a map as {"(3,4),(5,6)"}


class _Row(NamedTuple):
    number: int  # of its line
    clicks: Values  # (N, 2) x, y


def is_clickme(path: Path) -> bool:
    """Whether a CSV file, maybe compressed, starts with the names of ClickMe's columns; what cannot be read is none."""
    try:
        with _open(path) as file:
            return set(_COLUMNS) <= {name.strip() for name in next(csv.reader(file), [])}
    except (*DAMAGED, UnicodeError, csv.Error):
        return False


def open_clickme(path: Path) -> MapSource:
    """Read the rows of a CSV, maybe compressed, with the columns `image_path`, `clicks` and `user_id`.

    `clicks` are `[(x, y), (x, y), ...]` in px of the picture, from 0 at its left and upper edge; one on the right or
    lower edge counts as inside.

    Raises:
        GroundingError: the file or a row is damaged, or no row has enough clicks. Clicks outside a picture are an error
            when its map is read.
    """
    rows = defaultdict[str, list[_Row]](list)
    left_out = Counter[str]()
    seen: set[tuple[str, str]] = set()
    for number, values in _rows(path):
        name, user = values["image_path"].strip(), values[_USER].strip()
        clicks = _clicks(f"{path}, line {number}", values["clicks"])
        if (user, name) in seen:
            left_out[_AGAIN] += 1
        elif len(clicks) <= MIN_CLICKS:
            left_out[_FEW if len(clicks) else _NONE] += 1
        else:
            rows[name].append(_Row(number, clicks[:MAX_CLICKS]))
        seen.add((user, name))
    if not rows:
        counts = ", ".join(f"{reason}: {count}" for reason, count in known(left_out).items()) or "it has no row"
        raise GroundingError(f"{path} has no map of more than {MIN_CLICKS} clicks ({counts}): is it ClickMe's?")

    def read(name: str, width: int, height: int) -> Values:
        return np.asarray(np.mean([_binary(path, row, name, width, height) for row in rows[name]], axis=0), np.float64)

    return MapSource(list(rows), read, left_out=known(left_out))


def _binary(path: Path, row: _Row, name: str, width: int, height: int) -> Values:
    """(height, width): 1 in each pixel that was clicked."""
    outside = ((row.clicks < 0) | (row.clicks > (width, height))).any(1)
    if outside.any():
        x, y = row.clicks[outside][0]
        raise GroundingError(
            f"{path}, line {row.number}: the click ({x:g}, {y:g}) is outside of {name}, which has {width} x {height} "
            "px: expected px of this picture; is it the one that was clicked, at its size then?"
        )
    map_ = np.zeros((height, width))
    x, y = np.minimum(row.clicks, (width - 1, height - 1)).astype(np.int64).T
    map_[y, x] = 1
    return map_


def _clicks(where: str, text: str) -> Values:
    """(N, 2) float64 from `[(x, y), ...]`, which is read as a literal and never evaluated."""
    bare = text.translate(_BRACES).strip()
    try:
        value = ast.literal_eval(bare) if bare else []
        if isinstance(value, tuple) and len(value) == 2 and not isinstance(value[0], tuple):
            value = [value]  # one pair
        clicks = np.array([(float(x), float(y)) for x, y in value], np.float64).reshape(-1, 2)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError, OverflowError):
        clicks = np.array([[np.nan, np.nan]])
    if not np.isfinite(clicks).all():
        raise GroundingError(f"{where}: clicks are {shortened(text, 60)!r}: expected [(x, y), (x, y), ...] in px")
    return clicks


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The last line and the values of each row, by column."""
    try:
        with _open(path) as file:
            reader = csv.reader(file, strict=True)
            names = [name.strip() for name in next(reader)]
            if _USER not in names:
                raise GroundingError(f"{path} has no column {_USER}: expected {', '.join((*_COLUMNS, _USER))}")
            for values in reader:
                if not any(values):
                    continue
                row = dict(zip(names, values, strict=False))
                if len(values) != len(names) or not row["image_path"].strip():
                    raise GroundingError(
                        f"{path}, line {reader.line_num}: {shortened(','.join(values), 60)!r} is no row of "
                        f"{', '.join(names)}: is the file whole?"
                    )
                yield reader.line_num, row
    except csv.Error as error:
        raise GroundingError(f"{path}, line {reader.line_num}: {error}: is the file whole?") from error
    except (*DAMAGED, UnicodeError) as error:
        raise GroundingError(f"{path} cannot be read ({error}): expected CSV, in UTF-8") from error


def _open(path: Path) -> IO[str]:
    opener: Callable[..., IO[str]] = opener_of(path) or open
    return opener(path, "rt", encoding="utf-8-sig", newline="")
