"""Other people's attention maps for comparison, all called alike: `method(model, images, signals, layer=None)`.

Args of every method:
    model: a module in evaluation mode that returns scores (N, T). It is left as it was: the work is done on a copy that
        shares the memory of its parameters, so no hook, flag or gradient ever reaches the model itself.
    images: (N, C, H, W) floating point, as the model wants them.
    signals: (K, T) floating point, the same for every image, or (K, N, T). What is explained for signal k is the sum of
        signals[k] * scores.
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

import contextlib
import copy
import difflib
import functools
import importlib
import itertools
import math
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from grounding.errors import GroundingError, UnsupportedOperationError

_RELUS = {functional.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_}
_RELUS_IN_PLACE = {torch.relu_, Tensor.relu_}
_PASSING = """_reshape_alias _to_copy _unsafe_view adaptive_max_pool2d alias cat clone constant_pad_nd detach expand
    max_pool2d_with_indices permute relu relu_ select slice split split_with_sizes squeeze stack t transpose unsqueeze
    view"""  # operations outside zennit's rules whose relevance is their gradient
_MERGED = (
    "lrp merged a batch normalisation into a layer that it does not follow: "
    "register modules in the order they run, or use another method"
)
_QUIET = threading.Lock()  # warnings are caught for the whole process, not for a thread
_RISE_BATCH = 32  # masked images in one forward pass of RISE


class Method(Protocol):
    """One baseline: see the module for arguments, result and errors."""

    def __call__(self, model: nn.Module, images: Tensor, signals: Tensor, layer: str | None = None) -> Tensor:
        """(N, K, h, w)."""


@torch.inference_mode(False)
@torch.enable_grad()
def gradient(model: nn.Module, images: Tensor, signals: Tensor, layer: str | None = None) -> Tensor:
    """The largest absolute derivative over the channels of each pixel: (N, K, H, W), at least 0.

    Simonyan et al., arXiv 1312.6034, section 3.1.
    """
    _refuse_layer("gradient", layer)
    model, images = _prepare(model, images)
    scores = _scores(model, images.requires_grad_())
    return _largest(_gradients(scores, _weights(signals, scores), images))


def guided_backprop(model: nn.Module, images: Tensor, signals: Tensor, layer: str | None = None) -> Tensor:
    """The gradient, but every ReLU on the way down passes only what is positive and where its input was: (N, K, H, W).

    Springenberg et al., arXiv 1412.6806, section 3.4; by captum. At least 0: the largest absolute value over the
    channels, as for the gradient. Every ReLU of the forward pass counts, module or function, in place or not, shared or
    not. Other activations (ReLU6, GELU, SiLU) keep their own derivative; a model without any ReLU is an error.
    """
    return _rectified("guided_backprop", "GuidedBackprop", model, images, signals, layer)


def deconvnet(model: nn.Module, images: Tensor, signals: Tensor, layer: str | None = None) -> Tensor:
    """The gradient, but every ReLU passes down what is positive wherever its input was: (N, K, H, W), at least 0.

    Zeiler and Fergus, arXiv 1311.2901, section 2.1, as a backward pass; by captum. Max pooling sends to its switches.
    Channels and ReLUs as in `guided_backprop`.
    """
    return _rectified("deconvnet", "Deconvolution", model, images, signals, layer)


@torch.inference_mode(False)
@torch.no_grad()
def cam(model: nn.Module, images: Tensor, signals: Tensor, layer: str | None = None) -> Tensor:
    """Class Activation Map: the weights of the classifier on the features of each place. (N, K, h, w), signed.

    Zhou et al., arXiv 1512.04150, equation 2, without the bias and not clamped: the mean of a map over its places is
    the explained score less the classifier's bias.

    Raises:
        GroundingError: also where the scores are not one `nn.Linear` layer on the mean of the layer over its places.
    """
    model, images = _prepare(model, images)
    heads: list[tuple[nn.Linear, Tensor, Tensor]] = []
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(lambda linear, inputs, output: heads.append((linear, inputs[0], output)))
    name, features, scores = _read(model, images, layer)
    weights = _weights(signals, scores)
    pooled = features.mean((2, 3))
    if not heads or not torch.equal(heads[-1][2], scores) or not _close(heads[-1][1], pooled):
        raise GroundingError(
            f"the scores are not one linear layer on the mean of layer '{name}' over its places, which cam needs: "
            "name the layer before the pooling, or use grad_cam"
        )
    classifier = heads[-1][0].weight.to(weights.dtype)  # (T, C)
    return torch.einsum("knc,nchw->nkhw", weights @ classifier, features.to(weights.dtype))


@torch.inference_mode(False)
@torch.enable_grad()
def grad_cam(model: nn.Module, images: Tensor, signals: Tensor, layer: str | None = None) -> Tensor:
    """Features weighted by the mean of their derivative over all places, summed and clamped: (N, K, h, w), at least 0.

    Selvaraju et al., arXiv 1610.02391, equations 1 and 2.

    Raises:
        GroundingError: also where the scores do not depend on the layer.
    """
    model, images = _prepare(model, images)
    name, features, scores = _read(model, images.requires_grad_(), layer)
    weights = _weights(signals, scores)
    alphas = _gradients(scores, weights, features, f"layer '{name}'").mean((3, 4))  # (K, N, C)
    return torch.einsum("knc,nchw->nkhw", alphas, features.detach().to(weights.dtype)).clamp(min=0)


@torch.inference_mode(False)
@torch.enable_grad()
def lrp(model: nn.Module, images: Tensor, signals: Tensor, layer: str | None = None) -> Tensor:
    """Layer-wise Relevance Propagation: what each pixel gave to the explained score, channels summed. Signed.

    Bach et al., PLoS ONE 10(7), 2015; by zennit's composite EpsilonPlusFlat (Kohlbrenner et al., arXiv 1910.09840),
    which needs no bounds of the pixels: epsilon rule in linear layers, z+ in convolutions, flat in the first layer.
    Output t starts with signals[k, t] * scores[t]; without biases a map sums to the explained score. Batch
    normalisation is merged into the convolution that is registered just before it, and the residual sums of
    torchvision's ResNets are shared in proportion.

    Raises:
        UnsupportedOperationError: an operation outside zennit's rules, for which it would take the plain gradient:
            other sums, gates, attention, layer normalisation, average pooling or ReLU6 as functions.
        GroundingError: also batch normalisation without scale or statistics, or registered in another order than it
            runs, and a layer with weights that runs twice.
    """
    _refuse_layer("lrp", layer)
    composites = _library("zennit.composites", "lrp")
    canonizer = _library("zennit.torchvision", "lrp").ResNetCanonizer()
    model, images = _prepare(model, images)
    with torch.no_grad():
        expected = _scores(model, images)
    for name, module in model.named_modules():
        norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
        if norm and (module.weight is None or module.running_var is None):
            raise GroundingError(f"lrp cannot merge '{name}': expected batch normalisation with scale and statistics")
    with _composed(model, composites.EpsilonPlusFlat(canonizers=[canonizer])) as guarded:
        scores = _scores(guarded, images.requires_grad_())
        if not _close(scores, expected, 0.01):  # the merge forgets eps, once for each normalisation
            raise GroundingError(_MERGED)
        weights = _weights(signals, scores)
        relevance = _gradients(scores, weights * scores.detach(), images)  # (K, N, C, H, W)
    return relevance.sum(2).transpose(0, 1).contiguous()


@torch.inference_mode(False)
@torch.no_grad()
def rise(
    model: nn.Module,
    images: Tensor,
    signals: Tensor,
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
    _refuse_layer("rise", layer)
    if masks < 1 or cells < 1 or not 0 < keep <= 1:
        raise GroundingError(
            f"rise was given masks {masks}, cells {cells} and keep {keep}: expected at least one mask and cell, "
            "and a probability above 0"
        )
    model, images = _prepare(model, images)
    weights = _weights(signals, _scores(model, images))  # (K, N, T)
    generator = torch.Generator().manual_seed(seed)
    grids = (torch.rand(masks, 1, cells, cells, generator=generator) < keep).float()
    sides = [math.ceil(side / cells) for side in images.shape[2:]]
    indents = torch.stack([torch.randint(side, (masks,), generator=generator) for side in sides], 1)  # (masks, 2)
    total = weights.new_zeros(len(images), len(weights), *images.shape[2:])
    batch = max(1, _RISE_BATCH // len(images))
    for some, where in zip(grids.split(batch), indents.split(batch), strict=True):
        crops = _crops(some, where, sides, images).to(images)  # (B, H, W)
        masked = (images[:, None] * crops[:, None]).flatten(0, 1)  # (N * B, C, H, W)
        scores = _scores(model, masked).to(weights.dtype).unflatten(0, (len(images), len(crops)))  # (N, B, T)
        total += torch.einsum("knt,nbt,bhw->nkhw", weights, scores, crops.to(weights.dtype))
    return total / (keep * masks)


METHODS: Mapping[str, Method] = {
    "gradient": gradient,
    "guided_backprop": guided_backprop,
    "deconvnet": deconvnet,
    "cam": cam,
    "grad_cam": grad_cam,
    "lrp": lrp,
    "rise": rise,
}


@torch.inference_mode(False)
@torch.enable_grad()
def _rectified(
    method: str, attribution: str, model: nn.Module, images: Tensor, signals: Tensor, layer: str | None
) -> Tensor:
    _refuse_layer(method, layer)
    captum = _library("captum.attr", method)
    model, images = _prepare(model, images)
    explained = _Explained(model)
    scores = _scores(explained, images.requires_grad_())
    weights = _weights(signals, scores)
    if not explained.rectifies:
        raise GroundingError(f"the model ran no ReLU: {method} would be the plain gradient; use gradient")
    attributor = getattr(captum, attribution)(explained)
    with _QUIET, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Setting backward hooks on ReLU", UserWarning)
        found = [attributor.attribute(images, additional_forward_args=(signal,)) for signal in weights]
    return _largest(_stack(found, images).to(weights.dtype))


class _Explained(nn.Module):
    """Runs a model with every ReLU, module or function, sent to its own one `nn.ReLU`, which captum hooks."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.rectifies = False
        self._model = (model,)  # in a tuple, where captum does not find the model's own modules

    def forward(self, images: Tensor, signal: Tensor | None = None) -> Any:
        """(N, T) scores, or what is explained, (N,), for one signal (N, T)."""
        with _Rerouted(self.rectify):
            scores = self._model[0](images)
        return scores if signal is None else (scores.to(signal.dtype) * signal).sum(1)

    def rectify(self, source: Tensor) -> Tensor:
        """A copy, because captum changes the whole gradient of the input: also what others that read it pass down."""
        self.rectifies = True
        result: Tensor = self.relu(source.clone())
        return result


