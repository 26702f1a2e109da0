"""Do the captions of a picture speak of a thing, by whatever name?"""

import functools
from collections.abc import Collection

from grounding.text.kinds import Kinds
from grounding.text.tokens import stem

_USUAL = 2  # the meanings of a word that count


def mentioned(head: str, words: Collection[str]) -> bool:
    """Say whether any of these words may name what a head noun names: the same word, a synonym, a kind of it or above.

    Cautious: two words that share one of their usual meanings are taken for the same thing.
    """
    same, kinds = _meanings(head), _kinds(head)
    return any(
        stem(word) == stem(head) or not kinds.isdisjoint(_meanings(word)) or not same.isdisjoint(_kinds(word))
        for word in words
    )


@functools.lru_cache(maxsize=65536)
def _meanings(word: str) -> frozenset[int]:
    return frozenset(Kinds.embedded().senses(word)[:_USUAL])


@functools.lru_cache(maxsize=65536)
def _kinds(word: str) -> frozenset[int]:
    """The usual meanings of a word and what they are kinds of."""
    table = Kinds.embedded()
    return frozenset(kind for synset in _meanings(word) for kind, _ in table.kinds(synset))
