"""Shards and folders of pictures with captions: what is read, what is left out and why, and safe reading."""

import bz2
import gzip
import io
import lzma
import multiprocessing
import os
import pickle
import tarfile
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from grounding.datasets.places import Place
from grounding.datasets.webimages import CaptionedImages
from grounding.errors import GroundingError
from helpers.captioned import BLUE, GREEN, RED, contents, folder, picture, refused, said, shard, three_pictures

# ---- shards and folders


NAMED = [
    # members, what is read, what is left out
    ([("1.png", picture()), ("1.json", said("a cat", "cats"))], {"1": (("a cat", "cats"), "red")}, {}),
    ([("1.json", said("a cat")), ("1.png", picture())], {"1": (("a cat",), "red")}, {}),
    (
        [("1.png", picture(RED)), ("2.png", picture(GREEN)), ("2.json", said("two")), ("1.json", said("one"))],
        {"1": (("one",), "red"), "2": (("two",), "green")},
        {},
    ),
    (
        [
            *[("a.jpg", picture(kind="PNG")), ("a.txt", b"\xef\xbb\xbf by its content \n")],
            *[("b.jpeg", picture(GREEN)), ("b.txt", "ένα\nδύο".encode())],
            *[("c.webp", picture(BLUE, kind="WEBP", lossless=True)), ("c.json", b'{"caption": " as it is "}')],
            *[("d.JPG", picture()), ("d.TXT", "عربي 漢字 🐈".encode())],
        ],
        {
            "a": (("by its content",), "red"),
            "b": (("ένα\nδύο",), "green"),
            "c": ((" as it is ",), "blue"),
            "d": (("عربي 漢字 🐈",), "red"),
        },
        {},
    ),
    (
        [("x/1.png", picture(RED)), ("x/1.txt", b"one"), ("y/1.png", picture(GREEN)), ("y/1.txt", b"other")],
        {"x/1": (("one",), "red"), "y/1": (("other",), "green")},
        {},
    ),
    ([("1.2.png", picture()), ("1.2.txt", b"dots"), ("LICENSE", b"free")], {"1.2": (("dots",), "red")}, {}),
    # what JSON does not say, a text may; what it does, a text may not
    ([("1.png", picture()), ("1.json", b'{"url": 1}'), ("1.txt", b"text")], {"1": (("text",), "red")}, {}),
    ([("1.png", picture()), ("1.json", b'{"caption": "one", "captions": ["all"]}')], {"1": (("all",), "red")}, {}),
    ([("1.png", picture()), ("1.json", said("json")), ("1.txt", b"text")], {"1": (("json",), "red")}, {}),
    # a JSON file that says nothing leaves it to the text file, whatever it says instead
    *[
        ([("1.png", picture()), ("1.json", said), (f"1.{ending}", b"text")], {"1": (("text",), "red")}, {})
        for ending, said in (
            ("txt", b'{"caption": null}'),
            ("txt", b'{"caption": ""}'),
            ("txt", b'{"captions": []}'),
            ("txt", b'{"captions": ["", null, " "]}'),
            ("txt", b'{"caption": NaN}'),
            ("txt", b'{"text": "  "}'),
            ("txt", b'{"caption": 5}'),
            ("txt", b"[]"),
            ("txt", b"{"),
            ("txt", b""),
            ("caption", b'{"caption": null}'),
            ("CAPTION", b'{"captions": []}'),
        )
    ],
    ([("1.png", picture()), ("1.txt", b" \n"), ("1.caption", b"text")], {"1": (("text",), "red")}, {}),
    ([("1.png", picture()), ("1.caption", b"\xef\xbb\xbfcaf\xc3\xa9\n")], {"1": (("café",), "red")}, {}),
    ([("1.png", picture()), ("1.json", b'{"text": "words"}')], {"1": (("words",), "red")}, {}),
    ([("1.png", picture()), ("1.json", b'{"text": ["a", "b"], "caption": ""}')], {"1": (("a", "b"), "red")}, {}),
    ([("1.png", picture()), ("1.json", b'{"captions": [], "caption": "one"}')], {"1": (("one",), "red")}, {}),
    ([("1.png", picture()), ("1.json", b'{"caption": ["a", "b"], "text": "no"}')], {"1": (("a", "b"), "red")}, {}),
    # left out: beside one picture that is whole
    ([("2.png", picture())], {}, {"picture without a caption": 1}),
    ([("2.png", picture()), ("2.json", b"{}")], {}, {"picture without a caption": 1}),
    ([("2.png", picture()), ("2.json", said())], {}, {"picture without a caption": 1}),
    ([("2.json", said("x")), ("2.txt", b"x"), ("3.txt", b"x")], {}, {"caption without a picture": 2}),
    ([("2.png", picture()), ("2.json", said("", " \n"))], {}, {"empty caption": 2}),
    ([("2.png", picture()), ("2.txt", b"")], {}, {"empty caption": 1}),
    ([("2.png", picture()), ("2.json", b'{"caption": null}')], {}, {"empty caption": 1}),
    ([("2.png", picture()), ("2.json", said("", "two"))], {"2": (("two",), "red")}, {"empty caption": 1}),
    ([("2.png", picture()), ("2.json", b"{")], {}, {"unreadable text": 1}),
    ([("2.png", picture()), ("2.json", b"[" * 100_000)], {}, {"unreadable text": 1}),
    ([("2.png", picture()), ("2.json", b'{"captions": [1]}')], {}, {"unreadable text": 1}),
    ([("2.png", picture()), ("2.json", b'{"captions": {"en": "x"}}')], {}, {"unreadable text": 1}),
    ([("2.png", picture()), ("2.json", b'{"caption": "\\ud800"}')], {}, {"unreadable text": 1}),
    ([("2.png", picture()), ("2.txt", b"caf\xe9")], {}, {"unreadable text": 1}),
    ([("2.jpg", b"<html>404"), ("2.txt", b"x")], {}, {"file that is no picture": 1}),
    ([("2.jpg", b""), ("2.txt", b"x")], {}, {"file that is no picture": 1}),
    (
        [("2.jpg", picture(GREEN)), ("2.png", picture(BLUE)), ("2.txt", b"two")],
        {"2": (("two",), "green")},
        {"second picture of one name": 1},
    ),
]


