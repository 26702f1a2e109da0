"""The pictures of a folder, and what a table says about each: what there is to draft."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from grounding.annotation.decisions import can_be_seen, read_label
from grounding.datasets.columns import TableOptions
from grounding.datasets.pictures import ENDINGS_WITH_GIF
from grounding.datasets.places import Spool
from grounding.datasets.tables import TableRow, counts_lines, read_table
from grounding.errors import GroundingError

_MOST_TEXT: Final = 20_000  # characters that are said about a picture in one row
Say = Callable[[str], None]


@dataclass(slots=True)
class Asked:
    """A picture and what is asked for in it.

    Attributes:
        name: its path below the folder of pictures, with `/`.
        captions: each with phrases that stand for its own, or None.
        labels: what is in it; None where nothing is said of that.
    """

    name: str
    captions: list[tuple[str, tuple[str, ...] | None]] = field(default_factory=list)
    labels: list[str] | None = None


def find_pictures(images: Path, without: Path, say: Say) -> list[str]:
    """The names of all picture files at any depth of a folder, sorted; hidden files and folders are not looked at.

    Links to files are followed where they stay inside the folder; links to folders are not.

    Args:
        without: a folder that is not looked into.
        say: is told, in a line each, what is left out.

    Raises:
        GroundingError: there is no such folder, or no picture in it.
    """
    if not images.is_dir():
        raise GroundingError(f"--images {images} is no folder: expected one with pictures")
    root, skipped = images.resolve(), without.resolve()
    names = []
    for folder, folders, files in os.walk(root):
        here = Path(folder)
        folders[:] = [each for each in folders if not each.startswith(".") and here / each != skipped]
        names += [(here / each).relative_to(root).as_posix() for each in files if _is_picture(each)]
    found = []
    for name in sorted(names):
        if why := unusable(root, name):
            say(f"{name!r} is left out: {why}")
        else:
            found.append(name)
    if not found:
        raise GroundingError(f"--images {images} has no pictures: expected files such as .jpg and .png, at any depth")
    return found


def _is_picture(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(ENDINGS_WITH_GIF)


def unusable(root: Path, name: str) -> str:
    """Why a picture cannot be annotated, or nothing."""
    if not can_be_seen(name):  # line breaks, terminal codes, bytes that are no UTF-8
        return "its name has characters that cannot be seen; rename it"
    if not stays_inside(root, name):
        return "it is a link to a file outside the folder; copy it there"
    return ""


def stays_inside(root: Path, name: str) -> bool:
    """Whether a picture lies in the folder, wherever links lead."""
    real = os.path.realpath  # that of Path raises where a link leads to itself
    return Path(real(root / name)).is_relative_to(real(root))


def read_asked(
    images: Path, names: list[str], table: Path, options: TableOptions, label_column: str, say: Say
) -> list[Asked]:
    """What a table says about the pictures: those that it names in its order, then the others.

    Paths in the table start in the folder of the pictures, or else in that of the table.

    Args:
        names: of the pictures, as `find_pictures` gives them.
        label_column: holds labels (a list, or a text divided by `|`) in place of captions; empty: there are captions.
        say: is told, in a line each, which rows are left out.

    Raises:
        GroundingError: as `read_table`.
    """
    if label_column:
        others = options.image_column, label_column, "", options.delimiter
        options = TableOptions(*others)
    asked: dict[str, Asked] = {}
    known, root = set(names), images.resolve()
    unit = "line" if counts_lines(table) else "row"
    for row in read_table(table, options, Spool()):
        try:
            name = _name_of(row, root, table, known)
            one = asked.setdefault(name, Asked(name))
            _add(one, row, label_column)
        except GroundingError as error:
            say(f"{table}, {unit} {row.number} is left out: {error}")
    return [*asked.values(), *(Asked(name) for name in names if name not in asked)]


def _name_of(row: TableRow, root: Path, table: Path, known: set[str]) -> str:
    """The name of the picture of a row.

    Raises:
        GroundingError: the row cannot be used, or there is no such picture in the folder.
    """
    if row.fault:
        raise GroundingError(row.error)
    if row.picture is not None and row.picture.name:
        raise GroundingError("the table holds the picture itself: expected one that is in --images")
    for base in (root, table.resolve().parent):
        try:
            path = (base / row.image).resolve()
        except (OSError, ValueError, RuntimeError):  # a NUL in it, or a link to itself
            continue
        if path.is_relative_to(root) and (name := path.relative_to(root).as_posix()) in known:
            return name
    raise GroundingError(f"there is no picture {row.image!r} in --images")


def _add(one: Asked, row: TableRow, label_column: str) -> None:
    if label_column:
        given = [part for text in row.captions for part in text.split("|") if part.strip()]
        one.labels = list(dict.fromkeys([*(one.labels or []), *map(read_label, given)]))
        return
    if (length := sum(map(len, (*row.captions, *(row.phrases or ()))))) > _MOST_TEXT:
        raise GroundingError(f"its captions have {length:,} characters: expected at most {_MOST_TEXT:,}")
    for caption in row.captions:
        said = caption, row.phrases
        if (caption.strip() or row.phrases) and said not in one.captions:
            one.captions.append(said)


def all_labels(asked: list[Asked]) -> Iterator[str]:
    """The labels of all pictures, in the order in which they first appear."""
    yield from dict.fromkeys(label for one in asked for label in one.labels or ())
