"""Agreement with people: golden values by hand, ranks and pairs counted one by one, every way to split the viewers."""

import itertools
import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grounding.errors import GroundingError
from grounding.evaluation.protocols.agreement import auc, human_map, nss, spearman, split_half
from helpers.errors import facts

NOBODY = np.zeros((0, 3))


def looks(*fixations):
    return np.array(fixations, np.float64).reshape(-1, 3)


def test_a_map_of_nobody_is_zero():
    for viewers in ([], [NOBODY], [looks((9, 1, 100)), NOBODY]):  # at 9 in a picture of width 3: outside
        np.testing.assert_array_equal(human_map(viewers, 3, 2, 1.0), np.zeros((2, 3)))


def test_one_fixation_by_hand():
    """In the middle of the second of three pixels: 1 there, exp(-1/2) = 0.6065 one sigma away; the sum is 2.2131."""
    found = human_map([looks((1.5, 0.5, 200))], 3, 1, 1.0)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [[0.27407, 0.45186, 0.27407]], atol=1e-5)
    # one sigma down too: rows in the same ratio 1 : 0.6065, which is 0.62246 : 0.37754
    np.testing.assert_allclose(
        human_map([looks((1.5, 0.5, 7))], 3, 2, 1.0),
        np.outer([0.62246, 0.37754], [0.27407, 0.45186, 0.27407]),
        atol=1e-5,
    )


def test_time_weighs_within_a_viewer_and_viewers_weigh_the_same():
    left, right = (0.5, 0.5), (8.5, 0.5)  # far apart for a sigma of 0.3: all in one pixel
    one = human_map([looks((*left, 300), (*right, 100))], 9, 1, 0.3)
    assert one[0, [0, 8]] / one[0, [0, 8]].sum() == pytest.approx([0.75, 0.25])
    two = human_map([looks((*left, 300), (*right, 100)), looks((*right, 5))], 9, 1, 0.3)
    assert two[0, [0, 8]] / two[0, [0, 8]].sum() == pytest.approx([0.375, 0.625])
    assert two.sum() == pytest.approx(1)
    away = human_map([looks((*left, 300), (*right, 100), (9, 0.5, 9999), (-0.1, 0.5, 9999))], 9, 1, 0.3)
    np.testing.assert_array_equal(away, one)


@pytest.mark.parametrize("sigma_px", [0.0, -1.0, float("nan")])
def test_a_sigma_that_is_none(sigma_px):
    with pytest.raises(GroundingError, match=facts("sigma_px is", "more than 0", "give one")):
        human_map([looks((1, 1, 1))], 3, 3, sigma_px)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 99], 1),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1),
        ([1, 2, 2, 3], [1, 2, 3, 4], 4.5 / math.sqrt(4.5 * 5)),  # ranks 1, 2.5, 2.5, 4
        ([1, 2, 3, 4], [2, 1, 4, 3], 1 - 6 * 4 / (4 * 15)),  # 1 - 6 sum d^2 / (n (n^2 - 1))
        ([0, 0, 0, 0], [1, 2, 3, 4], 0),
        ([0, 0, 0, 0], [0, 0, 0, 0], 0),
    ],
)
def test_spearman_by_hand(first, second, expected):
    maps = [np.array(values, np.float32).reshape(2, 2) for values in (first, second)]
    assert spearman(*maps) == pytest.approx(expected, abs=1e-12)
    assert spearman(*maps[::-1]) == pytest.approx(expected, abs=1e-12)


def test_maps_of_two_sizes():
    with pytest.raises(GroundingError, match=facts("3 x 2 and 2 x 3 px", "same size", "resize")):
        spearman(np.zeros((2, 3)), np.zeros((3, 2)))


MAP = np.array([[1, 2, 2], [0, 3, 0]], np.float32)


@pytest.mark.parametrize(
    ("fixations", "expected"),
    [
        (looks((1.5, 1.5, 9)), 1),  # the highest
        (looks((0, 1, 9)), 0.5 / 5),  # a lowest, the other one equal
        (looks((1.99, 0.01, 9)), (3 + 0.5) / 5),  # a 2: above 1, 0, 0; equal to the other 2
        (looks((1.99, 0.01, 9), (1.2, 0.5, 9)), (3 + 0.5) / 5),  # twice in one pixel
        (looks((1, 0, 9), (1, 1, 9)), (3.5 - 0 + 4) / 8),  # 2 and 3 against 1, 2, 0, 0: 3.5 and 4
        (looks((1, 1, 9), (3, 0, 9), (0, 2, 9), (-1, 0, 9)), 1),  # three of these are outside
    ],
)
def test_auc_by_hand(fixations, expected):
    assert auc(MAP, fixations) == pytest.approx(expected)


def test_nss_by_hand():
    """The mean is 8 / 6 and the variance 18 / 6 - 64 / 36 = 44 / 36."""
    deviation = math.sqrt(44) / 6
    assert nss(MAP, looks((1.5, 1.5, 9))) == pytest.approx((3 - 8 / 6) / deviation)
    assert nss(MAP, looks((1.5, 1.5, 1), (0.5, 1.5, 900), (1.2, 1.9, 9))) == pytest.approx((2 - 8 / 6) / deviation)


def test_a_constant_map_says_nothing():
    for map_ in (np.zeros((2, 3)), np.full((2, 3), 0.1)):
        assert (spearman(map_, MAP), auc(map_, looks((1, 1, 9))), nss(map_, looks((1, 1, 9)))) == (0, 0.5, 0)


