"""COCO's masks: polygons and run lengths against masks worked by hand and a slow definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as cocoapi

from grounding.datasets.coco_masks import decoded_mask
from helpers.labelled import drawn, refused

SQUARE = [1, 1, 4, 1, 4, 3, 1, 3]  # px 1 to 3 across, 1 and 2 down
CORNER = [0, 0, 1, 0, 1, 1, 0, 1]


def decode(segmentation):
    return decoded_mask(segmentation, 5, 4, "here")


@pytest.mark.parametrize(
    ("segmentation", "rows"),
    [
        ([SQUARE], [".....", ".###.", ".###.", "....."]),
        ([SQUARE, CORNER], ["#....", ".###.", ".###.", "....."]),
        ([[0, 0, 5, 0, 5, 4, 0, 4]], ["#####"] * 4),
        ([[-2, -2, 2, -2, 2, 2, -2, 2]], ["##...", "##...", ".....", "....."]),  # what is outside is cut off
        ([[-5, -4, 10, -4, 10, 8, -5, 8]], ["#####"] * 4),  # as far out as may be
        # Columns of 4: two 0s, three 1s (rows 2 and 3, and row 0 of the next), then fifteen 0s.
        ({"size": [4, 5], "counts": [2, 3, 15]}, [".#...", ".....", "#....", "#...."]),
        ({"size": [4, 5], "counts": [0, 20]}, ["#####"] * 4),
        ({"size": [4, 5], "counts": [20]}, ["....."] * 4),
        # A character is 48 more than its number, "?" 15: 0b01111, without the sign bit 0b10000.
        ({"size": [4, 5], "counts": "23?"}, [".#...", ".....", "#....", "#...."]),
        # The fourth differs by 0 from the second, the fifth by 4 from the third: 2, 3, 4, 3, 8; 1s are px 2-4 and 9-11.
        ({"size": [4, 5], "counts": "23404"}, [".#...", "..#..", "#.#..", "#.#.."]),
    ],
    ids=["one", "two", "all", "beyond", "far", "runs", "ones", "zeros", "packed", "differences"],
)
def test_masks_by_hand(segmentation, rows):
    found = decode(segmentation)
    assert found.dtype == np.bool_
    assert found.tolist() == drawn(rows).tolist()


@given(arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_run_lengths_by_definition(wanted):
    height, width = wanted.shape
    runs, last = [0], False
    for pixel in wanted.T.reshape(-1):  # column by column
        if pixel != last:
            runs.append(0)
        runs[-1], last = runs[-1] + 1, pixel
    packed = cocoapi.encode(np.asfortranarray(wanted.astype(np.uint8)))["counts"].decode()
    for counts in (runs, packed):
        found = decoded_mask({"size": [height, width], "counts": counts}, width, height, "here")
        assert (found == wanted).all()


def test_large_runs_take_several_characters():
    wanted = np.zeros((300, 400), np.bool_)
    wanted[:, 100:250] = True
    wanted[5:9, 300] = True
    packed = cocoapi.encode(np.asfortranarray(wanted.astype(np.uint8)))["counts"].decode()
    assert (decoded_mask({"size": [300, 400], "counts": packed}, 400, 300, "here") == wanted).all()


@given(st.integers(0, 11), st.integers(0, 11), st.integers(1, 12), st.integers(1, 12))
def test_a_rectangle_is_the_pixels_inside_it(x, y, across, down):
    right, bottom = min(x + across, 12), min(y + down, 12)
    found = decoded_mask([[x, y, right, y, right, bottom, x, bottom]], 12, 12, "here")
    wanted = [[x <= column < right and y <= row < bottom for column in range(12)] for row in range(12)]
    assert found.tolist() == wanted


@pytest.mark.parametrize(
    ("segmentation", "said"),
    [
        ([[1, 1, 4, 1]], "a polygon is no list of at least 3 points x, y"),  # pycocotools would take it for a box
        ([[1, 1, 4, 1, 4, 3, 1]], "a polygon is no list of at least 3 points"),
        ([SQUARE, []], "a polygon is no list of at least 3 points"),
        (SQUARE, "a polygon is no list of at least 3 points"),
        ([[1, 1, 4, 1, 4, float("nan")]], "a point of a polygon is far outside the picture"),
        ([[1, 1, float("inf"), 1, 4, 3]], "a point of a polygon is far outside the picture"),  # takes all memory
        ([[-6, 1, 4, 1, 4, 3]], "a point of a polygon is far outside the picture"),
        ([[1, 1, 4, 1, 4, 9]], "a point of a polygon is far outside the picture"),
        ([[1, 1, 11, 1, 4, 3]], "a point of a polygon is far outside the picture"),
        ([[1, 1, "x", 1, 4, 3]], "could not convert"),
        ("polygon", "cannot be decoded"),
        (7, "cannot be decoded"),
        ({"size": [5, 4], "counts": [20]}, "its size is [5, 4], but that of the picture [4, 5]"),
        ({"size": [4, 5], "counts": [2, 3, 14]}, "its runs add up to 19 px, but the picture has 20"),
        ({"size": [4, 5], "counts": [2, 3, 16]}, "its runs add up to 21 px"),
        ({"size": [4, 5], "counts": [-1, 3, 18]}, "its runs add up to 20 px"),
        ({"size": [4, 5], "counts": "2323"}, "its runs add up to 13 px"),  # 2, 3, 2 and 3 more than 3
        ({"size": [4, 5], "counts": ""}, "its runs add up to 0 px"),  # pycocotools would give what is in memory
        ({"size": [4, 5], "counts": "23?o"}, "its compressed run lengths are cut short"),
        ({"size": [4, 5], "counts": "23 "}, "' ' does not occur in compressed run lengths"),
        ({"size": [4, 5], "counts": "23p"}, "'p' does not occur in compressed run lengths"),
        ({"size": [4, 5]}, "cannot be decoded"),
        ({"counts": [20]}, "cannot be decoded"),
        ({"size": 4, "counts": [20]}, "cannot be decoded"),
    ],
    ids=[
        *("box", "odd", "empty", "flat", "nan", "infinite", "left", "below", "right", "text", "word", "number"),
        *("turned", "short", "long", "negative", "packed", "nothing", "cut", "blank", "p", "no counts", "no size"),
        "size",
    ],
)  # fmt: skip
def test_what_cannot_be_decoded(segmentation, said):
    message = refused(decode, segmentation)
    assert message.startswith("here: its segmentation cannot be decoded (")
    assert said in message
