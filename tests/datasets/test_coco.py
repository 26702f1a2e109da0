"""MS COCO: a tiny data set in its layout, worked by hand, broken copies of it, and 281 real pictures."""

import json
import tarfile
from collections import Counter, defaultdict

import numpy as np
import pytest

from grounding.datasets.coco import read_coco
from helpers.labelled import facts, picture, refused, tarred, write, zipped
from helpers.paths import SHARED

REAL = SHARED / "data" / "coco-val2017-281.tar"
LIST = "annotations/instances_val2014.json"


def annotation(id_, image, category, box, **more):
    return {"id": id_, "image_id": image, "category_id": category, "bbox": box, **more}


def polygon(x0, y0, x1, y1):
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def data_set():
    """Fresh, so that a test may change it."""
    return {
        "images": [
            {"id": 9, "file_name": "COCO_val2014_000000000009.jpg", "width": 6, "height": 4},
            {"id": 5, "file_name": "COCO_val2014_000000000005.jpg", "width": 5, "height": 3},
            {"id": 7, "file_name": "COCO_val2014_000000000007.jpg", "width": 5, "height": 3},  # only a crowd
            {"id": 8, "file_name": "COCO_val2014_000000000008.jpg", "width": 5, "height": 3},  # nothing
        ],
        "categories": [{"id": 3, "name": "car"}, {"id": 1, "name": "person"}, {"id": 90, "name": "toothbrush"}],
        "annotations": [
            annotation(1, 9, 3, [1, 1, 2, 2], iscrowd=0, segmentation=[polygon(1, 1, 3, 3)]),
            annotation(2, 9, 1, [0.5, 0, 2.25, 4], iscrowd=0, segmentation=[polygon(0, 0, 1, 4), polygon(2, 0, 3, 1)]),
            annotation(3, 9, 3, [4, 0, 2, 1], segmentation={"size": [4, 6], "counts": [16, 1, 3, 1, 3]}),
            annotation(4, 9, 3, [0, 0, 6, 4], iscrowd=1, segmentation={"size": [4, 6], "counts": [0, 24]}),
            annotation(5, 5, 1, [1, 0, 2, 2], iscrowd=0, segmentation=[polygon(1, 0, 3, 2)]),
            annotation(6, 5, 1, [3, 1, 4, 2], iscrowd=0),  # reaches 2 px beyond the right edge
            annotation(7, 5, 3, [2, 2, 0, 0], iscrowd=0),
            annotation(8, 7, 1, [0, 0, 5, 3], iscrowd=1, segmentation={"size": [3, 5], "counts": [0, 15]}),
        ],
    }


def write_coco(folder, data, split="val2014"):
    names = [f"{split}/{image.get('file_name', 'x')}" for image in data["images"]]
    files = dict.fromkeys(names, picture(3, 2))  # smaller than the JSON says
    return write(folder, files | {f"annotations/instances_{split}.json": json.dumps(data, indent=1)})


# Categories in the order of their ids: person, car, toothbrush. The car of annotation 3: runs 16, 1, 3, 1 over columns
# of 4 px: px 16 is column 4, row 0; px 20 is column 5, row 0. The second person of image 5 has no segmentation.
FOUND = [
    (
        "9", 6, 4,
        [
            ("person", [[0.5, 0, 2.75, 4]], ["#.#...", "#.....", "#.....", "#....."]),
            ("car", [[1, 1, 3, 3], [4, 0, 6, 1]], ["....##", ".##...", ".##...", "......"]),
        ],
    ),
    ("5", 5, 3, [("person", [[1, 0, 3, 2], [3, 1, 5, 3]], None)]),
]  # fmt: skip


@pytest.fixture
def root(tmp_path):
    return write_coco(tmp_path / "coco", data_set())


def test_what_is_read(root):
    data = read_coco(root)
    assert facts(data) == FOUND
    assert (data.name, data.classes) == ("COCO val2014", ("person", "car", "toothbrush"))
    assert data.left_out == {
        "crowd regions": 2,
        "pictures without objects": 2,
        "boxes reaching outside, clipped": 1,
        "boxes with nothing inside the picture": 1,
    }
    assert data.read("9") == picture(3, 2)
    assert "no image '7'" in refused(data.read, "7")
    assert data.sources == (root / LIST, root / "val2014")


