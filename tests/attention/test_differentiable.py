"""Gradients of maps: by finite differences, by a slow definition, and what has none is refused by name."""

import contextlib
import copy
import pickle

import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.func import functional_call
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from grounding.attention import contrastive_mwp, contrastive_mwp_at, gradients, mwp, mwp_at, record
from grounding.errors import GroundingError, UnsupportedOperationError
from helpers.oracles import dense, normal, positive

SIGNALS = torch.tensor([[1.0, 0, 0], [0.2, 0.5, 0.3]], dtype=torch.float64)  # (K, T)


class Residual(nn.Module):
    """relu(branch(x) + x), the sum written in place, as torchvision's, or out of place."""

    def __init__(self, inplace):
        super().__init__()
        self.inplace = inplace
        self.branch = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))

    def forward(self, x):
        out = self.branch(x)
        if self.inplace:
            out += x
        else:
            out = out + x
        return functional.relu(out, inplace=self.inplace)


class Concatenation(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Conv2d(4, 3, 1), nn.Conv2d(4, 2, 3, padding=1)

    def forward(self, x):
        return torch.cat([self.left(x), x, self.right(x)], 1).relu()


class Gate(nn.Module):
    """Squeeze and excitation."""

    def __init__(self):
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 1)

    def forward(self, x):
        return x * self.expand(self.reduce(x.mean((2, 3), keepdim=True)).relu()).sigmoid()


class Attention(nn.Module):
    """Two heads over the places."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(4, 12)

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)  # (N, h * w, 4)
        q, k, v = self.qkv(tokens).unflatten(-1, (3, 2, 2)).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return (tokens + attended).transpose(1, 2).reshape(x.shape)


class Twice(nn.Module):
    """What two layers read gets signal on two ways, from one activation."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, x):
        return self.one(x).relu() + self.two(x).relu() * 0.5


def stem(*modules, channels=4, stride=1):
    """Modules behind a convolution, in front of the mean over places and a linear layer."""
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 3)
    return nn.Sequential(nn.Conv2d(2, 4, 3, stride=stride), nn.ReLU(), *modules, *head)


BODIES = {
    "strides and padding": lambda: stem(nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.ReLU(), stride=2),
    "groups and dilation": lambda: stem(nn.Conv2d(4, 4, 3, groups=2, dilation=2, padding=2), nn.ReLU()),
    "depthwise": lambda: stem(nn.Conv2d(4, 4, 3, groups=4), nn.ReLU6(inplace=True), nn.Conv2d(4, 4, 1), nn.SiLU()),
    "linear": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(72, 6), nn.ReLU(), nn.Linear(6, 5), nn.GELU(), nn.Linear(5, 3)
    ),
    "maximum": lambda: stem(nn.MaxPool2d(2), nn.Conv2d(4, 4, 1), nn.ReLU(inplace=True)),
    "average": lambda: stem(nn.AvgPool2d(3, 2, 1), nn.AdaptiveAvgPool2d(2), nn.Conv2d(4, 4, 1), nn.ReLU()),
    "upsampling": lambda: stem(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(4, 4, 2), nn.ReLU()),
    "batch normalisation": lambda: stem(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU(inplace=True)),
    "residual": lambda: stem(Residual(False)),
    "residual in place": lambda: stem(Residual(True), Residual(True)),
    "concatenation": lambda: stem(Concatenation(), channels=9),
    "gate": lambda: stem(Gate(), nn.Conv2d(4, 4, 1), nn.ReLU()),
    "two readers": lambda: stem(Twice()),
    "slices, rolls and padding": lambda: stem(Shuffled()),
}


class Shuffled(nn.Module):
    def forward(self, x):
        return functional.pad(x[:, :, 1:].roll(1, 3), (0, 0, 0, 1)).amax(1, keepdim=True) + x


