"""Nouns of what is worn and of parts of things, as captions and WordNet say; made by `tools/derive_attributes.py`."""

import functools
from collections.abc import Mapping
from importlib import resources

ATTRIBUTES_FILE = "attributes.txt"


@functools.cache
def attributes() -> Mapping[str, str]:
    """What each word in the table names: `clothing`, `part`, or `bare`, which is what is never worn."""
    file = resources.files("grounding.text").joinpath(ATTRIBUTES_FILE)
    lines = (line.partition(":") for line in file.read_text(encoding="utf-8").splitlines())
    return {word: kind for kind, _, words in lines for word in words.strip().split(", ")}
