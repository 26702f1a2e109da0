"""The things that a caption names, in its order: its phrases, and the people and pronouns that are in none of them."""

import functools
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from grounding.text.captions import read_caption
from grounding.text.kinds import Kinds, noun_forms
from grounding.text.numbers import is_number
from grounding.text.people import names_people
from grounding.text.phrases import PREPOSITIONS, Phrase
from grounding.text.tokens import tokenize
from grounding.text.wholes import Attribute, Whole, attribute_kind, is_colour_or_cloth, whole_kind

Gender = Literal["male", "female"]

RELATIVE = frozenset({"who", "which"})
PRONOUNS = frozenset("he him himself she her herself it itself they them themselves".split()) | RELATIVE  # noqa: SIM905
OBJECTS = frozenset("him himself her herself it itself them themselves".split())  # noqa: SIM905
OWN = frozenset({"his", "her", "its", "their"})
_RECIPROCAL = {("each", "other"), ("each", "others"), ("one", "another")}
_NOTHING = frozenset({"that", "what", "there", "this", "these", "where", "when"})
PRO_FORMS = frozenset({"one", "ones", "another", "other", "others", "both", "all", "some", "each"})  # 'another in red'
_MALE = frozenset({"he", "him", "himself", "his"})
_FEMALE = frozenset({"she", "her", "herself"})
_NEUTER = frozenset({"it", "itself", "its"})
_LIVING = _MALE | _FEMALE | {"who", "they", "them", "themselves"}
_MANY = frozenset({"they", "them", "themselves", "their"})
_FAMILY: dict[str, Gender] = {  # whose kinds in WordNet do not say it
    **dict.fromkeys("father dad daddy husband brother grandfather grandpa groom king uncle".split(), "male"),  # noqa: SIM905
    **dict.fromkeys("mother mom mommy wife sister grandmother grandma bride queen aunt".split(), "female"),  # noqa: SIM905
}
_GROUPS = frozenset(
    """
    group groups crowd team couple pair trio bunch band family audience class squad crew gang herd flock pack line row
    people others both all some ones
    """.split()  # noqa: SIM905
)
SIDE_NOUNS = frozenset("side part corner edge end portion half".split())  # noqa: SIM905
_GROUP_KINDS = ("assemblage", "personnel", "musical group", "squad")
_DETERMINERS_OF_MANY = frozenset({"both", "several", "many", "multiple", "numerous", "various", "few", "some", "these"})


@dataclass(frozen=True, slots=True)
class Thing:
    """A thing named at one place of a caption.

    Attributes:
        first, head: its words are `words[first : head + 1]`, up to its head noun, without what follows it in a phrase.
        end: where what follows it begins; 'a drawing of a man' is all one thing.
        phrases: the positions of the phrases with this head; none for a thing that is no phrase.
        word: the head in lower case.
        number: False for one, True for several, None for a pronoun that can be both.
    """

    first: int
    head: int
    end: int
    phrases: tuple[int, ...]
    word: str
    whole: Whole | None
    attribute: Attribute | None
    stuff: bool
    several: bool | None
    gender: Gender | Literal["neuter"] | None

    @property
    def is_pronoun(self) -> bool:
        """Whether it only points at another thing."""
        return self.word in PRONOUNS

    @property
    def is_living(self) -> bool:
        """Whether it can wear, hold and have body parts; 'another' and pronouns may."""
        return self.whole in ("person", "animal") or self.word in PRO_FORMS or self.word in _LIVING


