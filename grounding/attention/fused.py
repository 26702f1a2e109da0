"""Fused operations written out in plain ones, so that the tape holds steps that have rules."""

from collections.abc import Callable
from typing import Any

from torch._ops import OpOverload

FUSED: dict[OpOverload, Callable[..., Any]] = {}
