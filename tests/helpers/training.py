"""Invented pictures that a small network can learn: coloured shapes on grey, and captions that name them."""

import json
import random
from pathlib import Path

from PIL import Image, ImageDraw

COLOURS = {"red": (220, 40, 30), "green": (40, 180, 60), "blue": (40, 70, 220), "yellow": (235, 215, 40)}
SHAPES = ("circle", "square", "triangle")
SIDE = 64

PLAIN = """
output: {output}
tags: 7
shown_size_px: 64
image_size_px: 64
epochs: 3
batch_size: 8
learning_rate: 5e-3
data: {{sources: [{table}], kept_size_px: 64}}
network: {{channels: [8, 16, 16], strides: [2, 2, 2]}}
views: {{smallest_crop: 0.8, jitter: 0.0, grey: 0.0}}
"""


def draw_shapes(folder: Path, count: int) -> Path:
    """Write pictures of one or two shapes, 64 x 64 px, and a table of two captions each, which is returned."""
    folder.mkdir(parents=True)
    chance, rows = random.Random(0), []
    for number in range(count):
        picture = Image.new("RGB", (SIDE, SIDE), (chance.randint(90, 160),) * 3)
        drawn = []
        for place, half in enumerate(chance.sample((0, 1), chance.randint(1, 2))):
            colour, shape, side = chance.choice(list(COLOURS)), chance.choice(SHAPES), chance.randint(16, 26)
            if not place:  # so that twelve pictures show everything
                colour, shape = list(COLOURS)[number % 4], SHAPES[number % 3]
            x, y = half * SIDE // 2 + chance.randint(2, SIDE // 2 - 2 - side), chance.randint(2, SIDE - 2 - side)
            _draw(ImageDraw.Draw(picture), shape, COLOURS[colour], (x, y, x + side, y + side))
            drawn.append(f"a {colour} {shape}")
        picture.save(folder / f"{number:03d}.png")
        captions = [" and ".join(drawn), "There is " + " beside ".join(drawn) + "."]
        rows.append({"image": f"{number:03d}.png", "caption": captions})
    table = folder / "captions.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return table


def _draw(canvas: ImageDraw.ImageDraw, shape: str, colour: tuple[int, ...], box: tuple[int, int, int, int]) -> None:
    x0, y0, x1, y1 = box
    if shape == "circle":
        canvas.ellipse(box, colour)
    elif shape == "square":
        canvas.rectangle(box, colour)
    else:
        canvas.polygon([(x0, y1), (x1, y1), ((x0 + x1) // 2, y0)], colour)


def write_config(folder: Path, count: int = 24) -> Path:
    """Pictures in `folder/shapes` and a configuration `folder/c.yaml`, which trains a small plain network on them."""
    table = draw_shapes(folder / "shapes", count)
    path = folder / "c.yaml"
    path.write_text(PLAIN.format(output=folder / "run", table=table))
    return path
