"""Predictions in and out of files: what is read, what is refused and with which words, and that files agree."""

import base64
import io
import json
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pyarrow import parquet

from grounding.datasets.flickr30k import EntityImage, EntityPhrase
from grounding.errors import GroundingError
from grounding.evaluation.predictions.parquet import read_parquet, write_parquet
from grounding.evaluation.predictions.prediction import Prediction
from grounding.evaluation.predictions.reading import read_predictions
from grounding.evaluation.predictions.records import KEYS as KEYS_OF_A_LINE
from grounding.evaluation.predictions.records import prediction_from_json, prediction_to_json
from grounding.evaluation.protocols.measure import measure
from helpers.paths import ROOT


def entity_image(name):
    """Sentence 0: a man (boxed), the air (not), a dog (boxed); sentence 1: a dog (boxed). 200 x 100 px."""
    phrases = [
        EntityPhrase(0, 0, "a man", 0, 5, "1", ("people",)),
        EntityPhrase(0, 1, "the air", 14, 21, "0", ("notvisual",)),
        EntityPhrase(0, 2, "a dog", 25, 30, "2", ("animals", "other")),
        EntityPhrase(1, 0, "A dog", 0, 5, "2", ("animals", "other")),
    ]
    boxes = {"1": np.array([[0.0, 0, 40, 50], [60, 0, 100, 50]]), "2": np.array([[100.0, 50, 200, 100]])}
    captions = ("a man throws the air to a dog", "A dog runs")
    return EntityImage(name, 200, 100, captions, tuple(phrases), boxes, frozenset(), frozenset())


IMAGES = [entity_image("11"), entity_image("12")]
SPLITS = {"train": ["31"], "val": ["11", "12", "13"], "test": ["21", "22"]}
KEYS = [(image.id, phrase.sentence, phrase.index) for image in IMAGES for phrase in image.boxed_phrases]


def record(key=("11", 0, 0), **values):
    return dict(zip(("image", "sentence", "phrase"), key, strict=True)) | {"boxes": [[1, 2, 3, 4]]} | values


def complete(*changed):
    """One record a phrase with a box; those given replace theirs."""
    done = {(values["image"], values["sentence"], values["phrase"]) for values in changed}
    return [*changed, *(record(key) for key in KEYS if key not in done)]


@pytest.fixture
def read(tmp_path):
    def call(records, images=IMAGES, split="val", allow_missing=False):
        path = tmp_path / "theirs.jsonl"
        path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in records))
        return read_predictions(path, images, split, SPLITS, allow_missing)

    return call


def png(array, mode="L"):
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(array, np.uint8)).convert(mode).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def parts(prediction):
    def plain(value):
        return value.tolist() if isinstance(value, np.ndarray) else value

    fields = ("boxes", "scores", "point", "map", "point_map", "status", "proposal_iou")
    return {name: plain(getattr(prediction, name)) for name in fields}


# One prediction


def test_only_the_four_keys_are_needed():
    key, prediction = prediction_from_json({"image": 11, "sentence": 1, "phrase": 2, "boxes": []})
    assert key == ("11", 1, 2)
    assert prediction.boxes.shape == (0, 4)
    assert (prediction.scores, prediction.point, prediction.map, prediction.proposal_iou) == (None,) * 4


def test_every_key_is_read():
    values = record(
        scores=[0.5],
        point=[7, 8.5],
        map=[[0, 1.5], [2, 0]],
        point_map=png([[0, 51, 255]]),
        status="empty-map",
        proposal_iou=[0.93, 0.91],
    )
    assert parts(prediction_from_json(values)[1]) == {
        "boxes": [[1.0, 2.0, 3.0, 4.0]],
        "scores": [0.5],
        "point": (7.0, 8.5),
        "map": [[0.0, 1.5], [2.0, 0.0]],
        "point_map": [[0.0, 51.0, 255.0]],
        "status": "empty-map",
        "proposal_iou": (0.93, 0.91),
    }


def test_base64_may_have_line_breaks():
    text = png([[0, 51, 255]])
    _, prediction = prediction_from_json(record(map=text[:40] + "\n" + text[40:] + "\n"))
    assert prediction.map.tolist() == [[0, 51, 255]]


