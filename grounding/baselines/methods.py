"""Other people's attention maps for comparison, all called alike: `method(model, images, signals, layer=None)`.

Args of every method:
    model: a module in evaluation mode that returns scores (N, T). It is left as it was: the work is done on a copy that
        shares the memory of its parameters, so no hook, flag or gradient ever reaches the model itself.
    images: (N, C, H, W) floating point, as the model wants them.
    signals: (K, T) floating point, the same for every image, or (K, N, T); or K class numbers. What is explained for
        signal k is the sum of signals[k] * scores.
    layer: the name of the module to read, as in `model.named_modules()`, for `cam` and `grad_cam`; its output must be
        (N, C, h, w). By default the last module to end whose output is such a map of more than one place. The other
        methods read the image, and refuse a layer.

Every method returns maps (N, K, h, w), channels already put together, (h, w) being (H, W) or the sides of the layer;
float32, or float64 where the scores or the signals are. Images do not change each other's maps, nor do signals.

Every method raises GroundingError: a model in training mode, a compiled or scripted one, one that cannot be copied or
returns anything but finite scores (N, T); images or signals of another shape, signals that hold NaN or are all zero; a
layer that does not exist, ran more than once or gives no map; a missing library, which is the optional extra
`baselines`. captum and zennit are imported where they are used.
"""

import functools
import math
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from grounding.attention.signals import Signals
from grounding.baselines.libraries import deconvnet, guided_backprop, lrp
from grounding.baselines.shared import (
    checked_scores,
    checked_weights,
    close,
    gradients,
    largest,
    prepare,
    refuse_layer,
)
from grounding.errors import GroundingError, did_you_mean

_RISE_BATCH = 32  # masked images in one forward pass of RISE


class Method(Protocol):
    """One baseline: see the module for arguments, result and errors."""

    def __call__(self, model: nn.Module, images: Tensor, signals: Signals, layer: str | None = None) -> Tensor:
        """(N, K, h, w)."""


@torch.inference_mode(False)
@torch.enable_grad()
def gradient(model: nn.Module, images: Tensor, signals: Signals, layer: str | None = None) -> Tensor:
    """The largest absolute derivative over the channels of each pixel: (N, K, H, W), at least 0.

    Simonyan et al., arXiv 1312.6034, section 3.1.
    """
    refuse_layer("gradient", layer)
    model, images = prepare(model, images)
    scores = checked_scores(model, images.requires_grad_())
    return largest(gradients(scores, checked_weights(signals, scores), images))


@torch.inference_mode(False)
@torch.no_grad()
def cam(model: nn.Module, images: Tensor, signals: Signals, layer: str | None = None) -> Tensor:
    """Class Activation Map: the weights of the classifier on the features of each place. (N, K, h, w), signed.

    Zhou et al., arXiv 1512.04150, equation 2, without the bias and not clamped: the mean of a map over its places is
    the explained score less the classifier's bias.

    Raises:
        GroundingError: also where the scores are not one `nn.Linear` layer on the mean of the layer over its places.
    """
    model, images = prepare(model, images)
    heads: list[tuple[nn.Linear, Tensor, Tensor]] = []
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(lambda linear, inputs, output: heads.append((linear, inputs[0], output)))
    name, features, scores = read_layer(model, images, layer)
    weights = checked_weights(signals, scores)
    pooled = features.mean((2, 3))
    if not heads or not torch.equal(heads[-1][2], scores) or not close(heads[-1][1], pooled):
        raise GroundingError(
            f"the scores are not one linear layer on the mean of layer '{name}' over its places, which cam needs: "
            "name the layer before the pooling, or use grad_cam"
        )
    classifier = heads[-1][0].weight.to(weights.dtype)  # (T, C)
    return torch.einsum("knc,nchw->nkhw", weights @ classifier, features.to(weights.dtype))


@torch.inference_mode(False)
@torch.enable_grad()
def grad_cam(model: nn.Module, images: Tensor, signals: Signals, layer: str | None = None) -> Tensor:
    """Features weighted by the mean of their derivative over all places, summed and clamped: (N, K, h, w), at least 0.

    Selvaraju et al., arXiv 1610.02391, equations 1 and 2.

    Raises:
        GroundingError: also where the scores do not depend on the layer.
    """
    model, images = prepare(model, images)
    name, features, scores = read_layer(model, images.requires_grad_(), layer)
    weights = checked_weights(signals, scores)
    alphas = gradients(scores, weights, features, f"layer '{name}'").mean((3, 4))  # (K, N, C)
    return torch.einsum("knc,nchw->nkhw", alphas, features.detach().to(weights.dtype)).clamp(min=0)