def network(body, seed=0):
    torch.manual_seed(seed)
    model = body().double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data = torch.tensor([1.2, -0.7, 0.9, -1.1], dtype=torch.float64)
            module.bias.data = torch.tensor([0.1, 0.6, 0.2, 0.5], dtype=torch.float64)
            module.running_mean.uniform_(-0.1, 0.1)
    return model.eval()


def images(count=2, seed=3):
    return positive(count, 2, 6, 6, seed=seed)


def map_of(model, walk, **options):
    """The map as a function of the image and all weights, for gradcheck."""
    names = [name for name, _ in model.named_parameters()]

    def function(image, *weights):
        def forward(x):
            return functional_call(model, dict(zip(names, weights, strict=True)), (x,))

        return walk(record(forward, image, differentiable=True), SIGNALS, **options)

    weights = [weight.detach().clone().requires_grad_() for weight in model.parameters()]
    return function, (images(1).requires_grad_(), *weights)


@pytest.mark.parametrize("walk", [mwp, contrastive_mwp])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_gradients_are_those_of_finite_differences(body, walk, request):
    function, given = map_of(network(body), walk, layer=0)
    assert function(*given).requires_grad
    fast = (
        "batch normalisation-contrastive" not in request.node.name
    )  # random projections; each derivative of one network
    assert torch.autograd.gradcheck(function, given, atol=1e-6, fast_mode=fast)


@pytest.mark.parametrize("options", [{"layer": 1}, {"layer": 1, "channels": True}, {"layer": 0, "residual": "main"}])
def test_at_a_layer_by_channels_and_by_the_main_branch(options):
    function, given = map_of(network(BODIES["residual in place"]), contrastive_mwp, **options)
    assert torch.autograd.gradcheck(function, given, atol=1e-6, fast_mode=True)


@pytest.mark.parametrize("several", [mwp_at, contrastive_mwp_at])
def test_several_layers_in_one_walk(several):
    one = mwp if several is mwp_at else contrastive_mwp
    model = network(BODIES["residual"])
    tape = record(model, images(), differentiable=True)
    found = several(tape, SIGNALS, [0, 1])
    for layer, map_ in enumerate(found):
        expected = one(tape, SIGNALS, layer=layer)
        for of_this, of_that in zip(slopes(map_, model), slopes(expected, model), strict=True):
            torch.testing.assert_close(of_this, of_that)


def slopes(map_, model):
    """The gradient of a weighted sum of a map by every weight; 0 where there is none."""
    weighted = (map_ * normal(*map_.shape, seed=9)).sum()
    parameters = list(model.parameters())
    found = torch.autograd.grad(weighted, parameters, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(p) if each is None else each for each, p in zip(found, parameters, strict=True)]


def test_in_place_and_out_of_place_have_one_gradient():
    found = []
    for inplace in (False, True):
        model = network(lambda inplace=inplace: stem(Residual(inplace), Residual(inplace)))
        found.append(slopes(contrastive_mwp(record(model, images(), differentiable=True), SIGNALS, layer=0), model))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def excite(matrix, x, p):
    """The definition, of the units alone that something excites: no derivative of 0 / 0."""
    positive, x = matrix.clamp(min=0), x.clamp(min=0)
    z = positive @ x
    alive = z > 0
    return x * (positive[alive].T @ (p[alive] / z[alive]))


