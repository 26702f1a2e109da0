"""Named files and photographs, in folders, zips and tars, whole and broken."""

import io
import tarfile
import zipfile

import pytest

from grounding.datasets.files import Files, Photographs
from grounding.errors import GroundingError


def zipped(path, *names, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name in names:
            archive.writestr(name, content(name))
    return path


def tarred(path, *names, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(content(name))
            archive.addfile(member, io.BytesIO(content(name)))
    return path


def content(name):
    """What a file of this name holds: its name without folders, repeated to more than one tar block."""
    return name.rpartition("/")[2].encode() * 300


def written(folder, *names):
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content(name))
    return folder


def refused(call, *arguments):
    """The one line with which a call is refused."""
    with pytest.raises(GroundingError) as error:
        call(*arguments)
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "place",
    [
        lambda folder: written(folder / "d", "a.txt", "deep/er/b.txt"),
        lambda folder: zipped(folder / "flat.zip", "a.txt", "deep/er/b.txt"),
        lambda folder: zipped(folder / "packed.zip", "a.txt", "deep/er/b.txt", compression=zipfile.ZIP_DEFLATED),
        lambda folder: zipped(folder / "wrapped.zip", "top/a.txt", "top/deep/er/b.txt"),
        lambda folder: zipped(folder / "listed.zip", "top/", "top/a.txt", "top/deep/", "top/deep/er/b.txt"),
        lambda folder: zipped(folder / "mac.zip", "top/a.txt", "top/deep/er/b.txt", "__MACOSX/top/._a.txt"),
        lambda folder: tarred(folder / "flat.tar", "a.txt", "deep/er/b.txt"),
        lambda folder: tarred(folder / "dotted.tar", "./a.txt", "./deep/er/b.txt"),
        lambda folder: tarred(folder / "wrapped.tar", "./top/a.txt", "./top/deep/er/b.txt"),
    ],
    ids=[
        *("folder", "zip", "compressed zip", "zip that wraps", "zip that lists folders", "zip made on a Mac"),
        *("tar", "tar of a folder's content", "tar that wraps"),
    ],
)
def test_files_are_found_below_the_root(place, tmp_path):
    files = Files(place(tmp_path))
    assert "a.txt" in files
    assert "deep/er/b.txt" in files
    assert "top/a.txt" not in files
    assert "deep" not in files
    assert (files.read("a.txt"), files.read("deep/er/b.txt")) == (content("a.txt"), content("b.txt"))
    assert files.any_below("deep")
    assert files.any_below("deep/er")
    assert not files.any_below("dee")
    assert not files.any_below("top")
    assert sorted(files.below("")) == ["a.txt", "deep/er/b.txt"]
    assert list(files.below("deep")) == list(files.below("deep/er")) == ["deep/er/b.txt"]
    assert list(files.below("dee")) == []
    for name in ("a.txt", "deep/er/b.txt"):
        with files.open(name) as file:
            assert file.read() == content(name)
    assert "has no c.txt: is the copy whole?" in refused(files.open, "c.txt")
    assert files.at("deep/er") == (files.path / "deep/er" if files.path.is_dir() else files.path)
    assert "has no c.txt: is the copy whole?" in refused(files.read, "c.txt")


def test_a_zip_of_one_data_folder_is_not_taken_for_a_wrapper(tmp_path):
    assert "Sentences/1.txt" in Files(zipped(tmp_path / "s.zip", "Sentences/1.txt", "Sentences/2.txt"))
    assert "Annotations/1.xml" in Files(zipped(tmp_path / "a.zip", "Annotations/1.xml"))


def test_a_part_of_the_data_is_not_taken_for_a_wrapper(tmp_path):
    path = tarred(tmp_path / "a.tar", "val/1.xml", "val/2.xml")
    assert "1.xml" in Files(path)
    assert "val/1.xml" in Files(path, parts=("train", "val"))


def test_names_that_lead_out_of_the_folder_are_not_there(tmp_path):
    folder = written(tmp_path / "d", "a.txt")
    written(tmp_path, "secret.txt")
    files = Files(folder)
    for name in ("../secret.txt", str(tmp_path / "secret.txt"), "../d/a.txt", "a.txt/../../secret.txt"):
        assert name not in files
        assert "is the copy whole?" in refused(files.read, name)
    assert list(files.below("..")) == []


