"""Which phrases are about people."""

import pytest

from grounding.text.people import names_people


@pytest.mark.parametrize("head", ["man", "Men", "women", "children", "crowd", "players"])
def test_people(head):
    assert names_people(head)


@pytest.mark.parametrize("head", ["", "snowman", "hat", "dog", "manhole"])
def test_things(head):
    assert not names_people(head)
