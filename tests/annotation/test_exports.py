"""Every export is read back by an independent reader: the same boxes, as exactly as the format can say them."""

import contextlib
import csv
import io
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from urllib.parse import unquote

import jsonschema
import numpy as np
import pytest
import yaml
from pycocotools.coco import COCO

from grounding.annotation.exporting import exports_of, write_exports
from grounding.annotation.history import History
from grounding.annotation.project import Project, read_history
from grounding.annotation.records import Drafted
from grounding.datasets.coco import read_coco
from grounding.datasets.files import Files
from grounding.datasets.labelled_folder import read_folder
from grounding.datasets.voc_xml import read_xml
from grounding.errors import GroundingError
from helpers.annotation import annotation_folder

FORMATS = ("coco", "voc", "yolo", "label-studio", "cvat", "csv")
ODD = '<b>Käse & "Co"</b>'
PICTURES = (
    Drafted(0, "b.png", 123, 77, "A man", 0.5, (("man", (0.0, 0.5, 60.25, 77.0), 0.75), ("hat", (1, 2, 3, 4), 0.5))),
    Drafted(1, "b/ä & <x>.png", 640, 480, "", 1.0, ()),
    Drafted(2, "a/b.png", 50, 60, "", 0.25, ((ODD, (10.01, 20.02, 30.03, 40.04), 0.125),)),
    Drafted(3, "empty.png", 20, 30, "", 0.5, (("man", (1, 2, 3, 4), 0.25),)),
    Drafted(4, "skipped.png", 20, 30, "", 0.5, (("man", (1, 2, 3, 4), 0.25),)),
    Drafted(5, "open.png", 40, 30, "An open one", 0.75, (("man", (4.5, 6, 20, 30), 0.25), ("hat", (1, 2, 3, 4), 0.5))),
)
LABELS = ("man", "hat", ODD, "never seen")
DONE = {  # by picture: label and edges
    "b.png": [("man", (0, 0.5, 60.25, 77)), ("dog", (5, 6.25, 123, 7.75))],
    "b/ä & <x>.png": [("man", (1.5, 2.5, 639.99, 3.5))],
    "a/b.png": [(ODD, (10.01, 20.02, 30.03, 40.04))],
    "empty.png": [],
}
OPEN = {**DONE, "open.png": [("man", (4.5, 6, 20, 30))]}
SIZES = {picture.name: (picture.width, picture.height) for picture in PICTURES}


@pytest.fixture
def folder(tmp_path):
    """Four pictures are done, one of them without a box; one is skipped, one open with a rejected box."""
    folder = annotation_folder(tmp_path, PICTURES, LABELS)
    with Project.open(folder) as project:

        def decide(picture, action, edges=(), **more):
            given = {"person": "ann", "picture": picture, "version": project.history.version(picture), "action": action}
            project.decide({**given, **dict(zip(("x0", "y0", "x1", "y1"), edges, strict=False)), **more})

        decide(0, "reject", box=1)
        decide(0, "draw", (5, 6.25, 400, 7.75), label="dog")
        decide(1, "draw", (1.5, 2.5, 639.99, 3.5), label="man")
        decide(2, "accept", box=0)
        decide(3, "reject", box=0)
        for picture in range(4):
            decide(picture, "done")
        decide(4, "skip")
        decide(5, "reject", box=1)
    return folder


def written(folder, name, drafts=False):
    ((given, exports, place),) = write_exports(folder, read_history(folder), [name], drafts)
    assert (given, place) == (name, folder / "exports" / name)
    assert len(exports.pictures) == (5 if drafts else 4)
    return place


def check(found, expected, tolerance_px):
    """The same pictures, labels and order; edges within a tolerance."""
    assert list(found) == list(expected)
    for name, boxes in expected.items():
        assert [label for label, _ in found[name]] == [label for label, _ in boxes], name
        for (_, edges), (_, wanted) in zip(found[name], boxes, strict=True):
            np.testing.assert_allclose(edges, wanted, rtol=0, atol=tolerance_px)


@pytest.mark.parametrize(("drafts", "expected"), [(False, DONE), (True, OPEN)])
def test_coco_read_by_pycocotools(folder, drafts, expected):
    path = written(folder, "coco", drafts) / "annotations" / "instances_default.json"
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(path)
    found = {}
    for id_ in coco.getImgIds():
        image = coco.loadImgs(id_)[0]
        assert (image["width"], image["height"]) == SIZES[image["file_name"]]
        found[image["file_name"]] = []
        for annotation in coco.loadAnns(coco.getAnnIds(id_)):
            x, y, width, height = annotation["bbox"]
            label = coco.loadCats(annotation["category_id"])[0]["name"]
            found[image["file_name"]].append((label, (x, y, x + width, y + height)))
            assert annotation["area"] == pytest.approx(width * height, abs=0.01)
            assert annotation.get("score") == (0.25 if image["file_name"] == "open.png" else None)
    check(found, expected, 1e-9)
    assert [each["name"] for each in coco.loadCats(coco.getCatIds())] == [*LABELS, "dog"]
    assert json.loads(path.read_text())["licenses"] == []


