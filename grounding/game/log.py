"""The log of a game: a line a round, on the disk before anybody is told that the round is over."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedRandom
from pathlib import Path
from typing import Final

from grounding.errors import GroundingError
from grounding.folders import writing
from grounding.game.rounds import Round
from grounding.resumable import lock

LOG: Final = "rounds.jsonl"


class RoundLog:
    """An open log. `rounds` are those of earlier games and of this one, in their order."""

    def __init__(self, path: Path, file: BufferedRandom) -> None:
        file.seek(0)
        content = file.read()
        self._path, self._file = path, file
        self.rounds = _rounds(path, content)
        file.truncate(content.rfind(b"\n") + 1)  # what a killed game left of a line

    def append(self, played: Round) -> None:
        """Write a round down for good; a `GroundingError` where the disk is full."""
        line = (json.dumps(played.to_dict()) + "\n").encode()
        with writing(str(self._path)):
            self._file.seek(0, os.SEEK_END)
            start = self._file.tell()
            try:
                self._file.write(line)
                self._file.flush()
                os.fsync(self._file.fileno())
            except OSError:
                self._file.truncate(start)
                raise
        self.rounds.append(played)


@contextmanager
def round_log(folder: Path) -> Iterator[RoundLog]:
    """Open the log of a folder, which is made, and keep other games out of it.

    Raises:
        GroundingError: another game has it open, a line is damaged, or it cannot be written.
    """
    with writing(f"output folder {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOG).open("a+b")
    with file:
        lock(file.fileno(), folder)
        yield RoundLog(folder / LOG, file)


def read_rounds(folder: Path) -> list[Round]:
    """The rounds of a folder, which another game may be writing.

    Raises:
        GroundingError: there is no log, or a line is damaged.
    """
    try:
        return _rounds(folder / LOG, (folder / LOG).read_bytes())
    except OSError as error:
        raise GroundingError(
            f"{folder} has no {LOG} ({error.strerror}): expected the --output of a game that was played"
        ) from error


def _rounds(path: Path, content: bytes) -> list[Round]:
    """Of a log; a last line without its end is not one."""
    found = []
    for at, line in enumerate(content.split(b"\n")[:-1], start=1):
        try:
            found.append(Round.from_dict(json.loads(line)))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise GroundingError(
                f"{path}, line {at} is no round ({str(error)[:80] or type(error).__name__}): mend or remove the line"
            ) from error
    return found
