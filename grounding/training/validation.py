"""Validation while training: phrases of Flickr30k Entities, or agreement with people, beside the trivial baselines."""

from pathlib import Path
from typing import Any, Final

import numpy as np

from grounding.config import LocalizerConfig
from grounding.datasets.files import Photographs
from grounding.datasets.flickr30k import Flickr30kEntities
from grounding.evaluation.predictions.prediction import Key, Prediction
from grounding.evaluation.predictions.predictor import predict
from grounding.evaluation.protocols.baselines import baselines
from grounding.evaluation.protocols.measure import measure
from grounding.evaluation.protocols.protocol import POINTING, Columns, recall
from grounding.evaluation.runs.scoring import select
from grounding.pipeline import Localizer
from grounding.tagging.classifier import TagClassifier
from grounding.training.agreement import NUMBERS, AgreementValidation
from grounding.training.config import ValidationConfig

_PHRASES: Final = (POINTING[0], recall(1, "merged-box"))
PROTOCOLS: Final[tuple[Any, ...]] = (*_PHRASES, *NUMBERS)  # of all kinds; each has a `name`
_BASELINES: Final = ("centre point", "whole image")


class Validation:
    """What a classifier is measured on: phrases, or where people look.

    Attributes:
        summary: a line for people: what is measured, and the values of the trivial baselines.
        centre: what the centre reaches, as `measure` gives it.

    Raises:
        GroundingError: photographs, annotations or fixations are missing, unreadable or do not belong together.
    """

    def __init__(self, config: ValidationConfig) -> None:
        self._of = AgreementValidation(config) if config.dataset else PhraseValidation(config)
        self.summary, self.centre = self._of.summary, self._of.centre

    def measure(self, classifier: TagClassifier, device: str, limit: int | None = None) -> dict[str, float]:
        """The percentage under each of `PROTOCOLS` that is measured, by name.

        Args:
            limit: use only the first so many photographs.
        """
        return self._of.measure(classifier, device, limit)


class PhraseValidation:
    """Photographs and phrases on which a classifier is measured with the default localizer: see `Validation`."""

    def __init__(self, config: ValidationConfig) -> None:
        split = config.split or "val"
        self._method = config.method
        self._photographs = Photographs([Path(path) for path in config.images])
        entities = Flickr30kEntities(Path(config.annotations))
        selection = select(entities, split, self._photographs, config.limit)
        self._images = [image for image in selection.images if image.boxed_phrases]
        for image in self._images:
            self._photographs.picture(image.id)
        answers = baselines(self._images)
        values = {baseline: percentages(answers[baseline]) for baseline in _BASELINES}
        self.centre = values[_BASELINES[0]]
        trivial = [
            f"{baseline}: {protocol} {value:.1f}"
            for baseline in _BASELINES
            for protocol, value in values[baseline].items()
        ]
        self.summary = f"validation on {split}, {selection.coverage}; {', '.join(trivial)} percent"

    def measure(self, classifier: TagClassifier, device: str, limit: int | None = None) -> dict[str, float]:
        """The percentage under each protocol, by name, each phrase by itself.

        Args:
            limit: use only the first so many photographs.
        """
        localizer = Localizer(classifier, LocalizerConfig(context="none"), device, self._method)
        predictions: dict[Key, Prediction] = {}
        images = self._images[:limit]
        for image in images:
            predictions |= predict(localizer.encode(self._photographs.picture(image.id)), image)
        return percentages(measure(images, predictions))


def percentages(columns: Columns) -> dict[str, float]:
    """The mean under each protocol in percent; protocols without a value are left out."""
    values = {protocol.name: protocol.values(columns) for protocol in _PHRASES}
    return {name: 100 * float(np.nanmean(each)) for name, each in values.items() if not np.isnan(each).all()}
