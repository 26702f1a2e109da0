"""What DGDM, GALA and human maps do for a classifier of CUB: trains every arm with several seeds and measures each.

    python scripts/ablate_attention.py --root CUB_200_2011 --gaze cub_gaze.csv.gz --output runs/ablation

An arm is configs/cub.yaml with other settings (`ARMS`). To make many trainings possible on a small machine, the stages
of MobileNet before `blocks.3.4` are frozen, and their features are computed once, of a few random views of each
picture; the rest is trained by the same trainer. Viewers 1 to 3 of the gaze teach, agreement is measured with viewers 4
and 5. With --held-out nothing of the test split is used: every sixth train photograph is measured, the others train.

Every (arm, seed) is a folder; run the same command again to go on after an interruption. `--table` prints what is
there.
"""

import argparse
import dataclasses
import gzip
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from grounding.attention.layers import layers, named_layer
from grounding.attention.recorder import record
from grounding.benchmarks.data import Source
from grounding.benchmarks.measurer import Job, Measurer
from grounding.benchmarks.methods import MapMaker
from grounding.benchmarks.statistics import RESAMPLES, Score, mean, value_of
from grounding.benchmarks.tasks import Agreement, Localization
from grounding.boxes import Values
from grounding.config import load
from grounding.datasets.box_maps import write_boxes
from grounding.datasets.cub import read_cub
from grounding.datasets.label_tables import write_labels
from grounding.errors import GroundingError
from grounding.images import read_image
from grounding.tagging.classifier import Preprocessing, TagClassifier
from grounding.tagging.network import TagNetwork, TimmFeatures
from grounding.training.batches import Batch, Pictures, seed_for
from grounding.training.captions import read_captions
from grounding.training.config import TrainConfig
from grounding.training.human_maps import HumanTargets, read_targets
from grounding.training.networks import create_network
from grounding.training.trainer import Trainer

CUT = ("3", 4)  # the first block that is trained: blocks.3.4
SIZE_PX, INFERENCE_PX = 192, 256
METHODS = {"cam": "CAM", "contrastive-mwp": "EB"}
TEACHING, HELD_OUT = ("1,", "2,", "3,"), (4, 5)  # viewers, as rows of the file begin and by number
DGDM = ["dgdm.enabled=true"]
GALA = ["gala.enabled=true"]
GAZE, BOXES = "human_maps.source={gaze}", "human_maps.source={boxes}"
ARMS: dict[str, list[str]] = {
    "none": [],
    "DropBlock": [*DGDM, "dgdm.channels=false", "dgdm.spatial=dropblock"],
    "ADL": [*DGDM, "dgdm.channels=false", "dgdm.block_share=0", "dgdm.drop_rate=0.75"],
    "CAGD": [*DGDM, "dgdm.spatial=none"],
    "SAGD": [*DGDM, "dgdm.channels=false"],
    "DGDM": DGDM,
    "GALA": GALA,
    "GALA + gaze": [*GALA, GAZE],
    "GALA + boxes": [*GALA, BOXES],
    "EB map + gaze": [GAZE, "human_maps.teaches=excitation", "human_maps.per_batch=8"],
    "DGDM + GALA + gaze": [*DGDM, *GALA, GAZE],
}


