"""Synonyms and kinds of nouns."""

import pytest

from grounding.text.kinds import Kinds, noun_forms

# animal > dog > spaniel, pet > dog; bat is an animal and, less often, a stick
TABLE = "animal\n dog,hound@4\n  spaniel,cocker spaniel\n bat\npet\nstick\n bat+,club\n\ncolor colour\n"


@pytest.mark.parametrize(
    ("word", "forms"),
    [
        ("dog", ["dog"]),
        ("dogs", ["dogs", "dog"]),
        ("glasses", ["glasses", "glasse", "glass"]),
        ("puppies", ["puppies", "puppie", "puppi", "puppy"]),
        ("snowmen", ["snowmen", "snowman"]),
        ("mice", ["mice", "mouse"]),
        ("", [""]),
    ],
)
def test_forms(word, forms):
    assert noun_forms(word) == forms


def test_a_table_by_hand():
    kinds = Kinds.from_text(TABLE)
    assert kinds.parents == ((), (0, 4), (1,), (0,), (), (), (5,))
    assert kinds.senses("Bats") == (3, 6)
    assert kinds.senses("cocker spaniels") == (2,)
    assert kinds.senses("zyx") == ()
    assert list(kinds.kinds(2)) == [(2, 0), (1, 1), (0, 2), (4, 2)]
    assert kinds.spellings == {"color": {"colour"}, "colour": {"color"}}
    assert kinds.share_a_kind("spaniel", "bat") is True
    assert kinds.share_a_kind("pet", "club") is False
    assert kinds.share_a_kind("pet", "zyx") is None
    assert not kinds.names("dog", "color")


def test_an_empty_table():
    assert Kinds.from_text("\n\n").senses("dog") == ()


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("spaniel", "dog"),
        ("elephant", "animal"),
        ("whale", "animal"),
        ("sedan", "car"),
        ("violin", "instrument"),
        ("trousers", "clothes"),
        ("oak", "tree"),
        ("banana", "fruit"),
        ("surgeon", "person"),
        ("kitten", "cat"),
        ("lorry", "truck"),
        ("crimson", "red"),
        ("navy", "blue"),
        ("helicopter", "vehicle"),
        ("pizza", "food"),
        ("golden retriever", "dog"),
        ("church", "building"),
    ],
)
def test_kinds_of_the_embedded_table(word, kind):
    kinds = Kinds.embedded()
    above = {found for sense in kinds.senses(word) for found, _ in kinds.kinds(sense)}
    assert not above.isdisjoint(kinds.senses(kind))


@pytest.mark.parametrize("word", ["object", "thing", "artifact", "entity", "zyzzyva"])
def test_what_says_too_little_is_no_kind(word):
    kinds = Kinds.embedded()
    table = {found for noun in ("dog", "hat", "car", "tree") for s in kinds.senses(noun) for found, _ in kinds.kinds(s)}
    assert table.isdisjoint(kinds.senses(word))


def test_colours():
    kinds = Kinds.embedded()
    assert all(kinds.names(word, "color") for word in ["red", "gray", "navy", "turquoise", "reddish"])
    assert not any(kinds.names(word, "color") for word in ["dog", "big", "hat"])
