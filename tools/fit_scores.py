"""Fit the sharpness of scores without boxes: how often do two readings of the same evidence agree on a box?

The first box of each phrase is found by contrastive MWP, and again by plain MWP, which reads the same network without
the contrast. The agreement of the first box (`grounding.regions.confidence`) should be the probability that the two
have an IoU of at least 1/2: the sharpness with the greatest likelihood is printed, and is the default of
`regions.sharpness`. Mirrored pictures and finer layers agree in 95% of the cases, right or wrong, and so tell less.

    python tools/fit_scores.py --sources ../shared/data/flickr-train-00004.tar --limit 200
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from grounding.boxes import Values
from grounding.config import LocalizerConfig, RegionConfig
from grounding.datasets.webimages import CaptionedImages
from grounding.errors import GroundingError
from grounding.pipeline import Localizer
from grounding.regions.confidence import agree

SHARPNESSES = (2, 3, 4, 5, 6, 7.5, 9, 11)


def likelihood(agreed: Values, predicted: Values) -> Values:
    """(P,) 1 where two readings agree, else 0; (P, S) with what probability they should -> (S,) mean log-likelihood."""
    predicted = predicted.clip(1e-6, 1 - 1e-6)
    outcome = agreed[:, None]
    mean: Values = (outcome * np.log(predicted) + (1 - outcome) * np.log(1 - predicted)).mean(0)
    return mean


def fit(images: CaptionedImages, limit: int) -> None:
    """Print the share that agrees, and the sharpness that fits best with what it predicts."""
    plain = Localizer.from_pretrained(method="mwp")
    configs = [LocalizerConfig(regions=replace(RegionConfig(), sharpness=each)) for each in SHARPNESSES]
    localizers = [Localizer(plain.classifier, config) for config in configs]
    agreed, predicted = [], []
    for index in tqdm(range(min(limit, len(images))), unit=" pictures"):
        caption, scene = images.captions[index][0], localizers[0].encode(images.read(index))
        readings = [scene.under(localizer).ground(caption, top_k=1) for localizer in localizers]
        other = scene.under(plain).ground(caption, top_k=1)
        for position, found in enumerate(readings[0]):
            if found.best and found.presence:
                second = other[position].best
                agreed.append(bool(second and agree(np.array([found.best.box]), np.array([second.box]))[0, 0]))
                scores = [reading[position].regions[0].score for reading in readings]
                predicted.append([score / found.presence for score in scores])
    outcome, table = np.array(agreed, np.float64), np.array(predicted)
    fits = likelihood(outcome, table)
    best = int(fits.argmax())
    print(f"{len(outcome):,} phrases of {min(limit, len(images)):,} pictures; {outcome.mean():.3f} agree")
    print(f"sharpness {SHARPNESSES[best]:g}: predicts {table[:, best].mean():.3f}")
    print(", ".join(f"{sharpness:g}: {value:.4f}" for sharpness, value in zip(SHARPNESSES, fits, strict=True)))


def main() -> int:
    """Read the options and fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=Path, nargs="+", required=True, metavar="PATH", help="captioned pictures")
    parser.add_argument("--limit", type=int, default=200, metavar="N", help="of the pictures (default: 200)")
    options = parser.parse_args()
    try:
        fit(CaptionedImages(options.sources), options.limit)
    except GroundingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