def test_the_slow_definition_has_the_same_gradient():
    """A residual block, a mean and a classifier, each as a dense matrix of its weights, by the definition."""
    model = network(lambda: stem(Residual(True)))
    image = images(count=1).requires_grad_()
    tape = record(model, image, differentiable=True)
    found = (mwp(tape, SIGNALS, layer=0)[0], contrastive_mwp(tape, SIGNALS, layer=0)[0])

    first, block, classifier = model[0], model[2], model[-1]
    norm = block.branch[1]
    x = first(image).relu()  # (1, 4, 4, 4)
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    branch = functional.conv2d(x, block.branch[0].weight, padding=1) * scale[:, None, None]
    branch = branch + ((block.branch[0].bias - norm.running_mean) * scale + norm.bias)[:, None, None]
    y = (branch + x).relu()
    of_first = dense(lambda x: functional.conv2d(x, first.weight), (2, 6, 6))
    of_branch = dense(
        lambda x: functional.conv2d(x, block.branch[0].weight * scale[:, None, None, None], padding=1), (4, 4, 4)
    )
    of_mean = dense(lambda x: x.mean((2, 3)), (4, 4, 4))

    def walk(p, sign):
        p = excite(sign * classifier.weight, y.mean((2, 3)).flatten(), p)
        p = excite(of_mean, y.flatten(), p)
        total = (branch + x).flatten()
        parts = [(part.flatten() * total.sign()).clamp(min=0) for part in (branch, x)]
        shares = [p * part / (parts[0] + parts[1]) for part in parts]
        p = excite(of_branch, x.flatten(), shares[0]) + shares[1]
        return excite(of_first, image.flatten(), p).reshape(2, 6, 6).sum(0)

    plain = torch.stack([walk(signal, 1) for signal in SIGNALS])
    dual = torch.stack([walk(signal, -1) for signal in SIGNALS])
    for map_, expected in zip(found, (plain, plain - dual), strict=True):
        torch.testing.assert_close(map_, expected)
        weighted = (normal(*map_.shape, seed=9) * torch.stack([map_, expected])).flatten(1).sum(1)
        by = [image, *model.parameters()]
        ours, theirs = (torch.autograd.grad(w, by, retain_graph=True, allow_unused=True) for w in weighted)
        for one, other in zip(ours, theirs, strict=True):
            none = one is None or not one.any()
            assert none == (other is None or not other.any())
            if not none:
                torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_a_gate_has_a_gradient_through_its_value():
    """It gets no signal, but what it lets through, x * g, is what the layer above excites by."""
    model = network(BODIES["gate"])
    tape = record(model, images(), differentiable=True)
    by_gate = torch.autograd.grad(mwp(tape, SIGNALS, layer=0).square().sum(), list(model[2].parameters()))
    assert all(each.any() for each in by_gate)


def test_a_bias_below_has_a_gradient_and_that_of_the_classifier_none():
    model = network(BODIES["residual"])
    found = slopes(contrastive_mwp(record(model, images(), differentiable=True), SIGNALS, layer=0), model)
    by = dict(zip((name for name, _ in model.named_parameters()), found, strict=True))
    assert by["0.bias"].any()
    assert not by["5.bias"].any()


def test_units_that_nothing_excites_make_no_nan():
    """A filter whose weights are all negative has Z = 0 on a picture >= 0."""
    model = network(lambda: stem())
    model[0].weight.data[1] = -model[0].weight.data[1].abs()
    model[0].bias.data[1] = 1.0  # alive for the layer above, all the same
    function, given = map_of(model, mwp, layer=0)
    assert float(function(*given).detach().sum((2, 3)).max()) < 0.9  # what it got is lost
    assert torch.autograd.gradcheck(function, given, atol=1e-6, fast_mode=True)


def test_a_unit_whose_signal_is_zero_by_chance_keeps_its_gradient():
    """MWP and dual MWP of unit 0 cancel at h = (1, 1, 1): 2 h0 / (h0 + h2) - h0 / h0 = 0, whose slope by h0 is 1/2."""
    torch.manual_seed(0)
    below = (torch.rand(3, 2, dtype=torch.float64) + 0.1).requires_grad_()
    above = torch.tensor([[1.0, -1, 1], [-1, 1, 0]], dtype=torch.float64)
    image = torch.rand(1, 2, 1, 1, dtype=torch.float64) + 0.1
    shift = 1 - (image.flatten() @ below.T).detach()

    def function(weight):
        def forward(x):
            return functional.linear(functional.linear(x.flatten(1), weight, shift), above)

        tape = record(forward, image, differentiable=True)
        hidden = contrastive_mwp(tape, torch.tensor([[2.0, 1.0]]).double(), layer=-1, channels=True)
        assert abs(float(hidden.detach()[0, 0, 0])) < 1e-4
        return contrastive_mwp(tape, torch.tensor([[2.0, 1.0]]).double(), layer=0, channels=True)

    assert torch.autograd.gradcheck(function, (below,))


