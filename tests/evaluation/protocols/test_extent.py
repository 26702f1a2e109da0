"""Extent by hand, and the median's interval by resamples that are taken literally."""

import numpy as np
import pytest

from grounding.evaluation.predictions.prediction import Prediction
from grounding.evaluation.protocols.extent import summarize_extent
from grounding.evaluation.protocols.summary import median_interval, resample
from helpers.entities import image_with

IMAGES = [
    image_with("1", [(0, "1", "people", [(0, 0, 50, 50)]), (0, "2", "other", [(0, 0, 10, 10), (10, 0, 30, 10)])]),
    image_with("2", []),
    image_with("3", [(0, "3", "scene", [(0, 0, 200, 50)]), (1, "4", "other", [(0, 0, 20, 45)])], (200, 50)),
]


def says(*boxes):
    return Prediction(np.array(boxes, np.float64).reshape(-1, 4))


def test_by_hand():
    said = {
        ("1", 0, 0): says((0, 0, 100, 95), (0, 0, 1, 1)),  # 95% of the picture where 25% is true
        ("1", 0, 1): says((-50, 0, 20, 20)),  # 4% are inside the picture; the merged box has 3%
        ("3", 0, 0): says((0, 0, 199, 47)),  # 93.53%, just not the whole picture; true: 100%
        ("3", 1, 0): says((0, 0, 100, 20)),  # 20%; true: 9%
    }
    found = summarize_extent(IMAGES, said)
    values = {group: {name: number["value"] for name, number in found[group].items()} for group in ("all", "small")}
    assert values["all"] == pytest.approx({"best_box": (20 + 93.53) / 2, "true_box": (9 + 25) / 2, "whole_picture": 25})
    assert values["small"] == pytest.approx({"best_box": 12, "true_box": 6, "whole_picture": 0})
    assert {number["count"] for number in found["all"].values()} == {4}
    assert {number["count"] for number in found["small"].values()} == {2}


def test_a_tenth_of_the_picture_is_not_small():
    image = image_with("1", [(0, "1", "other", [(0, 0, 10, 100)]), (0, "2", "other", [(0, 0, 10, 99)])])
    found = summarize_extent([image], {("1", 0, place): says((0, 0, 50, 100)) for place in range(2)})
    assert found["small"]["best_box"]["count"] == 1
    assert found["all"]["true_box"]["value"] == pytest.approx(9.95)


def test_phrases_without_a_box_stay_out():
    found = summarize_extent(IMAGES, {("1", 0, 0): says(), ("3", 1, 0): says((0, 0, 20, 50))})
    assert found["all"]["best_box"]["value"] == pytest.approx(10)
    assert found["all"]["true_box"]["value"] == pytest.approx(9)
    assert found["small"] == found["all"]
    nothing = summarize_extent(IMAGES, {})
    assert nothing["all"] == nothing["small"]
    assert nothing["all"] == {name: {"count": 0} for name in ("best_box", "true_box", "whole_picture")}


@pytest.mark.parametrize("decimals", [1, 8])  # with and without many equal values
def test_the_interval_of_a_median_equals_a_loop_that_repeats_images(decimals):
    generator = np.random.default_rng(6)
    cluster = np.repeat(np.arange(7), [3, 0, 1, 5, 2, 2, 8])
    values = generator.random(len(cluster)).round(decimals)
    weights, medians = resample(7, 3), []
    for draws in weights:
        sample = [values[cluster == image] for image in range(7) for _ in range(int(draws[image]))]
        if sum(map(len, sample)):
            medians.append(100 * np.median(np.concatenate(sample)))
    found = median_interval(values, cluster, weights)
    low, high = np.percentile(medians, [2.5, 97.5])
    assert found == pytest.approx({"value": 100 * np.median(values), "low": low, "high": high, "count": 21})


def test_the_middle_two_of_an_even_number_count_half_each():
    found = median_interval(np.array([0.9, 0.1]), np.array([0, 1]), np.ones((1, 2)))
    assert found == pytest.approx({"value": 50, "low": 50, "high": 50, "count": 2})


def test_the_median_of_what_is_known():
    weights = resample(3, 0)
    assert median_interval(np.zeros(0), np.zeros(0, int), weights) == {"count": 0}
    assert median_interval(np.array([np.nan]), np.zeros(1, int), weights) == {"count": 0}
    found = median_interval(np.array([np.nan, 0.25, np.nan]), np.array([0, 1, 2]), weights)
    assert found == {"value": 25, "low": 25, "high": 25, "count": 1}
