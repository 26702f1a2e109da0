"""A round that was played, as it is logged; and what a page may send of one."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, cast, get_args

from grounding.errors import GroundingError

Outcome = Literal["recognised", "time", "skipped"]
Catch = Literal["box", "repeat"]
Pointer = Literal["mouse", "touch", "pen", "keyboard"]
MOST_BUBBLES: Final = 600  # of a round
RADIUS: Final = 0.06  # of a bubble, as a share of the picture's shorter side
_PLAYER: Final = re.compile(r"[0-9a-f]{16}")
_GRACE_S: Final = 5.0  # that a page's clock may be late


class Bubble(NamedTuple):
    """Where the brush was: px of the upright picture, and seconds since it was first put down."""

    x: float
    y: float
    time_s: float


@dataclass(frozen=True, slots=True)
class Round:
    """One player with one picture.

    Attributes:
        picture: its name.
        width, height: of the picture in px.
        player: 16 hexadecimal digits that mean nothing.
        time_s: from the first bubble to the end.
        bubbles: in their order.
        catch: how it tests the player, if it does; its bubbles are then in no map.
        passed: whether the test was passed; None where there is none.
    """

    picture: str
    category: str
    width: int
    height: int
    player: str
    outcome: Outcome
    time_s: float
    points: int
    pointer: Pointer
    bubbles: tuple[Bubble, ...]
    catch: Catch | None = None
    passed: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """As it stands in the log."""
        return {
            "picture": self.picture,
            "category": self.category,
            "width": self.width,
            "height": self.height,
            "player": self.player,
            "outcome": self.outcome,
            "time_s": self.time_s,
            "points": self.points,
            "pointer": self.pointer,
            "catch": self.catch,
            "passed": self.passed,
            "bubbles": [list(bubble) for bubble in self.bubbles],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Round":
        """Read what `to_dict` gave.

        Raises:
            GroundingError, KeyError, TypeError: it is something else.
        """
        width, height, time_s, points = (values[name] for name in ("width", "height", "time_s", "points"))
        if not all(isinstance(side, int) and side > 0 for side in (width, height)):
            raise GroundingError("width and height are no sizes")
        if values["catch"] not in (None, *get_args(Catch)) or values["passed"] not in (None, True, False):
            raise GroundingError("catch or passed is not known")
        return cls(
            str(values["picture"]),
            str(values["category"]),
            width,
            height,
            check_player(values["player"]),
            cast(Outcome, _one_of("outcome", values["outcome"], get_args(Outcome))),
            float(time_s),
            int(points),
            check_pointer(values["pointer"]),
            check_bubbles(values["bubbles"], width, height, math.inf),
            values["catch"],
            values["passed"],
        )


def check_player(value: object) -> str:
    """A player as the server names them; a `GroundingError` for anything else."""
    if not isinstance(value, str) or not _PLAYER.fullmatch(value):
        raise GroundingError("player is not one that this game has named: expected 16 hexadecimal digits")
    return value


def check_pointer(value: object) -> Pointer:
    """What the player painted with; a `GroundingError` for anything else."""
    return cast(Pointer, _one_of("pointer", value, get_args(Pointer)))


def check_outcome(value: object) -> Outcome:
    """How a page may say that a round ended; a `GroundingError` for anything else."""
    return cast(Outcome, _one_of("outcome", value, ("time", "skipped")))


def _one_of(name: str, value: object, known: Sequence[str]) -> str:
    """A value that is one of these; a `GroundingError` for anything else."""
    if not isinstance(value, str) or value not in known:
        raise GroundingError(f"{name} is not known: expected {' or '.join(known)}")
    return value


def check_bubbles(value: object, width: int, height: int, seconds: float) -> tuple[Bubble, ...]:
    """The bubbles of a request, to a tenth of a px and a millisecond.

    Args:
        value: `[[x, y, time_s], ...]`.
        seconds: that a round lasts at most.

    Raises:
        GroundingError: it is anything else, longer than a round can be, or outside the picture or the round.
    """
    if not isinstance(value, list) or len(value) > MOST_BUBBLES:
        raise GroundingError(f"bubbles are not a list of at most {MOST_BUBBLES}: expected [[x, y, time_s], ...]")
    most = (width, height, seconds + _GRACE_S)
    found = []
    for each in value:
        if not isinstance(each, list) or len(each) != 3 or not all(map(_inside, each, most)):
            raise GroundingError(
                f"a bubble is not inside of the picture and the round: expected [x, y, time_s] from 0 to {width}, "
                f"{height} and {seconds:g}"
            )
        found.append(Bubble(round(float(each[0]), 1), round(float(each[1]), 1), round(float(each[2]), 3)))
    return tuple(found)


def _inside(value: object, most: float) -> bool:
    """Whether it is a number from 0 to the most; NaN is not, and infinity never."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most and value < math.inf
