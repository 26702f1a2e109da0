"""Photographs side by side, each with its boxes, the map of one phrase, and its caption in the colours of the boxes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from grounding.boxes import iou
from grounding.drawing import dashed_rectangle, map_picture, overlay, phrase_colour, scaled
from grounding.errors import GroundingError
from grounding.grounded import GroundedPhrase
from grounding.labels import Edges
from grounding.results import Grounding

WIDTH_PX: Final = 1700  # twice what a README is wide
GAP_PX: Final = 20
MAP_GAP_PX: Final = 8
TEXT_PX: Final = 27
LINE_PX: Final = 40
_SPACE_PX, _PAD_PX = 8, 6
_MISSED, _INK = "#c62828", "#24292f"
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Run:
    """What stands together on a line: a phrase, by its position, or a word of none."""

    text: str
    phrase: int | None


@dataclass(frozen=True)
class Tile:
    """A photograph with its boxes, and what stands below it."""

    result: Grounding
    caption: str
    missed: dict[int, Edges]  # by the position of the phrase, the true box in px of the photograph
    mapped: int | None = None  # the phrase whose map is shown below

    @property
    def shape(self) -> float:
        """Width by height."""
        height, width = self.result.image.shape[:2]
        return float(width / height)


def tile_of(result: Grounding, caption: str, truth: Mapping[str, Edges]) -> Tile:
    """Say which phrases are missed: those with a truth that their best box does not hit.

    Raises:
        GroundingError: a truth that is no phrase of the result.
    """
    phrases = [entry.phrase.text for entry in result]
    if unknown := set(truth) - set(phrases):
        raise GroundingError(f"{sorted(unknown)} are no phrases of {caption!r}: expected some of {phrases}")
    missed = {k: truth[text] for k, text in enumerate(phrases) if text in truth and not hits(result[k], truth[text])}
    return Tile(result, caption, missed)


def hits(entry: GroundedPhrase, true: Edges) -> bool:
    """Whether the best box has an IoU of at least 0.5 with the true one; what is called absent is a miss."""
    if entry.best is None or entry.status == "absent":
        return False
    return bool(iou(np.array([entry.best.box]), np.array([true]))[0, 0] >= 0.5)


def with_map(tile: Tile) -> Tile:
    """Show the map of the last phrase of which the classifier knows a word."""
    known = [k for k, entry in enumerate(tile.result) if entry.status not in ("out-of-vocabulary", "empty-map")]
    return replace(tile, mapped=known[-1]) if known else tile


def strip(tiles: Sequence[Tile]) -> Image.Image:
    """All photographs in one row at one height, `WIDTH_PX` wide together, and white below a short caption."""
    height = round((WIDTH_PX - GAP_PX * (len(tiles) - 1)) / sum(tile.shape for tile in tiles))
    widths = [round(tile.shape * height) for tile in tiles[:-1]]
    widths.append(WIDTH_PX - sum(widths) - GAP_PX * len(widths))  # to the edge
    columns = [_column(tile, width, height) for tile, width in zip(tiles, widths, strict=True)]
    picture = Image.new("RGB", (WIDTH_PX, max(column.height for column in columns)), "white")
    left = 0
    for column in columns:
        picture.paste(column, (left, 0))
        left += column.width + GAP_PX
    return picture


def _column(tile: Tile, width: int, height: int) -> Image.Image:
    """A photograph over a map, its caption and the phrases that are missed."""
    font = ImageFont.load_default(TEXT_PX)
    lines = wrapped(runs_of(tile.caption, tile.result.phrases), width, font)
    names = ", ".join(_mid_sentence(tile.result[k].phrase.text) for k in tile.missed)
    missed = wrapped([Run(word, None) for word in f"missed: {names}".split()], width, font) if names else []
    pictures = [_with_boxes(tile, height)]
    if tile.mapped is not None:
        pictures.append(map_picture(tile.result.image, tile.result[tile.mapped], phrase_colour(tile.mapped)))
    below = len(pictures) * (height + MAP_GAP_PX) - MAP_GAP_PX
    column = Image.new("RGB", (width, below + 14 + LINE_PX * (len(lines) + len(missed))), "white")
    for k, picture in enumerate(pictures):
        column.paste(picture.resize((width, height), Image.Resampling.LANCZOS), (0, k * (height + MAP_GAP_PX)))
    pen, top = ImageDraw.Draw(column), below + 12
    for line in lines:
        left = 0.0
        for run in line:
            if run.phrase is None:
                pen.text((left, top + 2), run.text, _INK, font)
            else:
                edges = (left, top + 1, left + _width(run, font) - _SPACE_PX, top + LINE_PX - 5)
                pen.rounded_rectangle(edges, radius=6, fill=phrase_colour(run.phrase))
                pen.text((left + _PAD_PX, top + 2), run.text, "white", font)
            left += _width(run, font)
        top += LINE_PX
    for line in missed:
        pen.text((0, top + 2), " ".join(run.text for run in line), _MISSED, font)
        top += LINE_PX
    return column


def _with_boxes(tile: Tile, height: int) -> Image.Image:
    """The overlay, with lines of one width on all photographs of this height, and the true boxes of what is missed."""
    photograph = tile.result.image
    canvas_height = overlay(photograph, [], texts=False).height
    size = max(1, round(30 * canvas_height / height))
    picture = overlay(photograph, tile.result.phrases, size_px=size, texts=False)
    pen, scale = ImageDraw.Draw(picture), picture.height / photograph.shape[0]
    for k, true in tile.missed.items():
        dashed_rectangle(pen, scaled(true, scale), phrase_colour(k), max(2, size // 6), size * 0.5)
    return picture


def runs_of(caption: str, phrases: Sequence[GroundedPhrase]) -> list[Run]:
    """The phrases of a caption, and the single words between them."""
    runs, at = [], 0
    spans = [(entry.phrase.start, entry.phrase.end, k) for k, entry in enumerate(phrases)]
    for start, end, k in sorted((start, end, k) for start, end, k in spans if start is not None and end is not None):
        runs += [Run(word, None) for word in caption[at:start].split()] + [Run(caption[start:end], k)]
        at = end
    return runs + [Run(word, None) for word in caption[at:].split()]


def wrapped(runs: Sequence[Run], width: int, font: Font) -> list[list[Run]]:
    """Lines of at most this width, filled in order; a run that is wider stands alone."""
    lines: list[list[Run]] = []
    for run in runs:
        if lines and sum(_width(part, font) for part in (*lines[-1], run)) - _SPACE_PX <= width:
            lines[-1].append(run)
        else:
            lines.append([run])
    return lines


def _width(run: Run, font: Font) -> float:
    """With the space after it."""
    return font.getlength(run.text) + (0 if run.phrase is None else 2 * _PAD_PX) + _SPACE_PX


def _mid_sentence(phrase: str) -> str:
    return phrase[:1].lower() + phrase[1:]
