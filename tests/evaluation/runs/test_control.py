"""The control: every phrase with the prediction of another phrase of its photograph."""

from collections import Counter

import numpy as np
import pytest

from grounding.datasets.flickr30k import Flickr30kEntities, boxed_phrases
from grounding.evaluation.predictions.prediction import Prediction, phrase_key
from grounding.evaluation.protocols.measure import measure
from grounding.evaluation.runs.comparison import control, exchanged
from grounding.evaluation.runs.scoring import Run, Selection, score
from helpers.entities import write_entities


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Every phrase is found exactly: its first box, whose score is the phrase's number."""
    images = list(Flickr30kEntities(write_entities(tmp_path_factory.mktemp("data") / "entities")).read("val"))
    predictions = {
        phrase_key(image, phrase): Prediction(image.boxes[phrase.chain][:1], np.array([float(number)]))
        for number, (image, phrase) in enumerate(boxed_phrases(images))
    }
    columns = measure(images, predictions)
    return Run(score(Selection("val", 5, images), "ours", {}, predictions, columns), images, predictions, columns, "a")


def test_a_phrase_gets_the_prediction_of_another_chain_of_its_photograph(run):
    pairs = boxed_phrases(run.images)
    seen = Counter()
    for image, phrase in pairs:
        other_image, other = pairs[int(exchanged(run, 0).predictions[phrase_key(image, phrase)].scores[0])]
        assert other_image is image
        assert other.chain != phrase.chain
        seen[image.id] += 1
    assert seen == Counter(image.id for image, _ in pairs)


def test_the_seed_decides(run):
    drawn = [[prediction.scores[0] for prediction in exchanged(run, seed).predictions.values()] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_what_knew_the_phrase_loses(run):
    summary = control(run, 0)
    row = summary["differences"]["recall@1/any-box"]
    assert (summary["a"]["name"], summary["b"]["name"]) == ("another phrase's result", "ours")
    assert row["b"] == 100
    assert row["a"] < 30
    assert row["gained"] == row["count"] * (100 - row["a"]) / 100


def test_a_phrase_without_a_prediction_stays_a_miss(run):
    few = Run(run.metrics, run.images, dict(list(run.predictions.items())[:1]), run.columns, "a")
    columns = exchanged(few, 0).columns
    assert len(columns) == len(run.columns)
    assert columns["best_iou_1_any"].sum() <= 1
