"""Other people's implementations on VGG16, each called as its user would: what `bench_attention.py --peers` times.

None is a dependency; those that are not installed are left out. K maps of one image at pool4, by each:

* zennit: its rules for Excitation Backprop. It has no contrast, so the network is cut: the classifier runs with W and
  with -W, and the difference goes down through the rest. All signals at once (autograd's batched gradients), and one at
  a time with a forward pass for each.
* torchray, the reference implementation for PyTorch: its public call for the contrastive form, one class at a time.
* pytorch-grad-cam: Grad-CAM at the last convolution, another method, one class at a time.
"""

import copy
import importlib.util
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Maps = Callable[[Tensor], Tensor]  # signals (K, T), one class each -> maps (K, h, w)


class Zennit:
    """Contrastive Excitation Backprop of torchvision's VGG16 to pool4 with zennit's rules."""

    def __init__(self, model: Any, images: Tensor) -> None:
        from zennit.composites import ExcitationBackprop

        self.images, self.rules = images, lambda: ExcitationBackprop(zero_params="bias")  # leaving removes the hooks
        self.below, self.above = model.features[:24], nn.Sequential(*model.features[24:], model.avgpool, nn.Flatten())
        self.above.extend(model.classifier[:-1])
        self.ends = [nn.Sequential(nn.Linear(4096, 1000)) for _ in range(2)]
        for end, sign in zip(self.ends, (1, -1), strict=True):
            end[0].weight.data, end[0].bias.data = sign * model.classifier[-1].weight.data, torch.zeros(1000)

    def maps(self, signals: Tensor, contrast: bool = True) -> Tensor:
        """(K, h, w), all signals at once: autograd's own vmap over the output gradients."""
        with torch.no_grad():
            pool4 = self.below(self.images)
        pool4.requires_grad_()
        batched = signals[:, None]
        with self.rules().context(self.above):
            top = self.above(pool4)
            features = top.detach().requires_grad_()
            parts = []
            for end in self.ends:
                with self.rules().context(end):
                    parts += torch.autograd.grad(end(features), features, batched, is_grads_batched=True)
            start = parts[0] - parts[1] if contrast else parts[0]
            (found,) = torch.autograd.grad(top, pool4, start, is_grads_batched=True)
        return found[:, 0].sum(1)

    def each(self, signals: Tensor) -> Tensor:
        """(K, h, w), one class at a time, a forward pass each."""
        return torch.cat([self.maps(signal[None]) for signal in signals])


def torchray(model: nn.Module, images: Tensor) -> Maps:
    """The reference implementation's public call; on a copy, because it freezes the weights for good."""
    from torchray.attribution.excitation_backprop import contrastive_excitation_backprop

    own = copy.deepcopy(model)
    layers = {"saliency_layer": "features.23", "contrast_layer": "classifier.4", "classifier_layer": "classifier.6"}

    def maps(signals: Tensor) -> Tensor:
        classes = signals.argmax(1).tolist()
        return torch.cat([contrastive_excitation_backprop(own, images, each, **layers)[0] for each in classes])

    return maps


def grad_cam(model: Any, images: Tensor) -> Maps:
    """Grad-CAM behind the last convolution's ReLU, at the size of the image."""
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    own = copy.deepcopy(model)

    def maps(signals: Tensor) -> Tensor:
        with GradCAM(model=own, target_layers=[own.features[29]]) as cam:
            given = [[ClassifierOutputTarget(each)] for each in signals.argmax(1).tolist()]
            return torch.cat([torch.from_numpy(cam(input_tensor=images, targets=each)) for each in given])

    return maps


def _zennit_batched(model: nn.Module, images: Tensor) -> Maps:
    return Zennit(model, images).maps


def _zennit_each(model: nn.Module, images: Tensor) -> Maps:
    return Zennit(model, images).each


PEERS: dict[str, tuple[str, Callable[[nn.Module, Tensor], Maps]]] = {  # row -> module to import, what makes the maps
    "zennit, batched": ("zennit", _zennit_batched),
    "zennit, one at a time": ("zennit", _zennit_each),
    "torchray, one at a time": ("torchray", torchray),
    "pytorch-grad-cam, one at a time": ("pytorch_grad_cam", grad_cam),
}


def installed(model: nn.Module, images: Tensor) -> dict[str, Maps]:
    """The peers that can be imported here, ready to run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {row: make(model, images) for row, (module, make) in PEERS.items() if importlib.util.find_spec(module)}
