"""The photographs before and after: chosen by the rule, drawn from two runs."""

import hashlib
import json
import random

import numpy as np
import pytest
from PIL import Image, ImageColor

from grounding.evaluate import main as evaluate
from grounding.evaluation.predictions.prediction import Prediction
from helpers.entities import write_entities
from helpers.paths import load_script
from helpers.predictions import entity_image


@pytest.fixture
def script():
    return load_script("before_after")


def slow_choice(before, after):
    """The rule, as it is written: one phrase after another."""
    left = sorted(set(before) & set(after), key=lambda key: hashlib.sha256("0 {} {} {}".format(*key).encode()).digest())
    wanted = {"now a hit": [(False, True)], "now a miss": [(True, False)], "": [(True, True), (False, False)]}
    taken = []
    for kind, sides in wanted.items():
        of_kind = 0
        for key in left:
            if of_kind < 4 and (before[key], after[key]) in sides and key[0] not in [k[0] for k, _ in taken]:
                taken.append((key, kind or ("a hit" if before[key] else "a miss")))
                of_kind += 1
    return taken


@pytest.mark.parametrize("count", [0, 1, 5, 40, 400])
def test_the_choice_follows_the_rule(script, count):
    draw = random.Random(count)
    keys = [(str(draw.randrange(1 + count // 3)), draw.randrange(5), n) for n in range(count)]
    before, after = ({key: draw.random() < 0.6 for key in keys if draw.random() < 0.9} for _ in range(2))
    chosen = script.choose(before, after)
    assert chosen == slow_choice(before, after)
    assert len({image for (image, _, _), _ in chosen}) == len(chosen) <= 12
    if count == 400:
        assert len(chosen) == 12


def test_the_choice_does_not_follow_the_order_given(script):
    before, after = {("1", 0, n): False for n in range(9)}, {("1", 0, n): True for n in range(9)}
    assert script.choose(before, after) == script.choose(dict(reversed(before.items())), after)
    assert [key for key, _ in script.choose(before, after)] != [("1", 0, 0)]


def test_a_tile_shows_both_answers_and_the_true_boxes(script):
    image = entity_image("11")  # 200 x 100 px; the men are at 0-40 and 60-100, 0-50
    photograph = Image.new("RGB", (400, 200), (90, 90, 90))
    answers = [Prediction(np.array([[100.0, 40, 150, 80]]), point=(120.0, 60.0)), Prediction()]
    drawn = np.asarray(script.tile(photograph, "title", image, image.phrases[0], answers)).astype(int)

    def seen(colour, left):
        part = drawn[script.TEXT_PX : script.TEXT_PX + 190, left : left + 380]
        rows, columns = (abs(part - ImageColor.getrgb(colour)).max(2) <= 2).nonzero()
        return (columns.min(), rows.min(), columns.max(), rows.max()) if len(rows) else None

    scale = 380 / 200
    for left in (0, 384):
        assert seen("#20d060", left) == pytest.approx((0, 0, 100 * scale, 50 * scale), abs=1.5)
    assert seen("#ff8c1a", 0) == pytest.approx((100 * scale, 40 * scale, 150 * scale, 80 * scale), abs=1.5)
    assert seen("#ff8c1a", 384) is None


def test_from_two_runs_to_a_picture(script, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_entities(tmp_path / "entities", photographs=True)
    truth = {"image": "1001", "sentence": 0, "phrase": 0, "boxes": [[0, 0, 100, 50]]}
    for name, boxes in (("before", [[100, 50, 200, 100]]), ("after", [[0, 0, 100, 25]])):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(truth | {"boxes": boxes}) + "\n")
        command = ["flickr30k", "--predictions", f"{name}.jsonl", "--annotations", "entities", "--split", "val"]
        assert evaluate([*command, "--output", name, "--allow-missing"]) == 0
    capsys.readouterr()
    pictures = ["--images", "entities/photographs", "--output", "both.png"]
    assert script.main(["before", "after", *pictures]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "1. now a hit: 1001, 'Two men', IoU 0.00 and 0.50"
    assert [line.split(":")[0].split(". ")[1] for line in lines[1:]] == ["a miss"] * 4
    with Image.open("both.png") as picture:
        assert picture.size == (2 * (2 * 384 + 8), 3 * 343)
    assert script.main(["before", "nowhere", *pictures]) == 2
    assert "nowhere/metrics.json cannot be read" in capsys.readouterr().err
