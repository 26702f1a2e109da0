"""The records of annotation: a picture with the boxes that were drafted in it, a box, and what was decided."""

from dataclasses import dataclass
from typing import Any, Final, Literal

BoxState = Literal["open", "accepted", "rejected"]
PictureState = Literal["open", "done", "skipped"]
Edges = tuple[float, float, float, float]  # x0, y0, x1, y1 in px of the upright picture, half-open
EDGES: Final = ("x0", "y0", "x1", "y1")


@dataclass(frozen=True, slots=True)
class Box:
    """A box of one picture.

    Attributes:
        id: names it in its picture.
        score: estimates the probability that the draft is right, in [0, 1]; None for a box that a person drew.
        first: label and edges that it began with.
    """

    id: int
    label: str
    edges: Edges
    score: float | None
    state: BoxState
    first: tuple[str, Edges]

    @property
    def origin(self) -> Literal["draft", "person"]:
        """Who drew it first."""
        return "person" if self.score is None else "draft"

    @property
    def moved(self) -> bool:
        """Whether its edges are other ones than at first."""
        return self.edges != self.first[1]

    @property
    def relabelled(self) -> bool:
        """Whether its label is another one than at first."""
        return self.label != self.first[0]

    @property
    def untouched(self) -> bool:
        """Whether it is a draft that was accepted just as it was."""
        return self.state == "accepted" and self.score is not None and not (self.moved or self.relabelled)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as the page gets them."""
        return {
            "id": self.id,
            "label": self.label,
            **dict(zip(EDGES, self.edges, strict=True)),
            "score": self.score,
            "origin": self.origin,
            "state": self.state,
            "moved": self.moved,
            "relabelled": self.relabelled,
        }


@dataclass(frozen=True, slots=True)
class Annotated:
    """What is decided of a picture so far.

    Attributes:
        boxes: drafts first, then those that were drawn; rejected ones stay.
    """

    state: PictureState
    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class Drafted:
    """A picture as it was before anybody decided.

    Attributes:
        id: its position in the list of pictures, from 0.
        name: its path below the folder of pictures, with `/`.
        width, height: in px, upright.
        caption: what the table says about it; may be empty.
        uncertainty: how unsure the model is about its drafts, in [0, 1].
        boxes: of the drafts: label, edges and score, each.
    """

    id: int
    name: str
    width: int
    height: int
    caption: str
    uncertainty: float
    boxes: tuple[tuple[str, Edges, float], ...]

    def start(self) -> Annotated:
        """Every draft, open."""
        boxes = (
            Box(place, label, edges, score, "open", (label, edges))
            for place, (label, edges, score) in enumerate(self.boxes)
        )
        return Annotated("open", tuple(boxes))


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person decided about a picture, or a box of it; a line of the log.

    Attributes:
        person: who; a name that the page made up.
        picture: its id.
        action: one of `decisions.ACTIONS`.
        box: id of the box that it is about.
        time_s: seconds that the person worked on it.
        actions: clicks and keys that it took.
    """

    person: str
    picture: int
    action: str
    box: int | None = None
    label: str | None = None
    edges: Edges | None = None
    time_s: float = 0.0
    actions: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without those that there are none of."""
        about = {"box": self.box, "label": self.label}
        return {
            "person": self.person,
            "picture": self.picture,
            "action": self.action,
            **{name: value for name, value in about.items() if value is not None},
            **(dict(zip(EDGES, self.edges, strict=True)) if self.edges else {}),
            "time_s": self.time_s,
            "actions": self.actions,
        }
