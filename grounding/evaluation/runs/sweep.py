"""Every combination of settings of maps and regions on the same photographs, and how far choosing flatters."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from tqdm import tqdm

from grounding.config import LocalizerConfig, load
from grounding.datasets.files import Photographs
from grounding.datasets.flickr30k import EntityImage
from grounding.errors import GroundingError
from grounding.evaluation.predictions.prediction import Key, Prediction
from grounding.evaluation.predictions.predictor import predict
from grounding.evaluation.protocols.measure import measure
from grounding.evaluation.protocols.protocol import POINTING, recall
from grounding.pipeline import Localizer
from grounding.tagging.sources import load_classifier
from grounding.wording import counted

Overrides = tuple[str, ...]  # `key=value` each; none: the defaults
SHOWN: Final = (POINTING[0], recall(1, "merged-box"), recall(5, "merged-box"))


def combinations(
    grid: Sequence[str], file: Path | None, fixed: Sequence[str], with_defaults: bool
) -> dict[Overrides, LocalizerConfig]:
    """Every combination of a grid such as `regions.gamma=0.2,0.3`.

    Args:
        file: YAML, with `fixed` the defaults that the grid changes.
        fixed: `key=value` overrides for all combinations.
        with_defaults: these take part too.

    Raises:
        GroundingError: an entry is no `key=value,value`, or what `load` refuses.
    """
    choices = []
    for entry in grid:
        key, equals, values = entry.partition("=")
        if not (key and equals and values):
            raise GroundingError(f"'{entry}' is no setting: expected KEY=VALUE,VALUE such as regions.gamma=0.2,0.3")
        choices.append([f"{key}={value}" for value in values.split(",")])
    combined: list[Overrides] = [*itertools.product(*choices), *([()] if with_defaults else [])]
    return {overrides: load(LocalizerConfig, file, [*fixed, *overrides]) for overrides in combined}


def sweep(
    source: str,
    device: str,
    method: str,
    settings: Mapping[Overrides, LocalizerConfig],
    images: Sequence[EntityImage],
    photographs: Photographs,
    image_size_px: int | None = None,
) -> dict[Overrides, dict[Key, Prediction]]:
    """The predictions under each setting.

    Args:
        source: of the classifier.
        method: that makes the word maps.
        image_size_px: show the network pictures of this side instead of its own.
    """
    classifier = load_classifier(source)
    if image_size_px:
        preprocessing = replace(classifier.preprocessing, image_size_px=image_size_px)
        classifier = replace(classifier, preprocessing=preprocessing)
    localizers = {overrides: Localizer(classifier, config, device, method) for overrides, config in settings.items()}
    predictions: dict[Overrides, dict[Key, Prediction]] = {overrides: {} for overrides in settings}
    for image in tqdm(images, unit=" photographs"):
        picture = photographs.picture(image.id)
        for overrides, localizer in localizers.items():
            predictions[overrides] |= predict(localizer.encode(picture), image)
    return predictions


def table(
    split: str, images: Sequence[EntityImage], predictions: Mapping[Overrides, Mapping[Key, Prediction]], halves: bool
) -> Iterator[str]:
    """A line a combination; with `halves` also what is chosen on every other photograph, reported on the rest."""
    yield f"{counted(len(images), 'photograph')} of {split}; {', '.join(protocol.name for protocol in SHOWN)}"
    for overrides, numbers in scores(images, predictions).items():
        yield f"{' '.join(f'{number:5.1f}' for number in numbers)}  {' '.join(overrides) or 'defaults'}"
    if halves:
        yield from flattery(scores(images[::2], predictions), scores(images[1::2], predictions))


def scores(
    images: Sequence[EntityImage], predictions: Mapping[Overrides, Mapping[Key, Prediction]]
) -> dict[Overrides, tuple[float, ...]]:
    """The percentage of each combination under each protocol of `SHOWN`."""
    columns = {overrides: measure(images, answers) for overrides, answers in predictions.items()}
    return {
        overrides: tuple(100 * float(np.nanmean(protocol.values(measured))) for protocol in SHOWN)
        for overrides, measured in columns.items()
    }


def flattery(even: Mapping[Overrides, Sequence[float]], odd: Mapping[Overrides, Sequence[float]]) -> Iterator[str]:
    """Lines that say what the best combination of one half is worth on the other, beside the defaults.

    Args:
        even: combination -> its percentage under each protocol of `SHOWN`, on one half; the defaults are among
            them, and the first of equals is chosen.
        odd: the same on the other half.
    """
    for place, protocol in enumerate(SHOWN):
        gains, kept = [], []
        for name, here, other in (("even", even, odd), ("odd", odd, even)):
            best = max(here, key=lambda overrides: here[overrides][place])
            gains.append(here[best][place] - here[()][place])
            kept.append(other[best][place] - other[()][place])
            yield (
                f"{protocol.name}, chosen on the {name} half: {here[best][place]:.1f} there (defaults "
                f"{here[()][place]:.1f}), {other[best][place]:.1f} on the other ({other[()][place]:.1f}): "
                f"{' '.join(best) or 'defaults'}"
            )
        gain, left = sum(gains) / 2, sum(kept) / 2
        yield f"{protocol.name}: {gain:+.1f} where chosen, {left:+.1f} elsewhere: tuning flatters by {gain - left:.1f}"
