"""Localization: golden values by hand, and every threshold, component and pixel taken one by one."""

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from grounding.errors import GroundingError
from grounding.evaluation.protocols.localization import (
    MEAN_MULTIPLES,
    THRESHOLDS,
    cross_fitted,
    max_box_acc,
    max_box_acc_v2,
    measure_overlaps,
    pixel_counts,
    px_ap,
)
from helpers.errors import facts


def boxes_of(*boxes):
    return np.array(boxes, np.float64).reshape(-1, 4)


def test_thresholds_and_multiples():
    assert THRESHOLDS.tolist() == [float(f"0.{i:02d}") for i in range(100)]
    assert MEAN_MULTIPLES.tolist() == [i / 2 for i in range(21)]


def two_blocks():
    """4 x 4 pixels of 1 at the left and 3 x 3 pixels of 1 at the right, 0 elsewhere, 12 x 6 px."""
    map_ = np.zeros((6, 12), np.float32)
    map_[0:4, 0:4] = map_[2:5, 8:11] = 1
    return map_


def test_the_largest_component_is_wrong_and_the_best_is_right():
    found = measure_overlaps(two_blocks(), boxes_of((8, 2, 11, 5)))
    # at threshold 0 the one component is the picture: 9 of 72 px; above it the blocks
    assert found.largest.tolist() == [1 / 8, *[0.0] * 99]
    assert found.best.tolist() == [1 / 8, *[1.0] * 99]
    # mean 25 / 72; round both blocks is 11 x 5 = 55 px; 2.5 means are 0.87 and 3 are 1.04
    assert found.above_mean.tolist() == [1 / 8, *[9 / 55] * 5, *[0.0] * 15]
    assert (found.otsu, found.otsu_largest) == (1.0, 0.0)


def test_the_best_of_several_true_boxes_counts():
    found = measure_overlaps(two_blocks(), boxes_of((8, 2, 11, 5), (0, 0, 4, 2)))
    assert found.largest.tolist() == [1 / 8, *[0.5] * 99]  # 8 of 16 px
    assert found.best.tolist() == [1 / 8, *[1.0] * 99]


def test_boxes_are_half_open_and_thresholds_inclusive():
    map_ = np.array([[0, 0, 0, 0], [0, 2, 1, 1], [0, 0, 0, 0]], np.float32)
    found = measure_overlaps(map_, boxes_of((1, 1, 4, 2)))
    assert found.best.tolist() == [3 / 12, *[1.0] * 50, *[1 / 3] * 49]  # 0; 0.01 to 0.50; 0.51 to 0.99
    assert found.largest.tolist() == found.best.tolist()


def test_of_components_of_one_size_the_upper_is_the_largest():
    map_ = np.zeros((4, 6))
    map_[0:2, 4] = map_[1:3, 0] = 1
    assert measure_overlaps(map_, boxes_of((4, 0, 5, 2))).largest.tolist() == [2 / 24, *[1.0] * 99]
    assert measure_overlaps(map_, boxes_of((0, 1, 1, 3))).largest.tolist() == [2 / 24, *[0.0] * 99]


@pytest.mark.parametrize(("value", "above"), [(0.0, [0.0] * 21), (0.7, [0.5] * 3 + [0.0] * 18)])
def test_a_constant_map_is_the_picture_at_threshold_0_and_nothing_above(value, above):
    found = measure_overlaps(np.full((3, 4), value), boxes_of((0, 0, 2, 3)))
    assert found.largest.tolist() == found.best.tolist() == [0.5, *[0.0] * 99]
    assert found.above_mean.tolist() == above
    assert (found.otsu, found.otsu_largest) == (0.0, 0.0)


def rows_of(*steps):
    """(P, 100) IoUs that change at the thresholds given: each a list of (first threshold in hundredths, IoU)."""
    return np.array([[[iou for start, iou in row if start <= place][-1] for place in range(100)] for row in steps])


THREE = rows_of(
    [(0, 0.3), (20, 0.5), (40, 0.29)],
    [(0, 0.1), (10, 0.31), (30, 0.7), (60, 0.9), (80, 0.0)],
    [(0, 0.5), (35, 0.0)],
)


def test_max_box_acc_by_hand():
    # at least 0.5: the first in 20 to 39, the second in 30 to 79, the third in 0 to 34: all three from 30
    assert max_box_acc(THREE) == (1.0, 0.3)
    assert max_box_acc(THREE[:2]) == (1.0, 0.3)
    assert max_box_acc(THREE[1:2]) == (1.0, 0.3)
    assert max_box_acc(np.full((4, 100), 0.49)) == (0.0, 0.0)


def test_max_box_acc_v2_by_hand():
    # at least 0.3: in 0 to 39, 10 to 79, 0 to 34: all from 10; at least 0.7: the second alone, from 30
    value, parts = max_box_acc_v2(THREE)
    assert parts == {0.3: (1.0, 0.1), 0.5: (1.0, 0.3), 0.7: (pytest.approx(1 / 3), 0.3)}
    assert value == pytest.approx((1 + 1 + 1 / 3) / 3)


