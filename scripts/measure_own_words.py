"""How many pictures do one's own words need? Twenty kinds of birds, which the embedded classifier does not know.

    python scripts/measure_own_words.py --birds ../shared/data/cub_200_2011_50classes.tar \\
        --output docs/results/own-words.csv

A head is learnt with configs/own-words.yaml from train photographs of CUB-200-2011, each with one word, its family
(`albatross`), and measured on test photographs, by the share of words whose point lies in the bird's box:

- of four: four photographs of different families in one picture, and the word of each. A quarter's centre chosen at
  random reaches a quarter of what the centre reaches on single photographs; so does the tag `bird`.
- alone: single photographs, which the bird fills so that their centre is hard to beat, and recall@1 at IoU 0.5.

Every number of pictures is drawn anew for every seed, evenly from the families; the test pictures are always the same.
Prints a table; the CSV has a row for each training. With --flickr, --val and --annotations a second curve is measured:
the 20 most frequent words of Flickr captions, by the validation of the training, with the rows of the embedded head
kept and with none of them known.
"""

import argparse
import itertools
import json
import re
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from PIL import Image

from grounding.boxes import iou
from grounding.config import load
from grounding.datasets.webimages import CaptionedImages
from grounding.distributed import Process
from grounding.pipeline import Localizer
from grounding.tagging.sources import load_classifier
from grounding.training.config import TrainConfig
from grounding.training.run import train
from grounding.training.validation import PROTOCOLS

WORDS = (  # families whose name is one word that means little else
    *("albatross", "auklet", "blackbird", "bobolink", "bunting", "cardinal", "catbird", "cormorant", "cowbird", "crow"),
    *("cuckoo", "finch", "flycatcher", "frigatebird", "fulmar", "gadwall", "goldfinch", "grackle", "grebe", "towhee"),
)
SIDE = 224  # px of a photograph among four
ROOT = Path(__file__).parents[1]
EMBEDDED, UNKNOWN, RANDOM = "embedded", "embedded, no word known", "random weights"


class Bird(NamedTuple):
    """A photograph with its family and its box, `x0 y0 x1 y1` in px."""

    path: Path
    word: str
    box: tuple[float, float, float, float]
    train: bool