def read_things(caption: str, phrases: Sequence[Phrase]) -> tuple[list[str], list[Thing]]:
    """The words of a caption in lower case, '' for those of what is not there, and its things by their heads.

    Phrases that are not in the caption, and those that it says are not there, are no things.
    """
    read = read_caption(caption)
    tokens = tokenize(read.text)
    words = [token.text.lower().replace("\u2019", "'") for token in tokens]
    spans = [read.span(token.start, token.end) for token in tokens]
    starts, ends = [start for start, _ in spans], [end for _, end in spans]
    heads: dict[int, list[tuple[int, int, int]]] = {}
    covered: set[int] = set()
    absent: set[int] = set()
    for position, phrase in enumerate(phrases):
        if phrase.start is None or phrase.end is None:
            continue
        first, last = bisect_right(ends, phrase.start), bisect_left(starts, phrase.end)
        if first < last:
            head = _head(words, first, last, phrase.head.lower().replace("\u2019", "'"))
            covered.update(range(first, head + 1))
            if words[head + 1 : head + 2] == ["of"]:  # 'a closeup of a girl' is one thing
                covered.update(range(head + 1, last))
            if phrase.negated or words[head] in _NOTHING or _is_reciprocal(words, head):
                absent.update(range(first, head + 1))
            else:
                heads.setdefault(head, []).append((first, last, position))
    hidden = {i: [(i, i + 1, -1)] for i, word in enumerate(words) if i not in covered and _is_hidden(words, i)}
    words = ["" if i in absent else word for i, word in enumerate(words)]
    return words, [_thing(words, head, (heads | hidden)[head]) for head in sorted(heads | hidden)]


def _head(words: Sequence[str], first: int, last: int, head: str) -> int:
    """Where the head of a phrase stands; 'one of them' is about 'one', 'a tank top' about what WordNet calls so."""
    if words[first] in PRO_FORMS and words[first + 1 : first + 2] == ["of"] and last > first + 1:
        return first
    end = next((i for i in range(first + 1, last) if words[i] in PREPOSITIONS), last)
    found = next((i for i in range(end - 1, first - 1, -1) if words[i] == head), None)
    if found is None:
        return next((i for i in range(first, last) if words[i] == head), last - 1)
    longer = words[found + 1 : end] == ["top"] or (
        found + 1 < end and Kinds.embedded().senses(f"{head} {words[found + 1]}")
    )
    return found + 1 if longer else found


def _is_hidden(words: Sequence[str], index: int) -> bool:
    """Say whether a word outside all phrases names a person, or stands for a thing; 'her hat' is no such thing."""
    word = words[index]
    if word == "her":
        following = words[index + 1] if index + 1 < len(words) else "."
        return not following[0].isalpha() or following in PREPOSITIONS or following in ("and", "while", "as", "is")
    return word in PRONOUNS or names_people(word)


def _thing(words: Sequence[str], head: int, mentions: Sequence[tuple[int, int, int]]) -> Thing:
    first = max(start for start, _, _ in mentions)
    word, core = words[head], words[first : head + 1]
    name = f"{words[head - 1]} {word}" if head > first else word  # 'hot dog', 'tank top'
    kind = name if Kinds.embedded().senses(name) else word
    end = max(end for _, end, _ in mentions)
    joined = words[head + 1 : min(head + 2, end)] == ["and"]  # 'a man and his dog' is one phrase
    said_person = not {"male", "female"}.isdisjoint(core[:-1])  # 'a female bowler'
    attribute = None if said_person or word in ("left", "right") else attribute_kind(name) or attribute_kind(word)
    positions = tuple(sorted(position for _, _, position in mentions if position >= 0))
    whole = None if attribute else whole_kind(word if names_people(word) else kind)
    if whole is None or word in _GROUPS:
        whole = _named(words, head, end) or whole
    if whole is None and (said_person or word in _MALE | _FEMALE):
        whole = "person"
    end = end if words[head + 1 : head + 2] == ["of"] else head + 1
    several, gender = True if joined else is_several(core), _gender(core)
    return Thing(first, head, end, positions, word, whole, attribute, is_colour_or_cloth(word), several, gender)


def _named(words: Sequence[str], head: int, end: int) -> Whole | None:
    """What a group or a picture is of: 'a group of brown dogs', 'a drawing of a man'."""
    if words[head + 1 : head + 2] != ["of"]:
        return None
    named = words[head + 2 : end if end > head + 2 else head + 6]
    stop = next((i for i, word in enumerate(named) if word in PREPOSITIONS or not word[:1].isalpha()), len(named))
    return next(filter(None, map(whole_kind, reversed(named[:stop]))), None)