def test_no_pictures_are_not_measured():
    nothing = np.zeros((0, 100))
    assert np.isnan(max_box_acc(nothing)).all()
    assert np.isnan(max_box_acc_v2(nothing)[0])
    assert cross_fitted(nothing, 0.5, np.zeros(0, bool)).tolist() == []


def test_a_map_that_is_right_by_exactly_the_iou_hits():
    map_ = np.zeros((10, 10))
    map_[0:3, 0:1] = 1  # 3 px, of 10 for the box
    value, parts = max_box_acc_v2(measure_overlaps(map_, boxes_of((0, 0, 1, 10))).best[None])
    assert parts == {0.3: (1.0, 0.01), 0.5: (0.0, 0.0), 0.7: (0.0, 0.0)}
    assert value == pytest.approx(1 / 3)


def test_cross_fitted_by_hand():
    overlaps = np.array([[0.9, 0.1, 0.9], [0.2, 0.5, 0.9], [0.1, 0.8, 0.2], [0.6, 0.7, 0.4]])
    # of the first two, the third place is right twice, where the others have 0.2 and 0.4: both miss
    # of the last two, the second place is right twice, where the others have 0.1 and 0.5
    found = cross_fitted(overlaps, 0.5, np.array([True, True, False, False]))
    assert found.tolist() == [False, True, False, False]
    assert found.dtype == bool
    assert cross_fitted(overlaps, 0.5, np.array([False, False, True, True])).tolist() == found.tolist()
    # the first of equal places: of the first picture alone place 0, of the others place 1
    assert cross_fitted(overlaps, 0.5, np.array([True, False, False, False])).tolist() == [False, False, False, True]


@pytest.mark.parametrize("halves", [[True, True], [False, False]])
def test_a_half_without_pictures(halves):
    with pytest.raises(GroundingError, match=facts("2 pictures", "empty", "expected a picture in each", "take more")):
        cross_fitted(np.zeros((2, 3)), 0.5, np.array(halves))


def test_px_ap_by_hand():
    map_ = np.array([[4, 2, 2, 0]], np.float32)
    mask = np.array([[True, False, True, False]])
    counts = pixel_counts(map_, mask)
    assert counts.dtype == np.int64
    assert counts.tolist() == [[2] * 51 + [1] * 49, [2] + [1] * 50 + [0] * 49]
    # 0.99: precision 1, recall 1/2; 0.5: precision 2/3, recall 1; nothing is gained below
    assert px_ap(counts) == pytest.approx(1 / 2 + 2 / 3 / 2)
    assert px_ap(2 * counts) == pytest.approx(5 / 6)
    # with 1, 0, 0, 0.5 as a second picture: 2 of 2 inside at 0.99, 3 of 5 at 0.5, 4 of 8 at 0
    both = counts + pixel_counts(np.array([[2, 0, 0, 1]], np.float32), mask)
    assert px_ap(both) == pytest.approx(2 / 2 * 2 / 4 + 3 / 5 * 1 / 4 + 4 / 8 * 1 / 4)


def test_px_ap_of_a_constant_map_is_the_share_of_the_mask():
    mask = np.array([[True, False, False, False]])
    counts = pixel_counts(np.full((1, 4), 0.3), mask)
    assert counts.tolist() == [[1, *[0] * 99], [3, *[0] * 99]]
    assert px_ap(counts) == 0.25


def test_px_ap_without_a_pixel_inside():
    assert np.isnan(px_ap(np.zeros((2, 100), np.int64)))
    assert np.isnan(px_ap(pixel_counts(np.eye(3), np.zeros((3, 3), bool))))


def test_a_mask_of_another_size():
    with pytest.raises(GroundingError, match=facts("mask is 2 x 3 px", "map 3 x 2 px", "same size", "resize")):
        pixel_counts(np.zeros((2, 3)), np.zeros((3, 2), bool))


# Maps of 8 x 6 px with values 0 to 100 and both of these among them: their normalised values are on the thresholds.
values = st.one_of(st.sampled_from([0, 1, 29, 50, 57, 58, 99, 100]), st.integers(0, 100))
maps = st.lists(values, min_size=46, max_size=46).map(lambda some: np.array([0, 100, *some]).reshape(6, 8)[::-1, ::-1])
solid = st.tuples(st.integers(0, 7), st.integers(0, 5), st.integers(1, 8), st.integers(1, 6)).map(
    lambda e: (e[0], e[1], min(e[0] + e[2], 8), min(e[1] + e[3], 6))
)


def slow_components(kept):
    """Sets of (x, y), grown by single steps until nothing changes; in the order of the first pixel by row."""
    left = {(int(x), int(y)) for y, x in np.argwhere(kept)}
    components = []
    while left:
        component = {min(left, key=lambda pixel: pixel[::-1])}
        while True:
            grown = {(x + i, y + j) for x, y in component for i, j in itertools.product((-1, 0, 1), repeat=2)} & left
            if grown == component:
                break
            component = grown
        components.append(component)
        left -= component
    return components