def test_signals_have_a_gradient_too():
    model = network(BODIES["residual"])
    tape = record(model, images(), differentiable=True)
    weights = SIGNALS.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: contrastive_mwp(tape, s, layer=0), (weights,))


NETWORKS = {
    "resnet18": lambda: torchvision.models.resnet18(num_classes=3),
    "mobilenetv1_100": lambda: timm.create_model("mobilenetv1_100", num_classes=3),
}


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_whole_networks_give_the_same_maps_and_learn_from_them(make):
    torch.manual_seed(0)
    model = make().eval()
    picture = torch.rand(1, 3, 64, 64)
    signals = SIGNALS.float()
    tape = record(model, picture, differentiable=True)
    for walk in (mwp, contrastive_mwp):
        plain, found = walk(record(model, picture), signals, stride=16), walk(tape, signals, stride=16)
        assert (found.requires_grad, plain.requires_grad) == (True, False)
        torch.testing.assert_close(found.detach(), plain, rtol=1e-4, atol=1e-6 * float(plain.abs().max()))

    def loss():
        map_ = mwp(record(model, picture, differentiable=True), signals, stride=16)
        return map_.flatten(2)[..., 0].log().neg().mean()  # as much as can be in the first place

    before = loss()
    before.backward()
    norm = sum(float(p.grad.square().sum()) for p in model.parameters() if p.grad is not None) ** 0.5
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter -= 1e-3 * parameter.grad / norm
    assert float(loss().detach()) < float(before.detach()) - 0.5e-3 * norm  # nearly as steep as the gradient says


def test_scores_and_maps_learn_from_one_recording():
    model = network(BODIES["residual in place"])
    tape = record(model, images(), differentiable=True)
    torch.testing.assert_close(tape.scores, model(images()))
    loss = functional.cross_entropy(tape.scores, torch.tensor([0, 2])) + mwp(tape, SIGNALS, layer=0).square().sum()
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    with torch.no_grad():
        model[0].weight.mul_(2)
    with pytest.raises(GroundingError, match="changed since the forward pass"):
        mwp(tape, SIGNALS, layer=0)


def test_under_autocast_the_gradient_is_nearly_the_same():
    model = network(BODIES["residual in place"]).float()
    found = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled):
            tape = record(model, images().float(), differentiable=True)
            map_ = contrastive_mwp(tape, SIGNALS.float(), layer=0)
        assert map_.dtype == torch.float32
        found.append(torch.cat([each.flatten() for each in slopes(map_, model)]))
    assert float(functional.cosine_similarity(*found, dim=0)) > 0.95


def test_without_gradients_a_walk_is_the_plain_one():
    model = network(BODIES["residual in place"])
    tape, plain = record(model, images(), differentiable=True), record(model, images())
    for off in (torch.no_grad, torch.inference_mode):
        with off():
            found = contrastive_mwp(tape, SIGNALS, layer=0)
        assert not found.requires_grad
        assert torch.equal(found, contrastive_mwp(plain, SIGNALS, layer=0))


def test_a_plain_recording_keeps_no_graph():
    model = network(BODIES["residual in place"])
    tape = record(model, images().requires_grad_())
    values = [value for each in tape.operations for value in (*each.args, *each.outputs) if hasattr(value, "tensor")]
    assert not any(value.tensor is not None and value.tensor.grad_fn for value in values)
    assert not tape.scores.requires_grad
    for layer in (0, -1, tape.output):  # at the output the map is the signal itself
        assert not mwp(tape, SIGNALS.clone().requires_grad_(), layer=layer, channels=True).requires_grad


