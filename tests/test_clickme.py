"""The door of the game: what it prints, refuses and leaves behind."""

import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest
from PIL import Image

from grounding.clickme import main
from grounding.game.log import round_log
from helpers.clickme import PLAYERS, played, spot, write_pictures


@pytest.fixture
def clickme(in_empty_folder):
    """Runs `python -m grounding.clickme`."""
    return lambda *arguments: in_empty_folder(main, *arguments)


def pictures(folder, *names):
    for name in names or ("cat/a.jpg", "man/b.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (120, 80)).save(folder / name)
    return folder


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the following arguments are required: --output"),
        (["--output", "g"], "no pictures were given: expected --images DIR"),
        (["--output", "g", "--images", "none"], "--images none is no folder"),
        (["--output", "g", "--images", "p", "--seconds", "0"], "--seconds is 0: expected 1 to 600"),
        (["--output", "g", "--images", "p", "--seconds", "nan"], "--seconds is nan: expected 1 to 600"),
        (["--output", "g", "--images", "p", "--top", "0"], "--top is 0: expected at least 1"),
        (["--output", "g", "--images", "p", "--catch-share", "0.9"], "--catch-share is 0.9: expected 0 to 0.5"),
        (["--output", "p/g", "--images", "p"], "--output p/g lies in --images"),
        (["--output", ".", "--images", "p"], "output folder . holds"),
        (["--output", "full", "--images", "p"], "output folder full holds other things, such as thing"),
        (["--output", "g", "--images", "p", "--labels", "none.csv"], "none.csv cannot be read"),
        (["--output", "g", "--images", "p", "--catch", "none.csv"], "none.csv cannot be read"),
        (["--output", "g", "--images", "p", "--classifier", "qwrtz"], "unknown classifier source 'qwrtz'"),
        (["--output", "g", "--images", "p", "--device", "qwrtz"], "device 'qwrtz' cannot be used here"),
        (["--output", "g", "--images", "p", "--port", "70000", "--no-browser"], "--port is 70000"),
        (["--output", "g", "--aggregate"], "g has no rounds.jsonl"),
        (["--output", "g", "--report"], "g has no rounds.jsonl"),
    ],
)
def test_bad_input_is_one_line(clickme, tmp_path, arguments, said):
    pictures(tmp_path / "p")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thing").write_text("")
    status, _, err = clickme(*arguments)
    assert status == 2
    assert err.startswith("error: ")
    assert said in err
    assert err.count("\n") == 1


def test_pictures_of_another_game(clickme, tmp_path):
    pictures(tmp_path / "p")
    with round_log(tmp_path / "g") as log:
        log.append(played("dog/c.jpg"))
    status, _, err = clickme("--images", "p", "--output", "g")
    assert status == 2
    assert err == (
        "error: g has rounds of 'dog/c.jpg', which is not among --images: choose another output, or give the folder "
        "that was played\n"
    )


def test_reports_and_maps_of_a_game_that_was_played(clickme, tmp_path):
    with round_log(tmp_path / "g") as log:
        for player in PLAYERS[:3]:
            log.append(played(player=player, at=spot(30, 20)))
    status, out, err = clickme("--output", "g", "--report")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "3 rounds of 3 players: 3 out of time",
        "1 picture with a map, of 3 rounds",
        "catch trials: none yet",
        "split-half agreement: Spearman 1.00 on 1 picture of at least two players (up to 20 splits a picture)",
    ]
    assert [path.name for path in (tmp_path / "g").iterdir()] == ["rounds.jsonl"]
    status, out, err = clickme("--output", "g", "--aggregate")
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == "g/clicks.csv: 3 rows; g/maps: 1 map"
    assert len((tmp_path / "g" / "clicks.csv").read_text().splitlines()) == 4
    assert (tmp_path / "g" / "maps" / "cat" / "a.png").is_file()


def test_without_the_extra(clickme, tmp_path, monkeypatch):
    pictures(tmp_path / "p")
    monkeypatch.setattr("grounding.web.options.find_spec", lambda _: None)
    status, _, err = clickme("--images", "p", "--output", "g")
    assert status == 2
    assert "needs starlette and uvicorn: pip install 'grounding[clickme]'" in err


@pytest.mark.slow
def test_a_game_from_the_command_line(tmp_path):
    images = pictures(write_pictures(tmp_path / "p", ["cat", "man"]), "qwrtz/<b>.png")
    with round_log(tmp_path / "g") as log:
        log.append(played("qwrtz/<b>.png", category="qwrtz", at=spot(30, 20)))
    command = [sys.executable, "-m", "grounding.clickme", "--images", images, "--output", tmp_path / "g"]
    game = subprocess.Popen(
        [*command, "--port", "0", "--no-browser"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    lines = []
    try:
        while not lines or "http" not in lines[-1]:
            lines.append(game.stdout.readline())
            assert lines[-1], game.stderr.read()
        with urllib.request.urlopen(lines[-1].split()[1], timeout=20) as answer:
            assert b"<title>ClickMe</title>" in answer.read()
        assert (tmp_path / "g" / "clicks.csv").read_text().count("\n") == 2
        time.sleep(0.2)
        game.send_signal(signal.SIGINT)
        out, err = game.communicate(timeout=60)
    finally:
        game.kill()
    assert game.returncode == 130, err
    assert lines[:3] == [
        "3 pictures of 3 categories\n",
        "not known to embedded, so played until time is up: qwrtz\n",
        "recognised among the first 1 of 2 guesses\n",
    ]
    assert "1 round of 1 player: 1 out of time" in out
    assert err.splitlines() == ["interrupted"]
    assert (tmp_path / "g" / "maps" / "qwrtz" / "<b>.png").is_file()
    assert len((tmp_path / "g" / "table.jsonl").read_text().splitlines()) == 3
