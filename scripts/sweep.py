"""Try settings of maps and regions on photographs with annotations: every combination, pointing and R@1 of each.

    python scripts/sweep.py --images ../shared/data/flickr-val-00000.tar \\
        --annotations ../shared/data/flickr30k_entities_trainval.zip regions.gamma=0.2,0.3 maps.box_smoothing=0.02,0.03

Protocols as `python -m grounding.evaluate` has them. Use it on photographs that nothing is finally reported on. With
`--halves` it also says how far tuning flatters: what is chosen on every other photograph is reported on the rest.
"""

import argparse
import io
import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

import grounding
from grounding.config import LocalizerConfig, load
from grounding.datasets.files import Photographs
from grounding.datasets.flickr30k import EntityImage, Flickr30kEntities
from grounding.errors import GroundingError
from grounding.evaluation.metrics import measure
from grounding.evaluation.prediction import Key, Prediction
from grounding.evaluation.predictor import predict
from grounding.evaluation.protocol import POINTING, Recall
from grounding.evaluation.records import prediction_from_json
from grounding.evaluation.scoring import select
from grounding.pipeline import Localizer

Overrides = tuple[str, ...]  # none: the defaults
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
    parser.add_argument("--halves", action="store_true", help="choose on every other photograph, report on the rest")
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
    combinations: list[Overrides] = list(itertools.product(*choices))
    if options.halves and () not in combinations:
        combinations.append(())
    classifier = grounding.Localizer.from_pretrained(options.classifier).classifier
    if options.image_size:
        preprocessing = replace(classifier.preprocessing, image_size_px=options.image_size)
        classifier = replace(classifier, preprocessing=preprocessing)
    localizers = [Localizer(classifier, load(LocalizerConfig, None, overrides)) for overrides in combinations]

    photographs = Photographs(options.images)
    images = select(Flickr30kEntities(options.annotations), options.split, photographs, None).images[:: options.every]
    predictions: dict[Overrides, dict[Key, Prediction]] = {overrides: {} for overrides in combinations}
    for image in tqdm(images, unit=" photographs"):
        picture = grounding.read_image(io.BytesIO(photographs.read(image.id)))
        for localizer, found in zip(localizers, predictions.values(), strict=True):
            found |= map(prediction_from_json, predict(localizer.encode(picture), image))
    print(f"{len(images)} photographs of {options.split}; {', '.join(protocol.name for protocol in SHOWN)}")
    for overrides, numbers in scores(images, predictions).items():
        print(f"{' '.join(f'{number:5.1f}' for number in numbers)}  {' '.join(overrides) or 'defaults'}")
    if options.halves:
        print("\n".join(flattery(scores(images[::2], predictions), scores(images[1::2], predictions))))


def scores(
    images: Sequence[EntityImage], predictions: Mapping[Overrides, Mapping[Key, Prediction]]
) -> dict[Overrides, tuple[float, ...]]:
    """The percentage of each combination under each protocol of `SHOWN`."""
    columns = {overrides: measure(images, found) for overrides, found in predictions.items()}
    return {
        overrides: tuple(100 * float(np.nanmean(protocol.values(measured))) for protocol in SHOWN)
        for overrides, measured in columns.items()
    }


def flattery(even: Mapping[Overrides, Sequence[float]], odd: Mapping[Overrides, Sequence[float]]) -> Iterator[str]:
    """Lines that say what the best combination of one half is worth on the other, beside the defaults.

    Args:
        even, odd: combination -> its percentage under each protocol of `SHOWN`, on either half; the defaults are among
            them, and the first of equals is chosen.
    """
    for place, protocol in enumerate(SHOWN):
        gains, kept = [], []
        for name, here, there in (("even", even, odd), ("odd", odd, even)):
            best = max(here, key=lambda overrides: here[overrides][place])
            gains.append(here[best][place] - here[()][place])
            kept.append(there[best][place] - there[()][place])
            yield (
                f"{protocol.name}, chosen on the {name} half: {here[best][place]:.1f} there (defaults "
                f"{here[()][place]:.1f}), {there[best][place]:.1f} on the other ({there[()][place]:.1f}): "
                f"{' '.join(best) or 'defaults'}"
            )
        gain, left = sum(gains) / 2, sum(kept) / 2
        yield f"{protocol.name}: {gain:+.1f} where chosen, {left:+.1f} elsewhere: tuning flatters by {gain - left:.1f}"


if __name__ == "__main__":
    sys.exit(main())
