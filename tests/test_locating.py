"""From invented phrase maps to points and boxes."""

import itertools

import numpy as np
import pytest
import torch

from grounding.config import LocalizerConfig, MapConfig, WholeConfig
from grounding.locating import Picture, locate
from grounding.regions.frames import CELLS, Frames, in_frame
from grounding.regions.maps import centre_prior, normalize, peak, smooth
from grounding.regions.points import on_side
from grounding.regions.power import area_powers
from grounding.regions.proposals import windows
from grounding.regions.scoring import score_boxes
from grounding.regions.wholes import whole_map
from grounding.text.context import read_context
from grounding.text.phrases import find_phrases
from helpers.maps import peaks

SIDE, HEIGHT, WIDTH = 48, 120, 200
LEFT, RIGHT = (0.25, 0.4), (0.75, 0.4)
TWO, ON_LEFT, ON_RIGHT = peaks(SIDE, (*LEFT, 1.0), (*RIGHT, 0.9)), peaks(SIDE, (*LEFT, 1)), peaks(SIDE, (*RIGHT, 1))
EMPTY = torch.zeros(SIDE, SIDE)
LEGS = peaks(SIDE, (0.25, 0.8, 1), (0.75, 0.8, 1))
OPEN = np.array([[0, 0, WIDTH, HEIGHT]]).repeat(0, 0).astype(np.float32)  # no proposals


def configured(**options):
    return LocalizerConfig(maps=MapConfig(resolution=SIDE), **options)


def picture(parts=None, closeness=-3.0, proposals=None):
    return Picture(windows(HEIGHT, WIDTH, 8) if proposals is None else proposals, HEIGHT, WIDTH, closeness, parts)


def ask(caption, maps, parts=None, context=True, config=None, **options):
    """Locate the phrases of a caption, given the map of each by its text."""
    phrases = find_phrases(caption, list(maps))
    contexts = read_context(caption, phrases) if context else None
    stack = torch.stack(list(maps.values())) if maps else torch.zeros(0, SIDE, SIDE)
    before = stack.clone()
    found = locate(picture(parts, **options), phrases, stack, contexts, config or configured())
    assert torch.equal(stack, before)
    assert len(found.points) == len(found.scores) == len(found.box_maps) == len(maps)
    return found


def by_itself(map_, person, config, where):
    """As each phrase was found before there were wholes and contexts: its box map, point map and scores."""
    box_map = normalize(smooth(map_[None], config.maps.box_smoothing * SIDE))
    prior = centre_prior(SIDE, config.maps.centre_prior)
    point_map = normalize(smooth(map_[None], config.maps.point_smoothing * SIDE) * prior)
    powers = area_powers(box_map.numpy(), [person], where.closeness, config.regions)
    scores = score_boxes(box_map.numpy(), where.proposals, HEIGHT, WIDTH, powers)
    return box_map[0], point_map[0], scores[:, 0]


