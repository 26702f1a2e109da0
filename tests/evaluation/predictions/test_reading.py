"""Files of predictions: which records they may hold, and what a person is told."""

import json
from functools import partial

import pytest

from grounding.errors import GroundingError
from grounding.evaluation.predictions.reading import read_predictions
from helpers.predictions import IMAGES, KEYS, SPLITS, complete, read_lines, record


@pytest.fixture
def read(tmp_path):
    return partial(read_lines, tmp_path)


def test_a_complete_file_is_read_without_notes(read):
    loaded = read([*complete(record(KEYS[2], boxes=[], status="empty-map")), "", "  "])
    assert set(loaded.predictions) == set(KEYS)
    assert loaded.notes == ()
    assert loaded.predictions[KEYS[2]].status == "empty-map"


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([record(), "{"], "line 2 is not JSON: Expecting property name"),
        ([record(), "", "[1]"], r"line 3: \[1\] is no object"),
        (["\ufeff[" * 5000], "line 1 is not JSON"),
        ([record(KEYS[1]), record(), "", record(image=11)], "line 4: image 11, sentence 0, phrase 0 stands in line 2"),
        ([], "theirs.jsonl has no predictions"),
        (
            [record(map=[[1, 2]]), record(KEYS[1], map=[[1], [2]])],
            "line 2: its map is 2 x 1, in line 1 it is 1 x 2: expected one shape for all maps of image 11",
        ),
        (
            [record(point_map=[[1, 2]]), record(KEYS[1], point_map=[[1]])],
            "line 2: its point_map .* is 1 x 1, in line 1",
        ),
        (
            [record(map=[[1, 2]]), record(KEYS[1], point_map=[[1]])],
            r"line 2: its point_map \(or the map in its place\) is 1 x 1, in line 1 it is 1 x 2",
        ),
        (
            [record(), record(("11", 0, 3)), record(("12", 2, 0))],
            r"2 of 3 predictions are for phrases that do not exist \(first: image 11, sentence 0, phrase 3, line 2\)",
        ),
        (
            complete()[:4],
            r"2 of 6 phrases with a box have no prediction \(first: image 12, sentence 0, phrase 2; phrases count",
        ),
        (
            [record(("21", 0, 0)), record(("22", 0, 0))],
            r"2 of 2 predictions are for images that are not in split 'val' \(first: 21, line 1\); "
            "they are in 'test': pass --split test$",
        ),
        (
            [record(), "", record(("21", 0, 0))],
            r"1 of 2 predictions .* \(first: 21, line 3\); they are in 'test': expected the images of one split$",
        ),
        (
            [record(("11.jpg", 0, 0))],
            r"first: 11.jpg, line 1\); they are in no split of these annotations: expected ids",
        ),
        (
            [record(("21", 0, 0)), record(("22", 0, 0)), record(("31", 0, 0)), record(("5", 0, 0))],
            "2 are in test; 1 are in train; 1 are in no split$",
        ),
    ],
)
def test_what_is_wrong_with_a_file(records, message, read):
    with pytest.raises(GroundingError, match=message) as caught:
        read(records)
    assert "theirs.jsonl" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_maps_of_different_images_may_differ_in_shape(read):
    read(complete(record(KEYS[0], map=[[1, 2]]), record(KEYS[3], map=[[1]])))


def test_a_map_and_a_point_map_may_differ_in_shape(read):
    read(complete(*(record(key, map=[[1]], point_map=[[1, 2]]) for key in KEYS)))


def test_a_phrase_without_a_box_needs_no_prediction_and_a_prediction_for_it_is_ignored(read):
    loaded = read(complete(record(("11", 0, 1))))
    assert set(loaded.predictions) == set(KEYS)
    assert loaded.notes == ("1 prediction for phrases without a box: ignored",)


def test_predictions_for_images_that_are_not_evaluated_are_ignored(read):
    loaded = read([*complete(), record(("13", 8, 8))], images=IMAGES[:1])
    assert set(loaded.predictions) == set(KEYS[:3])
    assert loaded.notes == ("4 predictions for images of 'val' not evaluated: ignored",)


def test_missing_predictions_are_noted_where_they_are_allowed(read):
    loaded = read([record(("11", 0, 1)), *complete()[:4]], allow_missing=True)
    assert set(loaded.predictions) == set(KEYS[:4])
    assert loaded.notes == (
        "1 prediction for phrases without a box: ignored",
        "2 of 6 phrases have no prediction: counted as misses",
    )


def test_unknown_keys_are_noted_once(read):
    loaded = read([record(key, label="x") for key in KEYS[:5]] + [record(KEYS[5], label="x", time=1)])
    assert loaded.notes == ("ignored keys: label (6 times), time (1 time)",)


@pytest.mark.parametrize(
    ("box", "note"),
    [
        ([-9, -4, 209, 104], None),
        ([0, 0, 211, 50], "1 prediction with a box that leaves its photograph by over 5% of a side"),
        ([0, -6, 20, 50], "1 prediction with a box that leaves its photograph by over 5% of a side"),
        ([0, 0, 20, 190], "1 prediction with a box that leaves its photograph by over 5% of a side"),
    ],
)
def test_boxes_far_outside_the_photograph_are_noted(box, note, read):
    notes = read(complete(record(boxes=[[0, 0, 200, 100], box]))).notes
    assert (notes == ()) if note is None else notes[0].startswith(note)


def test_relative_boxes_are_noted(read):
    notes = read([record(key, boxes=[[0, 0.2, 1, 0.9]]) for key in KEYS]).notes
    doubt = (
        "predictions have no box that reaches beyond 1 px: are they relative? expected px of the original photograph"
    )
    assert notes == (f"6 of 6 {doubt}",)
    notes = read([record(key, boxes=[[0, 0.2, 1 + (place == 0), 0.9]]) for place, key in enumerate(KEYS)]).notes
    assert notes == (f"5 of 6 {doubt}",)


def test_only_some_unknown_keys_are_named(read):
    notes = read(complete(record(**{f"extra{number}": 1 for number in range(9)}))).notes
    assert notes == (f"ignored keys: {', '.join(f'extra{number} (1 time)' for number in range(5))} and 4 more",)


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "theirs.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(record()).encode() + b"\r\n")
    assert set(read_predictions(path, IMAGES, "val", SPLITS, True).predictions) == {KEYS[0]}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("theirs.json", "end in '.json': expected .jsonl or .parquet"),
        ("gone.jsonl", "cannot be read: No such file"),
        ("gone.parquet", "cannot be read: .*No such file"),
        ("broken.parquet", "cannot be read: "),
    ],
)
def test_a_file_that_cannot_be_read(name, message, tmp_path):
    (tmp_path / "broken.parquet").write_text("not parquet")
    with pytest.raises(GroundingError, match=message) as caught:
        read_predictions(tmp_path / name, IMAGES, "val", SPLITS, False)
    assert "\n" not in str(caught.value)
