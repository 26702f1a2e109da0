"""Statistics against their definitions by loops over pictures repeated as the weights say, and their intervals."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grounding.benchmarks.statistics import (
    RESAMPLES,
    SEED,
    Score,
    best_threshold,
    class_mean,
    intervals,
    mean,
    pixel_precision,
    ratio,
)
from grounding.evaluation.protocols.localization import px_ap

IMAGES, CLASSES = 5, 3


@st.composite
def cases(draw):
    """Rows of pictures and classes, in no order, and how often each picture counts; pictures may have no row."""
    count = draw(st.integers(0, 9))
    image = np.array(draw(st.lists(st.integers(0, IMAGES - 1), min_size=count, max_size=count)), np.int64)
    class_ = np.array(draw(st.lists(st.integers(0, CLASSES - 1), min_size=count, max_size=count)), np.int64)
    weights = np.array(draw(st.lists(st.integers(0, 3), min_size=2 * IMAGES, max_size=2 * IMAGES)), np.float64)
    return image, class_, weights.reshape(2, IMAGES), np.random.default_rng(draw(st.integers(0, 10**6)))


def repeated(image, weights):
    """The rows of each picture as often as it counts."""
    return [row for picture, times in enumerate(weights) for _ in range(int(times)) for row in rows_of(image, picture)]


def rows_of(image, picture):
    return [row for row, place in enumerate(image) if place == picture]


def average(values):
    values = list(values)
    return sum(values) / len(values) if values else math.nan


def check(statistic, slow, image, weights):
    found = statistic(weights)
    assert found.shape == (len(weights),)
    expected = [slow(repeated(image, one)) for one in weights]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@given(cases())
def test_mean(case):
    image, _, weights, random = case
    values = random.normal(size=len(image))
    check(mean(values, image, IMAGES), lambda rows: average(values[rows]), image, weights)


@given(cases())
def test_ratio(case):
    image, _, weights, random = case
    above, below = random.normal(size=len(image)), random.normal(0.5, size=len(image))

    def slow(rows):
        return sum(above[rows]) / sum(below[rows]) if sum(below[rows]) > 0 else math.nan

    check(ratio(above, below, image, IMAGES), slow, image, weights)


@given(cases())
def test_class_mean(case):
    image, class_, weights, random = case
    values = random.random(len(image))

    def slow(rows):
        per_class = [average(values[r] for r in rows if class_[r] == name) for name in range(CLASSES)]
        return average(value for value in per_class if not math.isnan(value))

    check(class_mean(values, image, class_, IMAGES, CLASSES), slow, image, weights)


@given(cases(), st.integers(1, 3))
def test_best_threshold(case, tables):
    image, _, weights, random = case
    hits = [random.random((len(image), 4)) < 0.5 for _ in range(tables)]

    def slow(rows):
        shares = [[average(table[r, t] for r in rows) for t in range(4)] for table in hits]
        return average(max(of_table) for of_table in shares)

    check(best_threshold(hits, image, IMAGES), slow, image, weights)


@given(cases())
def test_pixel_precision(case):
    image, _, weights, random = case
    pixels = random.integers(0, 5, (len(image), 2, 6))  # of exactly each threshold
    counts = pixels[:, :, ::-1].cumsum(2)[:, :, ::-1]

    def slow(rows):
        return px_ap(sum((counts[r] for r in rows), np.zeros((2, 6), np.int64)))

    check(pixel_precision(counts, image, IMAGES), slow, image, weights)


def score(values, image, images, percent=True):
    return Score(mean(np.array(values, np.float64), np.array(image), images), len(values), percent)


def drawn(images):
    """The resamples, each a list of pictures as often as they count: by another way to the same random numbers."""
    random = np.random.default_rng(SEED)
    return [random.multinomial(images, np.full(images, 1 / images)) for _ in range(RESAMPLES)]


def test_intervals_by_hand():
    """3 of 4 pictures hit. The resamples are counted one by one, and the interval is their middle 95%."""
    hits = [1, 1, 0, 1]
    numbers, less = intervals({"m": {"n": score(hits, range(4), 4)}}, 4)
    shares = sorted(100 * sum(times * hit for times, hit in zip(one, hits, strict=True)) / 4 for one in drawn(4))
    assert less == {}
    assert numbers["m"]["n"] == {
        "value": 75.0,
        "low": pytest.approx(np.percentile(shares, 2.5)),
        "high": pytest.approx(np.percentile(shares, 97.5)),
        "count": 4,
    }
    assert (numbers["m"]["n"]["low"], numbers["m"]["n"]["high"]) == (25.0, 100.0)  # (1/4)^4 = 0.4% have no hit


def test_differences_are_paired_by_picture():
    """One picture more is hit by a: with every resample the difference is how often that picture counts."""
    a, b = [1, 1, 0, 1, 0], [0, 1, 0, 1, 0]
    scores = {"a": {"n": score(a, range(5), 5)}, "b": {"n": score(b, range(5), 5)}}
    _, less = intervals(scores, 5)
    differences = [100 * one[0] / 5 for one in drawn(5)]
    assert list(less) == ["b"]
    assert less["b"]["n"] == {
        "value": 20.0,
        "low": pytest.approx(np.percentile(differences, 2.5)),
        "high": pytest.approx(np.percentile(differences, 97.5)),
        "count": 5,
    }
    assert less["b"]["n"]["low"] == 0.0  # never below: a is nowhere worse


def test_a_method_against_itself_is_exactly_0():
    values = np.random.default_rng(0).random(7)
    same = {"n": score(values, range(7), 7, percent=False)}
    numbers, less = intervals({"a": same, "b": same}, 7)
    assert numbers["a"] == numbers["b"]
    assert less["b"]["n"] == {"value": 0.0, "low": 0.0, "high": 0.0, "count": 7}


def test_shares_are_percent_and_others_are_not():
    numbers, _ = intervals({"m": {"share": score([0.5], [0], 1), "as is": score([0.5], [0], 1, percent=False)}}, 1)
    assert numbers["m"]["share"] == {"value": 50.0, "low": 50.0, "high": 50.0, "count": 1}
    assert numbers["m"]["as is"] == {"value": 0.5, "low": 0.5, "high": 0.5, "count": 1}


def test_a_class_that_is_absent_from_a_resample_stays_out_of_it():
    """Classes a (hit, in picture 0) and b (missed, in pictures 1 and 2): 50% with both, 100% or 0% with one of them."""
    values, image, class_ = np.array([1.0, 0, 0]), np.array([0, 1, 2]), np.array([0, 1, 1])
    statistic = class_mean(values, image, class_, 3, 2)
    weights = np.array([[1, 1, 1], [3, 0, 0], [0, 2, 1], [2, 1, 0]], np.float64)
    assert statistic(weights).tolist() == [0.5, 1, 0, 0.5]
    numbers, _ = intervals({"m": {"n": Score(statistic, 3)}}, 3)
    assert numbers["m"]["n"] == {"value": 50.0, "low": 0.0, "high": 100.0, "count": 3}


def test_resamples_without_a_row_do_not_count():
    """Of two pictures one has rows: a resample of only the other, one in four, has no value, and none is made up."""
    numbers, _ = intervals({"m": {"n": score([1, 0], [0, 0], 2)}}, 2)
    assert numbers["m"]["n"] == {"value": 50.0, "low": 50.0, "high": 50.0, "count": 2}


def test_nothing_measured():
    nothing = Score(mean(np.zeros(0), np.zeros(0, np.int64), 3), 0)
    numbers, less = intervals({"a": {"n": nothing, "k": score([1], [0], 3)}, "b": {"n": nothing}}, 3)
    assert numbers["a"]["n"] == numbers["b"]["n"] == {"count": 0}
    assert less == {"b": {"n": {"count": 0}}}  # and not of `k`, which b does not have
    assert numbers["a"]["k"]["value"] == 100.0


def test_the_first_is_less_the_others_and_counts_the_fewer():
    scores = {"a": {"n": score([1, 1, 1], range(3), 3)}, "b": {"n": score([0, 1], range(2), 3)}, "c": {}}
    _, less = intervals(scores, 3)
    assert (less["b"]["n"]["value"], less["b"]["n"]["count"]) == (50.0, 2)
    assert less["c"] == {}


def test_the_same_every_time():
    scores = {"a": {"n": score([0.1, 0.7, 0.4], range(3), 3)}}
    assert intervals(scores, 3) == intervals(scores, 3)
