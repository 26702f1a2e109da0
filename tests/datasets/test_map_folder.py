"""Folders of maps: PNG and .npy, by hand, and every error."""

import pickle

import numpy as np
import pytest
from PIL import Image

from helpers.human_maps import cells_of, read
from helpers.labelled import refused, write

ONE = np.eye(1, 64, 5).repeat(64, 0) * np.eye(1, 64, 9).T  # a click at x 5, y 9


def test_an_empty_folder(tmp_path):
    assert f"{tmp_path} holds no map: expected <id>.png or <id>.npy" in refused(read, tmp_path, {"a": (64, 64)})
    write(tmp_path, {"a.jpg": b"x", "._a.png": b"x", "readme.txt": b"x"})
    assert "holds no map" in refused(read, tmp_path, {"a": (64, 64)})


@pytest.mark.parametrize("kind", ["npy", "bool", "1", "L", "I;16"])
def test_one_click(tmp_path, kind):
    folder = tmp_path / "some" / "where"
    folder.mkdir(parents=True)
    if kind in ("npy", "bool"):
        np.save(folder / "a.npy", ONE.astype(np.bool_) if kind == "bool" else 3 * ONE)
    else:
        image = Image.fromarray(ONE.astype(np.uint16 if kind == "I;16" else np.uint8))
        if kind == "1":
            image = Image.fromarray(ONE.astype(np.uint8) * np.uint8(255)).convert("1")
        assert image.mode == kind
        image.save(folder / "a.png")
    found = read(tmp_path, {"a": (64, 64), "b": (1, 1)})
    assert {id_: cells_of(map_) for id_, map_ in found.maps.items()} == {"a": {(5, 9): 1.0}}
    assert found.left_out == {}


def test_counts_of_sixteen_bits_keep_their_ratio(tmp_path):
    counts = np.zeros((64, 64), np.uint16)
    counts[0, :2] = 60000, 20000
    Image.fromarray(counts).save(tmp_path / "a.png")
    assert cells_of(read(tmp_path, {"a": (64, 64)}).maps["a"]) == {(0, 0): 0.75, (1, 0): 0.25}


def test_many(tmp_path):
    for name in ("a", "zero", "other", "wide"):
        map_ = np.zeros((2, 4)) if name == "zero" else np.ones((2, 4))
        np.save(tmp_path / f"{name}.npy", map_)
    found = read(tmp_path, {"photos/wide.jpg": (400, 200), "zero": (40, 20), "a": (40, 20), "none": (1, 1)})
    assert set(found.maps) == {"a", "photos/wide.jpg"}
    assert found.left_out == {"maps of other pictures": 1, "maps that are 0 everywhere": 1}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.npy", b"", "a.npy cannot be read ("),
        ("a.npy", b"\x93NUMPY\x01\x00", "a.npy cannot be read ("),
        ("a.npy", pickle.dumps([1]), "not of objects, which would have to be unpickled"),
        ("a.npy", np.array([[None]]), "not of objects, which would have to be unpickled"),
        ("a.npy", np.ones((2, 4, 3)), "a.npy has shape (2, 4, 3) of float64: expected a map (h, w)"),
        ("a.npy", np.ones((3, 2)), "a.npy is 2 x 3 px and its picture 40 x 20"),
        ("a.npy", np.full((2, 4), np.nan), "a.npy has NaN"),
        ("a.npy", -np.ones((2, 4)), "a.npy has values below 0"),
        ("a.npy", np.zeros((2, 4)), "all 1 maps are 0 everywhere: expected clicks, fixations or weights in one"),
        ("a.png", b"", "a.png cannot be read ("),
        ("a.png", b"\x89PNG\r\n\x1a\nx", "a.png cannot be read ("),
        ("a.png", Image.new("RGB", (4, 2)), "a.png is a picture of mode RGB: expected a grey PNG"),
        ("a.png", Image.new("LA", (4, 2)), "of mode LA"),
        ("a.png", Image.new("P", (4, 2)), "of mode P"),
        ("b.npy", np.ones((2, 4)), "such as 'b.npy', is that of one of the 1 pictures, such as 'a': is it theirs?"),
    ],
    ids=[
        "npy empty",
        "npy cut",
        "pickle",
        "objects",
        "3-D",
        "ratio",
        "nan",
        "negative",
        "zeros",
        "png empty",
        "png damaged",
        "colours",
        "alpha",
        "palette",
        "others",
    ],
)
def test_refused(tmp_path, name, content, said):
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif isinstance(content, Image.Image):
        content.save(tmp_path / name)
    else:
        np.save(tmp_path / name, content)
    assert said in refused(read, tmp_path, {"a": (40, 20)})
