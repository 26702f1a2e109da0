"""From marked objects to labelled pictures: what is clipped, dropped, grouped and told."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grounding.datasets.marks import (
    CLIPPED,
    NO_OBJECT,
    NOTHING_INSIDE,
    Mark,
    clipped,
    labelled_image,
    number,
    whole_size,
)
from helpers.labelled import drawn, refused

PLACES = {"cat": 0, "ant": 1, "dog": 2}


def test_a_picture_without_objects_is_none_and_counted():
    left_out = Counter()
    assert labelled_image("1", 10, 8, [], PLACES, left_out) is None
    assert left_out == {NO_OBJECT: 1}


def test_objects_are_grouped_in_the_order_of_the_classes():
    marks = [
        Mark("dog", (1, 1, 2, 2)),
        Mark("ant", (0, 0, 3, 3)),
        Mark("dog", (4, 4, 10, 8)),
        Mark("cat", (5, 5, 6, 6)),
    ]
    left_out = Counter()
    image = labelled_image("a", 10, 8, marks, PLACES, left_out)
    assert (image.id, image.width, image.height) == ("a", 10, 8)
    assert [(each.name, each.boxes.tolist(), each.mask) for each in image.regions] == [
        ("cat", [[5, 5, 6, 6]], None),
        ("ant", [[0, 0, 3, 3]], None),
        ("dog", [[1, 1, 2, 2], [4, 4, 10, 8]], None),
    ]
    assert all(each.boxes.dtype == np.float64 for each in image.regions)
    assert +left_out == {}


@pytest.mark.parametrize(
    ("box", "inside", "told"),
    [
        ((0, 0, 10, 8), (0, 0, 10, 8), None),
        ((-0.5, 0, 10, 8), (0, 0, 10, 8), CLIPPED),
        ((0, -3, 10, 8), (0, 0, 10, 8), CLIPPED),
        ((0, 0, 10.01, 8), (0, 0, 10, 8), CLIPPED),
        ((2, 2, 5, 9), (2, 2, 5, 8), CLIPPED),
        ((-9, -9, 99, 99), (0, 0, 10, 8), CLIPPED),
        ((2, 2, 10 + 1e-9, 8), (2, 2, 10, 8), None),  # 0.1 + 0.2 is not 0.3
        ((2, 2, 2, 5), None, NOTHING_INSIDE),
        ((2, 5, 4, 5), None, NOTHING_INSIDE),
        ((4, 2, 3, 5), None, NOTHING_INSIDE),
        ((10, 2, 12, 5), None, NOTHING_INSIDE),
        ((2, 8, 4, 9), None, NOTHING_INSIDE),
        ((-4, 2, 0, 5), None, NOTHING_INSIDE),
    ],
)
def test_boxes_are_clipped_to_the_picture(box, inside, told):
    left_out = Counter()
    assert clipped(box, 10, 8, left_out) == inside
    assert +left_out == ({told: 1} if told else {})


edges = st.floats(-30, 40, allow_nan=False)


@given(st.tuples(edges, edges, edges, edges), st.integers(1, 20), st.integers(1, 20))
def test_a_point_is_in_the_clipped_box_just_where_it_is_in_the_box_and_the_picture(box, width, height):
    inside = clipped(box, width, height, Counter())
    for x in (0, 0.25, width / 2, width - 0.5, *box[::2]):
        for y in (0, 0.25, height / 2, height - 0.5, *box[1::2]):
            wanted = box[0] <= x < box[2] and box[1] <= y < box[3] and 0 <= x < width and 0 <= y < height
            found = inside is not None and inside[0] <= x < inside[2] and inside[1] <= y < inside[3]
            assert found == wanted


def test_the_mask_of_a_class_is_the_union_of_all_that_count():
    left, right = drawn(["#..", "#.."]), drawn(["..#", "..."])

    def outside():
        raise AssertionError("the mask of a box with nothing inside is not asked for")

    marks = [
        Mark("dog", (0, 0, 1, 2), lambda: left),
        Mark("dog", (2, 0, 3, 1), lambda: right),
        Mark("dog", (7, 7, 8, 8), outside),
        Mark("cat", (0, 0, 1, 2), lambda: left),
        Mark("cat", (0, 0, 1, 1)),  # one object without a mask: none of the class
    ]
    image = labelled_image("a", 3, 2, marks, PLACES, Counter())
    cat, dog = image.regions
    assert cat.mask is None
    assert dog.mask().tolist() == drawn(["#.#", "#.."]).tolist()
    assert dog.mask().dtype == np.bool_
    assert left.tolist() == drawn(["#..", "#.."]).tolist()  # untouched


@pytest.mark.parametrize("value", ["", "x", "nan", "inf", "-inf", None, True, [1], float("nan"), 10**400])
def test_what_is_no_number(value):
    assert refused(number, "here", value).startswith("here: ")


@pytest.mark.parametrize(("value", "found"), [("1", 1), ("-2.5", -2.5), (3, 3), (0.5, 0.5), (" 4 ", 4)])
def test_what_is_a_number(value, found):
    assert number("here", value) == found


def test_sizes_are_whole_and_at_least_1():
    assert whole_size("here", "3", 4.0) == (3, 4)
    for size in (("3.5", 4), (0, 4), (3, 0), (-1, 4)):
        assert f"here: the size is {size[0]} x {size[1]}: expected whole numbers" in refused(whole_size, "here", *size)