def _is_reciprocal(words: Sequence[str], index: int) -> bool:
    """'Each other' and 'one another' are nobody else."""
    return tuple(words[max(index - 1, 0) : index + 1]) in _RECIPROCAL


@functools.lru_cache(maxsize=65536)
def is_plural(word: str) -> bool:
    """Say whether a noun is in the plural and means several: 'dogs', 'men'; not 'jeans' or 'glasses'."""
    synsets = Kinds.embedded().synsets
    singular = any(form in synsets for form in noun_forms(word)[1:])
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return (singular and attribute_kind(word) != "clothing") or (singular and word not in synsets)
    return singular and word not in ("woman", "man")


def is_several(core: Sequence[str]) -> bool | None:
    """Say whether the words of a phrase up to its head name several; None for a pronoun that may."""
    if not core:
        return False
    word = core[-1]
    if word in _MANY:
        return True
    if word in PRONOUNS:
        return None if word in RELATIVE else False
    if word in PRO_FORMS:
        return word not in ("one", "another", "other", "each")
    before = core[:-1]
    joined = "and" in before[1:] and _is_noun(before)
    counted = any(is_number(w) and w not in ("one", "1") and not w.endswith(("st", "nd", "rd", "th")) for w in before)
    return (
        joined or is_plural(word) or word in _GROUPS or _is_group(word)
        or any(w in _DETERMINERS_OF_MANY for w in before)
        or (counted and (word.endswith("s") or names_people(word)))
    )  # fmt: skip


def _is_noun(before: Sequence[str]) -> bool:
    """Say whether what is joined by 'and' is a noun: 'man and woman', but not 'old and grey'."""
    word = before[before.index("and") - 1]
    return not is_colour_or_cloth(word) and bool(Kinds.embedded().senses(word))


@functools.lru_cache(maxsize=65536)
def _is_group(word: str) -> bool:
    return any(Kinds.embedded().names(word, kind) for kind in _GROUP_KINDS)


def _gender(core: Sequence[str]) -> Gender | Literal["neuter"] | None:
    word = core[-1]
    if word in _NEUTER:
        return "neuter"
    for gender, pronouns in (("male", _MALE), ("female", _FEMALE)):
        if word in pronouns or (len(core) > 1 and gender in core[:-1]):
            return gender  # type: ignore[return-value]
    return _gender_of(word)


@functools.lru_cache(maxsize=65536)
def _gender_of(word: str) -> Gender | None:
    """The gender that a noun says: by its kinds, or in a family."""
    kinds = Kinds.embedded()
    forms = noun_forms(word)
    for form in forms:
        if form in _FAMILY:
            return _FAMILY[form]
    for form in forms:
        if kinds.names(form, "male person") or form == "male":
            return "male"
        if kinds.names(form, "female person") or form == "female":
            return "female"
    return None


def pronoun_gender(pronoun: str) -> Gender | Literal["neuter"] | None:
    """The gender of 'his', 'her' and 'its'; None for 'their'."""
    if pronoun in _NEUTER:
        return "neuter"
    return "male" if pronoun in _MALE else "female" if pronoun in _FEMALE else None


def read_phrase(phrase: Phrase) -> tuple[list[str], int]:
    """The words of a phrase by itself in lower case, and where its head stands."""
    words = [token.text.lower().replace("\u2019", "'") for token in tokenize(phrase.text)]
    return words, _head(words, 0, len(words), phrase.head.lower().replace("\u2019", "'")) if words else 0


def gaps(words: Sequence[str], things: Sequence[Thing]) -> Iterator[Sequence[str]]:
    """The words before each thing, from the end of the thing before it."""
    end = 0
    for thing in things:
        yield words[end : max(end, thing.first)]
        end = max(end, thing.end)
