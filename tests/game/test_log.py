"""What is on the disk is there at once, and stays there whatever ends the game."""

import os
import subprocess
import sys

import pytest

from grounding.errors import GroundingError
from grounding.game.log import LOG, read_rounds, round_log
from helpers.clickme import PLAYERS, played
from helpers.labelled import refused

KILLED = """
import os, pathlib, sys
from grounding.game.log import round_log
from grounding.game.rounds import Round
with round_log(pathlib.Path(sys.argv[1])) as log:
    for number in range(3):
        log.append(Round("cat/a.jpg", "cat", 120, 80, "0" * 16, "time", 3.0, number, "mouse", ()))
    print("told", flush=True)
    os.kill(os.getpid(), 9)
"""


def test_a_new_log_is_empty(tmp_path):
    with round_log(tmp_path / "a" / "b") as log:
        assert log.rounds == []
    assert read_rounds(tmp_path / "a" / "b") == []
    assert "has no rounds.jsonl" in refused(read_rounds, tmp_path)


def test_a_round_is_on_the_disk_when_append_returns(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    with round_log(tmp_path) as log:
        for number in range(3):
            log.append(played(points=number))
            assert [each.points for each in read_rounds(tmp_path)] == list(range(number + 1))
            assert synced[-1] == (tmp_path / LOG).stat().st_size
    with round_log(tmp_path) as log:
        assert [each.points for each in log.rounds] == [0, 1, 2]
        log.append(played(player=PLAYERS[1]))
    assert len(read_rounds(tmp_path)) == 4


@pytest.mark.slow
def test_a_killed_game_has_lost_nothing(tmp_path):
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path], env=path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (-9, "told\n"), done.stderr
    assert [each.points for each in read_rounds(tmp_path)] == [0, 1, 2]


@pytest.mark.parametrize("left", [1, 20, -1])
def test_a_line_that_was_cut_short_is_forgotten(tmp_path, left):
    with round_log(tmp_path) as log:
        log.append(played())
        log.append(played(points=9))
    content = (tmp_path / LOG).read_bytes()
    first = content.index(b"\n") + 1
    (tmp_path / LOG).write_bytes(content[: first + left] if left > 0 else content[:left])
    assert len(read_rounds(tmp_path)) == 1
    with round_log(tmp_path) as log:
        log.append(played(points=7))
    assert [each.points for each in read_rounds(tmp_path)] == [0, 7]


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b"{", b'{"picture": 1}', b"\xff", b"9" * 5000, b"[" * 100_000])
def test_a_damaged_line_is_named(tmp_path, line):
    with round_log(tmp_path) as log:
        log.append(played())
    with (tmp_path / LOG).open("ab") as file:
        file.write(line + b"\n")
    assert "rounds.jsonl, line 2 is damaged (it is no " in refused(read_rounds, tmp_path)


def test_two_games_do_not_share_a_log(tmp_path):
    with round_log(tmp_path) as log:
        log.append(played())
        with pytest.raises(GroundingError, match="is being written by another run"), round_log(tmp_path):
            pass
        assert len(read_rounds(tmp_path)) == 1  # a report may look


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(GroundingError, match="cannot be written"), round_log(tmp_path / "file"):
        pass
