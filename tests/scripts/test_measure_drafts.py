"""Drafts against true boxes, worked by hand."""

import json
import sys

import numpy as np
import pytest

from helpers.paths import load_script

drafts = load_script("measure_drafts")
BOX = np.array([0.2, 0.2, 0.6, 0.6])


@pytest.mark.parametrize(
    ("draft", "level", "corners"),
    [
        ([0.2, 0.2, 0.6, 0.6], 1.0, 0),
        ([0.2, 0.2, 0.6, 0.4], 0.5, 0),
        ([0.2, 0.2, 0.6, 0.4], 0.7, 1),
        ([0.1, 0.1, 0.6, 0.6], 0.7, 1),  # the upper left corner
        ([0.2, 0.1, 0.9, 0.6], 0.7, 1),  # the upper right one
        ([0.0, 0.0, 1.0, 1.0], 0.7, 2),
        ([0.0, 0.0, 1.0, 1.0], 0.3, 1),
    ],
)
def test_the_corners_that_are_dragged(draft, level, corners):
    assert drafts.corners_to_drag(np.array(draft), BOX, level) == corners


@pytest.mark.parametrize(
    ("drafted", "true", "pairs"),
    [
        ([], [], []),
        ([BOX], [], []),
        ([[0, 0, 0.1, 0.1]], [BOX], []),
        ([[0.2, 0.2, 0.6, 0.4], BOX], [BOX], [(1, 0)]),  # the better one; the other is left
        ([[0.2, 0.2, 0.6, 0.4], [0.2, 0.4, 0.6, 0.6]], [BOX, [0.2, 0.4, 0.6, 0.6]], [(1, 1), (0, 0)]),
    ],
)
def test_each_box_is_paired_once(drafted, true, pairs):
    boxes = (np.array(each, float).reshape(-1, 4) for each in (drafted, true))
    assert [pair[:2] for pair in drafts.paired(*boxes)] == pairs


@pytest.mark.parametrize(
    ("drafted", "true", "at_half"),
    [
        ([], [], 0),
        ([], [BOX, BOX], 2),  # two are drawn
        ([BOX], [], 1),  # one is rejected
        ([BOX], [BOX], 0),
        ([[0.0, 0.0, 1.0, 1.0]], [BOX], 2),
        ([BOX, [0, 0, 0.1, 0.1]], [BOX, [0.7, 0.7, 0.9, 0.9]], 2),
    ],
)
def test_actions(drafted, true, at_half):
    boxes = (np.array(each, float).reshape(-1, 4) for each in (drafted, true))
    assert drafts.actions(*boxes, 0.5) == at_half


def _xml(*boxes):
    objects = "".join(
        f"<object><name>cell</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox>"
        "</object>"
        for x0, y0, x1, y1 in boxes
    )
    return f"<annotation><size><width>100</width><height>50</height><depth>3</depth></size>{objects}</annotation>"


def test_the_table(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "Annotations"
    folder.mkdir()
    (folder / "a.xml").write_text(_xml((1, 1, 50, 50), (61, 1, 100, 50)))  # the second one is not drafted
    (folder / "b.xml").write_text(_xml((26, 1, 75, 50)))  # 50 x 50, for the centre draft
    box = {"label": "red cell", "x0": 0, "y0": 0, "x1": 50, "y1": 50, "score": 0.9}
    line = {"image": "deep/a.jpg", "width": 100, "height": 50, "boxes": [box]}
    (tmp_path / "drafts.jsonl").write_text(json.dumps(line) + "\n")
    arguments = ["--drafts", tmp_path / "drafts.jsonl", "--voc", tmp_path, "--names", "red cell=cell"]
    monkeypatch.setattr(sys, "argv", ["measure_drafts.py", *map(str, arguments)])
    assert drafts.main() == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "1 pictures, 1 drafts"
    assert "| red cell, ours | 1 | 2 | 50.0 [50.0, 50.0] | 50.0 [50.0, 50.0] |" in printed
    assert "| red cell, centre | 1 | 2 | 0.0 [0.0, 0.0] | 0.0 [0.0, 0.0] |" in printed
    assert "| no drafts | 1.50 [1.50, 1.50] | 1.50 [1.50, 1.50] |" in printed  # two drawn, one done
    assert "| ours | 1.00 [1.00, 1.00] | 1.00 [1.00, 1.00] |" in printed
    assert "| centre | 1.50 [1.50, 1.50] | 2.00 [2.00, 2.00] |" in printed  # one corner or two, one drawn, one done
