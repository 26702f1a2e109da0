"""The folder of one picture's result."""

import json

import pytest

from grounding.errors import GroundingError
from grounding.images import read_image
from grounding.result_folder import new_folder, write_result
from helpers.results import grounded, grounding_of


def test_a_folder_has_the_overlay_a_map_a_phrase_and_the_values(tmp_path):
    result = grounding_of(grounded("A hat/cap!"), grounded("x" * 60))
    write_result(result, "p.jpg", tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["map-1-a-hat-cap.png", f"map-2-{'x' * 40}.png", "overlay.png", "result.json"]
    assert json.loads((tmp_path / "out" / "result.json").read_text()) == result.to_dict("p.jpg")
    assert read_image(tmp_path / "out" / "overlay.png").shape == (400, 640, 3)
    with pytest.raises(GroundingError, match="overwrite"):
        write_result(result, "p.jpg", tmp_path / "out")
    write_result(grounding_of(grounded()), "p.jpg", tmp_path / "out", overwrite=True)
    assert len(list((tmp_path / "out").iterdir())) == 3


@pytest.mark.parametrize(
    ("path", "name"), [(None, "sample-scene"), ("-", "standard-input"), ("there/p.q.jpg", "p.q"), ("p", "p")]
)
def test_a_new_folder_is_named_after_the_picture(tmp_path, monkeypatch, path, name):
    monkeypatch.chdir(tmp_path)
    assert new_folder(path).as_posix() == f"localized/{name}"
    new_folder(path).mkdir(parents=True)
    assert new_folder(path).as_posix() == f"localized/{name}-2"