def test_coco_read_by_our_own_reader(folder, tmp_path):
    place = written(folder, "coco")
    (place / "default").symlink_to(tmp_path / "pictures")
    images = read_coco(place, "default")
    found = {}
    for image in images.images:
        name = Path(images.file(image.id)).relative_to(place / "default").as_posix()
        found[name] = sorted((each.name, tuple(box)) for each in image.regions for box in each.boxes.tolist())
    expected = {name: sorted(boxes) for name, boxes in DONE.items() if boxes}
    check(found, expected, 1e-9)


@pytest.mark.parametrize(("drafts", "expected"), [(False, DONE), (True, OPEN)])
def test_voc_read_by_our_own_reader(folder, drafts, expected):
    """Corners are whole px, 1-based and inclusive: half a px is lost."""
    place, found = written(folder, "voc", drafts), {}
    stems = (place / "ImageSets" / "Main" / "default.txt").read_text().splitlines()
    assert len(list(place.rglob("*.xml"))) == len(stems)
    for stem in stems:
        name = f"Annotations/{stem}.xml"
        width, height, objects = read_xml(Files(place), name)
        assert (width, height) == SIZES[f"{stem}.png"]
        root = ET.parse(place / name).getroot()
        assert f"{root.findtext('folder')}/{root.findtext('filename')}".strip("/") == f"{stem}.png"
        assert root.findtext("source/database") == "unknown"
        corners = [(each.name, np.array(each.corners) - (1, 1, 0, 0)) for each in objects]
        found[f"{stem}.png"] = corners
    check(found, expected, 0.5)


@pytest.mark.parametrize(("drafts", "expected"), [(False, DONE), (True, OPEN)])
def test_yolo_read_line_by_line(folder, drafts, expected):
    """Centre and sides as shares with 5 digits: a hundred-thousandth of a side is lost."""
    place, found = written(folder, "yolo", drafts), {}
    names = yaml.safe_load((place / "data.yaml").read_text(encoding="utf-8"))["names"]
    assert list(names.values()) == [*LABELS, "dog"]
    assert len(list((place / "labels").rglob("*.txt"))) == len(expected)
    for name in expected:
        width, height = SIZES[name]
        found[name] = []
        for line in (place / "labels" / name).with_suffix(".txt").read_text().splitlines():
            label, *numbers = line.split()
            x, y, w, h = map(float, numbers)
            edges = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
            found[name].append((names[int(label)], edges))
    check(found, expected, 640 * 1e-5)


REGION = {
    "type": "object",
    "required": ["id", "from_name", "to_name", "type", "original_width", "original_height", "image_rotation", "value"],
    "properties": {
        "type": {"const": "rectanglelabels"},
        "from_name": {"const": "label"},
        "to_name": {"const": "image"},
        "image_rotation": {"const": 0},
        "value": {
            "required": ["x", "y", "width", "height", "rotation", "rectanglelabels"],
            "properties": {
                **{key: {"type": "number", "minimum": 0, "maximum": 100} for key in ("x", "y", "width", "height")},
                "rotation": {"const": 0},
                "rectanglelabels": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 1},
            },
        },
    },
}
RESULTS = {
    "type": "array",
    "maxItems": 1,
    "items": {"required": ["result"], "properties": {"result": {"items": REGION}}},
}
TASKS = {  # as the interfaces of Label Studio are documented
    "type": "array",
    "items": {
        "required": ["data"],
        "properties": {"data": {"required": ["image"]}, "annotations": RESULTS, "predictions": RESULTS},
    },
}


@pytest.mark.parametrize(("drafts", "expected"), [(False, DONE), (True, OPEN)])
def test_label_studio_read_as_documented(folder, drafts, expected):
    place, found = written(folder, "label-studio", drafts), {}
    tasks = json.loads((place / "tasks.json").read_text(encoding="utf-8"))
    jsonschema.validate(tasks, TASKS)
    for task in tasks:
        name = unquote(task["data"]["image"].removeprefix("/data/local-files/?d="))
        (kind,) = task.keys() & {"annotations", "predictions"}
        assert kind == ("predictions" if name == "open.png" else "annotations")
        (given,) = task[kind]
        found[name] = []
        for region in given["result"]:
            width, height = region["original_width"], region["original_height"]
            assert (width, height) == SIZES[name]
            assert ("score" in region) == (kind == "predictions")
            value = {key: region["value"][key] / 100 for key in ("x", "y", "width", "height")}
            x, y = value["x"] * width, value["y"] * height
            edges = (x, y, x + value["width"] * width, y + value["height"] * height)
            found[name].append((region["value"]["rectanglelabels"][0], edges))
    check(found, expected, 1e-9)
    config = ET.parse(place / "config.xml").getroot()
    assert [each.get("value") for each in config.iter("Label")] == [*LABELS, "dog"]
    assert config.find("RectangleLabels").attrib == {"name": "label", "toName": "image"}
    assert config.find("Image").attrib == {"name": "image", "value": "$image"}