def test_what_nobody_looked_at_is_not_measured():
    for fixations in (NOBODY, looks((3, 0, 9))):
        assert math.isnan(auc(MAP, fixations))
        assert math.isnan(nss(MAP, fixations))
    assert math.isnan(auc(MAP, looks(*itertools.product((0, 1, 2), (0, 1), (9,)))))  # no pixel is left to compare with


def test_viewers_who_look_at_the_same_agree_fully():
    viewer = looks((1.5, 0.5, 100))
    found = split_half([viewer, viewer], 5, 4, 1.0)
    assert found.spearman == pytest.approx(1)
    assert found.auc == 1
    assert found.nss == pytest.approx(nss(human_map([viewer], 5, 4, 1.0), viewer))
    assert split_half([viewer, NOBODY, viewer, looks((5, 0, 100))], 5, 4, 1.0) == found


@pytest.mark.parametrize("viewers", [[], [NOBODY] * 3, [looks((1, 1, 9)), NOBODY, looks((-1, 1, 9))]])
def test_fewer_than_two_viewers_cannot_be_split(viewers):
    assert np.isnan(split_half(viewers, 5, 4, 1.0)).all()


sizes = st.tuples(st.integers(1, 6), st.integers(2, 6))  # height, width
places = st.tuples(st.integers(-2, 26), st.integers(-2, 26), st.integers(1, 9)).map(
    lambda p: (p[0] / 4, p[1] / 4, p[2])
)
some_fixations = st.lists(places, min_size=1, max_size=5)


def drawn_map(data, size):
    count = size[0] * size[1]
    return np.array(data.draw(st.lists(st.integers(0, 4), min_size=count, max_size=count)), np.float32).reshape(size)


def slow_rank(values):
    return [sum(other < value for other in values) + (values.count(value) + 1) / 2 for value in values]


@settings(max_examples=80)
@given(sizes, st.data())
def test_spearman_by_counting(size, data):
    maps = [drawn_map(data, size) for _ in range(2)]
    first, second = (slow_rank(map_.ravel().tolist()) for map_ in maps)
    constant = len(set(first)) == 1 or len(set(second)) == 1
    expected = 0.0 if constant else statistics.correlation(first, second)
    assert spearman(*maps) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=80)
@given(sizes, some_fixations, st.data())
def test_auc_and_nss_by_double_loops(size, fixations, data):
    map_ = drawn_map(data, size)
    inside = [(math.floor(x), math.floor(y)) for x, y, _ in fixations if 0 <= x < size[1] and 0 <= y < size[0]]
    pixels = list(itertools.product(range(size[1]), range(size[0])))
    positives = [float(map_[y, x]) for x, y in pixels if (x, y) in inside]
    negatives = [float(map_[y, x]) for x, y in pixels if (x, y) not in inside]
    won = [(p > n) + (p == n) / 2 for p in positives for n in negatives]
    assert auc(map_, looks(*fixations)) == pytest.approx(sum(won) / len(won) if won else math.nan, nan_ok=True)
    everything = map_.ravel().tolist()
    deviation = statistics.pstdev(everything)
    scores = [(float(map_[y, x]) - statistics.mean(everything)) / deviation if deviation else 0.0 for x, y in inside]
    expected = statistics.mean(scores) if scores else math.nan
    assert nss(map_, looks(*fixations)) == pytest.approx(expected, abs=1e-9, nan_ok=True)


def slow_human_map(viewers, width, height, sigma_px):
    total = np.zeros((height, width))
    for viewer in viewers:
        inside = [fixation for fixation in viewer if 0 <= fixation[0] < width and 0 <= fixation[1] < height]
        for x, y, duration in inside:
            weight = duration / sum(fixation[2] for fixation in inside)
            for row, column in itertools.product(range(height), range(width)):
                square = (column + 0.5 - x) ** 2 + (row + 0.5 - y) ** 2
                total[row, column] += weight * math.exp(-square / (2 * sigma_px**2))
    return total / total.sum() if total.sum() else total


@settings(max_examples=50)
@given(st.lists(some_fixations, max_size=3), sizes, st.sampled_from([0.5, 1.0, 3.0]))
def test_the_human_map_pixel_by_pixel(viewers, size, sigma_px):
    found = human_map([looks(*viewer) for viewer in viewers], size[1], size[0], sigma_px)
    np.testing.assert_allclose(found, slow_human_map(viewers, size[1], size[0], sigma_px), atol=1e-12)


@settings(max_examples=25)
@given(st.lists(some_fixations, min_size=2, max_size=5), st.sampled_from([0.5, 1.0]))
def test_every_way_to_split(viewers, sigma_px):
    """Each way is given by who is in the first group; groups of 2 and 3, and those of 3 and 2, are both directions."""
    looking = [looks(*viewer) for viewer in viewers if any(0 <= x < 6 and 0 <= y < 5 for x, y, _ in viewer)]
    found, scores = split_half([looks(*viewer) for viewer in viewers], 6, 5, sigma_px), []
    for marks in itertools.product((True, False), repeat=len(looking)):
        if sum(marks) in {len(looking) // 2, (len(looking) + 1) // 2} and len(looking) > 1:
            group = [viewer for viewer, mark in zip(looking, marks, strict=True) if mark]
            others = [viewer for viewer, mark in zip(looking, marks, strict=True) if not mark]
            map_, fixations = human_map(group, 6, 5, sigma_px), np.concatenate(others)
            scores.append(
                (spearman(map_, human_map(others, 6, 5, sigma_px)), auc(map_, fixations), nss(map_, fixations))
            )
    expected = np.mean(scores, axis=0) if scores else [math.nan] * 3
    np.testing.assert_allclose(found, expected, atol=1e-9)
