"""Raking: cells by hand, weights against what defines them and against a slow loop over single phrases."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grounding.evaluation.protocols.raking import AREA_EDGES, SWEEPS, absent_categories, cells, rake
from helpers.entities import image_with
from helpers.raking import slow_weights

WIDE, TALL = "50 to 64%", "4 to 8%"


def cell(kind="people", area="1 to 2%", boxes="1", centre="no"):
    return kind, area, boxes, centre


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([(0, 0, 10, 10)], ("1 to 2%", "1", "no")),  # exactly 1% is not below 1%
        ([(0, 0, 9, 11)], ("0 to 1%", "1", "no")),
        ([(0, 0, 50, 100)], ("50 to 64%", "1", "no")),  # the centre lies on the right edge
        ([(50, 0, 100, 100)], ("50 to 64%", "1", "yes")),
        ([(50, 50, 51, 51)], ("0 to 1%", "1", "yes")),
        ([(0, 0, 100, 100)], ("80 to 100%", "1", "yes")),
        ([(0, 0, 1, 1), (79, 99, 80, 100)], ("80 to 100%", "2", "yes")),  # the merged box counts
        ([(0, 0, 20, 20)] * 4, ("4 to 8%", "4", "no")),
        ([(0, 0, 20, 20)] * 5, ("4 to 8%", "5 or more", "no")),
        ([(0, 0, 20, 20)] * 9, ("4 to 8%", "5 or more", "no")),
    ],
)
def test_the_cell_of_a_phrase(boxes, expected):
    found = cells([image_with("1", [(0, "7", "scene", boxes)])])
    assert found.names == (("scene", *expected),)
    assert found.sizes.tolist() == [1]


def test_cells_are_of_phrases_with_a_box_and_two_types_count_half_each():
    images = [
        image_with("1", [(0, "1", "people", [(0, 0, 20, 20)]), (0, "0", "notvisual", [])]),
        image_with("2", []),
        image_with("3", [(0, "4", "animals people", [(0, 0, 20, 20)]), (1, "5", "people", [(0, 0, 20, 20)])]),
    ]
    found = cells(images)
    person, animal = (cell(kind, TALL) for kind in ("people", "animals"))
    assert found.names == (person, animal, person, person)
    assert found.phrases.tolist() == [0, 1, 1, 2]
    assert found.sizes.tolist() == [1, 0.5, 0.5, 1]
    assert found.total() == {person: 2.5, animal: 0.5}
    assert cells([]).total() == {}
    assert len(AREA_EDGES) == 11
    assert list(AREA_EDGES) == sorted(AREA_EDGES)


def test_raking_by_hand():
    """Three people and one dog of a whole that is half and half: 2/3 each, and 2."""
    person, dog = cell(), cell("animals")
    worth, off = rake([person, dog], np.array([[3.0, 1], [1, 1], [0, 0], [5, 0]]), {person: 40.0, dog: 40.0})
    np.testing.assert_allclose(worth, [[2 / 3, 2], [1, 1], [0, 0], [1, 0]])
    assert off.max() < 1e-9  # without a dog, people are all that is left


def test_raking_of_two_margins_by_hand():
    """Table [[4, 0], [1, 1]] to rows 1/2, 1/2 and columns 3/5, 2/5: shares [[1/2, 0], [1/10, 2/5]]."""
    names = [cell("people", WIDE), cell("animals", WIDE), cell("animals", TALL)]
    whole = {
        cell("people", WIDE): 2.0,
        cell("people", TALL): 3.0,
        cell("animals", WIDE): 4.0,
        cell("animals", TALL): 1.0,
    }
    worth, off = rake(names, np.array([[4.0, 1, 1]]), whole)
    np.testing.assert_allclose(worth[0] * [4, 1, 1] / 6, [0.5, 0.1, 0.4], atol=1e-5)
    assert off[0] < 1e-5


def test_nothing_to_rake():
    worth, off = rake([], np.zeros((2, 0)), {cell(): 1.0})
    assert worth.shape == (2, 0)
    assert off.tolist() == [0, 0]


kinds = st.sampled_from(["people", "animals", "scene"])
areas, counts, centres = (st.sampled_from(pair) for pair in ([WIDE, TALL], ["1", "2"], ["no", "yes"]))
some_cells = st.builds(cell, kinds, areas, counts, centres)


@settings(max_examples=40)
@given(st.dictionaries(some_cells, st.integers(1, 6), min_size=1, max_size=12), st.data())
def test_raked_phrases_are_those_of_a_slow_loop(part, data):
    more = data.draw(st.dictionaries(some_cells, st.integers(1, 30)))
    whole = {name: part.get(name, 0) + more.get(name, 0) for name in [*part, *more]}
    names = list(part)
    worth, off = rake(names, np.array([list(part.values())], np.float64), {k: float(v) for k, v in whole.items()})
    single = [name for name in names for _ in range(part[name])]
    slow = dict(zip(single, slow_weights(single, whole, 400), strict=True))
    if off[0] <= 1e-6:
        np.testing.assert_allclose(worth[0], [slow[name] for name in names], atol=1e-3)
    assert worth[0] @ np.array(list(part.values())) == pytest.approx(len(single))


def test_raked_weights_are_what_defines_them():
    """The categories have their shares, and a weight is a product of one number a category: there is only one such."""
    generator = np.random.default_rng(3)
    grid = [
        cell(*each)
        for each in itertools.product(["people", "animals", "scene"], [WIDE, TALL], ["1", "2", "3"], ["no", "yes"])
    ]
    part = generator.integers(1, 9, len(grid)).astype(float)
    whole = dict(zip(grid, (part + generator.integers(0, 60, len(grid))).tolist(), strict=True))
    worth, off = rake(grid, part[None], whole)
    assert off[0] <= 1e-6
    weights, everything = worth[0], sum(whole.values())
    categories = [(place, category) for place in range(4) for category in sorted({name[place] for name in grid})]
    for place, category in categories:
        rows = [name[place] == category for name in grid]
        wanted = sum(size for name, size in whole.items() if name[place] == category) / everything
        assert (weights * part)[rows].sum() / part.sum() == pytest.approx(wanted, abs=2e-6)
    design = np.array([[name[place] == category for place, category in categories] for name in grid], float)
    fitted = design @ np.linalg.lstsq(design, np.log(weights), rcond=None)[0]
    np.testing.assert_allclose(fitted, np.log(weights), atol=1e-9)


def test_samples_do_not_touch_each_other():
    generator = np.random.default_rng(4)
    names = [cell(kind, area) for kind in ("people", "animals", "scene") for area in (WIDE, TALL)]
    whole = dict(zip(names, generator.integers(1, 50, 6).astype(float).tolist(), strict=True))
    sizes = generator.integers(0, 4, (20, 6)).astype(float)
    worth, off = rake(names, sizes, whole)
    for row in range(len(sizes)):
        alone, its_off = rake(names, sizes[row : row + 1], whole)
        np.testing.assert_allclose(alone[0], worth[row], rtol=1e-12)
        assert its_off[0] == pytest.approx(off[row], abs=1e-12)


def test_what_cannot_be_met_is_said():
    """People are always wide and animals tall, but the whole has more people than wide things."""
    names = [cell("people", WIDE), cell("animals", TALL)]
    whole = {names[0]: 20.0, names[1]: 20.0, cell("people", TALL): 60.0}
    worth, off = rake(names, np.ones((1, 2)), whole)
    assert SWEEPS < 1000
    assert np.isfinite(worth).all()
    assert off[0] == pytest.approx(0.6)  # 80% people are wanted where the areas, fitted last, leave 20%


def test_absent_categories():
    whole = {cell("people", WIDE): 3.0, cell("scene", TALL): 1.5, cell("scene", WIDE): 2.0}
    assert absent_categories([cell("people", WIDE)], whole) == {
        ("entity type", "scene"): 3.5,
        ("area of the merged box", TALL): 1.5,
    }
    assert absent_categories(list(whole), whole) == {}
    assert math.isclose(sum(absent_categories([cell("scene", TALL)], whole).values()), 3.0 + 5.0)
