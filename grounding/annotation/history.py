"""What is decided of every picture: the drafts, and the decisions of the log one after another."""

from collections.abc import Iterable, Mapping
from typing import Any

from grounding.annotation.decisions import applied, clipped, read_decision, read_person, read_whole, read_work
from grounding.annotation.records import Annotated, Decision, Drafted
from grounding.errors import GroundingError

UNDO = "undo"


class History:
    """The pictures with all that was decided about them, so that the last decision of each can be taken back.

    Nothing here reads or writes a file, and a decision that is refused changes nothing.

    Attributes:
        pictures: by id.
        labels: those of the drafts, then others in the order in which people first used them.
    """

    def __init__(self, pictures: Iterable[Drafted], labels: Iterable[str]) -> None:
        self.pictures = {picture.id: picture for picture in pictures}
        self.labels = list(dict.fromkeys(labels))
        self._states = {id_: [picture.start()] for id_, picture in self.pictures.items()}
        self._numbers: dict[int, list[int]] = {id_: [] for id_ in self.pictures}  # of decisions that count
        self._versions = dict.fromkeys(self.pictures, 0)
        self._undoable: dict[str, list[tuple[int, int]]] = {}  # by person: number of the decision, picture
        self._work = {id_: list[tuple[float, int]]() for id_ in self.pictures}
        self._known = set(self.labels)
        self.count = 0  # of lines of the log

    def now(self, picture: int) -> Annotated:
        """What is decided of a picture."""
        return self._states[self._known_id(picture)][-1]

    def version(self, picture: int) -> int:
        """How often something was decided or taken back about a picture."""
        return self._versions[self._known_id(picture)]

    def work(self, picture: int) -> list[tuple[float, int]]:
        """The seconds and actions of each decision about a picture, also of those that were taken back."""
        return self._work[self._known_id(picture)]

    def _known_id(self, picture: int) -> int:
        if picture not in self.pictures:
            raise GroundingError(f"there is no picture {picture}")
        return picture

    def check(self, given: Mapping[str, Any]) -> Decision:
        """A decision as it would go into the log: boxes inside the picture.

        Raises:
            GroundingError: it is none, or does not fit what is decided so far.
        """
        decision = read_decision(given)
        decision = clipped(decision, self.pictures[self._known_id(decision.picture)])
        applied(self.now(decision.picture), decision)
        return decision

    def add(self, decision: Decision) -> None:
        """Let a checked decision be the next line."""
        self._states[decision.picture].append(applied(self.now(decision.picture), decision))
        self._numbers[decision.picture].append(self.count)
        self._undoable.setdefault(decision.person, []).append((self.count, decision.picture))
        if decision.label is not None and decision.label not in self._known:
            self._known.add(decision.label)
            self.labels.append(decision.label)
        self._count(decision.picture, decision.time_s, decision.actions)

    def last_of(self, person: str) -> tuple[int, int] | None:
        """Number and picture of the decision that a person would take back, or None.

        Raises:
            GroundingError: somebody else has decided about that picture since.
        """
        if not (mine := self._undoable.get(person)):
            return None
        number, picture = mine[-1]
        if self._numbers[picture][-1] != number:
            name = self.pictures[picture].name
            raise GroundingError(f"somebody else has changed {name} since: your decision there cannot be taken back")
        return number, picture

    def undo(self, person: str, time_s: float, actions: int) -> int:
        """Let a person's last decision, which `last_of` gave, be taken back by the next line; returns its picture."""
        _, picture = self._undoable[person].pop()
        self._states[picture].pop()
        self._numbers[picture].pop()
        self._count(picture, time_s, actions)
        return picture

    def _count(self, picture: int, time_s: float, actions: int) -> None:
        self._versions[picture] += 1
        self._work[picture].append((time_s, actions))
        self.count += 1

    def replay(self, line: Mapping[str, Any]) -> None:
        """Take one line of the log.

        Raises:
            GroundingError: it cannot be the next one.
        """
        if read_whole("n", line.get("n")) != self.count:
            raise GroundingError(f"its number is {line['n']}: expected {self.count}")
        if line.get("action") != UNDO:
            self.add(self.check(line))
            return
        person, work = read_person(line.get("person")), read_work(line)
        last = self.last_of(person)
        if last is None or last != (line.get("undoes"), line.get("picture")):
            raise GroundingError("it takes back what was not that person's last decision")
        self.undo(person, *work)
