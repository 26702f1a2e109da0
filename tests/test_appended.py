"""A file of JSON lines that only grows."""

import json
import os
import subprocess
import sys

import pytest

from grounding.appended import AppendedLines, read_lines
from grounding.errors import GroundingError
from helpers.annotation import full_disk

ONE, TWO = {"n": 0, "label": "müde"}, {"n": 1}
WHOLE = '{"n": 0, "label": "müde"}\n{"n": 1}\n'.encode()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.jsonl"


def test_of_no_file_there_are_no_lines(path):
    assert read_lines(path) == ([], 0)
    assert not path.exists()


def test_lines_are_on_disk_as_soon_as_they_are_appended(path):
    lines = AppendedLines(path)
    lines.append(ONE)
    assert read_lines(path)[0] == [ONE]
    lines.append(TWO)
    assert path.read_bytes() == WHOLE
    lines.close()


@pytest.mark.parametrize("kept", range(len(WHOLE)))
def test_a_last_line_that_was_cut_short_is_dropped(path, kept):
    path.write_bytes(WHOLE[:kept])
    whole = [ONE][: WHOLE[:kept].count(b"\n")]
    assert read_lines(path)[0] == whole
    assert path.read_bytes() == WHOLE[:kept]  # reading changes nothing
    lines = AppendedLines(path)
    assert lines.found == whole
    lines.append(TWO)
    lines.close()
    assert read_lines(path)[0] == [*whole, TWO]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b'{"n": 0}\n{"n": \n{"n": 2}\n', "line 2 is damaged (it is no JSON)"),
        (b"\n", "line 1 is damaged"),
        (b"\0\0\0\n", "line 1 is damaged"),
        (b'{"n": 0}\n[1]\n', "line 2 is damaged (it is no JSON object)"),
        (b'{"n": 0}\n"\xff"\n', "line 2 is damaged"),
        (b"[" * 100_000 + b"\n", "line 1 is damaged"),
    ],
)
def test_a_damaged_line_is_named_and_nothing_is_changed(path, content, line):
    path.write_bytes(content)
    with pytest.raises(GroundingError, match=r"take the file from a copy") as refused:
        AppendedLines(path)
    assert line in str(refused.value)
    assert path.read_bytes() == content


def test_a_second_program_is_kept_out_until_the_first_ends(path):
    code = "import pathlib, sys; from grounding.appended import AppendedLines; "
    command = [sys.executable, "-c", code + "AppendedLines(pathlib.Path(sys.argv[1]))", str(path)]
    lines = AppendedLines(path)
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "is being written by another run" in refused.stderr.splitlines()[-1]
    lines.close()
    assert subprocess.run(command, capture_output=True, text=True, check=False).returncode == 0


def test_where_there_is_no_room_nothing_is_left_of_a_line(path):
    lines = AppendedLines(path)
    lines.append(ONE)
    with full_disk(path, 20), pytest.raises(GroundingError, match="cannot be written"):
        lines.append({"label": "a" * 100})
    assert read_lines(path)[0] == [ONE]
    assert path.read_bytes().endswith(b"\n")
    lines.append(TWO)
    lines.close()
    assert path.read_bytes() == WHOLE


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_that_cannot_be_written_is_said(path):
    path.write_bytes(b"")
    path.chmod(0o400)
    with pytest.raises(GroundingError, match="cannot be written"):
        AppendedLines(path)


def test_what_is_no_number_is_never_written(path):
    lines = AppendedLines(path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        lines.append({"x0": float("nan")})
    lines.close()
    assert json.dumps(read_lines(path)[0]) == "[]"
