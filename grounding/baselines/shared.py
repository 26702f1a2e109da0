"""What the baselines share: copies to work on, checks of what is given, and gradients of weighted scores."""

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from grounding.attention.signals import Signals, expand_signals
from grounding.errors import GroundingError


def prepare(model: nn.Module, images: Tensor) -> tuple[nn.Module, Tensor]:
    """Copies to work on: the model, sharing the memory of its parameters, none of which requires a gradient."""
    if not isinstance(model, nn.Module):
        raise GroundingError(f"the model is a {type(model).__name__}: expected a torch.nn.Module")
    for name, module in model.named_modules():
        where = f"module '{name}'" if name else "the model"
        if module.training:
            raise GroundingError(f"{where} is in training mode: call eval() on the model first")
        if isinstance(module, torch.jit.ScriptModule) or hasattr(module, "_orig_mod"):
            raise GroundingError(f"{where} is compiled or scripted: give the plain module that it was made from")
    if not isinstance(images, Tensor) or images.dim() != 4 or not images.is_floating_point() or not images.numel():
        given = f"{tuple(images.shape)} {images.dtype}" if isinstance(images, Tensor) else f"a {type(images).__name__}"
        raise GroundingError(f"images are {given}: expected a floating point tensor (N, C, H, W)")
    memo: dict[int, Any] = {}
    try:
        for parameter in model.parameters():
            memo[id(parameter)] = nn.Parameter(ordinary(parameter.detach()), requires_grad=False)
        for buffer in model.buffers():
            memo[id(buffer)] = buffer.detach().clone()
        return copy.deepcopy(model, memo), images.detach().clone()
    except (RuntimeError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise GroundingError(f"the model cannot be copied ({reason}): give one that copy.deepcopy takes") from error


def ordinary(tensor: Tensor) -> Tensor:
    """Autograd does not keep a tensor that was made in inference mode."""
    return tensor.clone() if tensor.is_inference() else tensor


def checked_scores(model: Callable[[Tensor], Any], images: Tensor) -> Tensor:
    """(N, T), finite."""
    scores = model(images)
    if not isinstance(scores, Tensor):
        raise GroundingError(
            f"the model returned a {type(scores).__name__}: expected one tensor of scores (N, T); "
            "wrap it in a module whose forward picks it"
        )
    if scores.dim() != 2 or len(scores) != len(images):
        raise GroundingError(f"the model returned {tuple(scores.shape)}: expected scores ({len(images)}, T)")
    if not bool(scores.isfinite().all()):
        raise GroundingError("the scores hold NaN or infinity: expected finite images and weights")
    if images.requires_grad and not scores.requires_grad:
        raise GroundingError("the scores do not depend on the images, or the model detaches them")
    return scores


def checked_weights(signals: Signals, scores: Tensor) -> Tensor:
    """The signals as (K, N, T), on the device of the scores and at least float32, for autograd."""
    return ordinary(expand_signals(signals, scores).detach())


def gradients(scores: Tensor, weights: Tensor, source: Tensor, name: str = "the images") -> Tensor:
    """(K, *source.shape): the derivative of what each signal explains; images do not reach each other's scores."""
    derivatives = []
    for signal in weights:
        explained = (scores.to(weights.dtype) * signal).sum()
        derivative = torch.autograd.grad(explained, source, retain_graph=True, allow_unused=True)[0]
        if derivative is None:
            raise GroundingError(f"the scores do not depend on {name}")
        derivatives.append(derivative)
    return stack(derivatives, source).to(weights.dtype)


def stack(tensors: list[Tensor], like: Tensor) -> Tensor:
    """(K, ...), also of none."""
    return torch.stack(tensors) if tensors else like.new_zeros(0, *like.shape)


def largest(derivatives: Tensor) -> Tensor:
    """(K, N, C, H, W) -> (N, K, H, W), the largest size over the channels."""
    return derivatives.detach().abs().amax(2).transpose(0, 1).contiguous()


def close(computed: Tensor, expected: Tensor, tolerance: float = 0.0) -> bool:
    """Whether two ways of computing one tensor agree: to this share, or to half of the digits of their dtype."""
    if computed.shape != expected.shape:
        return False
    margin = max(tolerance, math.sqrt(torch.finfo(computed.dtype).eps)) * float(expected.abs().max())
    return bool(((computed - expected).abs() <= margin).all())


def refuse_layer(method: str, layer: str | None) -> None:
    """For methods that read the image."""
    if layer is not None:
        raise GroundingError(f"{method} was given layer '{layer}' but reads the image: leave the layer out")