@pytest.mark.parametrize("make", [shard, folder])
@pytest.mark.parametrize(("members", "expected", "skipped"), NAMED)
def test_pictures_find_the_captions_of_their_name(make, members, expected, skipped, tmp_path):
    whole = [("0.png", picture()), ("0.txt", b"always")] if skipped else []
    images = CaptionedImages([make(tmp_path / "data.tar", *whole, *members)])
    assert contents(images) == ({"0": (("always",), "red")} if skipped else {}) | expected
    assert images.skipped == skipped
    assert len(images) == len(images.ids) == len(images.captions)


def test_a_folder_is_read_in_the_order_of_names_and_a_shard_in_its_own(tmp_path):
    members = [(f"{i}.{end}", picture() if end == "png" else b"x") for i in (3, 1, 2) for end in ("txt", "png")]
    assert CaptionedImages([shard(tmp_path / "a.tar", *members)]).ids == ("3", "1", "2")
    assert CaptionedImages([folder(tmp_path / "a", *members)]).ids == ("1", "2", "3")


def test_names_longer_than_a_tar_header_and_links(tmp_path):
    name = "folder/" * 30 + "long"
    path = shard(tmp_path / "a.tar", (f"{name}.png", picture(GREEN)), (f"{name}.txt", b"long"), ("l.txt", b"link"))
    with tarfile.open(path, "a") as tar:
        link = tarfile.TarInfo("l.png")
        link.type, link.linkname = tarfile.SYMTYPE, f"{name}.png"
        tar.addfile(link)
    images = CaptionedImages([path])
    assert contents(images) == {name: (("long",), "green")}
    assert images.skipped == {"caption without a picture": 1}


