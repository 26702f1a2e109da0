"""Compute recorded operations once more, on contents that the tape kept or on others."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from grounding.attention.graph import Operation, Value
from grounding.attention.rules.arithmetic import rules_for
from grounding.attention.rules.table import TABLE

aten = torch.ops.aten

Contents = dict[Value, Tensor]

_COPIES = frozenset(rules_for("clone detach alias _to_copy native_dropout", TABLE[aten.clone.default]))
_VIEWS = frozenset(rules_for("view _unsafe_view _reshape_alias", TABLE[aten.clone.default]))


def replay(parts: Iterable[Operation], contents: Mapping[Value, Tensor], dtype: torch.dtype | None = None) -> Contents:
    """The contents of all that the operations return, and the given ones; in another precision, if one is given.

    Copies and casts return their input itself, so that what is computed has a gradient and the precision of `dtype`.
    """
    known = dict(contents)
    for part in parts:
        args = [_resolved(arg, known, dtype) for arg in part.args]
        kwargs = {name: _resolved(arg, known, dtype) for name, arg in part.kwargs.items()}
        known.update(zip(part.outputs, _run(part, args, kwargs), strict=False))
    return known


def needed_for(
    wanted: Iterable[Value], makers: Mapping[Value, Operation]
) -> tuple[list[Operation], list[Value]] | None:
    """The operations that compute values from what the tape kept, first to last, and what of that; None if none do."""
    parts: dict[Operation, None] = {}
    kept: dict[Value, None] = {}

    def visit(value: Value) -> bool:
        if value.tensor is not None:
            kept[value] = None
            return True
        maker = makers.get(value)
        if maker is None or maker.overload is None:
            return False
        if maker not in parts:
            if not all(visit(arg) for arg in values_of(maker) if arg.active):
                return False
            parts[maker] = None
        return True

    return (list(parts), list(kept)) if all(visit(value) for value in wanted) else None


def _run(part: Operation, args: list[Any], kwargs: dict[str, Any]) -> Sequence[Tensor]:
    assert part.overload is not None, "a write through a view cannot be computed again"
    if part.overload in _COPIES:
        return (args[0],)
    if part.overload in _VIEWS:
        return (args[0].reshape(args[1]),)
    for at, argument in enumerate(part.overload._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write and at < len(args):
            args[at] = args[at].clone()
    result = part.overload(*args, **kwargs)
    return result if isinstance(result, (tuple, list)) else (result,)


def _resolved(argument: Any, known: Contents, dtype: torch.dtype | None) -> Any:
    if isinstance(argument, list):
        return [_resolved(each, known, dtype) for each in argument]
    if not isinstance(argument, Value):
        return argument
    if argument in known:
        return known[argument]
    content = argument.content()
    return content.to(dtype or content.dtype) if content.dtype.is_floating_point else content


def values_of(operation: Operation) -> list[Value]:
    """The values among the arguments."""
    each = (each for arg in operation.args for each in (arg if isinstance(arg, list) else [arg]))
    return [value for value in each if isinstance(value, Value)]
