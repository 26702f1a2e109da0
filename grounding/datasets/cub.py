"""CUB-200-2011 in its official layout: one bird a picture, of 200 classes, with a box and perhaps a mask.

C. Wah et al., "The Caltech-UCSD Birds-200-2011 Dataset", technical report, Caltech 2011.
"""

from collections import Counter
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final

from grounding.datasets.files import Files
from grounding.datasets.labelled import LabelledImage, LabelledImages
from grounding.datasets.layout import check_pictures, find_base, finder, keyed, reader, rows, value_of
from grounding.datasets.marks import Box, Mark, known, labelled_image, number
from grounding.datasets.pictures import read_mask, upright_size
from grounding.errors import GroundingError

SPLITS: Final = {"train": ("1",), "test": ("0",), "all": ("0", "1")}  # the flags in train_test_split.txt
_AT_LEAST: Final = 128  # of 255: half of the people who drew a mask


def read_cub(root: Path, split: str = "test") -> LabelledImages:
    """Read the pictures of a split.

    Args:
        root: the folder `CUB_200_2011` with `images.txt`, `image_class_labels.txt`, `classes.txt`,
            `train_test_split.txt`, `bounding_boxes.txt`, `images/` and perhaps `segmentations/`, or the one round it;
            or a zip or an uncompressed tar of either.
        split: train, test or all.

    Returns:
        Ids are the numbers of `images.txt` as text, and sizes those of the picture files. Classes are those of
        `classes.txt` in its order, `001.Black_footed_Albatross` as `Black footed Albatross`. A mask is what at least
        half of those who drew it took for the bird.

    Raises:
        GroundingError: another layout or split; a picture or a line is missing, broken or there twice.
    """
    if split not in SPLITS:
        raise GroundingError(f"split '{split}' is not known: expected one of {', '.join(SPLITS)}")
    files = Files(root)
    base = find_base(files, ("", "CUB_200_2011/"), "images.txt", "CUB_200_2011/images.txt and its other four lists")
    pictures = keyed(rows(files, f"{base}images.txt", "id path"))
    names = {key: _name(row.values[1]) for key, row in keyed(rows(files, f"{base}classes.txt", "id name")).items()}
    places = {name: place for place, name in enumerate(names.values())}
    if len(places) < len(names):
        raise GroundingError(f"{root}: {base}classes.txt has two classes of one name: expected each once")
    lists = ("train_test_split.txt", "image_class_labels.txt", "bounding_boxes.txt")
    flags, labels, boxes = (
        (keyed(rows(files, base + name, columns)), base + name)
        for name, columns in zip(lists, ("id is_training_image", "id class_id", "id x y width height"), strict=True)
    )
    paths = {key: f"{base}images/{row.values[1]}" for key, row in pictures.items()}
    images, left_out = list[LabelledImage](), Counter[str]()
    for image in pictures:
        flag = value_of(flags[0], image, files, flags[1])
        if flag.values[1] not in SPLITS["all"]:
            raise GroundingError(f"{flag.where}: '{flag.values[1]}' is no flag: expected 0 or 1")
        if flag.values[1] not in SPLITS[split]:
            continue
        label = value_of(labels[0], image, files, labels[1])
        if label.values[1] not in names:
            raise GroundingError(f"{label.where}: class {label.values[1]} is not in {base}classes.txt")
        width, height = upright_size(files, paths[image])
        path = f"{base}segmentations/{PurePosixPath(pictures[image].values[1]).with_suffix('.png')}"
        shape = partial(read_mask, files, path, width, height, _AT_LEAST) if path in files else None
        box = value_of(boxes[0], image, files, boxes[1])
        mark = Mark(names[label.values[1]], _half_open(box.where, box.values[1:]), shape)
        if found := labelled_image(image, width, height, [mark], places, left_out):
            images.append(found)
    paths = {image.id: paths[image.id] for image in images}
    check_pictures(files, paths, images)
    sources = (files.at(base.rstrip("/")),)
    return LabelledImages(
        f"CUB {split}", tuple(places), images, reader(files, paths), known(left_out), sources, finder(files, paths)
    )


def _name(written: str) -> str:
    """`001.Black_footed_Albatross` -> `Black footed Albatross`."""
    before, _, after = written.partition(".")
    return (after if before.isdecimal() else written).replace("_", " ")


def _half_open(where: str, values: list[str]) -> Box:
    x, y, width, height = (number(where, value) for value in values)
    return x, y, x + width, y + height
