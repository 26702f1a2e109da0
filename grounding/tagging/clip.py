"""`clip:NAME`: a network that compares pictures with texts, by transformers or open_clip."""

import os
from pathlib import Path

from grounding.errors import GroundingError
from grounding.tagging.clip_classifier import ClipClassifier
from grounding.tagging.clip_transformers import load_transformers

NAMES = "clip:FOLDER, clip:ORG/NAME of the Hugging Face hub, or clip:ARCHITECTURE[/WEIGHTS] of open_clip"


def load_clip(name: str) -> ClipClassifier:
    """Load the network of `clip:NAME`, given NAME.

    Raises:
        GroundingError: the library is missing, there is no such network, or its files are not whole.
    """
    folder = Path(os.path.expanduser(name))  # noqa: PTH111 - never raises
    where = f"clip:{name}"
    if not name:
        raise GroundingError(f"clip: was given no name: expected {NAMES}")
    towers, preprocessing = load_transformers(str(folder) if folder.is_dir() else name, where)
    return ClipClassifier(towers, preprocessing, where)
