"""Tables of pictures with captions: what is read, what is left out and why."""

import bz2
import csv
import gzip
import json
import pickle

import pyarrow as pa
import pytest
from pyarrow import parquet

from grounding.datasets.columns import TableOptions
from grounding.datasets.webimages import CaptionedImages
from helpers.captioned import BLUE, GREEN, RED, contents, folder, picture, refused, three_pictures


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


# ---- pictures that a table holds itself


def test_a_parquet_table_of_pictures(pictures):
    cells = [picture(GREEN), picture(RED), picture(GREEN), b"no picture", b"", None]
    rows = [("image", "caption"), *((cell, f"c{number}") for number, cell in enumerate(cells))]
    images = CaptionedImages([write_parquet(pictures / "t.parquet", rows)])
    assert contents(images) == {"row 1": (("c0", "c2"), "green"), "row 2": (("c1",), "red")}
    assert images.skipped == {"row without a picture": 2, "file that is no picture": 1}
    copy = pickle.loads(pickle.dumps(images))
    assert contents(copy) == contents(images)


def test_a_parquet_table_of_the_library_datasets(pictures):
    cells = [
        {"bytes": picture(GREEN), "path": "x.png"},
        {"bytes": None, "path": "r.png"},
        {"bytes": picture(BLUE), "path": None},
        {"bytes": None, "path": None},
        None,
    ]
    rows = [("image", "caption"), *((cell, ["one", f"c{number}"]) for number, cell in enumerate(cells))]
    images = CaptionedImages([write_parquet(pictures / "t.parquet", rows)])
    assert contents(images) == {
        "x.png": (("one", "c0"), "green"),
        "r.png": (("one", "c1"), "red"),
        "row 3": (("one", "c2"), "blue"),
    }
    assert images.skipped == {"row without a picture": 2}


def test_a_picture_of_a_parquet_table_that_cannot_be_decoded_is_named(pictures):
    path = write_parquet(pictures / "t.parquet", [("image", "caption"), (picture()[:30], "x")])
    assert f"image row 1 in {path} cannot be read" in refused(CaptionedImages([path]).read, 0)


def test_many_batches_of_rows(pictures):
    rows = [("image", "caption"), *(("r.png", f"c{number}") for number in range(1000))]
    images = CaptionedImages([write_parquet(pictures / "t.parquet", rows)])
    assert images.captions == (tuple(f"c{number}" for number in range(1000)),)


# ---- other kinds


def coco(path, images, annotations):
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return path


def test_coco_captions_beside_the_folder_of_images(pictures):
    (pictures / "annotations").mkdir()
    images = [
        {"id": 7, "file_name": "r.png"},
        {"id": "x", "file_name": "g.png"},
        {"id": 3, "file_name": "gone.png"},
        {"id": 4},
    ]
    said = [(7, "one"), ("x", "two"), (7, "three"), (3, "x"), (4, "x"), (99, "x"), ("x", ""), (7, None)]
    annotations = [{"id": number, "image_id": image, "caption": text} for number, (image, text) in enumerate(said)]
    path = coco(pictures / "annotations" / "captions_val.json", images, annotations)
    expected = {"r.png": (("one", "three"), "red")}
    (pictures / "g.png").write_bytes(picture(GREEN))
    found = CaptionedImages([path], TableOptions(image_folder=str(pictures)))
    assert contents(found) == expected | {"g.png": (("two",), "green")}
    assert found.skipped == {
        "empty caption": 2,
        "picture file missing or unreadable": 1,
        "row without a picture": 1,
        "damaged row": 1,
    }
    assert "no picture with a caption" in refused(CaptionedImages, [path])  # not beside the table


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.json", "{", "is no JSON"),
        ("t.json", "", "is no JSON"),
        ("t.json", "[" * 100_000, "is no JSON"),
        ("t.json", "3", "no COCO captions file"),
        ("t.json", '{"images": [], "annotations": 3}', "no COCO captions file"),
        ("t.json", '{"images": [3], "annotations": []}', "no COCO captions file"),
        (
            "t.json",
            '{"images": [{"id": 1}], "annotations": [{"image_id": 1, "bbox": []}]}',
            "annotations without a caption",
        ),
        ("t.json", '[{"file": "a", "text": "b"}]', "no column 'image': it has file, text"),
        ("t.csv.gz", gzip.compress(b"image,caption\nr.png,a\n" * 99, mtime=0)[:-9], "t.csv.gz cannot be read"),
        ("t.tsv", "image caption\n", "cannot be told from its first line"),
    ],
)
def test_tables_that_are_none(name, content, message, pictures):
    (pictures / name).write_bytes(content.encode() if isinstance(content, str) else content)
    assert message in refused(CaptionedImages, [pictures / name])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", b"image;caption\nr.png;one\nr.png;two, three\n"),
        ("t.tsv", b"image\tcaption\nr.png\tone\nr.png\ttwo, three\n"),
        ("T.TSV", b"Caption\tImage\r\none\tr.png\r\ntwo, three\t./r.png\r\n"),
        ("t.token", b"r.png#0\tone\nr.png#1\ttwo, three\n"),
        ("t.json", b'[{"image": "r.png", "captions": ["one", "two, three"]}]'),
        ("t.json", b'{"image": "r.png", "caption": "one"}\n{"image": "r.png", "caption": "two, three"}\n'),
        ("t.ndjson", b'{"image": "r.png", "captions": ["one", "two, three"], "caption": "not this"}'),
        ("t.jsonl", b'{"image": "r.png", "captions": [], "caption": ["one", "two, three"]}'),
        ("t.jsonl", b'{"IMAGE": "r.png", "Caption": ["one", "two, three"]}'),
        ("t.csv.gz", gzip.compress(b"image;caption\nr.png;one\nr.png;two, three\n", mtime=0)),
        ("t.jsonl.bz2", bz2.compress(b'{"image": "r.png", "captions": ["one", "two, three"]}')),
    ],
)
def test_kinds_of_tables(name, content, pictures):
    (pictures / name).write_bytes(content)
    images = CaptionedImages([pictures / name])
    assert contents(images) == {"r.png": (("one", "two, three"), "red")}
    assert images.skipped == {}


