"""Excitation Backprop for PyTorch: where in the picture the evidence for an output of a classifier lies."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grounding.attention.excitation import contrastive_mwp as contrastive_mwp
    from grounding.attention.excitation import mwp as mwp
    from grounding.attention.tape import Tape as Tape
    from grounding.attention.tape import record as record
    from grounding.explain import explain as explain

_HOMES = {
    "Tape": "grounding.attention.tape",
    "contrastive_mwp": "grounding.attention.excitation",
    "explain": "grounding.explain",
    "mwp": "grounding.attention.excitation",
    "record": "grounding.attention.tape",
}
__all__ = ["Tape", "contrastive_mwp", "explain", "mwp", "record"]


def __getattr__(name: str) -> Any:
    """Import on first use, so that importing the package does not import torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'grounding.attention' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
