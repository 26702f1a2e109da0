"""What a partition's workers died of: a row at which they die again and again is set aside, and does not stop the run.

No `except` catches a segmentation fault or the system's out-of-memory killer. So each try at a partition leaves a note
in the output while it lasts. The first tries note only that they began. From the third on, rows are done one at
a time, each after a note of its number: who finds the note knows where the worker before it died.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from grounding.errors import GroundingError
from grounding.scale.storage import Storage

FOLDER: Final = "attempts"
CAREFUL: Final = 3  # from this try on
DEADLY: Final = 2  # deaths at one row, before it is set aside
MOST: Final = 30  # tries at a partition


@dataclass(slots=True)
class Attempt:
    """A try at a partition.

    Attributes:
        number: from 1.
        deaths: of careful tries, by the row at which they ended; rows count from 0 in the partition.
    """

    number: int
    deaths: Counter[int] = field(default_factory=Counter)
    _output: Storage = field(default_factory=lambda: Storage("."))
    _name: str = ""

    @property
    def careful(self) -> bool:
        """Whether rows are to be done one at a time, each announced."""
        return self.number >= CAREFUL

    def announce(self, row: int) -> str:
        """Note which row is begun; returns why it is not to be, or nothing."""
        if (deaths := self.deaths[row]) >= DEADLY:
            return f"set aside: {deaths} workers died at this row, out of memory or of a fault in a library"
        self._note(row)
        return ""

    def end(self) -> None:
        """Take the note away: the partition is done, or its try ended in order."""
        self._output.remove(self._name)

    def _note(self, row: int | None) -> None:
        note = {"attempt": self.number, "row": row, "deaths": list(self.deaths.items())}
        self._output.write(self._name, json.dumps(note).encode())


def begin(output: Storage, number: int) -> Attempt:
    """Begin a try at a partition.

    Raises:
        GroundingError: too many have died at it.
    """
    name = f"{FOLDER}/part-{number:06d}.json"
    note: Mapping[str, object] = _read(output.read(name))
    deaths = Counter[int](dict(note.get("deaths", [])))  # type: ignore[call-overload]
    if isinstance(row := note.get("row"), int):
        deaths[row] += 1
    attempt = Attempt(int(note.get("attempt", 0)) + 1, deaths, output, name)  # type: ignore[call-overload]
    if attempt.number > MOST:
        attempt.end()
        raise GroundingError(
            f"{MOST} workers died at partition {number}: expected memory for one (is it enough?); "
            "the same command goes on where this one stopped"
        )
    attempt._note(None)
    return attempt


def _read(content: bytes | None) -> dict[str, object]:
    try:
        note = json.loads(content or b"{}")
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}
