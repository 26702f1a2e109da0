"""The log of a game: a line a round, on the disk before anybody is told that the round is over."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from grounding.appended import AppendedLines, damaged, read_lines
from grounding.errors import GroundingError
from grounding.folders import writing
from grounding.game.rounds import Round

LOG: Final = "rounds.jsonl"


class RoundLog:
    """An open log. `rounds` are those of earlier games and of this one, in their order."""

    def __init__(self, path: Path, lines: AppendedLines) -> None:
        self._lines = lines
        self.rounds = _rounds(path, lines.found)

    def append(self, played: Round) -> None:
        """Write a round down for good; a `GroundingError` where the disk is full."""
        self._lines.append(played.to_dict())
        self.rounds.append(played)


@contextmanager
def round_log(folder: Path) -> Iterator[RoundLog]:
    """Open the log of a folder, which is made, and keep other games out of it.

    Raises:
        GroundingError: another game has it open, a line is damaged, or it cannot be written.
    """
    with writing(f"output folder {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
    with closing(AppendedLines(folder / LOG)) as lines:
        yield RoundLog(folder / LOG, lines)


def read_rounds(folder: Path) -> list[Round]:
    """The rounds of a folder, which another game may be writing.

    Raises:
        GroundingError: there is no log, or a line is damaged.
    """
    if not (folder / LOG).exists():
        raise GroundingError(f"{folder} has no {LOG}: expected the --output of a game that was played")
    return _rounds(folder / LOG, read_lines(folder / LOG)[0])


def _rounds(path: Path, lines: list[dict[str, Any]]) -> list[Round]:
    found = []
    for at, line in enumerate(lines, start=1):
        try:
            found.append(Round.from_dict(line))
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise damaged(path, at, f"it is no round: {str(error)[:80] or type(error).__name__}") from error
    return found
