"""Sheets of missed phrases: what is missed is what the evaluation counts as missed."""

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from grounding.evaluate import main
from grounding.evaluation.report import misses
from helpers.entities import write_entities


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = write_entities(tmp_path_factory.mktemp("data") / "entities", photographs=True)
    return ["--annotations", str(folder), "--images", str(folder / "photographs")]


@pytest.mark.slow
def test_misses_are_those_of_a_run(data, in_empty_folder):
    assert in_empty_folder(main, "flickr30k", *data, "--output", "run")[0] == 0
    recall = json.loads(Path("run/metrics.json").read_text())["run"]["recall@1/merged-box"]
    missed = round(recall["count"] * (1 - recall["value"] / 100))
    assert missed > 1
    status, out, _ = in_empty_folder(main, "misses", *data, "--output", "misses")
    assert (status, out) == (0, f"{missed} phrases missed; {missed} of them drawn in misses\n")
    rows = list(csv.DictReader(Path("misses/misses.csv").read_text().splitlines()))
    assert [row["number"] for row in rows] == [str(number + 1) for number in range(missed)]
    assert all(float(row["iou"]) <= 0.5 for row in rows)
    sheets = sorted(path.name for path in Path("misses").glob("*.png"))
    assert sheets == [f"sheet-{number + 1:02d}.png" for number in range((missed + 9) // 10)]
    with Image.open("misses/sheet-01.png") as sheet:
        assert sheet.size == (1200, (min(missed, 10) + 1) // 2 * 269)

    status, out, _ = in_empty_folder(main, "misses", *data, "--output", "two", "--count", "2", "--seed", "1")
    assert out.startswith(f"{missed} phrases missed; 2 of them")
    assert len(Path("two/misses.csv").read_text().splitlines()) == 3
    status, _, err = in_empty_folder(main, "misses", *data, "--output", "misses")
    assert (status, err.splitlines()[-1].count("misses has results already")) == (2, 1)


@pytest.mark.parametrize(("overlap", "missed"), [(0.5, 0), (0.499, 20), (0.0, 20)])
def test_an_overlap_of_a_half_is_no_miss(data, in_empty_folder, monkeypatch, overlap, missed):
    monkeypatch.setattr(misses, "_overlap", lambda *arguments: overlap)
    status, out, _ = in_empty_folder(main, "misses", *data, "--output", "misses", "--count", "1")
    assert (status, out.split()[0]) == (0, str(missed))


def test_bad_input_is_one_line(data, in_empty_folder):
    status, _, err = in_empty_folder(main, "misses", *data, "--output", "out", "--count", "0")
    assert (status, err.count("\n"), "--count" in err) == (2, 1, True)
