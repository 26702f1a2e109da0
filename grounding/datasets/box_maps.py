"""Boxes as stand-ins for human maps, as the authors of GALA allow (`--annotation bboxs` of serre-lab/gala_tpu).

Nothing else that trains reads a box. A table has a line `{"id": of the picture, "boxes": [[x0, y0, x1, y1], ...],
"width": , "height": }` a picture, half-open, in px of this width and height.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from grounding.boxes import Values, disjoint_parts
from grounding.datasets.labelled import LabelledImages
from grounding.datasets.map_cells import CELLS
from grounding.datasets.map_sources import MapSource, check_ratio
from grounding.datasets.places import DAMAGED, opener_of
from grounding.errors import GroundingError
from grounding.folders import whole_file
from grounding.wording import shortened

_EXPECTED: Final = '{"id": "...", "boxes": [[x0, y0, x1, y1], ...], "width": ..., "height": ...}'
_NONE: Final = "pictures without a box"


def write_boxes(pictures: LabelledImages, output: Path) -> int:
    """Write the boxes of all objects that count in each picture; returns how many pictures.

    Raises:
        GroundingError: there is no picture, or the table cannot be written.
    """
    if not pictures.images:
        raise GroundingError(f"{pictures.name} has no picture with an object that counts: there is no box to write")
    with whole_file(output) as file:
        for picture in pictures.images:
            boxes = [box for region in picture.regions for box in region.boxes.tolist()]
            row = {"id": picture.id, "boxes": boxes, "width": picture.width, "height": picture.height}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return len(pictures.images)


def open_boxes(path: Path) -> MapSource:
    """Read a table; a map is 1 inside the boxes and 0 elsewhere, and is not spread.

    Raises:
        GroundingError: the file cannot be read, or a line is not of this form, or a picture is there twice.
    """
    rows: dict[str, tuple[Values, float, float]] = {}
    without = 0
    for where, value in _lines(path):
        name, boxes, width, height = _row(where, value)
        if name in rows:
            raise GroundingError(f"{where}: the boxes of {name} are there twice: expected one line a picture")
        if len(boxes):
            rows[name] = boxes, width, height
        else:
            without += 1

    def read(name: str, width: int, height: int) -> Values:
        boxes, stated_width, stated_height = rows[name]
        check_ratio(f"{path}: the boxes' picture {name}", stated_width, stated_height, width, height)
        return _covered(boxes, stated_width, stated_height)

    return MapSource(list(rows), read, finished=True, left_out={_NONE: without} if without else {})


def _covered(boxes: Values, width: float, height: float) -> Values:
    """(64, 64): the share of each cell that the boxes cover."""
    cells = np.arange(CELLS)
    covered = np.zeros((CELLS, CELLS))
    for x0, y0, x1, y1 in disjoint_parts(boxes) * np.array([CELLS / width, CELLS / height] * 2):
        down = (np.minimum(cells + 1, y1) - np.maximum(cells, y0)).clip(0)
        across = (np.minimum(cells + 1, x1) - np.maximum(cells, x0)).clip(0)
        covered += np.outer(down, across)
    return covered


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    """Each line that is not blank, and where it stands."""
    try:
        with (opener_of(path) or open)(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    where = f"{path}, line {number}"
                    try:
                        yield where, json.loads(line)
                    except (ValueError, RecursionError) as error:
                        raise GroundingError(f"{where} is not JSON ({error}): expected {_EXPECTED}") from error
    except DAMAGED as error:
        raise GroundingError(f"{path} cannot be read ({error}): expected lines {_EXPECTED}") from error


def _row(where: str, value: Any) -> tuple[str, Values, float, float]:
    try:
        name, width, height = value["id"], float(value["width"]), float(value["height"])
        boxes = np.array(value["boxes"], np.float64).reshape(len(value["boxes"]), 4)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise GroundingError(f"{where} is {shortened(str(value), 60)}: expected {_EXPECTED}") from error
    x0, y0, x1, y1 = boxes.T
    inside = (x0 >= 0) & (y0 >= 0) & (x0 < x1) & (y0 < y1) & (x1 <= width) & (y1 <= height)  # NaN is not
    if not inside.all():
        raise GroundingError(
            f"{where}: the box {boxes[~inside][0].tolist()} is empty or not inside {width:g} x {height:g} px: expected "
            "x0 < x1 and y0 < y1 inside the picture"
        )
    return str(name), boxes, width, height
