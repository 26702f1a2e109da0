"""Result records and their pictures, made by hand without any network."""

import json

import numpy as np
import pytest
from PIL import ImageColor

from grounding.drawing import map_picture, phrase_colour
from grounding.results import GroundedPhrase, Grounding, Region, to_json
from grounding.text.phrases import Phrase
from grounding.text.vocabulary import Match


def grounded(text="a hat", status="localized", box=(40, 40, 120, 100), size=(400, 640), cell=(0, 0)):
    grid = np.zeros((4, 4), np.float32)
    grid[cell] = 1.0
    regions = () if box is None else (Region(*map(float, box), score=1.25),)
    words = (Match("hat", "hat", "exact", 1.0),)
    return GroundedPhrase(
        Phrase(text, 0, len(text), "hat"), status, words, (60.0, 50.0), regions, grid, grid, size, 0.01
    )


def grounding_of(*phrases, size=(400, 640)):
    return Grounding(np.full((*size, 3), 90, np.uint8), "a hat", "embedded", phrases)


def test_nothing_found_is_a_result_too():
    result = grounding_of()
    assert len(result) == 0
    assert list(result) == []
    assert result.to_dict()["phrases"] == []
    assert (np.asarray(result.overlay()) == 90).all()


@pytest.mark.parametrize("size", [(400, 640), (1, 1), (3, 4000)])
def test_phrase_map_has_image_size_and_sums_to_one(size):
    phrase_map = grounded(size=size).phrase_map
    assert phrase_map.shape == size
    assert phrase_map.dtype == np.float32
    assert phrase_map.sum(dtype=np.float64) == pytest.approx(1, abs=1e-4)


def test_phrase_map_rows_are_y_and_columns_are_x():
    phrase_map = grounded(cell=(0, 3)).phrase_map  # top right
    row, column = np.unravel_index(phrase_map.argmax(), phrase_map.shape)
    assert row < 100
    assert column > 480


def test_an_empty_map_stays_empty():
    found = grounded()
    found.grid_map[:] = 0
    assert found.phrase_map.sum() == 0
    assert map_picture(np.full((400, 640, 3), 90, np.uint8), found).size == (640, 400)


def test_the_overlay_draws_each_box_in_its_colour():
    result = grounding_of(grounded(), grounded("a dog", box=(300, 200, 500, 380)))
    pixels = np.asarray(result.overlay())
    assert pixels.shape == (400, 640, 3)
    for index, (x0, y0, x1, y1) in enumerate([(40, 40, 120, 100), (300, 200, 500, 380)]):
        colour = ImageColor.getrgb(phrase_colour(index))
        for x, y in ((x0, y1 - 1), (x1 - 1, y0), (x1 - 1, y1 - 1), (x0, (y0 + y1) // 2), (x1 - 1, (y0 + y1) // 2)):
            assert tuple(pixels[y, x]) == colour
    assert (pixels[395, 5] == 90).all()


@pytest.mark.parametrize("status", ["out-of-vocabulary", "empty-map"])
def test_a_guess_is_not_drawn(status):
    assert (np.asarray(grounding_of(grounded(status=status)).overlay()) == 90).all()


def test_labels_stay_inside_and_apart():
    many = [grounded(f"phrase number {n}", box=(560, 0, 640, 30)) for n in range(8)]
    pixels = np.asarray(grounding_of(*many).overlay())
    for index in range(8):
        assert (pixels == ImageColor.getrgb(phrase_colour(index))).all(2).sum() > 300, index


def test_colours_differ():
    assert len({phrase_colour(index) for index in range(40)}) == 40


def test_plain_values():
    record = grounding_of(grounded()).to_dict("p.jpg")
    assert record["image"] == {"path": "p.jpg", "width": 640, "height": 400}
    (phrase,) = record["phrases"]
    assert phrase["regions"] == [{"score": 1.25, "box": {"xmin": 40.0, "ymin": 40.0, "xmax": 120.0, "ymax": 100.0}}]
    assert phrase["point"] == {"x": 60.0, "y": 50.0}
    assert phrase["words"] == [{"word": "hat", "tag": "hat", "reason": "exact", "weight": 1.0}]
    assert json.loads(to_json(record)) == record


def test_json_survives_text_that_is_none():
    assert json.loads(to_json({"path": "\udcff.jpg"}).encode("utf-8")) == {"path": "\udcff.jpg"}


def test_phrases_by_text_and_number():
    result = grounding_of(grounded(), grounded("a dog"))
    assert result["a dog"] is result[1]
    with pytest.raises(KeyError, match="a cat"):
        result["a cat"]
    with pytest.raises(IndexError):
        result[2]
