"""What a project's labeling configuration asks for. It is a stranger's XML."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element

from grounding.datasets.xml_files import parse_xml
from grounding.errors import GroundingError

_MOST: Final = 1 << 20  # characters of a configuration
_WHERE: Final = "the labeling configuration"


@dataclass(frozen=True, slots=True)
class Choice:
    """A label that a person can give: what a result calls it, and the phrases that are looked for."""

    label: str
    phrases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Control:
    """A tag that draws on a picture; without choices, plain rectangles.

    Attributes:
        name: of the tag, `from_name` of its regions.
        to_name: of the picture's tag.
        field: of a task's data that holds the picture's address.
    """

    name: str
    to_name: str
    field: str
    choices: tuple[Choice, ...] = ()


@dataclass(frozen=True, slots=True)
class Interface:
    """The parts of a labeling configuration that boxes are drafted for.

    Attributes:
        labels: `RectangleLabels` with their labels.
        rectangles: `Rectangle` tags, which have none.
        captions: fields of a task's data that are shown as text.
    """

    labels: tuple[Control, ...]
    rectangles: tuple[Control, ...]
    captions: tuple[str, ...]


def read_interface(text: object) -> Interface:
    """Read a labeling configuration.

    The phrases of a label are its `predicted_values`, divided by commas, or else its value; a result says its `alias`,
    or else its value.

    Raises:
        GroundingError: no text, or one over 1 MiB; broken XML, or one with a document type; no `RectangleLabels` of an
            `Image` whose value is a field of the task.
    """
    if not isinstance(text, str):
        raise GroundingError(f"label_config is a {type(text).__name__}: expected XML as text")
    if len(text) > _MOST:
        raise GroundingError(f"{_WHERE} has {len(text):,} characters: expected at most {_MOST:,}")
    if "<!DOCTYPE" in text:
        raise GroundingError(f"{_WHERE} has a document type: expected plain tags, <View>...</View>")
    root = parse_xml(_WHERE, text.encode("utf-8", "replace"))
    images = {tag.get("name", ""): field for tag in root.iter("Image") if (field := _field(tag))}
    labels = tuple(control for control in _controls(root, "RectangleLabels", images) if control.choices)
    if not labels:
        raise GroundingError(
            f'{_WHERE} has no labels to draw: expected <Image name="image" value="$image"/> and <RectangleLabels '
            'name="label" toName="image"><Label value="bird"/>...'
        )
    captions = tuple(field for tag in root.iter("Text") if (field := _field(tag)))
    return Interface(labels, tuple(_controls(root, "Rectangle", images)), captions)


def _controls(root: Element, kind: str, images: dict[str, str]) -> Iterator[Control]:
    for tag in root.iter(kind):
        name, to_name = tag.get("name", ""), tag.get("toName", "")
        if name and to_name in images:
            yield Control(name, to_name, images[to_name], tuple(_choices(tag)))


def _choices(tag: Element) -> Iterator[Choice]:
    for label in tag.iter("Label"):
        value = label.get("value", "").strip()
        phrases = [phrase.strip() for phrase in label.get("predicted_values", value).split(",")]
        if value and any(phrases):
            yield Choice(label.get("alias") or value, tuple(phrase for phrase in phrases if phrase))


def _field(tag: Element) -> str:
    """The field of `value="$field"`; empty where it is something else."""
    value = tag.get("value", "")
    return value[1:] if value.startswith("$") else ""
