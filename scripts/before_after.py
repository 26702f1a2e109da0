"""Twelve photographs with the best boxes of two finished runs, chosen by a rule and not by how they look.

    python scripts/before_after.py runs/before runs/after --images photos/ --output runs/before-after.png

The rule, written before any picture was drawn: a phrase is a hit where its best box has an IoU of at least 0.5 with the
box round all its true boxes (R@1, merged box). All phrases that both runs have are put in the order of the SHA-256 of
"SEED IMAGE SENTENCE PHRASE". The first four that the second run hits and the first misses are taken, then the first
four of the reverse, then the first four that are the same in both; a photograph that has been taken is passed over.
The photographs of Flickr30k may not be published: keep the picture to yourself.

Each phrase is drawn as the first run has it, then as the second. Green is the true box, white the one round several;
"""

import argparse
import hashlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from grounding.boxes import Values, enclosing
from grounding.commands import exit_status
from grounding.datasets.files import Photographs
from grounding.datasets.flickr30k import EntityImage, EntityPhrase
from grounding.evaluation.predictions.prediction import MISSING, Key, Prediction, phrase_index, phrase_key
from grounding.evaluation.protocols.measure import point_of
from grounding.evaluation.protocols.protocol import iou_column
from grounding.evaluation.runs.folder import read_run
from grounding.evaluation.runs.scoring import Run

SEED: Final = 0
EACH: Final = 4
KINDS: Final = {
    (False, True): "now a hit",
    (True, False): "now a miss",
    (True, True): "a hit",
    (False, False): "a miss",
}
PICTURE_PX: Final = (380, 285)
TEXT_PX: Final = 50
COLUMNS: Final = 2
Sides = tuple[bool, bool]  # whether the first and the second run hit


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="the --output of a run")
    parser.add_argument("after", type=Path, help="the --output of another")
    parser.add_argument("--images", type=Path, nargs="+", required=True, help="photographs: folders, zips or tars")
    parser.add_argument("--output", type=Path, required=True, help="the picture to write")
    options = parser.parse_args(arguments)
    return exit_status(lambda: _draw(options))


def _draw(options: argparse.Namespace) -> int:
    runs = read_run(options.before), read_run(options.after)
    photographs, places, tiles = Photographs(options.images), _places(runs[1]), []
    both = [best_overlaps(run) for run in runs]
    chosen = choose(*({key: overlap >= 0.5 for key, overlap in best.items()} for best in both))
    for number, (key, kind) in enumerate(chosen, start=1):
        image, phrase = places[key]
        overlaps = [best[key] for best in both]
        print(f"{number}. {kind}: {image.id}, {phrase.text!r}, IoU {overlaps[0]:.2f} and {overlaps[1]:.2f}")
        title = f"{number}. {phrase.text}: {kind} (IoU {overlaps[0]:.2f}, {overlaps[1]:.2f})"
        picture = Image.fromarray(photographs.picture(image.id))
        tiles.append(tile(picture, title, image, phrase, [run.predictions.get(key, MISSING) for run in runs]))
    width, height = tiles[0].size
    sheet = Image.new("RGB", (COLUMNS * width, -(-len(tiles) // COLUMNS) * height), "white")
    for place, one in enumerate(tiles):
        sheet.paste(one, (place % COLUMNS * width, place // COLUMNS * height))
    sheet.save(options.output)
    return 0


def best_overlaps(run: Run) -> dict[Key, float]:
    """The IoU of the best box of each phrase with the box round all its true boxes."""
    overlaps = run.columns[iou_column(1, "merged-box")].tolist()
    return dict(zip(phrase_index(run.images), overlaps, strict=True))


def _places(run: Run) -> dict[Key, tuple[EntityImage, EntityPhrase]]:
    return {phrase_key(image, phrase): (image, phrase) for image in run.images for phrase in image.boxed_phrases}


def choose(before: Mapping[Key, bool], after: Mapping[Key, bool]) -> list[tuple[Key, str]]:
    """The phrases of the rule, each with what became of it."""
    order = sorted(before.keys() & after.keys(), key=_rank)
    sides = {key: (before[key], after[key]) for key in order}
    taken: list[Key] = []
    for wanted in ([(False, True)], [(True, False)], [(True, True), (False, False)]):
        taken += _first(order, sides, wanted, {image for image, _, _ in taken})
    return [(key, KINDS[sides[key]]) for key in taken]


def _first(order: Iterable[Key], sides: Mapping[Key, Sides], wanted: Sequence[Sides], seen: set[str]) -> list[Key]:
    found: list[Key] = []
    for key in order:
        if len(found) < EACH and sides[key] in wanted and key[0] not in seen:
            found.append(key)
            seen.add(key[0])
    return found


def _rank(key: Key) -> str:
    image, sentence, phrase = key
    return hashlib.sha256(f"{SEED} {image} {sentence} {phrase}".encode()).hexdigest()


def tile(
    photograph: Image.Image, title: str, image: EntityImage, phrase: EntityPhrase, answers: Sequence[Prediction]
) -> Image.Image:
    """The photograph as often as there are answers, each on one of them, with the caption above."""
    shrink = min(limit / side for limit, side in zip(PICTURE_PX, photograph.size, strict=True))
    small = photograph.resize((round(photograph.width * shrink), round(photograph.height * shrink)))
    scale = small.width / image.width  # boxes are in px of the original
    drawn = Image.new("RGB", (len(answers) * (PICTURE_PX[0] + 4) + 8, PICTURE_PX[1] + TEXT_PX + 8), "white")
    for place, answer in enumerate(answers):
        picture = small.copy()
        _boxes(ImageDraw.Draw(picture), image.boxes[phrase.chain] * scale, answer, scale)
        drawn.paste(picture, (place * (PICTURE_PX[0] + 4), TEXT_PX))
    pen = ImageDraw.Draw(drawn)
    pen.text((4, 4), title, "black", ImageFont.load_default(16))
    pen.text((4, 27), image.captions[phrase.sentence][:110], "#404040", ImageFont.load_default(14))
    return drawn


def _boxes(pen: ImageDraw.ImageDraw, true: Values, answer: Prediction, scale: float) -> None:
    if len(true) > 1:
        pen.rectangle(enclosing(true)[0].tolist(), outline="white", width=2)
    for box in true.tolist():
        pen.rectangle(box, outline="#20d060", width=2)
    if len(answer.boxes):
        pen.rectangle((answer.boxes[0] * scale).tolist(), outline="#ff8c1a", width=3)
    point = point_of(answer)
    if point is not None:
        x, y = point[0] * scale, point[1] * scale
        pen.ellipse((x - 5, y - 5, x + 5, y + 5), fill="#ff8c1a", outline="white", width=2)


if __name__ == "__main__":
    sys.exit(main())
