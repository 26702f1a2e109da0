"""Processed maps of ClickMe 2.0: files in the lab's layout, and every error."""

import sys

import h5py
import numpy as np
import pytest

from grounding.datasets.human_maps import Spread
from helpers.human_maps import cells_of, read
from helpers.labelled import refused


def one(x, y, value=1.0):
    map_ = np.zeros((64, 64), np.float32)
    map_[y, x] = value
    return map_


def write(tmp_path, maps, counts=(), paths=True, name="maps.h5"):
    """A file in the lab's layout: maps by the picture's path, and what `/click_counts` says."""
    path = tmp_path / name
    with h5py.File(path, "w") as file:
        file.create_group("metadata").attrs["total_clickmaps"] = len(maps)
        groups = file.create_group("clickmaps")
        for picture, map_ in maps.items():
            group = groups.create_group(picture.replace("/", "_"))
            group.create_dataset("clickmap", data=map_)
            group.create_dataset("bin_clickmaps", data=np.ones((10, 64, 64)))  # growing shares of the clicks
            group.attrs["shape"] = np.shape(map_)
            if paths:
                group.attrs["original_path"] = picture
        told = file.create_group("click_counts")
        for picture, count in dict(counts).items():
            told.create_dataset(picture.replace("/", "_"), data=count)
    return path


def test_an_empty_file(tmp_path):
    path = write(tmp_path, {})
    assert "none of its maps (there is none)" in refused(read, path, {"a": (64, 64)})


@pytest.mark.parametrize("name", ["maps.h5", "maps.HDF5"])
def test_maps_are_finished_and_a_mean_over_people(tmp_path, name):
    # Of three people two look at one place: 2/3 and 1/3. A spread would change that.
    people = np.stack([one(3, 4), one(3, 4), one(5, 6)])
    maps = {"n01/a_1.JPEG": people, "n01/b.JPEG": one(7, 8, 0.2), "n01/c.JPEG": one(9, 9)[None], "d": one(1, 1)}
    path = write(tmp_path, maps, {"n01/a_1.JPEG": 3}, name=name)
    sizes = {"train/n01/a_1.JPEG": (500, 400), "b": (64, 64), "n01/c": (64, 64)}
    found = read(path, sizes, Spread("gaussian", 0.2))
    assert {id_: cells_of(map_) for id_, map_ in found.maps.items()} == {
        "train/n01/a_1.JPEG": pytest.approx({(3, 4): 2 / 3, (5, 6): 1 / 3}),
        "b": {(7, 8): 1},
        "n01/c": {(9, 9): 1},
    }
    assert found.left_out == {"maps of other pictures": 1}


def test_no_click_at_all(tmp_path):
    path = write(tmp_path, {"a": one(1, 1), "b": one(2, 2), "c": one(0, 0, 0)}, {"a": 0, "b": 12})
    found = read(path, {"a": (64, 64), "b": (64, 64), "c": (64, 64)})
    assert set(found.maps) == {"b"}
    assert found.left_out == {"maps without a click": 1, "maps that are 0 everywhere": 1}


def test_without_paths_the_names_count(tmp_path):
    path = write(tmp_path, {"n01/a.JPEG": one(1, 1)}, paths=False)
    assert set(read(path, {"x/n01_a": (64, 64)}).maps) == {"x/n01_a"}
    with h5py.File(path, "a") as file:
        file["clickmaps/n01_a.JPEG"].attrs["original_path"] = np.bytes_("n01/a.JPEG")
    assert set(read(path, {"n01/a": (64, 64)}).maps) == {"n01/a"}


@pytest.mark.parametrize(
    ("map_", "said"),
    [
        (one(1, 1, np.nan), "maps.h5: /clickmaps/a/clickmap has NaN"),
        (one(1, 1, -1), "/clickmaps/a/clickmap has values below 0"),
        (np.ones((2, 3, 4, 5)), "/clickmaps/a/clickmap has shape (2, 3, 4, 5)"),
        (np.ones((0, 4, 5)), "/clickmaps/a/clickmap has shape (0, 4, 5)"),
        (np.ones((64, 32)), "/clickmaps/a/clickmap is 32 x 64 px and its picture 64 x 64"),
    ],
    ids=["nan", "negative", "4-D", "nobody", "ratio"],
)
def test_damaged_maps(tmp_path, map_, said):
    assert said in refused(read, write(tmp_path, {"a": map_}), {"a": (64, 64)})


def test_other_files(tmp_path):
    path = tmp_path / "m.h5"
    expected = "expected HDF5 with /clickmaps/<picture>/clickmap"
    path.write_bytes(b"no HDF5")
    assert expected in refused(read, path, {"a": (64, 64)})
    with h5py.File(path, "w") as file:
        file["maps"] = 1
    assert expected in refused(read, path, {"a": (64, 64)})
    with h5py.File(path, "w") as file:
        file["clickmaps"] = 1
    assert expected in refused(read, path, {"a": (64, 64)})
    with h5py.File(path, "w") as file:
        file.create_group("clickmaps/a")
    assert expected in refused(read, path, {"a": (64, 64)})
    whole = write(tmp_path, {"a": one(1, 1)}).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert expected in refused(read, path, {"a": (64, 64)})


def test_without_h5py(tmp_path, monkeypatch):
    path = write(tmp_path, {"a": one(1, 1)})
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert "needs h5py: install it with pip install 'grounding[human-maps]'" in refused(read, path, {"a": (64, 64)})
