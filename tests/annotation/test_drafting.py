"""Boxes that are drafted, and how unsure the model is of them."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from grounding.annotation.decisions import read_label
from grounding.annotation.drafting import Drafting, chosen, draft_all, label_of, unknown_labels
from grounding.annotation.pictures import Asked
from grounding.annotation.several import MOST_SHARED, several_regions, shared
from grounding.boxes import iou
from grounding.grounded import Region
from grounding.images import sample_scene
from grounding.text.phrases import Chunker, Phrase

SIZE = (100, 80)


def regions(*boxes):
    return [Region(*box) for box in boxes]


LEFT, RIGHT = (0.0, 0.0, 40.0, 40.0), (50.0, 0.0, 90.0, 40.0)


@pytest.mark.parametrize(
    ("found", "drafts", "uncertainty"),
    [
        ([], [], 1.0),
        ([("man", 0.75, regions((*LEFT, 0.75)))], [("man", LEFT, 0.75)], 0.25),
        ([("man", 0.9, [])], [], 0.1),
        # the mean over labels
        ([("man", 0.75, regions((*LEFT, 0.75))), ("dog", 0.9, [])], [("man", LEFT, 0.75)], 0.175),
        # best first, over all labels
        (
            [("man", 0.25, regions((*LEFT, 0.25))), ("dog", 0.5, regions((*LEFT, 0.5)))],
            [("dog", LEFT, 0.5), ("man", LEFT, 0.25)],
            0.625,
        ),
        # two phrases of one label that are at one place are one; the surer counts
        (
            [("man", 0.25, regions((*LEFT, 0.25))), ("man", 0.5, regions((0, 0, 40, 39, 0.5)))],
            [("man", (0, 0, 40, 39), 0.5)],
            0.5,
        ),
        # at two places they are two
        (
            [("man", 0.25, regions((*LEFT, 0.25))), ("man", 0.5, regions((*RIGHT, 0.5)))],
            [("man", RIGHT, 0.5), ("man", LEFT, 0.25)],
            0.5,
        ),
        # inside the picture, in hundredths
        ([("man", 0.5, regions((-1, 0.123, 400, 79.999, 0.5)))], [("man", (0, 0.12, 100, 80), 0.5)], 0.5),
        ([("man", 0.5, regions((120, 0, 130, 9, 0.5)))], [], 0.5),
    ],
)
def test_which_boxes_are_drafted(found, drafts, uncertainty):
    kept, unsure = chosen(found, SIZE)
    assert kept == drafts
    assert unsure == pytest.approx(uncertainty)


@pytest.mark.parametrize(
    ("caption", "heads", "wholes"),
    [
        ("Two men in Red Hats.", ["man", "hat"], ["Two men", "Red Hats"]),
        ("People watch a bus.", ["person", "bus"], ["People", "a bus"]),
    ],
)
def test_the_label_of_a_phrase(caption, heads, wholes):
    phrases = Chunker.load().phrases(caption)
    labels = [label_of(phrase, "head") for phrase in phrases]
    assert labels == heads
    assert [label_of(phrase, "phrase") for phrase in phrases] == wholes


@pytest.mark.parametrize("text", ["a\0b\x1b[2J", "x" * 500, "\u202e", "a\nb", "\ud800"])
def test_what_a_phrase_says_can_always_be_a_label(text):
    phrase = Phrase(text, 0, 1, text, False)
    for kind in ("head", "phrase"):
        label = label_of(phrase, kind)
        assert read_label(label) == label


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    Image.fromarray(sample_scene()).save(folder / "man.png")
    Image.new("RGB", (64, 48), "white").save(folder / "white.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    (folder / "large.png").write_bytes(_large_png())
    return folder


def _large_png():
    """The beginning of a PNG of 20,000 x 10,000 px."""
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 10_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def lines(localizer, images, asked, workers=1, first=0, **how):
    return list(draft_all(localizer, images, asked, first, Drafting(**how), workers))


def test_a_label_can_be_looked_for_with_other_words(localizer, images):
    other = (("xyzzy", "a red hat"), ("man", "qwx"))
    (told,) = lines(localizer, images, [Asked("man.png", labels=["xyzzy"])], asked_as=other)
    (named,) = lines(localizer, images, [Asked("man.png", labels=["a red hat"])])
    assert told["boxes"] == [{**box, "label": "xyzzy"} for box in named["boxes"]] != []
    assert unknown_labels(localizer, ["xyzzy", "man", "plugh"], Drafting(asked_as=other)) == ["man", "plugh"]


def test_boxes_from_captions_are_those_of_the_localizer(localizer, scene, images):
    caption = "A man in a red hat"
    (line,) = lines(localizer, images, [Asked("man.png", [(caption, None)])])
    expected = {each.phrase.head: each.best for each in scene.ground(caption)}
    assert line["caption"] == caption
    assert {box["label"] for box in line["boxes"]} == {"man", "hat"}
    for box in line["boxes"]:
        best = expected[box["label"]]
        assert (box["x0"], box["y0"], box["x1"], box["y1"]) == pytest.approx(best.box, abs=0.005)
        assert box["score"] == pytest.approx(best.score, rel=1e-5)
    assert line["uncertainty"] == pytest.approx(1 - sum(each.score for each in expected.values()) / 2, abs=1e-5)


def test_labels_that_are_asked_for_everywhere_need_a_presence_and_known_ones_do_not(localizer, images):
    asked = [Asked("man.png", labels=["man", "zebra", "xyzzy"])]
    for how, labels in (
        ({"everywhere": True}, ["man"]),
        ({}, ["man", "zebra"]),
        ({"min_presence": 0.9}, []),
        ({"min_presence": 0.0, "everywhere": True}, ["man", "zebra"]),
    ):
        (line,) = lines(localizer, images, asked, **how)
        assert [box["label"] for box in line["boxes"]] == labels, how
    assert unknown_labels(localizer, ["man", "xyzzy", "no helmet"], Drafting()) == ["xyzzy", "no helmet"]


@pytest.mark.parametrize(
    ("box", "other", "share"),
    [
        ((0, 0, 10, 10), (20, 0, 30, 10), 0),
        ((0, 0, 10, 10), (0, 0, 10, 10), 1),
        ((2, 2, 4, 4), (0, 0, 10, 10), 1),
        ((0, 0, 10, 10), (5, 0, 25, 10), 0.5),
        ((0, 0, 0, 0), (0, 0, 10, 10), 0),
    ],
)
def test_what_two_boxes_share(box, other, share):
    assert shared(np.array([box], float), np.array([other], float)) == [share]


def test_the_next_box_is_where_the_map_is_left(localizer):
    """Bright places of a map, far apart: a box for each, but for one that has little of the map."""
    scene = localizer.encode(np.zeros((100, 200, 3), np.uint8))
    (phrase,) = scene.ground(None, ["man"], 1, 0.0)
    rows, columns = phrase.grid_map.shape
    bright = np.zeros((rows, columns), np.float32)
    bright[rows // 4 : rows // 2, columns // 16 : columns // 4] = 2
    bright[rows // 2 : 3 * rows // 4, 3 * columns // 4 : 15 * columns // 16] = 1.5
    bright[: rows // 8, columns // 2 : 5 * columns // 8] = 0.3
    best = Region(10, 20, 55, 55, 0.5)
    asked = dataclasses.replace(phrase, grid_map=bright / bright.sum(), regions=(best,), presence=0.9)
    found = several_regions(scene, asked, 5)
    assert several_regions(scene, asked, 1) == [best]
    assert found[0] == best
    assert len(found) == 2
    second = np.array([found[1].box])
    assert iou(second, np.array([[150.0, 50, 187.5, 75]]))[0, 0] > 0.5
    assert shared(second, np.array([best.box])) <= MOST_SHARED
    left = 1 - bright[bright == 2].sum() / bright.sum()
    assert 0.125 <= found[1].score <= 0.9 * left + 1e-6


@pytest.mark.slow
def test_no_draft_scores_less_than_a_quarter_of_the_best_of_its_label(localizer, images):
    asked = [Asked("man.png", labels=["man", "hat", "grass", "camera"])]
    (one,), (four,) = (lines(localizer, images, asked, boxes_per_label=most) for most in (1, 4))
    assert one["uncertainty"] == four["uncertainty"]
    best = {box["label"]: box for box in one["boxes"]}
    assert all(box in four["boxes"] for box in best.values())
    assert all(box["score"] >= 0.25 * best[box["label"]]["score"] - 1e-6 for box in four["boxes"])


def test_pictures_that_cannot_be_read_are_left_out_with_a_line(localizer, images):
    names = ["broken.jpg", "large.png", "missing.png", "white.png"]
    broken, large, missing, white = lines(localizer, images, [Asked(name) for name in names])
    assert [line["id"] for line in (broken, large, missing, white)] == [0, 1, 2, 3]
    assert "is no picture that Pillow can read" in broken["error"] or "is damaged" in broken["error"]
    assert "over 89 million pixels" in large["error"]
    assert "missing.png cannot be read" in missing["error"]
    assert (white["width"], white["height"], white["boxes"], white["uncertainty"]) == (64, 48, [], 1.0)


def test_a_caption_that_cannot_be_used_costs_no_picture(localizer, images):
    (line,) = lines(localizer, images, [Asked("man.png", [("", (" ",)), ("A man", None), ("No dog.", None)])])
    assert "blank" in line["note"]
    assert [box["label"] for box in line["boxes"]] == ["man"]


@pytest.mark.slow
def test_threads_and_where_it_goes_on_change_nothing(localizer, images):
    asked = [Asked("man.png", labels=["man", "hat"]), Asked("white.png", labels=["dog"]), Asked("broken.jpg")]
    once = lines(localizer, images, asked)
    assert lines(localizer, images, asked, workers=2) == once
    assert lines(localizer, images, asked, first=1) == once[1:]
