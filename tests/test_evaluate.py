"""`python -m grounding.evaluate`: whole runs on an invented data set, interrupted, shared among processes, compared."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from grounding.datasets.flickr30k import Flickr30kEntities
from grounding.evaluate import main
from grounding.evaluation.predictions.parquet import read_parquet
from grounding.evaluation.protocols.protocol import HEADLINE, MEASURED
from grounding.evaluation.protocols.summary import summarize
from grounding.evaluation.runs.comparison import compare
from grounding.evaluation.runs.folder import read_run
from helpers.entities import write_entities

FILES = ["metrics.json", "predictions.jsonl", "predictions.parquet", "report.html"]
STRETCH = (2, 3, 2, 3)  # px of the photograph for a px of the XML
SIZES = {"1001": (200, 100), "1002": (60, 120), "1003": (100, 50), "1004": (50, 80), "1005": (120, 40)}


@pytest.fixture(scope="module")
def entities(tmp_path_factory):
    """The five images, with photographs of twice the width and three times the height that the XML says."""
    folder = write_entities(tmp_path_factory.mktemp("data") / "entities")
    (folder / "photographs").mkdir()
    for image, (width, height) in SIZES.items():
        picture = Image.new("RGB", (2 * width, 3 * height), "olive")
        ImageDraw.Draw(picture).ellipse((width // 2, height // 3, width, height), fill="red")
        picture.save(folder / "photographs" / f"{image}.jpg")
    return folder


@pytest.fixture
def evaluate(in_empty_folder):
    """Runs `python -m grounding.evaluate`."""
    return partial(in_empty_folder, main)


@pytest.fixture(scope="module")
def arguments(entities):
    return ["flickr30k", "--annotations", str(entities), "--images", str(entities / "photographs")]


@pytest.fixture(scope="module")
def whole(arguments, tmp_path_factory):
    """An undisturbed run."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert main([*arguments, "--output", str(folder)]) == 0
    return folder


def read_table(folder):
    return read_parquet(folder / "predictions.parquet", MEASURED)


def contents(folder):
    assert sorted(path.name for path in folder.iterdir()) == FILES
    return {name: (folder / name).read_bytes() for name in FILES}


def test_a_run_says_what_it_counted_beside_the_baselines(whole, evaluate, arguments):
    contents(whole)
    metrics = json.loads((whole / "metrics.json").read_text())
    assert metrics["dataset"]["coverage"] == "all 5 images"
    assert metrics["dataset"]["phrases"] == 20
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(Path(arguments[-1]).iterdir())]
    fingerprint = hashlib.sha256("".join(digests).encode()).hexdigest()
    assert metrics["dataset"]["photographs"] == {"paths": [arguments[-1]], "fingerprint": fingerprint}
    assert sum(metrics["statuses"].values()) == 20
    assert list(metrics["baselines"]) == [
        "centre point",
        "random point",
        "whole image",
        "blind boxes",
        "centre Gaussian",
    ]
    images, _, columns = read_table(whole)
    assert metrics["run"] == summarize(images, columns, metrics["bootstrap"]["seed"])
    for protocol in HEADLINE:
        assert metrics["protocols"][protocol.name] == protocol.description
        assert metrics["run"][protocol.name]["count"] > 0
    status, out, err = evaluate(*arguments, "--output", whole)  # finished: said again, not done again
    assert (status, err) == (0, "")
    assert "all 5 images, 20 phrases with a box" in out
    for name in (*metrics["protocols"], *metrics["baselines"], "embedded"):
        if "/iou-" not in name:
            assert name in out


