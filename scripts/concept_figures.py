"""The pictures of docs/concepts, all real results: python scripts/concept_figures.py.

Photographs are those of scikit-image whose licence is CC0 or public domain, and the sample scene. With `--weights`, a
state dict of timm's mobilenetv1_100, the pictures of a network with 1,000 exclusive classes are drawn, too; with
`--run`, the folder of an evaluation on Flickr30k Entities, how far presence and scores can be believed.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import concept_network as network
import numpy as np
from concept_plots import groups_of, reliability
from PIL import Image, ImageDraw, ImageFont
from readme_picture import PHOTOGRAPHS
from skimage import data
from torch import Tensor
from torch.nn import functional

from grounding import attention, sample_scene
from grounding.boxes import iou
from grounding.drawing import dashed_rectangle, map_picture, overlay, scaled
from grounding.grounded import GroundedPhrase, Region
from grounding.images import RgbImage, check_image
from grounding.labels import Edges
from grounding.painting import signed_picture, tiled
from grounding.pipeline import Localizer, Scene
from grounding.regions.power import area_powers
from grounding.regions.scoring import score_boxes

IMAGES = Path(__file__).parents[1] / "docs" / "images" / "concepts"
DOG = (1, 0)
LAYERS = {  # of the embedded classifier, from the scores to the picture
    "features": "conv9 (the classifier's input)",
    "features.conv6": "conv6",
    "features.conv4": "conv4",
    "features.conv2": "conv2",
    "inputs[0]": "the photograph",
}
CELLS = 48  # finer maps are drawn as so many cells a side
POWERS = (0.0, 0.3, 1.0)
MOBILENET_PX = 384
TRUTHS = {photograph.name: photograph.truth for photograph in PHOTOGRAPHS}
EXTENTS = (("camera", "a black coat"), ("camera", "a camera"), ("astronaut", "an American flag"))
PRESENT = ("a man", "a camera", "a dog")
FAILURES = (  # picture, phrase, what is really there
    ("cat", "a dog", "a cat"),
    ("camera", "a red coat", "a black coat; the photograph has no colour"),
    ("sample scene", "a blue hat", "a red hat"),
    ("camera", "two men", "one man"),
)


@dataclass(frozen=True)
class Told:
    """Three maps of one word, (h, w) each; `contrastive` is `mwp` less `dual`."""

    mwp: Tensor
    dual: Tensor
    contrastive: Tensor


def picture_of(name: str) -> RgbImage:
    """A photograph of `skimage.data`, or the sample scene, in colour."""
    return sample_scene() if name == "sample scene" else check_image(getattr(data, name)())


def walked(scene: Scene, tag: str) -> dict[str, tuple[Tensor, float]]:
    """MWP of a tag at `LAYERS`: maps (h, w), and the share of the signal that gets there."""
    signal = [scene.localizer.classifier.indices[tag]]
    read = attention.readings(scene.encoding.tape, signal, list(LAYERS), contrast=False, watch="none")
    maps = {layer: reading.maps[0, 0] for layer, reading in zip(LAYERS, read, strict=True)}
    return {layer: (map_, float(map_.double().sum())) for layer, map_ in maps.items()}


def told(scene: Scene, tags: Sequence[str], **layer: object) -> dict[str, Told]:
    """MWP, dual MWP and contrastive MWP of tags; the layer as `attention.mwp` takes it."""
    signals = [scene.localizer.classifier.indices[tag] for tag in tags]
    tape = scene.encoding.tape
    place = layer or {"stride": 16}
    plain, signed = (walk(tape, signals, **place)[0] for walk in (attention.mwp, attention.contrastive_mwp))
    return {tag: Told(*maps) for tag, *maps in zip(tags, plain, plain - signed, signed, strict=True)}


def likeness(one: Tensor, other: Tensor) -> float:
    """The correlation of two maps, their values below 0 taken for 0."""
    return float(np.corrcoef(one.clamp(min=0).flatten(), other.clamp(min=0).flatten())[0, 1])


def overlap(entry: GroundedPhrase, true: Edges) -> float:
    """The IoU of the best box with the true one."""
    assert entry.best is not None
    return float(iou(np.array([entry.best.box]), np.array([true]))[0, 0])


def share_inside(entry: GroundedPhrase, box: Edges) -> float:
    """The share of the phrase map in a box."""
    x0, y0, x1, y1 = (round(edge) for edge in box)
    return float(entry.phrase_map[y0:y1, x0:x1].sum(dtype=np.float64))


def best_windows(scene: Scene, entry: GroundedPhrase, powers: Sequence[float]) -> list[Edges]:
    """The window of the best score at each power of the area."""
    height, width = scene.image.shape[:2]
    map_ = np.array(entry.grid_map)[None]
    scores = score_boxes(map_, scene.proposals, height, width, np.array(powers)[:, None])[:, 0]
    return [tuple(map(float, scene.proposals[row.argmax()])) for row in scores]  # type: ignore[misc]


def own_power(scene: Scene, entry: GroundedPhrase) -> float:
    """The power that the default configuration uses for this map, for a phrase that names no people."""
    powers = area_powers(np.array(entry.grid_map)[None], [False], None, scene.localizer.config.regions)
    return float(powers[0, 0])


def draw_walk(scenes: Mapping[str, Scene]) -> Image.Image:
    """How MWP of one word narrows from the classifier to the pixels, on two photographs."""
    rows, captions = [], []
    for name, tag in (("astronaut", "face"), ("sample scene", "hat")):
        found = walked(scenes[name], tag)
        rows.append([signed_picture(scenes[name].image, _coarse(map_)) for map_, _ in found.values()])
        captions.append(f'"{tag}"')
    sides = [f"{map_.shape[0]} x {map_.shape[1]}" for map_, _ in found.values()]
    titles = [f"{name.partition(' ')[0]}\n{side}" for name, side in zip(LAYERS.values(), sides, strict=True)]
    titles[-1] = f"photograph\n{sides[-1]}"
    return tiled(rows, titles, captions, 230)


def _coarse(map_: Tensor) -> np.ndarray:
    step = max(1, map_.shape[0] // CELLS)
    coarse: np.ndarray = functional.avg_pool2d(map_[None], step)[0].numpy()
    return coarse


def draw_told(scene: Scene, tags: Sequence[str], cell_px: int, **layer: object) -> Image.Image:
    """A row a word: the evidence for it, against it, and the difference."""
    found, rows = told(scene, tags, **layer), []
    for maps in found.values():
        rows.append([signed_picture(scene.image, each.numpy()) for each in (maps.mwp, -maps.dual, maps.contrastive)])
    titles = ["MWP: for", "dual MWP: against", "contrastive MWP: for less against"]
    return tiled(rows, titles, [f'"{tag}"' for tag in tags], cell_px)


def draw_extents(localizer: Localizer) -> Image.Image:
    """Map, best box and true extent of three phrases."""
    panels = []
    for name, phrase in EXTENTS:
        entry, true = in_caption(localizer, name, phrase), TRUTHS[name][phrase]
        picture = _with_truth(picture_of(name), entry, true)
        panels.append((picture, [f'"{phrase}"', f"IoU {overlap(entry, true):.2f}"]))
    return side_by_side(panels, 330)


def in_caption(localizer: Localizer, name: str, phrase: str) -> GroundedPhrase:
    """A phrase of the README's caption of a photograph, found with that caption."""
    caption = next(photograph.caption for photograph in PHOTOGRAPHS if photograph.name == name)
    return localizer(picture_of(name), caption)[phrase]


