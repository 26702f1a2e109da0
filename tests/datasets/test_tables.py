"""Tables of pictures with captions: what is read, what is left out and why."""

import csv
import json

import pyarrow as pa
import pytest
from pyarrow import parquet

from grounding.datasets.columns import TableOptions
from grounding.datasets.webimages import CaptionedImages
from helpers.captioned import contents, picture, refused, three_pictures


@pytest.fixture
def pictures(tmp_path):
    return three_pictures(tmp_path)


def write_csv(path, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def write_parquet(path, rows):
    names, *rows = rows
    parquet.write_table(pa.table({name: [row[i] for row in rows] for i, name in enumerate(names)}), path)
    return path


def write_jsonl(path, rows):
    names, *rows = rows
    path.write_text("".join(json.dumps(dict(zip(names, row, strict=False))) + "\n" for row in rows))
    return path


WRITERS = {"csv": write_csv, "parquet": write_parquet, "jsonl": write_jsonl}


ROWS = [
    ("image", "caption"),
    ("r.png", "a cat, on a mat"),
    ("deep/g.png", 'she said "no"'),
    ("./r.png", "un chat\r\nnoir"),
    ("deep/../b", "  猫 "),
    ("b", "ねこ"),
]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_table_joins_the_rows_of_a_picture(kind, pictures):
    images = CaptionedImages([WRITERS[kind](pictures / f"t.{kind}", ROWS)])
    assert contents(images) == {
        "r.png": (("a cat, on a mat", "un chat\r\nnoir"), "red"),
        "deep/g.png": (('she said "no"',), "green"),
        "deep/../b": (("  猫 ", "ねこ"), "blue"),
    }
    assert images.skipped == {}


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_a_cell_may_hold_several_captions(kind, pictures):
    rows = [("image", "caption"), ("r.png", ["one", ""]), ("b", []), ("r.png", ["two"]), ("deep/g.png", None)]
    images = CaptionedImages([WRITERS[kind](pictures / f"t.{kind}", rows)])
    assert contents(images) == {"r.png": (("one", "two"), "red")}
    assert images.skipped == {"empty caption": 2, "picture without a caption": 1}


@pytest.mark.parametrize("kind", WRITERS)
def test_rows_that_cannot_be_used_are_counted(kind, pictures):
    rows = [
        *[("image", "caption"), ("r.png", "kept"), ("b", ""), ("gone.png", "x"), ("gone.png", "y"), ("", "x")],
        *[("deep", "a folder"), ("a\0b", "x"), ("x" * 300, "too long a name"), (f"t.{kind}", "itself")],
    ]
    images = CaptionedImages([WRITERS[kind](pictures / f"t.{kind}", rows)])
    assert contents(images) == {"r.png": (("kept",), "red")}
    assert images.skipped == {
        "empty caption": 1,
        "picture file missing or unreadable": 4,
        "row without a picture": 1,
        "file that is no picture": 1,
    }


@pytest.mark.parametrize(
    ("kind", "content", "captions", "skipped"),
    [
        ("csv", b"\xef\xbb\xbfimage,caption\r\nr.png,after a mark\r\n\r\n", ("after a mark",), {}),
        ("csv", b"caption,image,size\nother order,r.png,3\n", ("other order",), {}),
        ("csv", b"image,caption\nr.png,kept\nr.png,a man, a dog\n", ("kept",), {"damaged row": 1}),
        ("csv", b"image,caption\nr.png\nr.png,kept\n", ("kept",), {"empty caption": 1}),
        ("csv", b"image,caption\nr.png,caf\xe9\nr.png,kept\n", ("kept",), {"unreadable text": 1}),
        ("csv", b'image,caption\nr.png,kept\nr.png,"not closed\n', ("kept",), {"damaged row": 1}),
        ("csv", b'image,caption\nr.png,"a"b\nr.png,kept\n', ("kept",), {"damaged row": 1}),
        ("csv", b"image,caption\nr.png," + b"x" * 200_000 + b"\nr.png,kept\n", ("kept",), {"damaged row": 1}),
        ("jsonl", b'{"image": "r.png", "caption": "kept"}\n\n', ("kept",), {}),
        (
            "jsonl",
            b'{"image": "r.png", "caption": "kept"}\n{"image"\n[1]\n"x"\n\xff\n' + b"[" * 100_000 + b"\n",
            ("kept",),
            {"damaged row": 5},
        ),
        (
            "jsonl",
            b'{"image": "r.png"}\n{"caption": "x"}\n{"image": "r.png", "caption": "kept"}\n{"image": 3, "caption": ""}',
            ("kept",),
            {"empty caption": 1, "row without a picture": 1, "unreadable text": 1},
        ),
        ("jsonl", b'{"image": "r.png", "caption": ["kept", 1.5]}\n{"image": "r.png", "caption": "x"}', ("x",), None),
    ],
)
def test_damaged_rows_are_counted(kind, content, captions, skipped, pictures):
    path = pictures / f"t.{kind}"
    path.write_bytes(content)
    images = CaptionedImages([path])
    assert images.captions == (captions,)
    assert images.skipped == ({"unreadable text": 1} if skipped is None else skipped)


@pytest.mark.parametrize("kind", WRITERS)
def test_columns_by_name(kind, pictures):
    path = WRITERS[kind](pictures / f"t.{kind}", [("alt_text", "file", "caption"), ("yes", "r.png", "no")])
    assert contents(CaptionedImages([path], TableOptions("file", "alt_text"))) == {"r.png": (("yes",), "red")}
    assert "no column 'image': it has alt_text, file, caption" in refused(CaptionedImages, [path])
    message = refused(CaptionedImages, [path], TableOptions("file", "alt-text"))
    expected = (
        f"{path} has no column 'alt-text': did you mean 'alt_text'? it has alt_text, file, caption; name the right"
    )
    assert message.startswith(expected)
    assert "--caption-column" in message
    assert "data.caption_column" in message


def test_absolute_paths(pictures, tmp_path_factory):
    table = tmp_path_factory.mktemp("elsewhere") / "T.CSV"
    write_csv(table, [("image", "caption"), (str(pictures / "b"), "far"), ("b", "not here")])
    images = CaptionedImages([table])
    assert contents(images) == {str(pictures / "b"): (("far",), "blue")}
    assert images.skipped == {"picture file missing or unreadable": 1}


def test_a_parquet_table_of_pictures_themselves_is_refused(pictures):
    path = write_parquet(pictures / "t.parquet", [("image", "caption"), (picture(), "x")])
    assert refused(CaptionedImages, [path]) == f"{path} holds no picture with a caption (unreadable text: 1)"
