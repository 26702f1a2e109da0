"""The pointing game by class: golden values by hand, and every pixel of the region looked at one by one."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from grounding.datasets.labelled import ClassRegion, LabelledImage
from grounding.errors import GroundingError
from grounding.evaluation.protocols.pointing_game import covered_share, highest_pixel, is_difficult, point_hits
from helpers.errors import facts

WIDTH, HEIGHT = 60, 80


def region_of(*boxes, mask=None):
    given_mask = None if mask is None else lambda: mask
    return ClassRegion("dog", np.array(boxes, np.float64).reshape(-1, 4), given_mask)


def painted(*boxes, width=WIDTH, height=HEIGHT):
    """The mask of boxes with whole-number edges."""
    mask = np.zeros((height, width), bool)
    for x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = True
    return mask


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[0, 0], [0, 0]], None),
        ([[-1, -2]], None),
        ([[0, 1, 0], [0, 0, 0]], (1, 0)),
        ([[0, 1, 3], [3, 3, 0]], (2, 0)),  # the first row that has the maximum
        ([[0, 1, 0], [0, 3, 3]], (1, 1)),  # and in it the first column
    ],
)
def test_the_highest_pixel(values, expected):
    assert highest_pixel(np.array(values, np.float32)) == expected


BY_HAND = [  # of the box 20 30 40 60: columns 20 to 39, rows 30 to 59
    ((20, 30), True),
    ((39, 59), True),
    ((5, 40), True),  # 15 left of column 20
    ((4, 40), False),
    ((54, 40), True),  # 15 right of column 39, not of the edge at 40
    ((55, 40), False),
    ((30, 15), True),
    ((30, 14), False),
    ((30, 74), True),
    ((30, 75), False),
    ((11, 18), True),  # 9 and 12: 15
    ((51, 71), False),  # 12 and 12: 16.97
    ((48, 71), True),  # 9 and 12: 15
    ((5, 29), False),  # 15 and 1: 15.03
    ((19, 15), False),  # 1 and 15: 15.03
    ((40, 74), False),  # 1 and 15: 15.03
]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("pixel", "expected"), BY_HAND)
def test_fifteen_pixels_hit_and_a_little_more_misses(pixel, expected, masked):
    box = (20, 30, 40, 60)
    assert point_hits(pixel, region_of(box, mask=painted(box) if masked else None), WIDTH, HEIGHT) is expected


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("box", "pixel", "expected"),
    [
        ((0, 0, 1, 1), (15, 0), True),  # a region in the corner
        ((0, 0, 1, 1), (16, 0), False),
        ((0, 0, 1, 1), (9, 12), True),
        ((0, 0, 1, 1), (10, 12), False),
        ((59, 79, 60, 80), (44, 79), True),
        ((59, 79, 60, 80), (43, 79), False),
        ((59, 79, 60, 80), (59, 64), True),
        ((59, 79, 60, 80), (59, 63), False),
        ((0, 0, 60, 80), (59, 0), True),
    ],
)
def test_a_region_on_the_border(box, pixel, expected, masked):
    assert point_hits(pixel, region_of(box, mask=painted(box) if masked else None), WIDTH, HEIGHT) is expected


def test_the_nearest_of_several_objects_decides():
    boxes = (0, 0, 5, 5), (50, 70, 60, 80)
    for mask in (None, painted(*boxes)):
        assert [point_hits((x, 4), region_of(*boxes, mask=mask), WIDTH, HEIGHT) for x in (19, 20)] == [True, False]
        assert [point_hits((x, 79), region_of(*boxes, mask=mask), WIDTH, HEIGHT) for x in (34, 35)] == [False, True]


def test_a_mask_decides_alone():
    box = (0, 0, 60, 80)
    assert not point_hits((30, 40), region_of(box, mask=painted((0, 0, 5, 5))), WIDTH, HEIGHT)
    assert not point_hits((30, 40), region_of(box, mask=painted()), WIDTH, HEIGHT)
    assert covered_share(region_of(box, mask=painted((0, 0, 6, 8))), WIDTH, HEIGHT) == 0.01


@pytest.mark.parametrize(
    ("box", "covered"),
    [
        ((2, 3, 4, 5), (2, 3, 4, 5)),
        ((2.5, 3.5, 4.5, 5.5), (2, 3, 4, 5)),  # the centre of column 2 is its left edge and inside, that of 4 is not
        ((2.51, 3.51, 4.51, 5.51), (3, 4, 5, 6)),
        ((2.6, 3.6, 2.9, 3.9), (2, 3, 3, 4)),  # no centre: the pixel at its own centre
        ((2.6, 0, 2.9, 9), (2, 4, 3, 5)),  # the same of a box that is only narrow
        ((9.8, 9.8, 10, 10), (9, 9, 10, 10)),
        ((10, 0, 10, 0), (9, 0, 10, 1)),  # nothing at all, in the corner
    ],
)
def test_the_pixels_of_a_box_with_fractions(box, covered):
    """A picture of 10 x 10: how many it covers, and which, by the points that are exactly 15 px away outside of it."""
    x0, y0, x1, y1 = covered
    assert covered_share(region_of(box), 10, 10) == (x1 - x0) * (y1 - y0) / 100
    for pixel, expected in [
        ((x0 - 15, y0), True),
        ((x0 - 16, y0), False),
        ((x1 + 14, y1 - 1), True),
        ((x1 + 15, y1 - 1), False),
        ((x0, y0 - 15), True),
        ((x0, y0 - 16), False),
        ((x1 - 1, y1 + 14), True),
        ((x1 - 1, y1 + 15), False),
    ]:
        assert point_hits(pixel, region_of(box), 10, 10) is expected


def test_the_union_of_boxes_is_covered_once():
    assert covered_share(region_of((0, 0, 4, 4), (2, 2, 6, 6)), 10, 10) == 0.28  # 16 + 16 - 4 of 100


@pytest.mark.parametrize(
    ("box", "others", "expected"),
    [
        ((0, 0, 5, 5), 1, False),  # exactly a quarter
        ((0, 0, 8, 3), 1, True),  # 24 of 100
        ((0, 0, 8, 3), 0, False),  # alone
        ((0, 0, 8, 3), 4, True),
    ],
)
def test_a_difficult_class_is_small_and_not_alone(box, others, expected):
    region = region_of(box)
    image = LabelledImage("1", 10, 10, (region, *(region_of((0, 0, 10, 10)) for _ in range(others))))
    assert is_difficult(image, region) is expected
    by_mask = region_of((0, 0, 10, 10), mask=painted(box, width=10, height=10))
    assert is_difficult(LabelledImage("1", 10, 10, (by_mask, *image.regions[1:])), by_mask) is expected


def test_a_mask_of_another_size():
    region = region_of((0, 0, 1, 1), mask=painted(width=8, height=9))
    for ask in (lambda: point_hits((0, 0), region, 9, 8), lambda: covered_share(region, 9, 8)):
        with pytest.raises(
            GroundingError, match=facts("'dog' is 8 x 9 px", "picture of 9 x 8 px", "same size", "check")
        ):
            ask()


edges = st.integers(0, 4 * 40).map(lambda quarters: quarters / 4)
corners = st.tuples(edges, edges, edges, edges).map(
    lambda e: (min(e[0], e[2]), min(e[1], e[3]), max(e[::2]), max(e[1::2]))
)


def slow_pixels(box, width, height):
    """The pixels of a box, found by asking each one of the picture."""
    x0, y0, x1, y1 = box
    inside = {
        (column, row)
        for column in range(width)
        for row in range(height)
        if x0 <= column + 0.5 < x1 and y0 <= row + 0.5 < y1
    }
    middle = (min(math.floor((x0 + x1) / 2), width - 1), min(math.floor((y0 + y1) / 2), height - 1))
    return inside or {middle}


@settings(max_examples=100)
@given(st.lists(corners, min_size=1, max_size=3), st.integers(0, 39), st.integers(0, 39))
@example([(0.0, 0.0, 40.0, 10.0)], 0, 0)  # exactly a quarter
def test_every_pixel_looked_at(boxes, column, row):
    pixels = set().union(*(slow_pixels(box, 40, 40) for box in boxes))
    nearest = min(math.hypot(column - x, row - y) for x, y in pixels)
    mask = np.zeros((40, 40), bool)
    for x, y in pixels:
        mask[y, x] = True
    other = region_of((0, 0, 40, 40))
    for region in (region_of(*boxes), region_of((0, 0, 40, 40), mask=mask)):
        assert point_hits((column, row), region, 40, 40) == (nearest <= 15)
        assert covered_share(region, 40, 40) == len(pixels) / 1600
        assert is_difficult(LabelledImage("1", 40, 40, (other, region)), region) == (4 * len(pixels) < 1600)


@settings(max_examples=50)
@given(st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=1, max_size=4))
def test_the_highest_pixel_by_a_walk(rows):
    best = None
    for row, values in enumerate(rows):
        for column, value in enumerate(values):
            if value > 0 and (best is None or value > rows[best[1]][best[0]]):
                best = (column, row)
    assert highest_pixel(np.array(rows, np.float32)) == best
