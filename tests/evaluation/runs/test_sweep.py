"""Settings tried side by side: the grid, its numbers, and choosing on one half and reporting on the other, by hand."""

import json
from pathlib import Path

import pytest

from grounding.boxes import enclosing
from grounding.config import LocalizerConfig
from grounding.datasets.flickr30k import Flickr30kEntities
from grounding.errors import GroundingError
from grounding.evaluate import main
from grounding.evaluation.predictions.prediction import Prediction, phrase_key
from grounding.evaluation.runs.sweep import SHOWN, combinations, flattery, table
from helpers.entities import write_entities


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = write_entities(tmp_path_factory.mktemp("data") / "entities", photographs=True)
    return ["--images", str(folder / "photographs"), "--annotations", str(folder)]


@pytest.mark.slow
def test_a_line_a_combination_with_the_numbers_of_a_run(data, in_empty_folder):
    status, out, _ = in_empty_folder(main, "sweep", *data, "regions.gamma=0.1,0.3", "--halves")
    lines = out.splitlines()
    assert (status, len(lines)) == (0, 1 + 3 + 9)
    assert lines[0] == f"5 photographs of val; {', '.join(protocol.name for protocol in SHOWN)}"
    assert [line.split()[-1] for line in lines[1:4]] == ["regions.gamma=0.1", "regions.gamma=0.3", "defaults"]
    for line, setting in zip(lines[1:3], ("regions.gamma=0.1", "regions.gamma=0.3"), strict=True):
        assert in_empty_folder(main, "flickr30k", *data, "--set", setting, "--output", setting)[0] == 0
        run = json.loads(Path(setting, "metrics.json").read_text())["run"]
        assert line.split()[:3] == [f"{run[protocol.name]['value']:.1f}" for protocol in SHOWN]


def test_only_every_nth_photograph(data, in_empty_folder):
    status, out, _ = in_empty_folder(main, "sweep", *data, "--every", "3")
    assert (status, out.splitlines()[0][:13], len(out.splitlines())) == (0, "2 photographs", 2)


def test_combinations():
    default = LocalizerConfig()
    assert combinations([], None, [], False) == {(): default}
    settings = combinations(["regions.gamma=0.1,0.3", "maps.stride=8,16"], None, ["regions.nms_iou=0.4"], True)
    assert list(settings)[:2] == [
        ("regions.gamma=0.1", "maps.stride=8"),
        ("regions.gamma=0.1", "maps.stride=16"),
    ]
    assert list(settings)[4:] == [()]
    assert settings["regions.gamma=0.3", "maps.stride=8"].regions.gamma == 0.3
    assert {config.regions.nms_iou for config in settings.values()} == {0.4}


@pytest.mark.parametrize("entry", ["regions.gamma", "regions.gamma=", "=0.1"])
def test_what_is_no_setting(entry):
    with pytest.raises(GroundingError, match=r"KEY=VALUE,VALUE"):
        combinations([entry], None, [], False)


def test_halves_are_every_other_photograph(tmp_path):
    """One setting is right on the even photographs only, the defaults on the odd ones only."""
    images = list(Flickr30kEntities(write_entities(tmp_path / "entities")).read("val"))
    predictions = {("a=1",): {}, (): {}}
    for number, image in enumerate(images):
        answered = predictions["a=1",] if number % 2 == 0 else predictions[()]
        for phrase in image.boxed_phrases:
            box = enclosing(image.boxes[phrase.chain])
            answered[phrase_key(image, phrase)] = Prediction(box, point=tuple(image.boxes[phrase.chain][0, :2]))
    lines = list(table("val", images, predictions, halves=True))
    for protocol in SHOWN:
        name = f"{protocol.name}, chosen on the"
        assert f"{name} even half: 100.0 there (defaults 0.0), 0.0 on the other (100.0): a=1" in lines
        assert f"{name} odd half: 100.0 there (defaults 100.0), 0.0 on the other (0.0): defaults" in lines


def test_flattery_by_hand():
    even = {(): (70.0, 40.0, 60.0), ("a=1",): (75.0, 38.0, 60.0), ("a=2",): (72.0, 41.0, 59.0)}
    odd = {(): (71.0, 42.0, 61.0), ("a=1",): (72.0, 45.0, 61.0), ("a=2",): (74.0, 39.0, 60.0)}
    lines = list(flattery(even, odd))
    assert lines[:6] == [
        "pointing/phrase, chosen on the even half: 75.0 there (defaults 70.0), 72.0 on the other (71.0): a=1",
        "pointing/phrase, chosen on the odd half: 74.0 there (defaults 71.0), 72.0 on the other (70.0): a=2",
        "pointing/phrase: +4.0 where chosen, +1.5 elsewhere: tuning flatters by 2.5",
        "recall@1/merged-box, chosen on the even half: 41.0 there (defaults 40.0), 39.0 on the other (42.0): a=2",
        "recall@1/merged-box, chosen on the odd half: 45.0 there (defaults 42.0), 38.0 on the other (40.0): a=1",
        "recall@1/merged-box: +2.0 where chosen, -2.5 elsewhere: tuning flatters by 4.5",
    ]
    assert lines[6] == (
        "recall@5/merged-box, chosen on the even half: 60.0 there (defaults 60.0), 61.0 on the other (61.0): defaults"
    )
    assert lines[8] == "recall@5/merged-box: +0.0 where chosen, +0.0 elsewhere: tuning flatters by 0.0"


def test_flattery_of_the_defaults_alone_is_none():
    lines = list(flattery({(): (1.0, 2.0, 3.0)}, {(): (4.0, 5.0, 6.0)}))
    assert len(lines) == 9
    assert all(line.endswith(("defaults", "flatters by 0.0")) for line in lines)
