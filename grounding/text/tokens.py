"""Text to tokens with character spans, words to stems."""

import functools
import re
from dataclasses import dataclass
from itertools import pairwise

from nltk.stem.porter import PorterStemmer
from nltk.tokenize.destructive import NLTKWordTokenizer

_TOKENIZER = NLTKWordTokenizer()
_STEMMER = PorterStemmer()
_WORD = re.compile(r"[^\W_]")
_SENTENCE_END = re.compile(r"(?<=[^\W\d_]{2})\.$")
ABBREVIATIONS = {"mr.", "mrs.", "ms.", "dr.", "st.", "jr.", "sr.", "vs.", "no.", "mt.", "inc.", "corp.", "etc."}
# Pictographs and the punctuation of Chinese and Japanese stand alone, also where no space divides them from a word.
_SYMBOL = re.compile(r"[\u2190-\u2bff\u3000-\u303f\uff01-\uff0f\ufe0f\u200d\U0001f000-\U0001faff]+")
# NLTK rewrites straight double quotes and splits typographic apostrophes; each stand-in has the length of the original.
_STAND_INS = str.maketrans({'"': "\u201c", "\u2019": "'"})

STOP_WORDS = frozenset(
    """
    a an the this that these those some any each every all both either neither no another other others such same own
    i me my mine myself we us our ours you your yours he him his himself she her hers herself it its itself
    they them their theirs themselves one ones who whom whose which what where when why how there here
    and or but nor so yet if then than because while as until although though whether
    of at by for with about against between into through during before after above below to from up down in out on off
    over under again further near next along across around behind beside besides beneath onto inside outside within
    without toward towards upon amongst among past via per front back top
    is am are was were be been being have has had having do does did doing will would shall should can could may might
    must not only very too also just still even once several many much few more most less least lot
    's 're 've 'm 'd 'll n't get gets getting
    """.split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class Token:
    """A token and where it stands: `text == source[start:end]`."""

    text: str
    start: int
    end: int


def tokenize(text: str) -> list[Token]:
    """Split a text into Penn-Treebank-like tokens with character spans, increasing and disjoint.

    NLTK's `NLTKWordTokenizer` on the text with its quotes replaced by ones that it leaves alone (its own
    `span_tokenize` fails on mixed quotes). A full stop inside the text and pictographs become tokens of their own.
    """
    return list(_tokens(text))


@functools.lru_cache(maxsize=4096)
def _tokens(text: str) -> tuple[Token, ...]:
    plain = text.translate(_STAND_INS).replace("''", "\u201c\u201c")
    tokens: list[Token] = []
    end = 0
    for word in _TOKENIZER.tokenize(plain):
        start = plain.index(word, end)
        end = start + len(word)
        tokens.extend(Token(text[a:b], a, b) for a, b in _pieces(word, start))
    return tuple(tokens)


def _pieces(word: str, start: int) -> list[tuple[int, int]]:
    """The spans of a word without its pictographs, of each run of pictographs, and of its closing full stop."""
    cuts = {0, len(word)}
    for match in _SYMBOL.finditer(word):
        cuts.update(match.span())
    if word.lower() not in ABBREVIATIONS and _SENTENCE_END.search(word):
        cuts.add(len(word) - 1)
    return [(start + a, start + b) for a, b in pairwise(sorted(cuts))]


@functools.lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """Return the Porter stem of the lower-cased word."""
    return str(_STEMMER.stem(word.lower()))


def is_content_word(word: str) -> bool:
    """Say whether a token can name something: it holds a letter or digit and is no stop word."""
    return word.lower().replace("\u2019", "'") not in STOP_WORDS and _WORD.search(word) is not None
