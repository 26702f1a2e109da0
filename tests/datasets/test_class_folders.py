"""A folder for each class, read and written as a table that a training reads."""

import json
import re

import pytest

from grounding.datasets.class_folders import read_class_folders
from grounding.datasets.label_tables import read_labels
from grounding.errors import GroundingError
from grounding.train import main

FILES = ("cat/b.jpg", "cat/a.PNG", "indigo bunting/2019/c.webp", ".trash/d.jpg", "cat/.e.jpg", "f.jpg", "cat/notes.txt")


@pytest.fixture
def pictures(tmp_path):
    for name in FILES:
        path = tmp_path / "my-pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "my-pictures"


def test_the_class_is_the_name_of_the_first_folder(pictures):
    found = read_class_folders(pictures)
    assert [(each.id, [region.name for region in each.regions]) for each in found.images] == [
        ("cat/a.PNG", ["cat"]),
        ("cat/b.jpg", ["cat"]),
        ("indigo bunting/2019/c.webp", ["indigo bunting"]),
    ]
    assert found.classes == ("cat", "indigo bunting")
    assert found.read("cat/b.jpg") == b"cat/b.jpg"
    assert found.file("cat/b.jpg") == pictures / "cat" / "b.jpg"
    assert all(region.boxes.shape == (0, 4) for each in found.images for region in each.regions)


def test_a_table_of_folders(pictures, tmp_path, capsys):
    assert main(["labels", "folders", "--root", str(pictures), "--output", str(tmp_path / "labels.jsonl")]) == 0
    rows = [json.loads(line) for line in (tmp_path / "labels.jsonl").read_text().splitlines()]
    assert rows[2] == {
        "image": "my-pictures/indigo bunting/2019/c.webp",
        "labels": ["indigo bunting"],
        "id": "indigo bunting/2019/c.webp",
    }
    assert capsys.readouterr().out == f"3 pictures: {tmp_path / 'labels.jsonl'}\n"
    arguments = ["labels", "folders", "--root", str(pictures), "--output", str(tmp_path / "x.jsonl")]
    assert main([*arguments, "--boxes", str(tmp_path / "boxes.jsonl")]) == 2
    assert capsys.readouterr().err.startswith("error: --boxes needs boxes, which pictures in folders do not have")


@pytest.mark.parametrize(
    ("kind", "root", "split", "said"),
    [
        ("folders", "nowhere", None, "nowhere is no folder: expected one with a folder of pictures for each class"),
        ("folders", "my-pictures/cat", None, "has no picture in a folder of its own: expected class/picture"),
        ("folders", "my-pictures", "train", "folders have no split 'train': leave out --split"),
        ("cub", "my-pictures", None, "cub needs --split, such as"),
    ],
)
def test_what_is_refused(pictures, kind, root, split, said):
    with pytest.raises(GroundingError, match=re.escape(said)):
        read_labels(kind, pictures.parent / root, split)
