"""Which of several a phrase means: by the definitions, cell by cell, and by tables of peaks."""

import math

import numpy as np
import pytest
import torch

from grounding.regions.maps import normalize
from grounding.regions.points import apart, in_context, on_side, rivals_of, share_point, with_attributes
from grounding.text.context import PhraseContext
from helpers.maps import bell_by_cells, by_cells, doubles, gaussian_by_loops, normalized, peaks, same_maps

SIDE = 10
LEFT, RIGHT = (0.25, 0.5), (0.75, 0.5)


def context(owner=None, link=None, same_as=None, several=False):
    return PhraseContext(owner, link, same_as, None, several)


def with_attributes_by_cells(map_, attributes):
    mean = np.zeros(map_.shape)
    for attribute in attributes:
        mean += normalized(doubles(attribute))
    mean = gaussian_by_loops(mean, 0.1 * len(map_))
    map_ = doubles(map_)
    return normalized(map_ * (mean / mean.max() + 0.02) if mean.max() > 0 else map_)


@pytest.mark.parametrize("scales", [[], [1], [0], [1, 1], [2, 0, 1e-3]])
def test_attributes_multiply_the_map_of_who_has_them(scales):
    map_ = torch.rand(SIDE, SIDE)
    attributes = torch.rand(len(scales), SIDE, SIDE) ** 4 * torch.tensor(scales, dtype=torch.float32)[:, None, None]
    found = with_attributes(map_, attributes)
    same_maps(found, with_attributes_by_cells(map_, attributes))
    assert float(found.sum()) == pytest.approx(1)


@pytest.mark.parametrize("attribute", [0, 1])
def test_an_empty_map_stays_empty_with_attributes(attribute):
    assert not with_attributes(torch.zeros(4, 4), torch.full((1, 4, 4), float(attribute))).any()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("left", lambda x: 1 / (1 + math.exp((x - 0.5) / 0.1))),
        ("right", lambda x: 1 / (1 + math.exp((0.5 - x) / 0.1))),
        ("middle", lambda x: math.exp(-((x - 0.5) ** 2) / (2 * 0.2**2))),
    ],
)
def test_a_side_holds_down_the_rest_of_the_picture(name, value):
    same_maps(on_side(SIDE, name), by_cells(SIDE, lambda x, _: value(x) + 0.02))


@pytest.mark.parametrize(
    ("cells", "expected"),
    [([[0.0]], (0.5, 0.5)), ([[0.0, 1.0], [0.0, 0.0]], (0.75, 0.25)), ([[0.0, 0.0], [1.0, 1.0]], (0.25, 0.75))],
)
def test_a_point_is_in_shares_of_the_sides(cells, expected):
    assert share_point(torch.tensor(cells)) == expected


def point_by_cells(map_):
    row, column = np.unravel_index(map_.argmax(), map_.shape)
    return (column + 0.5) / len(map_), (row + 0.5) / len(map_)


def apart_by_cells(maps):
    """Slow definition: settle the pairs in order; the one that keeps more of its maximum gives way, else the later."""
    maps = [doubles(map_) for map_ in maps]
    for later in range(len(maps)):
        for earlier in range(later):
            ours, theirs = point_by_cells(maps[later]), point_by_cells(maps[earlier])
            if math.dist(ours, theirs) < 0.07:
                side = len(maps[later])
                left = {
                    later: maps[later] * (1 - bell_by_cells(side, theirs, 0.08, 0.08)),
                    earlier: maps[earlier] * (1 - bell_by_cells(side, ours, 0.08, 0.08)),
                }
                kept = {one: left[one].max() / maps[one].max() for one in left}
                yields = max((later, earlier), key=kept.__getitem__)  # of equals the first, which is the later
                if kept[yields] > 0:
                    maps[yields] = normalized(left[yields])
    return maps


@pytest.mark.parametrize("count", [0, 1, 2, 3, 6])
@pytest.mark.parametrize("seed", range(4))
def test_points_are_kept_apart_pair_by_pair(count, seed):
    generator = torch.Generator().manual_seed(seed)
    common = torch.rand(20, 20, generator=generator) ** 6
    maps = [normalize(common + 0.02 * torch.rand(20, 20, generator=generator)) for _ in range(count)]
    found = apart(maps)
    assert len(found) == count
    for ours, theirs in zip(found, apart_by_cells(maps), strict=True):
        same_maps(ours, theirs, rtol=1e-4, atol=1e-6)  # points are equal, and the maps up to six products after another
        assert share_point(ours) == point_by_cells(theirs)


TWO = peaks(50, (*LEFT, 1.0), (*RIGHT, 0.8))
ONE = peaks(50, (*LEFT, 1.0), (*RIGHT, 0.1))
ELSEWHERE = peaks(50, (*RIGHT, 1.0))
DELTA = torch.zeros(50, 50).index_put_((torch.tensor(25), torch.tensor(12)), torch.tensor(1.0))


