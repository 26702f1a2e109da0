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
from grounding.text.captions import Caption, as_read, read_caption
from grounding.text.kinds import Kinds
from grounding.text.lists import list_items
from grounding.text.negation import is_negated, negated_runs
from grounding.text.numbers import is_number
from grounding.text.spans import base_runs
from grounding.text.tokens import Token, is_content_word, tokenize
from grounding.text.vectors import WordVectors

BEGIN, INSIDE, OUTSIDE = "B", "I", "O"
WEIGHTS_FILE = "chunker.json.gz"

_WORD = re.compile(r"[^\W_]")
PREPOSITIONS = frozenset(
    """
    of in on at with by for from to into onto over under near behind beside besides between among amongst through
    around along across against inside outside above below beneath toward towards without within upon about
    """.split()  # noqa: SIM905
)
_HEAD_ENDS_BEFORE = PREPOSITIONS | frozenset("who whom whose which that where while is are was were".split())  # noqa: SIM905
_QUOTES = str.maketrans(
    dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb", '"') | {"&": "and"}
)  # as the tagger has learnt them
_NAME_GOES_ON = re.compile(r"(?:[Mm]rs?\.|[Mm]s\.|[Dd]r\.) [^\W\d_].*|[A-Z]\. [A-Z][\w.]+")  # 'Mr.' and 'Smith'
_NAMES_NOTHING = frozenset({"neither", "nor", "not", "without", "never", "no"})
_BEFORE_NOUNS = frozenset({"left", "right", "stop", "cut", "set", "open", "closed"})  # taken for verbs: 'stop sign'
_PLURALS = frozenset({"men", "women", "people", "children"})
_NUMERALS = frozenset("two three four five six seven eight nine ten eleven twelve".split())  # noqa: SIM905


@dataclass(frozen=True, slots=True)
class Phrase:
    """A noun phrase of a caption.

    `start` and `end` are positions of characters in the caption as given; both are None for a phrase given by the user
    that does not occur in it. `text` is the phrase as read, `as_read(caption[start:end])`: `caption[start:end]` itself
    unless the caption has entities, line breaks or other characters that nobody types. `head` is the head noun as
    written in `text`. `negated` says that the caption says that it is not there: 'no dog', 'without a hat'.
    """

    text: str
    start: int | None
    end: int | None
    head: str
    negated: bool = False