def test_null_is_the_same_as_left_out():
    values = dict.fromkeys(("scores", "point", "map", "point_map", "status", "proposal_iou"))
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
    ({"proposal_iou": [0.5, 1.5]}, r"proposal_iou is \[0.5, 1.5\]: expected two numbers from 0 to 1"),
]


@pytest.mark.parametrize(("values", "message"), WRONG)
def test_a_wrong_value_is_named_with_its_line(values, message, read):
    with pytest.raises(GroundingError, match=rf"^\S*theirs\.jsonl, line 2: {message}") as caught:
        read([record(KEYS[1]), record() | values])
    assert "\n" not in str(caught.value)


def test_the_documented_format():
    text = (ROOT / "docs" / "predictions.md").read_text()
    example = json.loads(re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[0])
    key, prediction = prediction_from_json(example)
    assert key == ("1000092795", 0, 2)
    assert (len(prediction.boxes), prediction.point) == (2, (96.5, 130))
    assert tuple(re.findall(r"^\| `(\w+)` \| (?:needed)? ?\|", text, re.MULTILINE)) == KEYS_OF_A_LINE


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


def test_the_documented_decimals():
    prediction = Prediction(
        np.array([[1.005, 2.346, 3.3333, 4]]),
        np.array([0.12345678]),
        (1.239, 2.0),
        np.array([[0, 1], [2, 4]], np.float32),
        None,
        "localized",
        (2 / 3, 1.0),
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
    }


def test_an_empty_map_stays_empty():
    values = prediction_to_json(("7", 0, 1), Prediction(map=np.zeros((2, 3), np.float32)))
    assert prediction_from_json(values)[1].map.tolist() == [[0, 0, 0], [0, 0, 0]]


# Whole files


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
    assert loaded.notes == ("1 predictions are for phrases without a box: ignored",)


def test_predictions_for_images_that_are_not_evaluated_are_ignored(read):
    loaded = read([*complete(), record(("13", 8, 8))], images=IMAGES[:1])
    assert set(loaded.predictions) == set(KEYS[:3])
    assert loaded.notes == ("4 predictions are for images of 'val' that are not evaluated: ignored",)


def test_missing_predictions_are_noted_where_they_are_allowed(read):
    loaded = read([record(("11", 0, 1)), *complete()[:4]], allow_missing=True)
    assert set(loaded.predictions) == set(KEYS[:4])
    assert loaded.notes == (
        "1 predictions are for phrases without a box: ignored",
        "2 of 6 phrases have no prediction: counted as misses",
    )


def test_unknown_keys_are_noted_once(read):
    loaded = read([record(key, label="x") for key in KEYS[:5]] + [record(KEYS[5], label="x", time=1)])
    assert loaded.notes == ("ignored keys: label (6 times), time (1 times)",)