def _with_truth(image: RgbImage, entry: GroundedPhrase, true: Edges) -> Image.Image:
    picture = map_picture(image, entry)
    dashed_rectangle(ImageDraw.Draw(picture), scaled(true, picture.height / image.shape[0]), "white", 4, 14)
    return picture


def draw_powers(scene: Scene, entry: GroundedPhrase) -> Image.Image:
    """One map, and the best window at each of `POWERS`."""
    panels = []
    for power, box in zip(POWERS, best_windows(scene, entry, POWERS), strict=True):
        regions = (Region(*box, 1.0),)
        picture = map_picture(scene.image, replace(entry, regions=regions, point=None))
        area = (box[2] - box[0]) * (box[3] - box[1]) / scene.image[:, :, 0].size
        panels.append((picture, [f"power {power:g}", f"{100 * area:.3g}% of the picture"]))
    return side_by_side(panels, 330)


def draw_presence(localizer: Localizer) -> Image.Image:
    """A photograph, asked for two things that it shows and for one that it does not."""
    result = localizer(picture_of("camera"), phrases=PRESENT)
    return overlay(result.image, result.phrases).resize((480, 480), Image.Resampling.LANCZOS)


def draw_failures(localizer: Localizer) -> Image.Image:
    """What it says of things that are not there."""
    panels = []
    for name, phrase, really in FAILURES:
        (entry,) = localizer(picture_of(name), phrases=[phrase])
        first, *rest = really.split("; ")
        lines = [f'asked: "{phrase}"', f"{entry.status}, presence {entry.presence:.2f}", f"there is {first}"]
        panels.append((overlay(picture_of(name), [entry], texts=False), lines + rest))
    return side_by_side(panels, 215)


