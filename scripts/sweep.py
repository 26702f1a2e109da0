"""Try settings of maps and regions on photographs with annotations: every combination, pointing and R@1 of each.

    python scripts/sweep.py --images ../shared/data/flickr-val-00000.tar \\
        --annotations ../shared/data/flickr30k_entities_trainval.zip regions.gamma=0.2,0.3 maps.box_smoothing=0.02,0.03

Protocols as `python -m grounding.evaluate` has them. Use it on photographs that nothing is finally reported on.
"""

import argparse
import io
import itertools
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

import grounding
from grounding.config import LocalizerConfig, load
from grounding.datasets.files import Photographs
from grounding.datasets.flickr30k import Flickr30kEntities
from grounding.errors import GroundingError
from grounding.evaluation.metrics import measure
from grounding.evaluation.prediction import Key, Prediction
from grounding.evaluation.predictor import predict
from grounding.evaluation.protocol import POINTING, Recall
from grounding.evaluation.records import prediction_from_json
from grounding.evaluation.scoring import select
from grounding.pipeline import Localizer

SHOWN = (POINTING[0], Recall(1, "merged-box"), Recall(5, "merged-box"))


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, nargs="+", required=True)
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--split", default="val")
    parser.add_argument("--classifier", default="embedded")
    parser.add_argument("--image-size", type=int, help="show the network pictures of this side in px")
    parser.add_argument("--every", type=int, default=1, help="use every n-th photograph only")
    parser.add_argument("settings", nargs="*", metavar="key=value,value", help="for example regions.gamma=0.2,0.3")
    options = parser.parse_args()
    try:
        sweep(options)
    except GroundingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def sweep(options: argparse.Namespace) -> None:
    """Print a line a combination."""
    choices = [
        [f"{key}={v}" for v in values.split(",")] for key, _, values in (s.partition("=") for s in options.settings)
    ]
    combinations = list(itertools.product(*choices))
    classifier = grounding.Localizer.from_pretrained(options.classifier).classifier
    if options.image_size:
        classifier.preprocessing = replace(classifier.preprocessing, image_size_px=options.image_size)
    localizers = [Localizer(classifier, load(LocalizerConfig, None, overrides)) for overrides in combinations]

    photographs = Photographs(options.images)
    images = select(Flickr30kEntities(options.annotations), options.split, photographs, None).images[:: options.every]
    predictions: list[dict[Key, Prediction]] = [{} for _ in combinations]
    for image in tqdm(images, unit=" photographs"):
        picture = grounding.read_image(io.BytesIO(photographs.read(image.id)))
        for localizer, found in zip(localizers, predictions, strict=True):
            found |= map(prediction_from_json, predict(localizer.encode(picture), image))
    print(f"{len(images)} photographs of {options.split}; {', '.join(protocol.name for protocol in SHOWN)}")
    for overrides, found in zip(combinations, predictions, strict=True):
        columns = measure(images, found)
        numbers = [f"{100 * np.nanmean(protocol.values(columns)):5.1f}" for protocol in SHOWN]
        print(f"{' '.join(numbers)}  {' '.join(overrides) or 'defaults'}")


if __name__ == "__main__":
    sys.exit(main())
