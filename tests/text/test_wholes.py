"""What kind of whole or attribute a head noun names."""

import pytest

from grounding.text.wholes import attribute_kind, is_colour_or_cloth, whole_kind

WHOLES = {
    "person": "man Women surgeon toddlers bride skateboarder crowd audience someone soldiers",
    "animal": "dog horses spaniel bird elephant fish puppies mice",
    "vehicle": "car trucks bicycle bus boat helicopter kayak tractor",
    "building": "house church skyscraper hut barn stores",
    "furniture": "chair tables sofa bench bed",
    None: "hat tree snowman hand sky guitar beach qwrtz",
}
ATTRIBUTES = {
    "clothing": "hat shoes glasses helmet backpack uniform jeans tee-shirt headphones necklace",
    "body": "hair hands beard tail paw face smile",
    "part": "wheel wheels door windows roof",
    None: "man dog ball street qwrtz",
}


def rows(table):
    return [(word, kind) for kind, words in table.items() for word in words.split()]


@pytest.mark.parametrize("word", ["", " ", "-"])
def test_no_word(word):
    assert whole_kind(word) is None
    assert attribute_kind(word) is None


@pytest.mark.parametrize(("word", "kind"), rows(WHOLES))
def test_wholes(word, kind):
    assert whole_kind(word) == kind


@pytest.mark.parametrize(("word", "kind"), rows(ATTRIBUTES))
def test_attributes(word, kind):
    assert attribute_kind(word) == kind


@pytest.mark.parametrize(
    ("word", "is_one"), [("red", True), ("Black", True), ("denim", False), ("plaid", True), ("dog", False)]
)
def test_colours_and_cloth(word, is_one):
    assert is_colour_or_cloth(word) == is_one
