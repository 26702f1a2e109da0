"""Boxes for a list of labels: what annotation tools ask of a detector."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
from PIL import Image

from grounding.answering import check_threshold
from grounding.errors import GroundingError, check_at_least_one
from grounding.grounded import Region
from grounding.pipeline import Localizer, Scene
from grounding.text.asked import check_phrases
from grounding.text.phrases import find_phrases
from grounding.wording import shortened


class UnknownLabelWarning(UserWarning):
    """Nothing is known of a label, so no box will be drawn for it."""


@dataclass(frozen=True, slots=True)
class Detection:
    """A box for a label; `index` is the position of the label among those that were asked for."""

    label: str
    index: int
    region: Region


@dataclass(frozen=True, slots=True)
class Detector:
    """A localizer with what the tools do not ask about each time.

    Attributes:
        boxes: at most so many a label; those after the first are other readings of the evidence, not other things.
        threshold: the least score of a box. None draws the boxes of what is in the picture: of labels whose presence
            reaches the threshold that the classifier recommends.
    """

    localizer: Localizer
    boxes: int = 1
    threshold: float | None = None

    def __post_init__(self) -> None:
        check_at_least_one("boxes", self.boxes)
        check_threshold(self.threshold, self.localizer.config, self.localizer.classifier)

    @classmethod
    def from_pretrained(cls, classifier: str, device: str, boxes: int, threshold: float | None) -> "Detector":
        """Make one with the classifier of a source, as `Localizer.from_pretrained` takes them."""
        return cls(Localizer.from_pretrained(classifier, device=device), boxes, threshold)

    def __call__(
        self,
        image: npt.NDArray[Any] | Image.Image | str | Path,
        labels: Sequence[str],
        threshold: float | None = None,
    ) -> list[Detection]:
        """Find labels in a picture, as `detect`; a threshold that is given comes before the detector's own."""
        return detect(
            self.localizer.encode(image), labels, self.boxes, self.threshold if threshold is None else threshold
        )


def detect(scene: Scene, labels: Sequence[str], boxes: int = 1, threshold: float | None = None) -> list[Detection]:
    """Find labels in a picture, each by itself.

    A label of which nothing is known has no box, as its regions would be a guess.

    Args:
        scene: the encoded picture.
        labels: each is the phrase that is looked for.
        boxes: at most so many a label.
        threshold: the least score of a box; None draws the boxes of labels that are in the picture, as `Detector` says.

    Returns:
        The best score first, at most `boxes` a label.

    Raises:
        GroundingError: no label, or a blank one; a threshold outside [0, 1].
    """
    found = scene.ground(phrases=labels, top_k=boxes, threshold=None if threshold is None else 0.0)
    check_threshold(threshold, scene.localizer.config, scene.localizer.classifier)
    detections = [
        Detection(label, index, region)
        for index, (label, grounded) in enumerate(zip(labels, found, strict=True))
        if grounded.status == "localized"
        for region in grounded.regions
        if threshold is None or region.score >= threshold
    ]
    return sorted(detections, key=lambda detection: -detection.region.score)


def check_labels(labels: str | Iterable[str]) -> list[str]:
    """The labels that a user gave: a list of texts, or one text in which commas divide them.

    Raises:
        GroundingError: no label, a blank one, or something else than texts.
    """
    texts = [label.strip() for label in labels.split(",")] if isinstance(labels, str) else check_phrases(labels)
    if blank := [label for label in texts if not label.strip()]:
        raise GroundingError(
            f"labels are {shortened(str(labels))!r}, with a blank one {blank[0]!r}: give a name to each"
        )
    return texts


def unknown_labels(localizer: Localizer, labels: Sequence[str]) -> list[str]:
    """The labels of which nothing is known."""
    pairs = zip(labels, find_phrases("", labels), strict=True)
    return [label for label, phrase in pairs if not any(match.tags for match in localizer.vocabulary.match(phrase))]


def warn_of_unknown(localizer: Localizer, labels: Sequence[str]) -> None:
    """Warn with an `UnknownLabelWarning` of labels of which nothing is known."""
    if unknown := unknown_labels(localizer, labels):
        names = ", ".join(map(repr, unknown))
        message = f"nothing is known of {shortened(names, 200)}: no box will be drawn; choose a usual word for it"
        warnings.warn(message, UnknownLabelWarning, stacklevel=3)
