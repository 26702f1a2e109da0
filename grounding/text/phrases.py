"""Captions to noun phrases, each with its character span and its head noun."""

import functools
import gzip
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources

from nltk.tag.perceptron import PerceptronTagger

from grounding.errors import GroundingError
from grounding.text.tokens import Token, is_content_word, tokenize

BEGIN, INSIDE, OUTSIDE = "B", "I", "O"
WEIGHTS_FILE = "chunker.json.gz"

_WORD = re.compile(r"[^\W_]")
_HEAD_ENDS_BEFORE = frozenset(
    """
    of in on at with by for from to into onto over under near behind beside besides between among amongst through
    around along across against inside outside above below beneath toward towards without within upon about
    who whom whose which that where while is are was were
    """.split()  # noqa: SIM905
)
_NUMERALS = frozenset("two three four five six seven eight nine ten eleven twelve".split())  # noqa: SIM905


@dataclass(frozen=True, slots=True)
class Phrase:
    """A noun phrase of a caption.

    `start` and `end` are character positions, `text == caption[start:end]`; both are None for a phrase given by the
    user that does not occur in the caption. `head` is the head noun as written in the phrase.
    """

    text: str
    start: int | None
    end: int | None
    head: str


class PhraseTagger(PerceptronTagger):  # type: ignore[misc]
    """NLTK's averaged perceptron tagger with tags B, I, O and features that do not see case."""

    def __init__(self) -> None:
        super().__init__(load=False)
        self.classes = self.model.classes = {BEGIN, INSIDE, OUTSIDE}

    def _make_tagdict(self, sentences: Sequence[list[tuple[str, str]]]) -> None:
        """No word is tagged without its context; NLTK's training also collects its sentences here."""
        self._sentences = list(sentences)

    def normalize(self, word: str) -> str:
        """The word as features see it: lower case, straight apostrophe, one form for all numbers in digits."""
        return "0" if word[0].isdigit() else word.lower().replace("\u2019", "'")

    def _get_features(self, i: int, word: str, context: list[str], prev: str, prev2: str) -> dict[str, int]:
        before2, before, here, after, after2 = context[i : i + 5]
        names = (
            "bias",
            f"w {here}",
            f"-1 {before}",
            f"-2 {before2}",
            f"+1 {after}",
            f"+2 {after2}",
            f"s {here[-3:]}",
            f"-s {before[-3:]}",
            f"+s {after[-3:]}",
            f"t {prev}",
            f"tt {prev}{prev2}",
            f"tw {prev} {here}",
            f"-w {before} {here}",
            f"w+ {here} {after}",
            f"tt- {prev}{prev2} {before}",
            f"t+ {prev} {after}",
            f"tw+ {prev} {here} {after}",
            f"t-w {prev} {before} {here}",
            f"-w+ {before} {here} {after}",
        )
        return dict.fromkeys(names, 1)


class Chunker:
    """Finds the base noun phrases of a caption: B/I/O tags by an averaged perceptron. Never changes once loaded."""

    def __init__(self, tagger: PhraseTagger) -> None:
        self._tagger = tagger

    @staticmethod
    @functools.cache
    def load() -> "Chunker":
        """The embedded chunker, trained on the Flickr30k Entities train sentences by `tools/train_text.py`.

        Its file is gzip-compressed JSON, `{feature: {tag: weight}}`, which is NLTK's own form of the weights.
        """
        packed = resources.files("grounding.text").joinpath(WEIGHTS_FILE).read_bytes()
        tagger = PhraseTagger()
        tagger.model.weights = json.loads(gzip.decompress(packed))
        return Chunker(tagger)

    def phrases(self, caption: str) -> tuple[Phrase, ...]:
        """The noun phrases of a caption, in its order and disjoint; those without a letter or digit are left out."""
        return tuple(
            Phrase(caption[first.start : last.end], first.start, last.end, _head(tokens))
            for tokens in self._chunks(tokenize(caption))
            for first, last in [(tokens[0], tokens[-1])]
        )

    def _chunks(self, tokens: list[Token]) -> Iterator[list[Token]]:
        """The runs of tokens that the tagger brackets, from their first to their last token with a letter or digit."""
        runs: list[list[Token]] = []
        tagged = self._tagger.tag([token.text for token in tokens], use_tagdict=False)
        outside = True
        for token, (_, tag) in zip(tokens, tagged, strict=True):
            if tag == BEGIN or (tag == INSIDE and outside):
                runs.append([])
            outside = tag == OUTSIDE
            if not outside:
                runs[-1].append(token)
        for run in runs:
            words = [i for i, token in enumerate(run) if _WORD.search(token.text)]
            if words:
                yield run[words[0] : words[-1] + 1]


def find_phrases(caption: str, texts: Sequence[str]) -> tuple[Phrase, ...]:
    """Phrases given by the user, exactly as given and in that order, each located in the caption where it occurs.

    Whole words are preferred to parts of words, then occurrences after the previous phrase, then the same case.
    Where only the case differs, `text` stays as given and is not equal to `caption[start:end]`.

    Raises:
        GroundingError: a blank text.
    """
    phrases = []
    position = 0
    for text in texts:
        if not text.strip():
            raise GroundingError(f"phrase {text!r} is blank: give at least one word")
        span = _locate(caption, text, position)
        if span is not None:
            position = span[1]
        start, end = span or (None, None)
        phrases.append(Phrase(text, start, end, _head_of_text(text)))
    return tuple(phrases)


def _locate(caption: str, text: str, position: int) -> tuple[int, int] | None:
    """The span of a text in the caption, or None; `position` is the end of the previous phrase."""
    literal = re.escape(text)
    for pattern in (rf"(?<!\w){literal}(?!\w)", literal):
        for begin in (position, 0):
            for flags in (0, re.IGNORECASE):
                if match := re.compile(pattern, flags).search(caption, begin):
                    return match.span()
    return None


def _head_of_text(text: str) -> str:
    """The head of the first base phrase that names something, so that 'a woman running' gives 'woman'."""
    tokens = tokenize(text)
    for chunk in Chunker.load()._chunks(tokens):
        if any(is_content_word(token.text) for token in chunk):
            return _head(chunk)
    return _head(tokens)


def _head(tokens: Sequence[Token]) -> str:
    """The last content word before the first preposition or relative word; else the last content word, else word."""
    words = [token.text for token in tokens]
    stop = next((i for i, word in enumerate(words) if word.lower() in _HEAD_ENDS_BEFORE), len(words))
    naming = [i for i, word in enumerate(words) if is_content_word(word) and word.lower() not in _NUMERALS]
    written = [i for i, word in enumerate(words) if _WORD.search(word)]
    best = [i for i in naming if i < stop] or naming or written or range(len(words))
    return words[best[-1]]
