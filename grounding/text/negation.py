"""What a caption says is not there: 'no dog', 'without a hat', 'is not wearing a helmet or gloves'."""

import re
from collections.abc import Sequence

from grounding.text.tokens import Token, is_content_word

_NEGATING = frozenset(
    """
    no not n't nt never without neither nor nothing nobody none no-one noone cannot sans lacking
    isnt arent wasnt werent dont doesnt didnt hasnt havent hadnt cant couldnt wont
    """.split()  # noqa: SIM905
)
_PRONOUNS = frozenset({"nothing", "nobody", "none", "no-one", "noone"})
_NOT_NEGATING = frozenset({"only", "just", "merely", "simply"})  # 'not only a dog'
_ARTICLES = frozenset({"a", "an", "the", "this", "that", "his", "her", "its", "their"})
_SIGNS = frozenset({"sign", "signs", "symbol", "symbols", "zone", "zones", "poster", "notice", "entry"})
_ENDS_SCOPE = frozenset(
    """
    and but while as who whom whose which that where when because although though if then so yet
    of in on at with by for from to into onto over under near behind beside besides between among through around along
    across against inside outside above below beneath toward towards within upon about during after before next like
    """.split()  # noqa: SIM905
)
_NEGATING_PAIRS = frozenset({("instead", "of"), ("rather", "than"), ("free", "of")})
_WORD = re.compile(r"[^\W_]")


def negated_runs(tokens: Sequence[Token], runs: Sequence[Sequence[Token]]) -> list[bool]:
    """Say of each phrase of a caption, given as a run of its tokens, whether the caption says that it is not there.

    A negation reaches the phrase after it, over verbs and adverbs ('is not wearing a helmet'), and what follows that
    after 'or' and 'nor'. It does not reach over a preposition, a conjunction or a comma, unless it stands right before.
    """
    place = {token.start: index for index, token in enumerate(tokens)}
    words = [_plain(token.text) for token in tokens]
    flags: list[bool] = []
    end = 0  # of the run before
    for run in runs:
        first = place[run[0].start]
        own, between = words[first : first + len(run)], words[end:first]
        goes_on = bool(flags) and flags[-1] and between in (["or"], ["nor"], [",", "or"], [",", "nor"])
        or_follows = _or_follows(own) or _or_follows(words[first + len(run) :])
        listed = bool(flags) and flags[-1] and between == [","] and or_follows
        flags.append(is_negated(own) or _reached(between) or goes_on or listed)
        end = first + len(run)
    return flags


def is_negated(words: Sequence[str]) -> bool:
    """Say whether a phrase of these words begins with a negation; 'no 5' and 'no parking sign' do not."""
    plain = [_plain(word) for word in words]
    return bool(plain) and _negates(plain, 0)


def negated_words(words: Sequence[str]) -> list[bool]:
    """Say of each word of a phrase whether a negation inside the phrase reaches it: 'hat' in 'a man without a hat'.

    It reaches up to a preposition, a conjunction, punctuation, or a participle that begins something new. In a phrase
    that is negated as a whole it reaches none.
    """
    plain = [_plain(word) for word in words]
    flags = [False] * len(plain)
    reached: int | None = None  # how many content words, within a negation
    for index, word in enumerate(plain):
        after_negation = index > 0 and plain[index - 1] in _NEGATING
        if index and plain[index - 1] not in _ARTICLES and _negates(plain, index):
            reached = 0
        elif reached is not None and (
            (_ends_scope(word) and not (after_negation and _WORD.search(word))) or (reached and word.endswith("ing"))
        ):
            reached = None
        elif reached is not None and is_content_word(word):
            flags[index] = True
            reached += 1
    return flags if not is_negated(plain) else [False] * len(plain)


def _negates(words: Sequence[str], index: int) -> bool:
    """Say whether a word is a negation where it stands."""
    rest = words[index + 1 :]
    if words[index] not in _NEGATING or (rest and rest[0] in _NOT_NEGATING):
        return False
    return words[index] != "no" or not rest or not (rest[0][0].isdigit() or rest[-1] in _SIGNS)


def _reached(between: Sequence[str]) -> bool:
    """Say whether the words between two phrases negate the second one."""
    if tuple(between[-2:]) in _NEGATING_PAIRS:
        return True
    last = max((index for index in range(len(between)) if _negates(between, index)), default=None)
    if last is None:
        return False
    first, *others = between[last + 1 :] or [""]
    if between[last] in _PRONOUNS and _ends_scope(first):
        return False
    return not any(map(_ends_scope, others)) and (first == "" or _WORD.search(first) is not None)


def _ends_scope(word: str) -> bool:
    return word in _ENDS_SCOPE or _WORD.search(word) is None


def _or_follows(words: Sequence[str]) -> bool:
    """Say whether a list goes on to an 'or': ', gloves or a scarf'."""
    return any(word in ("or", "nor") for word in words[:4]) and "and" not in words[:2]


def _plain(word: str) -> str:
    return word.lower().replace("\u2019", "'")