class PhraseTagger(PerceptronTagger):  # type: ignore[misc]
    """NLTK's averaged perceptron tagger with tags B, I, O and features that do not see case."""

    def __init__(self) -> None:
        super().__init__(load=False)
        self.classes = self.model.classes = {BEGIN, INSIDE, OUTSIDE}

    def _make_tagdict(self, sentences: Sequence[list[tuple[str, str]]]) -> None:
        """Tag no word without its context; NLTK's training also collects its sentences here."""
        self._sentences = list(sentences)

    def normalize(self, word: str) -> str:
        """Return the word as features see it: lower case, straight apostrophe, one form for all numbers in digits."""
        return "0" if word[0].isdigit() else word.lower().replace("\u2019", "'")

    def _get_features(self, i: int, word: str, context: list[str], prev: str, prev2: str) -> dict[str, int]:
        """Name what the tagger sees of word `i`: words and suffixes around it, and the two tags before it."""
        before2, before, here, after, after2 = context[i : i + 5]
        names: tuple[str, ...] = (
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
        if number := _number(before):  # 'trucks race', 'number five leads': is the word their verb?
            names += (
                f"k {number} {here}",
                f"k+ {number} {here} {after}",
                f"ks {number} {here[-3:]} {prev}",
                f"k2 {number} {_number(here)} {prev}",
            )
        return dict.fromkeys(names, 1)


def _number(word: str) -> str:
    """'s' for what looks like a plural, '0' for a numeral, '' for other words, in the form that features see."""
    if word == "0" or word == "one" or word in _NUMERALS:
        return "0"
    if word in _PLURALS or (len(word) > 3 and word[-1] == "s" and word[-2] not in "su"):
        return "s"
    return ""


class Chunker:
    """Finds the base noun phrases of a caption: B/I/O tags by an averaged perceptron. Never changes once loaded."""

    def __init__(self, tagger: PhraseTagger) -> None:
        self._tagger = tagger

    @staticmethod
    @functools.cache
    def load() -> "Chunker":
        """Load the embedded chunker, trained on the Flickr30k Entities train sentences by `tools/train_text.py`.

        Its file is gzip-compressed JSON, `{feature: {tag: weight}}`, which is NLTK's own form of the weights.
        """
        packed = resources.files("grounding.text").joinpath(WEIGHTS_FILE).read_bytes()
        tagger = PhraseTagger()
        tagger.model.weights = json.loads(gzip.decompress(packed))
        return Chunker(tagger)

    def phrases(self, caption: str) -> tuple[Phrase, ...]:
        """Find the noun phrases of a caption, in its order and disjoint; those without a letter or digit stay out.

        A list such as 'cat . dog . remote .' gives one phrase an item: every item is one word, or a base phrase that
        is all of it.
        """
        read = read_caption(caption)
        tokens = tokenize(read.text)
        found = list(self._chunks(tokens))
        if runs := self._items(read.text, found):
            flags = [is_negated([token.text for token in run]) for run in runs]
        else:
            runs = [whole for run in found for whole in base_runs(run, tokens) if not _names_nothing(whole)]
            flags = negated_runs(tokens, runs)
        return tuple(_phrase(read, run, negated) for run, negated in zip(runs, flags, strict=True))

    def _items(self, text: str, found: Sequence[list[Token]]) -> list[list[Token]]:
        """The items of a list, given the brackets of the whole text; empty where it is no list: where a phrase reaches
        over the end of an item, or where an item of several words is not one phrase from end to end.
        """
        items = []
        spans = list_items(text)
        for start, end in spans:
            over = any(run[0].start < end < run[-1].start for run in found)
            if over and ("," in text or "\n" in text) and not _stand_alone([text[a:b] for a, b in spans], text):
                return []
            inside = tokenize(text[start:end])
            words = _trimmed([Token(token.text, start + token.start, start + token.end) for token in inside])
            if len(words) > 1 and not self._is_one_phrase(words, may_have_preposition=not set(",#") & set(text)):
                return []
            items += [words] if words else []
        return items

    def _is_one_phrase(self, words: list[Token], may_have_preposition: bool) -> bool:
        """Say whether an item of a list is a base phrase, or, not as a sentence begins, several with prepositions."""
        runs = list(self._chunks(words))
        is_pair = len(words) == 2 and runs == [words[1:]] and words[0].text.lower() in _BEFORE_NOUNS
        if runs == [words] or is_pair:
            return True
        inside = {token for run in runs for token in run}
        between = [token.text for token in words if token not in inside]
        names = bool(runs) and runs[0][0] == words[0] and runs[-1][-1] == words[-1] and words[0].text.islower()
        return names and may_have_preposition and bool(between) and all(word in PREPOSITIONS for word in between)

    def _chunks(self, tokens: Sequence[Token]) -> Iterator[list[Token]]:
        """The runs of tokens that the tagger brackets, from their first to their last token with a letter or digit."""
        runs: list[list[Token]] = []
        tagged = self._tagger.tag([token.text.translate(_QUOTES) for token in tokens], use_tagdict=False)
        outside = True
        before = ""
        for token, (_, tag) in zip(tokens, tagged, strict=True):
            in_name = not outside and _NAME_GOES_ON.fullmatch(f"{before} {token.text}") is not None
            in_name |= not outside and before.lower() == "number" and is_number(token.text)
            is_hashtag = before == "#" and token.text[0].isalpha()
            if not in_name and (tag == BEGIN or (tag == INSIDE and outside) or is_hashtag):
                runs.append([])
            outside = tag == OUTSIDE and not in_name and not is_hashtag
            if not outside:
                runs[-1].append(token)
            before = token.text
        yield from filter(None, map(_trimmed, runs))


def find_phrases(caption: str, texts: Sequence[str]) -> tuple[Phrase, ...]:
    """Locate phrases given by the user, as given and in that order, in the caption where they occur.

    Whole words are preferred to parts of words, then occurrences after the previous phrase, then the same case.
    Where only the case differs, `text` stays as given.

    Raises:
        GroundingError: a blank text.
    """
    read = read_caption(caption)
    line = read.text.replace("\n", " ")
    phrases = []
    position = 0
    for given in texts:
        text = as_read(given)
        if not text:
            raise GroundingError(f"phrase {given!r} is blank: give at least one word")
        span = _locate(line, text, position)
        if span is not None:
            position = span[1]
        start, end = read.span(*span) if span else (None, None)
        negated = is_negated([token.text for token in tokenize(text)])
        phrases.append(Phrase(text, start, end, _head_of_text(text), negated))
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


def _phrase(read: Caption, run: Sequence[Token], negated: bool) -> Phrase:
    """The phrase of a run of tokens of `read.text`."""
    first, last = run[0].start, run[-1].end
    return Phrase(read.text[first:last].replace("\n", " "), *read.span(first, last), _head(run), negated)


def _names_nothing(run: Sequence[Token]) -> bool:
    return all(token.text.lower() in _NAMES_NOTHING for token in run)


def _stand_alone(items: Sequence[str], text: str) -> bool:
    """Say whether items over whose ends the tagger's brackets reach are those of a list nevertheless."""
    lines = "\n" in text and len(items) > 2 and not any(" " in item for item in items)
    return lines or all(map(_complete, items))


def _complete(item: str) -> bool:
    """Say whether an item ends with a noun: 'traffic light', but not 'a red' of a caption on two lines."""
    words = [token.text.lower() for token in tokenize(item)]
    if not words or words[0] in {"a", "an", "the"} or is_number(words[-1]):
        return False
    kinds = Kinds.embedded()
    if not kinds.senses(words[-1]):
        return words[-1] not in WordVectors.embedded()  # else it is an adjective or a verb
    return not kinds.names(words[-1], "color")


def _trimmed(run: Sequence[Token]) -> list[Token]:
    """A run from its first to its last token with a letter or digit, but for 'and'; empty without any."""
    words = [i for i, token in enumerate(run) if _WORD.search(token.text)]
    while len(words) > 1 and run[words[-1]].text.lower() in ("and", "or"):
        words.pop()
    return list(run[words[0] : words[-1] + 1]) if words else []


def _head(tokens: Sequence[Token]) -> str:
    """The last content word before the first preposition or relative word; else the last content word, else word."""
    words = [token.text for token in tokens]
    stop = next((i for i, word in enumerate(words) if word.lower() in _HEAD_ENDS_BEFORE), len(words))
    naming = [i for i, word in enumerate(words) if is_content_word(word) and word.lower() not in _NUMERALS]
    written = [i for i, word in enumerate(words) if _WORD.search(word)]
    best = [i for i in naming if i < stop] or naming or written or range(len(words))
    return words[best[-1]]
