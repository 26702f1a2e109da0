"""Pictures of results: a result in, a picture out, nothing else changed."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from grounding.colours import phrase_colour as phrase_colour
from grounding.grounded import GroundedPhrase
from grounding.images import RgbImage
from grounding.labels import Edges, Label, with_labels
from grounding.painting import canvas_of, glow, heat_colours
from grounding.wording import shortened

_DRAWN = ("localized", "absent")


def overlay(
    image: RgbImage,
    phrases: Sequence[GroundedPhrase],
    top_k: int = 1,
    size_px: int | None = None,
    texts: bool = True,
) -> Image.Image:
    """Draw the boxes of each phrase that is localized or absent, one colour a phrase, and its text.

    Small boxes lie over large ones, and equal ones inside each other. A phrase that is absent is pale and dashed, and
    its text says its presence. Texts that have no room on the picture stand below it.

    Args:
        image: (H, W, 3) uint8 RGB.
        phrases: what was found, in the order of the colours.
        top_k: how many boxes of a localized phrase; those after the first are thin and dashed.
        size_px: of the texts, with which lines and points grow; by default as the picture asks for.
        texts: whether each box says its phrase.
    """
    canvas, scale = canvas_of(image)
    pen = ImageDraw.Draw(canvas)
    size = size_px or max(12, round(min(max(canvas.size) / 40, 28)))
    line = max(2, size // 6)
    shown = {index: grounded for index, grounded in enumerate(phrases) if grounded.best and grounded.status in _DRAWN}
    boxes = {index: scaled(grounded.regions[0].box, scale) for index, grounded in shown.items()}
    order = sorted(shown, key=lambda i: (shown[i].status != "absent", -_area(boxes[i])))
    for index in order:
        if shown[index].status == "localized":
            for region in reversed(shown[index].regions[1:top_k]):
                dashed_rectangle(pen, scaled(region.box, scale), _colour(index, shown[index]), max(1, line // 2), size)
    for place, index in enumerate(order):
        equal = sum(boxes[other] == boxes[index] for other in order[:place])
        box, point, colour = _inset(boxes[index], equal * line), shown[index].point, _colour(index, shown[index])
        if shown[index].status == "absent":
            dashed_rectangle(pen, box, colour, line, size)
        else:
            pen.rectangle(_last_pixels(box), outline=colour, width=line)
        if point is not None:
            x, y, radius = point[0] * scale, point[1] * scale, size / 4
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour, outline="white", width=2)
    if not texts:
        return canvas
    labels = [Label(_said(grounded), _colour(index, grounded), boxes[index]) for index, grounded in shown.items()]
    return with_labels(canvas, labels, size)


def _said(grounded: GroundedPhrase) -> str:
    """What the label of a phrase says."""
    if grounded.status != "absent" or grounded.presence is None:
        return grounded.phrase.text
    return f"{shortened(grounded.phrase.text, 25)} (absent {grounded.presence:.2f})"


def _colour(index: int, grounded: GroundedPhrase) -> str:
    """The colour of a phrase, paler where it is absent."""
    colour = phrase_colour(index)
    if grounded.status != "absent":
        return colour
    red, green, blue = ((value + 2 * 190) // 3 for value in ImageColor.getrgb(colour)[:3])
    return f"#{red:02x}{green:02x}{blue:02x}"


def scaled(box: Edges, scale: float) -> Edges:
    """A box in px of the canvas."""
    x0, y0, x1, y1 = box
    return x0 * scale, y0 * scale, x1 * scale, y1 * scale


def _area(box: Edges) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _inset(box: Edges, px: float) -> Edges:
    """A box that lies inside an equal one, by so many pixels but by no more than a quarter of a side."""
    x, y = min(px, (box[2] - box[0]) / 4), min(px, (box[3] - box[1]) / 4)
    return box[0] + x, box[1] + y, box[2] - x, box[3] - y


def _last_pixels(box: Edges) -> Edges:
    """Pillow's edges are inclusive."""
    return box[0], box[1], max(box[0], box[2] - 1), max(box[1], box[3] - 1)


def dashed_rectangle(pen: ImageDraw.ImageDraw, box: Edges, colour: str, width: int, dash_px: float) -> None:
    """Draw the outline of a box in dashes of about this length, one at each end of a side."""
    x0, y0, x1, y1 = _last_pixels(box)
    for across, length, sides in ((True, x1 - x0, (y0, y1 - width + 1)), (False, y1 - y0, (x0, x1 - width + 1))):
        parts = 2 * max(1, round(length / dash_px / 2)) + 1  # dashes and the gaps between them
        for part in range(0, parts, 2):
            start, end = length * part / parts, length * (part + 1) / parts
            for at in sides:
                edges = (
                    (x0 + start, at, x0 + end, at + width - 1) if across else (at, y0 + start, at + width - 1, y0 + end)
                )
                pen.rectangle((edges[0], edges[1], max(edges[0], edges[2]), max(edges[1], edges[3])), fill=colour)


def map_picture(image: RgbImage, grounded: GroundedPhrase, colour: str = "#ff8c1a") -> Image.Image:
    """Paint the picture grey and dark where the phrase map is low, with the best box and the point."""
    canvas, scale = canvas_of(image)
    grey = np.asarray(canvas.convert("L"), np.float32)[:, :, None] / 255
    grid = Image.fromarray(grounded.grid_map).resize(canvas.size, Image.Resampling.BICUBIC)
    heat = np.asarray(grid, np.float32).clip(0)
    heat = heat / heat.max() if heat.max() > 0 else heat
    picture = glow(grey, heat, heat_colours(heat))
    pen = ImageDraw.Draw(picture)
    if grounded.best is not None and grounded.status == "localized":
        pen.rectangle(_last_pixels(scaled(grounded.best.box, scale)), outline=colour, width=3)
    elif grounded.best is not None and grounded.status == "absent":
        dashed_rectangle(pen, scaled(grounded.best.box, scale), colour, 3, 12)
    if grounded.point is not None:
        x, y = grounded.point[0] * scale, grounded.point[1] * scale
        pen.ellipse((x - 6, y - 6, x + 6, y + 6), fill=colour, outline="white", width=2)
    return picture
