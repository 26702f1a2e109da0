"""How much work do drafted boxes save? Drafts of `python -m grounding.annotate --headless` against true boxes.

    python scripts/measure_drafts.py --drafts annotated/drafts.jsonl --voc BCCD --names "red blood cell=RBC"
    python scripts/measure_drafts.py --drafts birds/drafts.jsonl --cub CUB_200_2011 --label bird

Drafts and true boxes of one label in one picture are paired, best overlap first. A true box **needs no correction**
when its draft reaches the IoU. The actions are those of a person who wants that IoU, and no more, of every box:

| what | actions |
|---|---|
| accept a draft | 0: `done` accepts all that are open |
| mend a draft | 1 for each corner that is dragged, 2 at most: as many as to reject it and draw another |
| reject a draft that overlaps no true box | 1 |
| draw a box | 1 |
| `done` | 1 a picture |

Beside them stand the same figures of no drafts, and of a **centre draft**: one box for each label that is asked for in
a picture, in its middle and of the mean size of that label in the pictures that were not drafted. Their boxes have to
be known for that. Intervals: 95%, bootstrap over pictures.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from grounding.boxes import iou
from grounding.datasets.cub import read_cub
from grounding.datasets.files import Files
from grounding.datasets.voc_xml import read_xml

Array = npt.NDArray[np.float64]
Boxes = Mapping[str, Array]  # of each label in a picture, (N, 4) as shares of its sides
LEVELS = (0.5, 0.7)
CORNERS = ([0, 1], [2, 3], [0, 3], [2, 1])  # each moves one x and one y
NONE: Array = np.empty((0, 4))


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drafts", type=Path, required=True, help="drafts.jsonl of an annotation folder")
    truth = parser.add_mutually_exclusive_group(required=True)
    truth.add_argument("--voc", type=Path, metavar="DIR", help="true boxes: a folder with Annotations/*.xml")
    truth.add_argument("--cub", type=Path, metavar="DIR", help="true boxes: CUB-200-2011")
    parser.add_argument("--names", nargs="*", default=[], metavar="LABEL=NAME", help="what the XML files call a label")
    parser.add_argument("--label", default="bird", help="what the drafts of --cub are called (default: bird)")
    options = parser.parse_args()
    true = _of_cub(options.cub, options.label) if options.cub else _of_voc(options.voc, options.names)
    drafts, sizes = _of_drafts(options.drafts)
    if missing := drafts.keys() - true.keys():
        parser.error(f"{len(missing)} pictures of {options.drafts} have no true boxes, such as {min(missing)}")
    labels = sorted({label for boxes in drafts.values() for label in boxes})
    others = true.keys() - drafts.keys()
    if unknown := [label for label in labels if not any(label in true[name] for name in others)]:
        parser.error(f"no picture without drafts has a true box of {unknown[0]}, which gives the centre draft its size")
    centre = _centre_drafts(drafts, true)
    print(f"{len(drafts)} pictures, {sum(sizes)} drafts")
    print("| label | drafts | true boxes | " + " | ".join(f"no correction at {level}, %" for level in LEVELS) + " |")
    print("|---" * (3 + len(LEVELS)) + "|")
    for label in [*labels, *([] if len(labels) == 1 else ["all"])]:
        for name, source in (("ours", drafts), ("centre", centre)):
            print(_row(f"{label}, {name}", *_of_label(source, true, label, labels)))
    print("\n| actions a box | " + " | ".join(f"IoU {level}" for level in LEVELS) + " |\n|---|" + "---|" * len(LEVELS))
    everything = {name: dict.fromkeys(labels, NONE) for name in drafts}
    for name, source in (("no drafts", everything), ("ours", drafts), ("centre", centre)):
        print(f"| {name} | " + " | ".join(_actions(source, true, labels, level) for level in LEVELS) + " |")
    return 0


def _of_voc(folder: Path, names: Iterable[str]) -> dict[str, Boxes]:
    """The true boxes of each picture, by its name without ending."""
    label_of = {name: label for label, name in (pair.split("=", 1) for pair in names)}
    files, found = Files(folder), {}
    for path in sorted((folder / "Annotations").glob("*.xml")):
        width, height, objects = read_xml(files, f"Annotations/{path.name}")
        boxes = defaultdict(list)
        for thing in objects:
            x0, y0, x1, y1 = thing.corners
            boxes[label_of.get(thing.name, thing.name)].append(
                ((x0 - 1) / width, (y0 - 1) / height, x1 / width, y1 / height)
            )
        found[path.stem] = {label: np.array(each) for label, each in boxes.items()}
    return found


def _of_cub(root: Path, label: str) -> dict[str, Boxes]:
    """The true box of each picture of both splits, by the name of its file without ending."""
    found = {}
    for split in ("train", "test"):
        pictures = read_cub(root, split)
        for image in pictures.images:
            path = pictures.file(image.id)
            assert path is not None
            size = np.array([image.width, image.height] * 2)
            found[path.stem] = {label: np.concatenate([region.boxes for region in image.regions]) / size}
    return found


def _of_drafts(path: Path) -> tuple[dict[str, Boxes], list[int]]:
    """The drafts of each picture, by its name without ending, and how many it has."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    found: dict[str, Boxes] = {}
    for line in lines:
        boxes = defaultdict(list)
        for box in line["boxes"]:
            sides = line["width"], line["height"], line["width"], line["height"]
            edges = (box[edge] / side for edge, side in zip(("x0", "y0", "x1", "y1"), sides, strict=True))
            boxes[box["label"]].append(tuple(edges))
        found[Path(line["image"]).stem] = {label: np.array(each) for label, each in boxes.items()}
    return found, [len(line["boxes"]) for line in lines]


