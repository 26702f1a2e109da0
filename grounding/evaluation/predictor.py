"""A localizer's answer for one photograph, as a line of JSON in px of the original photograph."""

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from grounding.boxes import Boxes, Values, enclosing, iou
from grounding.config import METHOD, LocalizerConfig
from grounding.datasets.files import Photographs
from grounding.datasets.flickr30k import EntityImage
from grounding.errors import GroundingError
from grounding.evaluation.prediction import Key, Map, Prediction, phrase_key
from grounding.evaluation.records import prediction_to_json

if TYPE_CHECKING:
    from grounding.grounded import GroundedPhrase
    from grounding.pipeline import Scene

_STORED_MAP_SIDE = 32  # cells; maps are smooth on this scale
TOP_K = 10


@dataclass(frozen=True, slots=True)
class Job:
    """Everything a process needs to predict."""

    photographs: tuple[Path, ...]
    classifier: str
    config: LocalizerConfig
    device: str
    method: str = METHOD


class Predictor:
    """A localizer and the photographs it looks at."""

    def __init__(self, job: Job) -> None:
        from grounding.pipeline import Localizer

        self.photographs = Photographs(job.photographs)
        self.localizer: Localizer = Localizer.from_pretrained(job.classifier, job.config, job.device, job.method)

    def line(self, image: EntityImage) -> str:
        """JSON: the predictions for every phrase with a box; or, for a photograph that cannot be read, the error."""
        from grounding.images import read_image

        record: dict[str, Any] = {"image": image.id}
        try:
            content = self.photographs.read(image.id)
            scene = self.localizer.encode(read_image(io.BytesIO(content), f"{image.id}.jpg"))
        except GroundingError as error:
            return json.dumps(record | {"error": str(error)})
        height, width = scene.image.shape[:2]
        record |= {"sha256": digest(content), "width": width, "height": height}
        return json.dumps(record | {"predictions": predict(scene, image)})


def digest(content: bytes) -> str:
    """SHA-256 of a photograph's file."""
    return hashlib.sha256(content).hexdigest()


def predict(scene: "Scene", image: EntityImage) -> list[dict[str, Any]]:
    """The prediction of every phrase with a box, as JSON values, in px of the original photograph."""
    phrases = image.boxed_phrases
    texts = list(dict.fromkeys(phrase.text for phrase in phrases))  # a text is found the same in every caption
    if not texts:
        return []
    found = dict(zip(texts, scene.ground(", ".join(texts), texts, TOP_K), strict=True))
    height, width = scene.image.shape[:2]
    scale = np.array([image.width / width, image.height / height] * 2)
    reached = _reached(scene.proposals * scale, image)
    return [_record(phrase_key(image, phrase), found[phrase.text], scale, reached[phrase.chain]) for phrase in phrases]


def _reached(proposals: Boxes, image: EntityImage) -> dict[str, tuple[float, float]]:
    """For each chain the best IoU of any proposal with one of its boxes, and with the box that encloses them."""
    reached = {}
    for chain, boxes in image.boxes.items():
        best = iou(proposals, np.concatenate([boxes, enclosing(boxes)])).max(0, initial=0)  # (M + 1,)
        reached[chain] = float(best[:-1].max()), float(best[-1])
    return reached


def _record(key: Key, found: "GroundedPhrase", scale: Values, reached: tuple[float, float]) -> dict[str, Any]:
    prediction = Prediction(
        boxes=np.array([region.box for region in found.regions]).reshape(-1, 4) * scale,
        scores=np.array([region.score for region in found.regions]),
        point=None if found.point is None else (found.point[0] * scale[0], found.point[1] * scale[1]),
        map=_small(found.grid_map),
        point_map=_small(found.point_map),
        status=found.status,
        proposal_iou=reached,
    )
    return prediction_to_json(key, prediction)


def _small(map_: Map) -> Map:
    side = min(_STORED_MAP_SIDE, *map_.shape)
    return np.asarray(Image.fromarray(map_).resize((side, side), Image.Resampling.BOX))
