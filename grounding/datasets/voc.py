"""PASCAL VOC in its official layout: boxes of 20 classes.

M. Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge", IJCV 2010.
"""

from collections import Counter
from pathlib import Path
from typing import Final

from grounding.datasets.files import Files
from grounding.datasets.labelled import LabelledImages
from grounding.datasets.layout import check_pictures, find_base, finder, keyed, listed, reader, rows, without_ending
from grounding.datasets.marks import Mark, known, labelled_image
from grounding.datasets.voc_xml import read_xml
from grounding.errors import GroundingError, did_you_mean

CLASSES: Final = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
_DIFFICULT: Final = "difficult objects"


def read_voc(root: Path, split: str = "test", year: str = "2007") -> LabelledImages:
    """Read the pictures of a split.

    Objects flagged as difficult do not count: they are neither asked for nor a place to hit. Corners are 1-based and
    inclusive in the files, so that a box is `xmin - 1, ymin - 1, xmax, ymax`.

    Args:
        root: the folder `VOC2007` with `Annotations`, `ImageSets/Main` and `JPEGImages`, `VOCdevkit` round it, or the
            one round that; or a zip or an uncompressed tar of it.
        split: a list of `ImageSets/Main`: train, val, trainval or test.
        year: such as `2012`.

    Raises:
        GroundingError: another layout; no such split; a picture or an annotation is missing, broken or listed twice; a
            class that VOC does not have; or no object counts.
    """
    files = Files(root)
    folder = f"VOC{year}/"
    base = find_base(
        files, ("", folder, f"VOCdevkit/{folder}"), "ImageSets/Main", f"{folder}{{Annotations,ImageSets,JPEGImages}}"
    )
    images, left_out = [], Counter[str]()
    places = {name: place for place, name in enumerate(CLASSES)}
    paths: dict[str, str] = {}
    for image in keyed(rows(files, _list(files, base, split), "image")):
        name = f"{base}Annotations/{image}.xml"
        width, height, objects = read_xml(files, name)
        for thing in objects:
            if thing.name not in places:
                advice = did_you_mean(thing.name, CLASSES, "expected one of the 20 of VOC")
                raise GroundingError(f"{root}: {name}: class '{thing.name}' is not known: {advice}")
        left_out[_DIFFICULT] += sum(thing.difficult for thing in objects)
        marks = [Mark(thing.name, _half_open(thing.corners)) for thing in objects if not thing.difficult]
        if found := labelled_image(image, width, height, marks, places, left_out):
            images.append(found)
            paths[image] = f"{base}JPEGImages/{image}.jpg"
    check_pictures(files, paths, images)
    sources = (files.at(base + "Annotations"), files.at(_list(files, base, split)), files.at(base + "JPEGImages"))
    return LabelledImages(
        f"VOC{year[-2:]} {split}",
        CLASSES,
        images,
        reader(files, paths),
        known(left_out),
        tuple(dict.fromkeys(sources)),
        finder(files, paths),
    )


def _half_open(corners: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = corners
    return x0 - 1, y0 - 1, x1, y1


def _list(files: Files, base: str, split: str) -> str:
    """The path of the list of a split."""
    name = f"{base}ImageSets/Main/{split}.txt"
    if name not in files:
        there = sorted(map(without_ending, files.below(f"{base}ImageSets/Main")))
        splits = [each for each in there if each.rpartition("_")[0] not in CLASSES]  # not the lists of single classes
        raise GroundingError(f"{files.path} has no {name}: expected a split of {listed(splits)}")
    return name
