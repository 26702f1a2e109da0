"""Fit the sharpness of scores without boxes: how often do two readings of the same evidence agree on a box?

The first box of each phrase is found by contrastive MWP, and again by plain MWP, which reads the same network without
the contrast. The agreement of the first box (`grounding.regions.confidence`) should be the probability that the two
have an IoU of at least 1/2: the sharpness with the greatest likelihood is printed, and stands in that module as
SHARPNESS. Mirrored pictures and finer layers agree in 95% of the cases, right or wrong, and so tell less.

    python tools/fit_scores.py --sources ../shared/data/flickr-train-00004.tar --limit 200
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from grounding.boxes import Values, iou
from grounding.datasets.webimages import CaptionedImages
from grounding.errors import GroundingError
from grounding.pipeline import Localizer, Scene
from grounding.regions.confidence import agree, agreement
from grounding.regions.power import area_powers
from grounding.regions.scoring import score_boxes
from grounding.results import Grounding
from grounding.text.people import names_people

SHARPNESSES = tuple(np.arange(1.0, 20.5, 0.5).tolist())


def agreements(scene: Scene, result: Grounding, sharpnesses: Sequence[float]) -> Values:
    """(P, S) the agreement of the first box of each phrase that has one, for each sharpness."""
    height, width = scene.image.shape[:2]
    rows = []
    for found in result:
        if found.best is not None:
            maps, people = found.grid_map[None], [names_people(found.phrase.head)]
            powers = area_powers(maps, people, scene.closeness(), scene.localizer.config.regions)
            scores = score_boxes(maps, scene.proposals, height, width, powers)[0, 0]
            best = np.array([iou(np.array([found.best.box]), scene.proposals)[0].argmax()])
            rows.append([float(agreement(scores, scene.proposals, best, each)[0]) for each in sharpnesses])
    return np.array(rows).reshape(-1, len(sharpnesses))


def likelihood(agreed: Values, predicted: Values) -> Values:
    """(P,) 1 where two readings agree, else 0; (P, S) with what probability they should -> (S,) mean log-likelihood."""
    predicted = predicted.clip(1e-6, 1 - 1e-6)
    outcome = agreed[:, None]
    mean: Values = (outcome * np.log(predicted) + (1 - outcome) * np.log(1 - predicted)).mean(0)
    return mean


def fit(images: CaptionedImages, limit: int) -> None:
    """Print the share that agrees, and the sharpness that fits best with what it predicts."""
    contrastive = Localizer.from_pretrained()
    plain = Localizer(contrastive.classifier, method="mwp")
    agreed, predicted = [], []
    for index in tqdm(range(min(limit, len(images))), unit=" pictures"):
        scene = contrastive.encode(images.read(index))
        result = scene.ground(images.captions[index][0], top_k=1)
        other = scene.under(plain).ground(images.captions[index][0], top_k=1)
        pairs = [(one.best, two.best) for one, two in zip(result, other, strict=True) if one.best]
        agreed += [two is not None and agree(np.array([one.box]), np.array([two.box]))[0, 0] for one, two in pairs]
        predicted.append(agreements(scene, result, SHARPNESSES))
    outcome, table = np.array(agreed, np.float64), np.concatenate(predicted)
    best = int(likelihood(outcome, table).argmax())
    print(f"{len(outcome):,} phrases of {min(limit, len(images)):,} pictures; {outcome.mean():.3f} agree")
    print(f"sharpness {SHARPNESSES[best]:g}: predicts {table[:, best].mean():.3f}")


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
