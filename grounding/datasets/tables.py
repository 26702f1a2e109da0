"""Tables of pictures with captions and maybe phrases, of every common kind, row by row.

Manifests and trainings read them with the same function. A row that cannot be used says why, and costs no other.
"""

import contextlib
import functools
import io
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from grounding.datasets.columns import Record, TableOptions
from grounding.datasets.delimited import delimited_records, token_records
from grounding.datasets.objects import json_records, jsonl_records, parquet_records
from grounding.datasets.places import DAMAGED, Place, Spool, kind_of, opener_of
from grounding.datasets.sources import with_home
from grounding.errors import GroundingError

TEXT_TABLES: Final[Mapping[str, Callable[[Path, TextIO, TableOptions], Iterator[Record]]]] = {
    ".csv": delimited_records,
    ".tsv": delimited_records,
    ".txt": delimited_records,
    ".token": token_records,
    ".jsonl": jsonl_records,
    ".ndjson": jsonl_records,
    ".json": json_records,
}
PARQUET: Final = (".parquet", ".pq")
EXPECTED: Final = "a table (.csv, .tsv, .jsonl, .json, .parquet or .token, or one of these with .gz)"
_LONGEST_LINE: Final = 1 << 24  # characters
_LONGEST_TEXT: Final = 1 << 27  # bytes of JSON, which is read as a whole
_ADDRESS: Final = re.compile(r"[a-z][a-z0-9+.-]+://|data:|pipe:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TableRow:
    """A picture with what is said about it, or what is wrong with it.

    Attributes:
        number: its line in a text file, else its position from 1.
        image: the picture's file as the table has it; `row N` for one that the table holds itself.
        id: what the table calls the picture in its column of ids, else as `image`.
        picture: where it is; None where the row names none.
        captions: unchanged; some may be blank.
        phrases: not blank; None where none are given.
        fault: which kind of mistake it is, the same words for all of the kind; empty for a row that can be used.
        error: what is wrong, with the values.
    """

    number: int
    image: str
    picture: Place | None
    captions: tuple[str, ...] = ()
    phrases: tuple[str, ...] | None = None
    fault: str = ""
    error: str = ""
    id: str = ""


class RowFault(ValueError):
    """What is wrong with a row: of which kind it is, and in a sentence with the values."""


def is_table(path: Path) -> bool:
    """Whether a file of this name is read as a table."""
    return kind_of(path) in (*TEXT_TABLES, *PARQUET)


def counts_lines(path: Path) -> bool:
    """Whether numbers of rows are lines of the file, which an editor shows."""
    return kind_of(path) in TEXT_TABLES and kind_of(path) != ".json"


def read_table(path: Path, options: TableOptions, spool: Spool, kind: str = "") -> Iterator[TableRow]:
    """Read the rows of a CSV, TSV, JSON Lines, COCO captions, Parquet or Flickr30k token file, told by its ending.

    Args:
        spool: takes the pictures that a table holds itself, in a Parquet column of bytes or of records with `bytes` and
            `path`, as the library `datasets` writes them.
        kind: the ending that says how to read the file, where it is not its own.

    Raises:
        GroundingError: a file that is missing, damaged or of another kind, or without the columns.
    """
    folder = with_home(options.image_folder) if options.image_folder else path.parent
    find = finder(folder)
    for record in read_records(path, options, kind):
        yield table_row(record, path, find, spool)


def read_records(path: Path, options: TableOptions, kind: str = "") -> Iterator[Record]:
    """Read the rows of a table as they are written; arguments and errors as `read_table`."""
    kind = kind or kind_of(path)
    if os.path.exists(path) and not path.is_file():  # noqa: PTH110 - never raises
        what = "a folder" if path.is_dir() else "a pipe or a device"  # which might be waited for without end
        raise GroundingError(f"{path} is {what}: expected {EXPECTED}")
    if kind not in (*TEXT_TABLES, *PARQUET):
        raise GroundingError(f"{path} ends in '{kind}': expected {EXPECTED}")
    try:
        if kind in PARQUET:
            yield from parquet_records(path, options)
        else:
            with _open_text(path) as file:
                yield from TEXT_TABLES[kind](path, file, options)
    except UnicodeError as error:
        raise GroundingError(f"{path} is no text that can be read ({error}): save it as UTF-8") from error
    except GroundingError:
        raise
    except ValueError as error:  # a NUL in its name
        raise GroundingError(f"{str(path)!r} cannot be read: {error}") from error
    except DAMAGED as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise GroundingError(f"{path} cannot be read: {reason}") from error


@contextlib.contextmanager
def _open_text(path: Path) -> Iterator[TextIO]:
    """The text of a file that may be compressed: UTF-8, or UTF-16 with its mark. What is neither becomes surrogates."""
    opener = opener_of(path) or open
    with opener(path, "rb") as file:
        utf16 = file.read(2) in (b"\xff\xfe", b"\xfe\xff")
        file.seek(0)
        encoding, errors = ("utf-16", "strict") if utf16 else ("utf-8-sig", "surrogateescape")
        with _Text(file, encoding, errors, newline="") as text:
            yield text


class _Text(io.TextIOWrapper):
    """Text that is no longer than tables are: a compressed file, or a device, might have a line without end."""

    def __next__(self) -> str:  # type: ignore[override]  # as that of TextIOWrapper
        line = self.readline(_LONGEST_LINE + 1)
        if not line:
            raise StopIteration
        if len(line) > _LONGEST_LINE:
            raise UnicodeError(f"a line of it has over {_LONGEST_LINE:,} characters")
        return line

    def read(self, size: int | None = -1) -> str:
        if size is None or size < 0:
            content = bytes(self.buffer.read(_LONGEST_TEXT + 1))
            if len(content) > _LONGEST_TEXT:
                raise UnicodeError(f"it has over {_LONGEST_TEXT:,} bytes")
            return content.decode(self.encoding, self.errors or "strict")
        return super().read(size)


def table_row(record: Record, table: object, find: Callable[[str], Place], spool: Spool) -> TableRow:
    """Make a row of a record, or say what is wrong with it.

    Args:
        table: what people know the table by.
        find: gives the place of a picture that is not in the table itself, as `finder` does.
    """
    if record.damage:
        return TableRow(record.number, "", None, fault="damaged row", error=record.damage)
    given = record.values.get("image")
    image = given if isinstance(given, str) else ""
    picture: Place | None = None
    captions: tuple[str, ...] = ()
    phrases: tuple[str, ...] | None = None
    faults: list[RowFault] = []
    with _noted(faults):
        image, content = _image(given, record.number)
        picture = find(image) if content is None else spool.put(content, f"{image} in {table}")
    with _noted(faults):
        captions = _captions(record.values)
    with _noted(faults):
        phrases = _phrases(record.values.get("phrases"))
    fault, error = faults[0].args if faults else ("", "")
    return TableRow(record.number, image, picture, captions, phrases, fault, error, _id(record.values.get("id"), image))


@contextlib.contextmanager
def _noted(faults: list[RowFault]) -> Iterator[None]:
    try:
        yield
    except RowFault as fault:
        faults.append(fault)


def _id(value: object, image: str) -> str:
    """A text or a whole number as a text; else the picture's file."""
    is_name = isinstance(value, str | int) and not isinstance(value, bool)
    return (str(value).strip() if is_name else "") or image


def _image(value: object, number: int) -> tuple[str, bytes | None]:
    """The file of a picture, or a name for it and its content."""
    content = None
    if isinstance(value, Mapping) and value.keys() & {"bytes", "path"}:
        content, value = value.get("bytes"), value.get("path")
    if isinstance(value, bytes):
        content, value = value, None
    if isinstance(content, bytes) and content:
        return (value if isinstance(value, str) and value else f"row {number}"), content
    if _is_missing(value) or (isinstance(value, str) and not value.strip()):
        raise RowFault("row without a picture", "no image: expected the path of a picture")
    return _text(value, "image").strip(), None


def finder(folder: Path) -> Callable[[str], Place]:
    """What gives the place of a file below a folder. Links are followed: equal files have equal places.

    It raises `RowFault` for an address.
    """
    real = functools.cache(os.path.realpath)  # of folders, of which there are few

    def find(name: str) -> Place:
        if _ADDRESS.match(name):
            raise RowFault("address instead of a picture file", f"image {name[:80]!r} is an address: download it first")
        path = folder / (with_home(name) if name.startswith("~") else name)
        try:
            file = os.path.join(real(path.parent), path.name)  # noqa: PTH118 (half the time of a Path)
            return Place(os.path.realpath(file) if os.path.islink(file) else file)  # noqa: PTH114
        except ValueError:  # a NUL in its name: who reads it will say so
            return Place(str(path))

    return find


def _captions(values: Mapping[str, object]) -> tuple[str, ...]:
    """The captions of a row: those of `captions`, or else of `caption`."""
    each = [texts_of(values[role], "caption") for role in ("captions", "caption") if role in values]
    return next((texts for texts in each if any(map(str.strip, texts))), each[-1] if each else ("",))


def _phrases(value: object) -> tuple[str, ...] | None:
    """A list of texts, or a text divided by `|`; blank ones at its end are left out."""
    if _is_missing(value):
        return None
    if isinstance(value, str):
        parts = [part.strip() for part in _text(value, "phrases").split("|")]
        while parts and not parts[-1]:
            del parts[-1]
        if not parts:
            return None
    else:
        parts = list(texts_of(value, "phrases"))
    if not all(map(str.strip, parts)):
        raise RowFault("blank phrase", f"phrases are {value!r}: expected texts that are not blank")
    return tuple(parts)


def texts_of(value: object, what: str) -> tuple[str, ...]:
    """A text or a list of texts as texts; what is missing becomes an empty one.

    Raises:
        RowFault: another type, or a text that UTF-8 cannot encode.
    """
    items = value if isinstance(value, list | tuple) else [value]
    return tuple("" if _is_missing(item) else _text(item, what) for item in items)


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise RowFault("unreadable text", f"{what} is {str(value)[:80]}: expected a text or a list of texts")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise RowFault("unreadable text", f"{what} {value[:80]!r} is no UTF-8 text: save the table as UTF-8") from None
    return value


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
