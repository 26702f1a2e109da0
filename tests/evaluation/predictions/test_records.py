"""A prediction as a JSON object and back: what is read, what is refused and with which words, what is kept."""

import json
import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from grounding.errors import GroundingError
from grounding.evaluation.predictions.prediction import Prediction
from grounding.evaluation.predictions.records import KEYS as KEYS_OF_A_LINE
from grounding.evaluation.predictions.records import as_stored, prediction_from_json, prediction_to_json
from helpers.paths import ROOT
from helpers.predictions import KEYS, parts, png, read_lines, record


@pytest.fixture
def read(tmp_path):
    return partial(read_lines, tmp_path)


def test_only_the_four_keys_are_needed():
    key, prediction = prediction_from_json({"image": 11, "sentence": 1, "phrase": 2, "boxes": []})
    assert key == ("11", 1, 2)
    assert prediction.boxes.shape == (0, 4)
    assert (prediction.scores, prediction.point, prediction.map, prediction.proposal_iou) == (None,) * 4
    assert prediction.presence is None


def test_every_key_is_read():
    values = record(
        scores=[0.5],
        point=[7, 8.5],
        map=[[0, 1.5], [2, 0]],
        point_map=png([[0, 51, 255]]),
        status="empty-map",
        proposal_iou=[0.93, 0.91],
        presence=0.25,
    )
    assert parts(prediction_from_json(values)[1]) == {
        "boxes": [[1.0, 2.0, 3.0, 4.0]],
        "scores": [0.5],
        "point": (7.0, 8.5),
        "map": [[0.0, 1.5], [2.0, 0.0]],
        "point_map": [[0.0, 51.0, 255.0]],
        "status": "empty-map",
        "proposal_iou": (0.93, 0.91),
        "presence": 0.25,
    }


def test_base64_may_have_line_breaks():
    text = png([[0, 51, 255]])
    _, prediction = prediction_from_json(record(map=text[:40] + "\n" + text[40:] + "\n"))
    assert prediction.map.tolist() == [[0, 51, 255]]


def test_null_is_the_same_as_left_out():
    values = dict.fromkeys(("scores", "point", "map", "point_map", "status", "proposal_iou", "presence"))
    assert parts(prediction_from_json(record(**values))[1]) == parts(prediction_from_json(record())[1])


@pytest.mark.parametrize(
    ("scores", "order"),
    [
        (None, [0, 1, 2, 3]),
        ([1, 1, 1, 1], [0, 1, 2, 3]),
        ([0.1, 0.7, 0.1, 0.7], [1, 3, 0, 2]),
        ([-3, -2, -1, 0], [3, 2, 1, 0]),
    ],
)
def test_boxes_are_sorted_by_score_and_ties_keep_their_order(scores, order):
    boxes = [[place, 0, 10, 10] for place in range(4)]
    _, prediction = prediction_from_json(record(boxes=boxes, scores=scores))
    assert prediction.boxes[:, 0].tolist() == order
    assert scores is None or prediction.scores.tolist() == sorted(scores, reverse=True)


def test_many_ties_keep_their_order():
    boxes = [[place, 0, 100, 10] for place in range(100)]
    _, prediction = prediction_from_json(record(boxes=boxes, scores=[place % 2 for place in range(100)]))
    assert prediction.boxes[:, 0].tolist() == [*range(1, 100, 2), *range(0, 100, 2)]


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({}, "localized"),
        ({"boxes": []}, "no-proposals"),
        ({"boxes": [], "point": [1, 1]}, "localized"),
        ({"boxes": [], "map": [[1]]}, "no-proposals"),
        ({"status": "out-of-vocabulary"}, "out-of-vocabulary"),
    ],
)
def test_status(values, status):
    assert prediction_from_json(record(**values))[1].status == status


