"""Flickr30k Entities as distributed: captions whose phrases are marked with coreference chains, and the chains' boxes.

B. Plummer et al., "Flickr30k Entities", ICCV 2015. A folder, a clone of the official repository, or a zip holds
`Sentences/ID.txt`, `Annotations/ID.xml`, `{train,val,test}.txt` and `UNRELATED_CAPTIONS`.
"""

import hashlib
import re
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from grounding.boxes import Values
from grounding.datasets.files import Files
from grounding.datasets.marks import whole_size
from grounding.datasets.xml_files import parse_xml
from grounding.errors import GroundingError

HOME: Final = "https://github.com/BryanPlummer/flickr30k_entities"
SPLITS: Final = ("train", "val", "test")
TYPES: Final = ("people", "clothing", "bodyparts", "animals", "vehicles", "instruments", "scene", "other")
_MARK = re.compile(r"\[/EN#(\d+)((?:/\w+)+) ([^\[\]]+)\]")


@dataclass(frozen=True, slots=True)
class EntityPhrase:
    """A marked phrase of a caption.

    Attributes:
        sentence: from 0, the caption of the image.
        index: from 0, the phrase among all marked ones of that caption.
        start: its first character in the caption.
        end: the character after its last one.
        chain: its coreference chain; "0" for what cannot be seen.
        types: one or more of `TYPES`, or `notvisual`.
    """

    sentence: int
    index: int
    text: str
    start: int
    end: int
    chain: str
    types: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class EntityImage:
    """The captions of a photograph, their phrases, and the boxes of each chain that has one.

    Attributes:
        width: in px, as the XML file says.
        height: in px, likewise.
        phrases: every marked phrase, also those without a box, in order.
        boxes: (N, 4) float64 of each chain with a box, in px of the original photograph, half-open, in file order.
        scene_chains: chains flagged as the scene as a whole.
        unrelated: sentences, from 0, that are listed as not describing the photograph.
    """

    id: str
    width: int
    height: int
    captions: tuple[str, ...]
    phrases: tuple[EntityPhrase, ...]
    boxes: Mapping[str, Values]
    scene_chains: frozenset[str]
    unrelated: frozenset[int]

    @property
    def boxed_phrases(self) -> list[EntityPhrase]:
        """The phrases that have a box: what an evaluation counts."""
        return [phrase for phrase in self.phrases if phrase.chain in self.boxes]


