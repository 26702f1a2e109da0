"""Boxes of maps: golden values by hand, components by a flood fill, Otsu's threshold by its definition."""

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from grounding.evaluation.protocols.map_boxes import box_above_mean, component_boxes, normalised, otsu_threshold


def picture(*rows):
    """A map drawn in digits; a dot is 0."""
    return np.array([[0 if mark == "." else int(mark) for mark in row] for row in rows], np.float32)


def components_of(map_, threshold):
    boxes, areas = component_boxes(map_, threshold)
    assert boxes.dtype == np.float64
    return list(zip(map(tuple, boxes.tolist()), areas.tolist(), strict=True))


def test_normalised():
    np.testing.assert_array_equal(normalised(picture("246")), [[0, 0.5, 1]])
    np.testing.assert_array_equal(normalised(picture("33", "33")), np.zeros((2, 2)))
    np.testing.assert_array_equal(normalised(np.zeros((2, 2), np.float32)), np.zeros((2, 2)))
    assert normalised(picture("12")).dtype == np.float64


@pytest.mark.parametrize(
    ("map_", "expected"),
    [
        (picture("...", "..."), []),
        (picture("2..", "..."), [((0, 0, 1, 1), 1)]),
        (picture("....", ".22.", ".22."), [((1, 1, 3, 3), 4)]),  # half-open: the last column is 2, the last row 2
        (picture("2.2", "...", "2.2"), [((0, 0, 1, 1), 1), ((2, 0, 3, 1), 1), ((0, 2, 1, 3), 1), ((2, 2, 3, 3), 1)]),
        (picture("2..", ".2.", "..2"), [((0, 0, 3, 3), 3)]),  # corners touch
        (picture("..2", ".2.", "2.."), [((0, 0, 3, 3), 3)]),
        (picture("21.", "1.2", "..2"), [((2, 1, 3, 3), 2), ((0, 0, 1, 1), 1)]),  # below the threshold, not connected
        (picture("22222", "2...2", "2.2.2", "2...2", "22222"), [((0, 0, 5, 5), 16), ((2, 2, 3, 3), 1)]),  # in a hole
        (picture("222...", "......", "...222"), [((0, 0, 3, 1), 3), ((3, 2, 6, 3), 3)]),
        (picture("...2", "2..2", "2..."), [((3, 0, 4, 2), 2), ((0, 1, 1, 3), 2)]),  # equals: further up is first
        (picture("2.9", "..."), [((0, 0, 1, 1), 1), ((2, 0, 3, 1), 1)]),  # pixels count, not their values
    ],
)
def test_components_by_hand(map_, expected):
    assert components_of(map_, 2) == expected
    assert components_of(map_.astype(np.float64), 2.0) == expected


def test_no_component_has_boxes_of_rank_2():
    boxes, areas = component_boxes(np.zeros((3, 4)), 1)
    assert (boxes.shape, areas.shape) == ((0, 4), (0,))


def test_a_pixel_at_the_threshold_is_kept():
    assert components_of(np.array([[0.25, 0.5, 0.75]]), 0.5) == [((1, 0, 3, 1), 2)]
    just_below = np.array([[np.float32(0.3)]])  # 0.300000012 as it is stored
    assert components_of(just_below, 0.3) == [((0, 0, 1, 1), 1)]
    assert components_of(just_below, 0.30000002) == []


@pytest.mark.parametrize(
    ("map_", "multiple", "expected"),
    [
        (picture("....", "...."), 0, []),  # a map of nothing has no box, whatever the multiple
        (picture("....", "...."), 1, []),
        (picture("3...", "...1"), 0, [(0, 0, 4, 2)]),  # mean 1/2
        (picture("3...", "...1"), 0.5, [(0, 0, 4, 2)]),
        (picture("3...", "...1"), 2, [(0, 0, 4, 2)]),  # exactly 1
        (picture("3...", "...1"), 2.5, [(0, 0, 1, 1)]),
        (picture("3...", "...1"), 6, [(0, 0, 1, 1)]),  # exactly 3
        (picture("3...", "...1"), 6.5, []),
        (picture(".....", ".9.9.", "....."), 1, [(1, 1, 4, 2)]),  # round both components
        (picture("77", "77"), 1, [(0, 0, 2, 2)]),
        (picture("77", "77"), 1.5, []),
        (np.full((3, 7), 0.1), 1, [(0, 0, 7, 3)]),  # their sum / 21 is a little above 0.1
        (np.full((6, 7), 0.7), 1, [(0, 0, 7, 6)]),
    ],
)
def test_the_box_above_a_multiple_of_the_mean(map_, multiple, expected):
    boxes = box_above_mean(map_, multiple)
    assert boxes.shape == (len(expected), 4)
    assert list(map(tuple, boxes.tolist())) == expected