@pytest.mark.parametrize(
    ("box", "note"),
    [
        ([-9, -4, 209, 104], None),
        ([0, 0, 211, 50], "1 predictions have a box that leaves its photograph by over 5% of a side"),
        ([0, -6, 20, 50], "1 predictions have a box that leaves its photograph by over 5% of a side"),
        ([0, 0, 20, 190], "1 predictions have a box that leaves its photograph by over 5% of a side"),
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
    assert notes == (f"ignored keys: {', '.join(f'extra{number} (1 times)' for number in range(5))} and 4 more",)


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


# Parquet


def varied():
    """Predictions of every kind, one phrase without any."""
    generator = np.random.default_rng(0)
    full = Prediction(
        np.array([[1.0, 2, 30, 40], [5, 5, 5, 9.5]]),
        np.array([0.75, 0.5]),
        (3.5, 4.25),
        generator.random((4, 4), np.float32),
        generator.random((2, 4), np.float32),
        "localized",
        (0.5, 0.25),
    )
    bare = Prediction(np.array([[0.0, 0, 200, 100]]))
    empty = Prediction(status="no-proposals", scores=np.zeros(0))
    return dict(zip(KEYS, (full, bare, empty, replace(full, point=None), replace(full, map=None)), strict=False))


def test_parquet_and_json_lines_hold_the_same_predictions(tmp_path, read):
    predictions = varied()
    write_parquet(tmp_path / "p.parquet", IMAGES, predictions, measure(IMAGES, predictions))
    loaded = read_predictions(tmp_path / "p.parquet", IMAGES, "val", SPLITS, True)
    lines = read([prediction_to_json(*one) for one in predictions.items()], allow_missing=True)
    assert loaded.notes == lines.notes == ("1 of 6 phrases have no prediction: counted as misses",)
    assert list(loaded.predictions) == list(lines.predictions) == KEYS[:5]
    for key, prediction in loaded.predictions.items():
        assert parts(prediction) == parts(lines.predictions[key])


def test_the_columns_of_parquet(tmp_path):
    write_parquet(tmp_path / "p.parquet", IMAGES, varied(), {"point_on_any": np.array([1, 0, np.nan, 0, 1, 0])})
    rows = parquet.read_table(tmp_path / "p.parquet").to_pylist()
    first = dict(rows[0])
    assert len(first.pop("map")) > 50
    assert len(first.pop("point_map")) > 50
    assert first == {
        "image": "11",
        "width": 200,
        "height": 100,
        "sentence": 0,
        "caption": "a man throws the air to a dog",
        "phrase": 0,
        "text": "a man",
        "start": 0,
        "end": 5,
        "chain": "1",
        "types": ["people"],
        "true_boxes": [[0.0, 0.0, 40.0, 50.0], [60.0, 0.0, 100.0, 50.0]],
        "status": "localized",
        "boxes": [[1.0, 2.0, 30.0, 40.0], [5.0, 5.0, 5.0, 9.5]],
        "scores": [0.75, 0.5],
        "point_x": 3.5,
        "point_y": 4.25,
        "proposal_iou": [0.5, 0.25],
        "point_on_any": 1.0,
    }
    assert [row["point_on_any"] for row in rows] == [1, 0, None, 0, 1, 0]
    assert [row["phrase"] for row in rows] == [0, 2, 0, 0, 2, 0]
    assert rows[5]["status"] == "missing"
    assert rows[5]["boxes"] is rows[5]["map"] is rows[5]["point_x"] is None
    assert rows[2]["boxes"] == rows[2]["scores"] == []


def test_equal_input_gives_equal_bytes(tmp_path):
    for name in ("a.parquet", "b.parquet"):
        write_parquet(tmp_path / name, IMAGES, varied(), measure(IMAGES, varied()))
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_a_table_gives_back_what_was_measured(tmp_path):
    predictions = dict(prediction_from_json(prediction_to_json(*one)) for one in varied().items())
    columns = measure(IMAGES, predictions)
    write_parquet(tmp_path / "p.parquet", IMAGES, predictions, columns)
    images, again, measured = read_parquet(tmp_path / "p.parquet")
    assert set(measured) == set(columns)
    for name, values in measure(images, again).items():
        np.testing.assert_array_equal(values, columns[name])
        np.testing.assert_array_equal(measured[name], columns[name])
    for image, original in zip(images, IMAGES, strict=True):
        assert (image.id, image.width, image.height) == (original.id, 200, 100)
        assert image.captions == original.captions
        assert image.phrases == tuple(original.boxed_phrases)


def test_a_table_made_elsewhere(tmp_path):

    def write(**columns):
        parquet.write_table(pa.table(columns), tmp_path / "p.parquet")
        return read_predictions(tmp_path / "p.parquet", IMAGES, "val", SPLITS, True).predictions

    keys = {"image": [11, 11], "sentence": [0, 1], "phrase": [0, 0]}
    found = write(**keys, boxes=[[[1.0, 2, 3, 4]], []], point=[[5.0, 6.0], None])
    assert [prediction.point for prediction in found.values()] == [(5.0, 6.0), None]
    with pytest.raises(GroundingError, match=r"p.parquet has no column 'boxes': expected at least image, sentence"):
        write(**keys)
    with pytest.raises(
        GroundingError, match=r"p.parquet, row 1: boxes\[0\] is \[3.0, 2.0, 1.0, 4.0\]: expected finite"
    ):
        write(**keys, boxes=[[], [[3.0, 2, 1, 4]]])
    with pytest.raises(GroundingError, match=r"p.parquet, row 0: point is \[1.0, None\]: expected two finite numbers"):
        write(**keys, boxes=[[], []], point_x=[1.0, 2.0], point_y=[None, 2.0])


def test_a_table_that_is_not_a_runs(tmp_path):
    parquet.write_table(pa.table({"image": ["11"]}), tmp_path / "p.parquet")
    with pytest.raises(GroundingError, match=r"p\.parquet has no column 'width': expected at least image, width"):
        read_parquet(tmp_path / "p.parquet")
