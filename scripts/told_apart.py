"""Do the maps of a method tell two classes of a picture apart? Their correlation, and how often they share a maximum.

    python scripts/told_apart.py --root ../shared/data/coco-val2017-281.tar --limit 70 \\
        --weights ../shared/weights/mobilenetv1_100_imagenet.safetensors

Pairs of classes of one picture that no tag stands for together. Where plain MWP says the same of every class, contrast
has much to gain; where it tells them apart already, little.
"""

import argparse
import io
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
from pointing_imagenet import PEOPLE, mobilenet
from tqdm import tqdm

from grounding.benchmarks.data import Source
from grounding.benchmarks.measurer import Job, Measurer
from grounding.benchmarks.methods import MapMaker
from grounding.benchmarks.names import parse_methods
from grounding.errors import GroundingError
from grounding.images import read_image

EVERY = 7  # pixels of a map that are correlated


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="COCO")
    parser.add_argument("--split", default="val2017")
    parser.add_argument("--weights", type=Path, help="of MobileNet v1, which is then measured, too")
    parser.add_argument("--methods", default="contrastive-mwp,mwp,cam")
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    source = Source("coco", options.root, options.split, limit=options.limit)
    makers = tuple(MapMaker(name) for name in parse_methods(options.methods))
    try:
        measurers = [Measurer(Job("pointing", source, "embedded", makers))]
        if options.weights:
            job = Job("pointing", source, "MobileNet", makers, given={"person": PEOPLE})
            measurers.append(Measurer(job, mobilenet(options.weights, 384)))
        for measurer in measurers:
            for method, (correlations, shared) in told_apart(measurer).items():
                print(
                    f"{measurer.classifier.name}, {method}: {len(correlations):,} pairs of classes, correlation "
                    f"{np.mean(correlations):.2f}, the same maximum in {100 * np.mean(shared):.1f}%"
                )
    except GroundingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def told_apart(measurer: Measurer) -> dict[str, tuple[list[float], list[bool]]]:
    """For each method the correlation of the maps of each pair of classes, and whether they share their maximum."""
    found: dict[str, tuple[list[float], list[bool]]] = {maker.name: ([], []) for maker in measurer.job.makers}
    for image in tqdm(measurer.images.values(), unit=" pictures"):
        encoding = measurer.encode(read_image(io.BytesIO(measurer.data.read(image.id)), image.id))
        maps = measurer.maps(encoding, image, [region.name for region in image.regions])
        for pair in combinations(maps, 2):
            first, second = (measurer.signals[name].weights.keys() for name in pair)
            for method, (correlations, shared) in found.items():
                one, other = (maps[name][method] for name in pair)
                if not first & second and one.std() > 0 and other.std() > 0:
                    correlations.append(float(np.corrcoef(one.ravel()[::EVERY], other.ravel()[::EVERY])[0, 1]))
                    shared.append(bool(one.argmax() == other.argmax()))
    return found


if __name__ == "__main__":
    sys.exit(main())
