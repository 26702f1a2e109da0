"""What a threshold of presence costs: the phrases that it calls absent, by whether the photograph shows them.

Phrases with a box in their own photograph, and in the one before it in the split, as `grounding.evaluate flickr30k`
counts them for presence. Of the phrases that a threshold keeps, *kept and there* is the share that is there where half
of all phrases asked for are, and where one in ten is.

    python scripts/presence_thresholds.py --images photos/ --annotations entities.zip
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from grounding.errors import GroundingError
from grounding.evaluation.protocols.presence import phrases_of_others
from grounding.evaluation.runs.scoring import present
from grounding.pipeline import Localizer

THRESHOLDS = (0.05, 0.15, 0.3, 0.5, 0.7, 0.9)


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, nargs="+", required=True)
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--split", default="val")
    options = parser.parse_args()
    try:
        print(table(*measure(options.annotations, options.split, options.images)))
    except GroundingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def measure(annotations: Path, split: str, places: list[Path]) -> tuple[list[float], list[float]]:
    """The presences of phrases in their own photographs, and in others."""
    images, photographs = present(annotations, split, places)
    localizer, others = Localizer.from_pretrained(), phrases_of_others(images)
    shown, not_shown = list[float](), list[float]()
    for image in tqdm(images, unit=" photographs"):
        scene = localizer.encode(photographs.picture(image.id))
        for texts, presences in (([p.text for p in image.boxed_phrases], shown), (others[image.id], not_shown)):
            presences += [value for value in scene.presences(texts) if value is not None] if texts else []
    return shown, not_shown


def table(shown: Sequence[float], not_shown: Sequence[float], thresholds: Sequence[float] = THRESHOLDS) -> str:
    """Markdown, a row a threshold, in percent."""
    rows = ["| threshold | there, called absent | not there, called absent | kept and there: half | one in ten |"]
    rows.append("|---|---|---|---|---|")
    for threshold in thresholds:
        kept, wrong = (np.mean(np.array(values) >= threshold) for values in (shown, not_shown))
        sure = [f"{100 * share * kept / (share * kept + (1 - share) * wrong):.0f}" for share in (0.5, 0.1)]
        rows.append(f"| {threshold:g} | {100 - 100 * kept:.1f} | {100 - 100 * wrong:.1f} | {sure[0]} | {sure[1]} |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