# Each member is a header and one block of content, so that member i lies at 1024 i. Two blocks of zeros end the tar.
@pytest.mark.parametrize(
    ("harm", "ids", "skipped"),
    [
        (lambda b: b[:6144] + bytes(512), "012", {}),
        (lambda b: b[:6144], "012", {"rest": 1}),  # at the end of a member
        (lambda b: b[:5631], "01", {"caption without a picture": 1, "rest": 1}),  # in a header
        (lambda b: b[:5640], "01", {"caption without a picture": 1, "rest": 1}),  # in a picture
        (lambda b: b[:4609], "01", {"rest": 1}),  # in a caption
        (lambda b: b[:4096] + b"\1" * 512 + b[4608:], "01", {"rest": 1}),  # a damaged header
        (lambda b: b[:4608] + b"\1" * 512 + b[5120:], "01", {"unreadable text": 1}),  # damaged content
    ],
    ids=["whole", "no end", "in a header", "in a picture", "in a caption", "bad header", "bad content"],
)
def test_a_damaged_shard_is_used_as_far_as_it_goes(harm, ids, skipped, tmp_path):
    members = [(f"{i}.{end}", c) for i in range(3) for end, c in (("json", said("x")), ("png", picture()))]
    path = shard(tmp_path / "a.tar", *members)
    path.write_bytes(harm(path.read_bytes()))
    images = CaptionedImages([path])
    assert images.ids == tuple(ids)
    reason = "rest of a.tar, cut short or damaged"
    assert images.skipped == {reason if key == "rest" else key: count for key, count in skipped.items()}
    assert len(contents(images)) == len(ids)


# ---- sources


def packed(path, module, *members):
    """Write a compressed tar; returns its path."""
    path.write_bytes(module.compress(shard(path.with_name("plain"), *members).read_bytes()))
    return path


@pytest.mark.parametrize(
    ("name", "module"), [("a.tar.gz", gzip), ("a.tgz", gzip), ("A.TAR.GZ", gzip), ("a.tar.xz", lzma), ("a.tar", bz2)]
)
def test_compressed_shards(name, module, tmp_path):
    members = [("x/1.png", picture(GREEN)), ("x/1.json", said("one")), ("2.png", picture(BLUE)), ("2.txt", b"two")]
    path = packed(tmp_path / name, module, *members)
    images = CaptionedImages([path])
    assert contents(images) == {"x/1": (("one",), "green"), "2": (("two",), "blue")}
    assert images.skipped == {}


def test_a_compressed_shard_that_is_cut_short_is_used_as_far_as_it_goes(tmp_path):
    noise = [(f"{i}.png", picture() + os.urandom(2_000_000)) for i in range(3)]
    members = [member for i in range(3) for member in ((f"{i}.txt", b"x"), noise[i])]
    path = packed(tmp_path / "a.tar.gz", gzip, *members)
    path.write_bytes(path.read_bytes()[:5_000_000])
    images = CaptionedImages([path])
    assert contents(images) == {"0": (("x",), "red"), "1": (("x",), "red")}
    assert images.skipped == {"rest of a.tar.gz, cut short or damaged": 1, "caption without a picture": 1}


def test_a_picture_of_a_compressed_shard_is_named_after_it(tmp_path):
    path = packed(tmp_path / "a.tgz", gzip, ("1.png", picture()[:30]), ("1.txt", b"x"))
    assert f"image 1.png in {path} cannot be read" in refused(CaptionedImages([path]).read, 0)


def test_braces_and_globs(tmp_path, monkeypatch):
    for number, colour in enumerate((RED, GREEN, BLUE)):
        shard(tmp_path / f"000{number}.tar", (f"{number}.png", picture(colour)), (f"{number}.txt", b"x"))
    shard(tmp_path / "0003.TAR")
    monkeypatch.setenv("HOME", str(tmp_path))
    for source in ("{0000..0002}.tar", "000?.tar", "000{2,0,1}.tar", "000[0-3].[tT]*", "{0000..0002}.tar"):
        for start in (str(tmp_path), "~"):
            assert sorted(CaptionedImages([f"{start}/{source}"]).ids) == ["0", "1", "2"]
    assert "0003.tar does not exist" in refused(CaptionedImages, [tmp_path / "{0000..0003}.tar"])
    assert "no file matches" in refused(CaptionedImages, [tmp_path / "*.tgz"])
    assert "is an address" in refused(CaptionedImages, ["https://a.b/c.tar"])
    assert "*.TAR holds no picture with a caption (nothing was found)" in refused(CaptionedImages, [tmp_path / "*.TAR"])


