"""All that the recorder must know of an ATen operation before it runs, looked up once a recording."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch._ops import OpOverload

from grounding.attention.checks import has_modes
from grounding.attention.decompositions import decomposition
from grounding.attention.graph import Rule
from grounding.attention.rules.table import rule_of
from grounding.errors import GroundingError


@dataclass(frozen=True, slots=True)
class Kind:
    """One ATen operation, whatever it is called with.

    Attributes:
        rule: what the engine knows of it; None where that is nothing.
        plainer: what computes the same by plainer operations, which are recorded in its place; None for a plain one.
        written: position and name of each argument that it writes to.
        is_view: it returns the memory of its first argument, and writes nothing.
        has_modes: it may drop out, or take the statistics of a batch.
    """

    rule: Rule | None
    plainer: Callable[..., Any] | None
    written: tuple[tuple[int, str], ...]
    is_view: bool
    has_modes: bool


def kind_of(overload: OpOverload, given: Mapping[OpOverload, Rule]) -> Kind:
    """What is known of an operation. One that was given a rule is recorded as it is.

    Raises:
        GroundingError: it computes with whole numbers that stand for others.
    """
    if overload.namespace in ("quantized", "_quantized"):
        raise GroundingError(f"{overload} is quantised: expected a network of dense floating point tensors")
    arguments = enumerate(overload._schema.arguments)
    aliases = [each.alias_info for each in overload._schema.returns if each.alias_info is not None]
    return Kind(
        rule=rule_of(overload, given),
        plainer=None if overload in given else decomposition(overload),
        written=tuple((at, each.name) for at, each in arguments if each.alias_info and each.alias_info.is_write),
        is_view=bool(aliases) and not any(alias.is_write for alias in aliases),
        has_modes=has_modes(overload),
    )
