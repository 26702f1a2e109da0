"""The package's own predictions: records as a file would keep them, or why a photograph could not be read."""

import hashlib

import pytest

from grounding.config import LocalizerConfig
from grounding.datasets.flickr30k import Flickr30kEntities
from grounding.evaluation.predictions.predictor import Job, Predictor, predict
from grounding.evaluation.predictions.records import prediction_from_json, prediction_to_json
from grounding.images import read_image
from grounding.methods import METHODS
from helpers.entities import write_entities
from helpers.predictions import parts


@pytest.fixture(scope="module")
def entities(tmp_path_factory):
    return write_entities(tmp_path_factory.mktemp("data") / "entities", photographs=True)


def test_a_prediction_is_what_a_file_gives_back(localizer, entities):
    image = next(Flickr30kEntities(entities).read("val"))
    predictions = predict(localizer.encode(read_image(entities / "photographs" / "1001.jpg")), image)
    assert list(predictions) == [("1001", 0, 0), ("1001", 0, 1), ("1001", 1, 0), ("1001", 1, 2)]
    for key, prediction in predictions.items():
        assert parts(prediction) == parts(prediction_from_json(prediction_to_json(key, prediction))[1])
        assert prediction.map.dtype == prediction.point_map.dtype == "uint8"
        assert prediction.map.shape == (32, 32)


def test_an_outcome_is_predictions_or_an_error(localizer, entities):
    job = Job((entities / "photographs",), "embedded", LocalizerConfig(), "cpu")
    image, broken, *_ = Flickr30kEntities(entities).read("val")
    look = Predictor(job, localizer.classifier)
    outcome = look(image)
    content = (entities / "photographs" / "1001.jpg").read_bytes()
    assert (outcome.image, outcome.error, outcome.size) == ("1001", None, (200, 100))
    assert outcome.sha256 == hashlib.sha256(content).hexdigest()
    assert len(outcome.predictions) == 4
    (entities / "photographs" / "1002.jpg").write_bytes(b"no picture")
    outcome = look(broken)
    assert (outcome.image, outcome.predictions) == ("1002", {})
    assert outcome.error.startswith("image 1002.jpg is no picture")


def test_a_job_names_its_method():
    job = Job((), "embedded", LocalizerConfig(), "cpu")
    assert Predictor(job).localizer.method is METHODS["contrastive_mwp"]
    assert Predictor(Job((), "embedded", LocalizerConfig(), "cpu", "mwp")).localizer.method is METHODS["mwp"]
