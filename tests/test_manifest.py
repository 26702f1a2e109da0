"""Many pictures from a table, through the command line."""

import csv
import json
import subprocess
import sys
import time

import pytest
from PIL import Image

from grounding.images import sample_scene


@pytest.fixture
def photograph(tmp_path):
    path = tmp_path / "p.png"
    Image.fromarray(sample_scene()[:, :400]).save(path)
    return path


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def test_manifest_results_equal_single_ones_and_bad_pictures_are_reported(run, photograph, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    rows = [
        ["image", "caption", "phrases"],
        ["p.png", "a man with a camera", ""],
        ["broken.jpg", "a dog", ""],
        ["p.png", "a man with a camera", "camera|a man"],
    ]
    write_csv(tmp_path / "m.csv", rows)
    status, out, err = run("--manifest", "m.csv")
    results = [json.loads(line) for line in out.splitlines()]
    assert status == 1
    assert "1 of 3 rows failed" in err
    assert "no picture" in results[1]["error"]
    assert results[1]["phrases"] == []
    _, alone, _ = run("--caption", "a man with a camera", "--image", "p.png", "--json")
    assert results[0] == json.loads(alone)
    assert [phrase["text"] for phrase in results[2]["phrases"]] == ["camera", "a man"]
    assert results[2]["phrases"][1]["regions"] == results[0]["phrases"][0]["regions"]


@pytest.mark.slow
def test_manifest_with_output_continues_after_an_interruption(run, photograph, tmp_path, monkeypatch):
    rows = [("none.png", "a cat"), ("p.png", "a man"), ("p.png", "a hat"), ("p.png", "grass"), ("p.png", "a camera")]
    lines = [json.dumps({"image": image, "caption": caption}) for image, caption in rows]
    (tmp_path / "m.jsonl").write_text("\n".join(lines) + "\n")
    assert run("--manifest", "m.jsonl", "--output", "whole")[0] == 1
    import grounding.pipeline

    ground, calls = grounding.pipeline.Scene.ground, []

    def interrupted(self, *arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return ground(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(grounding.pipeline.Scene, "ground", interrupted)
        status, _, err = run("--manifest", "m.jsonl", "--output", "out")
    assert status == 130
    assert "run the same command again" in err
    partial = tmp_path / "out.partial" / "results.jsonl"
    assert len(partial.read_text().splitlines()) == 3
    with partial.open("a") as file:
        file.write('{"cut sho')
    status, _, err = run("--manifest", "m.jsonl", "--output", "out", "--top-k", "3")
    assert (status, "another, interrupted run, with another top_k (3, was 5)" in err) == (2, True)
    status, _, err = run("--manifest", "m.jsonl", "--output", "out", "--method", "mwp")
    assert (status, "another, interrupted run, with another method (mwp" in err) == (2, True)
    assert "method" not in json.loads((tmp_path / "out.partial" / "settings.json").read_text())  # as in older runs
    status, _, err = run("--manifest", "m.jsonl", "--output", "out")
    assert (status, "1 of 5 rows failed" in err) == (1, True)  # the one that failed before the interruption counts
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["results.jsonl"]
    assert (tmp_path / "out" / "results.jsonl").read_text() == (tmp_path / "whole" / "results.jsonl").read_text()
    assert not partial.parent.exists()
    assert run("--manifest", "m.jsonl", "--output", "out")[0] == 2


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.csv", "", "no rows"),
        ("m.csv", "image,caption\n", "no rows"),
        ("m.csv", "picture,caption\np.png,a man\n", "no column 'image'; its columns are picture, caption"),
        ("m.csv", 'image,caption\na.jpg,"a man\nb.jpg,a dog\n', "unexpected end of data"),
        ("m.jsonl", "[" * 100_000, "line 1 is not JSON"),
        ("m.csv", "image,caption\np.png,\n", "line 2 has no caption"),
        ("m.jsonl", '{"image": "p.png", "caption": "a man"}\n{"image"\n', "line 2 is not JSON"),
        ("m.jsonl", '["p.png"]\n', "line 1 is no object"),
        ("m.jsonl", '{"image": "p.png", "caption": "a man", "phrases": "a man"}\n', "expected a list of texts"),
    ],
)
def test_bad_manifests(run, tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    status, out, err = run("--manifest", name)
    assert (status, out) == (2, "")
    assert message in err


@pytest.mark.slow
def test_a_terminated_manifest_says_so_and_goes_on(run, photograph, tmp_path):
    rows = [["image", "caption"], *[["p.png", f"a man number {n}"] for n in range(400)]]
    write_csv(tmp_path / "m.csv", rows)
    command = [sys.executable, "-m", "grounding.localize", "--manifest", "m.csv", "--output", "out"]
    lines = tmp_path / "out.partial" / "results.jsonl"
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    while process.poll() is None and not (lines.is_file() and lines.stat().st_size):
        time.sleep(0.01)
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert err.endswith("run the same command again to continue\nterminated\n")
    assert "Traceback" not in err
    done = [json.loads(line) for line in lines.read_text().splitlines()]
    assert 0 < len(done) < 400
    assert [result["caption"] for result in done] == [row[1] for row in rows[1 : len(done) + 1]]