def test_every_packing_reads_the_same(root, tmp_path):
    for place in (tarred(root, tmp_path / "a.tar", "./"), tarred(root, tmp_path / "b.tar", "coco/"),
                  zipped(root, tmp_path / "c.zip")):  # fmt: skip
        data = read_coco(place)
        assert facts(data) == FOUND
        assert data.read("5") == picture(3, 2)
        assert data.sources == (place,)


def test_only_the_split_that_is_asked_for(root):
    data = data_set()
    data["images"] = data["images"][:1]
    data["annotations"] = data["annotations"][:1]
    write_coco(root, data, "val2017")
    found = read_coco(root, "val2017")
    mask = ["......", ".##...", ".##...", "......"]
    assert facts(found) == [("9", 6, 4, [("car", [[1, 1, 3, 3]], mask)])]
    message = refused(read_coco, root, "train2014")
    assert message.endswith("has no annotations/instances_train2014.json: expected a split of val2014, val2017")


@pytest.mark.parametrize("given", ["annotations", "val2014"])
def test_a_root_that_lies_too_deep(root, given):
    assert refused(read_coco, root / given).endswith(f"did you mean {root}?")


def test_a_root_that_is_one_too_high_or_something_else(root, tmp_path):
    assert refused(read_coco, root.parent).endswith(f"did you mean {root}?")
    (tmp_path / "coco/a/b/c").mkdir(parents=True)
    message = refused(read_coco, tmp_path / "coco/a/b/c")
    assert "has no annotations: expected annotations/instances_<split>.json beside a folder <split>" in message
    assert message.endswith("it holds nothing")


def change(**changes):
    """A data set whose first record of a list has another value."""
    data = data_set()
    for name, change in changes.items():
        data[name][0] |= change
    return data


def without(name, key):
    data = data_set()
    del data[name][0][key]
    return data


def doubled(name):
    data = data_set()
    return data | {name: [*data[name], data[name][0]]}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], "has no list 'images'"),
        (data_set() | {"images": {}}, "has no list 'images'"),
        (data_set() | {"annotations": [7]}, "has no list 'annotations'"),
        ({key: value for key, value in data_set().items() if key != "categories"}, "has no list 'categories'"),
        (doubled("images"), "images[4] has the id 9, as another has: expected it once"),
        (doubled("categories"), "categories[3] has the id 3, as another has"),
        (doubled("annotations"), "annotations[8] has the id 1, as another has"),
        (change(categories={"name": "person"}), "two categories have one name"),
        (change(images={"id": "9"}), "images[0] has the id '9': expected a whole number"),
        (change(images={"width": 0}), "image 9: the size is 0 x 4"),
        (change(images={"height": "tall"}), "image 9: 'tall' is no number"),
        (without("images", "id"), "images[0] has no 'id'"),
        (without("images", "width"), "image 9 has no 'width'"),
        (without("images", "file_name"), "image 9 has no 'file_name'"),
        (without("categories", "name"), "category 3 has no 'name'"),
        (without("annotations", "bbox"), "annotation 1 has no 'bbox'"),
        (without("annotations", "image_id"), "annotation 1 has no 'image_id'"),
        (without("annotations", "category_id"), "annotation 1 has no 'category_id'"),
        (change(annotations={"image_id": 6}), "annotation 1: image_id 6 is not known"),
        (change(annotations={"image_id": [9]}), "annotation 1: image_id [9] is not known"),
        (change(annotations={"category_id": 2}), "annotation 1: category_id 2 is not known"),
        (change(annotations={"bbox": [1, 2, 3]}), "annotation 1: bbox is [1, 2, 3]: expected [x, y, width, height]"),
        (change(annotations={"bbox": None}), "annotation 1: bbox is None: expected"),
        (change(annotations={"bbox": [1, 2, 3, None]}), "annotation 1: None is no number"),
        (change(annotations={"bbox": [1, 2, 3, float("nan")]}), "annotation 1: nan is no number"),
    ],
    ids=lambda value: value if isinstance(value, str) else "data",
)  # fmt: skip
def test_records_that_are_wrong(tmp_path, data, said):
    place = write_coco(tmp_path / "coco", data if isinstance(data, dict) and data.get("images") else data_set())
    (place / LIST).write_text(json.dumps(data))
    message = refused(read_coco, place)
    assert message.startswith(f"{place}: {LIST}")
    assert said in message


