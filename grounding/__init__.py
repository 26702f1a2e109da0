"""Find the region each phrase of a caption talks about, trained without a single box."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grounding.errors import GroundingError as GroundingError
    from grounding.images import read_image as read_image
    from grounding.images import sample_scene as sample_scene
    from grounding.integrations.zero_shot import zero_shot_object_detector as zero_shot_object_detector
    from grounding.pipeline import Localizer as Localizer

__version__ = "0.2.0"
_HOMES = {
    "GroundingError": "grounding.errors",
    "Localizer": "grounding.pipeline",
    "read_image": "grounding.images",
    "sample_scene": "grounding.images",
    "zero_shot_object_detector": "grounding.integrations.zero_shot",
}
__all__ = ["GroundingError", "Localizer", "__version__", "read_image", "sample_scene", "zero_shot_object_detector"]


def __getattr__(name: str) -> Any:
    """Import on first use, so that `--help` and `import grounding` cost nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'grounding' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
