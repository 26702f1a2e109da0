"""Which pictures a folder has, and what a table says about them."""

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from grounding.annotation.pictures import Asked, all_labels, find_pictures, read_asked
from grounding.datasets.columns import TableOptions
from grounding.datasets.label_tables import write_labels
from grounding.datasets.labelled_folder import read_folder
from grounding.errors import GroundingError


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "pictures"
    for name in ("b.jpg", "a.PNG", "deep/er/c.webp", "notes.txt", ".hidden.jpg", ".cache/d.jpg", "out/e.jpg"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return folder


NAMES = ["a.PNG", "b.jpg", "deep/er/c.webp"]


def found(images, without="out"):
    said = []
    return find_pictures(images, images / without, said.append), said


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(GroundingError, match="has no pictures"):
        find_pictures(tmp_path, tmp_path / "out", [].append)
    with pytest.raises(GroundingError, match="is no folder"):
        find_pictures(tmp_path / "none", tmp_path / "out", [].append)


def test_pictures_are_found_at_any_depth_but_not_in_the_output(images):
    assert found(images) == (NAMES, [])
    assert found(images, "none")[0] == [*NAMES, "out/e.jpg"]


def test_links_are_followed_inside_the_folder_only(images, tmp_path):
    (tmp_path / "secret.jpg").write_bytes(b"")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "f.jpg").write_bytes(b"")
    (images / "inner.jpg").symlink_to(images / "b.jpg")
    (images / "outer.jpg").symlink_to(tmp_path / "secret.jpg")
    (images / "folder").symlink_to(tmp_path / "other")
    (images / "round.jpg").symlink_to("round.jpg")
    names, said = found(images)
    assert names == [*NAMES, "inner.jpg", "round.jpg"]  # the last one cannot be read, which its draft will say
    assert said == ["'outer.jpg' is left out: it is a link to a file outside the folder; copy it there"]


def test_a_folder_may_itself_be_a_link(images, tmp_path):
    (tmp_path / "link").symlink_to(images)
    assert found(tmp_path / "link") == (NAMES, [])


def test_names_that_nothing_can_hold_are_left_out(images):
    for name in (b"line\nbreak.jpg", b"bad\xff.jpg", b"esc\x1b[2J.jpg"):
        Path(os.fsdecode(os.fsencode(images) + b"/" + name)).write_bytes(b"")
    for name in ("<b>&'\".jpg", "مثل\u200c.jpg"):
        (images / name).write_bytes(b"")
    names, said = found(images)
    assert sorted(names) == sorted([*NAMES, "<b>&'\".jpg", "مثل\u200c.jpg"])
    assert len(said) == 3
    assert all("characters that cannot be seen; rename it" in line and line.isprintable() for line in said)


def asked(images, text, label_column="", name="table.csv", **options):
    said = []
    table = images.parent / name
    table.write_text(text)
    return read_asked(images, NAMES, table, TableOptions(**options), label_column, said.append), said


def test_what_a_table_says_in_its_order_and_then_the_others(images):
    text = 'image,caption,phrases\ndeep/er/c.webp,A man,\nb.jpg,"A dog, a cat",a dog|a cat\n'
    assert asked(images, text + "./b.jpg,A bird,\nb.jpg,A bird,\n") == (
        [
            Asked("deep/er/c.webp", [("A man", None)]),
            Asked("b.jpg", [("A dog, a cat", ("a dog", "a cat")), ("A bird", None)]),
            Asked("a.PNG"),
        ],
        [],
    )


def test_rows_that_cannot_be_used_cost_no_other(images):
    text = "image,caption\nnone.jpg,A man\n../table.csv,A man\n,A man\nnotes.txt,A man\nhttps://a/b.jpg,A man\na.PNG,\n"
    rows, said = asked(images, f"{text}b.jpg,A cat\nb.jpg,A,cat\n/etc/passwd,x\nb\0.jpg,x\n")
    assert rows == [Asked("a.PNG"), Asked("b.jpg", [("A cat", None)]), Asked("deep/er/c.webp")]
    assert [line.split(" is left out: ")[0].rpartition(", ")[2] for line in said] == [
        f"line {number}" for number in (2, 3, 4, 5, 6, 9, 10, 11)
    ]
    assert "there is no picture 'none.jpg' in --images" in said[0]
    assert all(len(line.splitlines()) == 1 for line in said)


