"""Decisions as they come in, from a page or from the log: checked, and applied to a picture."""

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from grounding.annotation.records import EDGES, Annotated, Box, Decision, Drafted, Edges
from grounding.errors import GroundingError
from grounding.wording import shortened

_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "accept": ("box",),
    "reject": ("box",),
    "move": ("box", *EDGES),
    "draw": ("label", *EDGES),
    "relabel": ("box", "label"),
    "done": (),
    "skip": (),
    "reopen": (),
}
ACTIONS: Final = tuple(_NEEDS)
_LONGEST_LABEL: Final = 100  # characters
_LEAST_SIDE_PX: Final = 1.0
_MOST_TIME_S: Final = 1e7
_MOST_ACTIONS: Final = 10_000_000
_JOINERS: Final = dict.fromkeys((0x200C, 0x200D))  # of Persian, of Hindi, of emoji
_PERSON: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def read_decision(given: Mapping[str, Any]) -> Decision:
    """Check what somebody decided; keys that are not needed are not read.

    Raises:
        GroundingError: an unknown action; a value that is missing, of another type or out of range.
    """
    action = given.get("action")
    if not isinstance(action, str) or action not in _NEEDS:
        raise GroundingError(f"action is {_shown(action)}: expected one of {', '.join(ACTIONS)}")
    needs = _NEEDS[action]
    return Decision(
        read_person(given.get("person")),
        read_whole("picture", given.get("picture")),
        action,
        read_whole("box", given.get("box")) if "box" in needs else None,
        read_label(given.get("label")) if "label" in needs else None,
        _edges(given) if "x0" in needs else None,
        *read_work(given),
    )


def read_work(given: Mapping[str, Any]) -> tuple[float, int]:
    """The seconds and actions that something took: `time_s` and `actions`, 0 where they are missing."""
    time_s = _number("time_s", given.get("time_s", 0))
    if not 0 <= time_s <= _MOST_TIME_S:
        raise GroundingError(f"time_s is {time_s:g}: expected seconds, 0 to {_MOST_TIME_S:g}")
    return round(time_s, 3), read_whole("actions", given.get("actions", 0), _MOST_ACTIONS)


def read_person(given: object) -> str:
    """The name that a page made up for its person, or a `GroundingError`."""
    if not isinstance(given, str) or not _PERSON.fullmatch(given):
        raise GroundingError(f"person is {_shown(given)}: expected 1 to 64 letters, digits, - or _")
    return given


def read_whole(name: str, given: object, most: int = 1_000_000_000) -> int:
    """A whole number from 0, or a `GroundingError`."""
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given <= most:
        raise GroundingError(f"{name} is {_shown(given)}: expected a whole number from 0 to {most}")
    return given


def read_label(given: object) -> str:
    """A label with single spaces, or a `GroundingError`: none, too long, or with characters that cannot be seen."""
    if not isinstance(given, str):
        raise GroundingError(f"label is {_shown(given)}: expected a text")
    if len(given) > 10 * _LONGEST_LABEL or len(label := " ".join(given.split())) > _LONGEST_LABEL:
        raise GroundingError(f"label has {len(given):,} characters: expected at most {_LONGEST_LABEL}")
    if not label or not can_be_seen(label):
        raise GroundingError(f"label is {_shown(given)}: expected a text that can be seen")
    return label


def can_be_seen(text: str) -> bool:
    """Whether a text has no characters that a terminal or a page would obey; those that join letters are allowed."""
    return text.translate(_JOINERS).isprintable()


def _edges(given: Mapping[str, Any]) -> Edges:
    x0, y0, x1, y1 = (_number(name, given.get(name)) for name in EDGES)
    return x0, y0, x1, y1


def _number(name: str, given: object) -> float:
    number = math.nan
    if isinstance(given, int | float) and not isinstance(given, bool) and abs(given) < 1e9:  # of NaN this is False
        number = float(given)
    if math.isnan(number):
        raise GroundingError(f"{name} is {_shown(given)}: expected a number")
    return number


def _shown(given: object) -> str:
    return "missing" if given is None else shortened(repr(given)[:200])


def inside(edges: Edges, picture: Drafted) -> Edges:
    """The part of a box inside its picture, in hundredths of a px.

    Raises:
        GroundingError: it is inverted, or what is inside is smaller than 1 px.
    """
    x0, y0, x1, y1 = edges
    size = f"the {picture.width} x {picture.height} px of the picture"
    if x0 >= x1 or y0 >= y1:
        raise GroundingError(f"the box is {x0:g}, {y0:g}, {x1:g}, {y1:g}: expected x0 < x1 and y0 < y1")
    x0, y0 = round(max(x0, 0.0), 2), round(max(y0, 0.0), 2)
    x1, y1 = round(min(x1, float(picture.width)), 2), round(min(y1, float(picture.height)), 2)
    if x1 - x0 < _LEAST_SIDE_PX or y1 - y0 < _LEAST_SIDE_PX:
        raise GroundingError(f"the box has less than {_LEAST_SIDE_PX:g} px in {size}: expected sides of 1 px or more")
    return x0, y0, x1, y1


def clipped(decision: Decision, picture: Drafted) -> Decision:
    """The decision with its box inside the picture; errors as `inside`."""
    return dataclasses.replace(decision, edges=inside(decision.edges, picture)) if decision.edges else decision


def applied(annotated: Annotated, decision: Decision) -> Annotated:
    """What is decided of a picture after one more decision.

    A decision about a box of a skipped picture takes it up again; a picture that is done stays done.

    Raises:
        GroundingError: the picture has no such box.
    """
    action, boxes = decision.action, annotated.boxes
    if action == "done":
        accepted = (dataclasses.replace(box, state="accepted") if box.state == "open" else box for box in boxes)
        return Annotated("done", tuple(accepted))
    if action in ("skip", "reopen"):
        return Annotated("skipped" if action == "skip" else "open", boxes)
    state = "open" if annotated.state == "skipped" else annotated.state
    if action == "draw":
        assert decision.label is not None
        assert decision.edges is not None
        first = decision.label, decision.edges
        return Annotated(state, (*boxes, Box(len(boxes), *first, None, "accepted", first)))
    place = decision.box
    if place is None or place >= len(boxes):
        raise GroundingError(f"picture {decision.picture} has no box {place}: it has {len(boxes)}")
    changed = dataclasses.replace(
        boxes[place],
        state="rejected" if action == "reject" else "accepted",
        edges=decision.edges or boxes[place].edges,
        label=decision.label or boxes[place].label,
    )
    return Annotated(state, (*boxes[:place], changed, *boxes[place + 1 :]))
