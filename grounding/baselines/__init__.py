"""Other people's attention methods, behind one call: see `methods`."""

import importlib
from typing import Any

_HOMES = {
    "METHODS": "grounding.baselines.methods",
    "cam": "grounding.baselines.methods",
    "deconvnet": "grounding.baselines.libraries",
    "grad_cam": "grounding.baselines.methods",
    "gradient": "grounding.baselines.methods",
    "guided_backprop": "grounding.baselines.libraries",
    "lrp": "grounding.baselines.libraries",
    "rise": "grounding.baselines.methods",
}
__all__ = ["METHODS", "cam", "deconvnet", "grad_cam", "gradient", "guided_backprop", "lrp", "rise"]


def __getattr__(name: str) -> Any:
    """Import on first use, so that importing the package does not import torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'grounding.baselines' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
