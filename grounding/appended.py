"""A file of JSON lines that only grows: what was appended is on disk, and what a kill cut short is not there."""

import json
import os
from pathlib import Path
from typing import Any

from grounding.errors import GroundingError
from grounding.folders import writing
from grounding.resumable import lock


def read_lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The objects of a file, a line each, and how many bytes they take; a last line without its end is left out.

    Raises:
        GroundingError: another line is no JSON object, or the file cannot be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return [], 0
    except OSError as error:
        raise GroundingError(f"{path} cannot be read: {error.strerror or error}") from error
    *whole, _ = content.split(b"\n")
    return [_object(path, number, line) for number, line in enumerate(whole, start=1)], sum(len(x) + 1 for x in whole)


def _object(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise damaged(path, number, "it is no JSON") from error
    if not isinstance(value, dict):
        raise damaged(path, number, "it is no JSON object")
    return value


def damaged(path: Path, number: int, why: object) -> GroundingError:
    """What to say about a line that cannot be used."""
    return GroundingError(f"{path}, line {number} is damaged ({why}): take the file from a copy, or mend the line")


class AppendedLines:
    """A file of JSON lines, open for appending and locked against a second program.

    Attributes:
        found: the objects that it had when it was opened; a last line that was cut short is cut off.

    Raises:
        GroundingError: another program has it open, a line is damaged, or it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with writing(str(path)):
            self._file = path.open("ab", buffering=0)
        try:
            lock(self._file.fileno(), path.parent)
            self.found, size = read_lines(path)
            with writing(str(path)):
                self._file.truncate(size)
        except BaseException:
            self._file.close()
            raise

    def append(self, value: dict[str, Any]) -> None:
        """Append one line, and return when it is on disk; where there is no room for it, nothing is left of it."""
        line = json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        with writing(str(self._path)):
            before = os.fstat(self._file.fileno()).st_size
            try:
                written = self._file.write(line)
                if written != len(line):
                    raise OSError("the disk is full")
                os.fsync(self._file.fileno())
            except BaseException:
                self._file.truncate(before)
                raise

    def close(self) -> None:
        """Let others have it."""
        self._file.close()