@pytest.fixture
def pictures(tmp_path):
    return three_pictures(tmp_path)


def test_sources_follow_each_other_and_may_share_ids(pictures, tmp_path):
    first = shard(tmp_path / "1.tar", ("r.png", picture(BLUE)), ("r.txt", b"in a shard"), ("s.txt", b"lonely"))
    second = pictures / "t.csv"
    second.write_text("image,caption\nr.png,in a table\nnone,gone\n")
    images = CaptionedImages([first, str(second), first])
    assert images.ids == ("r", "r.png", "r")
    assert images.captions == (("in a shard",), ("in a table",), ("in a shard",))
    assert [images.read(i).getpixel((0, 0)) for i in range(3)] == [BLUE, RED, BLUE]
    assert images.skipped == {"caption without a picture": 2, "picture file missing or unreadable": 1}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path / "none.tar", "none.tar does not exist: expected a folder, a .tar or .tar.gz, or a .csv"),
        (lambda path: folder(path, ("t.xlsx", b"x")) / "t.xlsx", "t.xlsx is of a kind that is not known: expected"),
        (lambda path: folder(path / "empty", ("x", b"")), "empty holds no picture with a caption (nothing was found)"),
        (lambda path: shard(path / "e.tar"), "e.tar holds no picture with a caption (nothing was found)"),
        (
            lambda path: shard(path / "e.tar", ("1.jpg", picture()), ("2.jpg", picture()), ("3.txt", b"")),
            "e.tar holds no picture with a caption (picture without a caption: 2, caption without a picture: 1)",
        ),
        (lambda path: folder(path, ("t.tar", b"")) / "t.tar", "t.tar cannot be read (empty file): expected a tar"),
        (lambda path: folder(path, ("t.tar", b"x" * 2000)) / "t.tar", "t.tar cannot be read (invalid header)"),
        (lambda path: folder(path, ("t.tar", b"x" * 512)) / "t.tar", "t.tar cannot be read ("),
        (lambda path: folder(path, ("t.parquet", b"x" * 99)) / "t.parquet", "expected a Parquet file"),
        (lambda path: folder(path, ("t.csv", b"")) / "t.csv", "(nothing was found)"),
        (lambda path: folder(path, ("t.csv", b"\n")) / "t.csv", "(nothing was found)"),
        (lambda path: folder(path, ("t.csv", b'image,"cap')) / "t.csv", "no column 'caption': did you mean 'cap'?"),
        (lambda path: folder(path, ("t.csv", b"image,caption\n")) / "t.csv", "(nothing was found)"),
        (
            lambda path: folder(path, ("t.jsonl", b"")) / "t.jsonl",
            "t.jsonl holds no picture with a caption (nothing wa",
        ),
        (lambda path: folder(path, ("t.jsonl", b"{\n{")) / "t.jsonl", "no picture with a caption (damaged row: 2)"),
    ],
)
def test_sources_of_nothing_are_refused(make, message, tmp_path):
    good = shard(tmp_path / "good.tar", ("1.png", picture()), ("1.txt", b"x"), ("2.png", picture()))
    assert message in refused(CaptionedImages, [good, make(tmp_path)])


def test_no_source_is_refused():
    assert "no source of pictures and captions is given: expected a folder" in refused(CaptionedImages, [])


