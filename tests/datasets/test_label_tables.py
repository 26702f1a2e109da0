"""Classes in pictures as a table of labels: what is written, and that a training reads the same."""

from pathlib import Path

import numpy as np
import pytest

from grounding.datasets.columns import TableOptions
from grounding.datasets.label_tables import write_labels
from grounding.datasets.labelled import ClassRegion, LabelledImage, LabelledImages
from grounding.datasets.webimages import CaptionedImages
from grounding.errors import GroundingError
from helpers.training import draw_shapes

BOX = np.array([[1.0, 2.0, 30.0, 40.0], [5.0, 5.0, 9.0, 9.0]])  # two objects of a class are one label


def pictures(classes):
    """Pictures by id with the classes in them."""
    images = [
        LabelledImage(name, 64, 64, tuple(ClassRegion(each, BOX) for each in inside))
        for name, inside in classes.items()
    ]
    known = tuple(dict.fromkeys(each for inside in classes.values() for each in inside))
    return LabelledImages("toys test", known, images, lambda name: pytest.fail(f"{name} is read"))


@pytest.mark.parametrize(
    ("classes", "lines"),
    [
        ({"a": ["dog"]}, ['{"image": "../photos/a.png", "labels": ["dog"]}']),
        (
            {
                "b/c": ["TV_monitor", "dog"],
                "a": ["salt, pepper", "Hüne"],
            },  # the order of the data set, names as it writes
            [
                '{"image": "../photos/b/c.png", "labels": ["TV_monitor", "dog"]}',
                '{"image": "../photos/a.png", "labels": ["salt, pepper", "Hüne"]}',
            ],
        ),
    ],
)
def test_a_line_a_picture_without_boxes(tmp_path, classes, lines):
    (tmp_path / "tables").mkdir()
    table = tmp_path / "tables" / "t.jsonl"
    assert write_labels(pictures(classes), lambda name: tmp_path / "photos" / f"{name}.png", table) == len(lines)
    assert table.read_text(encoding="utf-8").splitlines() == lines


def test_a_training_reads_what_was_written(tmp_path, monkeypatch):
    draw_shapes(tmp_path / "photos", 2)
    monkeypatch.chdir(tmp_path)
    write_labels(
        pictures({"001": ["a, b", "c"], "000": ["c"]}), lambda name: Path(f"photos/{name}.png"), Path("t.jsonl")
    )
    images = CaptionedImages(["t.jsonl"], TableOptions(caption_column="labels", phrases_column=""))
    assert dict(zip(images.ids, images.captions, strict=True)) == {
        "photos/001.png": ("a, b", "c"),
        "photos/000.png": ("c",),
    }
    assert images.read(0).size == (64, 64)


def test_nothing_to_write(tmp_path):
    with pytest.raises(GroundingError, match="toys test has no picture with an object that counts"):
        write_labels(pictures({}), Path, tmp_path / "t.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(GroundingError, match="cannot be written"):
        write_labels(pictures({"a": ["dog"]}), Path, tmp_path / "none" / "t.jsonl")
