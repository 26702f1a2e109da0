"""Files that appear whole or not at all, in a folder and at an address."""

import os

import pytest

from grounding.addresses import UnreachableError, is_address, read_bytes
from grounding.errors import GroundingError
from grounding.scale.storage import Storage
from helpers.captioned import refused


@pytest.fixture(params=["folder", "address"])
def storage(request, tmp_path):
    return Storage(str(tmp_path / "out") if request.param == "folder" else f"memory://{tmp_path.name}/out")


def test_what_is_written_is_read_listed_and_removed(storage):
    assert (storage.read("a/x"), storage.open("a/x"), storage.names("a"), storage.names()) == (None, None, [], [])
    storage.write("a/x", b"first")
    storage.write("a/x", b"second")
    storage.write("y", b"")
    assert (storage.read("a/x"), storage.read("y"), storage.names("a"), storage.names()) == (
        b"second",
        b"",
        ["x"],
        ["a", "y"],
    )
    with storage.open("a/x") as file:
        file.seek(2)
        assert file.read() == b"cond"
    storage.remove("a/x")
    storage.remove("a/x")
    assert storage.names("a") == []


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    storage = Storage(str(tmp_path))
    storage.write("a", b"before")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    message = refused(storage.write, "a", b"after")
    assert str(tmp_path) in message
    assert message.endswith("cannot be read or written: No space left on device")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"before")]


def test_a_file_is_replaced_not_written_over(tmp_path):
    storage = Storage(str(tmp_path))
    storage.write("a", b"before")
    (tmp_path / "reader").hardlink_to(tmp_path / "a")  # as one who has it open
    storage.write("a", b"after")
    assert ((tmp_path / "reader").read_bytes(), storage.read("a")) == (b"before", b"after")


def test_what_killed_writers_left_is_tidied_away(tmp_path):
    (tmp_path / "a").mkdir()
    for name in (".unfinished-123", "part-0.parquet"):
        (tmp_path / "a" / name).write_bytes(b"")
    Storage(str(tmp_path)).tidy("a")
    assert Storage(str(tmp_path)).names("a") == ["part-0.parquet"]


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("s3://b/x", True), ("memory://x", True), ("/a/b", False), ("a:b", False), ("C:\\x", False), ("x/s3://y", False)],
)
def test_addresses_are_told_from_paths(name, is_one):
    assert is_address(name) == is_one


def test_a_missing_library_is_named_with_the_command(monkeypatch):
    import fsspec

    def missing(address):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    assert "pip install 'grounding[s3]'" in refused(Storage("s3://bucket/x").read, "a")


def test_a_picture_that_is_missing_is_its_row_s_fault_and_a_storage_that_is_away_is_not(monkeypatch):
    with pytest.raises(GroundingError, match=r"image memory://nothing/a.jpg cannot be read: no such file"):
        read_bytes("memory://nothing/a.jpg")
    import fsspec

    tries = []

    def away(self, path):
        tries.append(path)
        raise OSError(5, "slow down")

    monkeypatch.setattr("grounding.addresses._PAUSES_S", (0, 0))
    monkeypatch.setattr(type(fsspec.filesystem("memory")), "cat_file", away)
    with pytest.raises(UnreachableError, match=r"memory://x/a.jpg cannot be reached"):
        read_bytes("memory://x/a.jpg")
    assert len(tries) == 3


def test_a_storage_without_credentials_is_said_in_one_line(monkeypatch):
    pytest.importorskip("s3fs")
    from botocore.exceptions import NoCredentialsError

    def nobody(address):
        raise NoCredentialsError

    import fsspec

    monkeypatch.setattr(fsspec.core, "url_to_fs", nobody)
    assert "AWS_ACCESS_KEY_ID" in refused(Storage("s3://bucket/x").read, "a")