def test_attention_written_out_has_a_gradient_and_fused_attention_is_refused():
    model = network(lambda: stem(Attention(), nn.Conv2d(4, 4, 1), nn.ReLU()))
    with sdpa_kernel(SDPBackend.MATH):
        function, given = map_of(model, contrastive_mwp, layer=0)
        assert torch.autograd.gradcheck(function, given, atol=1e-6, fast_mode=True)
    tape = record(model, images(), differentiable=True)
    with pytest.raises(UnsupportedOperationError, match=r"no gradient through aten._scaled_dot_product_.*bmm.*MATH"):
        mwp(tape, SIGNALS, layer=0)
    assert mwp(tape, SIGNALS, layer="4").requires_grad  # above it
    with torch.no_grad():
        mwp(tape, SIGNALS, layer=0)


class Detached(nn.Module):
    """A convolution whose output is computed where autograd does not look."""

    def __init__(self, how):
        super().__init__()
        self.how, self.inner = how, nn.Conv2d(4, 4, 1)

    def forward(self, x):
        return self.how(self.inner, x)


class Hidden(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return (x * 2).relu() + x

    @staticmethod
    def backward(context, slope):
        return slope


def without_gradients(inner, x):
    with torch.no_grad():
        return inner(x).relu()


@pytest.mark.parametrize(
    ("how", "named"),
    [(without_gradients, "aten.convolution"), (lambda inner, x: Hidden.apply(inner(x)), "aten.mul.Tensor")],
    ids=["no_grad", "Function"],
)
def test_what_is_computed_without_gradients_is_refused_by_name(how, named):
    tape = record(network(lambda: stem(Detached(how))), images(), differentiable=True)
    with pytest.raises(UnsupportedOperationError, match=f"no gradient through {named}"):
        mwp(tape, SIGNALS, layer=0)


def test_what_the_model_detaches_is_a_constant():
    model = network(lambda: stem(Detached(lambda inner, x: inner(x).relu().detach())))
    found = torch.autograd.grad(
        mwp(record(model, images(), differentiable=True), SIGNALS, layer=0).square().sum(),
        list(model.parameters()),
        allow_unused=True,
    )
    assert found[-1] is None
    assert all(each.any() for each in found[:1])  # W+ and x of the first layer, read by the walk itself


def test_a_choice_is_a_constant_and_no_lost_gradient():
    """Each place takes the mean of those that are alike: the comparison is read as attention weights are."""

    def choose(inner, x):
        places = inner(x).relu().flatten(2)  # (N, 4, P)
        alike = (places.mT @ places > 0.3).to(x)  # (N, P, P)
        return (places @ alike).reshape(x.shape)

    model = network(lambda: stem(Detached(choose), nn.Conv2d(4, 4, 1), nn.ReLU()))
    function, given = map_of(model, contrastive_mwp, layer=0)
    assert torch.autograd.gradcheck(function, given, atol=1e-6, fast_mode=True)


def test_a_copy_without_a_graph_is_refused(monkeypatch):
    monkeypatch.setattr(gradients, "enable_reentrant_dispatch", contextlib.nullcontext)
    with pytest.raises(GroundingError, match=r"aten.add_.Tensor overwrites a value whose gradient"):
        record(network(BODIES["residual in place"]), images(), differentiable=True)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_differentiable_recording_is_not_copied(copied):
    tape = record(network(BODIES["residual"]), images(), differentiable=True)
    with pytest.raises(GroundingError, match="cannot be copied or pickled"):
        copied(tape)


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_gradients_that_are_off_are_said_at_once(off):
    model = network(BODIES["residual"])
    with off(), pytest.raises(GroundingError, match="gradients are off"):
        record(model, images(), differentiable=True)


def test_a_network_that_needs_no_gradient_is_said_at_once():
    model = network(BODIES["residual"]).requires_grad_(False)
    with pytest.raises(GroundingError, match="the scores have no gradient"):
        record(model, images(), differentiable=True)
    assert mwp(record(model, images().requires_grad_(), differentiable=True), SIGNALS, layer=0).requires_grad
