"""An answer as HTML: the sentence with its phrases lit, the picture with boxes and maps, and what is said of each.

All text from outside goes through the template, which escapes it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from urllib.parse import urlencode

import numpy as np
import numpy.typing as npt
from jinja2 import Template
from PIL import Image

from grounding.colours import phrase_colour
from grounding.demonstration.questions import Answer, Question
from grounding.demonstration.verdicts import verdict, word_reasons
from grounding.grounded import GroundedPhrase
from grounding.images import RgbImage
from grounding.painting import heat_colours
from grounding.results import Grounding
from grounding.templating import data_uri, environment

SHOWN_PX: Final = 960  # the longer side of the picture on the page
_SMALL_PX: Final = 280  # of a method's picture
_MAP_PX: Final = 64  # a map is smooth, and the browser makes it larger
_STRONGEST: Final = 0.9  # opacity of the highest place of a map
_CORNER: Final = 0.06  # of a side: badges that are closer would hide each other
METHODS: Final = {"contrastive_mwp": "contrastive MWP", "mwp": "MWP", "cam": "CAM"}
FILES: Final = {"overlay.png": "picture with boxes (PNG)", "result.json": "JSON", "result.csv": "CSV"}


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the sentence: the number of its phrase, from 0, or None between phrases."""

    text: str
    number: int | None


@dataclass(frozen=True, slots=True)
class Box:
    """A box on the picture, in percent of its sides.

    Attributes:
        style: where, in CSS.
        number: of its phrase.
        first: whether it is the best one of its phrase, which has a badge.
        shift: how many badges stand in the same corner before its own.
    """

    style: str
    number: int
    first: bool
    dashed: bool
    shift: int


def answer_html(answer: Answer, remark: str = "") -> str:
    """The fragment that shows an answer, below a remark about it."""
    grounding, calibrated = answer.grounding, answer.calibrated
    return _rendered(
        problem=None,
        remark=remark,
        grounding=grounding,
        parts=list(sentence_parts(grounding)),
        colours=[phrase_colour(number) for number in range(len(grounding))],
        verdicts=[verdict(each, grounding.min_presence, calibrated) for each in grounding],
        reasons=[word_reasons(each.words) for each in grounding],
        boxes=list(_boxes(grounding, answer.question.top_k)),
        photo=picture_uri(grounding.image, SHOWN_PX),
        maps=_maps(grounding),
        small=picture_uri(grounding.image, _SMALL_PX) if answer.compared else "",
        methods=[_method(name, found) for name, found in answer.compared.items()],
        tags=answer.tags,
        files=[(name, text, download_path(answer, name)) for name, text in FILES.items()],
    )


def problem_html(line: str) -> str:
    """The fragment that says in one line what is wrong, or missing."""
    return _rendered(problem=line)


def sentence_parts(grounding: Grounding) -> Iterator[Part]:
    """The sentence, divided at its phrases; together the parts are the sentence."""
    at = 0
    for number, grounded in enumerate(grounding):
        start, end = grounded.phrase.start, grounded.phrase.end
        if start is None or end is None or start < at:  # not in the sentence, or inside another phrase
            continue
        if start > at:
            yield Part(grounding.caption[at:start], None)
        yield Part(grounding.caption[start:end], number)
        at = end
    if at < len(grounding.caption):
        yield Part(grounding.caption[at:], None)


def download_path(answer: Answer, name: str) -> str:
    """Where a file of an answer is: the question stands in the address, and nothing is kept."""
    asked: dict[str, str | int | float | None] = {
        "caption": answer.question.caption,
        "top_k": answer.question.top_k,
        "depth": answer.question.depth,
        "least": answer.question.least,
    }
    given = {key: value for key, value in asked.items() if value is not None}
    return f"/download/{answer.digest}/{name}?{urlencode(given, errors='replace')}"


def asked_again(values: dict[str, str]) -> Question:
    """The question that stands in an address.

    Raises:
        ValueError: a number that is none.
    """
    depth, least = values.get("depth"), values.get("least")
    return Question(
        values.get("caption", ""),
        int(values.get("top_k", "1")),
        None if depth is None else int(depth),
        None if least is None else float(least),
    )


def picture_uri(image: RgbImage, side_px: int) -> str:
    """A picture no larger than this, as a data URI."""
    small = Image.fromarray(image)
    small.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    return data_uri(small, "JPEG", quality=82)


def map_uri(grounded: GroundedPhrase) -> str:
    """A phrase map as colours to lay over the picture, transparent where it is low; empty where it says nothing."""
    if grounded.status == "out-of-vocabulary" or not grounded.grid_map.any():
        return ""
    values = Image.fromarray(grounded.grid_map).resize((_MAP_PX, _MAP_PX), Image.Resampling.BILINEAR)
    heat: npt.NDArray[np.float32] = np.asarray(values, np.float32).clip(0)
    heat = heat / heat.max()
    layers = np.dstack([heat_colours(heat), heat * _STRONGEST])
    return data_uri(Image.fromarray((layers * 255).astype(np.uint8), "RGBA"), "PNG")


def _method(name: str, found: Grounding | str) -> dict[str, Any]:
    """What the page shows of a method: its map of each phrase, or why it has none."""
    if isinstance(found, str):
        return {"name": METHODS[name], "problem": found, "maps": []}
    return {"name": METHODS[name], "problem": "", "maps": _maps(found)}


def _maps(grounding: Grounding) -> list[tuple[int, str]]:
    """The numbers of phrases that have a map, and their maps."""
    return [(number, uri) for number, each in enumerate(grounding) if (uri := map_uri(each))]


def _boxes(grounding: Grounding, top_k: int) -> Iterator[Box]:
    """The boxes of phrases that are localized or absent, the largest first, so that small ones lie above."""
    height, width = grounding.image.shape[:2]
    found = []
    corners: list[tuple[float, float]] = []  # with a badge
    for number, grounded in enumerate(grounding):
        shown = {"localized": top_k, "absent": 1}.get(grounded.status, 0)
        for rank, region in enumerate(grounded.regions[:shown]):
            x, y, right, bottom = region.x0 / width, region.y0 / height, region.x1 / width, region.y1 / height
            style = f"left:{x:.2%};top:{y:.2%};width:{right - x:.2%};height:{bottom - y:.2%}"
            shift = sum(abs(x - left) < _CORNER and abs(y - top) < _CORNER for left, top in corners)
            corners += [(x, y)] * (rank == 0)
            box = Box(style, number, rank == 0, rank > 0 or grounded.status == "absent", shift)
            found.append(((right - x) * (bottom - y), box))
    return (box for _, box in sorted(found, key=lambda each: -each[0]))


def _rendered(**values: Any) -> str:
    return _template().render(**values)


@cache
def _template() -> Template:
    return environment().get_template("demo.html.jinja")
