"""`residual="signed"`: the rule of the authors' code, against Excitation Backprop written as custom gradients."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from grounding.attention import contrastive_mwp, contrastive_mwp_at, mwp, mwp_at, record
from grounding.errors import GroundingError
from helpers.networks import soften
from helpers.oracles import normal, positive, units


class Linear(torch.autograd.Function):
    """A linear operation whose gradient is winning probability: x W+^T (P / Z), Z = W+ x, 0 where Z = 0.

    `output` is what the network computes, batch normalisation included; `positive` the operation with W+.
    """

    @staticmethod
    def forward(ctx, x, output, positive):
        ctx.save_for_backward(x)
        ctx.positive = positive
        return output.clone()

    @staticmethod
    def backward(ctx, p):
        x = ctx.saved_tensors[0].clamp(min=0)
        with torch.enable_grad():
            probe = x.detach().requires_grad_()
            z = ctx.positive(probe)
        (back,) = torch.autograd.grad(z, probe, torch.where(z != 0, p / z, 0))
        return x * back, None, None


class Sum(torch.autograd.Function):
    """P x_i / (x_1 + x_2), 0 where the sum is 0."""

    @staticmethod
    def forward(ctx, one, other):
        ctx.save_for_backward(one, other)
        return one + other

    @staticmethod
    def backward(ctx, p):
        one, other = ctx.saved_tensors
        n = torch.where(one + other != 0, p / (one + other), 0)
        return one * n, other * n


class Pass(torch.autograd.Function):
    """A rectifier, which passes all."""

    @staticmethod
    def forward(ctx, x):
        return x.relu()

    @staticmethod
    def backward(ctx, p):
        return p


def convolve(x, convolution, norm):
    """A convolution and its batch normalisation, whose sign is folded into it."""
    with torch.no_grad():
        output = norm(convolution(x))
        weight = (convolution.weight * norm.weight.sign()[:, None, None, None]).clamp(min=0)
    settings = convolution.stride, convolution.padding, convolution.dilation, convolution.groups
    return Linear.apply(x, output, lambda x: functional.conv2d(x, weight, None, *settings))


def score(model, x, sign=1):
    """The classifier on the mean, with the weights W, or -W; and the mean."""
    pooled = Linear.apply(x, x.mean((2, 3)), lambda x: x.mean((2, 3)))
    weight = (sign * model.fc.weight).clamp(min=0)
    return Linear.apply(pooled, functional.linear(pooled, model.fc.weight), lambda x: functional.linear(x, weight))


def blocks(model, x):
    """All outputs of the blocks of a ResNet, from the image up."""
    x = functional.max_pool2d(Pass.apply(convolve(x, model.conv1, model.bn1)), 3, 2, 1)
    for block in (*model.layer1, *model.layer2, *model.layer3, *model.layer4):
        skip = x if block.downsample is None else convolve(x, *block.downsample)
        pairs = [(block.conv1, block.bn1), (block.conv2, block.bn2)]
        pairs += [(block.conv3, block.bn3)] if hasattr(block, "conv3") else []
        branch = x
        for at, pair in enumerate(pairs):
            branch = convolve(branch, *pair)
            branch = Pass.apply(branch) if at < len(pairs) - 1 else branch
        x = Pass.apply(Sum.apply(branch, skip))
    return x


def definition(model, image, signal, contrast):
    """P at the image, (C, h, w), by automatic differentiation."""
    image = image[None].clone().requires_grad_()
    features = blocks(model, image)
    # the graph of the scores is made for W and for -W on one graph of the features
    (p,) = torch.autograd.grad(score(model, features), features, signal[None], retain_graph=True)
    if contrast:
        p = p - torch.autograd.grad(score(model, features, -1), features, signal[None], retain_graph=True)[0]
    return torch.autograd.grad(features, image, p)[0][0]


def small(name):
    torch.manual_seed(0)
    return soften(torchvision.models.get_model(name, weights=None, num_classes=6)).double()


@pytest.mark.parametrize(("name", "contrast"), [("resnet18", False), ("resnet18", True), ("resnet50", True)])
def test_a_resnet_against_custom_gradients(name, contrast):
    model = small(name)
    images, signals = normal(1, 3, 48, 48), positive(2 if name == "resnet18" else 1, 6)
    signals /= signals.sum(1, keepdim=True)
    walk = contrastive_mwp if contrast else mwp
    found = units(record(model, images), signals, walk, layer=0, residual="signed")  # (K, N, C, h, w)
    split = units(record(model, images), signals, walk, layer=0, residual="split")
    for k, signal in enumerate(signals):
        expected = definition(model, images[0], signal, contrast)
        scale = expected.abs().max()
        assert 1e-6 < scale < 1  # nothing grows where a sum is small
        assert (found[k, 0] - expected).abs().max() < 1e-9 * scale
        assert (split[k, 0] - expected).abs().max() > 0.01 * scale


@pytest.mark.parametrize("alpha", [1, 0.5, -2])
def test_shares_are_by_the_inputs_whatever_their_sign(alpha):
    """4 and -1 of 3: the one gets 4/3, the other -1/3; where the sum is 0 nobody gets anything."""
    x = torch.tensor([[4.0, -1.0, 2.0, -3.0, 0.0]], dtype=torch.float64)
    y = torch.tensor([[-1.0, 4.0, 2.0, -1.0, 0.0]], dtype=torch.float64)
    tape = record(lambda x, y: torch.add(x, y, alpha=alpha).relu(), x, y)
    signals = torch.eye(5, dtype=torch.float64)
    found = torch.stack(mwp_at(tape, signals, [*tape.inputs], residual="signed", channels=True))[:, 0].diagonal(0, 1, 2)
    total = x + alpha * y
    expected = torch.cat([x, alpha * y]) / torch.where(total == 0, 1, total) * (total != 0)
    torch.testing.assert_close(found, expected)


def test_a_sum_that_is_broadcast_gathers_what_was_spread():
    images, head = normal(1, 3, 2, 2), normal(4, 12)
    found = units(
        record(lambda x: functional.linear((x + x[:, :, :1, :1]).relu().flatten(1), head), images),
        torch.eye(4, dtype=torch.float64),
        residual="signed",
    )
    total = images + images[:, :, :1, :1]
    z = head.clamp(min=0) @ total.relu().flatten()
    for k in range(4):
        n = (head[k].clamp(min=0) / z[k]).reshape(1, 3, 2, 2) * total.relu() / total  # P / total
        expected = n * images
        expected[:, :, :1, :1] += (n * images[:, :, :1, :1]).sum((2, 3), keepdim=True)
        torch.testing.assert_close(found[k], expected)


def test_nothing_grows_behind_a_rectifier_in_single_and_half_precision():
    """Shares of 1e20 and -1e20 would be infinite; behind the rectifier their P is as small as their sum."""
    one, other = torch.tensor([[1.0, 1.0, 3.0]]), torch.tensor([[-1.0 + 1e-7, -1.0 + 1e-3, 1.0]])
    tape = record(lambda x, y: functional.linear((x + y).relu(), torch.ones(1, 3)), one, other)
    exact = record(
        lambda x, y: functional.linear((x + y).relu(), torch.ones(1, 3).double()), one.double(), other.double()
    )
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 0.02)):
        for found, expected in zip(
            *(
                mwp_at(t, torch.ones(1, 1), [*t.inputs], residual="signed", channels=True, dtype=d)
                for t, d in ((tape, dtype), (exact, torch.float64))
            ),
            strict=True,
        ):
            torch.testing.assert_close(found.double(), expected, atol=tolerance, rtol=tolerance)


def test_every_walk_has_both_options():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    tape, signals = record(model, torch.rand(1, 3, 8, 8)), torch.eye(3)
    for walk, where in ((mwp, 0), (contrastive_mwp, 0), (mwp_at, [0]), (contrastive_mwp_at, [0])):
        layer = {"layers": where} if walk in (mwp_at, contrastive_mwp_at) else {"layer": where}
        for options in ({"residual": "signed"}, {"bias": "share"}):
            assert walk(tape, signals, **layer, **options)[0].isfinite().all()
        with pytest.raises(GroundingError, match="residual is 'sum': expected 'split', 'main' or 'signed'"):
            walk(tape, signals, **layer, residual="sum")
        with pytest.raises(GroundingError, match="bias is 'all': expected 'none' or 'share'"):
            walk(tape, signals, **layer, bias="all")
