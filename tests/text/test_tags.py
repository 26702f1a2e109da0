"""Tags chosen from captions or labels, and what captions say of them."""

import pytest

from grounding.errors import GroundingError
from grounding.text.tags import build_tags, label_tags, tag_of_label, tag_targets


def test_tags_are_the_most_frequent_stems_by_their_most_frequent_word():
    captions = ["Two dogs run .", "A dog and dogs .", "The dogs running", "A cat runs"]
    assert build_tags(captions, 2) == ["dogs", "run"]
    with pytest.raises(GroundingError, match="3 different words; 9 tags"):
        build_tags(["a red cat", "hat"], 9)


@pytest.mark.parametrize("captions", [[], ["", "the , of ."]])
def test_captions_without_a_usable_word(captions):
    with pytest.raises(GroundingError, match="no usable word"):
        build_tags(captions, 1)


def test_targets_count_captions_not_words():
    captions = ["a dog and a dog", "dogs run", "a cat"]
    assert tag_targets(captions, {"dog": 4, "run": 1, "hors": 0}) == [(1, 0.5), (4, 1.0)]
    assert tag_targets([], {"dog": 4}) == []


@pytest.mark.parametrize(
    ("label", "tag"),
    [
        ("", ""),
        ("dog", "dog"),
        ("TV monitor", "tv monitor"),
        ("Black_footed_Albatross", "black footed albatross"),
        ("  potted \t plant_ ", "potted plant"),
        ("salt, pepper & oil", "salt, pepper & oil"),  # no caption: nothing divides it
        ("Chuck-will's-widow", "chuck-will's-widow"),
        ("ÉCLAIR", "éclair"),
        ("dogs", "dogs"),  # no stem
    ],
)
def test_a_label_is_one_tag_whole(label, tag):
    assert tag_of_label(label) == tag


def test_labels_by_how_frequent_they_are():
    assert label_tags([]) == []
    # tv monitor is there twice, in two spellings; a and B once: by the alphabet
    assert label_tags(["B", "tv_monitor", "a", "TV monitor"]) == ["tv monitor", "a", "b"]
    assert label_tags(["dog", "dogs", "the"]) == ["dog", "dogs", "the"]  # neither stems nor stop words


@pytest.mark.parametrize("label", ["_", " ", "?!"])
def test_labels_that_name_nothing(label):
    with pytest.raises(GroundingError) as error:
        label_tags(["dog", label])
    assert str(error.value) == f"a label is '{label}': expected a name with a letter or a digit"
