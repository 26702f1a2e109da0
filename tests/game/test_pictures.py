"""Which pictures are played, what they show, and where that is in catch pictures."""

import os
from functools import partial

import pytest
from PIL import Image

from grounding.game.pictures import read_pictures, with_catch
from helpers.labelled import refused


def picture(path, size=(30, 20), **saved):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path, **saved)


def test_folders_without_anything_to_play(tmp_path):
    assert "is no folder" in refused(read_pictures, tmp_path / "none")
    assert "has nothing to play (it holds no picture)" in refused(read_pictures, tmp_path)
    picture(tmp_path / "one.jpg")
    assert "has nothing to play (pictures without a label: 1)" in refused(read_pictures, tmp_path)


def test_categories_are_the_folders_of_pictures(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    picture(tmp_path / "animals" / "cat" / "b.PNG")
    picture(tmp_path / "traffic_light" / "a.jpg", exif=turned)
    picture(tmp_path / "top.jpg")
    picture(tmp_path / ".hidden" / "c.jpg")
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "cat" / "text.txt").write_text("text")
    found = read_pictures(tmp_path)
    assert [(each.name, each.category, each.width, each.height) for each in found.pictures] == [
        ("animals/cat/b.PNG", "cat", 30, 20),
        ("traffic_light/a.jpg", "traffic light", 20, 30),  # upright
    ]
    assert found.left_out == {"files that are no picture": 1, "pictures without a label": 1}


def test_names_that_no_table_can_hold_are_left_out(tmp_path):
    picture(tmp_path / "cat" / "a.jpg")
    (tmp_path / "cat" / "a.jpg").rename(tmp_path / "cat" / os.fsdecode(b"\xff.jpg"))
    picture(tmp_path / " cat" / "b.jpg")
    picture(tmp_path / "cat" / "c.jpg")
    found = read_pictures(tmp_path)
    assert [each.name for each in found.pictures] == ["cat/c.jpg"]
    assert found.left_out == {"pictures with names that are no UTF-8, or begin or end with a space": 2}


def test_two_pictures_that_differ_in_their_ending(tmp_path):
    picture(tmp_path / "cat" / "a.jpg")
    picture(tmp_path / "cat" / "a.png")
    assert "--images has cat/a.jpg and cat/a.png, whose maps would have one name" in refused(read_pictures, tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l.csv", "image,label\nx/a.jpg,cat\n./b.jpg,hot_dog\n"),
        ("l.csv", "image;label;more\nx/a.jpg;cat;1\nb.jpg;hot dog;2\n"),
        ("l.jsonl", '{"image": "x/a.jpg", "label": "cat"}\n{"image": "b.jpg", "label": "hot dog"}\n'),
    ],
)
def test_labels_of_a_table(tmp_path, name, content):
    for each in ("x/a.jpg", "b.jpg", "x/c.jpg"):
        picture(tmp_path / "p" / each)
    (tmp_path / name).write_text(content)
    found = read_pictures(tmp_path / "p", tmp_path / name)
    assert [(each.name, each.category) for each in found.pictures] == [("b.jpg", "hot dog"), ("x/a.jpg", "cat")]
    assert found.left_out == {"pictures without a label": 1}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("image,text\na.jpg,cat\n", "has no column 'label'"),
        ("image,label\nb.jpg,cat\n", "l.csv, row 2: there is no picture 'b.jpg' below --images"),
        ("image,label\n../a.jpg,cat\n", "there is no picture '../a.jpg' below --images"),
        ("image,label\na.jpg,\n", "row 2: expected the path of a picture and its label"),
        ("image,label\na.jpg,cat\na.jpg,dog\n", "row 3: a.jpg has the label 'cat' already"),
    ],
)
def test_damaged_labels(tmp_path, content, said):
    picture(tmp_path / "p" / "a.jpg")
    (tmp_path / "l.csv").write_text(content)
    assert said in refused(read_pictures, tmp_path / "p", tmp_path / "l.csv")


def caught(tmp_path, *lines, header="image,x0,y0,x1,y1"):
    for name in ("a", "b"):
        picture(tmp_path / "p" / "cat" / f"{name}.jpg")
    (tmp_path / "catch.csv").write_text("\n".join([header, *lines]))
    return with_catch(read_pictures(tmp_path / "p"), tmp_path / "catch.csv")


def test_catch_pictures_have_boxes(tmp_path):
    found = caught(tmp_path, "cat/a.jpg,0,0,10,10", "cat/a.jpg,20,-5,40,8")
    assert [each.boxes for each in found.pictures] == [((0, 0, 10, 10), (20, 0, 30, 8)), ()]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["cat/c.jpg,0,0,1,1"], "line 2: 'cat/c.jpg' is none of the pictures that are played"),
        (["cat/a.jpg,0,0,1"], "line 2: expected image,x0,y0,x1,y1"),
        (["cat/a.jpg,0,0,1,1,1"], "line 2: expected image,x0,y0,x1,y1"),
        (["cat/a.jpg,0,0,one,1"], "'one' is no number"),
        (["cat/a.jpg,0,0,nan,1"], "'nan' is no number"),
        (["cat/a.jpg,5,0,5,1"], "the box holds nothing of the 30 x 20 px"),
        (["cat/a.jpg,0,0,30,7"], "cover more than a third of cat/a.jpg"),
        (["cat/a.jpg,0,0,9,9", "cat/b.jpg,0,0,9,9"], "names every picture"),
        (['cat/a.jpg,"0,0,9,9'], "cannot be read"),
    ],
)
def test_damaged_catch_tables(tmp_path, lines, said):
    assert said in refused(caught, tmp_path, *lines)


def test_a_catch_table_without_columns(tmp_path):
    assert "has no column x0: expected image,x0,y0,x1,y1" in refused(partial(caught, header="image,box"), tmp_path)
    assert "cannot be read (No such file" in refused(with_catch, read_pictures(tmp_path / "p"), tmp_path / "none.csv")
