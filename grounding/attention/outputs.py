"""Which of what a model returned are the scores: the first tensor, or what `output` picks."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor

from grounding.errors import GroundingError, did_you_mean

Output = str | int | Callable[[Any], Any]


def pick(returned: Any, output: Output | None) -> Any:
    """The scores, or a tuple with the scores first, of what a model returned: all of it where `output` is None.

    Args:
        output: the name of an attribute or key, or a position, of what the model returned; names and positions of one
            in the other, joined by dots, such as `head.logits` or `0.scores`; or a function that picks the scores.

    Raises:
        GroundingError: there is no such output; it says what there is.
    """
    if output is None:
        return returned
    if isinstance(output, bool) or not (isinstance(output, (str, int)) or callable(output)):
        raise GroundingError(
            f"output is a {type(output).__name__}: expected the name or position of the scores, such as 'logits', or a "
            "function that picks them"
        )
    if not isinstance(output, (str, int)):
        return output(returned)
    for key in output.split(".") if isinstance(output, str) else [output]:
        returned = _part(returned, key, output)
    return returned


def scores_first(returned: Any, output: Output | None = None) -> tuple[Tensor, ...]:
    """The tensors that a model returned, or that `output` picked of it, the scores first.

    Raises:
        GroundingError: it is neither a tensor nor a tuple of tensors; the scores are not floating point numbers, or
            hold NaN or infinity.
    """
    outputs: tuple[Any, ...] = returned if type(returned) is tuple else (returned,)
    if not outputs or not all(isinstance(each, Tensor) for each in outputs):
        if output is None:
            given, advice = "the model returned", _advice(returned)
        else:
            given, advice = f"output={output!r} is" if isinstance(output, (str, int)) else "output() gave", "the scores"
        raise GroundingError(f"{given} {described(returned)}: expected one tensor, {advice}")
    _check_scores(outputs[0])
    return outputs


def described(returned: Any) -> str:
    """What a model returned, in words: its type, and the names or the number of what it holds."""
    kind = type(returned).__name__
    kind = f"{'an' if kind[0] in 'AEIOUaeiou' else 'a'} {kind}"
    held = list(_held(returned))
    if not held:
        return f"{kind} of nothing" if isinstance(returned, (Mapping, list, tuple)) else kind
    names = [f"{name} ({type(value).__name__})" if not isinstance(value, Tensor) else str(name) for name, value in held]
    most = 8  # of a model that returns all of its layers
    return f"{kind} with {', '.join(names[:most])}{', ...' if len(names) > most else ''}"


def _part(returned: Any, key: str | int, output: str | int) -> Any:
    """One name or position of what a model returned."""
    held = dict(_held(returned))
    names = {str(name): value for name, value in held.items()}
    if isinstance(key, int) and -len(held) <= key < len(held) and not isinstance(returned, Mapping):
        return list(held.values())[key]
    if str(key) in names:
        return names[str(key)]
    if isinstance(key, str) and key and hasattr(returned, key):
        return getattr(returned, key)
    advice = did_you_mean(str(key), names, "give one of these", prefix="output=") if names else "leave output out"
    raise GroundingError(f"there is no output={output!r}: the model returned {described(returned)}: {advice}")


def _held(returned: Any) -> Iterator[tuple[str | int, Any]]:
    """Names or positions of what a model returned, each with what is there; nothing of a tensor."""
    if isinstance(returned, Mapping):
        yield from ((name, value) for name, value in returned.items() if value is not None)
    elif isinstance(returned, tuple) and hasattr(returned, "_fields"):
        yield from zip(returned._fields, returned, strict=True)
    elif isinstance(returned, (list, tuple)):
        yield from enumerate(returned)
    elif dataclasses.is_dataclass(returned) and not isinstance(returned, type):
        yield from ((field.name, getattr(returned, field.name)) for field in dataclasses.fields(returned))


def _advice(returned: Any) -> str:
    """What to give as `output`: logits, or else the first matrix of floating point numbers, or a function."""
    tensors = {name: value for name, value in _held(returned) if isinstance(value, Tensor)}
    scores = [name for name, value in tensors.items() if value.dim() == 2 and value.dtype.is_floating_point]
    best = next((name for name in ("logits", *scores, *tensors) if name in tensors), None)
    if best is None:
        return "or a tuple of them with the scores first: record a function of the inputs that returns the scores"
    return f"or a tuple of them with the scores first: give output={best!r}"


def _check_scores(scores: Tensor) -> None:
    """That they are floating point numbers without NaN or infinity."""
    if not scores.dtype.is_floating_point:
        raise GroundingError(f"the model returned {scores.dtype}: expected floating point scores")
    broken = (~(scores < math.inf)).flatten(1).any(1).nonzero()[:, 0].tolist() if scores.dim() > 1 else []
    if broken:
        raise GroundingError(
            f"the scores of image {broken[0]} hold NaN or infinity: are its pixels what the model expects?"
        )
