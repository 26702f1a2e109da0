"""The figure that a paper would print: rows of pictures, columns of methods."""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from grounding.benchmarks.measurer import Measurer
from grounding.benchmarks.tasks import Map
from grounding.datasets.labelled import ClassRegion, LabelledImage
from grounding.errors import GroundingError
from grounding.evaluation.protocols.pointing_game import highest_pixel
from grounding.images import RgbImage, read_image
from grounding.painting import glow, heat_colours, tiled
from grounding.wording import shortened

_CELL_PX: Final = 180
_HIT, _MISS, _TRUE, _POINT = "#1fb866", "#e8403a", "#ffffff", "#2f7ff5"
Item = tuple[str, str]  # image id and class
Verdict = Callable[[str, str, str], bool | None]  # image id, class and method -> hit, miss, or None where it has none


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A class in a picture, as each method sees it.

    Attributes:
        cells: the picture with the true boxes, then the map of each method, all `_CELL_PX` squares.
    """

    item: Item
    cells: list[Image.Image]


def drawn(measurer: Measurer, items: Sequence[Item], verdict: Verdict) -> Iterator[Drawn]:
    """Make the maps of some items again and draw them; what cannot be read any more stays out."""
    for name, wanted in items:
        labelled = measurer.images[name]
        try:
            pixels = read_image(io.BytesIO(measurer.data.read(name)), name)
        except GroundingError:
            continue
        region = next(region for region in labelled.regions if region.name == wanted)
        maps = measurer.maps(measurer.encode(pixels), labelled, [wanted])[wanted]
        cells = [_square(_with_boxes(pixels, labelled, region))]
        for method, map_ in maps.items():
            hit = verdict(name, wanted, method)
            cells.append(_square(_map_cell(pixels, map_, labelled, region, hit)))
        yield Drawn((name, wanted), cells)


def figure(rows: Sequence[Drawn], methods: Sequence[str]) -> Image.Image:
    """Rows of pictures under the names of the methods."""
    captions = [f"{shortened(name, 24)}" for (_, name), _ in ((row.item, row) for row in rows)]
    return tiled([row.cells for row in rows], ["picture", *methods], captions, _CELL_PX)


def strip(row: Drawn) -> Image.Image:
    """The cells of one item side by side."""
    gap = 4
    wide = Image.new("RGB", ((_CELL_PX + gap) * len(row.cells) - gap, _CELL_PX), "white")
    for place, cell in enumerate(row.cells):
        wide.paste(cell, (place * (_CELL_PX + gap), 0))
    return wide


def _square(picture: Image.Image) -> Image.Image:
    """The whole picture in a square on white."""
    fitted = picture.copy()
    scale = _CELL_PX / max(fitted.size)
    fitted = fitted.resize([max(1, round(side * scale)) for side in fitted.size], Image.Resampling.LANCZOS)
    square = Image.new("RGB", (_CELL_PX, _CELL_PX), "white")
    square.paste(fitted, ((_CELL_PX - fitted.width) // 2, (_CELL_PX - fitted.height) // 2))
    return square


def _canvas(pixels: RgbImage, labelled: LabelledImage) -> tuple[Image.Image, float]:
    """The picture with its longer side twice as long as a cell, and the px of the canvas for one of the annotation."""
    scale = 2 * _CELL_PX / max(labelled.width, labelled.height)
    size = max(1, round(labelled.width * scale)), max(1, round(labelled.height * scale))
    return Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS), scale


def _with_boxes(pixels: RgbImage, labelled: LabelledImage, region: ClassRegion) -> Image.Image:
    canvas, scale = _canvas(pixels, labelled)
    _outline(canvas, region, scale)
    return canvas


def _map_cell(
    pixels: RgbImage, map_: Map, labelled: LabelledImage, region: ClassRegion, hit: bool | None
) -> Image.Image:
    canvas, scale = _canvas(pixels, labelled)
    grey = np.asarray(canvas.convert("L"), np.float32)[:, :, None] / 255
    heat = np.asarray(Image.fromarray(map_).resize(canvas.size, Image.Resampling.BILINEAR), np.float32).clip(0, 1)
    picture = glow(grey, heat, heat_colours(heat))
    _outline(picture, region, scale)
    pixel = highest_pixel(map_)
    if pixel is not None:
        x, y = ((place + 0.5) * scale for place in pixel)
        colour = {True: _HIT, False: _MISS, None: _POINT}[hit]
        ImageDraw.Draw(picture).ellipse((x - 9, y - 9, x + 9, y + 9), fill=colour, outline="white", width=3)
    return picture


def _outline(canvas: Image.Image, region: ClassRegion, scale: float) -> None:
    pen = ImageDraw.Draw(canvas)
    for x0, y0, x1, y1 in (region.boxes * scale).tolist():
        edges = (x0, y0, max(x0, x1 - 1), max(y0, y1 - 1))
        pen.rectangle(edges, outline="black", width=5)
        pen.rectangle(edges, outline=_TRUE, width=2)
