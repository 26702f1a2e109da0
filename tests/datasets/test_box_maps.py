"""Boxes as stand-ins for maps: by hand, what is written, and every error."""

import json

import numpy as np
import pytest

from grounding.datasets.box_maps import write_boxes
from grounding.datasets.human_maps import Spread
from grounding.datasets.labelled import ClassRegion, LabelledImage, LabelledImages
from helpers.human_maps import cells_of, read
from helpers.labelled import refused


def write(tmp_path, *rows):
    path = tmp_path / "boxes.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def row(id_, *boxes, width=64, height=64):
    return {"id": id_, "boxes": list(boxes), "width": width, "height": height}


@pytest.mark.parametrize("rows", [(), ("",), (row("a"),)], ids=["no line", "blank", "no box"])
def test_no_box(tmp_path, rows):
    assert "none of its maps (there is none)" in refused(read, write(tmp_path, *rows), {"a": (64, 64)})


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([[3, 4, 5, 5]], {(3, 4): 1 / 2, (4, 4): 1 / 2}),
        ([[3, 4, 4.5, 5]], {(3, 4): 2 / 3, (4, 4): 1 / 3}),
        ([[3, 4, 4, 5], [3, 4, 5, 5]], {(3, 4): 1 / 2, (4, 4): 1 / 2}),  # what two boxes cover counts once
        ([[0, 0, 1, 1], [63, 63, 64, 64]], {(0, 0): 1 / 2, (63, 63): 1 / 2}),
        ([[1.25, 0, 1.5, 0.5]], {(1, 0): 1}),
    ],
    ids=["one", "half a cell", "over each other", "corners", "inside a cell"],
)
def test_boxes_by_hand(tmp_path, boxes, expected):
    found = read(
        write(tmp_path, row("a", *boxes), row("b", [0, 0, 1, 1]), row("c")), {"a": (640, 640)}, Spread("discs", 0.3)
    )
    assert cells_of(found.maps["a"]) == pytest.approx(expected)  # not spread
    assert found.left_out == {"maps of other pictures": 1, "pictures without a box": 1}


def test_boxes_of_a_wide_picture(tmp_path):
    # 128 x 32 px: a cell is 2 px wide and half a px high.
    found = read(write(tmp_path, row(7, [2, 1, 6, 2], width=128, height=32)), {"7": (256, 64)})
    assert cells_of(found.maps["7"]) == pytest.approx({(x, y): 1 / 4 for x in (1, 2) for y in (2, 3)})


def test_what_is_written_is_read(tmp_path):
    first, second = np.array([[0.0, 0, 1, 1], [2, 0, 3, 1]]), np.array([[5.0, 5, 6, 6]])
    images = [
        LabelledImage("ü", 64, 64, (ClassRegion("cat", first), ClassRegion("dog", second))),
        LabelledImage("2", 64, 128, (ClassRegion("cat", second),)),
    ]
    path = tmp_path / "boxes.jsonl"
    assert write_boxes(LabelledImages("toys", ("cat", "dog"), images, pytest.fail), path) == 2
    assert path.read_text(encoding="utf-8").splitlines() == [
        '{"id": "ü", "boxes": [[0.0, 0.0, 1.0, 1.0], [2.0, 0.0, 3.0, 1.0], [5.0, 5.0, 6.0, 6.0]], '
        '"width": 64, "height": 64}',
        '{"id": "2", "boxes": [[5.0, 5.0, 6.0, 6.0]], "width": 64, "height": 128}',
    ]
    found = read(path, {"ü": (64, 64), "2": (32, 64)})
    assert cells_of(found.maps["ü"]) == pytest.approx({(0, 0): 1 / 3, (2, 0): 1 / 3, (5, 5): 1 / 3})
    assert cells_of(found.maps["2"]) == {(5, 2): 1}  # a cell is 2 px high


def test_nothing_to_write(tmp_path):
    empty = LabelledImages("toys", (), [], pytest.fail)
    assert "toys has no picture with an object that counts" in refused(write_boxes, empty, tmp_path / "b.jsonl")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "boxes.jsonl, line 2 is not JSON ("),
        ("[1]", "line 2 is [1]: expected {"),
        ('{"id": "b"}', "line 2 is {'id': 'b'}: expected {"),
        (row("b", [1, 2, 3]), "line 2 is {"),
        (row("b", [1, 2], [3, 4]), "line 2 is {"),
        (row("b", [1, 2, "x", 4]), "line 2 is {"),
        (row("b", [1, 2, 1, 4]), "line 2: the box [1.0, 2.0, 1.0, 4.0] is empty or not inside 64 x 64 px"),
        (row("b", [1, 2, 3, 65]), "line 2: the box [1.0, 2.0, 3.0, 65.0] is empty or not inside"),
        (row("b", [-1, 2, 3, 4]), "line 2: the box [-1.0, "),
        (row("b", [1, 2, float("nan"), 4]), "line 2: the box [1.0, 2.0, nan"),
        (row("a", [1, 2, 3, 4]), "line 2: the boxes of a are there twice"),
    ],
    ids=["cut", "list", "keys", "three", "pairs", "text", "empty", "outside", "negative", "nan", "twice"],
)
def test_damaged_lines(tmp_path, line, said):
    assert said in refused(read, write(tmp_path, row("a", [0, 0, 1, 1]), line), {"a": (64, 64)})


def test_another_picture(tmp_path):
    path = write(tmp_path, row("a", [0, 0, 1, 1], width=128))
    assert "the boxes' picture a is 128 x 64 px and its picture 64 x 128" in refused(read, path, {"a": (64, 128)})
