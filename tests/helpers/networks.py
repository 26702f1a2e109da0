"""torchvision's networks with random weights that keep their units alive, and comparisons of networks."""

import functools

import torch
import torchvision
from torch import nn
from torchvision.models import vgg

TAGS = 12


def soften(model, seed=0):
    """Random scales of both signs, and shifts that keep most units of random weights alive.

    A unit with Z = 0 loses its share, rightly; in a network of random weights it would be common and hide real leaks.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.weight[::5] *= -1
                module.bias.uniform_(0.0, 0.4, generator=generator)
                module.running_mean.uniform_(-0.1, 0.1, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
            elif isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
                module.bias.uniform_(0.0, 0.02, generator=generator)
    return model.eval()


def vgg16(width=64):
    """VGG16 whose two hidden linear layers, most of its 138 million weights, are narrow."""
    features = vgg.make_layers(vgg.cfgs["D"])
    with torch.device("meta"):  # the wide ones are never made
        model = vgg.VGG(features, TAGS)
    narrow = [nn.Linear(512 * 7 * 7, width), nn.ReLU(True), nn.Dropout(), nn.Linear(width, width), nn.ReLU(True)]
    model.classifier = nn.Sequential(*narrow, nn.Dropout(), nn.Linear(width, TAGS))
    return model


@functools.cache
def build(name):
    """One of torchvision's networks with random weights; shared by the tests, so they must not change it."""
    torch.manual_seed(0)
    if name == "vgg16":
        return soften(vgg16())
    options = {"init_weights": False, "transform_input": True} if name == "googlenet" else {}
    return soften(torchvision.models.get_model(name, weights=None, num_classes=TAGS, **options))


def signals(count=3, tags=TAGS, seed=2):
    weights = torch.rand(count, tags, generator=torch.Generator().manual_seed(seed))
    return weights / weights.sum(1, keepdim=True)


def same(before, after):
    values, other = before.pop("values"), after.pop("values")
    assert values.keys() == other.keys()
    assert all(torch.equal(values[name], other[name]) for name in values)
    assert before == after


def state(model):
    return {
        "values": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "identity": {name: (id(p), p._version, p.requires_grad, p.grad) for name, p in model.named_parameters()},
        "buffers": {name: (id(b), b._version) for name, b in model.named_buffers()},
        "flags": {name: module.training for name, module in model.named_modules()},
        "hooks": {
            name: [len(getattr(module, key)) for key in sorted(vars(module)) if key.endswith("_hooks")]
            for name, module in model.named_modules()
        },
        "attributes": {name: sorted(vars(module)) for name, module in model.named_modules()},
        "forward": {name: module.forward.__func__ for name, module in model.named_modules()},
        "grad mode": torch.is_grad_enabled(),
    }
