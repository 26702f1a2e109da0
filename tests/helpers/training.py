"""Invented pictures that a small network can learn, coloured shapes with captions that name them, and its trainer."""

import csv
import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from grounding.config import load
from grounding.errors import GroundingError
from grounding.training.batches import Pictures
from grounding.training.captions import read_captions
from grounding.training.config import TrainConfig
from grounding.training.networks import create_network
from grounding.training.trainer import Trainer

COLOURS = {"red": (220, 40, 30), "green": (40, 180, 60), "blue": (40, 70, 220), "yellow": (235, 215, 40)}
SHAPES = ("circle", "square", "triangle")
SIDE = 64

PLAIN = """
output: {output}
tags: 7
inference_size_px: 64
image_size_px: 64
epochs: 3
batch_size: 8
learning_rate: 5e-3
data: {{sources: [{table}], cache_size_px: 64}}
network: {{channels: [8, 16, 16], strides: [2, 2, 2]}}
augmentation: {{min_crop_scale: 0.8, color_jitter: 0.0, grayscale: 0.0}}
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


def write_voc(folder: Path, table: Path, objects: Sequence[Sequence[tuple[str, int]]], split: str = "trainval") -> None:
    """Write VOC's layout: the pictures of a table of `draw_shapes`, with objects as (class, 1 if difficult else 0)."""
    for name in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (folder / name).mkdir(parents=True)
    names = [Path(json.loads(line)["image"]).stem for line in table.read_text().splitlines()]
    for name, inside in zip(names, objects, strict=True):
        Image.open(table.parent / f"{name}.png").save(folder / "JPEGImages" / f"{name}.jpg", quality=95)
        things = "".join(
            f"<object><name>{each}</name><difficult>{difficult}</difficult>"
            "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>64</xmax><ymax>64</ymax></bndbox></object>"
            for each, difficult in inside
        )
        size = f"<size><width>{SIDE}</width><height>{SIDE}</height><depth>3</depth></size>"
        (folder / "Annotations" / f"{name}.xml").write_text(f"<annotation>{size}{things}</annotation>")
    (folder / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))


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


def small_trainer(folder, *overrides, count=16, human=None):
    """A trainer of a plain network on shapes in `folder`, in float32; with `loss.teacher`, random teacher scores."""
    if not (folder / "shapes").exists():
        write_config(folder, count)
    teacher = "teacher.classifiers=[embedded]" if any("loss.teacher" in each for each in overrides) else "seed=0"
    config = load(TrainConfig, folder / "c.yaml", ["bf16=false", teacher, *overrides])
    data = read_captions(config)
    torch.manual_seed(config.seed)
    pictures = Pictures(data.images, 64, lambda: None)
    scores = np.random.default_rng(0).integers(0, 256, (count, 7, 4, 4), np.uint8) if config.loss.teacher else None
    network = create_network(config.network, 7, gala=config.gala)
    return Trainer(config, network, pictures, data.targets, scores, human=human)


class GreyPictures:
    """Pictures of one grey each and of different widths; those in `broken` cannot be read."""

    def __init__(self, count, broken=()):
        self.count, self.broken, self.ids = count, set(broken), [f"p{n}" for n in range(count)]

    def __len__(self):
        return self.count

    def read(self, index):
        if index in self.broken:
            raise GroundingError(f"p{index} is broken")
        return Image.new("RGB", (40 + index, 30), (10 * index,) * 3)


def no_progress(loss=None):
    """Nothing is shown."""


def equal_states(first, second):
    """Whether two networks have the same state, bit for bit."""
    return all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))


def log_rows(folder):
    """The rows of a training's `log.csv`."""
    with (folder / "log.csv").open() as file:
        return list(csv.DictReader(file))
