"""Tags chosen from captions, and what captions say of them."""

import pytest

from grounding.errors import GroundingError
from grounding.text.tags import build_tags, tag_targets


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
