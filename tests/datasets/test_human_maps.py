"""Which reader a source goes to, and sources of no kind."""

import pytest

from helpers.human_maps import read
from helpers.labelled import refused


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none.csv", "none.csv does not exist: expected a folder of <id>.png or <id>.npy, gaze or clicks"),
        ("maps.zip", "maps.zip is of a kind that is not known: expected a folder of"),
        ("maps.npy", "maps.npy is of a kind that is not known"),
        ("clickme.npz", "clickme.npz: the raw release of ClickMe 2.0 (.npz) holds pickled objects"),
        ("t.tfrecords", "unpack it with python -m grounding.train human-maps"),
        ("t.tfrecord", "holds pictures as well as maps"),
        ("train.tfrecords-00001-of-00009", "is of a kind that is not known"),
        ("p.pth", "--output FOLDER, and give FOLDER/maps"),
    ],
)
def test_sources_of_no_kind(tmp_path, name, said):
    if name != "none.csv":
        (tmp_path / name).write_bytes(b"x")
    assert said in refused(read, tmp_path / name, {"a": (64, 64)})
