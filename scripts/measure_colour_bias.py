"""How often does the colour of clothing decide between 'girl' and 'boy', or 'woman' and 'man'?

    python scripts/measure_colour_bias.py --annotations flickr30k_entities.zip --images photos/

Of the first photographs of a split of Flickr30k Entities that have a box of clothing of at least 2% of the picture, the
largest such box is painted as a whole in each hue; nothing else changes. The words are those of captioners.
notebooks/evidence.ipynb says what came of it.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from skimage import color
from tqdm import tqdm

from grounding.datasets.flickr30k import EntityImage
from grounding.evaluation.runs.scoring import present
from grounding.images import RgbImage
from grounding.tagging.sources import load_classifier

HUES = {"orange": 30, "green": 120, "blue": 210, "pink": 300}  # degrees
SATURATION = 0.65
SMALLEST = 0.02  # share of the picture
PAIRS = (("girl", "boy"), ("woman", "man"))


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", type=Path, required=True, help="Flickr30k Entities: a folder or zip")
    parser.add_argument("--images", type=Path, nargs="+", required=True, help="folders, zips or tars of photographs")
    parser.add_argument("--split", default="val")
    parser.add_argument("--limit", type=int, default=100, help="so many photographs")
    options = parser.parse_args()
    images, photographs = present(options.annotations, options.split, options.images)
    chosen = [(image.id, box) for image in images if (box := clothing(image)) is not None][: options.limit]
    classifier = load_classifier("embedded")
    differences = []
    for name, box in tqdm(chosen, unit=" photographs"):
        picture = photographs.picture(name)
        variants = [picture, *(painted(picture, box, hue) for hue in HUES.values())]
        with torch.no_grad():
            scores = torch.cat([classifier.network(classifier.preprocessing(each)) for each in variants])
        differences.append([log_odds_apart(scores, classifier.indices, pair) for pair in PAIRS])
    report(np.array(differences))
    return 0


def clothing(image: EntityImage) -> np.ndarray | None:
    """The largest box of clothing as shares of width and height, x0 y0 x1 y1; None if it is too small."""
    chains = {phrase.chain for phrase in image.boxed_phrases if "clothing" in phrase.types}
    boxes = [box / [image.width, image.height, image.width, image.height] for c in chains for box in image.boxes[c]]
    largest = max(boxes, key=area, default=None)
    return None if largest is None or area(largest) < SMALLEST else largest


def area(box: np.ndarray) -> float:
    """Of a box x0 y0 x1 y1."""
    return float((box[2] - box[0]) * (box[3] - box[1]))


def painted(picture: RgbImage, box: np.ndarray, hue: float) -> RgbImage:
    """The picture with the hue (degrees) and the saturation of a box replaced; its lights and shadows stay."""
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = np.rint(box * [width, height, width, height]).astype(int)
    changed = picture.copy()
    hsv = color.rgb2hsv(picture[y0:y1, x0:x1])
    hsv[:, :, :2] = hue / 360, SATURATION
    changed[y0:y1, x0:x1] = (color.hsv2rgb(hsv) * 255).round()
    return changed


def log_odds_apart(scores: torch.Tensor, indices: Mapping[str, int], pair: tuple[str, str]) -> np.ndarray:
    """(V,): those of the first word less those of the second, from (V, T)."""
    one, other = (indices[word] for word in pair)
    return (scores[:, one] - scores[:, other]).numpy()


def report(differences: np.ndarray) -> None:
    """Print a table from (N, pairs, 1 + hues)."""
    print(f"{len(differences)} photographs; how often the first word is above the second, and the median difference")
    for (one, other), values in zip(PAIRS, differences.swapaxes(0, 1), strict=True):
        for name, column in zip(("as it is", *HUES), values.T, strict=True):
            print(f"{one} above {other}, {name:8} {(column > 0).mean():4.0%}  {np.median(column):+.2f}")
        pink = (values[:, 1:].argmax(1) == list(HUES).index("pink")).mean()
        print(f"highest of the {len(HUES)} hues in pink: {pink:.0%}")


if __name__ == "__main__":
    sys.exit(main())
