"""Tags below what a word names, in a table of kinds that is small enough to read."""

import pytest

from grounding.text.kinds import Kinds
from grounding.text.tags_by_kind import TagsByKind, plain

KINDS = Kinds.from_text(
    """animal
 cat
  tabby,tabby cat
  persian,persian cat
 dog,hound
  puppy
crane+,machine
bird
 crane
"""
    + "\n"
)
TAGS = ["Tabby-Cat", "persian", "puppy", "hound", "crane", "big-dog", "qwrtz", "persian"]


@pytest.mark.parametrize(
    ("word", "tags", "synonym"),
    [
        ("", (), None),
        ("qwrtz", (), None),
        ("cat", ("Tabby-Cat", "persian"), None),
        ("Cats", ("Tabby-Cat", "persian"), None),
        ("dog", ("puppy", "hound", "big-dog"), "hound"),  # an unknown name is of the kind of its last word, no synonym
        ("animal", ("Tabby-Cat", "persian", "puppy", "hound", "big-dog"), None),
        ("tabby", ("Tabby-Cat",), "Tabby-Cat"),
        ("bird", ("crane",), None),
        ("machine", (), None),  # a crane in its second meaning
        ("crane", ("crane",), "crane"),
    ],
)
def test_tags_below_a_word(word, tags, synonym):
    by_kind = TagsByKind.of(TAGS, KINDS)
    assert by_kind.tags(word) == tags
    assert by_kind.synonyms(word) == (() if synonym is None else (synonym,))
    assert TagsByKind.of([], KINDS).tags(word) == ()


def test_all_names_of_a_tag_say_what_it_means():
    """The second meaning of crane, in which machine means the same."""
    names = {"crane (2)": ("crane", "machine")}
    by_kind = TagsByKind.of(["crane", "crane (2)"], KINDS, names)
    assert (by_kind.tags("bird"), by_kind.tags("machine")) == (("crane",), ("crane (2)",))


def test_the_last_word_of_an_unknown_name_makes_no_person():
    kinds = Kinds.from_text("person\n widow\ncat\n")
    by_kind = TagsByKind.of(["black widow", "big cat", "widow"], kinds)
    assert (by_kind.tags("person"), by_kind.tags("cat")) == (("widow",), ("big cat",))


@pytest.mark.parametrize(
    ("name", "same"),
    [("tv monitor", "TV-Monitor"), ("potted  plant", "potted_plant"), (" a-_b ", "A b"), ("", "-_ ")],
)
def test_case_hyphens_and_underscores_do_not_count(name, same):
    assert plain(name) == plain(same)
