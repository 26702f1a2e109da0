"""Pictures of results. Pure: a result in, a picture out."""

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor, ImageDraw, ImageFont

from grounding.images import RgbImage
from grounding.results import GroundedPhrase, Grounding

_LONGEST_SIDE_PX = 1600
_SHORTEST_SIDE_PX = 320
# blue, orange, green, pink, yellow, sky, violet, red: told apart by most eyes, on dark and on light pictures
_COLOURS = ("#2f7ff5", "#ff8c1a", "#1fb866", "#f25cb0", "#e6c700", "#35c3e8", "#9b6bf2", "#e8403a")


def phrase_colour(index: int) -> str:
    """The colour of the phrase at this position, as `#rrggbb`."""
    if index < len(_COLOURS):
        return _COLOURS[index]
    red, green, blue = colorsys.hsv_to_rgb(index * 0.61803 % 1, 0.75, 0.95)
    return f"#{int(red * 255):02x}{int(green * 255):02x}{int(blue * 255):02x}"


def _canvas(image: RgbImage) -> tuple[Image.Image, float]:
    """The picture at a size fit to look at, and by how much it was scaled."""
    height, width = image.shape[:2]
    scale = min(_LONGEST_SIDE_PX / max(height, width), max(1.0, _SHORTEST_SIDE_PX / min(height, width)))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return Image.fromarray(image).resize(size, Image.Resampling.LANCZOS), scale


def overlay(result: Grounding) -> Image.Image:
    """Each localized phrase's best box with its text, one colour a phrase; small boxes lie over large ones."""
    canvas, scale = _canvas(result.image)
    pen = ImageDraw.Draw(canvas)
    size = max(12, round(min(max(canvas.size) / 40, 28)))
    font = ImageFont.load_default(size)
    line = max(2, size // 6)
    taken: list[tuple[float, float, float, float]] = []
    boxes = {
        index: [edge * scale for edge in found.best.box]
        for index, found in enumerate(result)
        if found.best is not None and found.status == "localized"
    }
    order = sorted(boxes, key=lambda i: -(boxes[i][2] - boxes[i][0]) * (boxes[i][3] - boxes[i][1]))
    for index in order:
        box, point, colour = boxes[index], result[index].point, phrase_colour(index)
        pen.rectangle((box[0], box[1], max(box[0], box[2] - 1), max(box[1], box[3] - 1)), outline=colour, width=line)
        if point is not None:
            x, y, radius = point[0] * scale, point[1] * scale, size / 4
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour, outline="white", width=2)
    if canvas.height >= 4 * size:  # else labels would hide the picture
        for index in order:
            text, colour = result[index].phrase.text, phrase_colour(index)
            _label(pen, text, boxes[index], colour, font, size, canvas.size, taken)
    return canvas


def _label(
    pen: ImageDraw.ImageDraw,
    text: str,
    box: list[float],
    colour: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    size: int,
    canvas: tuple[int, int],
    taken: list[tuple[float, float, float, float]],
) -> None:
    """Write a label at the box's top left corner, moved down until it covers no earlier label."""
    text = text if len(text) <= 40 else text[:39] + "…"
    width, height = pen.textlength(text, font) + size * 0.6, size * 1.4
    left = min(max(0.0, box[0]), max(0.0, canvas[0] - width))
    top = max(0.0, box[1] - height)
    while any(left < t[2] and t[0] < left + width and top < t[3] and t[1] < top + height for t in taken):
        top += height
        if top + height > canvas[1]:
            top = 0.0
            break
    taken.append((left, top, left + width, top + height))
    pen.rectangle((left, top, left + width, top + height), fill=colour)
    red, green, blue = ImageColor.getrgb(colour)[:3]
    ink = "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 140 else "white"
    pen.text((left + size * 0.3, top + size * 0.1), text, fill=ink, font=font)


def map_picture(image: RgbImage, found: GroundedPhrase, colour: str = "#ff8c1a") -> Image.Image:
    """The picture, greyed and darkened where the phrase map is low, with the best box and the point."""
    canvas, scale = _canvas(image)
    grey = np.asarray(canvas.convert("L"), np.float32)[:, :, None] / 255
    grid = Image.fromarray(found.grid_map).resize(canvas.size, Image.Resampling.BICUBIC)
    heat = np.asarray(grid, np.float32).clip(0)
    heat = heat / heat.max() if heat.max() > 0 else heat
    picture = _glow(grey, heat, _heat_colours(heat))
    pen = ImageDraw.Draw(picture)
    if found.best is not None and found.status == "localized":
        box = [edge * scale for edge in found.best.box]
        pen.rectangle((box[0], box[1], max(box[0], box[2] - 1), max(box[1], box[3] - 1)), outline=colour, width=3)
    if found.point is not None:
        x, y = found.point[0] * scale, found.point[1] * scale
        pen.ellipse((x - 6, y - 6, x + 6, y + 6), fill=colour, outline="white", width=2)
    return picture


def signed_picture(image: RgbImage, values: npt.NDArray[np.float32]) -> Image.Image:
    """The picture, greyed, with a map over it: warm above 0, cold below, dark at 0.

    Args:
        image: (H, W, 3) uint8.
        values: (h, w) over the whole picture. The largest size of a value is the brightest; a map of zeros is dark.
    """
    canvas, _ = _canvas(image)
    grey = np.asarray(canvas.convert("L"), np.float32)[:, :, None] / 255
    largest = float(np.abs(values).max(initial=0))
    share = (values / (largest or 1.0)).astype(np.float32)
    fine = np.asarray(Image.fromarray(share).resize(canvas.size, Image.Resampling.BILINEAR), np.float32)
    heat = np.abs(fine)
    warm = _heat_colours(heat)
    return _glow(grey, heat, np.where(fine[:, :, None] > 0, warm, warm[:, :, ::-1]))


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


def _glow(
    grey: npt.NDArray[np.floating[Any]], heat: npt.NDArray[np.float32], colours: npt.NDArray[np.float32]
) -> Image.Image:
    """(H, W, 1) grey, darkened where the (H, W) heat is low and in (H, W, 3) colours where it is high."""
    mixed = grey * 0.45 * (1 - heat[:, :, None]) + colours * (0.5 + 0.5 * grey) * heat[:, :, None]
    return Image.fromarray((mixed.clip(0, 1) * 255).astype(np.uint8))


def _heat_colours(heat: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(h, w) in [0, 1] -> (h, w, 3): dark red through orange to pale yellow."""
    stops = np.array([[0.35, 0.0, 0.1], [0.9, 0.25, 0.05], [1.0, 0.7, 0.1], [1.0, 1.0, 0.75]], np.float32)
    at = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(heat, at, stops[:, c]) for c in range(3)], axis=2).astype(np.float32)
