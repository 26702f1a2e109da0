"""What a report says of presence and scores is what metrics.json says."""

import numpy as np
import pytest

from grounding.evaluation.protocols.calibration import calibration
from grounding.evaluation.protocols.summary import resample
from grounding.evaluation.report.calibration import presence_plot, sentences


def number(value):
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


PRESENCE = {
    "description": "own against others",
    "threshold": 0.166,
    "shown": 1300,
    "of_others": 200,
    "shown_called_absent": 4.25,
    "of_others_called_absent": 50.0,
    "count": 1500,
    "auc": number(0.89),
    "ece": number(0.2),
    "groups": [{"mean": 0.3, "value": 25.0, "low": 20.0, "high": 31.0, "count": 1500}],
}


def test_sentences_by_hand():
    scores = {"count": 1200, "auc": number(0.655), "ece": number(0.175)}
    assert sentences({"presence": PRESENCE, "scores": scores}) == [
        "presence: AUC 0.890 [0.790, 0.990], calibration error 0.200 [0.100, 0.300]; below 0.17, called absent, are "
        "4.2% of 1,300 phrases shown and 50.0% of 200 phrases of another image",
        "scores of 1,200 first boxes: AUC 0.655 [0.555, 0.755], calibration error 0.175 [0.075, 0.275]",
    ]


@pytest.mark.parametrize(
    "nothing", [{}, {"presence": None, "scores": None}, {"presence": {"count": 0}, "scores": {"count": 0}}]
)
def test_nothing_is_said_of_what_was_not_measured(nothing):
    assert sentences(nothing) == []
    assert presence_plot(nothing) is None


def test_the_plot_has_the_groups():
    values = np.linspace(0, 1, 50)
    measured = calibration(values, values > 0.4, np.arange(50), resample(50, 0))
    plot = presence_plot({"presence": {**PRESENCE, **measured}})
    assert [(place, group["value"]) for place, group in plot["series"][0].points.items()] == [
        (group["mean"], group["value"]) for group in measured["groups"]
    ]
    assert "<svg" in plot["chart"]
