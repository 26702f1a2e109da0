"""Maps as 64 x 64 cells: by hand, and against slow loops over pixels and cells."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grounding.datasets.map_cells import CELLS, NO_SPREAD, Spread, odd_px, to_cells


def clicked(height, width, *places):
    """A map with 1 at each (x, y)."""
    map_ = np.zeros((height, width))
    for x, y in places:
        map_[y, x] = 1
    return map_


def shares(cells):
    """The cells above 0 as `(x, y) -> value`, which add up to 1."""
    return {(int(x), int(y)): cells[y, x] for y, x in np.argwhere(cells > 0)}


def slow(map_, weight):
    """Cells by four loops: `weight(y, x, v, u)` is what pixel (u, v) gives to pixel (x, y)."""
    height, width = map_.shape
    cells = np.zeros((CELLS, CELLS))
    spread = np.zeros((height, width))
    for y, x, v, u in itertools.product(range(height), range(width), range(height), range(width)):
        spread[y, x] += weight(y, x, v, u) * map_[v, u]
    for y, x in itertools.product(range(height), range(width)):
        for row, column in itertools.product(touched(y, height), touched(x, width)):
            top, bottom = max(row * height / CELLS, y), min((row + 1) * height / CELLS, y + 1)
            left, right = max(column * width / CELLS, x), min((column + 1) * width / CELLS, x + 1)
            cells[row, column] += max(bottom - top, 0) * max(right - left, 0) * spread[y, x]
    return cells / cells.sum()


def touched(pixel, side):
    """The cells that a pixel may reach into."""
    return range(int(pixel * CELLS / side), min(int((pixel + 1) * CELLS / side) + 1, CELLS))


def slow_gaussian(sigma_y, sigma_x):
    return lambda y, x, v, u: math.exp(-(((y - v) / sigma_y) ** 2) / 2 - (((x - u) / sigma_x) ** 2) / 2)


def slow_disc(diameter):
    """The weight of one even disc: pixels whose centre is at most half the diameter less half a px from its middle."""
    inside = [
        (down, across)
        for down in range(-diameter, diameter + 1)
        for across in range(-diameter, diameter + 1)
        if down**2 + across**2 <= ((diameter - 1) / 2) ** 2
    ]
    return lambda y, x, v, u: ((y - v, x - u) in inside) / len(inside)


@pytest.mark.parametrize("kind", ["none", "gaussian", "discs"])
@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (64, 64)])
def test_a_map_of_zeros_says_nothing(kind, shape):
    assert to_cells(np.zeros(shape), Spread(kind, 0.1), 50, 70) is None


@pytest.mark.parametrize(
    ("map_", "expected"),
    [
        (clicked(64, 64, (5, 3)), {(5, 3): 1}),
        (clicked(64, 64, (5, 3), (63, 0)), {(5, 3): 0.5, (63, 0): 0.5}),
        (clicked(128, 64, (5, 3)), {(5, 1): 1}),  # cells are 2 px high: row 3 is in cell 1
        (clicked(128, 128, (0, 0), (1, 1), (2, 2), (3, 2)), {(0, 0): 0.5, (1, 1): 0.5}),
        (clicked(32, 64, (5, 3)), {(5, 6): 0.5, (5, 7): 0.5}),  # cells are half a px high
        (clicked(64, 96, (1, 0)), {(0, 0): 0.5, (1, 0): 0.5}),  # cells are 1.5 px wide: pixel 1 is in two
        (clicked(64, 96, (0, 0)), {(0, 0): 1}),
        (3 * clicked(64, 64, (0, 0)) + clicked(64, 64, (1, 0)), {(0, 0): 0.75, (1, 0): 0.25}),
    ],
    ids=["one", "two", "tall", "large", "small", "between cells", "first", "counts"],
)
def test_cells_by_hand(map_, expected):
    cells = to_cells(map_, NO_SPREAD, 64, 64)
    assert cells.shape == (64, 64)
    assert cells.dtype == np.float32
    assert shares(cells) == pytest.approx(expected)


def test_an_even_map_of_any_size_is_even():
    for shape in ((1, 1), (3, 200), (64, 65), (7, 7)):
        np.testing.assert_allclose(to_cells(np.full(shape, 9.0), NO_SPREAD, 5, 5), 1 / 4096, rtol=1e-6)


def test_a_small_disc_twice_by_hand():
    # A disc of 3 px is a plus of 5 pixels, each 1/5. Twice: the middle gets 5/25, pixels one step or one step each way
    # from it 2/25 (two ways there), those two steps away in a line 1/25: 5 + 4 * 2 + 4 * 2 + 4 * 1 = 25.
    cells = to_cells(clicked(64, 64, (10, 20)), Spread("discs", 3 / 64), 64, 64)
    steps = {(0, 0): 5, (1, 0): 2, (0, 1): 2, (1, 1): 2, (2, 0): 1, (0, 2): 1}
    expected = {
        (10 + sx * x, 20 + sy * y): count / 25
        for (x, y), count in steps.items()
        for sx, sy in itertools.product((1, -1), (1, -1))
    }
    assert shares(np.where(cells > 1e-9, cells, 0)) == pytest.approx(expected, abs=1e-7)


def test_a_gaussian_by_hand():
    # Of a standard deviation of 2 px: exp(-1/8) one px away, exp(-1/2) two, exp(-1/4) one each way.
    cells = to_cells(clicked(64, 64, (30, 20)), Spread("gaussian", 2 / 64), 64, 64)
    top = cells[20, 30]
    found = cells[20, 31] / top, cells[20, 28] / top, cells[22, 30] / top, cells[21, 29] / top
    assert found == pytest.approx([math.exp(-1 / 8), math.exp(-1 / 2), math.exp(-1 / 2), math.exp(-1 / 4)], rel=1e-5)


@pytest.mark.parametrize(
    ("length", "px"),
    [(0.01, 1), (0.5, 1), (1, 1), (1.4, 1), (2, 3), (2.6, 3), (3.4, 3), (3.6, 5), (4, 5), (21, 21), (22, 23)],
)
def test_odd_lengths(length, px):
    assert odd_px(length) == px


maps = st.integers(1, 6).flatmap(
    lambda height: st.integers(1, 6).flatmap(
        lambda width: st.lists(st.integers(0, 3), min_size=height * width, max_size=height * width).map(
            lambda values: np.array(values, np.float64).reshape(height, width)
        )
    )
)


@settings(max_examples=40)
@given(maps, st.floats(0.05, 0.9))
def test_any_gaussian(map_, size):
    height, width = map_.shape
    cells = to_cells(map_, Spread("gaussian", size), width, height)
    if not map_.any():
        assert cells is None
        return
    sigma = size * min(height, width)
    np.testing.assert_allclose(cells, slow(map_, slow_gaussian(sigma, sigma)), atol=1e-6)


@settings(max_examples=40)
@given(maps, st.sampled_from([1, 3, 5]))
def test_any_discs(map_, diameter):
    height, width = map_.shape
    cells = to_cells(map_, Spread("discs", diameter / min(height, width)), width, height)
    if not map_.any():
        assert cells is None
        return
    once = np.zeros(map_.shape)
    weight = slow_disc(diameter)
    for y, x, v, u in itertools.product(range(height), range(width), range(height), range(width)):
        once[y, x] += weight(y, x, v, u) * map_[v, u]
    np.testing.assert_allclose(cells, slow(once, weight), atol=1e-6)


@pytest.mark.parametrize("diameter", [11, 21, 27])
def test_large_discs(diameter):  # which OpenCV convolves in Fourier space
    map_ = clicked(64, 64, (20, 30), (60, 5), (40, 40))
    disc = np.array([[slow_disc(diameter)(y, x, 0, 0) for x in range(-30, 31)] for y in range(-30, 31)])
    for _ in range(2):
        padded, map_ = np.pad(map_, 30), np.zeros((64, 64))
        for y, x in np.argwhere(disc):
            map_ += disc[y, x] * padded[y : y + 64, x : x + 64]
    found = to_cells(clicked(64, 64, (20, 30), (60, 5), (40, 40)), Spread("discs", diameter / 64), 64, 64)
    np.testing.assert_allclose(found, map_ / map_.sum(), atol=1e-8)
    assert found.min() >= 0


def test_the_map_of_a_squashed_picture_is_spread_as_the_picture_is_squashed():
    # A picture of 200 x 100 px as a map of 6 x 6: a spread of a fifth of the shorter side is 20 px, which is 0.2 of the
    # height and 0.1 of the width: 1.2 and 0.6 px of the map.
    map_ = clicked(6, 6, (1, 4), (5, 5))
    cells = to_cells(map_, Spread("gaussian", 0.2), 200, 100)
    np.testing.assert_allclose(cells, slow(map_, slow_gaussian(1.2, 0.6)), atol=1e-7)
    # By discs of a tenth of the shorter side: 0.1 * 64 = 6.4 -> 7 px high, 0.05 * 64 = 3.2 -> 3 px wide. Twice: from
    # the middle at most 2 * 3 px down and 2 * 1 px across.
    found = to_cells(clicked(64, 64, (30, 30)), Spread("discs", 0.1), 200, 100)
    rows, columns = np.nonzero(found > 1e-9)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (24, 36, 28, 32)


@pytest.mark.parametrize("kind", ["none", "gaussian", "discs"])
@pytest.mark.parametrize("factor", [1e-310, 1e-9, 7.0, 5e306], ids=str)
def test_the_scale_of_a_map_does_not_matter(kind, factor):
    map_ = np.arange(35.0).reshape(5, 7)  # whose sum times 5e306 is no float64
    np.testing.assert_allclose(
        to_cells(factor * map_, Spread(kind, 0.3), 7, 5), to_cells(map_, Spread(kind, 0.3), 7, 5), atol=1e-7
    )


@pytest.mark.parametrize("kind", ["gaussian", "discs"])
def test_a_very_narrow_spread_is_none(kind):
    map_ = np.arange(35.0).reshape(5, 7)
    found = to_cells(map_, Spread(kind, 1e-300), 7, 5)
    np.testing.assert_allclose(found, to_cells(map_, NO_SPREAD, 7, 5), atol=1e-8)


def test_what_spreads_over_the_border_is_lost():
    cells = to_cells(clicked(64, 64, (0, 0), (32, 32)), Spread("gaussian", 3 / 64), 64, 64)
    assert cells[:16, :16].sum() == pytest.approx(0.566**2 / (1 + 0.566**2), abs=2e-3)  # 0.5 + half a pixel of Gaussian
    assert cells.sum() == pytest.approx(1, abs=1e-6)