@pytest.mark.parametrize("kind", ["csv", "jsonl", "tar"])
def test_a_disk_that_fails_is_named(kind, tmp_path):
    (tmp_path / f"t.{kind}").symlink_to("/proc/self/mem")  # opens, but its first byte cannot be read
    assert f"t.{kind} cannot be read" in refused(CaptionedImages, [tmp_path / f"t.{kind}"])


# ---- pictures


def one_picture(path, content, name="1.jpg"):
    return CaptionedImages([shard(path / "a.tar", (name, content), (f"{name[:-4]}.txt", b"x"))])


def test_pictures_are_rgb_upright_and_without_transparency(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned 90 degrees clockwise for display
    stored = Image.new("L", (2, 1))
    stored.putpixel((0, 0), 200)
    turned, glass = io.BytesIO(), io.BytesIO()
    stored.save(turned, "PNG", exif=exif)
    Image.new("RGBA", (1, 1), (9, 9, 9, 0)).save(glass, "PNG")
    images = CaptionedImages(
        [folder(tmp_path, ("1.png", turned.getvalue()), ("1.txt", b"x"), ("2.png", glass.getvalue()), ("2.txt", b"x"))]
    )
    assert images.read(0).mode == images.read(1).mode == "RGB"
    assert np.asarray(images.read(0))[:, :, 0].tolist() == [[200], [0]]
    assert images.read(1).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((2047, 4000), (2047, 4000)),
        ((2048, 2050), (1024, 1025)),
        ((4100, 4096), (1025, 1024)),
        ((25_000, 2048), (12_500, 1024)),
    ],
)
def test_large_jpegs_are_decoded_smaller(size, expected, tmp_path):
    read = one_picture(tmp_path, picture(size=size, kind="JPEG")).read(0)
    assert read.size == expected
    np.testing.assert_allclose(read.getpixel((0, 0)), RED, atol=6)


def claims(width, height):
    """The first bytes of a PNG of this size."""
    header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    return b"\x89PNG\r\n\x1a\n\0\0\0\r" + header + zlib.crc32(header).to_bytes(4, "big")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("size", "reason"),
    [
        ((25_000, 2000), "cannot be read (image file is truncated"),
        ((25_000, 2001), "cannot be read (it has 25000 x 2001 pixels): expected a whole picture file of at most 50"),
        ((10_000, 10_000), "(it has 10000 x 10000 pixels)"),  # Pillow warns
        ((60_000, 60_000), "cannot be read (Image size (3600000000 pixels) exceeds limit"),  # Pillow refuses
    ],
)
def test_large_pictures_of_other_kinds_are_refused_before_they_are_decoded(size, reason, tmp_path):
    content = claims(*size) + b"\0\0\0\4IDAT"
    assert reason in refused(one_picture(tmp_path, content).read, 0)


def test_a_picture_that_cannot_be_decoded_is_named(tmp_path):
    noise = Image.effect_noise((40, 40), 90)
    buffer = io.BytesIO()
    noise.save(buffer, "JPEG")
    cut = buffer.getvalue()[:500]
    in_shard = one_picture(tmp_path, cut)
    message = refused(in_shard.read, 0)
    assert f"image 1.jpg in {tmp_path / 'a.tar'} cannot be read" in message
    beside = CaptionedImages([folder(tmp_path / "f", ("z.jpg", cut), ("z.txt", b"x"))])
    assert f"image {tmp_path / 'f' / 'z.jpg'} cannot be read" in refused(beside.read, 0)
    (tmp_path / "f" / "z.jpg").unlink()
    assert "No such file" in refused(beside.read, 0)
    (tmp_path / "a.tar").write_bytes(b"")
    assert "1.jpg in " in refused(in_shard.read, 0)


def test_damaged_bytes_never_raise_anything_else(tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x010E], exif[0x011A] = 6, "text", 72.0
    generator = np.random.default_rng(0)
    contents = [picture(kind=kind, size=(8, 8), exif=exif) for kind in ("JPEG", "PNG", "WEBP")]
    for number, content in enumerate(contents):
        folder(tmp_path, (f"{number}.jpg", content), (f"{number}.txt", b"x"))
    images = CaptionedImages([tmp_path])
    failed = 0
    for _ in range(400):
        number = int(generator.integers(3))
        harmed = bytearray(contents[number])
        for place in generator.integers(8, len(harmed), 3):
            harmed[place] = generator.integers(256)
        (tmp_path / f"{number}.jpg").write_bytes(harmed)
        try:
            assert images.read(number).mode == "RGB"
        except GroundingError:
            failed += 1
    assert 50 < failed < 350


