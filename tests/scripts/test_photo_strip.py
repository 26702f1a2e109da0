"""The photographs on top of the README: what is missed, the lines of a caption, and what was promised of them."""

import importlib
import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageColor, ImageFont

from grounding.drawing import phrase_colour
from grounding.errors import GroundingError
from grounding.results import Grounding
from grounding.text.phrases import Phrase
from helpers.paths import ROOT
from helpers.results import grounded, grounding_of

FONT = ImageFont.load_default(27)
CAPTION = "A hat on a dog , here"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return importlib.import_module("photo_strip")


@pytest.fixture
def pictures(script):
    """The script that draws the README's pictures."""
    return importlib.import_module("readme_picture")


def said(text, caption=CAPTION, **options):
    """A phrase where it stands in the caption."""
    start = caption.index(text)
    return replace(grounded(text, **options), phrase=Phrase(text, start, start + len(text), text))


@pytest.mark.parametrize(
    ("box", "status", "true", "hit"),
    [
        (None, "no-proposals", (0, 0, 10, 10), False),
        ((0, 0, 10, 10), "localized", (0, 0, 10, 10), True),
        ((0, 0, 10, 10), "localized", (0, 0, 20, 10), True),  # IoU exactly 1/2
        ((0, 0, 10, 10), "localized", (0, 0, 21, 10), False),
        ((0, 0, 10, 10), "absent", (0, 0, 10, 10), False),
        ((0, 0, 10, 10), "localized", (50, 50, 60, 60), False),
    ],
)
def test_what_is_a_hit(script, box, status, true, hit):
    assert script.hits(grounded(box=box, status=status), true) is hit


def test_what_is_missed(script):
    result = grounding_of(grounded("a hat"), grounded("a dog"), grounded("grass"))
    tile = script.tile_of(result, CAPTION, {"a hat": (40, 40, 120, 100), "a dog": (300, 300, 400, 390)})
    assert tile.missed == {1: (300, 300, 400, 390)}
    assert tile.shape == pytest.approx(1.6)
    with pytest.raises(GroundingError, match=r"\['a cat'\] are no phrases of .*: expected some of"):
        script.tile_of(result, CAPTION, {"a cat": (0, 0, 1, 1)})


@pytest.mark.parametrize(
    ("caption", "phrases", "runs"),
    [
        ("", [], []),
        ("", ["a hat"], []),  # a phrase that is not in the caption
        ("Here it is", [], [("Here", None), ("it", None), ("is", None)]),
        (CAPTION, ["a dog", "A hat"], [("A hat", 1), ("on", None), ("a dog", 0), (",", None), ("here", None)]),
    ],
)
def test_the_runs_of_a_caption(script, caption, phrases, runs):
    entries = [said(text, caption) if text in caption else grounded(text) for text in phrases]
    entries = [e if e.phrase.text in caption else replace(e, phrase=Phrase("x", None, None, "x")) for e in entries]
    assert [(run.text, run.phrase) for run in script.runs_of(caption, entries)] == runs


@pytest.mark.parametrize("width", [1, 60, 150, 300, 2000])
def test_lines_are_as_full_as_they_can_be(script, width):
    assert script.wrapped([], width, FONT) == []
    runs = script.runs_of(CAPTION, [said("A hat"), said("a dog")])
    lines = script.wrapped(runs, width, FONT)
    assert [run for line in lines for run in line] == runs

    def length(line):  # the words, 6 px on both sides of a phrase, and 8 px between
        words = sum(FONT.getlength(run.text) + (12 if run.phrase is not None else 0) for run in line)
        return words + 8 * (len(line) - 1)

    assert all(len(line) == 1 or length(line) <= width for line in lines)
    assert all(length([*line, after[0]]) > width for line, after in itertools.pairwise(lines))
    for count in range(1, len(runs) + 1):
        assert len(script.wrapped(runs, int(length(runs[:count])) + 1, FONT)[0]) == count


