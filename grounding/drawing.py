"""Pictures of results: a result in, a picture out, nothing else changed."""

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from grounding.grounded import GroundedPhrase
from grounding.images import RgbImage
from grounding.painting import canvas_of, glow, heat_colours

# blue, orange, green, pink, yellow, sky, violet, red: told apart by most eyes, on dark and on light pictures
_COLOURS = ("#2f7ff5", "#ff8c1a", "#1fb866", "#f25cb0", "#e6c700", "#35c3e8", "#9b6bf2", "#e8403a")


def phrase_colour(index: int) -> str:
    """The colour of the phrase at this position, as `#rrggbb`."""
    if index < len(_COLOURS):
        return _COLOURS[index]
    red, green, blue = colorsys.hsv_to_rgb(index * 0.61803 % 1, 0.75, 0.95)
    return f"#{int(red * 255):02x}{int(green * 255):02x}{int(blue * 255):02x}"


def overlay(image: RgbImage, phrases: Sequence[GroundedPhrase]) -> Image.Image:
    """Each localized phrase's best box with its text, one colour a phrase; small boxes lie over large ones."""
    canvas, scale = canvas_of(image)
    pen = ImageDraw.Draw(canvas)
    size = max(12, round(min(max(canvas.size) / 40, 28)))
    font = ImageFont.load_default(size)
    line = max(2, size // 6)
    taken: list[tuple[float, float, float, float]] = []
    boxes = {
        index: [edge * scale for edge in grounded.best.box]
        for index, grounded in enumerate(phrases)
        if grounded.best is not None and grounded.status == "localized"
    }
    order = sorted(boxes, key=lambda i: -(boxes[i][2] - boxes[i][0]) * (boxes[i][3] - boxes[i][1]))
    for index in order:
        box, point, colour = boxes[index], phrases[index].point, phrase_colour(index)
        pen.rectangle((box[0], box[1], max(box[0], box[2] - 1), max(box[1], box[3] - 1)), outline=colour, width=line)
        if point is not None:
            x, y, radius = point[0] * scale, point[1] * scale, size / 4
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour, outline="white", width=2)
    if canvas.height >= 4 * size:  # else labels would hide the picture
        for index in order:
            text, colour = phrases[index].phrase.text, phrase_colour(index)
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


def map_picture(image: RgbImage, grounded: GroundedPhrase, colour: str = "#ff8c1a") -> Image.Image:
    """The picture, grey and dark where the phrase map is low, with the best box and the point."""
    canvas, scale = canvas_of(image)
    grey = np.asarray(canvas.convert("L"), np.float32)[:, :, None] / 255
    grid = Image.fromarray(grounded.grid_map).resize(canvas.size, Image.Resampling.BICUBIC)
    heat = np.asarray(grid, np.float32).clip(0)
    heat = heat / heat.max() if heat.max() > 0 else heat
    picture = glow(grey, heat, heat_colours(heat))
    pen = ImageDraw.Draw(picture)
    if grounded.best is not None and grounded.status == "localized":
        box = [edge * scale for edge in grounded.best.box]
        pen.rectangle((box[0], box[1], max(box[0], box[2] - 1), max(box[1], box[3] - 1)), outline=colour, width=3)
    if grounded.point is not None:
        x, y = grounded.point[0] * scale, grounded.point[1] * scale
        pen.ellipse((x - 6, y - 6, x + 6, y + 6), fill=colour, outline="white", width=2)
    return picture
