"""What a user asks for: a caption or phrases, checked."""

from collections.abc import Iterable

from grounding.errors import GroundingError
from grounding.text.captions import as_read
from grounding.wording import shortened


def check_phrases(phrases: Iterable[str]) -> list[str]:
    """Return the phrases that a user gave as texts, or raise a `GroundingError` for anything else."""
    expected = "expected a list of texts such as ['a man', 'a red hat']"
    if isinstance(phrases, str):
        raise GroundingError(f"phrases are the text {shortened(phrases)!r}: {expected}")
    if not isinstance(phrases, Iterable):
        raise GroundingError(f"phrases are a {type(phrases).__name__}: {expected}")
    texts = list(phrases)
    if not texts:
        raise GroundingError(f"phrases are empty: {expected}, or none, for those of the caption")
    for number, text in enumerate(texts, start=1):
        if not isinstance(text, str):
            raise GroundingError(f"phrase {number} is a {type(text).__name__}: {expected}")
    return texts


def check_caption(caption: object, phrases: list[str] | None) -> str:
    """Return the caption that a user gave, or else the phrases divided by commas; `GroundingError` for others."""
    if caption is None and phrases is not None:
        return ", ".join(phrases)
    example = "a sentence such as 'a man in a red hat'"
    if caption is None:
        raise GroundingError(f"no caption was given: expected {example}, or phrases=['a man', 'a red hat']")
    if not isinstance(caption, str):
        advice = "; a list of phrases is given as phrases=[...]" if isinstance(caption, Iterable) else ""
        raise GroundingError(f"the caption is a {type(caption).__name__}: expected {example}{advice}")
    if not as_read(caption) and phrases is None:
        raise GroundingError(f"the caption is empty: expected {example}, or phrases")
    return caption