@pytest.mark.parametrize("said", [{"caption": "a cat " * 1_700_000}, {"caption": "x", "phrases": ["a cat " * 3334]}])
def test_a_caption_of_ten_megabytes_is_left_out(images, said):
    rows = [{"image": "a.PNG", "caption": "A cat"}, {"image": "b.jpg", **said}]
    found, told = asked(images, "".join(json.dumps(row) + "\n" for row in rows), name="t.jsonl")
    assert found == [Asked("a.PNG", [("A cat", None)]), Asked("b.jpg"), Asked("deep/er/c.webp")]
    (line,) = told
    assert "line 2 is left out: its captions have " in line
    assert len(line) < 250


def test_a_table_may_name_pictures_from_where_it_lies(images):
    assert asked(images, "image,caption\npictures/b.jpg,A man\n")[0][0] == Asked("b.jpg", [("A man", None)])
    absolute = f"image,caption\n{images / 'b.jpg'},A man\n"
    assert asked(images, absolute)[0][0] == Asked("b.jpg", [("A man", None)])


def test_labels_of_each_picture(images):
    text = "image,class\nb.jpg,red  cell\nb.jpg,platelet|red cell\na.PNG,\n"
    rows, said = asked(images, text + "b.jpg," + "x" * 200 + "\n", "class")
    assert rows == [Asked("b.jpg", [], ["red cell", "platelet"]), Asked("a.PNG", [], []), Asked("deep/er/c.webp")]
    assert [*all_labels(rows)] == ["red cell", "platelet"]
    (line,) = said
    assert "line 5 is left out: label has 200 characters" in line


def test_the_table_that_a_training_on_labels_reads(images):
    Image.new("RGB", (9, 9)).save(images / "b.jpg")
    Image.new("RGB", (9, 9)).save(images / "a.PNG")
    (images / "labels.csv").write_text(
        "image,class,x0,y0,x1,y1\nb.jpg,dog,0,0,5,5\nb.jpg,cat,0,0,5,5\na.PNG,cat,1,1,2,2\n"
    )
    table = images.parent / "labels.jsonl"
    write_labels(read_folder(images), table)
    rows, said = asked(images, table.read_text(), "labels", "labels.jsonl")
    assert rows == [Asked("b.jpg", [], ["cat", "dog"]), Asked("a.PNG", [], ["cat"]), Asked("deep/er/c.webp")]
    assert said == []


def test_a_table_that_holds_the_pictures_itself(images):
    import base64

    import pandas

    content = base64.b64decode("R0lGODlhAQABAAAAACH5BAEAAAAALAAAAAABAAEAAAIA")
    table = images.parent / "t.parquet"
    pandas.DataFrame({"image": [{"bytes": content, "path": "b.jpg"}], "caption": ["x"]}).to_parquet(table)
    said = []
    rows = read_asked(images, NAMES, table, TableOptions(), "", said.append)
    assert [one.name for one in rows] == NAMES
    assert "the table holds the picture itself" in said[0]


@pytest.mark.parametrize(
    ("text", "label_column", "line"),
    [
        ("image,text\nb.jpg,A man\n", "", "has no column 'caption'"),
        ("image,caption\nb.jpg,A man\n", "labels", "has no column 'labels'"),
        ("file,caption\nb.jpg,A man\n", "", "has no column 'image'"),
    ],
)
def test_a_table_without_the_columns_is_refused(images, text, label_column, line):
    with pytest.raises(GroundingError, match=line):
        asked(images, text, label_column)


def test_json_lines_with_lists(images):
    rows = [{"image": "b.jpg", "caption": ["A man", "A boy"]}, {"image": "a.PNG", "caption": "x", "phrases": ["a b"]}]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    assert asked(images, text, name="t.jsonl")[0][:2] == [
        Asked("b.jpg", [("A man", None), ("A boy", None)]),
        Asked("a.PNG", [("x", ("a b",))]),
    ]
