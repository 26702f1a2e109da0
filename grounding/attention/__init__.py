"""Excitation Backprop for PyTorch: where in the picture the evidence for an output of a classifier lies."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grounding.attention.excitation import contrastive_mwp as contrastive_mwp
    from grounding.attention.excitation import contrastive_mwp_at as contrastive_mwp_at
    from grounding.attention.excitation import mwp as mwp
    from grounding.attention.excitation import mwp_at as mwp_at
    from grounding.attention.excitation import readings as readings
    from grounding.attention.flow import Flow as Flow
    from grounding.attention.graph import Rule as Rule
    from grounding.attention.graph import Tape as Tape
    from grounding.attention.recorder import record as record
    from grounding.attention.two_towers import text_signal as text_signal

_HOMES = {
    "Flow": "grounding.attention.flow",
    "Rule": "grounding.attention.graph",
    "Tape": "grounding.attention.graph",
    "contrastive_mwp": "grounding.attention.excitation",
    "contrastive_mwp_at": "grounding.attention.excitation",
    "explain": "grounding.explain",  # the name that it has always had
    "mwp": "grounding.attention.excitation",
    "mwp_at": "grounding.attention.excitation",
    "readings": "grounding.attention.excitation",
    "record": "grounding.attention.recorder",
    "text_signal": "grounding.attention.two_towers",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import on first use, so that importing the package does not import torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'grounding.attention' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