@pytest.mark.parametrize(
    ("maps", "sides"),
    [
        ([], ""),
        ([TWO], "l"),
        ([TWO, TWO], "lr"),  # of equals the later gives way
        ([TWO, ONE], "rl"),  # the one that has another place
        ([ONE, TWO], "lr"),
        ([TWO, ELSEWHERE], "lr"),  # far enough as they are
        ([DELTA, DELTA], "ll"),  # neither can
        ([DELTA, TWO], "lr"),
    ],
)
def test_who_gives_way(maps, sides):
    before = [map_.clone() for map_ in maps]
    found = apart(maps)
    assert "".join("l" if share_point(map_)[0] < 0.5 else "r" for map_ in found) == sides
    assert all(map(torch.equal, maps, before))


@pytest.mark.parametrize(("cells", "near"), [(0, True), (3, True), (4, False), (10, False)])
def test_points_within_a_fourteenth_of_the_side_are_too_near(cells, near):
    maps = [peaks(50, (0.31, 0.5, 1.0), (0.81, 0.5, 0.9)), peaks(50, (0.31 + cells / 50, 0.5, 1.0))]
    (first, _), _ = map(share_point, apart(maps))
    assert (first > 0.6) == near


ON_LEFT, ON_RIGHT = peaks(50, (0.25, 0.3, 1)), peaks(50, (0.75, 0.3, 1))
EMPTY = torch.zeros(50, 50)
MAN, WOMAN, GROUP = context(), context(), context(several=True)


@pytest.mark.parametrize(
    ("maps", "people", "contexts", "sides"),
    [
        ([], [], [], ""),
        ([TWO], [0], [MAN], "l"),
        ([TWO, ON_RIGHT], [0], [MAN, context(0, "wears")], "rr"),
        ([TWO, ON_RIGHT], [0], [MAN, context(0, "has")], "rr"),
        ([TWO, ON_RIGHT], [0], [MAN, context(0, "holds")], "lr"),  # not on him
        ([TWO, ON_RIGHT], [0], [MAN, context(0, "with")], "lr"),
        ([TWO, ON_RIGHT], [0], [MAN, context()], "lr"),
        ([TWO, ON_RIGHT], [], [MAN, context(0, "has")], "rr"),  # a car with its hood open
        ([ON_RIGHT, TWO], [1], [context(1, "wears"), MAN], "rr"),  # in a red hat, a man
        ([TWO, EMPTY], [0], [MAN, context(0, "wears")], "ll"),
        ([EMPTY, ON_RIGHT], [], [MAN, context(0, "wears")], "lr"),
        ([TWO, TWO], [0, 1], [MAN, WOMAN], "lr"),
        ([TWO, TWO], [0], [MAN, WOMAN], "ll"),  # the second is no person
        ([TWO, TWO], [0, 1], [MAN, GROUP], "ll"),
        ([TWO, TWO], [0, 1], [MAN, context(same_as=0)], "ll"),
        ([TWO, ELSEWHERE], [0, 1], [MAN, context(same_as=0)], "ll"),  # one person, one point
        ([TWO, ELSEWHERE], [0, 1], [GROUP, context(same_as=0, several=True)], "lr"),
        ([TWO, TWO, ELSEWHERE], [0, 1, 2], [MAN, WOMAN, context(same_as=1)], "lrr"),
        ([TWO, ELSEWHERE, ON_RIGHT], [0, 1], [MAN, context(same_as=0), context(0, "wears")], "rrr"),
        ([TWO, TWO, ON_LEFT, ON_RIGHT], [0, 1], [MAN, WOMAN, context(1, "wears"), context(0, "wears")], "rllr"),
    ],
)
def test_context_chooses_among_several(maps, people, contexts, sides):
    given = torch.stack(maps) if maps else torch.zeros(0, 50, 50)
    before = given.clone()
    chosen = in_context(normalize(given), given, people, contexts)
    assert chosen.shape == given.shape
    assert "".join("l" if share_point(map_)[0] < 0.5 else "r" for map_ in chosen) == sides
    assert torch.equal(given, before)
    mass = chosen.sum((1, 2))
    torch.testing.assert_close(mass, (mass > 0).float())


def test_all_mentions_of_one_person_have_one_map():
    maps = normalize(torch.rand(4, SIDE, SIDE))
    contexts = [MAN, WOMAN, context(same_as=0), context(same_as=0)]
    chosen = in_context(maps, maps, range(4), contexts)
    assert torch.equal(chosen[2], chosen[0])
    assert torch.equal(chosen[3], chosen[0])
    assert not torch.equal(chosen[1], chosen[0])


@pytest.mark.parametrize(
    ("person", "people", "contexts", "expected"),
    [
        (0, [0], [MAN], []),
        (0, [0, 1], [MAN, WOMAN], [1]),
        (1, [0, 1], [MAN, WOMAN], [0]),
        (0, [0, 2], [MAN, WOMAN, context()], [2]),  # 1 is no person
        (0, [0, 1], [MAN, GROUP], []),
        (1, [0, 1], [MAN, GROUP], []),
        (0, [0, 1], [MAN, context(same_as=0)], []),
        (1, [0, 1], [MAN, context(same_as=0)], []),
        (2, [0, 1, 2], [MAN, WOMAN, context(same_as=1)], [0]),
        (1, [1, 2], [MAN, context(same_as=0), WOMAN], [2]),  # the first mention has no map
    ],
)
def test_who_the_others_are(person, people, contexts, expected):
    assert rivals_of(person, people, contexts) == expected