def test_a_part_of_the_photographs_is_standardised_to_all(whole, evaluate, arguments):
    run = json.loads((whole / "metrics.json").read_text())
    assert (run["standardised"], run["context"]) == (None, "caption")
    status, out, _ = evaluate(*arguments, "--output", "part", "--limit", "3")
    metrics = json.loads(Path("part/metrics.json").read_text())
    standard = metrics["standardised"]
    assert status == 0
    assert standard["phrases_in_split"] == 20
    assert 1 < standard["effective_phrases"] < metrics["dataset"]["phrases"]
    assert set(standard["run"]) == set(standard["baselines"]["whole image"]) == {protocol.name for protocol in HEADLINE}
    assert "standardised to all 20 phrases with a box of val, from 12 that count like" in out
    assert "context caption" in out
    assert 'id="standardised"' in Path("part/report.html").read_text()
    assert 'id="standardised"' not in (whole / "report.html").read_text()
    status, out, _ = evaluate(*arguments[:-2], "--baselines-only", "--limit", "3")
    assert (status, out.count("standardised to all 20")) == (0, 1)
    assert "context" not in out


def test_another_context_is_another_run(whole, evaluate, arguments):
    status, _, err = evaluate(*arguments, "--output", whole, "--set", "context=none")
    assert (status, err.count("\n")) == (2, 1)
    assert "another config.context (none, was caption)" in err
    status, out, _ = evaluate(*arguments, "--output", "alone", "--set", "context=none")
    assert (status, "context none" in out) == (0, True)
    a, b = read_run(whole), read_run(Path("alone"))
    summary = compare(a, b)[0]
    assert [summary[side]["name"].split()[-1] for side in "ab"] == ["(context=caption)", "(context=none)"]
    assert any(row["difference"] for row in summary["differences"].values() if row["count"])


def test_boxes_and_points_are_in_px_of_the_original_photograph(whole, localizer, entities):
    from grounding.images import read_image

    images, predictions, _ = read_table(whole)
    marked = {image.id: image.phrases for image in Flickr30kEntities(entities).read("val")}
    for image in images:
        scene = localizer.encode(read_image(entities / "photographs" / f"{image.id}.jpg"))
        for phrase in image.boxed_phrases:
            texts = [each.text for each in marked[image.id] if each.sentence == phrase.sentence]
            found = scene.ground(image.captions[phrase.sentence], texts, top_k=10)[phrase.index]
            stored = predictions[image.id, phrase.sentence, phrase.index]
            assert stored.status == found.status
            boxes = [np.array(region.box) / STRETCH for region in found.regions]
            np.testing.assert_allclose(stored.boxes, boxes, atol=0.006)
            np.testing.assert_allclose(stored.point, np.array(found.point) / STRETCH[:2], atol=0.006)
            np.testing.assert_allclose(stored.scores, [region.score for region in found.regions], atol=1e-4)
            top = divmod(int(stored.point_map.argmax()), stored.point_map.shape[1])
            cell = np.array(stored.point)[::-1] / [image.height, image.width] * stored.point_map.shape
            assert np.abs(np.array(top) + 0.5 - cell).max() <= 1.5


def test_the_upper_bound_is_over_all_proposals(whole, localizer, entities):
    from grounding.boxes import enclosing, iou
    from grounding.images import read_image

    images, _, columns = read_table(whole)
    for image in images:
        proposals = localizer.encode(read_image(entities / "photographs" / f"{image.id}.jpg")).proposals / STRETCH
        for phrase in image.boxed_phrases:
            boxes, row = image.boxes[phrase.chain], columns.loc[image.id, phrase.sentence, phrase.index]
            assert row["best_iou_all_any"] == pytest.approx(iou(proposals, boxes).max(), abs=1e-5)
            assert row["best_iou_all_merged"] == pytest.approx(iou(proposals, enclosing(boxes)).max(), abs=1e-5)
            assert row["best_iou_all_any"] >= row["best_iou_10_any"] - 1e-3


@pytest.mark.parametrize("name", ["predictions.jsonl", "predictions.parquet"])
def test_its_own_predictions_give_the_same_numbers(whole, evaluate, arguments, name):
    status, _, err = evaluate(*arguments[:3], "--predictions", whole / name, "--output", "again")
    assert (status, err) == (0, "")
    again, first = (json.loads((Path(folder) / "metrics.json").read_text()) for folder in ("again", whole))
    for part in ("run", "baselines", "statuses", "protocols"):
        assert again[part] == first[part]
    assert Path("again/predictions.jsonl").read_bytes() == (whole / "predictions.jsonl").read_bytes()