# ---- safety


def many(path, count=40):
    members = [(f"{i}.png", picture((i, i, i))) for i in range(count)]
    return CaptionedImages([shard(path / "a.tar", *members, *((f"{i}.txt", b"x") for i in range(count)))])


def first_value(images, index):
    return images.read(index).getpixel((0, 0))[0]


def test_reading_in_threads_and_copies(tmp_path):
    images = many(tmp_path)
    expected = list(range(40))
    assert [first_value(images, i) for i in expected] == expected
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda i: first_value(images, i), expected * 5)) == expected * 5
    copy = pickle.loads(pickle.dumps(images))
    assert (copy.ids, copy.captions, copy.skipped) == (images.ids, images.captions, images.skipped)
    assert first_value(copy, 7) == 7


def check_all(images):
    for _ in range(5):
        assert [first_value(images, i) for i in range(40)] == list(range(40))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_reading_in_forked_processes(tmp_path):
    images = many(tmp_path)
    processes = [multiprocessing.get_context("fork").Process(target=check_all, args=(images,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]


# ---- sizes


def test_sizes_are_those_of_the_upright_pictures(tmp_path):
    def turned(orientation, **options):
        exif = Image.Exif()
        exif[0x0112] = orientation
        return picture(size=(30, 20), exif=exif.tobytes(), **options)

    pictures = {
        "a.png": (picture(size=(7, 5)), (7, 5)),
        "b.jpg": (turned(1, kind="JPEG"), (30, 20)),
        "c.jpg": (turned(6, kind="JPEG"), (20, 30)),
        "d.png": (turned(8), (20, 30)),
        "e.jpg": (turned(6, kind="JPEG") + bytes(100_000), (20, 30)),
        "f.jpg": (turned(3, kind="JPEG", icc_profile=bytes(200_000)), (30, 20)),  # a header of over 64 KiB
        "g.jpg": (picture(size=(4100, 2100), kind="JPEG"), (4100, 2100)),  # which is read at a half of its size
    }
    members = [(name, content) for name, (content, _) in pictures.items()]
    texts = [(f"{name[0]}.txt", b"x") for name in pictures]
    for images in (
        CaptionedImages([folder(tmp_path / "f", *members, *texts)]),
        CaptionedImages([shard(tmp_path / "s.tar", *members, *texts)]),
    ):
        found = {images.ids[place]: images.size_of(place) for place in range(len(images))}
        assert found == {name[0]: size for name, (_, size) in pictures.items()}
        for place in range(6):
            assert images.read(place).size == images.size_of(place)


def test_only_the_header_is_read(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (300, 500, 3), np.uint8)
    path = folder(tmp_path, ("a.txt", b"x")) / "a.jpg"
    Image.fromarray(noise).save(path, quality=95)
    path.write_bytes(path.read_bytes()[:70_000])
    images = CaptionedImages([tmp_path])
    sizes = []
    read = Place.read
    monkeypatch.setattr(Place, "read", lambda place, limit=-1: (sizes.append(limit), read(place, limit))[1])
    assert images.size_of(0) == (500, 300)
    assert sizes == [1 << 16]
    assert "cannot be read" in refused(images.read, 0)


def test_the_size_of_what_is_no_picture(tmp_path):
    images = CaptionedImages([folder(tmp_path, ("a.png", picture()[:20]), ("a.txt", b"x"))])
    assert f"image {tmp_path / 'a.png'} cannot be read (" in refused(images.size_of, 0)
    (tmp_path / "a.png").unlink()
    assert "expected a whole picture file" in refused(images.size_of, 0)
