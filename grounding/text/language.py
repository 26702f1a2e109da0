"""A note where a caption is hardly English, which is the only language that captions are read in."""

import re
from collections.abc import Collection, Sequence

from grounding.text.captions import read_caption
from grounding.text.kinds import Kinds
from grounding.text.numbers import is_number
from grounding.text.tokens import STOP_WORDS, tokenize
from grounding.text.vectors import WordVectors

MIN_WORDS = 3  # of Latin letters: one or two unknown words are a name, or a word of the user's own vocabulary
MAX_KNOWN = 0.5  # share of the words
SHOWN = 5  # words in the note
NOT_DIVIDED = "captions are divided into phrases as English, which this one hardly is: give the phrases themselves"
_IN_NAMES = frozenset("de da di do du del della la le el los las von van der den y".split())  # noqa: SIM905

_LETTERS = re.compile(r"[^\W\d_]")
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]")
# Short words of other languages, which the vectors or WordNet may know as something else.
_FOREIGN = (
    frozenset(
        """
    der die das dem den des ein eine einen einem einer und mit auf im ist sind von zu vor
    le la les un une du de et dans avec sur est sont qui au aux en
    el los las una con y en del por al uno
    il lo gli di che e con su della nel un' o os um uma com em no na do da ao
    het een op met van voor zijn
    """.split()  # noqa: SIM905
    )
    - STOP_WORDS
)


def reading_notes(text: str, known: Collection[str] = ()) -> tuple[str, ...]:
    """Say so where few words of a caption, or of phrases, are known as English ones; mostly nothing.

    Words in another script are never known. Of words in Latin letters it takes three, or a short one of another
    language. Unknown words with a capital may be names, and do not count.

    Args:
        text: as given.
        known: words in lower case that the vocabulary has a tag for.
    """
    written = [token.text.strip(".") for token in tokenize(read_caption(text).text)]
    written = [word for word in written if _LETTERS.search(word) and not is_number(word)]
    unknown = [word.lower() for word in written if word.lower() not in known and not _is_english(word.lower())]
    short = len(written) < MIN_WORDS and all(_LATIN.search(w) and w.lower() not in _FOREIGN for w in written)
    names = [word.lower() for word in _names(written)]
    strange = len([word for word in unknown if word not in names])
    others = len([word for word in written if word.lower() not in names or word.lower() not in unknown])
    if short or strange <= MAX_KNOWN * others:
        return ()
    shown = ", ".join(list(dict.fromkeys(unknown))[:SHOWN])
    return (f"captions are read as English: few of these words are known ({shown}{', ...' * (len(unknown) > SHOWN)})",)


def _names(words: Sequence[str]) -> list[str]:
    """Words in Latin letters with a capital, and short words between two of them: 'Leonardo da Vinci'."""
    if all(word.isupper() for word in words):
        return []
    capital = [word[0].isupper() and _LATIN.match(word) is not None and word.lower() not in _FOREIGN for word in words]
    particles = [
        word
        for word, *beside in zip(words[1:], capital, capital[2:], strict=False)
        if word in _IN_NAMES and all(beside)
    ]
    return [*(word for word, is_name in zip(words, capital, strict=True) if is_name), *particles]


def _is_english(word: str) -> bool:
    if word in _FOREIGN:
        return False
    return word in STOP_WORDS or word in WordVectors.embedded() or bool(Kinds.embedded().senses(word))
