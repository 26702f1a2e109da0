"""An annotation folder that is open: what is decided in it, and every decision on disk before it counts."""

import threading
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from grounding.annotation.claims import Claims
from grounding.annotation.decisions import read_person, read_whole, read_work
from grounding.annotation.drafted import DRAFTS, Settings, read_drafts, read_settings
from grounding.annotation.exported import Exports
from grounding.annotation.exporting import exports_of
from grounding.annotation.folder import LOG
from grounding.annotation.history import UNDO, History
from grounding.annotation.summary import Report, report_of
from grounding.appended import AppendedLines, damaged, read_lines
from grounding.colours import phrase_colour
from grounding.errors import GroundingError


class StaleVersion(GroundingError):
    """Somebody decided about a picture that has changed since they saw it.

    Attributes:
        picture: its id.
    """

    def __init__(self, picture: int) -> None:
        super().__init__("the picture has changed since it was shown: look at it again")
        self.picture = picture


class UnknownPicture(GroundingError):
    """There is no picture with this id."""


def read_history(folder: Path) -> History:
    """What is decided in an annotation folder, which another program may have open.

    Raises:
        GroundingError: it is no annotation folder, or a file in it is damaged.
    """
    return _replayed(folder, read_settings(folder), read_lines(folder / LOG)[0])


def _replayed(folder: Path, settings: Settings, lines: list[dict[str, Any]]) -> History:
    drafted = read_drafts(folder / DRAFTS, settings.pictures)
    drafts = Counter(label for picture in drafted for label, _, _ in picture.boxes)
    history = History(drafted, [*settings.labels, *(label for label, _ in drafts.most_common())])
    for number, line in enumerate(lines, start=1):
        try:
            history.replay(line)
        except GroundingError as error:
            raise damaged(folder / LOG, number, error) from error
    return history


class Project:
    """An open annotation folder. Its methods may be called from several threads.

    Attributes:
        folder: that of the annotation.
        images: the folder of the pictures.
        history: what is decided so far.
        order: ids of the pictures, those first about which the model is most unsure.
        claims: who has which picture open.
    """

    def __init__(self, folder: Path, settings: Settings, log: AppendedLines) -> None:
        self.folder, self.images = folder, Path(settings.images)
        self.claims = Claims()
        self._log, self._lock = log, threading.RLock()
        self.history = _replayed(folder, settings, log.found)
        pictures = self.history.pictures.values()
        self.order = [picture.id for picture in sorted(pictures, key=lambda each: (-each.uncertainty, each.id))]

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a folder whose boxes are drafted, and keep other programs out until it is closed.

        Raises:
            GroundingError: as `read_history`; or another program has it open.
        """
        settings = read_settings(folder)
        log = AppendedLines(folder / LOG)
        try:
            return cls(folder, settings, log)
        except BaseException:
            log.close()
            raise

    def close(self) -> None:
        """Let other programs open the folder."""
        self._log.close()

    def __enter__(self) -> Self:
        """The project, which is closed when the block ends."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the log."""
        self.close()

    def to_dict(self) -> dict[str, Any]:
        """The labels, the pictures in working order and the report."""
        with self._lock:
            history = self.history
            pictures = []
            for id_ in self.order:
                picture, annotated = history.pictures[id_], history.now(id_)
                boxes = sum(box.state != "rejected" for box in annotated.boxes)
                facts = {"id": id_, "name": picture.name, "state": annotated.state}
                pictures.append({**facts, "uncertainty": picture.uncertainty, "boxes": boxes})
            colours = {label: phrase_colour(place) for place, label in enumerate(history.labels)}
            report = report_of(history).to_dict()
            return {"labels": list(history.labels), "colours": colours, "pictures": pictures, "report": report}

    def report(self) -> Report:
        """What drafting saved so far."""
        with self._lock:
            return report_of(self.history)

    def exports(self, drafts: bool = False) -> Exports:
        """What would go out now; `drafts` as `exports_of`."""
        with self._lock:
            return exports_of(self.history, drafts)

    def next(self, person: object) -> int | None:
        """The first open picture that nobody else has open, or None."""
        who = read_person(person)
        with self._lock:
            still_open = (id_ for id_ in self.order if self.history.now(id_).state == "open")
            return self.claims.first_free(who, still_open)

    def picture(self, id_: int, person: object = None) -> dict[str, Any]:
        """A picture with its boxes; a person who is named has it open now.

        Raises:
            UnknownPicture: there is none.
        """
        who = None if person is None else read_person(person)
        with self._lock:
            if id_ not in self.history.pictures:
                raise UnknownPicture(f"there is no picture {id_}")
            if who is not None:
                self.claims.touch(who, id_)
            picture, annotated = self.history.pictures[id_], self.history.now(id_)
            return {
                "id": id_,
                "name": picture.name,
                "width": picture.width,
                "height": picture.height,
                "caption": picture.caption,
                "state": annotated.state,
                "version": self.history.version(id_),
                "boxes": [box.to_dict() for box in annotated.boxes],
            }

    def decide(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Write a decision to the log, and then let it count; returns the picture.

        Raises:
            StaleVersion: `version` is not that of the picture.
            UnknownPicture: there is no such picture.
            GroundingError: it is no decision, does not fit the picture, or cannot be written.
        """
        with self._lock:
            id_ = read_whole("picture", given.get("picture"))
            if id_ not in self.history.pictures:
                raise UnknownPicture(f"there is no picture {id_}")
            version = read_whole("version", given.get("version"))
            if version != self.history.version(id_):
                raise StaleVersion(id_)
            decision = self.history.check(given)
            self._log.append({**self._stamp(), **decision.to_dict()})
            self.history.add(decision)
            return self.picture(id_, decision.person)

    def undo(self, given: Mapping[str, Any]) -> dict[str, Any] | None:
        """Take back the last decision of a person; returns its picture, or None where there is nothing to take back.

        Raises:
            GroundingError: somebody else has decided about that picture since.
        """
        person, (time_s, actions) = read_person(given.get("person")), read_work(given)
        with self._lock:
            last = self.history.last_of(person)
            if last is None:
                return None
            number, id_ = last
            work = {"time_s": time_s, "actions": actions}
            told = {"person": person, "picture": id_, "action": UNDO, "undoes": number, **work}
            self._log.append({**self._stamp(), **told})
            self.history.undo(person, time_s, actions)
            return self.picture(id_, person)

    def _stamp(self) -> dict[str, Any]:
        return {"n": self.history.count, "time": datetime.now(UTC).isoformat(timespec="seconds")}
