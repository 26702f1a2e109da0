"""A tiny invented data set in the official layout of Flickr30k Entities, made so that every rule decides something.

The val split has five images and 24 marked phrases, 20 of them with a box; train has two images, test one.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from grounding.datasets.flickr30k import EntityImage, EntityPhrase

FILLER = "Nothing is marked here ."


@dataclass(frozen=True)
class Drawn:
    """An image: size in px, boxes as ("chain chain ...", xmin, ymin, xmax, ymax) with 1-based inclusive edges."""

    split: str
    width: int
    height: int
    boxes: list[tuple[str, int, int, int, int]]
    captions: list[str]
    flags: dict[str, tuple[int, int]] = field(default_factory=dict)  # chain -> (scene, nobndbox)


IMAGES = {
    # Chain 1 has two boxes; chain 4 is exactly 5% of the image (50 x 20 of 200 x 100); 2 and 3 have no box.
    "1001": Drawn(
        "val",
        200,
        100,
        [("1", 1, 1, 40, 50), ("1", 61, 1, 100, 50), ("4", 101, 21, 150, 40)],
        [
            "[/EN#1/people Two men] in [/EN#4/clothing shirts] wave [/EN#2/other a flag] on [/EN#3/scene a street] .",
            "[/EN#1/people They] point into [/EN#0/notvisual the air] in [/EN#4/clothing red shirts] .",
        ],
        {"2": (0, 1), "3": (1, 1)},
    ),
    # The same words for chains 5 and 6, side by side; 8 and 9 share a box; 7 has two types.
    "1002": Drawn(
        "val",
        60,
        120,
        [("5", 11, 21, 30, 60), ("6", 31, 21, 50, 60), ("7", 1, 61, 60, 78), ("8 9", 21, 81, 40, 118)],
        [
            "Here [/EN#5/people a man] greets [/EN#6/people a man] .",
            "[/EN#7/animals/other A toy dog] lies on [/EN#8/vehicles a cart] with [/EN#9/other a wheel] .",
        ],
    ),
    # Chain 10: the first box is 2% of the image, the enclosing one all of it; 12 is the scene and has a box; 13 is 2%.
    "1003": Drawn(
        "val",
        100,
        50,
        [("10", 1, 1, 10, 10), ("10", 71, 31, 100, 50), ("12", 1, 1, 100, 50), ("13", 41, 11, 50, 20)],
        [
            "[/EN#10/instruments Drums] in [/EN#11/scene a bar] , seen across [/EN#12/scene a hall] .",
            "[/EN#13/bodyparts Her hand] rests .",
        ],
        {"11": (1, 1), "12": (1, 0)},
    ),
    # Chain 14 changes its type; the boxes of 15 overlap; those of 16 enclose exactly 5% (20 x 10 of 50 x 80).
    "1004": Drawn(
        "val",
        50,
        80,
        [
            ("14", 11, 11, 40, 50),
            *[("15", 1, 1, 20, 40), ("15", 11, 21, 30, 60)],
            *[("16", 1, 61, 5, 70), ("16", 11, 61, 20, 70)],
        ],
        [
            "[/EN#15/people Two girls] share [/EN#14/clothing a costume] .",
            "[/EN#14/other A disguise] hides all but [/EN#16/bodyparts four feet] .",
            "[/EN#15/people The girls] wear [/EN#14/clothing a dress] .",
        ],
    ),
    # Chain 5 again, of another image.
    "1005": Drawn(
        "val",
        120,
        40,
        [("5", 1, 1, 30, 10), ("18", 1, 21, 120, 40)],
        [FILLER, "[/EN#5/vehicles A bus] on [/EN#18/scene a road] ."],
    ),
    "2001": Drawn("train", 80, 60, [("1", 9, 7, 72, 54)], ["[/EN#1/people A clown] bows ."]),
    "2002": Drawn(
        "train",
        60,
        80,
        [("2", 7, 9, 54, 72), ("3", 1, 1, 60, 80)],
        ["[/EN#2/animals A cat] in [/EN#3/scene a yard] ."],
    ),
    "3001": Drawn("test", 80, 60, [("1", 1, 1, 40, 30)], ["[/EN#1/other A kite] flies ."]),
}


def annotation(image: str, drawn: Drawn) -> str:
    """The XML of an image, laid out as the official files are."""
    lines = ["<annotation>", f"\t<filename>{image}.jpg</filename>", "\t<size>", f"\t\t<width>{drawn.width}</width>"]
    lines += [f"\t\t<height>{drawn.height}</height>", "\t\t<depth>3</depth>", "\t</size>"]
    for chains, *edges in drawn.boxes:
        lines += ["\t<object>", *(f"\t\t<name>{chain}</name>" for chain in chains.split()), "\t\t<bndbox>"]
        names = ("xmin", "ymin", "xmax", "ymax")
        lines += [f"\t\t\t<{name}>{edge}</{name}>" for name, edge in zip(names, edges, strict=True)]
        lines += ["\t\t</bndbox>", "\t</object>"]
    for chain, (scene, no_box) in drawn.flags.items():
        lines += ["\t<object>", f"\t\t<name>{chain}</name>", f"\t\t<scene>{scene}</scene>"]
        lines += [f"\t\t<nobndbox>{no_box}</nobndbox>", "\t</object>"]
    return "\n".join([*lines, "</annotation>", ""])


def write_entities(folder: Path, photographs: bool = False) -> Path:
    """Write the data set, five captions an image, into a folder, which is made.

    Args:
        photographs: also write `folder/photographs/ID.jpg` for every image: plain grey, of the size in the XML.
    """
    for name in ("Sentences", "Annotations"):
        (folder / name).mkdir(parents=True)
    for image, drawn in IMAGES.items():
        captions = [*drawn.captions, *[FILLER] * (5 - len(drawn.captions))]
        (folder / "Sentences" / f"{image}.txt").write_text("".join(f"{caption}\n" for caption in captions))
        (folder / "Annotations" / f"{image}.xml").write_text(annotation(image, drawn))
    for split in ("train", "val", "test"):
        names = [image for image, drawn in IMAGES.items() if drawn.split == split]
        (folder / f"{split}.txt").write_text("\n".join(names))
    (folder / "UNRELATED_CAPTIONS").write_text("# format: <imageID> <sentence number>\n1003 2\n")
    if photographs:
        (folder / "photographs").mkdir()
        for image, drawn in IMAGES.items():
            picture = Image.new("RGB", (drawn.width, drawn.height), "grey")
            picture.save(folder / "photographs" / f"{image}.jpg")
    return folder


def image_with(name: str, phrases: list[tuple[int, str, str, list[tuple[float, ...]]]], size=(100, 100)) -> EntityImage:
    """An image of phrases as (sentence, chain, "type type", boxes of the chain); a chain without boxes has none."""
    marked, boxes = [], {}
    for number, (sentence, chain, types, group) in enumerate(phrases):
        index = sum(before[0] == sentence for before in phrases[:number])
        marked.append(EntityPhrase(sentence, index, "x", 0, 1, chain, tuple(types.split())))
        if group:
            boxes[chain] = np.array(group, np.float64)
    captions = tuple("x" for _ in range(1 + max((phrase[0] for phrase in phrases), default=0)))
    return EntityImage(name, *size, captions, tuple(marked), boxes, frozenset(), frozenset())
