"""A run that something happens to: damaged files, a full disk, folders that go away, two writers, too little memory."""

# ruff: noqa: PT012 - it is the end of a block of several lines that raises

import resource
import shutil

import pytest
from PIL import Image

from grounding.commands import exit_status
from grounding.config import LocalizerConfig, MapConfig
from grounding.errors import GroundingError
from grounding.folders import check_output, whole_folder
from grounding.manifest import Destination, ground_manifest, read_manifest
from grounding.pipeline import Localizer
from grounding.resumable import resumable_lines
from helpers.malformed.weights import write_classifier

SETTINGS = {"run": 1}
LINES = ["one", "zwölf", '{"three": 3}', "four"]


def interrupted(folder, lines=LINES):
    """An unfinished run with these lines; returns its folder."""
    with pytest.raises(GroundingError, match="stop"), resumable_lines(folder, SETTINGS, False) as file:
        for line in lines:
            file.write(line)
        raise GroundingError("stop")
    return folder.with_name(folder.name + ".partial")


def gone_on(folder):
    """The lines that are kept, after the run was finished with the others."""
    with resumable_lines(folder, SETTINGS, False) as file:
        done = list(file.done)
        for line in LINES[len(done) :]:
            file.write(line)
    assert (folder / "results.jsonl").read_text() == "".join(f"{line}\n" for line in LINES)
    assert [path.name for path in folder.iterdir()] == ["results.jsonl"]
    assert not folder.with_name(folder.name + ".partial").exists()
    return done


def changed(old, new):
    return lambda path: path.write_bytes(path.read_bytes().replace(old, new))


DAMAGE = {
    "nothing": ("results.jsonl", lambda path: None, 4),
    "a letter": ("results.jsonl", changed(b"3}", b"4}"), 2),
    "the first line": ("results.jsonl", changed(b"one", b"two"), 0),
    "no UTF-8": ("results.jsonl", changed("ö".encode(), b"\xff\xfe"), 1),
    "zeros": ("results.jsonl", changed(b"three", b"\0\0\0\0\0"), 2),
    "cut": ("results.jsonl", lambda path: path.write_bytes(path.read_bytes()[:-3]), 3),
    "a line gone": ("results.jsonl", changed("zwölf\n".encode(), b""), 1),
    "a line twice": ("results.jsonl", changed(b"four\n", b"four\nfour\n"), 4),
    "garbage": ("results.jsonl", lambda path: path.write_bytes(path.read_bytes() + b"\x80\n"), 4),
    "empty": ("results.jsonl", lambda path: path.write_bytes(b""), 0),
    "missing": ("results.jsonl", lambda path: path.unlink(), 0),
    "a checksum not written": ("checks.txt", lambda path: path.write_bytes(path.read_bytes()[:-9]), 3),
    "half a checksum": ("checks.txt", lambda path: path.write_bytes(path.read_bytes()[:-4]), 3),
    "checksums gone": ("checks.txt", lambda path: path.unlink(), 0),
    "checksums no text": ("checks.txt", lambda path: path.write_bytes(b"\xff\n" * 9), 0),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_an_unfinished_run_goes_on_from_its_last_sound_line(name, tmp_path):
    file, damage, kept = DAMAGE[name]
    damage(interrupted(tmp_path / "out") / file)
    assert gone_on(tmp_path / "out") == LINES[:kept]


@pytest.mark.parametrize("content", ["", "{", "\0\0", "[1]", "[" * 100_000])
def test_results_of_which_nobody_knows_the_run_are_not_mixed(content, tmp_path):
    partial = interrupted(tmp_path / "out")
    (partial / "settings.json").write_text(content)
    with (
        pytest.raises(GroundingError, match=r"settings.json is damaged.*add --overwrite"),
        resumable_lines(tmp_path / "out", SETTINGS, False),
    ):
        pass
    with resumable_lines(tmp_path / "out", SETTINGS, True) as file:
        assert file.done == []


def test_a_full_disk_costs_no_line_that_was_written(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60, limits[1]))  # bytes, of each file
    try:
        with (
            pytest.raises(GroundingError, match=r"cannot be written: File too large"),
            resumable_lines(tmp_path / "out", SETTINGS, False) as file,
        ):
            for number in range(100):
                file.write(f"line {number}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with resumable_lines(tmp_path / "out", SETTINGS, False) as file:
        assert file.done == [f"line {number}" for number in range(len(file.done))]
        assert len(file.done) >= 5


def test_of_two_writers_the_second_is_refused_and_the_first_is_whole(tmp_path):
    with resumable_lines(tmp_path / "out", SETTINGS, False) as first:
        first.write("one")
        with (
            pytest.raises(GroundingError, match="being written by another run"),
            resumable_lines(tmp_path / "out", SETTINGS, False),
        ):
            pass
        first.write("two")
    assert (tmp_path / "out" / "results.jsonl").read_text() == "one\ntwo\n"


@pytest.mark.parametrize("writer", ["folder", "lines"])
def test_a_run_that_ended_meanwhile_is_not_replaced(writer, tmp_path):
    out = tmp_path / "out"
    block = (
        whole_folder(out, False, ("a.txt",))
        if writer == "folder"
        else resumable_lines(out, SETTINGS, False, ("a.txt",))
    )
    with pytest.raises(GroundingError, match="has results already"), block as made:
        ((made if writer == "folder" else made.folder) / "a.txt").write_text("second")
        with whole_folder(out, False, ("a.txt",)) as first:
            (first / "a.txt").write_text("first")
    assert (out / "a.txt").read_text() == "first"


def test_a_folder_that_is_renamed_under_a_run_keeps_its_lines(tmp_path):
    partial, away = tmp_path / "out.partial", tmp_path / "away"
    with (
        pytest.raises(GroundingError, match="cannot be written: No such file"),
        resumable_lines(tmp_path / "out", SETTINGS, False) as file,
    ):
        file.write(LINES[0])
        partial.rename(away)
        file.write(LINES[1])
    assert not (tmp_path / "out").exists()
    away.rename(partial)
    assert gone_on(tmp_path / "out") == LINES[:2]


def test_a_folder_that_vanishes_under_a_run(tmp_path):
    with (
        pytest.raises(GroundingError, match="cannot be written"),
        resumable_lines(tmp_path / "out", SETTINGS, False) as file,
    ):
        file.write(LINES[0])
        shutil.rmtree(tmp_path / "out.partial")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["/proc/out", "/sys/out", "/dev/null/out"])