def test_addresses_are_counted(pictures):
    path = write_csv(pictures / "t.csv", [("image", "caption"), ("http://a.b/c.png", "x"), ("s3://a/b", "x")])
    assert refused(CaptionedImages, [path]).endswith("(address instead of a picture file: 2)")


def test_a_key_that_is_there_twice_damages_its_row(pictures):
    (pictures / "t.jsonl").write_text(
        '{"image": "r.png", "caption": "a", "caption": "b"}\n{"image": "r.png", "caption": "c"}'
    )
    images = CaptionedImages([pictures / "t.jsonl"])
    assert (images.captions, images.skipped) == ((("c",),), {"damaged row": 1})


def test_relative_tables_follow_the_working_folder(tmp_path, monkeypatch):
    for name, colour in (("one", RED), ("two", GREEN)):
        folder(tmp_path / name, ("p.png", picture(colour)), ("t.csv", b"image,caption\np.png,x\n"))
        monkeypatch.chdir(tmp_path / name)
        assert contents(CaptionedImages(["t.csv"])) == {"p.png": (("x",), "red" if colour == RED else "green")}


def test_a_tilde_is_the_home_or_a_part_of_the_name(pictures, monkeypatch):
    monkeypatch.setenv("HOME", str(pictures / "deep"))
    (pictures / "~r.png").write_bytes(picture(BLUE))
    path = write_csv(pictures / "t.csv", [("image", "caption"), ("~/g.png", "a"), ("~r.png", "b")])
    assert contents(CaptionedImages([path])) == {"~/g.png": (("a",), "green"), "~r.png": (("b",), "blue")}
    assert contents(CaptionedImages([path], TableOptions(image_folder="~/..")))["~r.png"] == (("b",), "blue")


def test_a_link_is_the_picture_that_it_leads_to(pictures):
    (pictures / "link").symlink_to(pictures / "r.png")
    path = write_csv(pictures / "t.csv", [("image", "caption"), ("r.png", "a"), ("link", "b")])
    assert contents(CaptionedImages([path])) == {"r.png": (("a", "b"), "red")}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_column_of_ids_names_the_pictures(kind, pictures):
    rows = [("image", "ID", "caption"), ("r.png", "12", "a"), ("deep/g.png", " x/7 ", "b"), ("b", "", "c")]
    images = CaptionedImages([WRITERS[kind](pictures / f"t.{kind}", rows)])
    assert images.ids == ("12", "x/7", "b")
    assert images.captions == (("a",), ("b",), ("c",))


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_ids_that_are_numbers(kind, pictures):
    assert CaptionedImages(
        [WRITERS[kind](pictures / f"t.{kind}", [("image", "id", "caption"), ("b", 0, "a")])]
    ).ids == ("0",)


@pytest.mark.parametrize("value", [None, True, 1.5, ["a"]], ids=str)
def test_what_is_no_id(value, pictures):
    assert CaptionedImages(
        [write_jsonl(pictures / "t.jsonl", [("image", "id", "caption"), ("b", value, "a")])]
    ).ids == ("b",)


@pytest.mark.parametrize(
    ("ids", "found"),
    [(("1", "1", "1"), "1"), (("1", "", "1"), "1"), (("", "1", "1"), "r.png"), (("1", "2", "1"), "r.png")],
)
def test_ids_of_captions_are_none_of_the_picture(ids, found, pictures):
    rows = [("image", "id", "caption"), *[("r.png", id_, f"caption {n}") for n, id_ in enumerate(ids)]]
    images = CaptionedImages([write_csv(pictures / "t.csv", rows)])
    assert images.ids == (found,)
    assert images.captions == (("caption 0", "caption 1", "caption 2"),)


def test_two_columns_of_ids_are_none(pictures):
    rows = [("image", "id", "id", "caption"), ("b", "1", "2", "a")]
    assert CaptionedImages([write_csv(pictures / "t.csv", rows)]).ids == ("b",)
