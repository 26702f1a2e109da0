"""Where pictures lie: parts of files, and temporary copies that go when nobody needs them."""

import bz2
import gc
import gzip
import lzma
import os
import pickle
import tempfile
from pathlib import Path

import pytest

from grounding.datasets.places import Place, Spool, kind_of
from helpers.captioned import refused


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


def test_a_place_is_a_file_or_a_part_of_one(tmp_path):
    (tmp_path / "f").write_bytes(b"0123456789")
    assert Place(str(tmp_path / "f")).read() == b"0123456789"
    assert Place(str(tmp_path / "f"), "part", 3, 4).read() == b"3456"
    assert Place(str(tmp_path / "f"), "part", 3, 4).read(limit=2) == b"34"


def test_a_spool_keeps_equal_pictures_once_and_goes_with_its_owner(temporary):
    spool = Spool()
    assert list(temporary.iterdir()) == []
    first, second, again = spool.put(b"one", "a"), spool.put(b"three", "b"), spool.put(b"one", "c")
    assert (first.read(), second.read()) == (b"one", b"three")
    assert first == again
    assert first.name == "a"
    [folder] = temporary.iterdir()
    assert sum(path.stat().st_size for path in folder.iterdir()) == 8
    copy = pickle.loads(pickle.dumps(spool))
    del copy
    gc.collect()
    assert first.read() == b"one"
    del spool
    gc.collect()
    assert list(temporary.iterdir()) == []


def test_a_forked_process_leaves_the_spool(temporary):
    spool = Spool()
    place = spool.put(b"one", "a")
    child = os.fork()
    if child == 0:
        del spool
        gc.collect()
        os._exit(0)
    os.waitpid(child, 0)
    assert place.read() == b"one"


def test_the_fingerprint_is_of_what_was_put(temporary):
    prints = set()
    for contents in ([], [b"a"], [b"b"], [b"a", b"b"], [b"b", b"a"]):
        spool = Spool()
        for content in contents:
            spool.put(content, "")
        prints.add(spool.fingerprint)
    assert len(prints) == 5


@pytest.mark.parametrize("module", [gzip, bz2, lzma])
def test_what_is_compressed_is_unpacked_as_far_as_it_is_whole(module, tmp_path, temporary):
    content = os.urandom(3_000_000)
    (tmp_path / "f").write_bytes(module.compress(content))
    spool = Spool()
    assert spool.unpacked(tmp_path / "f").read_bytes() == content
    packed = (tmp_path / "f").read_bytes()
    (tmp_path / "f").write_bytes(packed[: len(packed) * 2 // 3])
    part = spool.unpacked(tmp_path / "f").read_bytes()
    assert content.startswith(part)
    assert len(part) >= 1 << 20
    (tmp_path / "f").write_bytes(packed[:1_000_000] + b"\0" * 1000 + packed[1_001_000:])
    assert len(spool.unpacked(tmp_path / "f").read_bytes()) <= len(content)


def test_no_room_for_copies_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    (tmp_path / "f").write_bytes(gzip.compress(b"x"))
    for call, argument in ((lambda content: Spool().put(content, "a"), b"x"), (Spool().unpacked, tmp_path / "f")):
        message = refused(call, argument)
        assert "TMPDIR names another folder" in message
        assert "cannot be written: No such file or directory" in message


def test_what_is_not_compressed_stays_where_it_is(tmp_path, temporary):
    (tmp_path / "f").write_bytes(b"plain")
    assert Spool().unpacked(tmp_path / "f") == tmp_path / "f"
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.csv", ".csv"),
        ("M.CSV", ".csv"),
        ("m.Jsonl.GZ", ".jsonl"),
        ("a.tar", ".tar"),
        ("a.TAR.gz", ".tar"),
        ("a.tgz", ".tar"),
        ("a.tar.xz", ".tar"),
        ("a.b.tsv.bz2", ".tsv"),
        ("a", ""),
        ("a.gz", ""),
    ],
)
def test_kinds(name, kind):
    assert kind_of(Path("x.y") / name) == kind