class Tail(nn.Module):
    """The stages of a MobileNet from the cut on, under the names that they have in it; shared with it."""

    def __init__(self, trunk: Any) -> None:
        super().__init__()
        stage, first = CUT
        self.blocks = nn.ModuleDict()
        for number, blocks in trunk.blocks.named_children():
            if int(number) >= int(stage):
                kept = {name: b for name, b in blocks.named_children() if number > stage or int(name) >= first}
                self.blocks[number] = nn.ModuleDict(kept)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, h, w) of `lower` -> (N, D, h, w)."""
        for blocks in self.blocks.values():
            for block in cast(nn.ModuleDict, blocks).values():
                features = block(features)
        return features


def lower(trunk: Any, images: Tensor) -> Tensor:
    """What the stages before the cut make of normalised images."""
    stage, first = CUT
    features: Tensor = trunk.bn1(trunk.conv_stem(images))
    for number, blocks in trunk.blocks.named_children():
        for name, block in blocks.named_children():
            if (int(number), int(name)) < (int(stage), first):
                features = block(features)
    return features


class Views(Pictures):
    """Features at the cut of a few augmented views of each picture."""

    def __init__(self, pictures: Pictures, network: TagNetwork, config: TrainConfig, count: int) -> None:
        super().__init__(pictures.images, 0, lambda: None)
        trunk = cast(TimmFeatures, network.features).trunk.eval()
        mean_, std = (torch.tensor(values)[:, None, None] for values in (network.mean, network.std))
        self._rows: list[list[Batch]] = []
        for index in tqdm(range(len(pictures)), desc="views", mininterval=20):
            rows = [pictures.row(index, config, seed_for("view", config.seed, view, index)) for view in range(count)]
            pixels = (torch.stack([row.pixels for row in rows]) - mean_) / std
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                made = lower(trunk, pixels.contiguous(memory_format=torch.channels_last)).bfloat16()
            self._rows.append([row._replace(pixels=each) for row, each in zip(rows, made, strict=True)])
        network.train()

    def row(self, index: int, config: TrainConfig, seed: int) -> Batch:
        """One of the views."""
        row = self._rows[index][seed % len(self._rows[index])]
        return row._replace(pixels=row.pixels.float())


def map_layer_of(network: TagNetwork) -> int:
    """Where maps are read: at the cut, whether attention lies above it or not."""
    stage, first = CUT
    images = torch.zeros(1, 3, SIZE_PX, SIZE_PX)
    tape = record(lambda images: network.mean_scores(network.features(images)), images)
    cuts = layers(tape)
    return cuts.index(named_layer(tape, f"trunk.blocks.{stage}.{first - 1}")) - len(cuts)


def train_arm(config: TrainConfig, arm_pictures: Views | None, views: int, kept: Sequence[int]) -> tuple[Any, Views]:
    """Train one arm on the pictures of these places; returns the classifier, and the views for the next arm."""
    data = read_captions(config)
    torch.manual_seed(config.seed)
    network = create_network(config.network, len(data.tags), gala=config.gala)
    with torch.no_grad():
        network.head.bias.copy_(torch.logit(data.shares, eps=1e-4))
    config = dataclasses.replace(config, map_layer=map_layer_of(network.eval()))
    network.train()
    if arm_pictures is None:
        arm_pictures = Views(Pictures(data.images, config.data.cache_size_px, lambda: None), network, config, views)
    chosen = Chosen(arm_pictures, kept)
    human = None
    if config.human_maps.source:
        whole = read_targets(config.human_maps, data.images)
        human = HumanTargets(whole.maps, whole.rows[list(kept)])
    tail = TagNetwork(
        cast(Any, Tail(cast(TimmFeatures, network.features).trunk)),
        network.head.in_features,
        len(data.tags),
        network.pooling,
        cast(Any, (0.0,)),
        cast(Any, (1.0,)),
    )
    tail.head, tail.frozen = network.head, network.frozen
    trainer = Trainer(config, tail, chosen, data.targets[list(kept)], None, human=human)
    with tqdm(total=config.epochs * trainer.steps_per_epoch, mininterval=20) as bar:
        while trainer.epoch < config.epochs:
            result = trainer.run_epoch(lambda _: tick(bar))
            parts = ", ".join(f"{name} {value:.4f}" for name, value in result.parts.items())
            print(f"epoch {trainer.epoch}: {parts}", file=sys.stderr)
    learnt = trainer.learnt
    network.backbone.load_state_dict(learnt.backbone.state_dict(), strict=False)  # what lies before the cut is frozen
    network.head.load_state_dict(learnt.head.state_dict())
    preprocessing = Preprocessing(config.inference_size_px, network.mean, network.std)
    return TagClassifier(
        network.folded(), data.tags, preprocessing, "trained", map_layer=config.map_layer
    ), arm_pictures


def tick(bar: "tqdm[Any]") -> None:
    """One step more."""
    bar.update(1)


class Chosen(Pictures):
    """Some of the pictures of another, counted anew."""

    def __init__(self, pictures: Views, kept: Sequence[int]) -> None:
        super().__init__(pictures.images, 0, lambda: None)
        self._pictures, self._kept = pictures, list(kept)

    def __len__(self) -> int:
        return len(self._kept)

    def row(self, index: int, config: TrainConfig, seed: int) -> Batch:
        """The row of that picture."""
        row = self._pictures.row(self._kept[index], config, seed)
        return row._replace(planned=torch.tensor(index), seen=torch.tensor(index))


def measure(classifier: TagClassifier, source: Source, images: Sequence[str] | None) -> dict[str, Any]:
    """Top-1 accuracy, and of each method a row a picture of localization and of agreement."""
    makers = tuple(MapMaker(name) for name in METHODS)
    measurer = Measurer(Job("agreement", source, classifier.name, makers), classifier)
    localization, rows = Localization(), []
    chosen = list(measurer.images) if images is None else [name for name in measurer.images if name in set(images)]
    for place, name in enumerate(tqdm(chosen, desc="measuring", mininterval=20)):
        image = measurer.images[name]
        encoding = measurer.encode(read_image(io.BytesIO(measurer.data.read(name)), name))
        region = image.regions[0]
        tag = measurer.classifier.tags[int(encoding.probabilities.argmax())]
        right = tag in measurer.signals[region.name].weights
        maps = measurer.maps(encoding, image, [region.name])[region.name]
        people = measurer.task.other_rows(image, region)["people, split half"]
        for method, map_ in (*maps.items(), ("people", None)):
            row = {"method": method, "image": place, "class": 0, "right": int(right), "predicted": 0 if right else -1}
            if map_ is not None:
                row |= localization.measure(map_, image, region) | measurer.task.measure(map_, image, region)
            else:
                row |= people
            rows.append(row)
    return {"images": len(chosen), "rows": rows}


def scores(measured: dict[str, Any]) -> dict[str, Score]:
    """The numbers of one classifier, by name."""
    frame, images = pd.DataFrame(measured["rows"]), measured["images"]
    found: dict[str, Score] = {}
    for method, short in METHODS.items():
        own = frame[frame["method"] == method]
        place = own["image"].to_numpy()
        found["top-1"] = Score(mean(own["right"].to_numpy(float), place, images), images)
        boxes, people = Localization().scores(own, images, 1), Agreement().scores(own, images, 1)
        found |= {f"{short} {name}": boxes[name] for name in ("MaxBoxAcc", "MaxBoxAccV2")}
        found |= {f"{short} {name}": people[name] for name in ("Spearman", "AUC")}
    ceiling = Agreement().scores(frame[frame["method"] == "people"], images, 1)
    return found | {f"people {name}": ceiling[name] for name in ("Spearman", "AUC")}


def summary(measured: dict[str, Any]) -> dict[str, float]:
    """The values of one classifier: percent, and correlations as they are."""
    return {name: value_of(score, measured["images"]) for name, score in scores(measured).items()}


def _resampled(score: Score, weights: Values) -> Values:
    return score.statistic(weights) * (100 if score.percent else 1)


def prepare(options: argparse.Namespace) -> dict[str, str]:
    """Write the table of labels, the boxes as maps, and the gaze of the viewers who teach; returns their names."""
    folder: Path = options.output
    folder.mkdir(parents=True, exist_ok=True)
    names = {"table": "train.jsonl", "boxes": "boxes.jsonl", "gaze": "gaze-teaching.csv"}
    paths = {key: folder / name for key, name in names.items()}
    pictures = read_cub(options.root, "train")
    write_labels(pictures, paths["table"])
    write_boxes(pictures, paths["boxes"])
    lines = gzip.decompress(options.gaze.read_bytes()).decode().splitlines(keepends=True)
    paths["gaze"].write_text("".join(line for line in lines if line.startswith(TEACHING)))
    return {key: str(path) for key, path in paths.items()}


def config_of(arm: str, seed: int, options: argparse.Namespace, names: dict[str, str]) -> TrainConfig:
    """The configuration of an arm."""
    overrides = [each.format(**names) for each in [*options.arms_known[arm], *options.set]]
    own = [
        f"seed={seed}",
        f"data.sources=[{names['table']}]",
        f"network.weights={options.weights}",
        f"image_size_px={SIZE_PX}",
        f"inference_size_px={INFERENCE_PX}",
        f"epochs={options.epochs}",
    ]
    return load(TrainConfig, Path("configs/cub.yaml"), [*own, *overrides])


def arms(options: argparse.Namespace) -> Iterator[tuple[int, str]]:
    """(seed, arm): the views of a seed are computed once."""
    yield from ((seed, arm) for seed in options.seeds for arm in options.arms)


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--gaze", type=Path, required=True)
    parser.add_argument("--weights", default="../shared/weights/mobilenetv1_100_imagenet.safetensors")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), metavar="ARM")
    parser.add_argument("--arm", nargs="+", action="append", default=[], metavar=("NAME", "key=value"), help="one more")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--views", type=int, default=6, help="of each picture")
    parser.add_argument("--limit", type=int, default=200, help="test photographs")
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--set", nargs="+", default=[], metavar="key=value", help="for every arm")
    parser.add_argument("--table", action="store_true", help="only print what is there")
    options = parser.parse_args()
    options.arms_known = ARMS | {name: overrides for name, *overrides in options.arm}
    options.arms = [name for name, *_ in options.arm] or options.arms
    try:
        if not options.table:
            run(options)
        print(table(options.output), end="")
    except GroundingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def run(options: argparse.Namespace) -> None:
    """Train and measure what is not there yet."""
    names = prepare(options)
    split = "train" if options.held_out else "test"
    limit = None if options.held_out else options.limit
    source = Source("cub", options.root, split, gaze=options.gaze, viewers=HELD_OUT, limit=limit)
    train = read_cub(options.root, "train").images
    held = [place for place in range(len(train)) if options.held_out and place % 6 == 0]
    kept = [place for place in range(len(train)) if place not in set(held)]
    views: Views | None = None
    last_seed = None
    for seed, arm in arms(options):
        folder = options.output / f"{arm.replace(' ', '')}-{seed}"
        if (folder / "measured.json").is_file():
            continue
        config = config_of(arm, seed, options, names)
        print(f"{arm}, seed {seed}", file=sys.stderr)
        if (folder / "config.json").is_file():
            classifier = TagClassifier.from_pretrained(folder)
        else:
            if seed != last_seed:
                views, last_seed = None, seed
            classifier, views = train_arm(config, views, options.views, kept)
            classifier.save_pretrained(folder)
            classifier = TagClassifier.from_pretrained(folder)
        measured = measure(classifier, source, [train[place].id for place in held] if held else None)
        changed = {"arm": arm, "seed": seed, "config": dataclasses.asdict(config), **measured}
        (folder / "measured.json.partial").write_text(json.dumps(changed), encoding="utf-8")
        (folder / "measured.json.partial").replace(folder / "measured.json")
        print(json.dumps({"arm": arm, "seed": seed} | summary(measured)), file=sys.stderr)


def table(folder: Path) -> str:
    """Markdown: the mean over seeds of every number with its standard deviation, and the difference to the first arm.

    Intervals of differences are bootstrapped over pictures and seeds, paired by both.
    """
    found: dict[str, dict[int, dict[str, Score]]] = {}
    images = 0
    for path in folder.glob("*/measured.json"):
        measured = json.loads(path.read_text(encoding="utf-8"))
        images = measured["images"]
        found.setdefault(measured["arm"], {})[measured["seed"]] = scores(measured)
    order = [*ARMS, *sorted(found)]
    arms = sorted(found, key=order.index)
    draw = np.random.default_rng(0)
    resampled = draw.multinomial(images, np.full(images, 1 / images), RESAMPLES)
    names = [name for name in next(iter(found[arms[0]].values())) if not name.startswith("people")]
    lines = ["| arm | seeds | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
    differences = ["| arm less none | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    base = {
        seed: {name: _resampled(own[name], resampled.astype(float)) for name in names}
        for seed, own in found[arms[0]].items()
    }
    for arm in arms:
        cells, gains = [], []
        seeds = sorted(found[arm].keys() & found[arms[0]].keys())
        chosen = draw.integers(0, len(seeds), (RESAMPLES, len(seeds)))  # (R, S)
        for name in names:
            values = [value_of(found[arm][seed][name], images) for seed in seeds]
            none = [value_of(found[arms[0]][seed][name], images) for seed in seeds]
            digits = 1 if found[arm][seeds[0]][name].percent else 3
            cells.append(f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=len(seeds) > 1):.{digits}f}")
            own = np.stack(
                [_resampled(found[arm][seed][name], resampled.astype(float)) - base[seed][name] for seed in seeds]
            )
            means = own[chosen, np.arange(RESAMPLES)[:, None]].mean(1)
            low, high = np.percentile(means, [2.5, 97.5])
            gains.append(f"{np.mean(values) - np.mean(none):+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]")
        lines.append(f"| {arm} | {len(seeds)} | " + " | ".join(cells) + " |")
        if arm != arms[0]:
            differences.append(f"| {arm} | " + " | ".join(gains) + " |")
    first = next(iter(found[arms[0]].values()))
    people = ", ".join(f"{name} {value_of(first[name], images):.3f}" for name in first if name.startswith("people"))
    return "\n".join([*lines, "", *differences, "", f"{images} photographs; {people}", ""])


if __name__ == "__main__":
    sys.exit(main())