def test_only_the_baselines(whole, evaluate, arguments):
    status, out, err = evaluate(*arguments[:3], "--baselines-only")
    assert (status, err) == (0, "")
    assert "centre Gaussian" in out
    assert "embedded" not in out
    assert evaluate(*arguments[:3], "--baselines-only", "--output", "base")[0] == 0
    base, first = (json.loads((Path(folder) / "metrics.json").read_text()) for folder in ("base", whole))
    assert base["run"] is None
    assert base["baselines"] == first["baselines"]


def test_an_interrupted_run_goes_on_and_ends_the_same(whole, evaluate, arguments, monkeypatch):
    from grounding.evaluation.predictions.predictor import Predictor

    look, calls = Predictor.__call__, []

    def interrupted(self, image):
        calls.append(image.id)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return look(self, image)

    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "__call__", interrupted)
        status, _, err = evaluate(*arguments, "--output", "out")
    assert status == 130
    assert "run the same command again to continue" in err
    partial = Path("out.partial/results.jsonl")
    assert len(partial.read_text().splitlines()) == 2
    with partial.open("a") as file:
        file.write('{"image": "1003", "sha')
    status, _, err = evaluate(*arguments, "--output", "out", "--set", "regions.gamma=0.3")
    assert (status, err.count("\n")) == (2, 1)
    assert "with another config.regions.gamma (0.3, was 0.1)" in err
    assert len(partial.read_text().splitlines()) == 3  # refused, and nothing lost

    monkeypatch.setattr(Predictor, "__call__", lambda self, image: calls.append(image.id) or look(self, image))
    assert evaluate(*arguments, "--output", "out")[0] == 0
    assert calls == ["1001", "1002", "1003", "1003", "1004", "1005"]
    assert contents(Path("out")) == contents(whole)
    assert not partial.parent.exists()
    status, _, err = evaluate(*arguments, "--output", "out", "--limit", "2")
    assert (status, "holds a finished run with another limit (2, was None)" in err) == (2, True)


