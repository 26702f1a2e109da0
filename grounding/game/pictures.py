"""The pictures of a game: what each shows, how large it is, and for catch trials where that is."""

import csv
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Final

from grounding.datasets.columns import TableOptions
from grounding.datasets.files import Files
from grounding.datasets.marks import Box, clipped, known, number
from grounding.datasets.pictures import ENDINGS, upright_size
from grounding.datasets.tables import read_records
from grounding.errors import GroundingError

_MOST_COVERED: Final = 1 / 3  # of a catch picture by its boxes; whoever paints anywhere would pass it
_LONGEST: Final = 60  # characters of a category
_NO_LABEL: Final = "pictures without a label"
_NO_PICTURE: Final = "files that are no picture"
_NO_TEXT: Final = "pictures with names that are no UTF-8, or begin or end with a space"


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that is played.

    Attributes:
        name: its path below the folder, with `/`: what the maps call it.
        category: what players are asked to show.
        width, height: in px, upright.
        boxes: where that is, for catch trials; empty for pictures whose maps are collected.
    """

    name: str
    path: Path
    category: str
    width: int
    height: int
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures in the order of their names, and what of the folder is not among them and why -> how many."""

    pictures: Sequence[Picture]
    left_out: Mapping[str, int] = field(default_factory=dict)


def read_pictures(folder: Path, labels: Path | None = None) -> Pictures:
    """Find the pictures of a folder, at any depth.

    Args:
        labels: a table with the columns `image`, a path below the folder, and `label`, of any kind that is read
            elsewhere (CSV, TSV, JSON Lines, Parquet). Without one a picture's category is the name of its folder.

    Raises:
        GroundingError: the folder or the table is missing or damaged, names a picture that is not there or names it
            twice; two pictures differ in their ending only; or no picture has a category.
    """
    if not folder.is_dir():
        raise GroundingError(f"--images {folder} is no folder: expected one with a sub-folder of pictures a category")
    files, left_out = Files(folder), Counter[str]()
    names = sorted(name for name in files.below("") if name.lower().endswith(ENDINGS) and "/." not in f"/{name}")
    given = None if labels is None else _labels(labels, set(names))
    found = []
    for name in names:
        category = PurePosixPath(name).parent.name if given is None else given.get(name, "")
        if not (category := _readable(category)):
            left_out[_NO_LABEL] += 1
        elif name != name.strip() or not _is_text(name):
            left_out[_NO_TEXT] += 1
        elif size := _size(files, name):
            found.append(Picture(name, folder / name, category, *size))
        else:
            left_out[_NO_PICTURE] += 1
    if not found:
        kinds = ", ".join(f"{reason}: {count}" for reason, count in known(left_out).items()) or "it holds no picture"
        raise GroundingError(
            f"--images {folder} has nothing to play ({kinds}): expected cat/one.jpg and the like, or --labels FILE"
        )
    stems: dict[str, str] = {}
    for each in found:
        if (other := stems.setdefault(each.name.rpartition(".")[0], each.name)) != each.name:
            raise GroundingError(f"--images has {other} and {each.name}, whose maps would have one name: rename one")
    return Pictures(found, known(left_out))


def with_catch(pictures: Pictures, table: Path) -> Pictures:
    """The same pictures, those of a table as catch pictures: with the boxes in which what matters is.

    Args:
        table: CSV with the columns `image,x0,y0,x1,y1`, px of the upright picture, half-open; several lines a picture
            are several boxes.

    Raises:
        GroundingError: the table is missing or damaged, names a picture that is not played, or has boxes that lie
            outside their picture or cover more than a third of it.
    """
    names = {picture.name: picture for picture in pictures.pictures}
    boxes: dict[str, list[Box]] = {}
    for where, row in _catch_rows(table):
        picture = names.get(row["image"])
        if picture is None:
            raise GroundingError(f"{where}: {row['image'][:80]!r} is none of the pictures that are played")
        edges = [number(where, row[edge]) for edge in ("x0", "y0", "x1", "y1")]
        box = clipped((edges[0], edges[1], edges[2], edges[3]), picture.width, picture.height, Counter())
        if box is None:
            size = f"{picture.width} x {picture.height}"
            raise GroundingError(f"{where}: the box holds nothing of the {size} px: expected x0 < x1 and y0 < y1")
        boxes.setdefault(picture.name, []).append(box)
    for name, theirs in boxes.items():
        covered = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in theirs)
        if covered > _MOST_COVERED * names[name].width * names[name].height:
            raise GroundingError(
                f"{table}: the boxes cover more than a third of {name}, so that painting anywhere would pass: "
                "expected pictures in which what matters is small"
            )
    caught = [replace(each, boxes=tuple(boxes.get(each.name, ()))) for each in pictures.pictures]
    if all(each.boxes for each in caught):
        raise GroundingError(f"{table} names every picture: expected pictures beside these, whose maps are collected")
    return Pictures(caught, pictures.left_out)


def _labels(table: Path, names: set[str]) -> dict[str, str]:
    """Category by name."""
    options = TableOptions(caption_column="label", phrases_column="", id_column="")
    found: dict[str, str] = {}
    for record in read_records(table, options):
        where = f"{table}, row {record.number}"
        image, label = record.values.get("image"), record.values.get("caption")
        if record.damage or not isinstance(image, str) or not isinstance(label, str | int) or not str(label).strip():
            raise GroundingError(f"{where}: {record.damage or 'expected the path of a picture and its label'}")
        name = PurePosixPath(image.strip()).as_posix()
        if name not in names:
            raise GroundingError(f"{where}: there is no picture {name[:80]!r} below --images")
        if found.setdefault(name, str(label)) != str(label):
            raise GroundingError(f"{where}: {name} has the label {found[name][:40]!r} already: expected one")
    return found


def _catch_rows(table: Path) -> Iterator[tuple[str, dict[str, str]]]:
    wanted = ("image", "x0", "y0", "x1", "y1")
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True, skipinitialspace=True)
            if missing := [name for name in wanted if name not in (reader.fieldnames or ())]:
                raise GroundingError(f"{table} has no column {missing[0]}: expected {','.join(wanted)}")
            for row in reader:
                if None in row or None in row.values():
                    raise GroundingError(f"{table}, line {reader.line_num}: expected {','.join(wanted)}")
                yield f"{table}, line {reader.line_num}", {name: row[name].strip() for name in wanted}
    except (OSError, UnicodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise GroundingError(f"{table} cannot be read ({reason}): expected CSV of {','.join(wanted)}") from error


def _size(files: Files, name: str) -> tuple[int, int] | None:
    try:
        return upright_size(files, name)
    except GroundingError:
        return None


def _is_text(name: str) -> bool:
    return os.fsencode(name).decode(errors="ignore") == name


def _readable(category: str) -> str:
    """A category in words, without what cannot be seen: `traffic_light` is a traffic light."""
    words = " ".join(category.replace("_", " ").split())
    return "".join(character for character in words if character.isprintable())[:_LONGEST].strip()
