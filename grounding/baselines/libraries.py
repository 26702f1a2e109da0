"""Baselines by libraries: guided backprop and deconvnet by captum, LRP by zennit. Called as `baselines` says."""

import contextlib
import functools
import importlib
import itertools
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from grounding.attention.signals import Signals
from grounding.baselines.shared import (
    checked_scores,
    checked_weights,
    close,
    gradients,
    largest,
    prepare,
    refuse_layer,
    stack,
)
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


def guided_backprop(model: nn.Module, images: Tensor, signals: Signals, layer: str | None = None) -> Tensor:
    """The gradient, but every ReLU on the way down passes only what is positive and where its input was: (N, K, H, W).

    Springenberg et al., arXiv 1412.6806, section 3.4; by captum. At least 0: the largest absolute value over the
    channels, as for the gradient. Every ReLU of the forward pass counts, module or function, in place or not, shared or
    not. Other activations (ReLU6, GELU, SiLU) keep their own derivative; a model without any ReLU is an error.
    """
    return _rectified("guided_backprop", "GuidedBackprop", model, images, signals, layer)


def deconvnet(model: nn.Module, images: Tensor, signals: Signals, layer: str | None = None) -> Tensor:
    """The gradient, but every ReLU passes down what is positive wherever its input was: (N, K, H, W), at least 0.

    Zeiler and Fergus, arXiv 1311.2901, section 2.1, as a backward pass; by captum. Max pooling sends to its switches.
    Channels and ReLUs as in `guided_backprop`.
    """
    return _rectified("deconvnet", "Deconvolution", model, images, signals, layer)


@torch.inference_mode(False)
@torch.enable_grad()
def lrp(model: nn.Module, images: Tensor, signals: Signals, layer: str | None = None) -> Tensor:
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
    refuse_layer("lrp", layer)
    composites = _library("zennit.composites", "lrp")
    canonizer = _library("zennit.torchvision", "lrp").ResNetCanonizer()
    model, images = prepare(model, images)
    with torch.no_grad():
        expected = checked_scores(model, images)
    for name, module in model.named_modules():
        norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
        if norm and (module.weight is None or module.running_var is None):
            raise GroundingError(f"lrp cannot merge '{name}': expected batch normalisation with scale and statistics")
    with _composed(model, composites.EpsilonPlusFlat(canonizers=[canonizer])) as guarded:
        scores = checked_scores(guarded, images.requires_grad_())
        if not close(scores, expected, 0.01):  # the merge forgets eps, once for each normalisation
            raise GroundingError(_MERGED)
        weights = checked_weights(signals, scores)
        relevance = gradients(scores, weights * scores.detach(), images)  # (K, N, C, H, W)
    return relevance.sum(2).transpose(0, 1).contiguous()


@torch.inference_mode(False)
@torch.enable_grad()
def _rectified(
    method: str, attribution: str, model: nn.Module, images: Tensor, signals: Signals, layer: str | None
) -> Tensor:
    refuse_layer(method, layer)
    captum = _library("captum.attr", method)
    model, images = prepare(model, images)
    explained = _Explained(model)
    scores = checked_scores(explained, images.requires_grad_())
    weights = checked_weights(signals, scores)
    if not explained.rectifies:
        raise GroundingError(f"the model ran no ReLU: {method} would be the plain gradient; use gradient")
    attributor = getattr(captum, attribution)(explained)
    with _QUIET, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Setting backward hooks on ReLU", UserWarning)
        rectified = [attributor.attribute(images, additional_forward_args=(signal,)) for signal in weights]
    return largest(stack(rectified, images).to(weights.dtype))


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