@torch.inference_mode(False)
@torch.no_grad()
def rise(
    model: nn.Module,
    images: Tensor,
    signals: Signals,
    layer: str | None = None,
    *,
    masks: int = 4000,
    cells: int = 7,
    keep: float = 0.5,
    seed: int = 0,
) -> Tensor:
    """Mean of random masks, weighted by the explained score of the image under each: (N, K, H, W).

    Petsiuk et al., arXiv 1806.07421, equation 6: S = sum_i f(I * M_i) M_i / (keep * masks). Masks are made as in
    section 3.2, with the side of a cell rounded up. The paper explains probabilities: put a softmax behind the model
    for that; plain scores may make negative maps. It costs as many forward passes of an image as there are masks.

    Args:
        masks: how many; the paper has 4000 for VGG16 and 8000 for ResNet-50. The same ones for every image and signal.
        cells: along each side of a mask.
        keep: the probability that a cell is kept.
        seed: of the masks.
    """
    refuse_layer("rise", layer)
    if masks < 1 or cells < 1 or not 0 < keep <= 1:
        raise GroundingError(
            f"rise was given masks {masks}, cells {cells} and keep {keep}: expected at least one mask and cell, "
            "and a probability above 0"
        )
    model, images = prepare(model, images)
    weights = checked_weights(signals, checked_scores(model, images))  # (K, N, T)
    generator = torch.Generator().manual_seed(seed)
    grids = (torch.rand(masks, 1, cells, cells, generator=generator) < keep).float()
    sides = [math.ceil(side / cells) for side in images.shape[2:]]
    indents = torch.stack([torch.randint(side, (masks,), generator=generator) for side in sides], 1)  # (masks, 2)
    total = weights.new_zeros(len(images), len(weights), *images.shape[2:])
    batch = max(1, _RISE_BATCH // len(images))
    for group, cuts in zip(grids.split(batch), indents.split(batch), strict=True):
        crops = _crops(group, cuts, sides, images).to(images)  # (B, H, W)
        masked = (images[:, None] * crops[:, None]).flatten(0, 1)  # (N * B, C, H, W)
        scores = checked_scores(model, masked).to(weights.dtype).unflatten(0, (len(images), len(crops)))  # (N, B, T)
        total += torch.einsum("knt,nbt,bhw->nkhw", weights, scores, crops.to(weights.dtype))
    return total / (keep * masks)


def read_layer(model: nn.Module, images: Tensor, layer: str | None) -> tuple[str, Tensor, Tensor]:
    """The layer's name and its output (N, C, h, w), and the scores. Leaves a hook in the model."""
    name = _last_map(model, images) if layer is None else layer
    modules = {name: module for name, module in model.named_modules() if name}
    if name not in modules:
        advice = did_you_mean(name, modules, f"expected a module such as {', '.join(list(modules)[-3:])}", most=3)
        raise GroundingError(f"the model has no layer '{name}': {advice}")
    outputs: list[Any] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> Tensor | None:
        outputs.append(output)
        return output.clone() if isinstance(output, Tensor) else None  # what follows may write in place

    modules[name].register_forward_hook(keep)
    scores = checked_scores(model, images)
    if len(outputs) != 1:
        raise GroundingError(f"layer '{name}' ran {len(outputs)} times: expected one that runs once")
    features = outputs[0]
    if not isinstance(features, Tensor) or features.dim() != 4 or len(features) != len(images):
        given = tuple(features.shape) if isinstance(features, Tensor) else f"a {type(features).__name__}"
        raise GroundingError(f"layer '{name}' gives {given}: expected a map ({len(images)}, C, h, w)")
    return name, features, scores


def _last_map(model: nn.Module, images: Tensor) -> str:
    names: list[str] = []

    def note(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.dim() == 4 and output.shape[2:].numel() > 1:
            names.append(name)

    hooks = [
        module.register_forward_hook(functools.partial(note, name)) for name, module in model.named_modules() if name
    ]
    checked_scores(model, images)
    for hook in hooks:
        hook.remove()
    if not names:
        raise GroundingError("no module of the model gives a map (N, C, h, w) of more than one place: name a layer")
    return names[-1]


def _crops(grids: Tensor, indents: Tensor, sides: list[int], images: Tensor) -> Tensor:
    """(B, 1, cells, cells) grids, enlarged to one cell more than the image and cut at (B, 2) indents: (B, H, W)."""
    height, width = images.shape[2:]
    enlarged = [(grids.shape[-1] + 1) * side for side in sides]
    smooth = functional.interpolate(grids, enlarged, mode="bilinear", align_corners=False)[:, 0]
    cuts = zip(smooth, indents.tolist(), strict=True)
    return torch.stack([mask[y : y + height, x : x + width] for mask, (y, x) in cuts])


METHODS: Mapping[str, Method] = {
    "gradient": gradient,
    "guided_backprop": guided_backprop,
    "deconvnet": deconvnet,
    "cam": cam,
    "grad_cam": grad_cam,
    "lrp": lrp,
    "rise": rise,
}