def test_a_folder_is_looked_into_when_it_is_asked(tmp_path, monkeypatch):
    folder = written(tmp_path / "d", "a.txt", "deep/b.txt")
    monkeypatch.setattr("os.walk", None)  # a walk would fail
    monkeypatch.setattr("pathlib.Path.rglob", None)
    files = Files(folder)
    assert "a.txt" in files
    assert files.read("deep/b.txt") == content("b.txt")
    written(folder, "later.txt")
    assert "later.txt" in files


def test_a_tar_whose_last_file_is_a_zip_is_a_tar(tmp_path):
    inner = zipped(tmp_path / "inner.zip", "x.txt").read_bytes()
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, value in (("a.txt", b"one"), ("b/inner.zip", inner)):
            member = tarfile.TarInfo(name)
            member.size = len(value)
            archive.addfile(member, io.BytesIO(value))
    assert sorted(Files(tmp_path / "a.tar").below("")) == ["a.txt", "b/inner.zip"]


def test_tars_that_cannot_be_read(tmp_path):
    path = tarred(tmp_path / "a.tar", "1.txt", "2.txt")
    whole = path.read_bytes()
    for size, said in ((512 + 700, "cannot be read"), (2048, "are cut short")):  # 1.txt takes 512 and 1,500 of 1,536
        path.write_bytes(whole[:size])
        assert f"the files in {path} {said}" in refused(Files, path)
    packed = tarred(tmp_path / "a.tar.gz", "1.txt", mode="w:gz")
    message = refused(Files, packed)
    assert f"the files in {packed} cannot be read" in message
    assert "expected a folder, a zip or an uncompressed tar" in message


def test_a_file_that_vanished_or_may_not_be_read(tmp_path, monkeypatch):
    folder = written(tmp_path / "d", "a.txt")
    files = Files(folder)

    def refuse(*_):
        raise PermissionError("not allowed")

    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.open", refuse)
        patched.setattr("pathlib.Path.read_bytes", refuse)
        patched.setattr("pathlib.Path.is_file", refuse)  # as of a folder that may not be entered
        for read in (files.read, files.open):
            assert f"{folder}: a.txt cannot be read (not allowed)" in refused(read, "a.txt")
    (folder / "a.txt").unlink()
    assert "has no a.txt: is the copy whole?" in refused(files.read, "a.txt")


def test_zips_named_in_also_lie_in_the_folder_and_files_go_before_them(tmp_path):
    folder = written(tmp_path / "clone", "a.txt")
    zipped(folder / "more.zip", "packed/b.txt", "packed/c.txt")
    with zipfile.ZipFile(folder / "other.zip", "w") as archive:
        archive.writestr("a.txt", "another")
    assert "b.txt" not in Files(folder)
    files = Files(folder, also=("more.zip", "other.zip", "absent.zip"))
    assert (files.read("a.txt"), files.read("c.txt")) == (content("a.txt"), content("c.txt"))


def test_places_that_hold_no_files_are_named(tmp_path):
    assert "nowhere does not exist: expected a folder or a zip" in refused(Files, tmp_path / "nowhere")
    text = tmp_path / "a.txt"
    text.write_text("not a zip")
    assert f"{text} cannot be read as a zip" in refused(Files, text)
    cut = zipped(tmp_path / "cut.zip", "a.txt", "b.txt")
    cut.write_bytes(cut.read_bytes()[:-30])
    assert f"{cut} cannot be read as a zip" in refused(Files, cut)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
def test_a_damaged_zip_member_is_named(compression, tmp_path):
    path = zipped(tmp_path / "a.zip", "x.txt", "1.jpg", compression=compression)
    whole = path.read_bytes()
    for name, read in (("x.txt", lambda: Files(path).read("x.txt")), ("1.jpg", lambda: Photographs([path]).read("1"))):
        start = whole.index(name.encode()) + len(name)
        path.write_bytes(whole[:start] + bytes(byte ^ 0xFF for byte in whole[start : start + 9]) + whole[start + 9 :])
        message = refused(read)
        assert "cannot be read" in message
        assert str(path) in message


