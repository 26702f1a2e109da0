"""Any folder of pictures with a list of classes, boxes and masks: the simplest form of a labelled data set."""

import csv
import io
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

import numpy as np

from grounding.datasets.files import Files
from grounding.datasets.labelled import LabelledImages
from grounding.datasets.layout import check_pictures, find_base, finder, reader, text
from grounding.datasets.marks import NO_OBJECT, Box, Mark, known, labelled_image, number
from grounding.datasets.pictures import ENDINGS, read_mask, upright_size
from grounding.errors import GroundingError

_LIST: Final = "labels.csv"
_NAMES: Final = ("image", "class")
_EDGES: Final = ("x0", "y0", "x1", "y1")


class _Label(NamedTuple):
    where: str
    name: str
    box: Box | None


def read_folder(root: Path) -> LabelledImages:
    """Read a folder (or a zip or an uncompressed tar) of picture files with a list `labels.csv`.

    The list has a line of names first, then a line an object::

        image,class,x0,y0,x1,y1
        birds/one.jpg,heron,10,20,110,90
        two.jpg,boat,,,,

    `image` is the path of a picture below the folder, and its id; a picture with several objects has several lines.
    Edges are px of the upright picture, from 0, half-open, so that a box over the whole of it is `0,0,width,height`.
    Other columns are not read.

    `masks/<path without its ending>.png`, such as `masks/birds/one.png`, shows in a picture of the same size which px
    belong to the object: those that are not 0. It stands for all objects of the picture, which must be of one class.
    Where a picture has a mask, its edges may be left empty, or the four columns out: its box is then the smallest round
    the mask. Without either it is known what is in the picture but not where, and it is left out.

    Returns:
        Classes are sorted by name, and pictures in the order of the list.

    Raises:
        GroundingError: there is no list; a line of it is broken or names a picture that is not there; a mask has
            another size or stands for two classes; or no picture has an object.
    """
    files = Files(root)
    find_base(files, ("",), _LIST, f"a folder of pictures with a list {_LIST} (image,class,x0,y0,x1,y1)")
    labels: dict[str, list[_Label]] = {}
    for image, label in _labels(files):
        labels.setdefault(image, []).append(label)
    classes = sorted({label.name for group in labels.values() for label in group})
    places, left_out = {name: place for place, name in enumerate(classes)}, Counter[str]()
    images = []
    for image, group in labels.items():
        if image not in files:
            raise GroundingError(f"{group[0].where}: there is no picture {image} in {root}")
        width, height = upright_size(files, image)
        marks = _marks(files, image, group, width, height)
        if found := labelled_image(image, width, height, marks, places, left_out):
            images.append(found)
    unlisted = (name for name in set(files.below("")) - labels.keys() if name.lower().endswith(ENDINGS))
    left_out[NO_OBJECT] += sum(not name.startswith("masks/") for name in unlisted)
    paths = {image.id: image.id for image in images}
    check_pictures(files, paths, images)
    return LabelledImages(
        root.resolve().name,
        tuple(classes),
        images,
        reader(files, paths),
        known(left_out),
        (root,),
        finder(files, paths),
    )


def _labels(files: Files) -> list[tuple[str, _Label]]:
    """The lines of the list, each with its picture."""
    records = _records(files)
    names = next(records, ("", [""]))[1]
    edges = _EDGES if set(names) & set(_EDGES) else ()
    if wrong := [name for name in (*_NAMES, *edges) if names.count(name) != 1]:
        raise GroundingError(
            f"{files.path}: {_LIST}, line 1 has {names.count(wrong[0])} columns '{wrong[0]}': "
            "expected image,class or image,class,x0,y0,x1,y1"
        )
    found = []
    for where, record in records:
        if len(record) != len(names):
            raise GroundingError(
                f"{where}: there are {len(record)} values: expected {len(names)}, as in the first line"
            )
        values = dict(zip(names, record, strict=True))
        if empty := [name for name in _NAMES if not values[name]]:
            raise GroundingError(f"{where}: '{empty[0]}' is empty: expected a picture and its class")
        box = None
        if any(values[edge] for edge in edges):
            x0, y0, x1, y1 = (number(where, values[edge]) for edge in edges)
            box = x0, y0, x1, y1
        found.append((PurePosixPath(values["image"]).as_posix(), _Label(where, values["class"], box)))
    return found


def _records(files: Files) -> Iterator[tuple[str, list[str]]]:
    """Where each line of the list stands, and its values; without blank lines."""
    lines = csv.reader(io.StringIO(text(files, _LIST), newline=""), strict=True, skipinitialspace=True)
    line = 1  # on which a record starts
    try:
        for record in lines:
            if any(map(str.strip, record)):
                yield f"{files.path}: {_LIST}, line {line}", [value.strip() for value in record]
            line = lines.line_num + 1
    except csv.Error as error:
        raise GroundingError(f"{files.path}: {_LIST}, line {line}: broken CSV ({error})") from error


def _marks(files: Files, image: str, labels: list[_Label], width: int, height: int) -> list[Mark]:
    """The objects of a picture: its boxes, or the one round its mask."""
    path = f"masks/{PurePosixPath(image).with_suffix('.png')}"
    boxed = [(label.name, label.box) for label in labels if label.box]
    if path not in files:
        return [Mark(name, box) for name, box in boxed]
    names = sorted({label.name for label in labels})
    if len(names) > 1:
        raise GroundingError(
            f"{labels[0].where}: {image} has a mask, but the classes {' and '.join(names)}: expected one class"
        )
    shape = partial(read_mask, files, path, width, height)
    if not boxed:
        rows, columns = np.nonzero(shape())
        if not rows.size:
            return []
        around = float(columns.min()), float(rows.min()), float(columns.max()) + 1, float(rows.max()) + 1
        boxed = [(names[0], around)]
    return [Mark(name, box, shape) for name, box in boxed]
