"""ImageNet localization: the boxes of one class in each picture of the ILSVRC validation set.

O. Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", IJCV 2015; the lists are those of J. Choe et
al., "Evaluating Weakly Supervised Object Localization Methods Right", CVPR 2020.
"""

from collections import Counter, defaultdict
from pathlib import Path, PurePosixPath
from typing import Final

from grounding.datasets.files import Files
from grounding.datasets.labelled import LabelledImage, LabelledImages
from grounding.datasets.layout import (
    advice,
    check_pictures,
    finder,
    keyed,
    listed,
    reader,
    rows,
    value_of,
    without_ending,
)
from grounding.datasets.marks import Box, Mark, known, labelled_image, number, whole_size
from grounding.datasets.voc_xml import read_xml
from grounding.errors import GroundingError

_COUNT: Final = 1000  # of classes
_IDS, _LABELS, _BOXES, _SIZES = "image_ids.txt", "class_labels.txt", "localization.txt", "image_sizes.txt"
_EXPECTED: Final = (
    "ILSVRC/Annotations/CLS-LOC/{split} with ILSVRC/Data/CLS-LOC/{split}, a folder {split} of .xml and .JPEG files, or "
    f"metadata/ILSVRC/{{split}}/{_IDS}, {_LABELS}, {_BOXES} and {_SIZES}"
)


def read_imagenet(root: Path, split: str = "val") -> LabelledImages:
    """Read the pictures of a split, from XML files or else from lists.

    (a) XML files in `Annotations/CLS-LOC/<split>`, `Annotations/<split>` or `<split>` and the pictures of the same
    names in `Data/CLS-LOC/<split>`, `Data/<split>` or `<split>`, also in folders by class; all this in `root` or in its
    folder `ILSVRC`. Classes are the WordNet ids of the XML files, such as `n01440764`, sorted.

    (b) The lists of the weakly supervised benchmark, `image_ids.txt`, `class_labels.txt` (`path,label`),
    `localization.txt` (`path,x0,y0,x1,y1`) and `image_sizes.txt` (`path,width,height`), in `metadata/ILSVRC/<split>`,
    `<split>` or `root` itself, and the pictures by these paths below `dataset/ILSVRC`, `ILSVRC` or `root`. There the
    validation set of ILSVRC is called `test`, and `val` is ImageNetV2. Classes are the labels `0` to `999`.

    A classifier trained on ImageNet has its 1,000 outputs in the order of the sorted WordNet ids. So where `classes`
    are 1,000, which is always so of (b), the class at a position is that of the output there; fewer WordNet ids, of
    an excerpt, must be matched by name.

    Corners are 0-based and inclusive in both (they go from 0 to the width less 1, and the official measure adds 1 to
    their differences), so that a box is `x0, y0, x1 + 1, y1 + 1`.

    Args:
        root: a folder, a zip or an uncompressed tar.

    Raises:
        GroundingError: neither is there; a picture, an annotation or a line is missing, broken or there twice; or no
            picture has an object.
    """
    files = Files(root, parts=("Annotations", "Data", split))
    for base in ("", "ILSVRC/"):
        for folder in (f"{base}Annotations/CLS-LOC/{split}", f"{base}Annotations/{split}", f"{base}{split}"):
            if names := sorted(name for name in files.below(folder) if name.endswith(".xml")):
                return _from_xml(files, split, base, folder, names)
    for folder in (f"metadata/ILSVRC/{split}/", f"{split}/", ""):
        if folder + _IDS in files:
            return _from_lists(files, split, folder)
    expected = _EXPECTED.format(split=split)
    raise GroundingError(
        f"{root} has no annotations of the split '{split}': expected {expected}{_what_is_there(files)}"
    )


def _what_is_there(files: Files) -> str:
    """For the end of a message: the splits that there are, or else the place that was meant."""
    homes = ("Annotations/CLS-LOC", "metadata/ILSVRC")
    found = {
        path.removeprefix(f"{folder}/").partition("/")[0]
        for folder in (f"ILSVRC/{homes[0]}", *homes)
        for path in files.below(folder)
    }
    if found:
        return f"; it has the splits {listed(sorted(found))}"
    near = (advice(files.path, ("", "ILSVRC/"), home) for home in homes)
    return next((each for each in near if "did you mean" in each), "")


