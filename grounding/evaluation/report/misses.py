"""Sheets of missed phrases (R@1, merged box, IoU 0.5), drawn at random, to be judged by eye.

A phrase is drawn twice: the photograph with the true boxes (green; the one around them all white) and ours (red), and
its map with our box and point.
"""

import csv
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from grounding.boxes import Values, enclosing, iou
from grounding.config import TOP_K
from grounding.datasets.files import Photographs
from grounding.datasets.flickr30k import EntityImage, EntityPhrase
from grounding.drawing import map_picture
from grounding.evaluation.predictions.prediction import phrase_key
from grounding.evaluation.predictions.predictor import ground_phrases
from grounding.folders import check_output, whole_folder
from grounding.grounded import GroundedPhrase
from grounding.pipeline import Localizer, Scene

_PICTURE_PX: Final = (300, 225)  # of each of the two pictures of a phrase
_TEXT_PX: Final = 44
_A_SHEET: Final = 10
_TABLE, _SHEETS = "misses.csv", "sheet-*.png"


def draw_misses(
    localizer: Localizer,
    images: Sequence[EntityImage],
    photographs: Photographs,
    folder: Path,
    overwrite: bool,
    count: int,
    seed: int,
) -> tuple[int, int]:
    """Write the sheets, ten phrases each, and misses.csv.

    Returns:
        How many phrases are missed, and how many of them are drawn: `count` at most.

    Raises:
        GroundingError: as `check_output`.
    """
    check_output(folder, overwrite, (_TABLE, _SHEETS))
    missed = _missed(localizer, images, photographs)
    sample = random.Random(seed).sample(missed, min(count, len(missed)))
    rows, tiles = [], []
    for number, (image, phrase) in enumerate(tqdm(sample, unit=" phrases"), start=1):
        scene = localizer.encode(photographs.picture(image.id))
        answer = ground_phrases(scene, image, TOP_K)[phrase_key(image, phrase)]
        rows.append(_facts(number, scene, answer, image, phrase))
        tiles.append(_tile(rows[-1], scene, answer, _true_boxes(answer, image, phrase)))
    with whole_folder(folder, overwrite, (_TABLE, _SHEETS)) as partial:
        for first in range(0, len(tiles), _A_SHEET):
            name = _SHEETS.replace("*", f"{first // _A_SHEET + 1:02d}")
            _sheet(tiles[first : first + _A_SHEET]).save(partial / name)
        with (partial / _TABLE).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]) if rows else ["number"])
            writer.writeheader()
            writer.writerows(rows)
    return len(missed), len(sample)


def _missed(
    localizer: Localizer, images: Sequence[EntityImage], photographs: Photographs
) -> list[tuple[EntityImage, EntityPhrase]]:
    missed: list[tuple[EntityImage, EntityPhrase]] = []
    for image in tqdm(images, unit=" photographs"):
        if phrases := image.boxed_phrases:
            found = ground_phrases(localizer.encode(photographs.picture(image.id)), image, TOP_K)
            missed += [(image, p) for p in phrases if _overlap(found[phrase_key(image, p)], image, p) < 0.5]
    return missed


def _true_boxes(answer: GroundedPhrase, image: EntityImage, phrase: EntityPhrase) -> Values:
    """In px of the photograph at hand."""
    height, width = answer.image_size
    scaled: Values = image.boxes[phrase.chain] * np.array([width / image.width, height / image.height] * 2)
    return scaled


def _overlap(answer: GroundedPhrase, image: EntityImage, phrase: EntityPhrase) -> float:
    if answer.best is None:
        return 0.0
    return float(iou(np.array([answer.best.box]), enclosing(_true_boxes(answer, image, phrase)))[0, 0])


def _facts(
    number: int, scene: Scene, answer: GroundedPhrase, image: EntityImage, phrase: EntityPhrase
) -> dict[str, Any]:
    """A row of misses.csv; areas are shares of the photograph."""
    tags = scene.localizer.classifier.tags
    probability = dict(scene.tags(len(tags))) if tags else {answer.phrase.text: answer.presence or 0.0}
    words = [
        f"{w.word} > {w.tag} {max(probability[tag] for tag in w.tags):.2f}" if w.tags else f"{w.word} > ?"
        for w in answer.words
    ]
    x0, y0, x1, y1 = enclosing(_true_boxes(answer, image, phrase))[0]
    inside = answer.point is not None and x0 <= answer.point[0] < x1 and y0 <= answer.point[1] < y1
    box = answer.best.box if answer.best else (0, 0, 0, 0)
    pixels = answer.image_size[0] * answer.image_size[1]
    return {
        "number": number,
        "image": image.id,
        "phrase": phrase.text,
        "type": "/".join(phrase.types),
        "words > tags and their probability": "; ".join(words),
        "iou": round(_overlap(answer, image, phrase), 2),
        "point inside": inside,
        "true area": round((x1 - x0) * (y1 - y0) / pixels, 2),
        "our area": round((box[2] - box[0]) * (box[3] - box[1]) / pixels, 2),
    }


def _tile(facts: dict[str, Any], scene: Scene, answer: GroundedPhrase, boxes: Values) -> Image.Image:
    """The two pictures of a phrase under two lines of text."""
    photograph = Image.fromarray(scene.image)
    pen = ImageDraw.Draw(photograph)
    pen.rectangle(tuple(enclosing(boxes)[0]), outline="white", width=2)
    for box in boxes:
        pen.rectangle(tuple(box), outline="#20d060", width=2)
    if answer.best:
        pen.rectangle(answer.best.box, outline="#ff3020", width=2)

    tile = Image.new("RGB", (2 * _PICTURE_PX[0], _PICTURE_PX[1] + _TEXT_PX), "white")
    for left, picture in ((0, photograph), (_PICTURE_PX[0], map_picture(scene.image, answer))):
        picture.thumbnail(_PICTURE_PX)
        tile.paste(picture, (left, _TEXT_PX))
    pen, font = ImageDraw.Draw(tile), ImageFont.load_default(13)
    pen.text((4, 4), "{number}. {phrase} ({type})".format(**facts), "black", font)
    words, inside = facts["words > tags and their probability"], "in" if facts["point inside"] else "out"
    areas = f"area {facts['true area']} / {facts['our area']}"
    pen.text((4, 23), f"{words}   IoU {facts['iou']}, point {inside}, {areas}", "#404040", font)
    return tile


def _sheet(tiles: Sequence[Image.Image]) -> Image.Image:
    """Two columns."""
    width, height = tiles[0].size
    sheet = Image.new("RGB", (2 * width, (len(tiles) + 1) // 2 * height), "white")
    for place, tile in enumerate(tiles):
        sheet.paste(tile, (place % 2 * width, place // 2 * height))
    return sheet
