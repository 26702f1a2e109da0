"""Classes in pictures as a table of labels: what is written, and that a training reads it."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from grounding.datasets.columns import TableOptions
from grounding.datasets.label_tables import LABEL_FORMATS, read_labels, write_labels
from grounding.datasets.labelled import ClassRegion, LabelledImage, LabelledImages
from grounding.datasets.webimages import CaptionedImages
from grounding.errors import GroundingError
from helpers.training import draw_shapes, write_voc

BOX = np.array([[1.0, 2.0, 30.0, 40.0], [5.0, 5.0, 9.0, 9.0]])  # two objects of a class are one label


def pictures(classes, folder):
    """Pictures by id with the classes in them, whose files lie in a folder, or in an archive where it is None."""
    images = [
        LabelledImage(name, 64, 64, tuple(ClassRegion(each, BOX) for each in inside))
        for name, inside in classes.items()
    ]
    known = tuple(dict.fromkeys(each for inside in classes.values() for each in inside))
    data = LabelledImages("toys test", known, images, lambda name: pytest.fail(f"{name} is read"))
    if folder is None:
        return data
    return LabelledImages("toys test", known, images, data.read, file=lambda name: folder / f"{name}.png")


@pytest.mark.parametrize(
    ("classes", "lines"),
    [
        ({"a": ["dog"]}, ['{"image": "../photos/a.png", "labels": ["dog"], "id": "a"}']),
        (  # the order of the data set, and names as it writes them
            {"b/c": ["TV_monitor", "dog"], "a": ["salt, pepper", "Hüne"]},
            [
                '{"image": "../photos/b/c.png", "labels": ["TV_monitor", "dog"], "id": "b/c"}',
                '{"image": "../photos/a.png", "labels": ["salt, pepper", "Hüne"], "id": "a"}',
            ],
        ),
    ],
    ids=["one", "two"],
)
def test_a_line_a_picture_without_boxes(tmp_path, classes, lines):
    (tmp_path / "tables").mkdir()
    table = tmp_path / "tables" / "t.jsonl"
    assert write_labels(pictures(classes, tmp_path / "photos"), table) == len(lines)
    assert table.read_text(encoding="utf-8").splitlines() == lines


def test_a_training_reads_what_was_written(tmp_path, monkeypatch):
    draw_shapes(tmp_path / "photos", 2)
    monkeypatch.chdir(tmp_path)
    write_labels(pictures({"001": ["a, b", "c"], "000": ["c"]}, Path("photos")), Path("t.jsonl"))
    images = CaptionedImages(["t.jsonl"], TableOptions(caption_column="labels", phrases_column=""))
    assert images.ids == ("001", "000")
    assert images.captions == (("a, b", "c"), ("c",))
    assert images.read(0).size == (64, 64)


@pytest.mark.parametrize(
    ("classes", "folder", "table", "message"),
    [
        ({}, Path(), "t.jsonl", "toys test has no picture with an object that counts"),
        ({"a": ["dog"]}, None, "t.jsonl", "the pictures of toys test lie in an archive"),
        ({"a": ["dog"]}, Path(), "none/t.jsonl", "cannot be written"),
    ],
)
def test_what_cannot_be_written(tmp_path, classes, folder, table, message):
    with pytest.raises(GroundingError, match=message):
        write_labels(pictures(classes, folder), tmp_path / table)
    assert list(tmp_path.iterdir()) == []  # no half of a table


def test_the_table_of_voc(train, tmp_path):
    objects = [[("dog", 0), ("dog", 0), ("tvmonitor", 0)], [("cat", 1)], [("cat", 1), ("bird", 0)]]
    write_voc(tmp_path / "VOC2007", draw_shapes(tmp_path / "shapes", 3), objects)
    # `cat` is difficult in both pictures: one is left out, and the other shows a bird only
    done = train("labels", "voc", "--root", "VOC2007", "--split", "trainval", "--output", "t.jsonl")
    assert done == (0, "2 pictures: t.jsonl (left out: 1 pictures without objects)\n", [])
    assert [json.loads(line) for line in Path("t.jsonl").read_text().splitlines()] == [
        {"image": "VOC2007/JPEGImages/000.jpg", "labels": ["dog", "tvmonitor"], "id": "000"},
        {"image": "VOC2007/JPEGImages/002.jpg", "labels": ["bird"], "id": "002"},
    ]


def test_the_table_of_coco(train, tmp_path):
    (tmp_path / "coco" / "annotations").mkdir(parents=True)
    (tmp_path / "coco" / "val2014").mkdir()
    images = [{"id": 30 - n, "file_name": f"COCO_{n}.jpg", "width": 64, "height": 64} for n in range(3)]
    for image in images:
        Image.new("RGB", (64, 64)).save(tmp_path / "coco" / "val2014" / image["file_name"])
    given = [(30, 9, 0), (30, 2, 0), (29, 2, 1), (28, 2, 1), (28, 9, 0)]  # picture, category, crowd
    annotations = [
        {"id": n, "image_id": image, "category_id": category, "bbox": [1, 1, 9, 9], "iscrowd": crowd}
        for n, (image, category, crowd) in enumerate(given)
    ]
    categories = [{"id": 9, "name": "traffic light"}, {"id": 2, "name": "dog"}]
    (tmp_path / "coco" / "annotations" / "instances_val2014.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    done = train("labels", "coco", "--root", "coco", "--split", "val2014", "--output", "t.jsonl")
    assert done == (0, "2 pictures: t.jsonl (left out: 1 pictures without objects)\n", [])
    assert [json.loads(line) for line in Path("t.jsonl").read_text().splitlines()] == [
        {"image": "coco/val2014/COCO_0.jpg", "labels": ["dog", "traffic light"], "id": "30"},
        {"image": "coco/val2014/COCO_2.jpg", "labels": ["traffic light"], "id": "28"},
    ]


def test_the_table_of_cub(train, tmp_path):
    base = tmp_path / "CUB_200_2011"
    names = ["001.Black_footed_Albatross/a.jpg", "050.Eared_Grebe/b.jpg"]
    for name in names:
        (base / "images" / name).parent.mkdir(parents=True)
        Image.new("RGB", (64, 48)).save(base / "images" / name)
    lists = {
        "images": f"1 {names[0]}\n2 {names[1]}\n",
        "classes": "1 001.Black_footed_Albatross\n50 050.Eared_Grebe\n",
        "image_class_labels": "1 1\n2 50\n",
        "train_test_split": "1 0\n2 1\n",  # 1 is a photograph to learn
        "bounding_boxes": "1 1.0 2.0 30.0 40.0\n2 1.0 2.0 30.0 40.0\n",
    }
    for name, text in lists.items():
        (base / f"{name}.txt").write_text(text)
    for split, line in (
        ("train", {"image": f"CUB_200_2011/images/{names[1]}", "labels": ["Eared Grebe"], "id": "2"}),
        ("test", {"image": f"CUB_200_2011/images/{names[0]}", "labels": ["Black footed Albatross"], "id": "1"}),
    ):
        done = train("labels", "cub", "--root", "CUB_200_2011", "--split", split, "--output", "t.jsonl")
        assert done == (0, "1 picture: t.jsonl\n", [])
        done = train(
            *("labels", "cub", "--root", "CUB_200_2011", "--split", split, "--output", "t.jsonl", "--boxes", "b.jsonl")
        )
        assert done == (0, "1 picture: t.jsonl; boxes: b.jsonl\n", [])
        box = {"id": line["id"], "boxes": [[1.0, 2.0, 31.0, 42.0]], "width": 64, "height": 48}
        assert [json.loads(row) for row in Path("b.jsonl").read_text().splitlines()] == [box]
        assert [json.loads(row) for row in Path("t.jsonl").read_text().splitlines()] == [line]


def test_pictures_in_an_archive(train, tmp_path):
    write_voc(tmp_path / "VOC2007", draw_shapes(tmp_path / "shapes", 1), [[("dog", 0)]])
    with zipfile.ZipFile(tmp_path / "v.zip", "w") as archive:
        for path in sorted((tmp_path / "VOC2007").rglob("*.*")):
            archive.write(path, path.relative_to(tmp_path / "VOC2007"))
    assert len(read_labels("voc", tmp_path / "v.zip", "trainval").images) == 1
    status, out, lines = train("labels", "voc", "--root", "v.zip", "--split", "trainval", "--output", "t.jsonl")
    assert (status, out) == (2, "")
    assert lines == [
        "error: the pictures of VOC07 trainval lie in an archive, where a table cannot name them: unpack it and give "
        "its folder"
    ]
    assert not (tmp_path / "t.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        ([], ["format", "--root", "--output"]),
        (["imagenet", "--root", "r", "--split", "s", "--output", "t"], ["'imagenet'", *LABEL_FORMATS]),
        (["voc", "--root", "r", "--output", "t"], ["--split"]),
        (["voc", "--root", "none", "--split", "test", "--output", "t"], ["none does not exist"]),
        (
            ["voc", "--root", "none", "--split", "test", "--output", "t", "--boxes", "../t/../t"],
            ["none does not exist"],
        ),
        (
            ["voc", "--root", "r", "--split", "s", "--output", "t", "--boxes", "./t"],
            ["are both t: expected two tables"],
        ),
    ],
    ids=["nothing", "another format", "no split", "no folder", "boxes elsewhere", "one table"],
)
def test_bad_arguments(train, arguments, facts):
    status, out, lines = train("labels", *arguments)
    assert (status, out, len(lines)) == (2, "", 1)
    assert all(fact in lines[0] for fact in facts)
