"""Where the parts of a data set lie, and the lines of its lists: one clear line for each way a copy may be wrong."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from grounding.datasets.files import Files
from grounding.datasets.labelled import LabelledImage
from grounding.errors import GroundingError

_MOST_SHOWN = 8  # names in a message
_MOST_LOOKED_AT = 100  # files of a folder


class Row(NamedTuple):
    """The values of one line of a list, and where it stands, for messages."""

    where: str
    line: int
    values: list[str]


def find_base(files: Files, bases: Sequence[str], needed: str, expected: str) -> str:
    """The first of several folders (each ending with `/`, or empty for the root) that holds the needed file or folder.

    Raises:
        GroundingError: none does, with the folder above or below that does.
    """
    for base in bases:
        if base + needed in files or files.any_below(base + needed):
            return base
    raise GroundingError(f"{files.path} has no {needed}: expected {expected}{advice(files.path, bases, needed)}")


def advice(path: Path, bases: Sequence[str], needed: str) -> str:
    """For the end of a message: the place that was meant, one folder off; else what is there."""
    place = path.resolve()
    try:
        below = sorted(islice(place.iterdir(), _MOST_LOOKED_AT)) if place.is_dir() else []
        for near in (place.parent, *below, place.parent.parent):
            if near.is_dir() and any((near / base / needed).exists() for base in bases):
                return f"; did you mean {near}?"
    except OSError:  # a folder that may not be looked into
        return ""
    return f"; it holds {listed(file.name for file in below)}" if place.is_dir() else ""


def listed(names: Iterable[str]) -> str:
    """Some names for a message."""
    shown = list(islice(names, _MOST_SHOWN + 1))
    return ", ".join([*shown[:_MOST_SHOWN], *(["..."] if len(shown) > _MOST_SHOWN else [])]) or "nothing"


def text(files: Files, name: str) -> str:
    """A text file.

    Raises:
        GroundingError: it is missing or damaged, or no UTF-8.
    """
    try:
        return files.read(name).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise GroundingError(f"{files.path}: {name} is not UTF-8 text ({error.reason} at {error.start})") from error


def rows(files: Files, name: str, columns: str, separator: str | None = None) -> Iterator[Row]:
    """The lines of a list that are not blank.

    Args:
        columns: their names, as a line of the list would have them.
        separator: between the values; None: any white space.

    Raises:
        GroundingError: as `text`; or a line with another number of values.
    """
    count = len(columns.split(separator))
    for line, content in enumerate(text(files, name).split("\n"), start=1):
        if content.strip():
            values = [value.strip() for value in content.split(separator)]
            where = f"{files.path}: {name}, line {line}"
            if len(values) != count or not all(values):
                raise GroundingError(f"{where}: '{content.strip()[:60]}' is not of the form '{columns}'")
            yield Row(where, line, values)


def keyed(lines: Iterable[Row]) -> dict[str, Row]:
    """Rows by their first value.

    Raises:
        GroundingError: two have the same.
    """
    found: dict[str, Row] = {}
    for row in lines:
        key = row.values[0]
        if key in found:
            raise GroundingError(f"{row.where}: {key} stands in line {found[key].line} already: expected it once")
        found[key] = row
    return found


def value_of(table: Mapping[str, Row], key: str, files: Files, name: str) -> Row:
    """The row of a key.

    Raises:
        GroundingError: there is none.
    """
    if key not in table:
        raise GroundingError(f"{files.path}: {name} has no line for {key}: is the copy whole?")
    return table[key]


def check_pictures(files: Files, paths: Mapping[str, str], images: Sequence[LabelledImage]) -> None:
    """Check that there is a file for each picture, and at least one picture.

    Args:
        paths: of the files, by the picture's id.

    Raises:
        GroundingError: a file is missing; or there is no picture.
    """
    if not images:
        raise GroundingError(f"{files.path} has no picture with an object that counts: is it the right split?")
    missing = [paths[image.id] for image in images if paths[image.id] not in files]
    if missing:
        raise GroundingError(
            f"{files.path} has no {missing[0]} ({len(missing)} of {len(images)} pictures are missing): "
            "is the copy whole?"
        )


def reader(files: Files, paths: Mapping[str, str]) -> Callable[[str], bytes]:
    """What gives the bytes of a picture's file by its id."""
    return partial(_read, files, paths)


def _read(files: Files, paths: Mapping[str, str], image: str) -> bytes:
    if image not in paths:
        raise GroundingError(f"{files.path} has no image '{image}': expected the id of one of its pictures")
    return files.read(paths[image])


def finder(files: Files, paths: Mapping[str, str]) -> Callable[[str], Path | None]:
    """What gives the place of a picture's file on the disk by its id; None where it is in an archive."""
    return partial(_find, files, paths)


def _find(files: Files, paths: Mapping[str, str], image: str) -> Path | None:
    place = files.at(paths[image])
    return None if place == files.path else place


def without_ending(path: str) -> str:
    """`a/b.jpg` -> `b`."""
    return PurePosixPath(path).stem
