"""Whole runs: their files and numbers, interrupted, shared among processes, over broken and changed pictures."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from grounding.benchmarks.data import Source
from grounding.benchmarks.measurer import Measurer
from grounding.benchmarks.names import KNOWN
from grounding.benchmarks.run import ROWS as ROWS_FILE
from grounding.benchmarks.run import read_rows
from grounding.errors import GroundingError
from grounding.evaluate import main
from helpers.benchmarks import (
    COLOURS,
    FILES,
    PICTURES,
    ROWS,
    job,
    picture,
    run,
    write_classifier,
    write_cub,
    write_folder,
)
from helpers.entities import write_entities
from helpers.errors import facts

METHODS = ("contrastive-mwp", "center")


@pytest.fixture
def evaluate(in_empty_folder):
    """Runs `python -m grounding.evaluate`; standard error without progress bars."""

    def call(*arguments):
        status, out, err = in_empty_folder(main, *arguments)
        lines = [line for line in err.replace("\r", "\n").splitlines() if line.strip() and "%|" not in line]
        return status, out, lines

    return call


def command(folder, classifier, *more):
    return [
        *(
            "localization",
            "--dataset",
            "folder",
            "--root",
            folder,
            "--classifier",
            classifier,
            "--methods",
            ",".join(METHODS),
        ),
        *("--set", "maps.stride=2", "--output", "out", *more),
    ]


def contents(folder):
    assert sorted(path.name for path in folder.iterdir()) == FILES
    return {name: (folder / name).read_bytes() for name in FILES}


def read(folder):
    return json.loads((Path(folder) / "metrics.json").read_text(), parse_constant=pytest.fail)  # NaN is no JSON


def break_(path):
    """Cut a picture short, so that its header is whole."""
    picture(*PICTURES[path.name]).save(path, "JPEG")  # readers go by content
    header, scan, data = path.read_bytes().rpartition(b"\xff\xda")
    path.write_bytes(header + scan + data[:20])


@pytest.fixture
def copy(colours, tmp_path):
    """The pictures, to be changed."""
    return Path(shutil.copytree(colours, tmp_path / "colours"))


def test_every_method_localizes_by_hand(whole):
    """Every method but the centre and RISE with few masks finds each rectangle at IoU 0.7.

    Top-1: of two colours in a picture only the more probable one is predicted. In `four.png` the blue rectangle is
    larger, in `five.png` the red one: 6 of 8.
    """
    metrics, rows = read(whole), read_rows(whole)
    assert sorted(path.name for path in whole.iterdir()) == FILES
    assert [row["image"] for row in rows] == list(PICTURES)
    assert [row["predicted"] for row in rows] == ["red", "green", "blue", "blue", "red", "blue"]
    assert list(metrics["methods"]) == list(KNOWN)
    for method in KNOWN:
        numbers = metrics["methods"][method]
        assert {score["count"] for score in numbers.values()} == {ROWS}
        if method not in ("center", "rise"):
            assert numbers["MaxBoxAcc"]["value"] == numbers["MaxBoxAccV2"]["value"] == 100.0
            assert numbers["top-1"] == {**numbers["top-1"], "value": 75.0}
    assert metrics["classifier_top_1"] == 100.0
    assert metrics["methods"]["center"]["GT-known"]["value"] == 0.0
    assert metrics["differences"]["of"] == "contrastive-mwp"
    assert metrics["differences"]["less"]["center"]["GT-known"]["value"] == 100.0
    assert metrics["differences"]["less"]["mwp"]["MaxBoxAcc"] == {"value": 0.0, "low": 0.0, "high": 0.0, "count": ROWS}
    assert metrics["dataset"]["failed"] == {}
    assert metrics["untagged_as_misses"] == {}
    assert {name: one["images"] for name, one in metrics["classes"].items()} == {"blue": 3, "green": 2, "red": 3}
    assert {name: of["contrastive-mwp"] for name, of in metrics["by_class"].items()} == dict.fromkeys(COLOURS, 100.0)
    assert metrics["costs"]["center"] == {"one_class": 0.0, "further_class": 0.0}
    assert metrics["costs"]["rise"]["one_class"] == pytest.approx(42, abs=0.1)


def test_the_pointing_game_by_hand(pointed):
    """The centre, in whole px the one above and left of it, and how far it is from the nearest px of the rectangle:

    one (32, 24): 23, 19 -> 9, 5; two (24, 32): inside; three (40, 20): 4, 0; four (32, 32): red 21, 21 -> 11, 11 =
    15.6, a miss from (32, 32) and 14.1, a hit, from (31, 31); blue 36 -> 5, 5; five (48, 32): green 27, 27 -> 20, a
    miss, red 60 -> 13, inside = 13; six: inside.
    """
    metrics = read(pointed)
    hits = {
        (row["image"], name, method): of["hit"]
        for row in read_rows(pointed)
        for name, methods in row["rows"].items()
        for method, of in methods.items()
    }
    assert len(hits) == 3 * ROWS
    assert all(hit for (_, _, method), hit in hits.items() if method != "center")
    assert [key[:2] for key, hit in hits.items() if key[2] == "center" and not hit] == [("five.png", "green")]
    centre = metrics["methods"]["center"]
    assert centre["all, pooled"]["value"] == 87.5  # 7 of 8
    assert centre["all"]["value"] == pytest.approx(100 * (1 + 1 / 2 + 1) / 3, abs=1e-6)
    assert (centre["difficult"]["count"], centre["difficult, pooled"]["value"]) == (4, 75.0)
    assert centre["difficult"]["value"] == pytest.approx(100 * (1 + 0 + 1) / 3, abs=1e-6)
    assert metrics["methods"]["gradient"]["difficult"]["value"] == 100.0
    assert metrics["by_class"]["green"]["center"] == 50.0


def test_a_finished_run_is_said_again_not_done_again(colours, classifier, evaluate, monkeypatch):
    status, out, err = evaluate(*command(colours, classifier))
    assert (status, err) == (0, [])
    for word in ("contrastive-mwp", "center", "MaxBoxAcc", "6 pictures, 8 classes in pictures", "report.html"):
        assert word in out
    before = contents(Path("out"))
    monkeypatch.setattr(Measurer, "__call__", lambda self, image: pytest.fail("measured again"))
    again = evaluate(*command(colours, classifier))
    assert again == (0, out, ["note: out holds this run already, finished: nothing to do"])
    for more, message in (
        (["--limit", "2"], "another limit (2, was None)"),
        (["--smoothing", "0.1"], "another smoothing (0.1, was None)"),
        (["--set", "maps.stride=1"], "another maps.stride (1, was 2)"),
    ):
        status, _, err = evaluate(*command(colours, classifier, *more))
        assert (status, len(err), message in err[0], "--overwrite" in err[0]) == (2, 1, True, True)
    assert contents(Path("out")) == before


def test_names_with_brackets_are_no_markup(classifier, evaluate, tmp_path):
    folder = write_folder(tmp_path / "[b]red")
    status, out, _ = evaluate(*command(folder, classifier, "--limit", "1", "--name", "[i]x"))
    assert (status, "[b]red, 1 picture, 1 class in a picture" in out) == (0, True)
    assert read("out")["name"] == "[i]x"


def test_overwrite_does_it_again(colours, classifier, evaluate):
    assert evaluate(*command(colours, classifier))[0] == 0
    assert evaluate(*command(colours, classifier, "--limit", "3", "--overwrite"))[0] == 0
    # 3 of 6, spread evenly
    assert [row["image"] for row in read_rows(Path("out"))] == ["one.png", "three.png", "five.png"]
    assert read("out")["dataset"]["limit"] == 3


@pytest.mark.parametrize(("limit", "places"), [(1, [0]), (4, [0, 1, 3, 4]), (6, range(6)), (9, range(6))])
def test_a_limit_is_spread_evenly(colours, limit, places):
    data = Source("folder", colours, limit=limit).open()
    assert [image.id for image in data.images] == [list(PICTURES)[place] for place in places]


def interrupt(patch, at):
    measure, calls = Measurer.__call__, []

    def interrupted(self, image):
        calls.append(image)
        if len(calls) == at:
            raise KeyboardInterrupt
        return measure(self, image)

    patch.setattr(Measurer, "__call__", interrupted)
    return calls


def test_an_interrupted_run_goes_on_and_ends_the_same(colours, classifier, whole, tmp_path, monkeypatch):
    notes = []
    with monkeypatch.context() as patch:
        interrupt(patch, 4)
        with pytest.raises(KeyboardInterrupt):
            run(job(colours, classifier), tmp_path / "out")
    lines = tmp_path / "out.partial" / "results.jsonl"
    assert [json.loads(line)["image"] for line in lines.read_text().splitlines()] == list(PICTURES)[:3]
    with lines.open("a") as file:
        file.write('{"image": "four.png", "sha')  # cut short
    with pytest.raises(GroundingError, match=facts("from another, interrupted run", "another limit")):
        run(job(colours, classifier, limit=5), tmp_path / "out")
    with monkeypatch.context() as patch:
        calls = interrupt(patch, None)
        run(job(colours, classifier), tmp_path / "out", notes)
    assert calls == list(PICTURES)[3:]
    assert notes == ["going on: 3 of 6 pictures are measured"]
    assert contents(tmp_path / "out") == contents(whole)
    assert not lines.parent.exists()


@pytest.mark.slow
def test_two_processes_give_the_same_bytes_with_every_method(colours, classifier, whole, tmp_path):
    run(job(colours, classifier), tmp_path / "out", workers=2)
    assert contents(tmp_path / "out") == contents(whole)


def test_a_run_that_was_killed_while_it_tidied_up_is_tidied(colours, classifier, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "out")
    for name in ("settings.json", "results.jsonl"):
        (tmp_path / "out" / name).write_text("{}\n")
    run(job(colours, classifier), tmp_path / "out")
    assert contents(tmp_path / "out") == contents(whole)


def test_other_pictures_are_not_mixed_into_a_run(copy, classifier, evaluate, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt(patch, 4)
        assert evaluate(*command(copy, classifier))[0] == 130
    before = (copy / "two.png").read_bytes()
    picture(*PICTURES["two.png"], background=(80, 80, 80)).save(copy / "two.png")
    status, _, err = evaluate(*command(copy, classifier))
    assert (status, len(err)) == (2, 1)
    assert "picture two.png has changed since the interrupted run in" in err[0]
    (copy / "two.png").write_bytes(before)
    assert evaluate(*command(copy, classifier))[0] == 0
    picture(*PICTURES["two.png"], background=(80, 80, 80)).save(copy / "two.png")
    status, _, err = evaluate(*command(copy, classifier))
    assert (status, len(err)) == (2, 1)
    assert "picture two.png has changed since the finished run in out: choose another output or add" in err[0]


def test_other_annotations_are_another_run(copy, classifier, tmp_path):
    run(job(copy, classifier, methods=METHODS), tmp_path / "out")
    labels = (copy / "labels.csv").read_text()
    (copy / "labels.csv").write_text(labels.replace("4,4,24,20", "4,4,24,21"))
    with pytest.raises(GroundingError, match="another annotations"):
        run(job(copy, classifier, methods=METHODS), tmp_path / "out")
    (copy / "labels.csv").write_text(labels)
    (copy / "masks").mkdir()
    Image.new("L", PICTURES["six.png"][0], "white").save(copy / "masks" / "six.png")
    with pytest.raises(GroundingError, match="another annotations"):  # there are masks now
        run(job(copy, classifier, methods=METHODS), tmp_path / "out")


def test_a_broken_picture_is_named_and_the_others_are_measured(copy, classifier, evaluate):
    break_(copy / "six.png")
    for _ in range(2):  # the second time from metrics.json
        status, out, err = evaluate(*command(copy, classifier))
        assert (status, "6 pictures, 7 classes in pictures" in out) == (1, True)
        assert "note: not counted: image six.png is damaged" in err[-1]
    metrics = read("out")
    assert list(metrics["dataset"]["failed"]) == ["six.png"]
    assert metrics["methods"]["contrastive-mwp"]["MaxBoxAcc"] == {
        **metrics["methods"]["contrastive-mwp"]["MaxBoxAcc"],
        "count": 7,
    }
    assert metrics["classes"]["blue"]["images"] == 2
    assert "six.png" in Path("out/report.html").read_text()


def test_a_mended_picture_is_looked_at_again(copy, classifier, evaluate, monkeypatch):
    good = (copy / "one.png").read_bytes()
    break_(copy / "one.png")
    with monkeypatch.context() as patch:
        interrupt(patch, 4)
        assert evaluate(*command(copy, classifier))[0] == 130
    (copy / "one.png").write_bytes(good)
    status, _, err = evaluate(*command(copy, classifier))
    assert (status, err) == (0, ["note: going on: 2 of 6 pictures are measured"])
    assert [row["image"] for row in read_rows(Path("out"))] == list(PICTURES)


def test_no_picture_that_can_be_read(copy, classifier, evaluate):
    good = {path: path.read_bytes() for path in copy.glob("*.png")}
    for path in good:
        break_(path)
    status, _, err = evaluate(*command(copy, classifier))
    assert (status, len(err)) == (2, 1)
    assert "nothing was measured on 6 pictures, such as: image one.png is damaged" in err[0]
    for path, content in good.items():
        path.write_bytes(content)
    assert evaluate(*command(copy, classifier))[0] == 0


def test_odd_pictures(classifier, tmp_path):
    """One pixel; one pixel high; grey all over; grey with 8 bits; with transparency."""
    pictures = {"dot.png": ((1, 1), [("red", (0, 0, 1, 1))]), "line.png": ((50, 1), [("blue", (10, 0, 30, 1))])}
    folder = write_folder(tmp_path / "data", pictures=pictures)
    Image.new("RGB", (30, 20), (90, 90, 90)).save(folder / "grey.png")
    Image.new("L", (30, 20), 128).save(folder / "eight.png")
    Image.new("RGBA", (30, 20), (255, 0, 0, 128)).save(folder / "glass.png")
    with (folder / "labels.csv").open("a") as file:
        file.write("grey.png,red,0,0,10,10\neight.png,green,0,0,10,10\nglass.png,red,0,0,30,20\n")
    metrics = run(job(folder, classifier, methods=("cam", *METHODS)), tmp_path / "l")
    assert metrics["dataset"]["failed"] == {}
    assert {row["image"]: row["rows"] for row in read_rows(tmp_path / "l")}["grey.png"]["red"]["cam"]["otsu"] == 0
    run(job(folder, classifier, "pointing"), tmp_path / "p")
    rows = {row["image"]: row["rows"] for row in read_rows(tmp_path / "p")}
    for method in KNOWN:
        if method != "rise":
            assert rows["dot.png"]["red"][method] == {"hit": 1, "point": [0, 0], "difficult": 0}
    assert rows["line.png"]["blue"]["contrastive-mwp"]["hit"] == 1
    assert rows["grey.png"]["red"]["contrastive-mwp"] == {"hit": 0, "point": None, "difficult": 0}


def test_masks_give_pxap(classifier, tmp_path):
    folder = write_folder(tmp_path / "data", masks=True)
    metrics = run(job(folder, classifier, methods=METHODS), tmp_path / "out")
    mine, centre = (metrics["methods"][name]["PxAP"] for name in METHODS)
    assert mine["count"] == centre["count"] == 4  # four pictures have one object
    assert mine["value"] > 90 > centre["value"] > 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--methods", "mwp,grad-can"], facts("unknown method 'grad-can'", "grad-cam")),
        (["--classes", "unknown-class.json"], facts("no class 'rde'", "red")),
        (["--classes", "unknown-tag.json"], facts("class 'red'", "no tag 'bluu'", "blue")),
        (["--classes", "no.json"], facts("no.json cannot be read")),
        (["--set", "regions.gamma=1"], facts("'regions.gamma' changes nothing here")),
        (["--classifier", "nowhere"], facts("unknown classifier source 'nowhere'")),
        (["--root", "nowhere"], facts("nowhere")),
        (["--split", "val"], facts("folder has no split 'val'", "leave out --split")),
        (["--smoothing", "2"], facts("expected a share from 0 to 1")),
        (["--rise-masks", "0"], facts("expected at least 1")),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_lost(colours, classifier, evaluate, more, message):
    Path("unknown-class.json").write_text('{"rde": ["red"]}')
    Path("unknown-tag.json").write_text('{"red": ["bluu"]}')
    arguments = command(colours, classifier)
    assert evaluate(*arguments)[0] == 0
    before = contents(Path("out"))
    status, _, err = evaluate(*arguments, *more)
    assert status == 2
    assert len([line for line in err if "error" in line]) == 1
    assert re.search(message, err[-1])
    assert contents(Path("out")) == before
    assert not Path("out.partial").exists()


def test_a_classifier_without_any_of_the_classes(colours, evaluate, tmp_path):
    theirs = write_classifier(tmp_path / "theirs", tags=("qwrtz",))
    status, _, err = evaluate(*command(colours, theirs))
    assert (status, len(err)) == (2, 1)
    assert "stands for any of 3 classes, such as blue, green, red: write which do into a file for --classes" in err[0]
    Path("classes.json").write_text('{"red": "qwrtz"}')
    status, _, err = evaluate(*command(colours, theirs, "--classes", "classes.json"))
    assert status == 0
    assert "2 classes have no tag in " in err[0]
    assert "blue, green; --classes FILE says" in err[0]


def test_classes_without_a_tag_are_counted_as_misses_beside(colours, tmp_path):
    """Without a tag for blue, 5 of 8 rows are asked for, and 3 are misses."""
    theirs = write_classifier(tmp_path / "theirs", tags=("red", "green", "qwrtz"))
    for task, name, share in (("pointing", "all, pooled", 5 / 8), ("localization", "MaxBoxAcc", 5 / 8)):
        notes = []
        metrics = run(job(colours, theirs, task, METHODS), tmp_path / task, notes)
        assert (metrics["dataset"]["rows"], metrics["dataset"]["rows_without_tag"]) == (5, 3)
        assert metrics["methods"]["contrastive-mwp"][name] == {
            **metrics["methods"]["contrastive-mwp"][name],
            "value": 100.0,
            "count": 5,
        }
        assert metrics["untagged_as_misses"]["contrastive-mwp"][name]["value"] == 100 * share
        assert metrics["untagged_as_misses"]["contrastive-mwp"][name]["count"] == 8
        assert notes == [f"1 class has no tag in {theirs}: blue; --classes FILE says which tags stand for them"]
    rows = {row["image"]: row for row in read_rows(tmp_path / "pointing")}
    assert rows["three.png"]["rows"] == {"blue": {}}
    assert rows["three.png"]["predicted"] in ("red", "green")
    assert metrics["untagged_as_misses"]["contrastive-mwp"]["top-1"]["value"] == 50.0  # green of five.png is not


def test_masks_of_classes_without_a_tag_count_as_missed_pixels(tmp_path):
    """Nothing of these masks is found but at the threshold that keeps every pixel, where the precision is small."""
    folder = write_folder(tmp_path / "data", masks=True)
    theirs = write_classifier(tmp_path / "theirs", tags=("red", "green", "qwrtz"))
    metrics = run(job(folder, theirs, methods=METHODS), tmp_path / "out")
    found, missed = (metrics[part]["contrastive-mwp"]["PxAP"] for part in ("methods", "untagged_as_misses"))
    assert (found["count"], missed["count"]) == (2, 4)
    assert missed["value"] < found["value"] / 2


def test_a_given_class(colours, classifier, evaluate):
    """Whoever takes red for blue finds the red rectangle in the one picture with both, and nothing elsewhere."""
    Path("classes.json").write_text('{"blue": ["red"]}')
    assert evaluate(*command(colours, classifier, "--classes", "classes.json"))[0] == 0
    metrics = read("out")
    assert metrics["classes"]["blue"] == {"tags": {"red": 1.0}, "reason": "given", "images": 3}
    assert metrics["by_class"]["blue"]["contrastive-mwp"] == 0.0
    status, _, err = evaluate(*command(colours, classifier))
    assert (status, "another classes.blue" in err[0]) == (2, True)


# People look at the rectangles; one viewer looks past `six.png`, and nobody at `two.png`.
GAZE = """\
# run,image_id,width,height,(x,y,duration)*
0,one.png,64,48,10,10,200,12,12,100
1,one.png,128,96,30,30,300
0,three.png,80,40,60,20,100
0,five.png,96,64,70,40,100,80,50,50,10,10,20
1,five.png,96,64,75,45,100
0,six.png,64,64,99,99,100
1,six.png,64,64,32,32,100
0,unknown.png,64,64,32,32,100
"""


@pytest.fixture(scope="module")
def looked(colours, classifier, tmp_path_factory):
    """A finished agreement with people."""
    folder = tmp_path_factory.mktemp("looked")
    (folder / "gaze.csv").write_text(GAZE)
    return folder, run(
        job(colours, classifier, "agreement", ("contrastive-mwp", "center"), gaze=folder / "gaze.csv"), folder / "out"
    )


def test_agreement_with_gaze(looked):
    folder, metrics = looked
    assert list(metrics["methods"]) == ["contrastive-mwp", "center", "true box", "people, split half"]
    assert metrics["dataset"]["images"] == 4
    assert metrics["dataset"]["left_out"] == {
        "rows of other pictures": 1,
        "fixations outside the picture": 1,
        "rows without a fixation in the picture": 1,
    }
    numbers = metrics["methods"]
    assert {name: one["Spearman"]["count"] for name, one in numbers.items()} == {
        "contrastive-mwp": 5,  # five.png shows two classes
        "center": 5,
        "true box": 5,
        "people, split half": 3,  # of one.png and five.png two viewers looked
    }
    assert numbers["true box"]["AUC"]["value"] > 0.7
    fractions = {name: one["AUC / ceiling"]["count"] for name, one in numbers.items()}
    assert fractions == {"contrastive-mwp": 3, "center": 3, "true box": 3, "people, split half": 0}
    assert numbers["center"]["AUC / ceiling"]["low"] < numbers["center"]["AUC / ceiling"]["high"]
    assert read(folder / "out") == json.loads(json.dumps(metrics))
    assert "people, split half" not in metrics["by_class"]["blue"]
    assert "people, split half" in metrics["by_class"]["red"]


def test_agreement_is_no_share(looked):
    _, metrics = looked
    for numbers in metrics["methods"].values():
        assert -1 <= numbers["Spearman"]["value"] <= 1
        assert 0 <= numbers["AUC"]["value"] <= 1
    assert metrics["differences"]["less"]["center"]["Spearman / ceiling"]["count"] == 3


def test_other_fixations_are_another_run(looked, colours, classifier, tmp_path):
    folder, _ = looked
    (tmp_path / "gaze.csv").write_text(GAZE.replace("10,10,200", "10,11,200"))
    other = job(colours, classifier, "agreement", ("contrastive-mwp", "center"), gaze=tmp_path / "gaze.csv")
    with pytest.raises(GroundingError, match="another annotations"):
        run(other, folder / "out")


def test_agreement_needs_gaze(colours, classifier, tmp_path):
    with pytest.raises(GroundingError, match="expected --gaze FILE"):
        run(job(colours, classifier, "agreement"), tmp_path / "out")


def test_agreement_by_the_command_on_cub(classifier, evaluate, tmp_path):
    """Two birds in the official layout, of which one is for training."""
    root = write_cub(tmp_path / "CUB_200_2011", {"one.png": False, "three.png": True})
    (tmp_path / "gaze.csv").write_text("0,1,64,48,10,10,200\n1,1,64,48,12,12,200\n")
    how = ["--root", root, "--classifier", classifier, "--methods", "cam,center", "--set", "maps.stride=2"]
    status, out, err = evaluate("agreement", *how, "--gaze", tmp_path / "gaze.csv", "--output", "out")
    assert (status, err) == (0, [])
    assert "CUB test, 1 picture, 1 class in a picture" in out
    metrics = read("out")
    assert metrics["methods"]["cam"]["Spearman"]["value"] > metrics["methods"]["center"]["Spearman"]["value"]
    assert metrics["settings"]["split"] == "test"
    status, _, err = evaluate("agreement", *how, "--gaze", tmp_path / "gaze.csv", "--output", "out", "--split", "test")
    assert (status, err) == (0, ["note: out holds this run already, finished: nothing to do"])
    how += ["--gaze", tmp_path / "gaze.csv"]
    status, _, err = evaluate("agreement", *how, "--output", "out", "--viewers", "1")
    assert (status, "another viewers ([1], was None)" in err[0]) == (2, True)
    status, out, err = evaluate("agreement", *how, "--output", "one", "--viewers", "1")
    assert (status, "left out: 1 rows of other viewers" in err[0]) == (0, True)
    assert read("one")["methods"]["cam"]["Spearman / ceiling"] == {"count": 0}  # one viewer has no ceiling
    status, _, err = evaluate("agreement", *how, "--output", "no", "--viewers", "1", "7")
    assert (status, len(err), "has no viewer 7 of the pictures: expected some of 0, 1" in err[0]) == (2, 1, True)
    status, _, err = evaluate("agreement", *how, "--gaze", tmp_path / "no.csv", "--output", "no")
    assert (status, len(err), "no.csv cannot be read" in err[0]) == (2, 1, True)


def test_entities_by_word(evaluate, classifier, tmp_path):
    """The photographs are grey: nothing is found but the centre."""
    root = write_entities(tmp_path / "entities", photographs=True)
    Path("classes.json").write_text('{"man": ["red"], "costume": "green", "girls": "blue"}')
    how = ["pointing", "--dataset", "entities", "--root", root, "--classifier", classifier, "--classes", "classes.json"]
    how += ["--methods", "contrastive-mwp,center", "--set", "maps.stride=2", "--output", "out"]
    status, _, err = evaluate(*how)
    assert (status, len(err), "--dataset entities needs --images" in err[0]) == (2, 1, True)
    how += ["--images", root / "photographs"]
    status, out, err = evaluate(*how)
    assert status == 0
    assert "have no tag in" in err[0]
    metrics = read("out")
    assert metrics["dataset"]["name"].startswith("Flickr30k Entities val, ")
    assert metrics["settings"]["split"] == "val"
    assert metrics["methods"]["contrastive-mwp"]["all"]["value"] == 0.0
    assert metrics["methods"]["center"]["all"]["value"] > 0
    assert "with no tag" not in out
    assert f"and with {metrics['dataset']['rows_without_tag']} more without a tag as misses" in out
    status, _, err = evaluate(*how[:2], "voc07", *how[3:], "--overwrite")
    assert (status, len(err), "--images is for --dataset entities" in err[0]) == (2, 1, True)


def test_every_row_says_the_same_in_numpy(whole):
    """Rows are plain JSON: digits of 100 thresholds, and no float that could differ by rounding."""
    for line in (whole / ROWS_FILE).read_text().splitlines():
        for methods in json.loads(line)["rows"].values():
            for row in methods.values():
                assert set(row) == {"largest", "best", "above_mean", "otsu"}
                assert np.isin(list(row["largest"]), list("0123")).all()


def test_ranks_above_0_of_torchrun_only_work(colours, classifier, tmp_path, monkeypatch):
    """They measure what rank 0 asks for, and nothing where its run is finished."""
    import grounding.benchmarks.run as module

    monkeypatch.setattr(module, "world", lambda: (1, 2))
    monkeypatch.setattr(module, "from_rank_0", lambda value: ("one.png",))
    monkeypatch.setattr(module.cv2, "setNumThreads", lambda count: asked.append(count))
    asked = []
    monkeypatch.setattr(module, "in_order", lambda prepare, items: asked.extend(items) or iter(items))
    assert run(job(colours, classifier), tmp_path / "out") is None
    assert asked == [1, "one.png"]
    assert not (tmp_path / "out").exists()


def test_a_finished_run_tells_the_other_ranks(colours, classifier, whole, tmp_path, monkeypatch):
    import grounding.benchmarks.run as module

    shutil.copytree(whole, tmp_path / "out")
    told = []
    monkeypatch.setattr(module, "from_rank_0", told.append)
    run(job(colours, classifier), tmp_path / "out")
    assert told == [()]
