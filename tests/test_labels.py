"""Labels stand inside the picture and apart, or below it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from grounding.labels import Label, placed, with_labels

numbers = st.floats(0, 1)


def apart(edges):
    for n, one in enumerate(edges):
        for other in edges[:n]:
            assert one[0] >= other[2] or other[0] >= one[2] or one[1] >= other[3] or other[1] >= one[3]


@given(
    st.lists(st.tuples(numbers, numbers, numbers, numbers), max_size=25),
    st.tuples(st.integers(1, 1600), st.integers(1, 1600)),
    st.floats(10, 300),
)
def test_whatever_the_boxes_no_label_leaves_the_picture_or_covers_another(shares, canvas, width):
    across, down = canvas
    boxes = [(across * min(a, b), down * min(c, d), across * max(a, b), down * max(c, d)) for a, b, c, d in shares]
    places = placed(boxes, [(width, 17.0)] * len(boxes), canvas)
    standing = [place for place in places if place is not None]
    for left, top, right, bottom in standing:
        assert 0 <= left < right <= across
        assert 0 <= top < bottom <= down
    apart(standing)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((100, 100, 200, 200), (100, 80, 150, 100)),  # above it
        ((100, 5, 200, 200), (100, 0, 150, 20)),  # no room above
        ((390, 100, 400, 200), (349, 80, 399, 100)),  # no room to the right
    ],
)
def test_a_label_stands_at_its_box(box, expected):
    assert placed([box], [(50.0, 20.0)], (400, 400)) == [expected]


def test_labels_of_equal_boxes_stand_near_them():
    places = placed([(100, 100, 200, 200)] * 3, [(50.0, 20.0)] * 3, (400, 400))
    assert places == [(100, 80, 150, 100), (100, 100, 150, 120), (100, 200, 150, 220)]


def test_too_many_labels_go_below_the_picture():
    assert placed([(0, 0, 9, 9)] * 20, [(100.0, 17.0)] * 20, (320, 320)) == [None] * 20
    labels = [Label(f"phrase number {n}", "#ff8c1a", (0, 0, 9, 9)) for n in range(20)]
    picture = with_labels(Image.new("RGB", (320, 320), "white"), labels, 12)
    assert picture.width == 320
    assert 320 < picture.height < 520
    assert (np.asarray(picture)[:320] == 255).all()
    assert (np.asarray(picture)[320:] == [255, 140, 26]).all(2).mean() > 0.3


@pytest.mark.parametrize("size", [(32, 1600), (1600, 32), (1, 1), (320, 320)])
@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a hat",
        "a red\nhat\tand\r\nmore",
        "x" * 500,
        "a\u200bz\u202e rtl",
        "שלום",
        "帽子 \U0001f600",
        "\ud800",
        "\x00\x1b[31m",
    ],
)
def test_every_text_is_one_line_on_every_picture(size, text):
    canvas = Image.new("RGB", size, "white")
    picture = with_labels(canvas, [Label(text, "#2f7ff5", (0, 0, *size))], 12)
    blue = (np.asarray(picture) == [47, 127, 245]).all(2)
    assert blue.any()
    rows = np.flatnonzero(blue.any(1))
    assert rows.max() - rows.min() < 2 * 12
    assert picture.width >= size[0]


def test_nothing_to_say_leaves_the_picture_as_it_is():
    canvas = Image.new("RGB", (50, 40), "white")
    assert with_labels(canvas, [], 12).size == (50, 40)