def check_same(found, row, expected):
    box_map, point_map, scores = expected
    torch.testing.assert_close(found.box_maps[row], box_map, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(found.point_maps[row], point_map, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found.scores[row], scores, rtol=1e-5, atol=1e-8)
    x, y = peak(point_map)
    assert found.points[row] == ((x / SIDE, y / SIDE) if point_map.any() else None)


def sides(found):
    return "".join("-" if point is None else "l" if point[0] < 0.5 else "r" for point in found.points)


def best_box(found, row, where=None):
    x0, y0, x1, y1 = (where or picture()).proposals[found.scores[row][0].argmax()] / ([WIDTH, HEIGHT] * 2)
    return x0, y0, x1, y1


@pytest.mark.parametrize("context", [True, False])
@pytest.mark.parametrize("proposals", [None, OPEN])
def test_without_phrases_or_boxes(context, proposals):
    assert ask("", {}, LEGS, context, proposals=proposals).points == ()
    found = ask("a man in a hat", {"a man": EMPTY, "a hat": TWO}, LEGS, context, proposals=proposals)
    assert sides(found) == "-l"
    assert not found.box_maps[0].any()
    assert [score.shape for score in found.scores] == [(3, 0 if proposals is OPEN else 1296)] * 2
    assert sides(ask("a man in a hat", {"a man": ON_LEFT, "a hat": TWO}, LEGS, context, proposals=proposals)) == "ll"


@pytest.mark.parametrize("parts", [None, EMPTY, LEGS])
@pytest.mark.parametrize("closeness", [None, -3.0])
def test_without_wholes_and_context_a_phrase_is_its_map(parts, closeness):
    config = configured(wholes=WholeConfig(amount=0.0 if parts is LEGS else 2.0))
    maps = {"a man": TWO, "two women": ON_RIGHT, "a hat": torch.rand(SIDE, SIDE), "the sky": EMPTY, "a dog": TWO}
    caption = "a man in a hat , two women , a dog , the sky"
    found = ask(caption, maps, parts, False, config, closeness=closeness)
    for row, map_ in enumerate(maps.values()):
        check_same(found, row, by_itself(map_, row < 2, config, picture(closeness=closeness)))


def test_by_itself_each_of_many_phrases_is_as_if_alone():
    colours = ["red", "blue", "green", "black", "white", "brown", "pink"]
    texts = [f"a {colour} {word}" for word in ("hat", "dog", "man") for colour in colours]
    maps = {text: torch.rand(SIDE, SIDE) ** 3 for text in texts}
    among = ask(" , ".join(texts), maps, LEGS, False)
    for row, text in enumerate(texts):
        alone = ask(text, {text: maps[text]}, LEGS, False)
        check_same(among, row, (alone.box_maps[0], alone.point_maps[0], alone.scores[0]))


@pytest.mark.parametrize(
    ("caption", "maps", "expected"),
    [
        ("a man", {"a man": TWO}, "l"),
        ("the man on the right", {"the man": TWO}, "r"),
        ("the man on the left", {"the man": TWO}, "l"),
        ("the man on the left and on the right", {"the man": TWO}, "l"),  # contradicts itself: neither counts
        ("a man in a red hat", {"a man": TWO, "a red hat": ON_RIGHT}, "rr"),
        ("A MAN IN A RED HAT", {"A MAN": TWO, "A RED HAT": ON_RIGHT}, "rr"),
        ("a man holding a hat", {"a man": TWO, "a hat": ON_RIGHT}, "lr"),
        ("a man in a red hat", {"a red hat": ON_RIGHT, "a man": TWO}, "rr"),
        ("a man in a red hat", {"a man": EMPTY, "a red hat": ON_RIGHT}, "-r"),
        ("a man in a red hat", {"a man": TWO, "a red hat": EMPTY}, "l-"),
        ("a man without a hat", {"a man": TWO, "a hat": EMPTY}, "l-"),
        ("a man and a woman", {"a man": TWO, "a woman": TWO}, "lr"),
        ("a man and two women", {"a man": TWO, "two women": TWO}, "ll"),
        ("no man and a woman", {"no man": EMPTY, "a woman": TWO}, "-l"),
        ("a man and a dog", {"a man": TWO, "a dog": TWO}, "ll"),
        ("a man in a hat while the man sits", {"a man": TWO, "a hat": ON_RIGHT, "the man": ON_LEFT}, "rrr"),
        ("a man , a man", {"a man": TWO}, "l"),
        (
            "a man in a red hat next to a man in a shirt",
            {"a man": TWO, "a red hat": ON_RIGHT, "a man in a shirt": TWO, "a shirt": ON_LEFT},
            "rrll",
        ),
    ],
)
def test_points_by_what_the_caption_says(caption, maps, expected):
    assert sides(ask(caption, maps, LEGS)) == expected
    assert all(point is None or point[0] < 0.5 for point in ask(caption, maps, LEGS, False).points) == (
        not any(map_ is ON_RIGHT for map_ in maps.values())
    )


def test_a_side_counts_in_the_boxes_too():
    config = configured()
    found = ask("the dog on the right", {"the dog": TWO})
    check_same(found, 0, by_itself(TWO * on_side(SIDE, "right"), False, config, picture()))


@pytest.mark.parametrize("context", [True, False])
def test_the_box_of_a_person_is_read_from_the_whole(context):
    config = configured(wholes=WholeConfig(amount=1.5, reach=0.3, gamma=0.2))
    maps = {"a man": TWO, "a woman": ON_RIGHT, "two boys": TWO, "a dog": TWO, "the man": TWO}
    found = ask("a man and a woman with two boys and a dog ; the man smiles", maps, LEGS, context, config)
    points = found.points
    others = {0: [1], 1: [0], 2: [], 4: [1]} if context else {}
    for row, map_ in enumerate(maps.values()):
        evidence = map_
        if row != 3:
            rivals = [points[other] for other in others.get(row, [])]
            evidence = whole_map(map_, LEGS, points[row], rivals, config.wholes)
        box_map = normalize(smooth(evidence[None], config.maps.box_smoothing * SIDE))
        more = 0.0 if row == 3 else 0.2
        powers = area_powers(box_map.numpy(), [row != 3], -3.0, config.regions, more)
        scores = score_boxes(box_map.numpy(), picture().proposals, HEIGHT, WIDTH, powers)
        torch.testing.assert_close(found.box_maps[row], box_map[0], rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(found.scores[row], scores[:, 0], rtol=1e-5, atol=1e-8)


def test_a_person_reaches_to_the_legs():
    def bottom(parts):
        return best_box(ask("a man", {"a man": ON_LEFT}, parts), 0)[3]

    assert bottom(None) == bottom(EMPTY) < 0.7 < bottom(LEGS)


def test_parts_go_to_the_nearer_of_two_people():
    maps = {"a man": ON_LEFT, "a woman": ON_RIGHT}
    among, alone = (ask("a man and a woman", maps, LEGS, context) for context in (True, False))
    (_, _, x1, _), (x0, _, _, _) = (best_box(among, row) for row in range(2))
    assert x1 <= x0
    assert float(alone.box_maps[0][:, SIDE // 2 :].sum()) > 2 * float(among.box_maps[0][:, SIDE // 2 :].sum())


@pytest.fixture
def frames(monkeypatch):
    """Templates of our own: a hat is above the middle of the box, a shirt in it, other clothes below."""
    tops = {"hat": 0.3, "shirt": 0.5, "kind clothing": 0.7}
    made = Frames({word: peaks(CELLS, (0.5, y, 1), width=0.1) for word, y in tops.items()})
    monkeypatch.setattr(Frames, "embedded", staticmethod(lambda: made))
    return made


@pytest.mark.parametrize(
    ("caption", "worn", "template"),
    [
        ("a man in a hat", "a hat", "hat"),
        ("a man in hats", "hats", "hat"),
        ("a man in a shirt", "a shirt", "shirt"),
        ("a man in pants", "pants", "kind clothing"),
        ("a man holding a hat", "a hat", None),  # in no frame
        ("a man . a hat", "a hat", None),
        ("a man with a beard", "a beard", None),  # without a template
        ("a dog in a hat", "a hat", None),  # templates are of people
    ],
)
def test_clothes_are_looked_for_in_the_frame_of_their_owner(frames, caption, worn, template):
    owner = caption[:5]
    maps = {owner: ON_LEFT, worn: torch.rand(SIDE, SIDE) + TWO}
    found = ask(caption, maps, LEGS)
    if template is None:
        expected = by_itself(maps[worn], False, configured(), picture())
    else:
        framed = in_frame(maps[worn], frames.templates[template], np.array(best_box(found, 0)))
        box_map = normalize(smooth(framed[None], configured().maps.box_smoothing * SIDE))
        powers = area_powers(box_map.numpy(), [False], -3.0, configured().regions, 0.05)
        scores = score_boxes(box_map.numpy(), picture().proposals, HEIGHT, WIDTH, powers)[:, 0]
        expected = box_map[0], by_itself(maps[worn], False, configured(), picture())[1], scores
    check_same(found, 1, expected)
    alone = ask(caption, maps, LEGS, False)
    check_same(alone, 1, by_itself(maps[worn], False, configured(), picture()))


def test_clothes_of_an_owner_without_a_map_are_by_themselves(frames):
    found = ask("a man in a hat", {"a man": EMPTY, "a hat": TWO}, LEGS)
    check_same(found, 1, by_itself(TWO, False, configured(), picture()))


def test_the_order_in_which_phrases_are_given_changes_nothing_but_who_gives_way():
    maps = {"a man": TWO, "a red hat": ON_RIGHT, "a dog": TWO, "a tail": ON_RIGHT}
    found = [
        dict(
            zip(
                order, ask("a man in a red hat with a dog with a tail", {t: maps[t] for t in order}).points, strict=True
            )
        )
        for order in itertools.permutations(maps)
    ]
    assert all(each == found[0] for each in found)