def _centre_drafts(drafts: Mapping[str, Boxes], true: Mapping[str, Boxes]) -> dict[str, Boxes]:
    """One box for each label of a picture, with the mean size of those in the pictures without drafts."""
    sizes = defaultdict(list)
    for name in true.keys() - drafts.keys():
        for label, boxes in true[name].items():
            sizes[label].append(boxes[:, 2:] - boxes[:, :2])
    mean = {label: np.concatenate(each).mean(0) / 2 for label, each in sizes.items()}
    half = np.array([0.5, 0.5])
    return {
        name: {label: np.concatenate([half - mean[label], half + mean[label]])[None] for label in boxes}
        for name, boxes in drafts.items()
    }


def paired(drafts: Array, true: Array) -> list[tuple[int, int, float]]:
    """Pairs (draft, true box, IoU) of boxes that overlap, best overlap first, each box once."""
    overlaps = np.asarray(iou(drafts, true), float) if len(drafts) and len(true) else np.zeros((len(drafts), len(true)))
    pairs = []
    while overlaps.size and overlaps.max() > 0:
        draft, box = np.unravel_index(overlaps.argmax(), overlaps.shape)
        pairs.append((int(draft), int(box), float(overlaps[draft, box])))
        overlaps[draft, :] = overlaps[:, box] = 0
    return pairs


def corners_to_drag(draft: Array, box: Array, level: float) -> int:
    """How many corners of a draft (4,) have to be dragged to those of the true box to reach the IoU: 0, 1 or 2."""
    if iou(draft[None], box[None])[0, 0] >= level:
        return 0
    for corner in CORNERS:
        moved = draft.copy()
        moved[corner] = box[corner]
        if iou(moved[None], box[None])[0, 0] >= level:
            return 1
    return 2


def actions(drafts: Array, true: Array, level: float) -> int:
    """Actions in one picture and label, as the table above has them, without `done`."""
    pairs = paired(drafts, true)
    mended = sum(corners_to_drag(drafts[draft], true[box], level) for draft, box, _ in pairs)
    return mended + (len(drafts) - len(pairs)) + (len(true) - len(pairs))


def _of_label(
    source: Mapping[str, Boxes], true: Mapping[str, Boxes], label: str, labels: Sequence[str]
) -> tuple[Array, Array, Array]:
    """Of each picture: drafts (P,), true boxes (P,) and those that need no correction (P, levels)."""
    drafted, there, right = [], [], []
    for name, boxes in source.items():
        asked = labels if label == "all" else [label]
        pairs = [pair for each in asked for pair in paired(boxes.get(each, NONE), true[name].get(each, NONE))]
        drafted.append(sum(len(boxes.get(each, NONE)) for each in asked))
        there.append(sum(len(true[name].get(each, NONE)) for each in asked))
        right.append([sum(overlap >= level for *_, overlap in pairs) for level in LEVELS])
    return np.array(drafted, float), np.array(there, float), np.array(right, float)


def _row(name: str, drafted: Array, there: Array, right: Array) -> str:
    shares = (_ratio(right[:, level], there, 100) for level in range(len(LEVELS)))
    return f"| {name} | {drafted.sum():.0f} | {there.sum():.0f} | {' | '.join(shares)} |"


def _actions(source: Mapping[str, Boxes], true: Mapping[str, Boxes], labels: Sequence[str], level: float) -> str:
    """Actions a true box, `done` included."""
    done, there = [], []
    for name, boxes in source.items():
        pairs = [(boxes.get(label, NONE), true[name].get(label, NONE)) for label in labels]
        done.append(1 + sum(actions(drafts, each, level) for drafts, each in pairs))
        there.append(sum(len(each) for _, each in pairs))
    return _ratio(np.array(done, float), np.array(there, float), 1, 2)


def _ratio(over: Array, under: Array, times: float, digits: int = 1) -> str:
    """A ratio of sums with its interval."""
    if not under.sum():
        return "-"
    draws = np.random.default_rng(0).integers(0, len(over), (2000, len(over)))
    ratios = over[draws].sum(1) / np.maximum(under[draws].sum(1), 1e-9)
    low, high = np.quantile(ratios, [0.025, 0.975]) * times
    return f"{over.sum() / under.sum() * times:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


if __name__ == "__main__":
    sys.exit(main())
