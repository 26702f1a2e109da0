"""What is guessed from bubbles, with the embedded classifier on real photographs."""

import numpy as np
import pytest
import torch
from PIL import Image

from grounding.game.guesser import Guesser, default_top
from grounding.game.pictures import Picture, read_pictures
from grounding.game.rounds import RADIUS, Bubble
from grounding.images import read_image
from helpers.clickme import write_pictures
from helpers.labelled import refused

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return read_pictures(write_pictures(tmp_path_factory.mktemp("pictures"))).pictures


@pytest.fixture(scope="module")
def guesser(pictures, localizer):
    made = Guesser(localizer.classifier, [picture.category for picture in pictures], CPU)
    made.look_at(pictures)
    return made


def grid(picture, x0, y0, x1, y1, each=0.09):
    """Bubbles all over a part of a picture, whose edges are shares of its sides."""
    step = each * min(picture.width, picture.height)
    xs = np.arange(x0 * picture.width, x1 * picture.width, step)
    ys = np.arange(y0 * picture.height, y1 * picture.height, step)
    return [Bubble(float(x), float(y), 0.0) for y in ys for x in xs]


@pytest.mark.parametrize(("categories", "top"), [(0, 1), (1, 1), (9, 1), (10, 2), (24, 4), (25, 5), (1000, 5)])
def test_among_how_many_guesses(categories, top):
    assert default_top(categories) == top


@pytest.mark.parametrize(
    ("category", "known"),
    [
        ("cat", True),
        ("Cats", True),
        ("rocket", True),  # a vehicle
        ("traffic light", True),
        ("tabby cat", True),
        ("n02123045", False),
        ("qwrtz", False),
        ("moon", False),  # only near to a tag
        ("<b>", False),
    ],
)
def test_which_categories_have_a_tag(localizer, category, known):
    made = Guesser(localizer.classifier, [category, category], CPU)
    assert (made.categories, made.unknown) == (((category,), ()) if known else ((), (category,)))


def test_a_cat_is_recognised_by_the_cat_and_not_by_the_rest(guesser, pictures):
    cat = next(picture for picture in pictures if picture.category == "cat")
    face = guesser.guess(cat, grid(cat, 0.3, 0.05, 0.8, 0.95))
    assert face.recognised
    assert face.best[0][0] == "cat"
    assert sum(share for _, share in face.best) == pytest.approx(1)
    assert not guesser.guess(cat, grid(cat, 0.85, 0.0, 1.0, 1.0)).recognised


def test_nothing_is_recognised_with_nothing_revealed(guesser, pictures):
    """Not even what is among the first guesses then: bubbles have to add to it."""
    for picture in pictures:
        assert not guesser.guess(picture, []).recognised
        guesser.open(picture)
    everything = Guesser(guesser._classifier, guesser.categories, CPU, top=5)
    everything.look_at(pictures)
    assert not any(everything.guess(picture, []).recognised for picture in pictures)


def test_only_bubbles_are_seen(localizer, tmp_path):
    """Two pictures that are equal where they are revealed and equally grey elsewhere give equal guesses."""
    chance = np.random.default_rng(0)
    pixels = np.full((200, 300, 3), 128, np.uint8)
    pixels[80:120, 130:170] = chance.integers(0, 256, (40, 40, 3))
    other = pixels.copy()
    other[:, 200:] = np.where(np.indices((200, 100)).sum(0) % 2, 118, 138)[..., None]  # as grey once it is blurred
    found = []
    for name, each in (("a", pixels), ("b", other)):
        Image.fromarray(each).save(tmp_path / f"{name}.png")
        picture = Picture(f"{name}.png", tmp_path / f"{name}.png", "cat", 300, 200)
        made = Guesser(localizer.classifier, ["cat", "dog", "man"], CPU)
        there = made.guess(picture, [Bubble(150, 100, 0)])
        everywhere = made.guess(picture, grid(picture, 0, 0, 1, 1))
        found.append((dict(there.best), dict(everywhere.best)))
    assert found[0][0] == pytest.approx(found[1][0], abs=2e-3)
    assert found[0][1] != pytest.approx(found[1][1], abs=2e-3)


def test_bubbles_are_where_they_were_painted(guesser, pictures):
    from grounding.game.guesser import _revealed

    picture = pictures[0]
    view = guesser._view(picture)
    height, width = view.whole.shape[:2]
    seen = _revealed(view, picture, [Bubble(0.25 * picture.width, 0.5 * picture.height, 0)])
    changed = (seen != view.hidden).any(2)
    down, across = np.nonzero(changed)
    radius = RADIUS * min(height, width)
    assert (across.mean(), down.mean()) == (pytest.approx(0.25 * width, abs=2), pytest.approx(0.5 * height, abs=2))
    assert np.hypot(across - 0.25 * width, down - 0.5 * height).max() <= radius + 1.5
    assert changed.sum() > 0.9 * np.pi * (radius - 1) ** 2
    assert (seen[changed] == view.whole[changed]).all()


def test_a_category_that_has_no_tag_is_guessed_at_and_never_recognised(localizer, pictures):
    made = Guesser(localizer.classifier, ["cat", "man", "qwrtz"], CPU, top=3)
    made.look_at(pictures)
    cat = pictures[0]
    nonsense = Picture(cat.name, cat.path, "qwrtz", cat.width, cat.height)
    guess = made.guess(nonsense, grid(cat, 0, 0, 1, 1))
    assert {name for name, _ in guess.best} == {"cat", "man"}
    assert not guess.recognised
    nothing = Guesser(localizer.classifier, ["qwrtz"], CPU)
    nothing.look_at(pictures)
    assert nothing.guess(nonsense, []) == ((), False)


def test_what_is_usual_counts_for_nothing(localizer, pictures):
    """Evidence is the log-odds less their mean over the game's pictures."""
    made = Guesser(localizer.classifier, ["cat", "man", "woman"], CPU)
    made.look_at(pictures)
    classifier = localizer.classifier
    outputs = [classifier.indices[tag] for tag in ("cat", "man", "woman")]
    assert np.mean([made._evidence(made._view(each).whole) for each in pictures], 0) == pytest.approx(0, abs=1e-5)
    plain = Guesser(classifier, ["cat", "man", "woman"], CPU)
    with torch.inference_mode():
        logits = classifier.evidence(classifier.preprocessing(made._view(pictures[0]).whole))[1][0, outputs]
    assert plain._evidence(made._view(pictures[0]).whole) == pytest.approx(logits.numpy(), abs=1e-4)


def test_memory_holds_few_pictures(localizer, tmp_path):
    made = Guesser(localizer.classifier, ["cat", "man"], CPU)
    for number in range(18):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")
        made.open(Picture(f"{number}.png", tmp_path / f"{number}.png", "cat", 8, 8))
    assert len(made._views) == 16


def test_a_picture_that_cannot_be_read(guesser, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    assert "is no picture" in refused(guesser.open, Picture("a.jpg", tmp_path / "a.jpg", "cat", 9, 9))
    Image.new("RGB", (3, 5000)).save(tmp_path / "thin.png")
    guesser.open(Picture("thin.png", tmp_path / "thin.png", "cat", 3, 5000))
    assert read_image(tmp_path / "thin.png").shape == (5000, 3, 3)
