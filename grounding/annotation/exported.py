"""What is exported: pictures with the boxes that go out, whatever the format."""

from dataclasses import dataclass

from grounding.annotation.records import Box, Drafted
from grounding.wording import counted


@dataclass(frozen=True, slots=True)
class Exported:
    """A picture and the boxes that go out.

    Attributes:
        done: whether a person is done with it; otherwise its boxes are drafts.
    """

    picture: Drafted
    boxes: tuple[Box, ...]
    done: bool


@dataclass(frozen=True, slots=True)
class Exports:
    """All that goes out.

    Attributes:
        labels: all there are, also those without a box, so that their numbers stay the same.
    """

    labels: tuple[str, ...]
    pictures: tuple[Exported, ...]

    @property
    def places(self) -> dict[str, int]:
        """The position of each label, from 0."""
        return {label: place for place, label in enumerate(self.labels)}

    def __str__(self) -> str:
        """How many pictures and boxes."""
        boxes = sum(len(each.boxes) for each in self.pictures)
        return f"{counted(len(self.pictures), 'picture')}, {counted(boxes, 'box', 'boxes')}"
