"""English words about people: which phrases name them, and which words a close photograph of them is described with."""

from grounding.text.tokens import stem

BODY_PARTS = ("face", "hair", "hand", "head", "mouth")  # written in captions of close photographs
_PEOPLE = frozenset(
    map(
        stem,
        """
        man woman men women boy girl child children kid baby toddler person people guy lady gentleman male female
        player worker couple group crowd team
        """.split(),  # noqa: SIM905
    )
)


def names_people(head: str) -> bool:
    """Whether a phrase with this head noun is about a person or several."""
    return stem(head) in _PEOPLE