class Scene(NamedTuple):
    """A picture with the words that are looked for, and the box of each."""

    pixels: np.ndarray
    words: Sequence[str]
    boxes: Sequence[Sequence[float]]


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--birds", type=Path, help="the tar of CUB-200-2011")
    parser.add_argument("--flickr", type=Path, nargs="+", default=[], help="shards of train photographs")
    parser.add_argument("--val", type=Path, help="photographs of Flickr30k Entities val")
    parser.add_argument("--annotations", type=Path, help="of Flickr30k Entities")
    parser.add_argument("--counts", type=int, nargs="+", default=[50, 200, 1000])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scenes", type=int, default=150, help="pictures of four, and half as many single photographs")
    parser.add_argument("--starts", nargs="+", default=[EMBEDDED], help=f"also: {RANDOM!r}")
    parser.add_argument("--output", type=Path, required=True, help="the CSV; rows that it has are kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.birds:
            measure_birds(options, Path(folder))
        if options.flickr:
            measure_flickr(options, Path(folder))
    print(table(pd.read_csv(options.output)))
    return 0


def measure_birds(options: argparse.Namespace, folder: Path) -> None:
    """Learn and measure the birds; a row for each training, and one for the embedded classifier's own tag."""
    birds = read_birds(options.birds, folder)
    tests = [bird for bird in birds if not bird.train]
    fours = list(scenes_of_four(tests, options.scenes))
    singles = list(single_scenes(tests, options.scenes // 2))
    say(f"centre point: {100 * centre_hits(singles).mean():.1f} alone, {100 * centre_hits(fours).mean():.1f} of four")
    as_birds = [[scene._replace(words=["bird"] * len(scene.words)) for scene in scenes] for scenes in (fours, singles)]
    row = {"data": "birds", "start": "the tag bird, nothing learnt", "pictures": 0, "seed": 0}
    add(options.output, row | measured(Localizer.from_pretrained(), *as_birds))
    for seed, start, count in itertools.product(range(options.seeds), options.starts, options.counts):
        chosen = choose([bird for bird in birds if bird.train], count, seed)
        source = write_table(folder / f"birds-{count}-{seed}.jsonl", [(bird.path, [bird.word]) for bird in chosen])
        began = time.perf_counter()
        localizer = Localizer.from_pretrained(learn(folder, source, start, seed))
        row = {"data": "birds", "start": start, "pictures": count, "seed": seed, "minutes": minutes_since(began)}
        add(options.output, row | measured(localizer, fours, singles))


def measured(localizer: Localizer, fours: Sequence[Scene], singles: Sequence[Scene]) -> dict[str, float]:
    """What is measured on pictures of four and on single photographs, in percent, beside the trivial answers."""
    hits, _ = answers(localizer, fours)
    low, high = interval(hits)
    alone, overlaps = answers(localizer, singles)
    return {
        "pointing_of_four": 100 * hits.mean(),
        "low": low,
        "high": high,
        "pointing_alone": 100 * alone.mean(),
        "recall@1_alone": 100 * (overlaps >= 0.5).mean(),
        "centre_point_alone": 100 * centre_hits(singles).mean(),
        "whole_image_alone": 100 * np.mean([whole_image(scene) >= 0.5 for scene in singles]),
    }


def whole_image(scene: Scene) -> float:
    """The share of the picture that its only box takes, which is its IoU with the whole picture."""
    x0, y0, x1, y1 = scene.boxes[0]
    return (x1 - x0) * (y1 - y0) / (scene.pixels.shape[0] * scene.pixels.shape[1])


def minutes_since(began: float) -> float:
    """Minutes of wall clock, to two decimals."""
    return round((time.perf_counter() - began) / 60, 2)


def measure_flickr(options: argparse.Namespace, folder: Path) -> None:
    """Learn and measure the 20 most frequent words of captions; a row for each training."""
    images = CaptionedImages(options.flickr)
    unknown = folder / "unknown"
    known = load_classifier()
    replace(known, tags=[f"x{number}" for number in range(len(known.tags))]).save_pretrained(unknown)
    where = [
        "validation.every=1000000",
        f"validation.images={options.val}",
        f"validation.annotations={options.annotations}",
    ]
    for seed in range(options.seeds):
        for start, initial in ((UNKNOWN, str(unknown)), (EMBEDDED, "embedded")):
            for count in options.counts:
                rows = []
                for index in np.random.default_rng(seed).permutation(len(images))[:count]:
                    path = folder / f"{index}.png"
                    if not path.exists():
                        images.read(int(index)).save(path)
                    rows.append((path, list(images.captions[index])))
                source = write_table(folder / f"flickr-{count}-{seed}.jsonl", rows)
                began = time.perf_counter()
                classifier = learn(folder, source, start, seed, f"network.initial={initial}", *where)
                log = pd.read_csv(classifier.parent / "log.csv")
                row = {"data": "flickr", "start": start, "pictures": count, "seed": seed}
                row["minutes"] = minutes_since(began)
                add(options.output, row | {PROTOCOLS[0].name: log[PROTOCOLS[0].name].iloc[-1]})


def learn(folder: Path, source: Path, start: str, seed: int, *overrides: str) -> Path:
    """Train a classifier of 20 words; returns its folder."""
    name = f"{source.stem}-{start.replace(' ', '-').replace(',', '')}"
    given = [f"data.sources={source}", "tags=20", f"seed={seed}", f"output={folder / name}"]
    if start == RANDOM:
        given += [
            "network.initial=none",
            "head_only=false",
            "learning_rate=2e-3",
            "head_learning_rate=none",
            "map_layer=-4",
        ]
    config = load(TrainConfig, ROOT / "configs" / "own-words.yaml", [*given, *overrides])
    return train(config, Process(0, 1, torch.device("cpu")), say)


def read_birds(tar: Path, folder: Path) -> list[Bird]:
    """The photographs of `WORDS`, unpacked into a folder."""
    with tarfile.open(tar) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)  # from Python 3.11.4
        archive.extractall(folder)
    root = next(folder.glob("CUB*"))
    names, boxes, split = (
        dict(line.split(maxsplit=1) for line in (root / f"{name}.txt").read_text().splitlines())
        for name in ("images", "bounding_boxes", "train_test_split")
    )
    birds = []
    for number, name in names.items():
        word = re.sub(r"^\d+\.", "", name.split("/")[0]).split("_")[-1].lower()
        x, y, width, height = map(float, boxes[number].split())
        if word in WORDS:
            birds.append(
                Bird(root / "images" / name, word, (x, y, x + width, y + height), split[number].strip() == "1")
            )
    return birds


def choose(birds: Sequence[Bird], count: int, seed: int) -> list[Bird]:
    """As many of each family as there are, until there are enough."""
    order = np.random.default_rng(seed).permutation(len(birds))
    turns: dict[str, int] = {}
    ranked = []
    for index in order:
        turns[birds[index].word] = turns.get(birds[index].word, 0) + 1
        ranked.append((turns[birds[index].word], len(ranked), birds[index]))
    return [bird for _, _, bird in sorted(ranked)[:count]]


def write_table(path: Path, rows: Sequence[tuple[Path, list[str]]]) -> Path:
    """A JSON Lines table of pictures and captions."""
    path.write_text("".join(json.dumps({"image": str(image), "caption": texts}) + "\n" for image, texts in rows))
    return path


def scenes_of_four(birds: Sequence[Bird], count: int) -> Iterator[Scene]:
    """Squares of four photographs of different families."""
    chance = np.random.default_rng(5)
    of_word = {word: [bird for bird in birds if bird.word == word] for word in WORDS}
    for _ in range(count):
        words = [str(word) for word in chance.choice(WORDS, 4, replace=False)]
        pixels, boxes = np.zeros((2 * SIDE, 2 * SIDE, 3), np.uint8), []
        for quarter, word in enumerate(words):
            bird = of_word[word][chance.integers(len(of_word[word]))]
            image = Image.open(bird.path).convert("RGB")
            y, x = (SIDE * place for place in divmod(quarter, 2))
            pixels[y : y + SIDE, x : x + SIDE] = np.asarray(image.resize((SIDE, SIDE)))
            scale = np.array([SIDE / image.width, SIDE / image.height] * 2)
            boxes.append((np.array(bird.box) * scale + [x, y, x, y]).tolist())
        yield Scene(pixels, words, boxes)


def single_scenes(birds: Sequence[Bird], count: int) -> Iterator[Scene]:
    """Single photographs."""
    for index in np.random.default_rng(6).permutation(len(birds))[:count]:
        bird = birds[index]
        yield Scene(np.asarray(Image.open(bird.path).convert("RGB")), [bird.word], [bird.box])


def answers(localizer: Localizer, scenes: Sequence[Scene]) -> tuple[np.ndarray, np.ndarray]:
    """(S, W) each: whether the point of a word lies in its box, and the IoU of its best region."""
    hits, overlaps = [], []
    for scene in scenes:
        result = localizer.encode(scene.pixels).ground(phrases=list(scene.words), top_k=1)
        points = [found.point or (-1.0, -1.0) for found in result]
        hits.append([inside(point, box) for point, box in zip(points, scene.boxes, strict=True)])
        best = [(r.x0, r.y0, r.x1, r.y1) if (r := found.best) else (0, 0, 0, 0) for found in result]
        pairs = zip(best, scene.boxes, strict=True)
        overlaps.append([iou(np.array([ours], np.float32), np.array([box], np.float32))[0, 0] for ours, box in pairs])
    return np.array(hits), np.array(overlaps)


def centre_hits(scenes: Sequence[Scene]) -> np.ndarray:
    """(S, W): whether the centre of the picture lies in the box of a word."""
    centres = [(scene.pixels.shape[1] / 2, scene.pixels.shape[0] / 2) for scene in scenes]
    pairs = zip(scenes, centres, strict=True)
    return np.array([[inside(centre, box) for box in scene.boxes] for scene, centre in pairs])


def inside(point: tuple[float, float], box: Sequence[float]) -> bool:
    """Whether a point lies in a box."""
    return box[0] <= point[0] < box[2] and box[1] <= point[1] < box[3]


def interval(hits: np.ndarray) -> tuple[float, float]:
    """The 95% bootstrap interval of the mean over scenes, in percent."""
    means = hits.mean(1)[np.random.default_rng(0).integers(len(hits), size=(2000, len(hits)))].mean(1)
    low, high = np.percentile(100 * means, [2.5, 97.5])
    return float(low), float(high)


def add(path: Path, row: dict[str, Any]) -> None:
    """Add a row to the CSV in place of an earlier one of the same training, and say it."""
    rows = pd.read_csv(path) if path.is_file() else pd.DataFrame()
    rows = pd.concat([rows, pd.DataFrame([row])])
    rows = rows.drop_duplicates(["data", "start", "pictures", "seed"], keep="last")
    path.write_text(rows.round(2).to_csv(index=False))
    say(", ".join(f"{key} {value:.1f}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items()))


def table(rows: pd.DataFrame) -> str:
    """Markdown: the mean over seeds of each measure, and the lowest and highest."""
    measures = [name for name in rows if name not in ("data", "start", "pictures", "seed", "low", "high")]
    lines = ["| data | start | pictures | seeds | " + " | ".join(measures) + " |", "|---" * (4 + len(measures)) + "|"]
    for (data, start, pictures), group in rows.groupby(["data", "start", "pictures"], sort=False):
        cells = [spread(group[name].dropna()) for name in measures]
        lines.append(f"| {data} | {start} | {pictures:,} | {len(group)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def spread(values: pd.Series) -> str:
    """`46.0 (44.1 to 47.9)`, or nothing."""
    return f"{values.mean():.1f} ({values.min():.1f} to {values.max():.1f})" if len(values) else ""


def say(text: str) -> None:
    """Print a line at once, on standard error."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
