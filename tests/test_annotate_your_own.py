"""docs/guides/annotate-your-own.md, command by command, on crops of photographs: labels to boxes in COCO's form."""

import csv
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect
from pycocotools.coco import COCO

from grounding.tagging.sources import load_classifier
from helpers.annotation_page import annotating, ready
from helpers.paths import ROOT

PAGE = ROOT / "docs" / "guides" / "annotate-your-own.md"
CROPS = 6  # of each photograph


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder with `my-pictures`, `labels.csv` and the recipes, where the commands run."""
    from skimage import data

    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    pictures = tmp_path / "my-pictures"
    pictures.mkdir()
    draw = np.random.default_rng(0)
    rows = []
    for label, array in (("kitten", data.chelsea()), ("coffee cup", data.coffee()), ("rocket", data.rocket())):
        height, width = array.shape[:2]
        for _ in range(CROPS):
            x, y = draw.integers(0, width // 5), draw.integers(0, height // 5)
            name = f"my-pictures/{len(rows) + 1:03d}.png"
            Image.fromarray(array[y : y + height * 4 // 5, x : x + width * 4 // 5]).resize((240, 200)).save(name)
            rows.append((name, label))
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "label"), *rows])
    return tmp_path


def commands():
    blocks = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def boxes_on_disk(folder):
    lines = [json.loads(line) for line in (folder / "drafts.jsonl").read_text().splitlines()]
    return {line["image"]: line["boxes"] for line in lines}


@pytest.mark.slow
def test_from_labels_to_boxes(own, in_empty_folder, open_page, monkeypatch):
    from grounding import annotate, localize, train

    doors = {"grounding.train": train.main, "grounding.localize": localize.main, "grounding.annotate": annotate.main}
    steps = commands()
    assert [step[2].split(".")[1] for step in steps] == ["train", "localize", "annotate", "annotate", "annotate"]
    for python, flag, module, *arguments in steps:
        assert (python, flag) == ("python", "-m")
        monkeypatch.chdir(own)
        if arguments == ["--output", "annotation"]:  # the page: everything is fine, says the person
            with annotating(open_page, own / "annotation", own / "annotation") as visit:
                page = visit()
                for done in range(3 * CROPS):
                    ready(page)
                    page.keyboard.press("d")
                    expect(page.locator("#count")).to_have_text(f"{done + 1} of {3 * CROPS} done")
            continue
        status, _, err = in_empty_folder(doors[module], *arguments)
        assert status == 0, err
    assert set(load_classifier(own / "runs" / "mine" / "classifier").tags) == {"kitten", "coffee cup", "rocket"}
    drafted = boxes_on_disk(own / "annotation")
    table = csv.DictReader((own / "labels.csv").read_text().splitlines())
    labels = {Path(row["image"]).name: row["label"] for row in table}
    assert {name: [box["label"] for box in boxes] for name, boxes in drafted.items()} == {
        name: [label] for name, label in labels.items()
    }
    coco = COCO(own / "annotation" / "exports" / "coco" / "annotations" / "instances_default.json")
    exported = {each["file_name"]: coco.imgToAnns[each["id"]] for each in coco.dataset["images"]}
    assert exported.keys() == labels.keys()
    for name, (box,) in drafted.items():
        (found,) = exported[name]
        x, y, width, height = found["bbox"]
        assert [x, y, x + width, y + height] == pytest.approx(
            [box[edge] for edge in ("x0", "y0", "x1", "y1")], abs=0.01
        )
        assert "score" not in found  # a person has accepted it
    assert len(list((own / "annotation" / "exports" / "yolo" / "labels").rglob("*.txt"))) == 3 * CROPS
