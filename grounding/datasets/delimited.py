"""Rows of delimited text: CSV, TSV, and the token files of Flickr30k."""

import ast
import contextlib
import csv
import json
import re
import warnings
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TextIO

from grounding.datasets.columns import Record, TableOptions, find_columns, fits
from grounding.errors import GroundingError

_DELIMITERS: Final = (",", ";", "\t")
_NAMED: Final = {"comma": ",", "semicolon": ";", "pipe": "|", "tab": "\t", "\\t": "\t"}
_MOST_LINES: Final = 100  # of a row; more mean that a quote is not closed
_HINT: Final = re.compile(r"sep=(.)\s*")  # a first line that spreadsheets write
_TOKEN: Final = re.compile(r"(?P<image>[^\t#]+)#\d+\t(?P<caption>.*)")


class _Lines:
    """The lines of a file, numbered. Those that a damaged row took, but for its first, are given again."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._again: deque[str] = deque()
        self._taken: list[str] = []
        self.number = 1  # of the first line of the row that is read

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self._taken) == _MOST_LINES:
            raise csv.Error("a quote is not closed")
        self._taken.append(self._again.popleft() if self._again else next(self._file))
        return self._taken[-1]

    def next_row(self) -> None:
        """Count the lines that a row took."""
        self.number += len(self._taken)
        self._taken.clear()

    def give_up(self) -> str:
        """The first line of a damaged row; the others will be read again."""
        first, *others = self._taken
        self._again.extendleft(reversed(others))
        self._taken = [first]
        return first


def delimited_records(path: Path, file: TextIO, options: TableOptions) -> Iterator[Record]:
    """The rows below a line of column names. A damaged row costs no other.

    Raises:
        GroundingError: the delimiter cannot be told, or as `find_columns`.
    """
    lines = _Lines(file)
    first = _first_line(lines)
    if hint := _HINT.fullmatch(first):
        first = _first_line(lines)
    if not first:
        return
    delimiter = _delimiter(path, first, options.delimiter or (hint[1] if hint else ""), options)
    spaced = f"{delimiter} " in first
    names = _names(path, first, delimiter, spaced)
    columns = find_columns(path, names, options)
    lines.next_row()
    rows = csv.reader(lines, delimiter=delimiter, skipinitialspace=spaced, strict=True)
    while True:
        damage = ""
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            row = lines.give_up().rstrip("\r\n").split(delimiter)
            if delimiter != "\t" or len(row) != len(names):  # many a TSV does not quote
                damage = str(error)
        if len(row) > len(names):
            damage = damage or f"{len(row)} values for {len(names)} columns: quote a value that holds {delimiter!r}"
        if damage:
            yield Record(lines.number, damage=damage)
        elif any(map(str.strip, row)):
            yield Record(lines.number, {role: _cell(row[place]) for role, place in columns.items() if place < len(row)})
        lines.next_row()


def _cell(text: str) -> str | list[str]:
    """A value; a list of texts where it is one as JSON or Python writes it, `["a", "b"]` or `['a', 'b']`."""
    if text[:2] not in ('["', "['") or not text.endswith("]"):
        return text
    with warnings.catch_warnings(action="ignore"):  # of odd escapes
        for read in (json.loads, _written_by_python):
            with contextlib.suppress(ValueError, SyntaxError, RecursionError, MemoryError):
                value = read(text)
                if isinstance(value, list) and all(isinstance(each, str) for each in value):
                    return value
    return text


def _written_by_python(text: str) -> object:
    value: object = ast.literal_eval(text)
    return value if repr(value) == text else None  # numpy writes ['a' 'b'], which would be one text


def _first_line(lines: _Lines) -> str:
    """The next line that is not blank; empty where there is none."""
    for line in lines:
        if line.strip():
            return line
        lines.next_row()
    return ""


def token_records(path: Path, file: TextIO, options: TableOptions) -> Iterator[Record]:
    """The lines `1000092795.jpg#0<TAB>Two young guys ...` of Flickr30k's `results_20130124.token`."""
    for number, line in enumerate(file, start=1):
        if fields := _TOKEN.fullmatch(line.rstrip("\r\n")):
            yield Record(number, fields.groupdict())
        elif line.strip():
            yield Record(number, damage="expected 'name.jpg#0', a tab and a caption")


def _names(path: Path, line: str, delimiter: str, spaced: bool) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter, skipinitialspace=spaced))
    except csv.Error as error:
        raise GroundingError(f"the first line of {path} cannot be read ({error}): expected names of columns") from error


def _delimiter(path: Path, line: str, given: str, options: TableOptions) -> str:
    """The delimiter of a table with this line of names: the one that gives the wanted columns, else the commonest."""
    if "\0" in line:
        raise GroundingError(f"{path} is no text that can be read: save it as UTF-8, as CSV")
    if given:
        delimiter = _NAMED.get(given, given)
        if len(delimiter) != 1 or delimiter in '"\r\n':
            raise GroundingError(f"the delimiter is {given!r}: expected one character, or tab")
        return delimiter
    for delimiter in _DELIMITERS:
        if fits(_names(path, line, delimiter, True), options):
            return delimiter
    second, first = sorted(line.count(delimiter) for delimiter in _DELIMITERS)[1:]
    if first == second:
        shown = line.strip()[:60]
        raise GroundingError(
            f"the delimiter of {path} cannot be told from its first line, {shown!r}: expected names such as image and "
            "caption with ',', ';' or a tab between them; --delimiter (of a training data.delimiter) names another"
        )
    return max(_DELIMITERS, key=line.count)