def test_a_run_that_was_killed_while_it_tidied_up_is_tidied(whole, evaluate, arguments, tmp_path):
    shutil.copytree(whole, tmp_path / "out")
    for name in ("settings.json", "results.jsonl"):
        (tmp_path / "out" / name).write_text("{}\n")
    status, _, _ = evaluate(*arguments, "--output", tmp_path / "out")
    assert status == 0
    assert contents(tmp_path / "out") == contents(whole)


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_the_same(whole, evaluate, arguments, tmp_path):
    command = [sys.executable, "-m", "grounding.evaluate", *arguments, "--workers", "2", "--output", "out"]
    lines = tmp_path / "out.partial" / "results.jsonl"
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while process.poll() is None and not (lines.is_file() and lines.stat().st_size):
        time.sleep(0.01)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    workers_of_it = [int(child) for child in children.read_text().split()] if children.exists() else []
    time.sleep(random.uniform(0, 0.2))
    process.kill()
    process.wait()
    assert evaluate(*arguments, "--output", tmp_path / "out")[0] == 0
    assert contents(tmp_path / "out") == contents(whole)
    for child in workers_of_it:  # none lives on without its parent
        status = Path(f"/proc/{child}/stat")
        assert not status.exists() or status.read_text().split()[2] == "Z"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "everybody", "status"),
    [(signal.SIGINT, True, 130), (signal.SIGTERM, True, 143), (signal.SIGTERM, False, 143)],
    ids=["control-c", "sigterm for the group", "sigterm for the parent"],
)
def test_a_signal_ends_the_workers_too(arguments, tmp_path, number, everybody, status):
    program = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program += "from grounding.evaluate import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, *arguments, "--workers", "2", "--output", "out"]
    lines = tmp_path / "out.partial" / "results.jsonl"
    process = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True
    )
    while process.poll() is None and not lines.is_file():
        time.sleep(0.01)
    (os.killpg if everybody else os.kill)(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status, err
    assert "Traceback" not in err
    assert "run the same command again to continue" in err
    assert lines.is_file()
    for _ in range(100):  # none of them is left, after a moment
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("a worker lives on")


@pytest.mark.slow
def test_torchrun_gives_the_same(whole, arguments, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "grounding.evaluate", *arguments, "--output", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("statuses:") == 1
    assert contents(tmp_path / "out") == contents(whole)


@pytest.mark.slow
def test_missing_and_broken_photographs_are_listed_and_not_counted(entities, evaluate, tmp_path):
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for image in ("1001", "1002", "1004"):
        (photographs / f"{image}.jpg").write_bytes((entities / "photographs" / f"{image}.jpg").read_bytes())
    (photographs / "1002.jpg").write_bytes(b"no picture")
    arguments = ["flickr30k", "--annotations", entities, "--images", photographs]
    status, out, err = evaluate(*arguments, "--output", "out")
    assert status == 1
    assert "not counted: image 1002.jpg is no picture" in err
    metrics = json.loads(Path("out/metrics.json").read_text())
    assert metrics["dataset"]["coverage"] == "3 of 5 images present, 1 of them unreadable"
    assert metrics["dataset"]["missing"] == ["1003", "1005"]
    assert list(metrics["dataset"]["failed"]) == ["1002"]
    assert metrics["run"]["pointing/phrase"]["count"] == 10  # of 1001 and 1004
    assert metrics["standardised"]["phrases_in_split"] == 20
    assert metrics["standardised"]["run"]["pointing/phrase"]["count"] == 10
    assert metrics["dataset"]["coverage"] in out
    assert metrics["dataset"]["coverage"] in Path("out/report.html").read_text()

    status, _, err = evaluate(*arguments, "--output", "strict", "--strict")
    assert (status, err) == (2, "error: 2 of 5 photographs are missing, such as 1003.jpg: --strict needs them all\n")
    for image in ("1003", "1005"):
        (photographs / f"{image}.jpg").write_bytes((entities / "photographs" / f"{image}.jpg").read_bytes())
    status, _, err = evaluate(*arguments, "--output", "strict", "--strict")
    assert status == 2
    assert err.splitlines()[-1].startswith("error: image 1002.jpg is no picture")
    assert len(Path("strict.partial/results.jsonl").read_text().splitlines()) == 1  # what was computed is kept
    assert evaluate(*arguments, "--output", "all")[0] == 1
    for _ in range(2):  # the second time from metrics.json
        status, _, err = evaluate(*arguments, "--output", "all")
        assert (status, "not counted: image 1002.jpg is no picture" in err) == (1, True)
    assert evaluate(*arguments, "--output", "all", "--strict")[0] == 2


def copied(entities, tmp_path):
    folder = tmp_path / "photographs"
    shutil.copytree(entities / "photographs", folder)
    return folder, ["flickr30k", "--annotations", str(entities), "--images", str(folder)]


@pytest.mark.slow
def test_a_mended_photograph_is_looked_at_again(whole, entities, evaluate, tmp_path):
    photographs, arguments = copied(entities, tmp_path)
    good = {path: path.read_bytes() for path in photographs.iterdir()}
    for path in good:
        path.write_bytes(b"no picture")
    status, _, err = evaluate(*arguments, "--output", "out")
    assert (status, "none of 5 photographs can be read" in err) == (2, True)
    for path, content in good.items():
        path.write_bytes(content)
    assert evaluate(*arguments, "--output", "out")[0] == 0
    assert Path("out/predictions.jsonl").read_bytes() == (whole / "predictions.jsonl").read_bytes()


@pytest.mark.slow
def test_other_photographs_are_not_mixed_into_a_run(entities, evaluate, tmp_path, monkeypatch):
    from grounding.evaluation.predictions.predictor import Predictor

    photographs, arguments = copied(entities, tmp_path)
    look = Predictor.__call__

    def interrupted(self, image):
        if image.id == "1003":
            raise KeyboardInterrupt
        return look(self, image)

    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "__call__", interrupted)
        assert evaluate(*arguments, "--output", "out")[0] == 130
    before = (photographs / "1002.jpg").read_bytes()
    (photographs / "1002.jpg").write_bytes((photographs / "1001.jpg").read_bytes())
    status, _, err = evaluate(*arguments, "--output", "out")
    assert (status, "photograph 1002 has changed since the interrupted run" in err) == (2, True)
    (photographs / "1002.jpg").write_bytes(before)
    assert evaluate(*arguments, "--output", "out")[0] == 0
    (photographs / "1002.jpg").write_bytes((photographs / "1001.jpg").read_bytes())
    status, _, err = evaluate(*arguments, "--output", "out")
    assert (status, "holds a finished run on other photographs" in err) == (2, True)


def test_a_second_run_keeps_off_even_before_the_first_line(evaluate, arguments, tmp_path):
    from grounding.resumable import resumable_lines

    with resumable_lines(tmp_path / "out", {"limit": 1}, False) as lines:
        for more in ([], ["--overwrite"]):
            status, _, err = evaluate(*arguments, "--output", "out", *more)
            assert (status, "out.partial is being written by another run" in err) == (2, True)
        lines.write("{}")
    assert (tmp_path / "out" / "results.jsonl").read_text() == "{}\n"


def test_no_input_is_replaced(whole, evaluate, arguments, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    before = contents(tmp_path / "run")
    given = ["--predictions", "run/predictions.jsonl"]
    attempts = [
        ([*arguments[:3], *given, "--output", "run", "--overwrite"], "holds the input run/predictions.jsonl"),
        ([*arguments[:3], *given, "--output", ".", "--overwrite"], "holds the input run/predictions.jsonl"),
        (["compare", "run", whole, "--output", "run", "--overwrite"], "holds the input run"),
        (["convert", "mdetr", "r.jsonl", *arguments[1:3], "--output", "r.jsonl", "--overwrite"], "results themselves"),
        (["convert", "mdetr", "r.json", *arguments[1:3], "--output", "r.txt"], "ends in '.txt': expected .jsonl"),
    ]
    for command, message in attempts:
        status, _, err = evaluate(*command)
        assert (status, message in err, err.count("\n")) == (2, True, 1), err
    assert contents(tmp_path / "run") == before
    shutil.copytree(whole, tmp_path / "other")
    status, _, err = evaluate("compare", "run", whole, "--output", "other", "--overwrite")
    assert (status, "other holds other things, such as metrics.json" in err) == (2, True)


def test_markup_in_a_name_is_text(whole, evaluate, arguments):
    status, out, _ = evaluate(*arguments[:3], "--predictions", whole / "predictions.jsonl", "--name", "[/b]m[best]")
    assert status == 0
    assert "[/b]m[best]" in out


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("metrics.json", lambda text: text[:100], "metrics.json is not JSON"),
        ("metrics.json", lambda text: '{"schema_version": 1}', "is not a metrics.json of version 1"),
        ("metrics.json", lambda text: text.replace('"schema_version": 1', '"schema_version": 9', 1), "of version 1"),
        ("predictions.parquet", None, "predictions.parquet cannot be read"),
    ],
)
def test_damaged_runs_are_not_compared(whole, evaluate, tmp_path, name, change, message):
    shutil.copytree(whole, tmp_path / "run")
    path = tmp_path / "run" / name
    path.write_text(change(path.read_text())) if change else path.write_bytes(b"PAR1 and no more")
    status, out, err = evaluate("compare", whole, "run")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_a_comparison_by_hand(whole, evaluate, arguments, tmp_path):
    predictions = [json.loads(line) for line in (whole / "predictions.jsonl").read_text().splitlines()]
    images, _, _ = read_table(whole)
    boxes = {(image.id, p.sentence, p.index): image.boxes[p.chain] for image in images for p in image.boxed_phrases}
    right, wrong = [], []
    for number, record in enumerate(predictions):
        true = boxes[record["image"], record["sentence"], record["phrase"]].tolist()
        known = {key: record[key] for key in ("image", "sentence", "phrase")}
        right.append(json.dumps(known | {"boxes": true[:1], "point": None}))
        wrong.append(json.dumps(known | {"boxes": true[:1] if number % 4 == 0 else []}))
    for name, lines in (("right", right), ("wrong", wrong)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
        assert evaluate(*arguments[:3], "--predictions", f"{name}.jsonl", "--output", f"runs/{name}")[0] == 0
    status, out, err = evaluate("compare", "runs/wrong", "runs/right")
    assert (status, err.count("note:"), err.count("was not measured under pointing/chain-5%, attention")) == (0, 2, 2)
    summary = json.loads(Path("runs/wrong-vs-right/comparison.json").read_text())
    pointing = summary["differences"]["pointing/phrase"]
    assert {key: pointing[key] for key in ("a", "b", "difference", "gained", "lost", "count")} == {
        "a": 25.0,
        "b": 100.0,
        "difference": 75.0,
        "gained": 15,
        "lost": 0,
        "count": 20,
    }
    assert pointing["low"] <= 75 <= pointing["high"]
    assert "chain" not in "".join(summary["differences"])  # neither has maps
    changed = compare(read_run(Path("runs/wrong")), read_run(Path("runs/right")))[1]
    assert [one.gained for one in changed if one.protocol == "pointing/phrase"] == [True] * 15
    assert not any(len(one.a.boxes) for one in changed)
    assert all(len(one.b.boxes) for one in changed)
    assert "+75.0" in out
    assert "comparison.html" in out
    assert "Two men" in Path("runs/wrong-vs-right/comparison.html").read_text()
    Path("runs/wrong-vs-right/comparison.json").write_text("{}")
    status, again, _ = evaluate("compare", "runs/wrong", "runs/right", "--overwrite")  # what is there is replaced
    assert (status, again) == (0, out)
    assert json.loads(Path("runs/wrong-vs-right/comparison.json").read_text()) == summary
    assert evaluate("compare", "runs/wrong", "runs/right")[0] == 0
    assert sorted(path.name for path in Path("runs").glob("*-vs-*")) == ["wrong-vs-right", "wrong-vs-right-2"]
    backwards = evaluate("compare", "runs/right", "runs/wrong", "--output", "back", "--images", arguments[-1])
    assert backwards[0] == 0
    lost = json.loads(Path("back/comparison.json").read_text())["differences"]["pointing/phrase"]
    assert (lost["difference"], lost["gained"], lost["lost"]) == (-75.0, 0, 15)
    assert (-lost["high"], -lost["low"]) == pytest.approx((pointing["low"], pointing["high"]))


def test_a_comparison_on_what_both_have(whole, evaluate, arguments):
    assert evaluate(*arguments, "--limit", "2", "--output", "two")[0] == 0
    status, _, err = evaluate("compare", whole, "two", "--output", "both")
    assert status == 0
    assert f"note: {whole} has 5 images: compared on the 2 that both have" in err
    differences = json.loads(Path("both/comparison.json").read_text())["differences"]
    assert {row["difference"] for row in differences.values()} == {0.0}
    assert evaluate(*arguments[:3], "--baselines-only", "--output", "base")[0] == 0
    status, _, err = evaluate("compare", whole, "base")
    assert (status, "base has baselines only" in err) == (2, True)


def test_converted_results_can_be_scored(evaluate, arguments, tmp_path):
    results = [{"score": 0.9, "label": "two men", "box": {"xmin": 0, "ymin": 0, "xmax": 100, "ymax": 50}}]
    (tmp_path / "hf.jsonl").write_text(json.dumps({"image": "1001", "results": results}))
    data = arguments[1:3]
    status, out, _ = evaluate("convert", "huggingface", "hf.jsonl", *data, "--output", "theirs.jsonl")
    assert status == 0
    assert "theirs.jsonl" in out
    status, _, err = evaluate(*arguments[:3], "--predictions", "theirs.jsonl", "--output", "theirs", "--allow-missing")
    assert status == 0
    assert "counted as misses" in err
    metrics = json.loads(Path("theirs/metrics.json").read_text())
    assert metrics["run"]["recall@1/merged-box"]["value"] == pytest.approx(100 / 20)
    status, _, err = evaluate("convert", "huggingface", "hf.jsonl", *data, "--output", "theirs.jsonl")
    assert (status, err) == (2, "error: theirs.jsonl exists: choose another or add --overwrite\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "nothing to score"),
        (["--baselines-only", "--limit", "0"], "--limit: it is 0: expected at least 1"),
        (["--baselines-only", "--split", "tset"], "split 'tset' is not in"),
        (["--images", "none"], "images none do not exist"),
        (["--predictions", "none.jsonl"], "none.jsonl cannot be read"),
        (["--predictions", "other.jsonl"], "they are in 'test': pass --split test"),
        (["--predictions", "other.jsonl", "--baselines-only"], "not allowed with"),
        (["--predictions", "box.jsonl"], "box.jsonl, line 1: boxes[0] is [5, 0, 4, 9]"),
        (["--images", "PHOTOGRAPHS"], "no output was given"),
        (["--images", "PHOTOGRAPHS", "--output", "x", "--workers", "0"], "--workers: it is 0"),
        (["--images", "PHOTOGRAPHS", "--output", "x", "--classifier", "embeded"], "did you mean 'embedded'"),
        (["--images", "PHOTOGRAPHS", "--output", "x", "--set", "regions.gama=1"], "did you mean 'regions.gamma'"),
        (["--images", "PHOTOGRAPHS", "--output", "x", "--split", "test"], "none of the photographs belongs to"),
        (["--images", "PHOTOGRAPHS", "--output", "taken"], "taken holds other things, such as thesis.txt"),
        (["--baselines-only", "--output", "taken"], "taken holds other things, such as thesis.txt"),
    ],
)
def test_bad_input_is_one_line_and_status_2(evaluate, entities, tmp_path, options, message):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("years of work")
    (tmp_path / "other.jsonl").write_text('{"image": "3001", "sentence": 0, "phrase": 0, "boxes": []}')
    (tmp_path / "box.jsonl").write_text('{"image": "1001", "sentence": 0, "phrase": 0, "boxes": [[5, 0, 4, 9]]}')
    before = sorted(tmp_path.rglob("*"))
    options = [entities / "photographs" if option == "PHOTOGRAPHS" else option for option in options]
    status, out, err = evaluate("flickr30k", "--annotations", entities, *options)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required"),
        (["flickr30k", "--baselines-only"], "the following arguments are required: --annotations"),
        (["flickr30k", "--baselines-only", "--annotations", "none"], "none does not exist"),
        (["flickr30k", "--baselines-only", "--annotations", "."], "see https://github.com/"),
        (["compare", "none", "none"], "none/metrics.json cannot be read"),
        (["flickr30k", "--baselines-only", "--annotations", "x" * 300], "x: File name too long"),
    ],
)
def test_bad_commands_are_one_line_and_status_2(evaluate, arguments, message):
    status, out, err = evaluate(*arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_help_and_baselines_do_not_import_torch(entities):
    for arguments in (["--help"], ["flickr30k", "--baselines-only", "--annotations", str(entities)]):
        program = "import sys; from grounding.evaluate import main\ntry: main(sys.argv[1:])\nexcept SystemExit: pass\n"
        program += "assert 'torch' not in sys.modules"
        subprocess.run([sys.executable, "-c", program, *arguments], check=True, capture_output=True)