WRONG = [
    ({"image": None}, "'image' is missing"),
    ({"boxes": None}, "'boxes' is missing"),
    ({"image": 1.5}, "the image is 1.5: expected its id"),
    ({"image": True}, "the image is True: expected its id"),
    ({"sentence": -1}, "sentence is -1: expected a whole number from 0"),
    ({"sentence": 1.0}, "sentence is 1.0: expected a whole number from 0"),
    ({"phrase": "2"}, "phrase is '2': expected a whole number from 0"),
    ({"phrase": True}, "phrase is True: expected a whole number from 0"),
    ({"boxes": "all"}, "boxes is 'all': expected a list of"),
    ({"boxes": [1, 2, 3, 4]}, r"boxes\[0\] is 1: expected four numbers"),
    ({"boxes": [[1, 2, 3, 4], [1, 2, 3]]}, r"boxes\[1\] is \[1, 2, 3\]: expected four numbers"),
    ({"boxes": [[1, 2, 3]]}, r"boxes\[0\] is \[1, 2, 3\]: expected four numbers"),
    ({"boxes": [[]]}, r"boxes\[0\] is \[\]: expected four numbers"),
    ({"boxes": [[1, 2, 3, "4"]]}, r"boxes\[0\] is \[1, 2, 3, '4'\]: expected four numbers"),
    ({"boxes": [[1, 2, 3, None]]}, r"boxes\[0\] is \[1, 2, 3, None\]: expected four numbers"),
    ({"boxes": [[1, 2, 3, 4], [5, 6, 4, 9]]}, r"boxes\[1\] is \[5, 6, 4, 9\]: expected finite .* x0 <= x1"),
    ({"boxes": [[1, 2, 3, 1]]}, r"boxes\[0\] is \[1, 2, 3, 1\]: expected finite"),
    ({"boxes": [[1, 2, float("nan"), 4]]}, r"boxes\[0\] is \[1, 2, nan, 4\]: expected finite"),
    ({"boxes": [[1, 2, float("inf"), 4]]}, r"boxes\[0\] is \[1, 2, inf, 4\]: expected finite"),
    ({"scores": [0.1, 0.2]}, "scores is 2 numbers: expected 1 finite numbers, one a box"),
    ({"scores": []}, "scores is 0 numbers: expected 1 finite numbers, one a box"),
    ({"scores": 0.9}, "scores is 0.9: expected 1 finite numbers"),
    ({"scores": [float("nan")]}, r"scores is \[nan\]: expected 1 finite numbers"),
    ({"scores": ["high"]}, r"scores is \['high'\]: expected 1 finite numbers"),
    ({"point": [1]}, "point is 1 numbers: expected two finite numbers, x and y"),
    ({"point": {"x": 1, "y": 2}}, "point is {'x': 1, 'y': 2}: expected two finite numbers"),
    ({"point": [1, float("inf")]}, r"point is \[1, inf\]: expected two finite numbers"),
    ({"map": "@"}, "map is '@', which cannot be read: expected a greyscale 8-bit PNG in base64"),
    ({"map": "QUJD"}, "map is 'QUJD', which cannot be read"),
    ({"map": "ä"}, "map is 'ä', which cannot be read"),
    ({"map": png(np.eye(40) * 255)[:80]}, "map is 'iVBOR.*, which cannot be read"),
    ({"map": png([[0, 9]], "RGB")}, r"map is a PNG of another kind \(Pillow calls it RGB\)"),
    ({"point_map": png([[0, 9]], "1")}, r"point_map is a PNG of another kind \(Pillow calls it 1\)"),
    ({"map": [[1, 2], [3]]}, r"map is \[\[1, 2\], \[3\]\]: expected rows of numbers of one length"),
    ({"map": []}, r"map is \[\]: expected rows"),
    ({"map": [[]]}, r"map is \[\[\]\]: expected rows"),
    ({"map": [1, 2]}, r"map is \[1, 2\]: expected rows"),
    ({"map": 3}, "map is 3: expected rows"),
    ({"map": [[1, -0.1]]}, "map has a value below 0, or one that is not finite"),
    ({"map": [[1, float("nan")]]}, "map has a value below 0, or one that is not finite"),
    ({"map": [[1, 1e300]]}, "map has a value below 0, or one that is not finite"),
    ({"status": 3}, "status is 3: expected a word"),
    ({"status": "missing"}, "status is 'missing': expected a word"),
    ({"status": ""}, "status is '': expected a word"),
    ({"proposal_iou": [0.5]}, "proposal_iou is 1 numbers: expected two numbers from 0 to 1"),
    ({"presence": 1.5}, "presence is 1.5: expected a probability from 0 to 1"),
    ({"presence": "0.5"}, "presence is '0.5': expected a probability"),
    ({"presence": float("nan")}, "presence is nan: expected a probability"),
    ({"presence": True}, "presence is True: expected a probability"),
    ({"proposal_iou": [0.5, 1.5]}, r"proposal_iou is \[0.5, 1.5\]: expected two numbers from 0 to 1"),
]


@pytest.mark.parametrize(("values", "message"), WRONG)
def test_a_wrong_value_is_named_with_its_line(values, message, read):
    with pytest.raises(GroundingError, match=rf"^\S*theirs\.jsonl, line 2: {message}") as caught:
        read([record(KEYS[1]), record() | values])
    assert "\n" not in str(caught.value)


