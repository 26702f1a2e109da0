"""Do the maps know the phrase? Scores the results of a manifest run as they are, and with phrases exchanged.

The control gives every phrase the point and boxes of another phrase of the same photograph (one with another text and,
where there is one, another chain), drawn with a seed. Pointing is any-box without filter, R@1 is merged-box at
IoU >= 0.5, over Flickr30k Entities phrases that have a box; the 95% interval is a bootstrap over photographs.

    ../shared/tools/score --photos ../shared/data/flickr-val-00000.tar \\
        --annotations ../shared/data/flickr30k_entities_trainval.zip --output runs/val
    python scripts/wrong_phrase_control.py --results runs/val/out/results.jsonl \\
        --annotations ../shared/data/flickr30k_entities_trainval.zip
"""

import argparse
import json
import random
import re
import sys
import xml.etree.ElementTree as ET
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

MARKED = re.compile(r"\[/EN#(\d+)(\S*) ([^\]]*)\]")
Box = tuple[float, ...]


def chain_boxes(archive: zipfile.ZipFile, image: str, width: int, height: int) -> dict[str, list[Box]]:
    """Half-open boxes of each chain, in pixels of the photograph at hand, from 1-based inclusive ones."""
    root = ET.fromstring(archive.read(f"Annotations/{image}.xml"))
    across, down = width / int(root.findtext("size/width", "")), height / int(root.findtext("size/height", ""))
    boxes = defaultdict(list)
    for thing in root.iter("object"):
        if (box := thing.find("bndbox")) is not None:
            x0, y0, x1, y1 = (int(box.findtext(key, "")) for key in ("xmin", "ymin", "xmax", "ymax"))
            for name in thing.findall("name"):
                boxes[name.text or ""].append(((x0 - 1) * across, (y0 - 1) * down, x1 * across, y1 * down))
    return boxes


def marked_chains(archive: zipfile.ZipFile, image: str, boxes: dict[str, list[Box]]) -> dict[str, list[str]]:
    """For each caption the chains of its phrases that have a box, in order."""
    return {
        MARKED.sub(r"\3", sentence): [chain for chain, _, _ in MARKED.findall(sentence) if boxes.get(chain)]
        for sentence in archive.read(f"Sentences/{image}.txt").decode().splitlines()
    }


def hits(found: dict[str, Any], boxes: list[Box]) -> tuple[bool, bool]:
    """(pointing any-box, R@1 merged-box) of one phrase's result."""
    point = found["point"] or {"x": -1, "y": -1}
    on = any(b[0] <= point["x"] < b[2] and b[1] <= point["y"] < b[3] for b in boxes)
    if not found["regions"]:
        return on, False
    edges = np.array(boxes)
    x0, y0, x1, y1 = *edges[:, :2].min(0), *edges[:, 2:].max(0)
    box = found["regions"][0]["box"]
    across, down = min(x1, box["xmax"]) - max(x0, box["xmin"]), min(y1, box["ymax"]) - max(y0, box["ymin"])
    both = max(across, 0) * max(down, 0)
    union = (x1 - x0) * (y1 - y0) + (box["xmax"] - box["xmin"]) * (box["ymax"] - box["ymin"]) - both
    return on, both / union >= 0.5


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="results.jsonl of `grounding.localize --manifest`")
    parser.add_argument("--annotations", type=Path, required=True, help="Flickr30k Entities as a zip, official layout")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for path in (options.results, options.annotations):
        if not path.is_file():
            print(f"error: {path} does not exist", file=sys.stderr)
            return 2
    archive = zipfile.ZipFile(options.annotations)
    results = defaultdict(list)
    for line in options.results.read_text(encoding="utf-8").splitlines():
        result = json.loads(line)
        results[Path(result["image"]["path"]).stem].append(result)

    draw = random.Random(options.seed)
    right, wrong, sizes = [], [], []
    for image, captions in sorted(results.items()):
        boxes = chain_boxes(archive, image, captions[0]["image"]["width"], captions[0]["image"]["height"])
        chains = marked_chains(archive, image, boxes)
        phrases = [
            pair for result in captions for pair in zip(result["phrases"], chains[result["caption"]], strict=True)
        ]
        for found, chain in phrases:
            others = [o for o, c in phrases if c != chain] or [o for o, _ in phrases if o["text"] != found["text"]]
            right.append(hits(found, boxes[chain]))
            wrong.append(hits(draw.choice(others) if others else found, boxes[chain]))
        sizes.append(len(phrases))

    counts = np.array(sizes)
    generator = np.random.default_rng(options.seed)
    picked = generator.integers(0, len(counts), (2000, len(counts)))

    def report(name: str, values: list[tuple[bool, bool]]) -> None:
        table = np.array(values, float) * 100
        sums = np.array([part.sum(0) for part in np.split(table, np.cumsum(counts)[:-1])])
        samples = sums[picked].sum(1) / counts[picked].sum(1)[:, None]
        low, high = np.percentile(samples, [2.5, 97.5], axis=0)
        mean = table.mean(0)
        shown = [f"{m:.1f} [{a:.1f}, {b:.1f}]" for m, a, b in zip(mean, low, high, strict=True)]
        print(f"{name}: pointing {shown[0]}, R@1 {shown[1]}")

    print(f"{len(right)} phrases of {len(counts)} photographs; 95% bootstrap over photographs, seed {options.seed}")
    report("the phrase's own result   ", right)
    report("another phrase's result   ", wrong)
    difference = np.array(right, float) - np.array(wrong, float)
    report("difference                ", [tuple(row) for row in difference])
    return 0


if __name__ == "__main__":
    sys.exit(main())
