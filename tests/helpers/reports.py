"""Runs on invented images, for the pages of an evaluation."""

import io
import json

import numpy as np
import pandas as pd
from PIL import Image

from grounding.boxes import enclosing
from grounding.datasets.flickr30k import EntityImage, EntityPhrase, boxed_phrases
from grounding.evaluation.predictions.prediction import Prediction
from grounding.evaluation.protocols.measure import measure
from grounding.evaluation.runs.scoring import Run, Selection, score

HOSTILE = "A <b>man</b> & \"his\" 'cat' 猫 עברית <script>alert(1)</script> runs"


def entity_image(number, chains, caption=None):
    """An image whose caption names each chain once: `chains` is a list of (type, boxes)."""
    words = [f"thing{place}" for place in range(len(chains))]
    caption = caption or " and ".join(words)
    phrases, boxes = [], {}
    for place, (kind, group) in enumerate(chains):
        start = caption.find(words[place])
        start, end = (start, start + len(words[place])) if start >= 0 else (0, len(caption))
        phrases.append(EntityPhrase(0, place, caption[start:end], start, end, str(place + 1), (kind,)))
        boxes[str(place + 1)] = np.array(group, np.float64)
    return EntityImage(f"im{number}", 200, 100, (caption,), tuple(phrases), boxes, frozenset(), frozenset())


def predict(images, seed=0, scores=True, maps=True):
    rng = np.random.default_rng(seed)
    found = {}
    for image, phrase in boxed_phrases(images):
        true = enclosing(image.boxes[phrase.chain])[0]
        boxes = np.stack([true + rng.normal(0, 12, 4), [0, 0, 200, 100]]).clip(0, (200, 100, 200, 100))
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        status = "localized" if rng.random() < 0.9 else "out-of-vocabulary"
        found[image.id, phrase.sentence, phrase.index] = Prediction(
            boxes,
            np.sort(rng.gamma(2.0, size=2))[::-1].copy() if scores else None,
            map=rng.random((4, 8)).astype(np.float32) if maps else None,
            status=status,
        )
    return found


def make_run(images, predictions, name="a run", baselines_only=False, missing=753, **dataset):
    columns = pd.DataFrame() if baselines_only else measure(images, predictions)
    selection = Selection("val", 1000, images, missing=tuple(map(str, range(missing))))
    settings = {"maps": {"stride": None, "gamma": 0.35}, "classifier": "<i>embedded</i>"}
    metrics = json.loads(json.dumps(score(selection, name, settings, predictions, columns)))
    metrics["dataset"] |= {"coverage": "247 of 1,000 images present", **dataset}
    return Run(metrics, images, predictions, columns)


def photograph(_):
    file = io.BytesIO()
    Image.fromarray(np.full((500, 800, 3), 90, np.uint8)).save(file, "JPEG")
    return file.getvalue()
