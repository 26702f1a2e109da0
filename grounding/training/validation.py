"""How well a classifier in training localizes: phrases of Flickr30k Entities, two protocols, beside trivial answers."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from grounding.boxes import Values
from grounding.datasets.files import Photographs
from grounding.datasets.flickr30k import EntityImage, Flickr30kEntities
from grounding.evaluation.baselines import baselines
from grounding.evaluation.metrics import measure
from grounding.evaluation.prediction import Key, Prediction
from grounding.evaluation.predictor import predict
from grounding.evaluation.protocol import POINTING, Recall
from grounding.evaluation.records import prediction_from_json
from grounding.evaluation.scoring import select
from grounding.images import RgbImage, read_image
from grounding.pipeline import Localizer
from grounding.tagging.classifier import TagClassifier
from grounding.training.config import ValidationConfig

PROTOCOLS: Final = (POINTING[0], Recall(1, "merged-box"))
_BASELINES: Final = ("centre point", "whole image")


class Validation:
    """The photographs and phrases that a classifier is measured on, with the default localizer.

    Attributes:
        summary: for people: what is measured, and what trivial answers reach.

    Raises:
        GroundingError: photographs or annotations are missing or do not belong together, or a photograph is unreadable.
    """

    def __init__(self, config: ValidationConfig) -> None:
        self._method = config.method
        self._photographs = Photographs([Path(path) for path in config.images])
        entities = Flickr30kEntities(Path(config.annotations))
        selection = select(entities, config.split, self._photographs, config.limit)
        self._images = [image for image in selection.images if image.boxed_phrases]
        for image in self._images:
            self._read(image)
        answers = baselines(self._images)
        trivial = [
            f"{baseline}: {protocol} {value:.1f}"
            for baseline in _BASELINES
            for protocol, value in percentages(answers[baseline]).items()
        ]
        self.summary = f"validation on {config.split}, {selection.coverage}; {', '.join(trivial)} percent"

    def measure(self, classifier: TagClassifier, device: str, limit: int | None = None) -> dict[str, float]:
        """The percentage under each protocol, by name.

        Args:
            limit: only the first so many photographs.
        """
        localizer = Localizer(classifier, device=device, method=self._method)
        found: dict[Key, Prediction] = {}
        images = self._images[:limit]
        for image in images:
            found |= map(prediction_from_json, predict(localizer.encode(self._read(image)), image))
        return percentages(measure(images, found))

    def _read(self, image: EntityImage) -> RgbImage:
        return read_image(io.BytesIO(self._photographs.read(image.id)), f"{image.id}.jpg")


def percentages(columns: Mapping[str, Values]) -> dict[str, float]:
    """The mean under each protocol in percent; protocols without a value are left out."""
    values = {protocol.name: protocol.values(columns) for protocol in PROTOCOLS}
    return {name: 100 * float(np.nanmean(each)) for name, each in values.items() if not np.isnan(each).all()}
