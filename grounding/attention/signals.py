"""Top-down signals: weights on the scores of a network, given as such, or as classes by number or name."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from grounding.errors import GroundingError, did_you_mean

Class = int | str  # a position among the scores, or a name
Signals = Tensor | Sequence[Class] | Sequence[Sequence[Class]]


def expand_signals(
    signals: Signals | None, scores: Tensor, dtype: torch.dtype | None = None, names: Sequence[str] = ()
) -> Tensor:
    """The signals for each image, on the device of the scores.

    Args:
        signals: floating point (K, T), the same for every image, or (K, N, T), as the scores are. Or classes, each a
            weight of 1 on one score: a list of K numbers or names, or K lists of N, one for each image; also a tensor
            of whole numbers (K,) or (K, N).
        scores: (N, T), or more dimensions, such as (N, T, h, w), which have no classes.
        dtype: by default the wider of signals and scores, and at least float32.
        names: T names of the scores; none where they have none.

    Returns:
        (K, *scores.shape)

    Raises:
        GroundingError: signals of another shape or type, with NaN or infinity, or all zero; a class that there is not,
            or whose name several have; a dtype that is not floating point.
    """
    shape = scores.shape
    if len(shape) < 2:
        raise GroundingError(f"the model returned a tensor of shape {tuple(shape)}: expected scores (N, T)")
    signals = _weights(signals, shape, names)
    expected = f"(K, {', '.join(map(str, shape))})"
    expected += f" or (K, {shape[1]}), or a list of classes" if len(shape) == 2 else ""
    given = f"{tuple(signals.shape)} {signals.dtype}"
    if signals.dim() == 2 and len(shape) == 2 and signals.shape[1] == shape[1]:
        signals = signals[:, None].expand(-1, *shape)
    if signals.shape[1:] != shape or not signals.dtype.is_floating_point:
        raise GroundingError(f"signals are {given}: expected floating point {expected}")
    if not bool(signals.isfinite().all()):
        raise GroundingError("signals hold NaN or infinity: expected finite weights")
    blank = (~signals.flatten(1).any(1)).nonzero()[:, 0].tolist() if len(signals) else []
    if blank:
        raise GroundingError(f"signal {blank[0]} is all zero: expected a weight other than 0 on at least one output")
    if dtype is None:
        dtype = torch.promote_types(torch.promote_types(signals.dtype, scores.dtype), torch.float32)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise GroundingError(f"dtype is {dtype}: expected a floating point type")
    return signals.to(scores.device, dtype)


def class_number(given: Any, count: int, names: Sequence[str] = ()) -> int:
    """The position of a class among `count` scores, from 0.

    Args:
        given: a position, or one of the names.
        names: of the scores; none where they have none.

    Raises:
        GroundingError: there is no such class (with the nearest names), or several have the name.
    """
    if isinstance(given, str):
        found = [at for at, name in enumerate(names) if name == given]
        if len(found) > 1:
            raise GroundingError(f"'{given}' is the name of outputs {', '.join(map(str, found))}: give the number")
        if not found:
            advice = "see names" if len(names) else "record(..., names=[...]) gives names to the outputs"
            raise GroundingError(f"no output is named '{given}': {did_you_mean(given, names, advice, most=3)}")
        return found[0]
    if isinstance(given, bool) or not isinstance(given, Integral):
        raise GroundingError(f"a class is {given!r}: expected a position from 0 to {count - 1}, or a name")
    number = int(given)
    if not 0 <= number < count:
        raise GroundingError(f"output is {number}: expected a position from 0 to {count - 1}")
    return number


def checked_names(names: Sequence[str] | None, count: int) -> tuple[str, ...]:
    """The names of all `count` scores; empty where none were given.

    Raises:
        GroundingError: there are not as many, or they are no names.
    """
    if names is None:
        return ()
    if isinstance(names, str) or not isinstance(names, Sequence):
        given = f"the text '{names}'" if isinstance(names, str) else f"a {type(names).__name__}"
        raise GroundingError(f"names are {given}: expected a list of {count}, one for each output")
    if len(names) != count:
        raise GroundingError(f"names are {len(names)} of them: expected a list of {count}, one for each output")
    other = next((name for name in names if not isinstance(name, str)), None)
    if other is not None:
        raise GroundingError(f"one of the names is a {type(other).__name__}: expected texts")
    return tuple(names)


def _weights(signals: Signals | None, shape: torch.Size, names: Sequence[str]) -> Tensor:
    """Signals as weights: those that are classes as (K, T) or (K, N, T) float32."""
    if isinstance(signals, Tensor):
        if signals.dtype.is_floating_point or signals.dtype.is_complex or signals.dtype == torch.bool:
            return signals
        if not (signals.dim() == 1 or (signals.dim() == 2 and signals.shape[1] == shape[0])):
            return signals
        if signals.dim() == len(shape) == 2 and shape[0] == shape[1]:
            raise GroundingError(
                f"signals are {tuple(signals.shape)} {signals.dtype}, which may be weights or classes: give weights in "
                "floating point, and classes as a list"
            )
        signals = signals.tolist()
    expected = f"a floating point tensor (K, {', '.join(map(str, shape))}), or a list of class numbers or names"
    if isinstance(signals, str) or not isinstance(signals, Sequence):
        raise GroundingError(f"signals are a {type(signals).__name__}: expected {expected}")
    if not len(signals):
        raise GroundingError(f"signals are an empty list: expected {expected}")
    if len(shape) != 2:
        raise GroundingError(f"signals are classes, but the scores have shape {tuple(shape)}: expected {expected}")
    nested = [isinstance(each, (list, tuple)) for each in signals]
    rows: list[Any] = [each if inner else [each] for each, inner in zip(signals, nested, strict=True)]
    if any(nested) and (not all(nested) or any(len(row) != shape[0] for row in rows)):
        raise GroundingError(
            f"signals are lists of {', '.join(str(len(row)) for row in rows[:5])} classes: expected either {shape[0]} "
            "in each, one for every image, or one list of classes"
        )
    numbers = torch.tensor([[class_number(each, shape[1], names) for each in row] for row in rows])
    weights = functional.one_hot(numbers, shape[1]).float()  # (K, N, T) or (K, 1, T)
    return weights if any(nested) else weights[:, 0]
