"""Flickr30k Entities as classes: the most frequent head nouns, on the invented data set and on the real one."""

from collections import Counter

import pytest

from grounding.datasets.entity_words import CLASSES, read_entity_words
from grounding.datasets.flickr30k import Flickr30kEntities
from grounding.errors import GroundingError
from grounding.text.kinds import noun_forms
from helpers.entities import write_entities
from helpers.paths import SHARED

REAL = SHARED / "data" / "flickr30k_entities_trainval.zip"


@pytest.fixture
def folder(tmp_path):
    return write_entities(tmp_path / "entities", photographs=True)


def boxes(data, image):
    [found] = [each for each in data.images if each.id == image]
    return {region.name: region.boxes.tolist() for region in found.regions}


def test_classes_are_head_nouns_by_frequency(folder):
    """`Two men` and `a man` twice: 3. `shirts`, `red shirts`; `Two girls`, `The girls`: 2. The others once, by name.

    What has no box (a flag, a street, a bar, the air) counts for nothing.
    """
    data = read_entity_words(folder, [folder / "photographs"])
    assert data.classes[:3] == ("man", "girls", "shirts")
    once = ("bus", "cart", "costume", "disguise", "dog", "dress", "drums", "feet", "hall", "hand", "road")
    assert data.classes[3:-2] == once
    assert data.classes[-2:] == ("they", "wheel")
    assert data.name == "Flickr30k Entities val, 16 head nouns"
    assert data.left_out == {}
    assert [(image.id, image.width, image.height) for image in data.images[:2]] == [
        ("1001", 200, 100),
        ("1002", 60, 120),
    ]


def test_a_plural_is_its_singular_where_that_is_there(folder):
    """`men` with `man`; but `girls` stay what they are, as nobody writes of one."""
    (folder / "Sentences" / "1005.txt").write_text("[/EN#5/people A shirt] on [/EN#18/scene a road] .\n" * 5)
    data = read_entity_words(folder, [folder / "photographs"])
    assert data.classes[:3] == ("shirt", "road", "man")  # 2 + 5 phrases, 5, 3
    assert {"men", "shirts"}.isdisjoint(data.classes)
    assert boxes(data, "1001")["shirt"] == [[100, 20, 150, 40]]


def test_boxes_of_every_chain_that_the_word_names(folder):
    data = read_entity_words(folder, [folder / "photographs"])
    assert boxes(data, "1002")["man"] == [[10, 20, 30, 60], [30, 20, 50, 60]]  # chains 5 and 6
    assert boxes(data, "1001")["man"] == [[0, 0, 40, 50], [60, 0, 100, 50]]  # both boxes of chain 1
    assert boxes(data, "1001")["shirts"] == [[100, 20, 150, 40]]  # named twice, there once
    assert boxes(data, "1004")["dress"] == boxes(data, "1004")["costume"] == [[10, 10, 40, 50]]  # one chain, two words
    assert [region.name for region in data.images[0].regions] == ["man", "shirts", "they"]  # in the order of classes


def test_only_so_many_classes(folder):
    data = read_entity_words(folder, [folder / "photographs"], count=2)
    assert data.classes == ("man", "girls")
    assert [image.id for image in data.images] == ["1001", "1002", "1004"]
    assert data.left_out == {"photographs without a phrase of these classes": 2}


def test_classes_are_of_the_whole_split_whatever_photographs_are_there(folder):
    whole = read_entity_words(folder, [folder / "photographs"])
    for image in ("1001", "1002", "1003", "1004"):
        (folder / "photographs" / f"{image}.jpg").unlink()
    data = read_entity_words(folder, [folder / "photographs"])
    assert data.classes == whole.classes
    assert boxes(data, "1005") == {"bus": [[0, 0, 30, 10]], "road": [[0, 20, 120, 40]]}
    assert data.left_out == {"images of the split without a photograph": 4}
    assert data.read("1005") == (folder / "photographs" / "1005.jpg").read_bytes()
    assert data.sources == (folder, folder / "photographs")


def test_photographs_of_another_split(folder):
    for image in ("1001", "1002", "1003", "1004", "1005"):
        (folder / "photographs" / f"{image}.jpg").unlink()
    with pytest.raises(GroundingError, match="none of the photographs belongs to the 5 images of split 'val'"):
        read_entity_words(folder, [folder / "photographs"])
    assert read_entity_words(folder, [folder / "photographs"], "train").classes == ("cat", "clown", "yard")


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_file(), reason="needs the optional ../shared/data")
def test_the_real_classes(tmp_path):
    """Every class is a word of many phrases with a box, the first ones of most."""
    (tmp_path / "photographs").mkdir()
    images = list(Flickr30kEntities(REAL).read("val"))
    (tmp_path / "photographs" / f"{images[0].id}.jpg").write_bytes(b"")
    data = read_entity_words(REAL, [tmp_path / "photographs"])
    assert len(data.classes) == CLASSES
    assert data.classes[:3] == ("man", "woman", "shirt")
    said = Counter(word for i in images for phrase in i.boxed_phrases for word in set(phrase.text.lower().split()))
    counts = [
        sum(number for word, number in said.items() if name in noun_forms(word) or (name, word) == ("man", "men"))
        for name in data.classes
    ]
    assert counts[0] > 1000
    assert min(counts) > 40
