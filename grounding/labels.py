"""Labels on a picture: short texts on their colour, that cover neither each other nor much of the picture."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image, ImageColor, ImageDraw, ImageFont

Edges = tuple[float, float, float, float]  # left, top, right, bottom in px of the canvas

_MOST = 40  # characters
_COVERED = 0.25  # of the picture that labels may hide; more of them go below it
_STRIP = 24  # the least width of what is below, in heights of the font


@dataclass(frozen=True, slots=True)
class Label:
    """A text in a colour, `#rrggbb`, that belongs to a box on the canvas."""

    text: str
    colour: str
    box: Edges


def with_labels(canvas: Image.Image, labels: Sequence[Label], size_px: int) -> Image.Image:
    """Write each label at its box, or else in a strip below the picture.

    Args:
        canvas: RGB; it is drawn on.
        size_px: of the font.

    Returns:
        The canvas, higher where there is a strip, and wider where it is too narrow for a text.
    """
    font, height = ImageFont.load_default(size_px), size_px * 1.4
    pen = ImageDraw.Draw(canvas)
    widest = max(canvas.width, _STRIP * size_px)
    texts = [_fitted(pen, label.text, font, widest - size_px) for label in labels]
    sizes = [(pen.textlength(text, font) + size_px * 0.6, height) for text in texts]
    places = placed([label.box for label in labels], sizes, canvas.size)
    below = [at for at, place in enumerate(places) if place is None]
    rows = _flowed([sizes[at] for at in below], widest)
    if below:
        strip = round(max(bottom for _, _, _, bottom in rows)) + 1
        wider = Image.new("RGB", (widest, canvas.height + strip), "#202020")
        wider.paste(canvas)
        for at, (left, top, right, bottom) in zip(below, rows, strict=True):
            places[at] = left, top + canvas.height, right, bottom + canvas.height
        canvas, pen = wider, ImageDraw.Draw(wider)
    for label, text, place in zip(labels, texts, places, strict=True):
        assert place is not None, "what has no place on the picture has one below it"
        pen.rectangle(place, fill=label.colour)
        red, green, blue = ImageColor.getrgb(label.colour)[:3]
        ink = "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 140 else "white"
        pen.text((place[0] + size_px * 0.3, place[1] + size_px * 0.1), text, fill=ink, font=font)
    return canvas


def placed(boxes: Sequence[Edges], sizes: Sequence[tuple[float, float]], canvas: tuple[int, int]) -> list[Edges | None]:
    """Where labels of these sizes stand: inside the canvas and apart; None for one that has no place.

    A label stands above its box, in its top corner or below it, or else further down or up. Where all of them together
    would hide too much of the picture, none has a place.
    """
    if sum(width * height for width, height in sizes) > _COVERED * canvas[0] * canvas[1]:
        return [None] * len(boxes)
    taken: list[Edges] = []
    places: list[Edges | None] = []
    for box, size in zip(boxes, sizes, strict=True):
        free = (edges for edges in _candidates(box, size, canvas) if not any(_meet(edges, other) for other in taken))
        place = next(free, None)
        places.append(place)
        if place is not None:
            taken.append(place)
    return places


def _candidates(box: Edges, size: tuple[float, float], canvas: tuple[int, int]) -> Iterator[Edges]:
    """The places for one label, the best first."""
    width, height = size
    left = min(max(0.0, box[0]), canvas[0] - 1 - width)
    first = max(0.0, min(box[1] - height, canvas[1] - 1 - height))
    down = [first + step * height for step in range(int(canvas[1] // height) + 1)]
    up = [first - step * height for step in range(1, int(first // height) + 1)]
    for top in (first, box[1], box[3], *down, *up):
        if left >= 0 and top >= 0 and top + height <= canvas[1] - 1:
            yield left, top, left + width, top + height


def _meet(one: Edges, other: Edges) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _flowed(sizes: Sequence[tuple[float, float]], width: int) -> list[Edges]:
    """Labels side by side in rows of this width, from the top left."""
    edges: list[Edges] = []
    left, top = 2.0, 2.0
    for across, down in sizes:
        if left > 2 and left + across > width - 2:
            left, top = 2.0, top + down + 2
        edges.append((left, top, left + across, top + down))
        left += across + 2
    return edges


def _fitted(pen: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, px: float) -> str:
    """The text on one line, without what cannot be seen, cut to so many characters and pixels."""
    line = "".join(character for character in " ".join(text.split()) if character.isprintable()) or "?"
    cut = line if len(line) <= _MOST else line[: _MOST - 1] + "…"
    while len(cut) > 1 and pen.textlength(cut, font) > px:
        cut = cut.removesuffix("…")[:-1] + "…"
    return cut