def test_the_strip(script):
    result = grounding_of(said("A hat"), said("a dog", box=(300, 200, 500, 380)))
    right, wrong = (script.tile_of(result, CAPTION, {"a dog": box}) for box in ((300, 200, 500, 380), (0, 0, 60, 60)))
    upright = script.Tile(Grounding(np.full((640, 400, 3), 90, np.uint8), "", "embedded", (), 0.01), "", {})
    picture = np.asarray(script.strip([right, upright, wrong]))
    height = round((1700 - 40) / (1.6 + 0.625 + 1.6))
    assert picture.shape[1] == 1700
    wide = round(1.6 * height)
    assert (picture[height + 5 :, wide + 20 : 1680 - wide] == 255).all()  # a photograph without a caption
    first, last = picture[:, :wide], picture[:, 1700 - wide :]
    assert (first[5:-5, 5] == 90).all(1).sum() == pytest.approx(height, abs=12)
    for index in (0, 1):  # on the photograph, and below it as the ground of the phrase
        drawn = (abs(first.astype(int) - ImageColor.getrgb(phrase_colour(index))).max(2) <= 2).nonzero()[0]
        assert (drawn < height).any()
        assert (drawn >= height).sum() > 1000
    assert abs(first[:height, 120:].astype(int) - last[:height, 120:]).mean() < 2  # but for the true box, top left
    orange = ImageColor.getrgb(phrase_colour(1))
    scale = height / 400
    dashes = (abs(last[: height // 2, : round(70 * scale)].astype(int) - orange).max(2) <= 2).nonzero()
    assert [int(place.max()) for place in dashes] == pytest.approx([60 * scale, 60 * scale], abs=5)
    for count in range(1, 8):
        assert (np.asarray(script.strip([upright] * count))[5, -1] == 90).all()  # to the edge
    assert not np.array_equal(first[:100, :100], last[:100, :100])
    red = (abs(last.astype(int) - ImageColor.getrgb("#c62828")).max(2) <= 8).any(1).nonzero()[0]
    assert red.min() > height
    assert not (abs(first.astype(int) - ImageColor.getrgb("#c62828")).max(2) <= 8).any()


def test_the_map_of_the_last_known_phrase(script):
    names = [grounded("a hat"), grounded("a dog"), grounded("a tripod", status="out-of-vocabulary")]
    tile = script.tile_of(grounding_of(*names), CAPTION, {})
    assert script.with_map(tile).mapped == 1
    unknown = script.tile_of(grounding_of(names[2]), CAPTION, {})
    assert script.with_map(unknown) == unknown
    plain, mapped = (np.asarray(script.strip([each])).astype(int) for each in (tile, script.with_map(tile)))
    height = round(1700 / 1.6)
    assert len(mapped) == len(plain) + height + 8
    assert np.array_equal(mapped[:height], plain[:height])
    assert (mapped[height : height + 8] == 255).all()
    assert np.array_equal(mapped[2 * height + 8 :], plain[height:])
    drawn = abs(mapped[height + 8 : 2 * height + 8] - ImageColor.getrgb(phrase_colour(1))).max(2) <= 2
    assert drawn.any()  # its box


def test_the_photographs_have_what_was_promised(pictures, localizer):
    for photograph in pictures.PHOTOGRAPHS:
        height, width = getattr(pictures.data, photograph.name)().shape[:2]
        phrases = [phrase.text for phrase in localizer.chunker.phrases(photograph.caption)]
        assert list(photograph.truth) == phrases
        for x0, y0, x1, y1 in photograph.truth.values():
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= height
        assert re.search("CC0|public domain", getattr(pictures.data, photograph.name).__doc__)


def test_the_pictures_are_small_and_shown():
    pages = [(ROOT / name).read_text() for name in ("README.md", "docs/guides/first-picture.md")]
    for page, name, width in zip(pages, ("photographs.jpg", "sample-scene.jpg"), (1700, 1552), strict=True):
        path = ROOT / "docs" / "images" / name
        assert f"images/{name}" in page
        assert path.stat().st_size < 400_000
        with Image.open(path) as picture:
            assert picture.width == width


@pytest.mark.slow
def test_the_readme_says_how_many_are_found(pictures, localizer):
    tiles = [pictures.drawn(localizer, photograph) for photograph in pictures.PHOTOGRAPHS]
    asked = sum(len(photograph.truth) for photograph in pictures.PHOTOGRAPHS)
    found = asked - sum(len(tile.missed) for tile in tiles)
    assert f"{found} of the {asked} phrases" in " ".join((ROOT / "README.md").read_text().split())