@pytest.mark.parametrize(("drafts", "expected"), [(False, DONE), (True, OPEN)])
def test_cvat_read_as_documented(folder, drafts, expected):
    root = ET.parse(written(folder, "cvat", drafts) / "annotations.xml").getroot()
    assert root.findtext("version") == "1.1"
    assert [each.text for each in root.iterfind("meta/task/labels/label/name")] == [*LABELS, "dog"]
    found, sources = {}, []
    for number, image in enumerate(root.iterfind("image")):
        assert image.get("id") == str(number)
        assert (int(image.get("width")), int(image.get("height"))) == SIZES[image.get("name")]
        boxes = image.findall("box")
        edges = [tuple(float(box.get(name)) for name in ("xtl", "ytl", "xbr", "ybr")) for box in boxes]
        found[image.get("name")] = [(box.get("label"), each) for box, each in zip(boxes, edges, strict=True)]
        sources += [box.get("source") for box in boxes]
    check(found, expected, 1e-9)
    assert sources == ["auto", "manual", "manual", "auto", *["auto"] * drafts]


@pytest.mark.parametrize(("drafts", "expected"), [(False, DONE), (True, OPEN)])
def test_csv_read_by_our_own_reader(folder, tmp_path, drafts, expected):
    place, images = written(folder, "csv", drafts), tmp_path / "pictures"
    (images / "labels.csv").write_bytes((place / "labels.csv").read_bytes())
    found = {
        image.id: sorted((each.name, tuple(box)) for each in image.regions for box in each.boxes.tolist())
        for image in read_folder(images).images
    }
    check(found, {name: sorted(boxes) for name, boxes in expected.items() if boxes}, 1e-9)
    with (place / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["score"] for row in rows] == ["0.75", "", "", "0.125", *["0.25"] * drafts]
    assert [row["origin"] for row in rows] == ["draft", "person", "person", "draft", *["draft"] * drafts]


def test_of_nothing_there_are_empty_exports_that_can_be_read(tmp_path):
    folder = annotation_folder(tmp_path, [], ())
    for name, exports, place in write_exports(folder, read_history(folder), FORMATS, True):
        assert str(exports) == "0 pictures, 0 boxes"
        assert any(place.iterdir()), name
    with contextlib.redirect_stdout(io.StringIO()):
        assert COCO(folder / "exports" / "coco" / "annotations" / "instances_default.json").getImgIds() == []


@pytest.mark.parametrize("name", ["voc", "yolo"])
def test_two_pictures_that_would_be_one_file_are_refused_and_the_earlier_export_stays(tmp_path, name):
    pictures = [Drafted(0, "a/b.png", 9, 9, "", 1, ()), Drafted(1, "a/b.jpg", 9, 9, "", 1, ())]
    folder = annotation_folder(tmp_path, pictures[:1], ())
    list(write_exports(folder, read_history(folder), [name], True))
    before = sorted(path.relative_to(folder) for path in folder.rglob("*"))
    with pytest.raises(GroundingError, match=r"a/b\.png and a/b\.jpg would be one file"):
        list(write_exports(folder, History(pictures, ()), [name], True))
    assert sorted(path.relative_to(folder) for path in folder.rglob("*")) == before


def test_pictures_need_not_be_there_nor_be_opened(folder, tmp_path):
    for path in (tmp_path / "pictures").rglob("*.png"):
        path.write_bytes(b"gone")
    assert len(list(write_exports(folder, read_history(folder), FORMATS, True))) == 6


def test_an_export_replaces_the_earlier_one_but_nothing_else(folder):
    place = written(folder, "csv")
    assert written(folder, "csv", drafts=True) == place
    (place / "notes.txt").write_text("mine")
    with pytest.raises(GroundingError, match=r"holds other things, such as notes\.txt"):
        written(folder, "csv")


def test_skipped_pictures_and_rejected_boxes_stay_here(folder):
    history = read_history(folder)
    for drafts in (False, True):
        found = exports_of(history, drafts)
        assert "skipped.png" not in [each.picture.name for each in found.pictures]
        assert not any(box.state == "rejected" for each in found.pictures for box in each.boxes)
