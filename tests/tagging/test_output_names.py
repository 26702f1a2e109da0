"""Labels of outputs to tags and their other names."""

import pytest

from grounding.errors import GroundingError
from grounding.tagging.output_names import output_names
from helpers.errors import facts


@pytest.mark.parametrize(
    ("labels", "tags", "others"),
    [
        ([], (), {}),
        (["tabby, tabby cat"], ("tabby",), {"tabby": ("tabby cat",)}),
        (["n02123045 tabby, Tabby_Cat"], ("tabby",), {"tabby": ("tabby cat",)}),
        (["n02123045_tabby", "CD player"], ("tabby", "cd player"), {}),
        (["a, a", " b ,, B", "c,"], ("a", "b", "c"), {}),
        # Two outputs that begin with the same name say more of themselves, or are counted.
        (
            ["Cardigan, Cardigan Welsh corgi", "cardigan"],
            ("cardigan, cardigan welsh corgi", "cardigan"),
            {"cardigan, cardigan welsh corgi": ("cardigan", "cardigan welsh corgi")},
        ),
        (
            ["crane", "crane", "crane"],
            ("crane", "crane (2)", "crane (3)"),
            {"crane (2)": ("crane",), "crane (3)": ("crane",)},
        ),
        (["jeep", "LABEL_1", "car"], ("jeep", "output 1", "car"), {}),
        (["jeep", "", "car"], ("jeep", "output 1", "car"), {}),
    ],
)
def test_tags_and_their_other_names(labels, tags, others):
    names = output_names(labels, "x")
    assert (names.tags, names.others) == (tags, others)
    assert len(set(names.tags)) == len(labels)


@pytest.mark.parametrize(
    "labels", [["LABEL_0", "LABEL_1"], ["0", "1"], ["class 0", "class_1"], ["n02123045", "n02123394"], ["", "x", ""]]
)
def test_labels_without_words_are_refused(labels):
    with pytest.raises(GroundingError, match=facts("outputs of hf:x", "expected words", "id2label")) as error:
        output_names(labels, "hf:x")
    assert "\n" not in str(error.value)
