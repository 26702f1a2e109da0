"""What names the same thing by another word."""

import pytest

from grounding.text.mentions import mentioned


@pytest.mark.parametrize(
    ("head", "words", "expected"),
    [
        ("dog", [], False),
        ("dog", ["dog"], True),
        ("Dogs", ["dog"], True),
        ("dog", ["spaniel"], True),
        ("spaniel", ["dogs"], True),
        ("dog", ["animals"], True),
        ("dog", ["cat", "tree"], False),
        ("spaniel", ["poodle"], False),
        ("lorry", ["truck"], True),
        ("couch", ["sofas"], True),
        ("man", ["people"], True),
        ("man", ["dog", "street"], False),
        ("qwrtz", ["qwrtz"], True),
        ("qwrtz", ["dog"], False),
    ],
)
def test_mentioned(head, words, expected):
    assert mentioned(head, words) is expected