def _half_open(corners: Box) -> Box:
    x0, y0, x1, y1 = corners
    return x0, y0, x1 + 1, y1 + 1


def _from_xml(files: Files, split: str, base: str, folder: str, names: list[str]) -> LabelledImages:
    objects: dict[str, tuple[int, int, list[Mark]]] = {}
    for name in names:
        image = without_ending(name)
        if image in objects:
            raise GroundingError(f"{files.path}: {folder} has two files {image}.xml: expected one a picture")
        width, height, things = read_xml(files, name)
        objects[image] = width, height, [Mark(thing.name, _half_open(thing.corners)) for thing in things]
    classes = sorted({mark.name for _, _, marks in objects.values() for mark in marks})
    places, left_out = {name: place for place, name in enumerate(classes)}, Counter[str]()
    found = [labelled_image(image, *facts, places, left_out) for image, facts in objects.items()]
    images = [image for image in found if image]
    folders = (f"{base}Data/CLS-LOC/{split}", f"{base}Data/{split}", f"{base}{split}")
    at, paths = next(((at, paths) for at in folders if (paths := _pictures(files, at))), (folders[0], {}))
    paths = {image.id: paths.get(image.id, f"{at}/{image.id}.JPEG") for image in images}
    return _collected(files, split, at, tuple(classes), images, paths, left_out, folder)


def _pictures(files: Files, folder: str) -> dict[str, str]:
    """The paths of the `.JPEG` files below a folder by their names without it."""
    return {without_ending(path): path for path in files.below(folder) if path.lower().endswith((".jpeg", ".jpg"))}


def _from_lists(files: Files, split: str, folder: str) -> LabelledImages:
    labels = keyed(rows(files, folder + _LABELS, "path,label", ","))
    sizes = keyed(rows(files, folder + _SIZES, "path,width,height", ","))
    ids = keyed(rows(files, folder + _IDS, "path", ","))
    boxes: defaultdict[str, list[Box]] = defaultdict(list)
    for row in rows(files, folder + _BOXES, "path,x0,y0,x1,y1", ","):
        image, *corners = row.values
        if image not in ids:
            raise GroundingError(f"{row.where}: {image} is not in {folder}{_IDS}: expected only pictures of the split")
        x0, y0, x1, y1 = (number(row.where, corner) for corner in corners)
        boxes[image].append(_half_open((x0, y0, x1, y1)))
    classes = tuple(map(str, range(_COUNT)))
    places, left_out = {name: place for place, name in enumerate(classes)}, Counter[str]()
    images: list[LabelledImage] = []
    for image in ids:
        where, _, (_, label) = value_of(labels, image, files, folder + _LABELS)
        if label not in places:
            raise GroundingError(f"{where}: label '{label}' is not known: expected 0 to {_COUNT - 1}")
        size = value_of(sizes, image, files, folder + _SIZES)
        width, height = whole_size(size.where, *size.values[1:])
        marks = [Mark(label, box) for box in boxes[image]]
        if found := labelled_image(image, width, height, marks, places, left_out):
            images.append(found)
    tops = {PurePosixPath(image.id).parts[0] for image in images}  # such as `val`
    bases = ("dataset/ILSVRC/", "ILSVRC/", "")
    base = next((base for base in bases if any(files.any_below(base + top) for top in tops)), "")
    paths = {image.id: base + image.id for image in images}
    return _collected(files, split, base.rstrip("/"), classes, images, paths, left_out, folder.rstrip("/"))


def _collected(
    files: Files,
    split: str,
    pictures: str,
    classes: tuple[str, ...],
    images: list[LabelledImage],
    paths: dict[str, str],
    left_out: Counter[str],
    annotations: str,
) -> LabelledImages:
    check_pictures(files, paths, images)
    sources = tuple(dict.fromkeys((files.at(annotations), files.at(pictures))))
    return LabelledImages(
        f"ImageNet {split}", classes, images, reader(files, paths), known(left_out), sources, finder(files, paths)
    )