def test_a_place_that_cannot_be_written_to_is_refused_at_once(place, tmp_path):
    with pytest.raises(GroundingError, match=r"cannot be written|is a file"):
        check_output(tmp_path / place, False, ())


@pytest.mark.parametrize("message", ["", "Unable to allocate\n7 TiB"])
def test_too_little_memory_is_one_line(message, capsys):
    def command():
        raise MemoryError(message)

    assert exit_status(command) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: there is not enough memory")
    assert said.count("\n") == 1
    assert " ".join(message.split()) in said


def test_a_picture_that_vanishes_is_an_error_of_its_rows_alone(tmp_path):
    for number in range(5):
        Image.new("RGB", (24, 16), (40 * number, 0, 0)).save(tmp_path / f"{number}.png")
    table = tmp_path / "table.csv"
    table.write_text("image,caption\n" + "".join(f"{number}.png,a red hat\n" for number in range(5)))
    manifest = read_manifest(table)
    (tmp_path / "3.png").unlink()
    shown = []
    config = LocalizerConfig(maps=MapConfig(stride=2))
    localizer = Localizer.from_pretrained(write_classifier(tmp_path / "tiny"), config)
    summary = ground_manifest(localizer, manifest, tmp_path, 1, {}, Destination(None, False, False, shown.append))
    assert len(shown) == 5
    assert list(summary.failed) == [3]
    assert "No such file" in summary.failed[3]


def test_a_run_that_is_damaged_and_then_interrupted_again_keeps_what_it_did_since(tmp_path):
    partial = interrupted(tmp_path / "out")
    changed(b"one", b"two")(partial / "results.jsonl")
    interrupted(tmp_path / "out", LINES[:3])
    assert gone_on(tmp_path / "out") == LINES[:3]
