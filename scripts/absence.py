"""Ask photographs for things that none of their captions names: are these told from what the captions name?

Of the first photographs of a split, the phrases with a box are compared with eight things of the list below that no
caption mentions, neither by name nor by a synonym, a kind of it or what it is a kind of. Printed are the AUC of
presence and of the score of the first box, and what is called absent.

    python scripts/absence.py --images ../shared/data/flickr-val-00000.tar \\
        --annotations ../shared/data/flickr30k_entities_trainval.zip
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from tqdm import tqdm

from grounding.errors import GroundingError
from grounding.evaluation.protocols.calibration import auc
from grounding.evaluation.runs.scoring import present
from grounding.pipeline import Localizer
from grounding.text.mentions import mentioned
from grounding.text.tags import content_words

THINGS = (
    *("dog", "car", "horse", "bicycle", "boat", "guitar", "cat", "train", "umbrella", "baby", "motorcycle", "bird"),
    *("beach", "snow", "kitchen", "drum", "camera", "elephant", "bus", "football"),
)
ASKED = 8


def absent_things(captions: tuple[str, ...]) -> list[str]:
    """The first eight things that no caption mentions, as phrases."""
    words = {word for caption in captions for word in content_words(caption)}
    return [f"a {thing}" for thing in THINGS if not mentioned(thing, words)][:ASKED]


def measure(annotations: Path, split: str, places: list[Path], limit: int) -> None:
    """Ground everything and print what was found."""
    images, photographs = present(annotations, split, places)
    localizer = Localizer.from_pretrained()
    rows, statuses = [], {True: Counter[str](), False: Counter[str]()}
    for image in tqdm(images[:limit], unit=" photographs"):
        scene = localizer.encode(photographs.picture(image.id))
        named = list(dict.fromkeys(phrase.text for phrase in image.boxed_phrases))
        for label, texts in ((True, named), (False, absent_things(image.captions))):
            for found in scene.ground(phrases=texts) if texts else ():
                statuses[label][found.status] += 1
                rows.append((label, found.presence or 0.0, found.best.score if found.best else 0.0))
    labels, presences, scores = (np.array(column) for column in zip(*rows, strict=True))
    print(f"{min(limit, len(images))} photographs, {labels.sum():,} phrases named, {(~labels).sum():,} not named")
    print(f"AUC of presence {auc(presences, labels):.3f}, of the score of the first box {auc(scores, labels):.3f}")
    for label, title in ((True, "named"), (False, "not named")):
        told = ", ".join(
            f"{status} {100 * n / statuses[label].total():.1f}%" for status, n in statuses[label].most_common()
        )
        print(f"{title}: {told}")


def main() -> int:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, nargs="+", required=True, help="folders, zips or tars of photographs")
    parser.add_argument("--annotations", type=Path, required=True, help="Flickr30k Entities, a folder or a zip")
    parser.add_argument("--split", default="val")
    parser.add_argument("--limit", type=int, default=60, help="photographs (default: 60)")
    options = parser.parse_args()
    try:
        measure(options.annotations, options.split, options.images, options.limit)
    except GroundingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
