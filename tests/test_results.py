"""Result records and their pictures, made by hand without any network."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from PIL import ImageColor

from grounding.drawing import map_picture, overlay, phrase_colour
from grounding.errors import GroundingError
from grounding.grounded import Region
from grounding.results import to_json
from grounding.text.phrases import Phrase
from grounding.text.vocabulary import Match
from helpers.results import grounded, grounding_of


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
    empty = replace(grounded(), grid_map=np.zeros((4, 4), np.float32))
    assert empty.phrase_map.sum() == 0
    assert map_picture(np.full((400, 640, 3), 90, np.uint8), empty).size == (640, 400)


def test_the_overlay_draws_each_box_in_its_colour():
    result = grounding_of(grounded(), grounded("a dog", box=(300, 200, 500, 380)))
    pixels = np.asarray(result.overlay())
    assert pixels.shape == (400, 640, 3)
    for index, (x0, y0, x1, y1) in enumerate([(40, 40, 120, 100), (300, 200, 500, 380)]):
        colour = ImageColor.getrgb(phrase_colour(index))
        for x, y in ((x0, y1 - 1), (x1 - 1, y0), (x1 - 1, y1 - 1), (x0, (y0 + y1) // 2), (x1 - 1, (y0 + y1) // 2)):
            assert tuple(pixels[y, x]) == colour
    assert (pixels[395, 5] == 90).all()


def test_an_overlay_without_texts_and_with_wider_lines():
    result = grounding_of(grounded("a hat", box=(100, 100, 300, 300)))
    colour = ImageColor.getrgb(phrase_colour(0))
    for size, width in ((12, 2), (30, 5), (48, 8)):
        drawn = (np.asarray(overlay(result.image, result, size_px=size, texts=False)) == colour).all(2)
        assert drawn[200, 100:200].sum() == width
        assert not drawn[:100, 100:].any()
        assert (np.asarray(overlay(result.image, result, size_px=size)) == colour).all(2)[:100, 100:].any()


@pytest.mark.parametrize("status", ["out-of-vocabulary", "empty-map"])
def test_a_guess_is_not_drawn(status):
    assert (np.asarray(grounding_of(grounded(status=status)).overlay()) == 90).all()


def test_labels_stay_inside_and_apart():
    many = [grounded(f"phrase number {n}", box=(560, 0, 640, 30)) for n in range(8)]
    pixels = np.asarray(grounding_of(*many).overlay())
    for index in range(8):
        assert (pixels == ImageColor.getrgb(phrase_colour(index))).all(2).sum() > 300, index


def strokes(result, colour, **options):
    return (np.asarray(result.overlay(**options)) == ImageColor.getrgb(colour)).all(2)


def test_further_boxes_are_thin_and_dashed_in_the_colour_of_their_phrase():
    boxes = [(40, 40, 120, 100), (300, 200, 500, 380), (10, 300, 90, 390)]
    many = replace(grounded(), regions=tuple(Region(*map(float, box), score=0.5) for box in boxes))
    result = grounding_of(many)
    for top_k, seen in ((1, 1), (2, 2), (3, 3), (9, 3)):
        drawn = strokes(result, phrase_colour(0), top_k=top_k)
        assert [bool(drawn[y0 : y1 + 1, x0 : x1 + 1].any()) for x0, y0, x1, y1 in boxes] == [True] * seen + [False] * (
            3 - seen
        )
    drawn = strokes(result, phrase_colour(0), top_k=2)
    assert drawn[99, 40:120].all()
    assert 0.3 < drawn[379, 300:500].mean() < 0.7
    assert drawn[379, [300, 499]].all()
    assert not drawn[300, 302:498].any()
    with pytest.raises(GroundingError, match="top_k is 0"):
        result.overlay(top_k=0)


def test_an_absent_phrase_is_pale_and_dashed_and_says_its_presence():
    absent = replace(grounded(status="absent", box=(300, 200, 500, 380)), presence=0.034)
    result = grounding_of(absent)
    assert not strokes(result, phrase_colour(0)).any()
    pixels = np.asarray(result.overlay()).astype(int)
    side = (pixels[379, 300:500] != 90).any(1)
    assert 0.3 < side.mean() < 0.7
    colour = pixels[379, 300]
    assert np.ptp(colour) < np.ptp(ImageColor.getrgb(phrase_colour(0)))
    assert colour.tolist() != [90] * 3
    same = grounding_of(replace(absent, phrase=Phrase("a hat (absent 0.03)", 0, 5, "hat"), presence=None))
    np.testing.assert_array_equal(np.asarray(same.overlay()), pixels)
    marked = np.asarray(map_picture(np.full((400, 640, 3), 90, np.uint8), absent)) != np.asarray(
        map_picture(np.full((400, 640, 3), 90, np.uint8), replace(absent, status="no-proposals"))
    )
    assert 0.3 < marked.any(2)[379, 300:500].mean() < 0.7


@pytest.mark.parametrize("size", [(1, 1), (40, 2000), (2000, 40), (320, 320), (3000, 4000)])
@pytest.mark.parametrize("count", [1, 5, 20])
def test_every_phrase_has_its_label_on_pictures_of_any_shape(size, count):
    height, width = size
    many = [
        grounded(f"phrase\nnumber {n}", box=(0.2 * width, 0.3 * height, 0.9 * width, 0.8 * height), size=size)
        for n in range(count)
    ]
    picture = np.asarray(grounding_of(*many, size=size).overlay())
    for index in range(count):
        assert (picture == ImageColor.getrgb(phrase_colour(index))).all(2).sum() > 100, index


def test_of_equal_boxes_each_is_seen():
    box = 300, 200, 500, 380
    pixels = np.asarray(grounding_of(*[grounded(f"a {n}", box=box) for n in "abc"]).overlay())
    for index in range(3):
        colour = (pixels == ImageColor.getrgb(phrase_colour(index))).all(2)
        assert colour[280:370, 300:310].any(1).all(), index


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


def test_scores_fall_in_json_however_small():
    regions = tuple(Region(0.0, 0.0, 9.0, 9.0, score=1e-8 * 0.99**rank) for rank in range(50))
    (phrase,) = grounding_of(replace(grounded(), regions=regions)).to_dict()["phrases"]
    scores = [region["score"] for region in phrase["regions"]]
    assert all(after < before for before, after in pairwise(scores))


def test_json_survives_text_that_is_none():
    assert json.loads(to_json({"path": "\udcff.jpg"}).encode("utf-8")) == {"path": "\udcff.jpg"}


def test_phrases_by_text_and_number():
    result = grounding_of(grounded(), grounded("a dog"))
    assert result["a dog"] is result[1]
    with pytest.raises(KeyError, match="a cat"):
        result["a cat"]
    with pytest.raises(IndexError):
        result[2]


def test_results_cannot_be_written_to():
    result = grounding_of(grounded())
    for array in (result.image, result[0].grid_map, result[0].point_map):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    grid = np.zeros((4, 4), np.float32)
    replace(result[0], grid_map=grid)
    grid[0] = 1  # what the caller holds stays the caller's


def test_a_table_has_a_row_a_region_and_one_for_a_phrase_without():
    both = (Region(1.0, 2.0, 3.0, 4.0, 0.5), Region(5.0, 6.0, 7.0, 8.0, 0.25))
    words = (Match("red", (), "out-of-vocabulary", 0.0), Match("hats", ("hat",), "stem", 1.0))
    absent = replace(grounded("dog", "no-proposals", box=None), phrase=Phrase("dog", None, None, "dog"))
    frame = grounding_of(replace(grounded(), regions=both, words=words), absent).to_frame()
    assert list(frame.index) == [0, 0, 1]
    assert frame.index.name == "position"
    names = "phrase start end head status presence words rank x0 y0 x1 y1 score"
    assert list(frame.columns) == names.split()
    first, second, third = frame.itertuples(index=False)
    told = "red (out-of-vocabulary); hats -> hat (stem)"
    assert tuple(first) == ("a hat", 0, 5, "hat", "localized", 0.75, told, 1, 1.0, 2.0, 3.0, 4.0, 0.5)
    assert tuple(second)[7:] == (2, 5.0, 6.0, 7.0, 8.0, 0.25)
    assert (third.phrase, third.status) == ("dog", "no-proposals")
    assert frame.isna().sum(axis=1).tolist() == [0, 0, 8]  # start, end, rank, the box and the score
    assert (frame.dtypes[["start", "end", "rank"]] == "Int64").all()


def test_a_table_of_nothing_has_the_same_columns():
    empty = grounding_of().to_frame()
    assert len(empty) == 0
    assert empty.dtypes["x0"] == grounding_of(grounded()).to_frame().dtypes["x0"] == np.float64
    assert list(empty.columns) == list(grounding_of(grounded()).to_frame().columns)


def test_no_detections():
    for result in (grounding_of(), grounding_of(grounded(box=None)), grounding_of(grounded(status="absent"))):
        found = result.to_detections()
        assert found.xyxy.shape == (0, 4)
        assert found.data["class_name"].tolist() == []


def test_detections_of_supervision():
    first, guess, last = (
        grounded("a hat"),
        grounded("a dax", "out-of-vocabulary"),
        grounded("a dog", box=(1, 2, 30, 40)),
    )
    first = replace(first, regions=(*first.regions, Region(0, 0, 9, 9, 0.5), Region(0, 0, 5, 5, 0.25)))
    found = grounding_of(first, guess, last).to_detections(top_k=2)
    assert found.xyxy.tolist() == [[40, 40, 120, 100], [0, 0, 9, 9], [1, 2, 30, 40]]
    assert found.confidence.tolist() == [1.25, 0.5, 1.25]
    assert found.class_id.tolist() == [0, 0, 2]
    assert found.data["class_name"].tolist() == ["a hat", "a hat", "a dog"]
    with pytest.raises(GroundingError, match="top_k"):
        grounding_of().to_detections(top_k=0)
