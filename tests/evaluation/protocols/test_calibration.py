"""AUC, calibration error and intervals, against pairs counted one by one and values worked out by hand."""

import numpy as np
import pytest

from grounding.evaluation.protocols.calibration import auc, calibration
from grounding.evaluation.protocols.summary import resample


def pairs(values, labels, weights):
    won = total = 0.0
    for v, label, w in zip(values, labels, weights, strict=True):
        for other, other_label, u in zip(values, labels, weights, strict=True):
            if label and not other_label:
                total += w * u
                won += w * u * (1.0 if v > other else 0.5 if v == other else 0.0)
    return won / total


@pytest.mark.parametrize("seed", range(5))
def test_auc_counts_pairs(seed):
    draw = np.random.default_rng(seed)
    values, labels = draw.integers(0, 6, 40) / 5, draw.random(40) < 0.4
    weights = draw.integers(0, 3, 40).astype(float)
    assert auc(values, labels, weights) == pytest.approx(pairs(values, labels, weights))
    assert auc(values, labels) == pytest.approx(pairs(values, labels, np.ones(40)))


def test_auc_of_one_kind_is_unknown():
    assert np.isnan(auc(np.array([0.1, 0.2]), np.array([True, True])))


def test_a_reliability_plot_by_hand():
    values = np.repeat([0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95], 10)
    labels = np.concatenate(
        [np.arange(10) < 10 * share for share in (0.2, 0.1, 0.2, 0.3, 0.5, 0.5, 0.7, 0.7, 0.9, 0.9)]
    )
    measured = calibration(values, labels, np.arange(100), resample(100, 0))
    assert measured["count"] == 100
    assert [group["mean"] for group in measured["groups"]] == pytest.approx(np.arange(0.05, 1, 0.1))
    assert [group["value"] for group in measured["groups"]] == pytest.approx([20, 10, 20, 30, 50, 50, 70, 70, 90, 90])
    assert measured["ece"]["value"] == pytest.approx((0.15 + 9 * 0.05) / 10)
    assert measured["ece"]["low"] < measured["ece"]["high"]
    assert measured["auc"]["low"] < measured["auc"]["value"] < measured["auc"]["high"]


def test_balanced_either_kind_counts_half():
    values, labels = np.array([0.2] * 8 + [0.8] * 4), np.array([False] * 6 + [True] * 2 + [True] * 2 + [False] * 2)
    draws = resample(12, 0)
    low, high = calibration(values, labels, np.arange(12), draws, balanced=True)["groups"]
    assert low["value"] == pytest.approx(100 * (2 / 4) / (2 / 4 + 6 / 8))
    assert high["value"] == pytest.approx(100 * (2 / 4) / (2 / 4 + 2 / 8))
    plain, _ = calibration(values, labels, np.arange(12), draws)["groups"]
    assert plain["value"] == pytest.approx(25.0)


def test_intervals_resample_images():
    values, labels = np.tile([0.2, 0.7, 0.4], 20), np.tile([False, True, True], 20)
    labels[:3] = [True, False, False]
    one_image = calibration(values, labels, np.zeros(60, int), resample(1, 0))["auc"]
    many = calibration(values, labels, np.repeat(np.arange(20), 3), resample(20, 0))["auc"]
    assert one_image["low"] == one_image["high"] == one_image["value"] == many["value"]
    assert many["low"] < many["value"]


def test_samples_without_any_phrase_do_not_count():
    values, labels = np.array([0.2, 0.8]), np.array([False, True])
    measured = calibration(values, labels, np.array([0, 0]), resample(5, 0))
    assert measured["auc"] == {"value": 1, "low": 1, "high": 1}
    assert measured["ece"] == pytest.approx({"value": 0.2, "low": 0.2, "high": 0.2})


@pytest.mark.parametrize("labels", [[], [True, True], [False]])
def test_one_kind_is_no_measurement(labels):
    wanted = np.array(labels, bool)
    assert calibration(np.full(len(labels), 0.5), wanted, np.zeros(len(labels), int), resample(1, 0)) == {"count": 0}
