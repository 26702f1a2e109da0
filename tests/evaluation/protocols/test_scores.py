"""Scores against hits, by hand."""

import numpy as np
import pandas as pd
import pytest

from grounding.datasets.flickr30k import EntityImage, EntityPhrase
from grounding.evaluation.predictions.prediction import Prediction, phrase_index
from grounding.evaluation.protocols.protocol import Columns
from grounding.evaluation.protocols.scores import HIT, summarize_scores

BOX = np.array([[0.0, 0.0, 1.0, 1.0]])
IMAGES = [
    EntityImage(
        "1",
        9,
        9,
        ("",),
        tuple(EntityPhrase(0, n, "", 0, 0, str(n), ("other",)) for n in range(4)),
        {str(n): BOX for n in range(4)},
        frozenset(),
        frozenset(),
    )
]
INDEX = phrase_index(IMAGES)


def summary(scores, ious=(0.9, 0.6, 0.4, 0.2)):
    boxes = [np.repeat(BOX, 0 if score is None else len(score), axis=0) for score in scores]
    of = [None if score is None else np.array(score) for score in scores]
    predictions = {key: Prediction(b, s) for key, b, s in zip(INDEX, boxes, of, strict=True)}
    return summarize_scores(IMAGES, predictions, pd.DataFrame({HIT.column: ious}, INDEX))


def test_the_first_box_counts():
    assert summary([[0.9, 0.1], [0.5], [0.7, 0.2], [0.1]])["auc"]["value"] == pytest.approx(3 / 4)
    assert summary([[0.9], [0.5], [], None])["count"] == 0  # only hits are left
    assert summary([[0.9], None, [0.7], None])["count"] == 2


@pytest.mark.parametrize("scores", [[None] * 4, [[1.2], [0.5], [0.3], [0.1]], [[-0.2], [0.5], [0.3], [0.1]]])
def test_what_is_no_probability_is_not_measured(scores):
    assert summary(scores) is None


def test_without_predictions_there_is_nothing():
    assert summarize_scores(IMAGES, {}, Columns()) is None
