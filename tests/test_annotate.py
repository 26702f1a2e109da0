"""`python -m grounding.annotate` as a user calls it."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from functools import partial

import pytest
from PIL import Image
from skimage import data

from grounding.annotate import main
from grounding.annotation.project import read_history
from grounding.appended import read_lines
from grounding.images import sample_scene
from helpers.annotation import annotation_folder


@pytest.fixture
def annotate(in_empty_folder):
    return partial(in_empty_folder, main)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    Image.fromarray(sample_scene()[::4, ::4]).save(folder / "man.jpg")
    Image.fromarray(data.chelsea()[::4, ::4]).save(folder / "deep" / "cat.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "captions.csv").write_text("image,caption\nman.jpg,A man in a red hat\ngone.jpg,A dog\n")
    return folder


def told(err):
    """The lines of standard error, without those of the progress bar."""
    return [line.strip() for line in err.replace("\r", "\n").splitlines() if line.strip() and "drafting:" not in line]


@pytest.mark.slow
def test_drafts_are_exported_without_a_page(annotate, photos, tmp_path):
    command = ("--images", photos, "--captions", "captions.csv", "--output", "out", "--headless")
    status, out, err = annotate(*command, "--export", "coco", "voc", "csv")
    assert (status, out.splitlines()) == (
        0,
        [
            "2 pictures drafted, 1 left out: out",
            "coco: 2 pictures, 2 boxes: out/exports/coco",
            "voc: 2 pictures, 2 boxes: out/exports/voc",
            "csv: 2 pictures, 2 boxes: out/exports/csv",
        ],
    )
    assert told(err) == [
        "captions.csv, line 3 is left out: there is no picture 'gone.jpg' in --images",
        "left out: image broken.jpg is no picture that Pillow can read: expected JPEG, PNG or the like",
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"captions.csv", "photos", "out"}
    before = (tmp_path / "out" / "drafts.jsonl").read_bytes()
    assert annotate(*command)[:2] == (0, "2 pictures drafted, 1 left out: out\n")
    assert (tmp_path / "out" / "drafts.jsonl").read_bytes() == before
    status, out, _ = annotate("--output", "out", "--export", "yolo")
    assert (status, out) == (
        0,
        "yolo: 0 pictures, 0 boxes (none is done yet; --include drafts exports what is drafted): out/exports/yolo\n",
    )
    status, _, err = annotate(*command, "--label", "phrase")
    assert (status, told(err)[-1].split(":")[1]) == (
        2,
        " out holds an annotation with other label_of (phrase, was head)",
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "the following arguments are required: --output"),
        (("--output", "none", "--export", "coco"), "none/project.json cannot be read (No such file or directory)"),
        (("--output", "none"), "none/project.json cannot be read"),
        (("--output", "none", "--headless"), "--headless has nothing to do: add --images DIR"),
        (("--output", "none", "--labels", "dog"), "--labels is about pictures: add --images DIR"),
        (("--output", "o", "--images", "none", "--labels", "dog"), "--images none is no folder"),
        (("--output", "o", "--images", "photos", "--labels", "a\0b"), "label is 'a\\x00b': expected a text"),
        (
            ("--output", "o", "--images", "photos", "--labels", "a", "--captions", "captions.csv"),
            "expected one of them",
        ),
        (("--output", "o", "--images", "photos", "--label-column", "a"), "--label-column names a column of a table"),
        (("--output", "o", "--images", "photos", "--captions", "none.csv"), "none.csv cannot be read"),
        (("--output", "o", "--images", "photos", "--boxes-per-label", "0"), "--boxes-per-label is 0"),
        (("--output", "o", "--images", "photos", "--min-presence", "nan"), "--min-presence is nan"),
        (("--output", "o", "--images", "photos", "--classifier", "no/such/folder/here", "--offline"), "no/such/folder"),
        (("--output", "photos", "--images", "photos", "--labels", "dog"), "holds other things, such as"),
        (("--output", "o", "--images", "photos", "--export", "exe"), "argument --export: invalid choice: 'exe'"),
    ],
)
def test_bad_input_gets_one_line(annotate, photos, arguments, line):
    status, out, err = annotate(*arguments)
    assert (status, out) == (2, "")
    assert line in told(err)[-1]
    assert "Traceback" not in err


@contextlib.contextmanager
def page(folder):
    """A process that serves the page of an annotation folder, and its address."""
    command = [sys.executable, "-m", "grounding.annotate", "--output", str(folder), "--port", "0", "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        first = process.stdout.readline()
        assert first, process.stderr.read()
        yield process, re.match(r"annotation: (http://127\.0\.0\.1:\d+/) ", first)[1]
    finally:
        process.kill()
        process.communicate()


def ask(address, body=None):
    content = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(address, content), timeout=20) as answer:
        return json.load(answer)


def decision(picture, version, action, **more):
    return {
        "person": "ann",
        "picture": picture,
        "version": version,
        "action": action,
        "time_s": 2,
        "actions": 1,
        **more,
    }


@pytest.mark.slow
def test_killing_the_program_loses_nothing(tmp_path):
    """A real process, killed after each of several decisions that it has answered."""
    folder = annotation_folder(tmp_path)
    steps = [
        decision(0, 0, "move", box=0, x0=1, y0=2, x1=30, y1=40),
        decision(2, 0, "done"),
    ]
    for number, step in enumerate(steps):
        with page(folder) as (process, address):
            assert ask(f"{address}api/project")["report"]["pictures"] == 3
            answer = ask(f"{address}api/decisions", step)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        assert len(read_lines(folder / "log.jsonl")[0]) == number + 1
        with (folder / "log.jsonl").open("ab") as file:
            file.write(b'{"n": 9, "person": "a')  # as a kill in the middle of a write leaves it
    with page(folder) as (_, address):
        assert ask(f"{address}api/pictures/2") == answer
        picture = ask(f"{address}api/pictures/0")
        assert (picture["version"], picture["boxes"][0]["x1"]) == (1, 30)
        assert ask(f"{address}api/undo", {"person": "ann"})["picture"]["state"] == "open"
    history = read_history(folder)
    assert [history.version(id_) for id_ in (0, 1, 2)] == [1, 0, 2]
    assert history.now(0).boxes[0].edges == (1, 2, 30, 40)


@pytest.mark.slow
def test_ctrl_c_ends_the_page_and_says_what_was_saved_and_where(tmp_path, annotate):
    folder = annotation_folder(tmp_path)
    with page(folder) as (process, address):
        ask(f"{address}api/decisions", decision(0, 0, "done"))
        status, _, err = annotate("--output", folder)
        assert (status, told(err)) == (
            2,
            [f"error: {folder} is being written by another run: wait for it or choose another"],
        )
        assert annotate("--output", folder, "--export", "csv")[1] == f"csv: 1 picture, 2 boxes: {folder}/exports/csv\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert out == (
        "1 of 3 pictures done, 2 boxes; 100% of 2 drafts accepted untouched, 0.0 corrections a picture, "
        f"1.0 s and 0.5 actions a box: {folder}\n"
    )


@pytest.mark.slow
def test_sigterm_ends_it_too(tmp_path):
    with page(annotation_folder(tmp_path)) as (process, address):
        assert ask(f"{address}api/next?person=ann") == {"id": 1}
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out.startswith("0 of 3 pictures done")) == (143, True)
    assert len(err.splitlines()) == 1


@pytest.mark.slow
def test_drafting_that_is_killed_is_gone_on_with(photos, tmp_path, annotate):
    command = ["--images", str(photos), "--labels", "man", "cat", "--output", str(tmp_path / "out"), "--headless"]
    process = subprocess.Popen(
        [sys.executable, "-m", "grounding.annotate", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    drafts = tmp_path / "out" / "drafts.jsonl"
    while process.poll() is None and not (drafts.exists() and drafts.stat().st_size):
        time.sleep(0.02)
    process.kill()
    process.wait()
    before = drafts.read_bytes()
    assert before
    assert annotate(*command)[:2] == (0, f"2 pictures drafted, 1 left out: {tmp_path / 'out'}\n")
    assert drafts.read_bytes().startswith(before[: before.rfind(b"\n") + 1])
    assert len(read_lines(drafts)[0]) == 3
    assert [each.name for each in read_history(tmp_path / "out").pictures.values()] == ["deep/cat.png", "man.jpg"]