def test_the_documented_format():
    text = (ROOT / "docs" / "reference" / "predictions.md").read_text()
    example = json.loads(re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[0])
    key, prediction = prediction_from_json(example)
    assert key == ("1000092795", 0, 2)
    assert (len(prediction.boxes), prediction.point) == (2, (96.5, 130))
    assert tuple(re.findall(r"^\| `(\w+)` \| (?:required)? ?\|", text, re.MULTILINE)) == KEYS_OF_A_LINE


# The round trip

finite = st.floats(-1e5, 1e5)
maps = st.none() | arrays(np.float32, (3, 4), elements=st.floats(0, float(np.float32(1e30)), width=32))


@st.composite
def predictions(draw):
    count = draw(st.integers(0, 4))
    corners = draw(arrays(np.float64, (count, 2, 2), elements=finite))
    return Prediction(
        boxes=np.sort(corners, 1).reshape(-1, 4),
        scores=draw(st.none() | arrays(np.float64, count, elements=finite)),
        point=draw(st.none() | st.tuples(finite, finite)),
        map=draw(maps),
        point_map=draw(maps),
        status=draw(st.sampled_from(["localized", "no-proposals", "empty-map"])),
        proposal_iou=draw(st.none() | st.tuples(st.floats(0, 1), st.floats(0, 1))),
        presence=draw(st.none() | st.floats(0, 1)),
    )


@given(predictions())
def test_a_second_round_trip_changes_nothing(prediction):
    key, once = prediction_from_json(json.loads(json.dumps(prediction_to_json(("7", 1, 2), prediction))))
    again, twice = prediction_from_json(json.loads(json.dumps(prediction_to_json(key, once))))
    assert key == again == ("7", 1, 2)
    assert parts(once) == parts(twice)
    assert once.map is None or twice.map.dtype == np.uint8


@given(predictions())
def test_the_first_round_trip_only_rounds(prediction):
    _, found = prediction_from_json(prediction_to_json(("7", 1, 2), prediction))
    order = range(len(prediction.boxes))
    if prediction.scores is not None:
        order = np.argsort(-prediction.scores.round(6), kind="stable")
        np.testing.assert_allclose(found.scores, prediction.scores[order], rtol=0, atol=6e-7)
    np.testing.assert_allclose(found.boxes, prediction.boxes[list(order)], rtol=0, atol=0.0051)
    assert (found.status, found.point is None) == (prediction.status, prediction.point is None)
    if prediction.point is not None:
        np.testing.assert_allclose(found.point, prediction.point, rtol=0, atol=0.0051)
    for before, after in ((prediction.map, found.map), (prediction.point_map, found.point_map)):
        if before is not None:
            highest = float(before.max())
            assert after.max() == (255 if highest > 0 else 0)
            np.testing.assert_allclose(after * (highest / 255), before, rtol=1e-6, atol=highest / 509)


@given(predictions())
def test_what_is_kept_is_what_a_file_gives_back(prediction):
    if prediction.scores is not None:
        prediction = replace(prediction, scores=-np.sort(-prediction.scores))
    kept = as_stored(prediction)
    _, read_back = prediction_from_json(json.loads(json.dumps(prediction_to_json(("7", 1, 2), prediction))))
    assert parts(kept) == parts(read_back)
    assert kept.map is None or kept.map.dtype == read_back.map.dtype == np.uint8


def test_the_documented_decimals():
    prediction = Prediction(
        np.array([[1.005, 2.346, 3.3333, 4]]),
        np.array([0.12345678]),
        (1.239, 2.0),
        np.array([[0, 1], [2, 4]], np.float32),
        None,
        "localized",
        (2 / 3, 1.0),
        2 / 3,
    )
    values = prediction_to_json(("7", 0, 1), prediction)
    assert values == {
        "image": "7",
        "sentence": 0,
        "phrase": 1,
        "boxes": [[1.0, 2.35, 3.33, 4.0]],
        "scores": [0.123457],
        "point": [1.24, 2.0],
        "map": png([[0, 64], [128, 255]]),
        "status": "localized",
        "proposal_iou": [0.666667, 1.0],
        "presence": 0.666667,
    }


def test_an_empty_map_stays_empty():
    values = prediction_to_json(("7", 0, 1), Prediction(map=np.zeros((2, 3), np.float32)))
    assert prediction_from_json(values)[1].map.tolist() == [[0, 0, 0], [0, 0, 0]]
