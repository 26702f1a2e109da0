"""Draw a random sample of the phrases that are missed (R@1, merged box, IoU 0.5), to be judged by eye.

    python scripts/misses.py --images ../shared/data/flickr-val-00000.tar \\
        --annotations ../shared/data/flickr30k_entities_trainval.zip --output runs/misses

Writes sheets of ten phrases and `misses.csv`. A phrase is drawn twice: the photograph with the true boxes (green; the
one around them all white) and ours (red), and its map with our box and point.
"""

import argparse
import csv
import io
import random
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

import grounding
from grounding.boxes import enclosing, iou
from grounding.datasets.files import Photographs
from grounding.datasets.flickr30k import EntityImage, EntityPhrase, Flickr30kEntities
from grounding.drawing import map_picture
from grounding.errors import GroundingError
from grounding.evaluation.scoring import select
from grounding.grounded import GroundedPhrase
from grounding.pipeline import Localizer, Scene

_PICTURE_PX = (300, 225)  # of each of the two pictures of a phrase
_TEXT_PX = 44
_A_SHEET = 10


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, nargs="+", required=True)
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--split", default="val")
    parser.add_argument("--classifier", default="embedded")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    try:
        draw_misses(options)
    except (GroundingError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def draw_misses(options: argparse.Namespace) -> None:
    """Write the sheets and the table."""
    localizer = Localizer.from_pretrained(options.classifier)
    photographs = Photographs(options.images)
    images = select(Flickr30kEntities(options.annotations), options.split, photographs, None).images
    missed: list[tuple[EntityImage, EntityPhrase]] = []
    for image in tqdm(images, unit=" photographs"):
        texts = list(dict.fromkeys(phrase.text for phrase in image.boxed_phrases))
        found = dict(zip(texts, _encode(localizer, photographs, image).ground(", ".join(texts), texts), strict=True))
        missed += [(image, p) for p in image.boxed_phrases if _overlap(found[p.text], image, p) < 0.5]
    sample = random.Random(options.seed).sample(missed, min(options.count, len(missed)))

    rows: list[dict[str, object]] = []
    tiles = []
    for number, (image, phrase) in enumerate(tqdm(sample, unit=" phrases"), start=1):
        scene = _encode(localizer, photographs, image)
        answer = scene.ground(phrase.text, [phrase.text])[0]
        rows.append(_facts(number, scene, answer, image, phrase))
        tiles.append(_tile(rows[-1], scene, answer, image, phrase))
    options.output.mkdir(parents=True, exist_ok=True)
    for first in range(0, len(tiles), _A_SHEET):
        _sheet(tiles[first : first + _A_SHEET]).save(options.output / f"sheet-{first // _A_SHEET + 1:02d}.png")
    with (options.output / "misses.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["number"])
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(missed)} phrases are missed; {len(sample)} of them are drawn in {options.output}")


def _encode(localizer: Localizer, photographs: Photographs, image: EntityImage) -> Scene:
    return localizer.encode(grounding.read_image(io.BytesIO(photographs.read(image.id))))


def _true_boxes(answer: GroundedPhrase, image: EntityImage, phrase: EntityPhrase) -> np.ndarray:
    """In px of the photograph at hand."""
    height, width = answer.image_size
    scaled: np.ndarray = image.boxes[phrase.chain] * np.array([width / image.width, height / image.height] * 2)
    return scaled


def _overlap(answer: GroundedPhrase, image: EntityImage, phrase: EntityPhrase) -> float:
    if answer.best is None:
        return 0.0
    return float(iou(np.array([answer.best.box]), enclosing(_true_boxes(answer, image, phrase)))[0, 0])


def _facts(
    number: int, scene: Scene, answer: GroundedPhrase, image: EntityImage, phrase: EntityPhrase
) -> dict[str, object]:
    probability = dict(scene.tags(len(scene.localizer.classifier.tags)))
    words = [f"{w.word} > {w.tag} {probability[w.tag]:.2f}" if w.tag else f"{w.word} > ?" for w in answer.words]
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


def _tile(
    facts: dict[str, object], scene: Scene, answer: GroundedPhrase, image: EntityImage, phrase: EntityPhrase
) -> Image.Image:
    boxes = _true_boxes(answer, image, phrase)
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
    texts = [str(value) for value in facts.values()]
    pen.text((4, 4), f"{texts[0]}. {texts[2]} ({texts[3]})", "black", font)
    inside = "in" if facts["point inside"] else "out"
    pen.text((4, 23), f"{texts[4]}   IoU {texts[5]}, point {inside}, area {texts[7]} / {texts[8]}", "#404040", font)
    return tile


def _sheet(tiles: list[Image.Image]) -> Image.Image:
    """Two columns."""
    width, height = tiles[0].size
    sheet = Image.new("RGB", (2 * width, (len(tiles) + 1) // 2 * height), "white")
    for place, tile in enumerate(tiles):
        sheet.paste(tile, (place % 2 * width, place // 2 * height))
    return sheet


if __name__ == "__main__":
    sys.exit(main())
