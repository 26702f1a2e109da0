"""The fit of the blind boxes: the greedy choice against a plain one, what it counts, and the command."""

import itertools
import json
import re
import zipfile

import numpy as np
import pytest

from grounding.boxes import iou
from grounding.datasets.flickr30k import Flickr30kEntities
from helpers.entities import write_entities
from helpers.paths import load_script


@pytest.fixture(scope="module")
def fitting():
    return load_script("fit_blind_boxes", "tools")


def test_the_greedy_choice_against_a_plain_one(fitting):
    random = np.random.default_rng(0)
    corners = np.sort(random.integers(0, 17, (300, 2, 2)), axis=1) / 16  # (N, low and high, x and y)
    boxes = np.concatenate([corners[:, 0], corners[:, 1] + 1 / 16], 1).clip(0, 1)
    boxes = boxes[(boxes[:, 2:] > boxes[:, :2]).all(1)]
    phrases = random.integers(1, 4, len(boxes)).astype(float)
    steps = [(a / 4, b / 4) for a, b in itertools.combinations(range(5), 2)]
    windows = np.array([(x0, y0, x1, y1) for x0, x1 in steps for y0, y1 in steps])
    hits, left, expected, recall = iou(windows, boxes) >= 0.5, phrases.copy(), [], []
    for _ in range(5):
        expected.append(windows[best := int((hits @ left).argmax())].tolist())
        left[hits[best]] = 0
        recall.append(100 * (1 - left.sum() / phrases.sum()))
    chosen, reached = fitting.fit(boxes, phrases, grid=4, count=5)
    assert chosen == expected
    assert reached == pytest.approx(recall)


def test_what_the_fit_wants(fitting, tmp_path):
    """The enclosing box of every chain that a phrase speaks of, relative, with the number of its phrases."""
    images = Flickr30kEntities(write_entities(tmp_path / "entities")).read("val")
    boxes, phrases = fitting.wanted_boxes(images)
    assert phrases.tolist() == [2, 2, *[1] * 8, 2, 3, 1, 1, 1]
    np.testing.assert_allclose(boxes[0], [0, 0, 100 / 200, 50 / 100])
    np.testing.assert_allclose(boxes[-1], [0, 20 / 40, 1, 1])


def test_the_command_that_fits(fitting, tmp_path, monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["fit_blind_boxes.py", *map(str, arguments)])
        return fitting.main()

    assert call("--annotations", tmp_path / "none.zip") == 2
    assert re.fullmatch(r"error: .*none\.zip does not exist.*\n", capsys.readouterr().err)
    xml = "<annotation><size><width>60</width><height>40</height></size><object><name>1</name><bndbox><xmin>1</xmin>"
    xml += "<ymin>1</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object></annotation>"
    with zipfile.ZipFile(tmp_path / "entities.zip", "w") as archive:
        for name, text in {
            "Annotations/5.xml": xml,
            "Sentences/5.txt": "[/EN#1/other It] and [/EN#1/other it]\n",
            "train.txt": "5\n",
            "UNRELATED_CAPTIONS": "",
        }.items():
            archive.writestr(name, text)
    output = tmp_path / "boxes.json"
    assert call("--annotations", tmp_path / "entities.zip", "--grid", 2, "--output", output) == 0
    assert "100.00%" in capsys.readouterr().out
    made = json.loads(output.read_text())
    assert made["boxes"][0] == [0, 0, 0.5, 0.5]  # IoU of exactly 1/2 is enough
    assert made["recipe"]["phrases"] == 2
    assert made["train_recall"] == [100.0] * 10