class _Rerouted(TorchFunctionMode):
    """Calls this function in place of every ReLU on the way from the images."""

    def __init__(self, rectify: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._rectify = rectify

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in _RELUS:
            return func(*args, **kwargs)
        source: Tensor = args[0] if args else kwargs["input"]
        if not source.requires_grad:
            return func(*args, **kwargs)
        in_place = func in _RELUS_IN_PLACE or kwargs.get("inplace")
        return source.copy_(self._rectify(source)) if in_place else self._rectify(source)


@contextlib.contextmanager
def _composed(model: nn.Module, composite: Any) -> Iterator[Callable[[Tensor], Any]]:
    """The model under a composite of zennit: its backward pass is LRP."""
    try:
        composite.register(model)
    except RuntimeError as error:
        raise GroundingError(_MERGED) from error
    rules = _OnlyRules(model, composite)

    def guarded(images: Tensor) -> Any:
        with rules:
            return model(images)

    try:
        yield guarded
    finally:
        composite.remove()  # what its hooks keep would hold the graph that holds the hooks


class _OnlyRules(TorchDispatchMode):
    """Refuses an operation on the way from the images that no rule of the composite covers."""

    def __init__(self, model: nn.Module, composite: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._inside = 0
        for name, module in model.named_modules():
            if composite.module_map({}, name, module) is None or isinstance(module, nn.MultiheadAttention):
                continue
            module.register_forward_pre_hook(self._enter)
            module.register_forward_hook(functools.partial(self._leave, name, itertools.count()))

    def _enter(self, module: nn.Module, inputs: Any) -> None:
        self._inside += 1

    def _leave(self, name: str, calls: "itertools.count[int]", module: nn.Module, inputs: Any, output: Any) -> None:
        self._inside -= 1
        if next(calls) and not isinstance(module, nn.ReLU):
            raise GroundingError(f"layer '{name}' ran twice, and zennit keeps one input of each: lrp cannot explain it")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not self._inside and func.overloadpacket.__name__ not in _PASSING.split():
            leaves = tree_leaves((args, kwargs))
            if any(isinstance(leaf, Tensor) and leaf.requires_grad for leaf in leaves):
                raise UnsupportedOperationError(
                    f"{func} outside a module has no rule in zennit, which would take its plain gradient for lrp: "
                    "write it as a module, or use another network or method"
                )
        return func(*args, **kwargs)


def _library(name: str, method: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise GroundingError(f'{method} needs {package}: install it with pip install "grounding[baselines]"') from error


def _refuse_layer(method: str, layer: str | None) -> None:
    if layer is not None:
        raise GroundingError(f"{method} was given layer '{layer}' but reads the image: leave the layer out")


def _prepare(model: nn.Module, images: Tensor) -> tuple[nn.Module, Tensor]:
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
            memo[id(parameter)] = nn.Parameter(_ordinary(parameter.detach()), requires_grad=False)
        for buffer in model.buffers():
            memo[id(buffer)] = buffer.detach().clone()
        return copy.deepcopy(model, memo), images.detach().clone()
    except (RuntimeError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise GroundingError(f"the model cannot be copied ({reason}): give one that copy.deepcopy takes") from error


def _ordinary(tensor: Tensor) -> Tensor:
    """Autograd does not keep a tensor that was made in inference mode."""
    return tensor.clone() if tensor.is_inference() else tensor


def _scores(model: Callable[[Tensor], Any], images: Tensor) -> Tensor:
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


def _weights(signals: Tensor, scores: Tensor) -> Tensor:
    """The signals as (K, N, T), on the device of the scores and at least float32."""
    count, tags = scores.shape
    shapes = ((tags,), (count, tags))
    if not isinstance(signals, Tensor) or not signals.is_floating_point() or signals.shape[1:] not in shapes:
        given = f"{tuple(signals.shape)} {signals.dtype}" if isinstance(signals, Tensor) else type(signals).__name__
        raise GroundingError(f"signals are {given}: expected floating point (K, {tags}) or (K, {count}, {tags})")
    if not bool(signals.isfinite().all()):
        raise GroundingError("signals hold NaN or infinity: expected finite weights")
    empty = (signals == 0).flatten(1).all(1).nonzero().flatten().tolist()
    if empty:
        raise GroundingError(f"signal {empty[0]} is all zero: expected a weight on some output")
    if signals.dim() == 2:
        signals = signals[:, None].expand(-1, count, tags)
    dtype = torch.promote_types(torch.promote_types(signals.dtype, scores.dtype), torch.float32)
    return _ordinary(signals.detach().to(scores.device, dtype))


def _gradients(scores: Tensor, weights: Tensor, source: Tensor, name: str = "the images") -> Tensor:
    """(K, *source.shape): the derivative of what each signal explains; images do not reach each other's scores."""
    found = []
    for signal in weights:
        explained = (scores.to(weights.dtype) * signal).sum()
        derivative = torch.autograd.grad(explained, source, retain_graph=True, allow_unused=True)[0]
        if derivative is None:
            raise GroundingError(f"the scores do not depend on {name}")
        found.append(derivative)
    return _stack(found, source).to(weights.dtype)


def _stack(found: list[Tensor], like: Tensor) -> Tensor:
    return torch.stack(found) if found else like.new_zeros(0, *like.shape)


def _largest(found: Tensor) -> Tensor:
    """(K, N, C, H, W) -> (N, K, H, W)."""
    return found.detach().abs().amax(2).transpose(0, 1).contiguous()


def _close(found: Tensor, expected: Tensor, tolerance: float = 0.0) -> bool:
    """Whether two ways of computing one tensor agree: to this share, or to half of the digits of their dtype."""
    if found.shape != expected.shape:
        return False
    largest = max(tolerance, math.sqrt(torch.finfo(found.dtype).eps)) * float(expected.abs().max())
    return bool(((found - expected).abs() <= largest).all())


def _read(model: nn.Module, images: Tensor, layer: str | None) -> tuple[str, Tensor, Tensor]:
    """The layer's name and its output (N, C, h, w), and the scores. Leaves a hook in the model."""
    name = _last_map(model, images) if layer is None else layer
    modules = {name: module for name, module in model.named_modules() if name}
    if name not in modules:
        near = difflib.get_close_matches(name, modules, n=3, cutoff=0.5) or list(modules)[-3:]
        raise GroundingError(f"the model has no layer '{name}': expected a module, such as {', '.join(near) or 'none'}")
    outputs: list[Any] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> Tensor | None:
        outputs.append(output)
        return output.clone() if isinstance(output, Tensor) else None  # what follows may write in place

    modules[name].register_forward_hook(keep)
    scores = _scores(model, images)
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
    _scores(model, images)
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