def side_by_side(panels: Sequence[tuple[Image.Image, Sequence[str]]], height_px: int) -> Image.Image:
    """Pictures at one height, with lines of text below each, on white; a line is cut to the picture's width."""
    font, line, gap = ImageFont.load_default(15), 21, 12
    sized = [p.resize((round(p.width * height_px / p.height), height_px), Image.Resampling.LANCZOS) for p, _ in panels]
    depth = height_px + line * max(len(lines) for _, lines in panels) + 8
    row = Image.new("RGB", (sum(p.width for p in sized) + gap * (len(sized) - 1), depth), "white")
    pen, left = ImageDraw.Draw(row), 0
    for picture, (_, lines) in zip(sized, panels, strict=True):
        row.paste(picture, (left, 0))
        for number, words in enumerate(lines):
            pen.text((left + 2, height_px + 4 + number * line), words, fill="black", font=font)
        left += picture.width + gap
    return row


def diagrams() -> dict[str, str]:
    """The tiny network: name of the file -> SVG."""
    dog, cat = network.walk(DOG), network.walk(DOG[::-1])
    up_and_down = [network.forward_panel(), network.walk_panel('Down: P of "dog"', dog)]
    both = [network.walk_panel('MWP of "dog"', dog), network.walk_panel('MWP of "cat"', cat)]
    parts = [
        network.walk_panel('MWP of "dog"', dog),
        network.walk_panel('dual MWP of "dog"', network.walk(DOG, dual=True)),
        network.walk_panel('contrastive MWP of "dog"', network.contrastive(DOG)),
    ]
    return {
        "network.svg": network.svg(up_and_down, "A network of three inputs, three hidden units and two words"),
        "common-winner.svg": network.svg(both, "MWP of two words: the second input wins for both"),
        "contrast-network.svg": network.svg(parts, "MWP, dual MWP and contrastive MWP of one word"),
    }


def draw_reliability() -> str:
    """What presence and scores promise, and what came true, on the photographs of the last `--run`."""
    measured = json.loads((IMAGES / "reliability.json").read_text())
    panels = {"Presence": groups_of(measured["presence"]), "Score of the first box": groups_of(measured["scores"])}
    return reliability(panels, ("mean presence", "mean score"), ("there, %", "right at IoU 0.5, %"))


def photographs(localizer: Localizer) -> dict[str, Callable[[], Image.Image]]:
    """The pictures by the embedded classifier: name of the file -> what draws it."""
    scenes = {name: localizer.encode(picture_of(name)) for name in ("astronaut", "sample scene")}
    (hat,) = scenes["sample scene"].ground(phrases=["a red hat"])
    return {
        "walk.jpg": lambda: draw_walk(scenes),
        "contrast-words.jpg": lambda: draw_told(scenes["astronaut"], ("face", "american"), 260),
        "extent.jpg": lambda: draw_extents(localizer),
        "powers.jpg": lambda: draw_powers(scenes["sample scene"], hat),
        "absent.jpg": lambda: draw_presence(localizer),
        "failures.jpg": lambda: draw_failures(localizer),
    }


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="of timm's mobilenetv1_100")
    parser.add_argument("--run", type=Path, help="a folder of python -m grounding.evaluate flickr30k")
    options = parser.parse_args()
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name, text in diagrams().items():
        (IMAGES / name).write_text(text)
    for name, draw in photographs(Localizer.from_pretrained()).items():
        save(draw(), name)
    if options.weights:
        from pointing_imagenet import mobilenet  # timm, which the other pictures do without

        scene = Localizer(mobilenet(options.weights, MOBILENET_PX)).encode(picture_of("coffee"))
        save(draw_told(scene, ("espresso", "wooden spoon"), 300), "contrast-photo.jpg")
    if options.run:
        metrics = json.loads((options.run / "metrics.json").read_text())
        kept = {name: metrics[name]["groups"] for name in ("presence", "scores")}
        (IMAGES / "reliability.json").write_text(json.dumps(kept, indent=1) + "\n")
    (IMAGES / "reliability.svg").write_text(draw_reliability())
    return 0


def save(picture: Image.Image, name: str) -> None:
    """As a JPEG that loads quickly."""
    picture.convert("RGB").save(IMAGES / name, quality=84, optimize=True, progressive=True)
    print(f"{IMAGES / name}: {(IMAGES / name).stat().st_size / 1000:.0f} kB", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
