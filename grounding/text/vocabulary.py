"""Words to the tags of a classifier, each with the reason why."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from grounding.text.phrases import Phrase
from grounding.text.tokens import is_content_word, stem, tokenize
from grounding.text.vectors import WordVectors

Reason = Literal["exact", "stem", "neighbour", "out-of-vocabulary"]

# Judged by eye on words that are not among 1,000 tags: most nearest tags above it are right, half of those below.
MIN_SIMILARITY = 0.4


@dataclass(frozen=True, slots=True)
class Match:
    """A content word as written, the tag it stands for and why; `tag` is None where no tag fits.

    `weight` is in [0, 1]: within a phrase, the share of this word in the phrase's top-down signal.
    """

    word: str
    tag: str | None
    reason: Reason
    weight: float

    def __str__(self) -> str:
        """`pup -> dog (neighbour)`, or `qwrtz (out-of-vocabulary)`."""
        return f"{self.word} -> {self.tag} ({self.reason})" if self.tag else f"{self.word} ({self.reason})"


class Vocabulary:
    """The tags of a classifier and the way from words to them.

    A word maps to the tag that equals it in lower case (`exact`); to the tag that has its Porter stem, or else to a
    tag of several words whose last word has it (`stem`); to the most similar tag by word vectors (`neighbour`).
    Where several tags fit equally well, the first one counts. `vectors=None` turns neighbours off.
    """

    def __init__(self, tags: Sequence[str], vectors: WordVectors | Literal["embedded"] | None = "embedded") -> None:
        self.tags = tuple(tags)
        self._vectors = WordVectors.embedded() if vectors == "embedded" else vectors
        self._exact: dict[str, str] = {}
        self._sequences: dict[tuple[str, ...], str] = {}  # the stems of a tag of several words
        self._heads: dict[str, str] = {}  # the last word of a tag, for tags of one word first
        self._stems: dict[str, str] = {}
        for tag, words in sorted(((tag, _content_words(tag)) for tag in tags), key=lambda pair: len(pair[1]) > 1):
            self._exact.setdefault(tag.lower(), tag)
            if len(words) > 1:
                self._sequences.setdefault(tuple(map(stem, words)), tag)
            if words:
                self._heads.setdefault(words[-1], tag)
                self._stems.setdefault(stem(words[-1]), tag)

    def lookup(self, word: str) -> Match:
        """The match of a word by itself: its weight is 1 (exact, stem), the cosine (neighbour) or 0 (no tag)."""
        if tag := self._exact.get(word.lower()):
            return Match(word, tag, "exact", 1.0)
        if tag := self._stems.get(stem(word)):
            return Match(word, tag, "stem", 1.0)
        near = self._vectors.nearest(word, tuple(self._heads)) if self._vectors else None
        if near is not None and near[1] >= MIN_SIMILARITY:
            return Match(word, self._heads[near[0]], "neighbour", min(near[1], 1.0))
        return Match(word, None, "out-of-vocabulary", 0.0)

    def match(self, phrase: Phrase) -> tuple[Match, ...]:
        """One match for each content word of a phrase, in order; the weights sum to 1, or are all 0 without any tag.

        Words that stand in a row as in a tag of several words ('tiger cat') all map to that tag, the longest first.
        """
        words = _content_words(phrase.text)
        matches: list[Match] = []
        while len(matches) < len(words):
            rest = words[len(matches) :]
            matches.extend(self._sequence(rest) or [self.lookup(rest[0])])
        total = sum(match.weight for match in matches)
        return tuple(replace(match, weight=match.weight / total) if total else match for match in matches)

    def _sequence(self, words: Sequence[str]) -> list[Match]:
        """The matches of the longest tag of several words that these words begin with; empty without one."""
        stems = tuple(map(stem, words))
        fitting = [sequence for sequence in self._sequences if stems[: len(sequence)] == sequence]
        if not fitting:
            return []
        longest = max(fitting, key=len)
        tag = self._sequences[longest]
        same = [word.lower() for word in words[: len(longest)]] == _content_words(tag.lower())
        return [Match(word, tag, "exact" if same else "stem", 1.0) for word in words[: len(longest)]]


def _content_words(text: str) -> list[str]:
    return [token.text for token in tokenize(text) if is_content_word(token.text)]
