"""Top-down signals: weights on the scores of a network."""

import torch
from torch import Tensor

from grounding.errors import GroundingError


def expand_signals(signals: Tensor, scores: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """The signals for each image, on the device of the scores.

    Args:
        signals: (K, T), the same for every image, or (K, N, T), as the scores are.
        scores: (N, T), or more dimensions, such as (N, T, h, w).
        dtype: by default the wider of signals and scores, and at least float32.

    Returns:
        (K, *scores.shape)

    Raises:
        GroundingError: signals of another shape or type, with NaN or infinity, or all zero; a dtype that is not
            floating point.
    """
    shape = scores.shape
    if len(shape) < 2:
        raise GroundingError(f"the model returned a tensor of shape {tuple(shape)}: expected scores (N, T)")
    expected = f"(K, {', '.join(map(str, shape))})" + (f" or (K, {shape[1]})" if len(shape) == 2 else "")
    if not isinstance(signals, Tensor):
        raise GroundingError(f"signals are a {type(signals).__name__}: expected a floating point tensor {expected}")
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