@pytest.mark.parametrize(
    "place",
    [
        lambda folder: written(folder / "d", "1.jpg", "deep/2.jpg", "deep/notes.txt"),
        lambda folder: zipped(
            folder / "z.zip", "1.jpg", "deep/2.jpg", "notes.txt", "__MACOSX/._1.jpg", "__MACOSX/1.jpg"
        ),
        lambda folder: tarred(folder / "t.tar", "1.jpg", "1.json", "deep/2.jpg"),
    ],
    ids=["folder", "zip", "tar"],
)
def test_photographs_are_found_by_id(place, tmp_path):
    photographs = Photographs([place(tmp_path)])
    assert len(photographs) == 2
    assert [image in photographs for image in ("1", "2", "3", "notes", "1.jpg")] == [True, True, False, False, False]
    assert photographs.read("2") == content("2.jpg")
    assert photographs.read("1") == content("1.jpg")


def test_photographs_of_several_places_are_one_collection(tmp_path):
    first, second = tarred(tmp_path / "a.tar", "1.jpg", "2.jpg"), tarred(tmp_path / "b.tar", "3.jpg")
    photographs = Photographs([first, second, zipped(tmp_path / "c.zip", "4.jpg"), written(tmp_path / "d", "5.jpg")])
    assert len(photographs) == 5
    assert {name: photographs.read(name) for name in "54321"} == {name: content(f"{name}.jpg") for name in "12345"}
    assert len(Photographs([])) == 0


def test_a_photograph_twice_is_refused(tmp_path):
    first, second = tarred(tmp_path / "a.tar", "1.jpg", "2.jpg"), zipped(tmp_path / "b.zip", "sub/2.jpg")
    assert f"image 2 is in {first} and in {second}: expected it once" in refused(Photographs, [first, second])
    assert "image 1 is in " in refused(Photographs, [written(tmp_path / "d", "x/1.jpg", "y/1.jpg")])
    assert f"image 1 is in {first} and in {first}: " in refused(Photographs, [first, first])


def test_a_tar_cut_off_within_a_photograph_is_refused(tmp_path):
    path = tarred(tmp_path / "a.tar", "1.jpg", "2.jpg")  # each 512 bytes of header and 1,500 padded to 1,536
    whole = path.read_bytes()
    for size in (300, 512, 512 + 700, 2048 + 512, 2048 + 512 + 700):
        path.write_bytes(whole[:size])
        assert f"images {path} cannot be read" in refused(Photographs, [path]), size
    path.write_bytes(whole[:2048])  # exactly between two photographs
    assert f"images {path} are cut short" in refused(Photographs, [path])
    path.write_bytes(whole[: 2048 + 100])  # within a header
    assert f"images {path} are cut short" in refused(Photographs, [path])


def test_a_zip_with_a_damaged_directory_is_refused(tmp_path):
    path = zipped(tmp_path / "a.zip", "1.jpg")
    path.write_bytes(path.read_bytes().replace(b"PK\x01\x02", b"PK\x01\x03"))
    assert f"{path} cannot be read as a zip" in refused(Photographs, [path])


def test_other_files_are_refused(tmp_path):
    packed = tarred(tmp_path / "a.tar.gz", "1.jpg", mode="w:gz")
    assert "expected a folder, a zip or an uncompressed tar" in refused(Photographs, [packed])
    text = tmp_path / "notes.txt"
    text.write_text("neither zip nor tar " * 100)
    assert f"images {text} cannot be read" in refused(Photographs, [text])
    text.write_text("")
    assert f"{text} " in refused(Photographs, [text])
    assert "nowhere do not exist: expected a folder, a zip or a tar" in refused(Photographs, [tmp_path / "nowhere"])


@pytest.mark.parametrize("make", [written, zipped, tarred])
def test_a_place_without_photographs_is_refused(make, tmp_path):
    place = make(tmp_path / "place", "1.txt", "2.json")
    assert f"{place} holds no photograph: expected <id>.jpg" in refused(Photographs, [place])
    others = tarred(tmp_path / "others.tar", "1.jpg")
    assert f"{place} holds no photograph: expected <id>.jpg" in refused(Photographs, [others, place])


def test_a_photograph_that_vanished_is_named(tmp_path):
    folder = written(tmp_path / "d", "1.jpg")
    photographs = Photographs([folder])
    (folder / "1.jpg").unlink()
    message = refused(photographs.read, "1")
    assert "image 1 in" in message
    assert "cannot be read" in message
