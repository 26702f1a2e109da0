"""The words of a caption that say what belongs to what: verbs of wearing, holding and riding, and prepositions."""

from collections.abc import Sequence
from typing import Literal

from grounding.text.phrases import PREPOSITIONS
from grounding.text.things import RELATIVE, Thing

Link = Literal["wears", "holds", "has", "with"]

WEARING = frozenset(
    "wearing wears wear wore worn dressed clad donning dons sporting sports attired adorned outfitted".split()  # noqa: SIM905
)
FINITE = frozenset(
    "wears wear wore has have had holds hold held carries carry plays play uses use pushes push pulls pull".split()  # noqa: SIM905
)
COPULAS = frozenset({"is", "are", "was", "were", "appears", "seems"})
LISTS = frozenset({",", "and", "&", "or", "plus"})
ENDS_CLAUSE = frozenset({".", ";", "!", "?", ":", "while", "as", "when", "where", "because", "and", "but", "whilst"})
_HOLDING = frozenset(
    """
    holding holds hold held carrying carries carry carried playing plays play using uses use pushing pushes push pulling
    pulls pull gripping grips grasping grasps clutching clutches swinging swings raising raises strumming lifting lifts
    eating eats drinking drinks reading reads waving waves
    """.split()  # noqa: SIM905
)
_RIDING = frozenset("riding rides ride driving drives drive steering mounted".split())  # noqa: SIM905
_WALKING = frozenset({"walking", "walks", "walk"})
_HAVING = frozenset({"has", "have", "having", "had"})
_PREPOSITIONS_OF_PLACE = frozenset({"on", "onto", "upon", "over", "around", "atop"})
_PASSES = frozenset(  # words that may stand between one that links and the thing
    """
    a an the only what looks like appears to be up out down off on onto his her its their in both all very just some
    matching back
    """.split()  # noqa: SIM905
)
_KINDS = (
    (WEARING, "wears"),
    (_HOLDING, "holds"),
    (_WALKING, "walks"),
    (_RIDING, "rides"),
    (_HAVING, "has"),
    (_PREPOSITIONS_OF_PLACE, "on"),
    (frozenset({"with"}), "with"),
    (frozenset({"in"}), "in"),
    (frozenset({"by"}), "by"),
)


def linking(gap: Sequence[str]) -> tuple[str, int]:
    """The last word of a gap that links, as a kind of link, and where it stands; `('', -1)` without one."""
    for place in range(len(gap) - 1, -1, -1):
        word = gap[place]
        kind = _kind(word)
        if kind == "with" and place and gap[place - 1] in _HOLDING:
            return "holds", place
        if kind == "on" and place and _kind(gap[place - 1]) in ("holds", "wears", "with"):
            continue
        if kind == "in" and any(before in WEARING for before in gap[:place]):
            return "wears", place
        if kind:
            return kind, place
        listed = word in LISTS and "" in gap  # 'with no shirt and a hat'
        if word and not listed and word not in _PASSES and not word.endswith("ly"):
            break
    return "", -1


def _kind(word: str) -> str:
    return next((kind for words, kind in _KINDS if word in words), "")


def without_modifiers(gap: Sequence[str]) -> Sequence[str]:
    """The words before clothes, without those that are about the clothes: 'in a' before 'dark blue, flowing tunic'."""
    stop = PREPOSITIONS | LISTS | ENDS_CLAUSE | COPULAS | WEARING | _HOLDING | _HAVING | RELATIVE
    end = len(gap)
    while end and len(gap) - end < 5 and gap[end - 1] not in stop:
        end -= 1
    return gap[:end] if end and gap[end - 1] in stop else gap


def is_wearable(thing: Thing, link: str) -> bool:
    """Say whether a thing can be worn; after a verb of wearing, anything that is no whole can."""
    return thing.attribute == "clothing" or thing.stuff or (link == "wears" and not thing.whole)


def how(thing: Thing) -> Link:
    """How a thing belongs to its owner where no verb says it."""
    if thing.attribute == "clothing" or thing.stuff:
        return "wears"
    return "has" if thing.attribute else "with"
