"""Words to the tags of a classifier, each with the reason why."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from grounding.text.kinds import Kinds
from grounding.text.negation import negated_words
from grounding.text.numbers import is_number, other_way
from grounding.text.phrases import Phrase
from grounding.text.tags_by_kind import TagsByKind
from grounding.text.tokens import is_content_word, stem, tokenize
from grounding.text.vectors import WordVectors

Reason = Literal[
    "exact", "stem", "spelling", "synonym", "kinds", "kind", "neighbour", "text", "out-of-vocabulary", "negated"
]

# Judged by eye on words that are not among 1,000 tags: most nearest tags above it are right, half of those below.
MIN_SIMILARITY = 0.4
UNUSUAL = 2  # steps up to a kind that a second meaning, of a word or of a tag, is worth
KIND_WEIGHT = 0.35  # of a kind against the word itself
_SHOWN = 3  # tags of a word in a line of text
Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Match:
    """A content word as written, the tags that speak for it and why.

    Attributes:
        tags: mostly one; several where a classifier has kinds of what the word names; empty where no tag fits.
        reason: see `Vocabulary`; `text` where a classifier reads the text itself, without tags.
        weight: in [0, 1]: within a phrase, the share of this word in the phrase's top-down signal.
    """

    word: str
    tags: tuple[str, ...]
    reason: Reason
    weight: float

    @property
    def tag(self) -> str | None:
        """The tags for people, at most three of them: `tabby + tiger cat + Persian cat + 2 more`; None without any."""
        more = len(self.tags) - _SHOWN
        return " + ".join([*self.tags[:_SHOWN], *([f"{more} more"] if more > 0 else [])]) or None

    def __str__(self) -> str:
        """`pup -> dog (neighbour)`, `a red hat (text)`, or `qwrtz (out-of-vocabulary)`."""
        if self.reason == "text":
            return f"{self.word} (text)"
        return f"{self.word} -> {self.tag} ({self.reason})" if self.tags else f"{self.word} ({self.reason})"


class Vocabulary:
    """The tags of a classifier and the way from words to them.

    The first of these ways that leads to a tag counts, and on each of them the first tag that fits:

    - `exact`: the tag is the word, in lower case.
    - `stem`: the tag, or else the last word of a tag of several words, has the word's Porter stem.
    - `spelling`: the tag is another way to write the word: grey and gray, 3 and three, tshirt and t-shirt.
    - `synonym`, `kind`: the tag means the same as the word, or is the nearest kind of what the word names, by WordNet:
      a sofa is a couch, a spaniel a dog. So is that of a noun of several words that is nothing like its last word: a
      teddy bear is a toy.
    - `kinds`: only of tags that exclude each other: all tags that are kinds of what the word names. A network of
      ImageNet knows no cats, but the tabby and the tiger cat.
    - `neighbour`: the tag is the most similar one by word vectors, among those of the same kind. Words that WordNet's
      nouns do not have, adjectives and verbs, have neighbours of any kind, but for colours; numbers have none.

    `vectors=None` turns neighbours off, `kinds=None` spellings, synonyms and kinds. `exclusive` says that the tags
    exclude each other: a word may then have several, and the last word of a tag of several words counts after `kinds`,
    so that a dog is no hot dog. `names` are other names of tags, as good as the tag
    itself, but for those that usually mean something else.
    """

    def __init__(
        self,
        tags: Sequence[str],
        vectors: WordVectors | Literal["embedded"] | None = "embedded",
        kinds: Kinds | Literal["embedded"] | None = "embedded",
        exclusive: bool = False,
        names: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.tags = tuple(tags)
        self._vectors = WordVectors.embedded() if vectors == "embedded" else vectors
        self._kinds = Kinds.embedded() if kinds == "embedded" else kinds or Kinds((), {}, {})
        self._exclusive = exclusive
        self._names = {tag: (tag, *self._good_names(tag, (names or {}).get(tag, ()))) for tag in self.tags}
        self._exact: dict[str, tuple[str, ...]] = {}
        self._joined: dict[str, tuple[str, ...]] = {}  # without hyphens, spaces and full stops
        self._sequences: dict[tuple[str, ...], tuple[str, ...]] = {}  # the stems of a tag of several words
        self._heads: dict[str, str] = {}  # the last word of a tag, for tags of one word first
        self._stems: dict[str, tuple[str, ...]] = {}
        self._last_stems: dict[str, tuple[str, ...]] = {}  # of tags of several words that exclude each other
        named = [(name, tag, _content_words(name)) for tag, names in self._names.items() for name in names]
        for name, tag, words in sorted(named, key=lambda entry: len(entry[2]) > 1):
            self._enter(self._exact, name.lower(), tag)
            self._enter(self._joined, _joined(name), tag)
            if len(words) > 1:
                self._enter(self._sequences, tuple(map(stem, words)), tag)
            if words and name == tag:
                self._heads.setdefault(words[-1], tag)
            if len(words) == 1 or (words and not exclusive):
                self._enter(self._stems, stem(words[-1]), tag)
            elif words and name == tag:
                self._enter(self._last_stems, stem(words[-1]), tag)
        self._tag_of = self._tags_of_synsets()
        self._by_kind = TagsByKind.of(self.tags, self._kinds, names) if exclusive else None
        self._kinds_of_heads = {head: self._kinds.kinds_of(head) for head in self._heads}
        self._plain_heads = [h for h in self._heads if not is_number(h) and not self._kinds.names(h, "color")]

    def lookup(self, word: str) -> Match:
        """Match a word by itself: its weight is 1, the cosine (neighbour) or 0 (no tag)."""
        if tags := self._exact.get(word.lower()):
            return Match(word, self._usual(word, tags), "exact", 1.0)
        if tags := self._stems.get(stem(word)):
            return Match(word, self._usual(word, tags), "stem", 1.0)
        if tags := self._spelt(word):
            return Match(word, tags, "spelling", 1.0)
        if found := self._by_kinds(word):
            return found
        if tags := self._last_stems.get(stem(word)):
            return Match(word, tags, "stem", 1.0)
        if is_number(word):
            return Match(word, (), "out-of-vocabulary", 0.0)
        spelt = self._other_spellings(word)
        meanings = (self._kinds.senses(word), *(self._kinds.synsets.get(form, ()) for form in spelt))
        ways = (
            *(self._by_meaning(word, senses) for senses in meanings),
            *(self._neighbour(word, s) for s in (word, *spelt)),
        )
        return next(filter(None, ways), Match(word, (), "out-of-vocabulary", 0.0))

    def match(self, phrase: Phrase) -> tuple[Match, ...]:
        """Match each content word of a phrase, in order; the weights sum to 1, or are all 0 without any tag.

        Words that stand in a row as in a tag of several words ('tiger cat') all map to that tag, the longest first.
        Words after a negation inside the phrase ('a man without a hat') have no tag: their reason is `negated`.
        """
        tokens = [token.text for token in tokenize(phrase.text)]
        negated = negated_words(tokens)
        matches: list[Match] = []
        words: list[str] = []  # in a row without a negation
        for token, is_out in [*zip(tokens, negated, strict=True), ("", True)]:
            if is_out:
                matches += self._match_row(words)
                matches += [Match(token, (), "negated", 0.0)] if token else []
                words = []
            elif is_content_word(token):
                words.append(token)
        total = sum(match.weight for match in matches)
        return tuple(replace(match, weight=match.weight / total) if total else match for match in matches)

    def _match_row(self, words: Sequence[str]) -> list[Match]:
        matches: list[Match] = []
        while len(matches) < len(words):
            rest = words[len(matches) :]
            matches.extend(self._sequence(rest) or self._compound(rest) or [self.lookup(rest[0])])
        return matches

    def _sequence(self, words: Sequence[str]) -> list[Match]:
        """The matches of the longest tag of several words that these words begin with; empty without one."""
        stems = tuple(map(stem, words))
        fitting = [sequence for sequence in self._sequences if stems[: len(sequence)] == sequence]
        if not fitting:
            return []
        longest = max(fitting, key=len)
        tags, words = self._sequences[longest], words[: len(longest)]
        names = [_content_words(name.lower()) for tag in tags for name in self._names[tag]]
        same = [word.lower() for word in words] in names
        return [Match(word, tags, "exact" if same else "stem", 1.0) for word in words]

    def _compound(self, words: Sequence[str]) -> list[Match]:
        """The matches of a noun of two or three words that these words begin with, where it is nothing like its last
        word ('teddy bear') and its first word is no tag, or no animal, as its last word is ('hot dog').
        """
        for size in (3, 2):
            if len(words) >= size and (found := self._by_kinds(" ".join(words[:size]))):
                return [replace(found, word=word) for word in words[:size]]
            last = words[min(size, len(words)) - 1]
            names = [" ".join(words[:size]), *(["".join(words[:size])] if self._kinds.names(last, "animal") else [])]
            name = next(filter(self._kinds.senses, names), None)
            if len(words) < size or name is None or self._kinds.share_a_kind(name, last) is not False:
                continue
            found = self._by_meaning(name, self._kinds.senses(name))
            if found and (" " not in name or self.lookup(words[0]).reason not in ("exact", "stem")):
                return [replace(found, word=word) for word in words[:size]]
        return []

    def _good_names(self, tag: str, names: Sequence[str]) -> list[str]:
        """Other names of a tag, but for those that usually mean something else: a cougar is called painter, too."""
        return [name for name in names if self._kinds.share_a_kind(name, tag) is not False]

    def _usual(self, word: str, tags: tuple[str, ...]) -> tuple[str, ...]:
        """Of several tags that are called by a word those that mean what it usually means, if there are any."""
        usual = self._by_kind.synonyms(word) if self._by_kind and len(tags) > 1 else ()
        return tuple(tag for tag in tags if tag in usual) or tags

    def _enter(self, table: dict[Key, tuple[str, ...]], key: Key, tag: str) -> None:
        """Note a tag below a key: the first, or all of those that exclude each other."""
        tags = table.setdefault(key, (tag,))
        if self._exclusive and tag not in tags:
            table[key] = (*tags, tag)

    def _spelt(self, word: str) -> tuple[str, ...] | None:
        """The tags that are another way to write a word."""
        other = other_way(word)
        if other and (tags := self._exact.get(other)):
            return tags
        stems = sorted(self._kinds.spellings.get(stem(word), ()))
        return self._joined.get(_joined(word)) or next((self._stems[s] for s in stems if s in self._stems), None)

    def _other_spellings(self, word: str) -> list[str]:
        """The stems of other ways to write a word that has no vector."""
        known = self._vectors is not None and word in self._vectors
        return [] if known else sorted(self._kinds.spellings.get(stem(word), ()))

    def _tags_of_synsets(self) -> dict[int, tuple[int, str]]:
        """The tag that stands for each synset, and whether that is its usual meaning (0) or another one (1, ...)."""
        tags: dict[int, tuple[int, str]] = {}
        for tag in self.tags:
            known = (self._kinds.senses(name.lower()) for name in self._names[tag])
            senses = next(filter(None, known), ()) or self._kinds.senses(_last_word(tag))
            for rank, synset in enumerate(senses):
                if synset not in tags or rank < tags[synset][0]:
                    tags[synset] = rank, tag
        return tags

    def _by_kinds(self, noun: str) -> Match | None:
        """Where tags exclude each other: the tag that means the same as a noun, or else all that are kinds of it."""
        if self._by_kind is None:
            return None
        if tags := self._by_kind.synonyms(noun):
            return Match(noun, tags, "synonym", 1.0)
        tags = self._by_kind.tags(noun)
        return Match(noun, tags, "kinds", 1.0) if tags else None

    def _by_meaning(self, word: str, senses: Sequence[int]) -> Match | None:
        """The tag that means the same as a word, or else the nearest kind; usual meanings before others."""
        found = [
            (steps + UNUSUAL * (rank + self._tag_of[kind][0]), steps, self._tags_named(kind))
            for rank, sense in enumerate(senses)
            for kind, steps in self._kinds.kinds(sense)
            if kind in self._tag_of
        ]
        if not found:
            return None
        _, steps, tags = min(found, key=lambda candidate: candidate[0])  # the first of several
        return Match(word, tags, "kind", KIND_WEIGHT) if steps else Match(word, tags, "synonym", 1.0)

    def _tags_named(self, synset: int) -> tuple[str, ...]:
        """The tag that stands for a synset; all its kinds, where tags exclude each other and none names it."""
        below = self._by_kind.below.get(synset) if self._by_kind and synset not in self._by_kind.same else None
        return below or (self._tag_of[synset][1],)

    def _neighbour(self, word: str, form: str) -> Match | None:
        """The tag of the word's kind that is most similar to the word, spelt as this form."""
        others = self._plain_heads
        if self._kinds.has_kind(word):
            kinds = self._kinds.kinds_of(word)
            others = [head for head, theirs in self._kinds_of_heads.items() if not kinds.isdisjoint(theirs)]
        near = self._vectors.nearest(form, others) if self._vectors else None
        if near is not None and near[1] >= MIN_SIMILARITY:
            return Match(word, (self._heads[near[0]],), "neighbour", min(near[1], 1.0))
        return None


def _content_words(text: str) -> list[str]:
    return [token.text for token in tokenize(text) if is_content_word(token.text)]


def _last_word(tag: str) -> str:
    return next(iter(_content_words(tag)[-1:]), tag).lower()


def _joined(text: str) -> str:
    return re.sub(r"[-\s.]", "", text.lower())
