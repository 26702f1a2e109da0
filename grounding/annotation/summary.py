"""What drafting saved: how many drafts were right, and how much work the pictures took."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from grounding.annotation.history import History
from grounding.annotation.records import Box
from grounding.wording import counted

IDLE_S: Final = 60.0  # more seconds for one decision count as so many: the person was away


@dataclass(frozen=True, slots=True)
class Report:
    """Counts over the pictures that are done.

    Attributes:
        drafts: boxes that were drafted in them.
        untouched: drafts that were accepted just as they were.
        corrected: drafts that were moved or relabelled, and accepted.
        rejected: drafts that were rejected.
        drawn: boxes that people drew, without those that they took away again.
        boxes: accepted ones.
        time_s: seconds of all decisions about them, also of those taken back, each at most `IDLE_S`.
        actions: clicks and keys of all decisions about them.
    """

    pictures: int = 0
    done: int = 0
    skipped: int = 0
    drafts: int = 0
    untouched: int = 0
    corrected: int = 0
    rejected: int = 0
    drawn: int = 0
    boxes: int = 0
    time_s: float = 0.0
    actions: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values; a share of nothing is None."""
        corrections = self.corrected + self.rejected + self.drawn
        return {
            "pictures": self.pictures,
            "done": self.done,
            "skipped": self.skipped,
            "open": self.pictures - self.done - self.skipped,
            "boxes": self.boxes,
            "drafts": self.drafts,
            "untouched": self.untouched,
            "corrected": self.corrected,
            "rejected": self.rejected,
            "drawn": self.drawn,
            "untouched_share": _ratio(self.untouched, self.drafts),
            "corrections_per_picture": _ratio(corrections, self.done),
            "seconds_per_box": _ratio(self.time_s, self.boxes),
            "actions_per_box": _ratio(self.actions, self.boxes),
        }

    def __str__(self) -> str:
        """In a line: what is done, how many drafts were accepted untouched, and what a box cost."""
        text = f"{self.done:,} of {counted(self.pictures, 'picture')} done, {counted(self.boxes, 'box', 'boxes')}"
        text += f", {self.skipped:,} skipped" if self.skipped else ""
        told = self.to_dict()
        if self.drafts:
            text += f"; {told['untouched_share']:.0%} of {counted(self.drafts, 'draft')} accepted untouched"
        if self.done:
            text += f", {told['corrections_per_picture']:.1f} corrections a picture"
        if self.boxes:
            text += f", {told['seconds_per_box']:.1f} s and {told['actions_per_box']:.1f} actions a box"
        return text


def _ratio(part: float, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def report_of(history: History) -> Report:
    """Count what is decided so far."""
    states = {id_: history.now(id_) for id_ in history.pictures}
    done = [id_ for id_, annotated in states.items() if annotated.state == "done"]
    boxes = [box for id_ in done for box in states[id_].boxes]
    drafts = [box for box in boxes if box.origin == "draft"]
    work = [each for id_ in done for each in history.work(id_)]
    untouched = sum(box.untouched for box in drafts)
    return Report(
        pictures=len(states),
        done=len(done),
        skipped=sum(annotated.state == "skipped" for annotated in states.values()),
        drafts=len(drafts),
        untouched=untouched,
        corrected=_accepted(drafts) - untouched,
        rejected=len(drafts) - _accepted(drafts),
        drawn=_accepted(boxes) - _accepted(drafts),
        boxes=_accepted(boxes),
        time_s=sum(min(time_s, IDLE_S) for time_s, _ in work),
        actions=sum(actions for _, actions in work),
    )


def _accepted(boxes: Iterable[Box]) -> int:
    return sum(box.state == "accepted" for box in boxes)
