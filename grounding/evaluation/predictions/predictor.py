"""A localizer's predictions for the phrases of a photograph, in px of the original photograph."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from grounding.boxes import Boxes, Values, enclosing, iou
from grounding.config import METHOD, LocalizerConfig
from grounding.datasets.files import Photographs
from grounding.datasets.flickr30k import EntityImage
from grounding.errors import GroundingError
from grounding.evaluation.predictions.prediction import Key, Map, Prediction, phrase_key
from grounding.evaluation.predictions.records import as_stored
from grounding.grounded import GroundedPhrase
from grounding.images import read_image
from grounding.pipeline import Localizer, Scene
from grounding.tagging.clip_classifier import Classifier
from grounding.tagging.sources import load_classifier

TOP_K: Final = 10
_STORED_MAP_SIDE: Final = 32  # cells; maps are smooth on this scale


@dataclass(frozen=True, slots=True)
class Job:
    """Everything a process needs to predict.

    `phrases_of_others` are texts to ask the presence of, by image id.
    """

    photographs: tuple[Path, ...]
    classifier: str
    config: LocalizerConfig
    device: str
    method: str = METHOD
    phrases_of_others: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What came of one photograph.

    Attributes:
        image: its id.
        error: why it could not be read, and then nothing else is known; or None.
        sha256: of its file.
        size: (width, height) in px.
        predictions: of every phrase with a box.
        presences_of_others: of the job's phrases of others.
    """

    image: str
    error: str | None = None
    sha256: str = ""
    size: tuple[int, int] = (0, 0)
    predictions: Mapping[Key, Prediction] = field(default_factory=dict)
    presences_of_others: tuple[float | None, ...] = ()


class Predictor:
    """A localizer and the photographs it looks at.

    Args:
        classifier: the job's, where it is loaded already.
    """

    def __init__(self, job: Job, classifier: Classifier | None = None) -> None:
        self.photographs, self._phrases_of_others = Photographs(job.photographs), job.phrases_of_others
        classifier = classifier or load_classifier(job.classifier)
        self.localizer = Localizer(classifier, job.config, job.device, job.method)

    def __call__(self, image: EntityImage) -> Outcome:
        """Look at one photograph."""
        try:
            content = self.photographs.read(image.id)
            scene = self.localizer.encode(read_image(io.BytesIO(content), f"{image.id}.jpg"))
        except GroundingError as error:
            return Outcome(image.id, str(error))
        height, width = scene.image.shape[:2]
        texts = self._phrases_of_others.get(image.id)
        others = tuple(scene.presences(texts)) if texts else ()
        return Outcome(image.id, None, digest(content), (width, height), predict(scene, image), others)


def digest(content: bytes) -> str:
    """SHA-256 of a photograph's file."""
    return hashlib.sha256(content).hexdigest()


def predict(scene: Scene, image: EntityImage) -> dict[Key, Prediction]:
    """The prediction of every phrase with a box, in px of the original photograph, as a file would keep it."""
    grounded = ground_phrases(scene, image, TOP_K)
    height, width = scene.image.shape[:2]
    scale = np.array([image.width / width, image.height / height] * 2)
    reached = _reached(scene.proposals * scale, image)
    keys = {phrase_key(image, phrase): phrase.chain for phrase in image.boxed_phrases}
    return {key: _prediction(grounded[key], scale, reached[chain]) for key, chain in keys.items()}


def ground_phrases(scene: Scene, image: EntityImage, top_k: int) -> dict[Key, GroundedPhrase]:
    """Every phrase with a box as the scene finds it, in the context that its localizer's configuration says.

    - `none`: each distinct text by itself, once; it is found the same in every caption.
    - `caption`: the phrases of each caption with this caption, one caption after the other. All marked phrases are
      asked for, those without a box too: each is looked for in the caption after the one before it, so that none is
      taken for an earlier occurrence of the same words.
    """
    phrases = image.boxed_phrases
    if not phrases:
        return {}
    if scene.localizer.config.context == "caption":
        return _with_captions(scene, image, top_k)
    texts = list(dict.fromkeys(phrase.text for phrase in phrases))
    found = dict(zip(texts, scene.ground(", ".join(texts), texts, top_k), strict=True))
    return {phrase_key(image, phrase): found[phrase.text] for phrase in phrases}


def _with_captions(scene: Scene, image: EntityImage, top_k: int) -> dict[Key, GroundedPhrase]:
    sentences = sorted({phrase.sentence for phrase in image.boxed_phrases})
    asked = {number: [phrase for phrase in image.phrases if phrase.sentence == number] for number in sentences}
    scene.prepare(dict.fromkeys(phrase.text for phrases in asked.values() for phrase in phrases))
    grounded: dict[Key, GroundedPhrase] = {}
    for number, phrases in asked.items():
        answers = scene.ground(image.captions[number], [phrase.text for phrase in phrases], top_k)
        pairs = zip(phrases, answers, strict=True)
        grounded |= {phrase_key(image, phrase): found for phrase, found in pairs if phrase.chain in image.boxes}
    return grounded


def _reached(proposals: Boxes, image: EntityImage) -> dict[str, tuple[float, float]]:
    """For each chain the best IoU of any proposal with one of its boxes, and with the box that encloses them."""
    reached = {}
    for chain, boxes in image.boxes.items():
        best = iou(proposals, np.concatenate([boxes, enclosing(boxes)])).max(0, initial=0)  # (M + 1,)
        reached[chain] = float(best[:-1].max()), float(best[-1])
    return reached


def _prediction(phrase: GroundedPhrase, scale: Values, reached: tuple[float, float]) -> Prediction:
    prediction = Prediction(
        boxes=np.array([region.box for region in phrase.regions]).reshape(-1, 4) * scale,
        scores=np.array([region.score for region in phrase.regions]),
        point=None if phrase.point is None else (phrase.point[0] * scale[0], phrase.point[1] * scale[1]),
        map=_small(phrase.grid_map),
        point_map=_small(phrase.point_map),
        status=phrase.status,
        proposal_iou=reached,
        presence=phrase.presence,
    )
    return as_stored(prediction)


def _small(map_: Map) -> Map:
    side = min(_STORED_MAP_SIDE, *map_.shape)
    return np.asarray(Image.fromarray(map_).resize((side, side), Image.Resampling.BOX))