class Flickr30kEntities:
    """The annotations.

    Args:
        path: a folder, a clone of the official repository (with its `annotations.zip` packed or not), or a zip.

    Raises:
        GroundingError: one of the four parts is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._files = path, Files(path, also=("annotations.zip",))
        self.splits = tuple(split for split in SPLITS if f"{split}.txt" in self._files)
        parts = {
            "Sentences/*.txt": self._files.any_below("Sentences"),
            "Annotations/*.xml": self._files.any_below("Annotations"),
            "train.txt, val.txt or test.txt": bool(self.splits),
            "UNRELATED_CAPTIONS": "UNRELATED_CAPTIONS" in self._files,
        }
        missing = [part for part, present in parts.items() if not present]
        if missing:
            raise GroundingError(
                f"{path} has no {' and no '.join(missing)}: expected Flickr30k Entities as distributed, see {HOME}"
            )

    def ids(self, split: str) -> list[str]:
        """The image ids of a split, in the order of its file.

        Raises:
            GroundingError: an unknown or absent split, or an id twice.
        """
        if split not in self.splits:
            raise GroundingError(f"split '{split}' is not in {self.path}: expected one of {', '.join(self.splits)}")
        numbers: dict[str, int] = {}
        for number, line in enumerate(self._text(f"{split}.txt").split("\n"), start=1):
            name = line.strip()
            if name in numbers:
                raise GroundingError(f"{split}.txt, line {number}: image {name} stands in line {numbers[name]} already")
            if name:
                numbers[name] = number
        return list(numbers)

    def ids_of_splits(self) -> dict[str, list[str]]:
        """The image ids of each split that these annotations have."""
        return {split: self.ids(split) for split in self.splits}

    def read(self, split: str) -> Iterator[EntityImage]:
        """The images of a split, in the order of its file.

        Raises:
            GroundingError: as `ids`; a missing or broken file, named with its line, or with the chain of a wrong box.
        """
        unrelated = self._unrelated()
        for image in self.ids(split):
            width, height, boxes, scene = self._annotation(f"Annotations/{image}.xml")
            captions, phrases = self._sentences(f"Sentences/{image}.txt")
            yield EntityImage(image, width, height, captions, phrases, boxes, scene, unrelated[image])

    def _text(self, name: str) -> str:
        try:
            return self._files.read(name).decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            raise GroundingError(f"{self.path}: {name} is not UTF-8 text") from error

    def _unrelated(self) -> Mapping[str, frozenset[int]]:
        unrelated: defaultdict[str, frozenset[int]] = defaultdict(frozenset)
        for number, line in enumerate(self._text("UNRELATED_CAPTIONS").split("\n"), start=1):
            if line.strip() and not line.startswith("#"):
                image, _, sentence = line.partition(" ")
                if not re.fullmatch(r"\s*0*[1-9][0-9]{0,8}\s*", sentence):
                    raise GroundingError(f"UNRELATED_CAPTIONS, line {number}: expected '<image id> <sentence number>'")
                unrelated[image] |= {int(sentence) - 1}
        return unrelated

    def _sentences(self, name: str) -> tuple[tuple[str, ...], tuple[EntityPhrase, ...]]:
        captions: list[str] = []
        phrases: list[EntityPhrase] = []
        for number, line in enumerate(self._text(name).split("\n"), start=1):
            if not line.strip():
                continue
            caption, after, index = "", 0, 0
            for mark in _MARK.finditer(line):
                caption += line[after : mark.start()]
                chain, types, text = mark[1], tuple(mark[2][1:].split("/")), mark[3]
                if unknown := [kind for kind in types if kind not in (*TYPES, "notvisual")]:
                    raise GroundingError(f"{self.path}: {name}, line {number}: unknown entity type '{unknown[0]}'")
                start = len(caption)
                phrases.append(EntityPhrase(len(captions), index, text, start, start + len(text), chain, types))
                caption, after, index = caption + text, mark.end(), index + 1
            caption += line[after:]
            if broken := re.search(r"[\[\]]|/EN#", caption):
                raise GroundingError(
                    f"{self.path}: {name}, line {number}: a mark is broken near "
                    f"'{caption[broken.start() :][:40]}': expected [/EN#number/type words]"
                )
            captions.append(caption)
        return tuple(captions), tuple(phrases)

    def _annotation(self, name: str) -> tuple[int, int, dict[str, Values], frozenset[str]]:
        where, content = f"{self.path}: {name}", self._files.read(name)
        root = parse_xml(where, content)
        width, height = whole_size(where, *_whole_numbers(where, root, "size/width", "size/height"))
        boxes, scene = defaultdict(list), set()
        for thing in root.iterfind("object"):
            chains = [(element.text or "").strip() for element in thing.iterfind("name")]
            if not all(chains):
                raise GroundingError(f"{where}: an object has an empty name: expected the number of a chain")
            if thing.findtext("scene") == "1":
                scene.update(chains)
            if (corners := thing.find("bndbox")) is not None:
                x0, y0, x1, y1 = _whole_numbers(where, corners, "xmin", "ymin", "xmax", "ymax")
                if not (1 <= x0 <= x1 <= width and 1 <= y0 <= y1 <= height):
                    box = f"box {x0} {y0} {x1} {y1} of chain {', '.join(chains)}"
                    raise GroundingError(f"{where}: {box} is not inside {width} x {height} px")
                for chain in chains:
                    boxes[chain].append((x0 - 1, y0 - 1, x1, y1))  # from 1-based, inclusive
        return width, height, {chain: np.array(group, np.float64) for chain, group in boxes.items()}, frozenset(scene)


def _whole_numbers(where: str, element: ET.Element, *paths: str) -> list[int]:
    try:
        return [int(element.findtext(path, "")) for path in paths]
    except ValueError as error:
        raise GroundingError(f"{where}: a size or box edge is no whole number ({error})") from error


def boxed_phrases(images: Iterable[EntityImage]) -> list[tuple[EntityImage, EntityPhrase]]:
    """Every phrase with a box, with its image: the order of all rows of an evaluation."""
    return [(image, phrase) for image in images for phrase in image.boxed_phrases]


def fingerprint(images: Sequence[EntityImage]) -> str:
    """SHA-256 of everything an evaluation takes from these annotations."""
    digest = hashlib.sha256()
    for image in images:
        boxes = {chain: group.tolist() for chain, group in image.boxes.items()}
        digest.update(repr((image.id, image.width, image.height, image.captions, image.phrases, boxes)).encode())
    return digest.hexdigest()
