"""The results of a manifest as a page for people: one HTML file that loads nothing from anywhere."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from PIL import Image

from grounding.drawing import phrase_colour
from grounding.templating import data_uri, environment

PAGE: Final = "index.html"
MOST_ROWS: Final = 1000  # on a page, which holds its pictures: about 20 KB each
_SIDE_PX: Final = 360


def write_page(results: Path, title: str, summary: str, overlay: str) -> None:
    """Write index.html beside the results: a small overlay of each row, and a table of its phrases.

    Args:
        results: their JSON lines, in the order of the rows.
        overlay: the name of a row's picture in the same folder, with `{}` for its number from 1. It is left out where
            there is none.
    """
    templates = environment()
    templates.globals["phrase_colour"] = phrase_colour
    with results.open(encoding="utf-8") as file:
        total = sum(1 for _ in file)
        file.seek(0)
        rows = _rows(itertools.islice(file, MOST_ROWS), results.parent, overlay)
        template = templates.get_template("manifest.html.jinja")
        stream = template.stream(title=title, summary=summary, rows=rows, total=total, most=MOST_ROWS)
        stream.dump(str(results.parent / PAGE), encoding="utf-8", errors="backslashreplace")


def _rows(lines: Iterator[str], folder: Path, overlay: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, start=1):
        picture = folder / overlay.format(number)
        there = picture.is_file()
        yield json.loads(line) | {
            "number": number,
            "overlay": picture.name if there else "",
            "thumbnail": _thumbnail(picture) if there else "",
        }


def _thumbnail(picture: Path) -> str:
    """A small copy of a picture as a data URI."""
    with Image.open(picture) as image:
        image.thumbnail((_SIDE_PX, _SIDE_PX), Image.Resampling.LANCZOS)
        return data_uri(image, "JPEG", quality=80)