def test_broken_json_is_named_with_its_line(root):
    text = (root / LIST).read_text()
    (root / LIST).write_text(text[: text.index('"categories"')])
    line = text[: text.index('"categories"')].count("\n") + 1
    assert f"{LIST}, line {line}: broken JSON (" in refused(read_coco, root)
    (root / LIST).write_text("")
    assert f"{LIST}, line 1: broken JSON (" in refused(read_coco, root)
    (root / LIST).write_text("[" * 100_000)
    assert f"{LIST}: broken JSON (nested too deep)" in refused(read_coco, root)
    (root / LIST).write_bytes(b'{"a": "\xe9"}')
    assert f"{LIST} is not UTF-8 text" in refused(read_coco, root)


def test_pictures_missing_from_the_disk(root):
    for file in (root / "val2014").iterdir():
        file.unlink()
    message = refused(read_coco, root)
    assert "has no val2014/COCO_val2014_000000000009.jpg (2 of 2 pictures are missing): is the copy whole?" in message


def test_a_picture_that_vanishes_later(root):
    data = read_coco(root)
    (root / "val2014/COCO_val2014_000000000009.jpg").unlink()
    assert "has no val2014/COCO_val2014_000000000009.jpg: is the copy whole?" in refused(data.read, "9")


def test_no_object_that_counts(root):
    (root / LIST).write_text(json.dumps(data_set() | {"annotations": []}))
    assert "has no picture with an object that counts" in refused(read_coco, root)


def test_a_mask_that_cannot_be_decoded_says_so_when_it_is_asked_for(root):
    (root / LIST).write_text(json.dumps(change(annotations={"segmentation": [[1, 1, 2]]})))
    person, car = read_coco(root).images[0].regions
    assert person.mask().sum() == 5
    message = refused(car.mask)
    assert f"{LIST}: annotation 1: its segmentation cannot be decoded (" in message


@pytest.mark.skipif(not REAL.is_file(), reason="needs ../shared: 281 pictures of COCO val2017")
def test_the_real_pictures_read_as_their_json():
    with tarfile.open(REAL) as tar:
        raw = json.load(tar.extractfile("annotations/instances_val2017.json"))
        files = {name for name in tar.getnames() if name.endswith(".jpg")}
    data = read_coco(REAL, "val2017")
    assert (len(raw["images"]), len(raw["annotations"]), len(files)) == (281, 2279, 281)
    assert len(data.images) == 281
    assert data.left_out == {"crowd regions": 16}
    assert len(data.classes) == 80
    assert (data.classes[0], data.classes[-1]) == ("person", "toothbrush")
    names = {category["id"]: category["name"] for category in raw["categories"]}
    wanted = defaultdict(Counter)
    for each in raw["annotations"]:
        if not each["iscrowd"]:
            x, y, width, height = each["bbox"]
            wanted[each["image_id"]][names[each["category_id"]], x, y, x + width, y + height] += 1
    assert sum(sum(group.values()) for group in wanted.values()) == 2279 - 16
    for record, image in zip(raw["images"], data.images, strict=True):
        assert (image.id, image.width, image.height) == (str(record["id"]), record["width"], record["height"])
        boxes = [(region.name, *box) for region in image.regions for box in region.boxes.tolist()]
        assert Counter(boxes) == wanted[record["id"]]
        assert all(region.mask is None for region in image.regions)
        assert (np.diff([data.classes.index(region.name) for region in image.regions]) > 0).all()
        assert data.read(image.id).startswith(b"\xff\xd8")