def test_otsu_by_hand():
    """Of 0, 0, 0.5, 1 the bins are 0, 0, 128, 255. Split after bin 0 the means are 0 and 191.5: 1/4 * 191.5^2 = 9168;
    after bin 128 they are 42.7 and 255: 3/16 * 212.3^2 = 8453. So whatever is above bin 0 is kept.
    """
    assert otsu_threshold(np.array([[0, 0, 0.5, 1]])) == 1 / 256
    assert otsu_threshold(np.array([[3, 3, 4, 5]], np.float32)) == 1 / 256
    assert otsu_threshold(np.array([[0, 0.5, 1, 1]])) == 129 / 256  # the same from the other side: 1/4 * 191^2
    assert otsu_threshold(np.array([[0.0, 9]])) == 1 / 256


def test_otsu_keeps_nothing_of_a_constant_map():
    for map_ in (np.zeros((3, 4)), np.full((3, 4), 0.7)):
        assert not (normalised(map_) >= otsu_threshold(map_)).any()


digits = st.integers(1, 9).flatmap(
    lambda width: st.lists(st.lists(st.integers(0, 4), min_size=width, max_size=width), min_size=1, max_size=9)
)


def flood(rows, threshold):
    """The components as sets of pixels, each found by walking from pixel to pixel; first found first."""
    left = {(x, y) for y, row in enumerate(rows) for x, value in enumerate(row) if value >= threshold}
    components = []
    for start in sorted(left, key=lambda pixel: pixel[::-1]):
        if start in left:
            left.remove(start)
            component, waiting = {start}, [start]
            while waiting:
                x, y = waiting.pop()
                near = {(x + i, y + j) for i, j in itertools.product((-1, 0, 1), repeat=2)} & left
                left -= near
                component |= near
                waiting += near
            components.append(component)
    return components


def tight(pixels):
    xs, ys = zip(*pixels, strict=True)
    return min(xs), min(ys), max(xs) + 1, max(ys) + 1


@settings(max_examples=100)
@given(digits, st.integers(1, 4))
@example([[0, 0, 0, 0, 4, 4], [4, 4, 0, 0, 0, 0]], 1)  # found in pairs of rows, the lower one would be the first
@example([[4, 0, 0, 0, 4], [4, 4, 4, 4, 4]], 1)
def test_components_are_those_of_a_flood_fill(rows, threshold):
    found = [(tight(component), len(component)) for component in flood(rows, threshold)]
    found.sort(key=lambda item: (-item[1], item[0][1], item[0][0], item[0][3], item[0][2]))
    assert components_of(np.array(rows, np.float32), threshold) == found


@settings(max_examples=100)
@given(digits, st.integers(0, 20))
def test_the_box_above_the_mean_is_tight(rows, halves):
    values = [value for row in rows for value in row]
    kept = {
        (x, y)
        for y, row in enumerate(rows)
        for x, value in enumerate(row)
        if 2 * value * len(values) >= halves * sum(values)  # in whole numbers
    }
    expected = [tight(kept)] if kept and any(values) else []
    found = box_above_mean(np.array(rows, np.float64) * len(values), halves / 2)  # so that the mean is a whole number
    assert list(map(tuple, found.tolist())) == expected


@settings(max_examples=60)
@given(st.lists(st.integers(0, 1000), min_size=2, max_size=30).filter(lambda values: len(set(values)) > 1))
def test_otsu_separates_best_of_all_thresholds(values):
    scaled = normalised(np.array([values], np.float64))[0]
    bins = [min(int(value * 256), 255) for value in scaled]

    def between(threshold):
        """The variance between the two classes."""
        classes = [b for b in bins if b >= threshold], [b for b in bins if b < threshold]
        if not all(classes):
            return 0.0
        (many, high), (few, low) = ((len(side) / len(bins), sum(side) / len(side)) for side in classes)
        return many * few * (high - low) ** 2

    chosen = otsu_threshold(np.array([values], np.float32)) * 256
    assert chosen == int(chosen)
    assert between(chosen) == pytest.approx(max(between(threshold) for threshold in range(256)), rel=1e-9)
    assert [value >= chosen / 256 for value in scaled] == [b >= chosen for b in bins]
