"""The drafts of an annotation folder as files: `project.json` says what they are of, `drafts.jsonl` has them."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from grounding.annotation.decisions import read_label, read_whole
from grounding.annotation.records import EDGES, Drafted
from grounding.appended import damaged, read_lines
from grounding.errors import GroundingError
from grounding.folders import whole_file
from grounding.wording import counted

SETTINGS: Final = "project.json"
DRAFTS: Final = "drafts.jsonl"
SCHEMA_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Settings:
    """What an annotation folder is of.

    Attributes:
        images: the folder of the pictures, absolute.
        labels: those that are asked for, in their order.
        pictures: how many there are, with those that cannot be read.
        drafting: plain values that name the drafts: with others, they would be other ones.
    """

    images: str
    labels: tuple[str, ...]
    pictures: int
    drafting: Mapping[str, Any] = field(default_factory=dict)


def write_settings(folder: Path, settings: Settings) -> None:
    """Write `project.json`, whole or not at all."""
    values = {
        "schema_version": SCHEMA_VERSION,
        "images": settings.images,
        "labels": list(settings.labels),
        "pictures": settings.pictures,
        "drafting": dict(settings.drafting),
    }
    with whole_file(folder / SETTINGS) as file:
        json.dump(values, file, ensure_ascii=False, indent=2)
        file.write("\n")


def read_settings(folder: Path) -> Settings:
    """Read `project.json`.

    Raises:
        GroundingError: it is missing or damaged, or of a later version.
    """
    path = folder / SETTINGS
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        labels = tuple(map(read_label, values["labels"]))
        found = Settings(values["images"], labels, read_whole("pictures", values["pictures"]), values["drafting"])
        version = values["schema_version"]
        if not isinstance(found.images, str) or not isinstance(found.drafting, dict):
            raise TypeError("images or drafting")
    except OSError as error:
        reason = error.strerror or error
        raise GroundingError(
            f"{path} cannot be read ({reason}): expected an annotation folder; --images DIR makes a new one"
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise GroundingError(f"{path} is damaged ({error}): take it from a copy, or choose another folder") from error
    if version != SCHEMA_VERSION:
        raise GroundingError(f"{path} has schema_version {version}: expected {SCHEMA_VERSION}; is grounding too old?")
    return found


def draft_line(picture: Drafted) -> dict[str, Any]:
    """A picture as a line of `drafts.jsonl`."""
    boxes = [
        {"label": label, **dict(zip(EDGES, edges, strict=True)), "score": score}
        for label, edges, score in picture.boxes
    ]
    return {
        "id": picture.id,
        "image": picture.name,
        "width": picture.width,
        "height": picture.height,
        "caption": picture.caption,
        "uncertainty": picture.uncertainty,
        "boxes": boxes,
    }


def left_out_line(id_: int, name: str, why: str) -> dict[str, Any]:
    """A picture that cannot be read as a line of `drafts.jsonl`."""
    return {"id": id_, "image": name, "error": why}


def read_drafts(path: Path, pictures: int) -> list[Drafted]:
    """The pictures of `drafts.jsonl`, without those that could not be read.

    Args:
        pictures: how many lines there must be.

    Raises:
        GroundingError: a line is damaged, or lines are lacking.
    """
    found = []
    lines = read_lines(path)[0]
    if len(lines) < pictures:
        raise GroundingError(
            f"{path} has {len(lines):,} of {counted(pictures, 'picture')}: run the command that began it again"
        )
    for number, line in enumerate(lines, start=1):
        try:
            if "error" not in line:
                found.append(_drafted(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:  # a GroundingError too
            raise damaged(path, number, error) from error
    return found


def _drafted(line: Mapping[str, Any]) -> Drafted:
    boxes = tuple((read_label(each["label"]), _edges(each), float(each["score"])) for each in line["boxes"])
    id_, width, height = (read_whole(name, line[name]) for name in ("id", "width", "height"))
    texts = line["image"], line["caption"]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("image or caption is no text")
    return Drafted(id_, texts[0], width, height, texts[1], float(line["uncertainty"]), boxes)


def _edges(values: Mapping[str, Any]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (float(values[name]) for name in EDGES)
    if not (math.isfinite(x0 + y0 + x1 + y1) and x0 < x1 and y0 < y1):
        raise ValueError(f"the box is {x0:g}, {y0:g}, {x1:g}, {y1:g}")
    return x0, y0, x1, y1
