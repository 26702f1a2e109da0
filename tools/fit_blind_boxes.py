"""Fit the blind boxes: ten boxes, the same for every picture, that hit the most phrases of the train annotations.

The candidates are all windows of a grid in relative coordinates. A window hits a phrase when its IoU with the box that
encloses all boxes of the phrase's chain is 0.5 or more; IoU is the same in relative coordinates. Boxes are chosen one
after another: each the window that hits the most phrases not yet hit, the first of equals (by x0, x1, y0, y1).

    python tools/fit_blind_boxes.py --annotations ../shared/data/flickr30k_entities_trainval.zip
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from grounding.boxes import Boxes, Values, enclosing
from grounding.datasets.flickr30k import EntityImage, Flickr30kEntities
from grounding.errors import GroundingError

OUTPUT = Path(__file__).parents[1] / "grounding" / "evaluation" / "protocols" / "blind_boxes.json"
SPLIT = "train"
COUNT = 10
BLOCK = 64  # chains at a time
ROUNDING = 1e-9  # an IoU of exactly 1/2 hits


def wanted_boxes(images: Iterable[EntityImage]) -> tuple[Values, Values]:
    """(N, 4) the enclosing box of every chain that a phrase speaks of, relative; (N,) the number of its phrases."""
    boxes, phrases = [], []
    for image in images:
        for chain, count in Counter(phrase.chain for phrase in image.boxed_phrases).items():
            boxes.append(enclosing(image.boxes[chain])[0] / ([image.width, image.height] * 2))
            phrases.append(count)
    return np.array(boxes, np.float64).reshape(-1, 4), np.array(phrases, np.float64)


def window_hits(boxes: Boxes, across: Values, down: Values) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which windows have IoU >= 0.5, that is thrice the intersection at least the sum of both areas.

    Args:
        boxes: (N, 4).
        across, down: (S, 2) spans in x, (T, 2) in y; each pair of them is a window.

    Returns:
        (N, S * T).
    """
    shared = [
        (np.minimum(boxes[:, [axis + 2]], spans[:, 1]) - np.maximum(boxes[:, [axis]], spans[:, 0])).clip(0)
        for axis, spans in enumerate((across, down))
    ]
    thrice = 3 * shared[0][:, :, None] * shared[1][:, None, :]  # (N, S, T)
    windows = np.outer(np.diff(across), np.diff(down))
    wanted = (boxes[:, 2:] - boxes[:, :2]).prod(1)[:, None, None]
    hits: np.ndarray[Any, np.dtype[np.bool_]] = thrice - windows >= wanted - ROUNDING
    return hits.reshape(len(boxes), len(across) * len(down))


def fit(boxes: Boxes, phrases: Values, grid: int, count: int = COUNT) -> tuple[list[list[float]], list[float]]:
    """Choose windows greedily.

    Args:
        boxes: (N, 4) relative.
        phrases: (N,) how many phrases want each.
        grid: columns, and rows.
        count: of windows.

    Returns:
        The windows, `x0 y0 x1 y1`, and the percentage of phrases hit by the first 1, 2, ... of them.
    """
    spans = np.array(list(combinations(range(grid + 1), 2))) / grid  # (S, 2)

    def hit_by_each(boxes: Boxes, phrases: Values, doing: str) -> Values:
        total = np.zeros(len(spans) ** 2)
        with tqdm(total=len(boxes), desc=doing, unit=" chains") as progress:
            for start in range(0, len(boxes), BLOCK):
                block = boxes[start : start + BLOCK]
                total += phrases[start : start + BLOCK] @ window_hits(block, spans, spans)
                progress.update(len(block))
        return total

    everything = phrases.sum()
    gains = hit_by_each(boxes, phrases, "every window")
    chosen, recall = [], []
    for rank in range(1, count + 1):
        across, down = (spans[[place]] for place in divmod(int(gains.argmax()), len(spans)))
        hit = window_hits(boxes, across, down)[:, 0]
        gains -= hit_by_each(boxes[hit], phrases[hit], f"without box {rank}'s")
        boxes, phrases = boxes[~hit], phrases[~hit]
        chosen.append([*across[0].tolist(), *down[0].tolist()])
        recall.append(100 * (1 - float(phrases.sum() / everything)))
    return [[x0, y0, x1, y1] for x0, x1, y0, y1 in chosen], recall


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", type=Path, required=True, help="Flickr30k Entities: a folder, clone or zip")
    parser.add_argument("--grid", type=int, default=16, help="columns, and rows, of the grid (default %(default)s)")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="default: the file in the package")
    options = parser.parse_args()
    try:
        if options.grid < 1:
            raise GroundingError(f"--grid {options.grid}: expected 1 or more")
        entities = Flickr30kEntities(options.annotations)
        images = tqdm(entities.read(SPLIT), total=len(entities.ids(SPLIT)), desc="reading", unit=" images")
        boxes, phrases = wanted_boxes(images)
    except GroundingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    chosen, recall = fit(boxes, phrases, options.grid)
    recipe = {
        "dataset": "Flickr30k Entities",
        "split": SPLIT,
        "images": len(entities.ids(SPLIT)),
        "phrases": int(phrases.sum()),
        "chains": len(boxes),
        "grid": options.grid,
        "objective": "greedy: the most phrases whose enclosing box has IoU >= 0.5 with one of the boxes so far",
        "coordinates": "x0 y0 x1 y1, in shares of the picture's width and height",
        "command": f"python tools/fit_blind_boxes.py --annotations {options.annotations} --grid {options.grid}",
    }
    content = {"recipe": recipe, "boxes": chosen, "train_recall": [round(value, 3) for value in recall]}
    options.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"hit by 1, 5 and {COUNT} boxes: {recall[0]:.2f}%, {recall[4]:.2f}%, {recall[-1]:.2f}%")
    return 0


if __name__ == "__main__":
    sys.exit(main())
