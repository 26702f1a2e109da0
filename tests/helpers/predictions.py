"""Two invented images with six phrases that have a box, and predictions for them as records and as lines."""

import base64
import io
import json

import numpy as np
from PIL import Image

from grounding.datasets.flickr30k import EntityImage, EntityPhrase
from grounding.evaluation.predictions.reading import read_predictions


def entity_image(name):
    """Sentence 0: a man (boxed), the air (not), a dog (boxed); sentence 1: a dog (boxed). 200 x 100 px."""
    phrases = [
        EntityPhrase(0, 0, "a man", 0, 5, "1", ("people",)),
        EntityPhrase(0, 1, "the air", 14, 21, "0", ("notvisual",)),
        EntityPhrase(0, 2, "a dog", 25, 30, "2", ("animals", "other")),
        EntityPhrase(1, 0, "A dog", 0, 5, "2", ("animals", "other")),
    ]
    boxes = {"1": np.array([[0.0, 0, 40, 50], [60, 0, 100, 50]]), "2": np.array([[100.0, 50, 200, 100]])}
    captions = ("a man throws the air to a dog", "A dog runs")
    return EntityImage(name, 200, 100, captions, tuple(phrases), boxes, frozenset(), frozenset())


IMAGES = [entity_image("11"), entity_image("12")]
SPLITS = {"train": ["31"], "val": ["11", "12", "13"], "test": ["21", "22"]}
KEYS = [(image.id, phrase.sentence, phrase.index) for image in IMAGES for phrase in image.boxed_phrases]


def record(key=("11", 0, 0), **values):
    return dict(zip(("image", "sentence", "phrase"), key, strict=True)) | {"boxes": [[1, 2, 3, 4]]} | values


def complete(*changed):
    """One record a phrase with a box; those given replace theirs."""
    done = {(values["image"], values["sentence"], values["phrase"]) for values in changed}
    return [*changed, *(record(key) for key in KEYS if key not in done)]


def read_lines(folder, records, images=None, split="val", allow_missing=False):
    """What `read_predictions` makes of these records as JSON Lines; a text is a line as it is."""
    path = folder / "theirs.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in records))
    return read_predictions(path, IMAGES if images is None else images, split, SPLITS, allow_missing)


def png(array, mode="L"):
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(array, np.uint8)).convert(mode).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def parts(prediction):
    def plain(value):
        return value.tolist() if isinstance(value, np.ndarray) else value

    fields = ("boxes", "scores", "point", "map", "point_map", "status", "proposal_iou", "presence")
    return {name: plain(getattr(prediction, name)) for name in fields}
