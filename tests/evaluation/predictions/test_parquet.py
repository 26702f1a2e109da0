"""The table of predictions and measurements agrees with the lines, and gives back what was measured."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from grounding.errors import GroundingError
from grounding.evaluation.predictions.parquet import read_parquet, write_parquet
from grounding.evaluation.predictions.prediction import Prediction, phrase_index
from grounding.evaluation.predictions.reading import read_predictions
from grounding.evaluation.predictions.records import prediction_from_json, prediction_to_json
from grounding.evaluation.protocols.measure import measure
from grounding.evaluation.protocols.protocol import MEASURED
from helpers.predictions import IMAGES, KEYS, SPLITS, parts, read_lines


@pytest.fixture
def read(tmp_path):
    return partial(read_lines, tmp_path)


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
        0.75,
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
    columns = pd.DataFrame({"point_on_any": [1, 0, np.nan, 0, 1, 0]}, phrase_index(IMAGES))
    write_parquet(tmp_path / "p.parquet", IMAGES, varied(), columns)
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
        "presence": 0.75,
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
    images, again, measured = read_parquet(tmp_path / "p.parquet", MEASURED)
    pd.testing.assert_frame_equal(measure(images, again), columns, check_exact=True)
    pd.testing.assert_frame_equal(measured, columns[list(MEASURED)], check_exact=True)
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
        read_parquet(tmp_path / "p.parquet", MEASURED)
