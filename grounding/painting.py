"""Pictures of arrays. Pure, and knows no results: arrays in, a picture out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from grounding.images import RgbImage

_LONGEST_SIDE_PX = 1600
_SHORTEST_SIDE_PX = 320


def canvas_of(image: RgbImage) -> tuple[Image.Image, float]:
    """The picture at a size fit to look at, and by how much it was scaled."""
    height, width = image.shape[:2]
    scale = min(_LONGEST_SIDE_PX / max(height, width), max(1.0, _SHORTEST_SIDE_PX / min(height, width)))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return Image.fromarray(image).resize(size, Image.Resampling.LANCZOS), scale


def signed_picture(image: RgbImage, values: npt.NDArray[np.float32]) -> Image.Image:
    """The picture, greyed, with a map over it: warm above 0, cold below, dark at 0.

    Args:
        image: (H, W, 3) uint8.
        values: (h, w) over the whole picture. The largest size of a value is the brightest; a map of zeros is dark.
    """
    canvas, _ = canvas_of(image)
    grey = np.asarray(canvas.convert("L"), np.float32)[:, :, None] / 255
    largest = float(np.abs(values).max(initial=0))
    share = (values / (largest or 1.0)).astype(np.float32)
    fine = np.asarray(Image.fromarray(share).resize(canvas.size, Image.Resampling.BILINEAR), np.float32)
    heat = np.abs(fine)
    warm = heat_colours(heat)
    return glow(grey, heat, np.where(fine[:, :, None] > 0, warm, warm[:, :, ::-1]))


def tiled(
    rows: Sequence[Sequence[Image.Image]], titles: Sequence[str], captions: Sequence[str], cell_px: int = 200
) -> Image.Image:
    """Pictures of one shape in a table on white.

    Args:
        rows: as many pictures in each as there are titles.
        titles: above the columns; every line is cut to the width of its column.
        captions: below the first picture of each row.
        cell_px: the longer side of a picture in the table.
    """
    width, height = rows[0][0].size
    scale = cell_px / max(width, height)
    width, height = max(1, round(width * scale)), max(1, round(height * scale))
    font, line, gap = ImageFont.load_default(13), 17, 6
    head = gap + line * max(title.count("\n") + 1 for title in titles)
    foot = gap + line * max(caption.count("\n") + 1 for caption in captions)
    column = max(width, 110)
    size = gap + len(titles) * (column + gap), head + len(rows) * (height + foot) + gap
    table = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(table)

    def write(text: str, x: int, y: int) -> None:
        for number, words in enumerate(text.split("\n")):
            while pen.textlength(words, font) > column:
                words = words.removesuffix("…")[:-1] + "…"
            pen.text((x, y + number * line), words, fill="black", font=font)

    for at, title in enumerate(titles):
        write(title, gap + at * (column + gap), gap // 2)
    for number, (row, caption) in enumerate(zip(rows, captions, strict=True)):
        top = head + number * (height + foot)
        for at, picture in enumerate(row):
            place = gap + at * (column + gap), top
            table.paste(picture.resize((width, height), Image.Resampling.LANCZOS), place)
        write(caption, gap, top + height + gap // 3)
    return table


def glow(
    grey: npt.NDArray[np.floating[Any]], heat: npt.NDArray[np.float32], colours: npt.NDArray[np.float32]
) -> Image.Image:
    """(H, W, 1) grey, darkened where the (H, W) heat is low and in (H, W, 3) colours where it is high."""
    mixed = grey * 0.45 * (1 - heat[:, :, None]) + colours * (0.5 + 0.5 * grey) * heat[:, :, None]
    return Image.fromarray((mixed.clip(0, 1) * 255).astype(np.uint8))


def heat_colours(heat: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(h, w) in [0, 1] -> (h, w, 3): dark red through orange to pale yellow."""
    stops = np.array([[0.35, 0.0, 0.1], [0.9, 0.25, 0.05], [1.0, 0.7, 0.1], [1.0, 1.0, 0.75]], np.float32)
    at = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(heat, at, stops[:, c]) for c in range(3)], axis=2).astype(np.float32)