def slow_tight(pixels):
    xs, ys = zip(*pixels, strict=True)
    return min(xs), min(ys), max(xs) + 1, max(ys) + 1


def slow_iou(box, other):
    one, two = (set(itertools.product(range(b[0], b[2]), range(b[1], b[3]))) for b in (box, other))
    return len(one & two) / len(one | two)


def slow_overlaps(hundredths, boxes):
    """At each threshold the IoU of the largest component and of the best, from whole hundredths."""
    largest, best = [], []
    for threshold in range(100):
        components = slow_components(hundredths >= threshold)
        found = [max(slow_iou(slow_tight(component), box) for box in boxes) for component in components]
        boxed = [slow_tight(component) for component in components]
        first = min(
            range(len(found)), key=lambda i: (-len(components[i]), boxed[i][1], boxed[i][0], boxed[i][3], boxed[i][2])
        )
        largest.append(found[first])
        best.append(max(found))
    return largest, best


@settings(max_examples=60)
@given(maps, st.lists(solid, min_size=1, max_size=3), st.sampled_from([np.float32, np.float64]))
def test_every_threshold_and_component(map_, boxes, dtype):
    largest, best = slow_overlaps(map_, boxes)
    found = measure_overlaps(map_.astype(dtype), boxes_of(*boxes))
    assert found.largest.tolist() == largest
    assert found.best.tolist() == best
    above = []
    for half in range(21):
        kept = [(int(x), int(y)) for y, x in np.argwhere(2 * 48 * map_ >= half * map_.sum())]
        above.append(max(slow_iou(slow_tight(kept), box) for box in boxes) if kept else 0.0)
    agree = [a == b for a, b in zip(found.above_mean.tolist(), above, strict=True)]
    on_the_edge = [(2 * 48 * map_ == half * map_.sum()).any() for half in range(21)]  # the mean is rounded
    assert all(same or edge for same, edge in zip(agree, on_the_edge, strict=True))


overlap_rows = st.lists(
    st.lists(st.sampled_from([0.0, 0.29, 0.3, 0.5, 0.51, 0.7, 1.0]), min_size=5, max_size=5), min_size=1, max_size=6
)


@settings(max_examples=100)
@given(overlap_rows)
def test_the_best_threshold_by_trying_each(rows):
    spread = np.repeat(np.array(rows), 20, axis=1)  # (P, 100), five different places
    highest = {}
    for least in (0.3, 0.5, 0.7):
        shares = [sum(row[place // 20] >= least for row in rows) / len(rows) for place in range(100)]
        highest[least] = (max(shares), shares.index(max(shares)) / 100)
    assert max_box_acc(spread) == highest[0.5]
    value, parts = max_box_acc_v2(spread)
    assert parts == highest
    assert value == pytest.approx(sum(share for share, _ in highest.values()) / 3)


@settings(max_examples=100)
@given(overlap_rows.filter(lambda rows: len(rows) > 1), st.data())
def test_cross_fitting_by_trying_each(rows, data):
    some = data.draw(st.sets(st.integers(0, len(rows) - 1), min_size=1, max_size=len(rows) - 1))
    expected = []
    for place, row in enumerate(rows):
        others = [other for at, other in enumerate(rows) if (at in some) != (place in some)]
        right = [sum(other[column] >= 0.5 for other in others) for column in range(5)]
        expected.append(row[right.index(max(right))] >= 0.5)
    halves = np.array([place in some for place in range(len(rows))])
    assert cross_fitted(np.array(rows), 0.5, halves).tolist() == expected


@settings(max_examples=60)
@given(st.lists(st.tuples(maps, st.lists(st.booleans(), min_size=48, max_size=48)), min_size=1, max_size=2))
@example([(np.array([0, 100] * 24).reshape(6, 8), [False] * 48)])
def test_px_ap_by_double_loops(pictures):
    total, value, recall_before = np.zeros((2, 100), np.int64), 0.0, 0.0
    for map_, marks in pictures:
        total += pixel_counts(map_.astype(np.float32), np.array(marks).reshape(6, 8))
    positives = sum(sum(marks) for _, marks in pictures)
    for threshold in reversed(range(100)):
        inside = outside = 0
        for map_, marks in pictures:
            for value_here, mark in zip(map_.ravel().tolist(), marks, strict=True):
                if value_here >= threshold:
                    inside, outside = inside + mark, outside + (not mark)
        assert total[:, threshold].tolist() == [inside, outside]
        if positives and inside + outside:
            recall = inside / positives
            value += inside / (inside + outside) * (recall - recall_before)
            recall_before = recall
    assert px_ap(total) == pytest.approx(value if positives else float("nan"), nan_ok=True)
