"""The baselines against definitions worked out by hand, and what they leave of the model: everything."""

import concurrent.futures
import functools
import gc
import importlib.util
import itertools
import math
import sys
import weakref

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from grounding import baselines
from grounding.errors import GroundingError, UnsupportedOperationError
from helpers.errors import facts
from helpers.rounding import assert_rounded

TAGS = 5
FEW = {"rise": {"masks": 6, "cells": 3}}  # RISE with few masks, to be quick
METHODS = {name: functools.partial(method, **FEW.get(name, {})) for name, method in baselines.METHODS.items()}
every_method = pytest.mark.parametrize("method", METHODS)
every_image_method = pytest.mark.parametrize("method", [name for name in METHODS if name not in ("cam", "grad_cam")])


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Network(nn.Module):
    """Features, their mean over all places, one linear layer; what every method takes."""

    def __init__(self, bias=True):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1, bias=bias),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 6, 3, padding=1, bias=bias),
            nn.ReLU(),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(6, TAGS, bias=bias)

    def forward(self, images):
        return self.classifier(self.pool(self.features(images)).flatten(1))


def network(bias=True, dtype=torch.float32):
    torch.manual_seed(3)
    return Network(bias).to(dtype).eval()


def pictures(count=2, height=8, width=6, dtype=torch.float32, channels=3):
    return torch.randn(count, channels, height, width, dtype=dtype, generator=torch.Generator().manual_seed(4))


def signals(*shape, dtype=torch.float32):
    return torch.randn(*(shape or (3, TAGS)), dtype=dtype, generator=torch.Generator().manual_seed(5))


class Steps(nn.Module):
    """A model made of one function; its modules are registered by name."""

    def __init__(self, run, **modules):
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)
        self.run = run

    def forward(self, images):
        return self.run(self, images)


def steps(run, **modules):
    torch.manual_seed(6)
    for module in modules.values():
        for parameter in module.parameters():
            nn.init.normal_(parameter)
    return Steps(run, **modules).double().eval()


# --- what each method computes ----------------------------------------------------------------------------------------


def slopes(function, point, step=1e-5):
    """Central differences of a scalar function, element by element."""
    found = torch.zeros_like(point)
    for index in itertools.product(*map(range, point.shape)):
        above, below = point.clone(), point.clone()
        above[index] += step
        below[index] -= step
        found[index] = (function(above) - function(below)) / (2 * step)
    return found


@pytest.mark.parametrize("shape", [(2, TAGS), (2, 2, TAGS)])
def test_gradient_is_the_largest_slope_over_the_channels(shape):
    model, images, weights = network(dtype=torch.float64), pictures(2, 5, 4, torch.float64), signals(*shape).double()
    found = baselines.gradient(model, images, weights)
    assert found.shape == (2, 2, 5, 4)
    for n, k in itertools.product(range(2), range(2)):
        weight = weights[k] if len(shape) == 2 else weights[k, n]
        with torch.no_grad():
            expected = slopes(lambda image, weight=weight: (model(image[None])[0] * weight).sum(), images[n])
        torch.testing.assert_close(found[n, k], expected.abs().max(0).values, rtol=1e-6, atol=1e-8)


def written(relu, source, *args, **kwargs):
    """In place, and what it returns thrown away."""
    relu(source, *args, **kwargs)
    return source


RELUS = {
    "module": lambda model, x: model.relu(x),
    "module in place": lambda model, x: written(model.relu_in_place, x),
    "function": lambda model, x: functional.relu(x),
    "function in place": lambda model, x: written(functional.relu, x, inplace=True),
    "function in place by position": lambda model, x: written(functional.relu, x, True),
    "keyword": lambda model, x: torch.relu(input=x),
    "torch": lambda model, x: torch.relu(x),
    "torch in place": lambda model, x: written(torch.relu_, x),
    "method": lambda model, x: x.relu(),
    "method in place": lambda model, x: written(torch.Tensor.relu_, x),
}


def rectifier(method):
    """How a ReLU with input x passes g down, by the papers' definition."""
    if method == "guided_backprop":
        return lambda g, x: g * (g > 0) * (x > 0)
    return lambda g, x: g * (g > 0)


@pytest.mark.parametrize("relu", RELUS)
@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet"])
def test_rectified_gradients_are_the_chain_by_hand(method, relu):
    def run(model, images):
        first = RELUS[relu](model, model.first(images.flatten(1)))
        return model.third(RELUS[relu](model, model.second(first)))

    model = steps(
        run,
        first=nn.Linear(18, 7),
        second=nn.Linear(7, 6),
        third=nn.Linear(6, TAGS),
        relu=nn.ReLU(),
        relu_in_place=nn.ReLU(inplace=True),
    )
    images, weights, passed = pictures(2, 3, 3, torch.float64, 2), signals().double(), rectifier(method)
    found = baselines.METHODS[method](model, images, weights)
    assert found.shape == (2, 3, 3, 3)
    with torch.no_grad():
        for n, k in itertools.product(range(2), range(3)):
            below_first = model.first(images[n].flatten())
            below_second = model.second(below_first.clamp(min=0))
            g = passed(model.third.weight.t() @ weights[k], below_second)
            g = passed(model.second.weight.t() @ g, below_first)
            g = (model.first.weight.t() @ g).reshape(2, 3, 3)
            torch.testing.assert_close(found[n, k], g.abs().max(0).values)


@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet"])
def test_a_relu_passes_down_only_its_own_share_of_a_residual_sum(method):
    """The input of the shared ReLU goes around it too; captum alone would rectify, or drop, that share."""

    def run(model, images):
        source = model.first(images.flatten(1))
        return model.third(model.relu(source + model.second(model.relu(source))))

    model = steps(run, first=nn.Linear(8, 7), second=nn.Linear(7, 7), third=nn.Linear(7, TAGS), relu=nn.ReLU())
    images, weights, passed = pictures(1, 2, 2, torch.float64, 2), signals().double(), rectifier(method)
    found = baselines.METHODS[method](model, images, weights)
    with torch.no_grad():
        source = model.first(images[0].flatten())
        total = source + model.second(source.clamp(min=0))
        for k in range(3):
            g = passed(model.third.weight.t() @ weights[k], total)
            g = g + passed(model.second.weight.t() @ g, source)
            g = (model.first.weight.t() @ g).reshape(2, 2, 2)
            torch.testing.assert_close(found[0, k], g.abs().max(0).values)


def test_the_methods_of_the_papers_differ():
    found = [METHODS[name](network(), pictures(), signals()) for name in ("gradient", "guided_backprop", "deconvnet")]
    for one, other in itertools.combinations(found, 2):
        assert (one - other).abs().max() > 0.01


def test_a_relu_of_constants_is_left_alone():
    def run(model, images):
        return model.head(functional.relu(model.body(images.flatten(1))) + functional.relu(model.scale.weight)[0])

    model = steps(run, body=nn.Linear(4, 3), scale=nn.Linear(3, 1), head=nn.Linear(3, TAGS))
    found = baselines.guided_backprop(model, pictures(1, 2, 2, torch.float64, 1), signals().double())
    assert found.shape == (1, 3, 2, 2)


def test_cam_is_the_classifier_at_every_place():
    model, images, weights = network(), pictures(), signals()
    found = baselines.cam(model, images, weights, layer="features")
    with torch.no_grad():
        features, scores = model.features(images), model(images)
    assert found.shape == (2, 3, 4, 3)
    for n, k, y, x in itertools.product(range(2), range(3), range(4), range(3)):
        expected = 0.0
        for tag, row in enumerate(model.classifier.weight.tolist()):
            here = zip(row, features[n, :, y, x].tolist(), strict=True)
            expected += float(weights[k, tag]) * sum(weight * feature for weight, feature in here)
        assert float(found[n, k, y, x]) == pytest.approx(expected, abs=1e-5)
    assert found.min() < -0.01
    torch.testing.assert_close(found.mean((2, 3)), (scores - model.classifier.bias) @ weights.t())


def test_grad_cam_of_a_pooled_linear_classifier_is_cam_clamped_and_scaled():
    """Selvaraju et al., section 3.1: Grad-CAM generalises CAM; here the scale is 1 / (h * w)."""
    model, images, weights = network(), pictures(), signals(3, 2, TAGS)
    plain = baselines.cam(model, images, weights)
    torch.testing.assert_close(baselines.grad_cam(model, images, weights), plain.clamp(min=0) / 12)
    assert plain.max() > 0.01


@pytest.mark.parametrize("layer", ["features.0", "features.2"])
def test_grad_cam_weighs_features_by_their_mean_slope(layer):
    """`features.0` is what the ReLU in place behind it has not yet overwritten."""
    model, images, weights = network(dtype=torch.float64), pictures(1, 4, 6, torch.float64), signals(2, TAGS).double()
    split = int(layer[-1]) + 1
    found = baselines.grad_cam(model, images, weights, layer=layer)
    with torch.no_grad():
        features = model.features[:split](images).clone()

        def rest(features, weight):
            deeper = model.features[split:](features.clone()[None])
            return (model.classifier(model.pool(deeper).flatten(1))[0] * weight).sum()

        for k in range(2):
            alphas = slopes(functools.partial(rest, weight=weights[k]), features[0]).mean((1, 2))
            expected = sum(alpha * feature for alpha, feature in zip(alphas, features[0], strict=True)).clamp(min=0)
            torch.testing.assert_close(found[0, k], expected, rtol=1e-6, atol=1e-8)
            assert expected.max() > 1e-3


def as_matrix(layer, shape, ones=False):
    """A convolution without bias as a dense matrix (out, in), one column per element of its input."""
    size = math.prod(shape)
    with torch.no_grad():
        weight = torch.ones_like(layer.weight) if ones else layer.weight
        columns = functional.conv2d(torch.eye(size, dtype=weight.dtype).reshape(size, *shape), weight)
    return columns.flatten(1).t()


def test_lrp_is_flat_then_z_plus_then_epsilon_by_dense_matrices():
    torch.manual_seed(8)
    layers = [nn.Conv2d(2, 3, 2, bias=False), nn.ReLU(), nn.Conv2d(3, 4, 2, bias=False), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(8, TAGS, bias=False)).double().eval()
    images, weights = pictures(2, 3, 4, torch.float64, 2), signals().double()
    found = baselines.lrp(model, images, weights)
    flat = as_matrix(model[0], (2, 3, 4), ones=True)
    first, second = as_matrix(model[0], (2, 3, 4)), as_matrix(model[2], (3, 2, 3))
    for n, k in itertools.product(range(2), range(3)):
        below = (first @ images[n].flatten()).clamp(min=0)
        top = (second @ below).clamp(min=0)
        w = model[5].weight.detach()
        relevance = top * (w.t() @ weights[k])  # z_ij / z_j of what starts as signal * score
        positive = second.clamp(min=0)
        relevance = below * (positive.t() @ (relevance / (positive @ below + 1e-12)))
        relevance = flat.t() @ (relevance / flat.sum(1))
        # zennit's epsilon rules add 1e-6 to what they divide by
        torch.testing.assert_close(found[n, k], relevance.reshape(2, 3, 4).sum(0), rtol=1e-3, atol=1e-4)
    assert found.min() < -0.005 < 0.005 < found.max()


def test_lrp_without_biases_sums_to_the_explained_score():
    model, images, weights = network(bias=False), pictures(), signals(3, 2, TAGS)
    with torch.no_grad():
        expected = (model(images) * weights).sum(2).t()
    torch.testing.assert_close(baselines.lrp(model, images, weights).sum((2, 3)), expected, rtol=1e-3, atol=1e-5)


def test_lrp_shares_the_sums_and_merges_the_norms_of_a_resnet():
    torch.manual_seed(9)
    model = torchvision.models.resnet18(weights=None, num_classes=TAGS).double().eval()
    with torch.no_grad():
        model.fc.bias.zero_()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)[::3] *= -1
                module.running_var.uniform_(0.5, 1.5)
        expected = model(pictures(1, 48, 32, torch.float64)) @ signals().double().t()
    found = baselines.lrp(model, pictures(1, 48, 32, torch.float64), signals().double())
    torch.testing.assert_close(found.sum((2, 3)), expected, rtol=1e-3, atol=1e-4)


SEEN: list[torch.Tensor] = []


class Spy(nn.Module):
    """Scores of both signs, not linear in the picture; remembers the pictures that it saw."""

    def forward(self, images):
        SEEN.append(images.clone())
        return torch.stack([images[:, 0, 0].sum(1) ** 2, images.mean((1, 2, 3)) - 1, images[:, 0, -1, -1]], 1)


def masks_of(height, width, **options):
    """The masks themselves: what the model sees of a picture of ones, after its first look at the whole of it."""
    SEEN.clear()
    baselines.rise(Spy().eval(), torch.ones(1, 1, height, width), torch.eye(3), **options)
    return torch.cat(SEEN[1:])[:, 0]


@pytest.mark.parametrize("count", [1, 32, 70])
def test_rise_is_the_mean_of_its_masks_weighted_by_the_scores(count):
    options = {"masks": count, "cells": 3, "keep": 0.4, "seed": 7}
    masks, images, weights = masks_of(7, 10, **options), pictures(2, 7, 10, channels=2), signals(2, 3)
    assert masks.shape == (count, 7, 10)
    found = baselines.rise(Spy().eval(), images, weights, **options)
    for n, k in itertools.product(range(2), range(2)):
        expected = torch.zeros(7, 10)
        for mask in masks:
            expected += float(Spy()((images[n] * mask)[None])[0] @ weights[k]) * mask
        torch.testing.assert_close(found[n, k], expected / (0.4 * count), rtol=1e-4, atol=1e-5)


def test_rise_comes_close_to_the_expectation_over_all_masks():
    """Two by two cells on two by two pixels: 16 masks, enlarged from 2 to 3 and cut at (0, 0)."""
    keep, count, image, weight = 0.3, 20_000, torch.tensor([[1.0, -2.0], [3.0, 0.5]]), torch.tensor([1.0, 2.0, -1.0])
    enlarge = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    mean, square = torch.zeros(2, 2), torch.zeros(2, 2)
    for grid in itertools.product((0.0, 1.0), repeat=4):
        mask = enlarge @ torch.tensor(grid).reshape(2, 2) @ enlarge.t()
        value = float(Spy()((image * mask)[None, None])[0] @ weight) * mask / keep
        chance = keep ** sum(grid) * (1 - keep) ** (4 - sum(grid))
        mean, square = mean + chance * value, square + chance * value**2
    found = baselines.rise(Spy().eval(), image[None, None], weight[None], masks=count, cells=2, keep=keep)[0, 0]
    assert ((found - mean).abs() <= 4 * ((square - mean**2) / count).sqrt()).all()
    assert mean.abs().min() > 0.1


def test_masks_of_rise_start_at_every_indent_alike():
    """Two cells on four pixels: where the cells differ, a row rises over two pixels, from one indent or the other."""
    rows = masks_of(2, 4, masks=2000, cells=2)[:, 0]
    rising = rows[rows[:, 3] > rows[:, 0]]
    early = (rising - torch.tensor([0, 1 / 3, 2 / 3, 1])).abs().amax(1) < 1e-6
    late = (rising - torch.tensor([0, 0, 1 / 3, 2 / 3])).abs().amax(1) < 1e-6
    full = rising[early | late]
    assert 0.4 < early.sum() / len(full) < 0.6
    assert len(full) > 200


def test_masks_of_rise_keep_the_share_asked_for():
    masks = masks_of(9, 6, masks=3000, cells=4, keep=0.25)
    assert float(masks.min()) >= 0
    assert float(masks.max()) <= 1
    torch.testing.assert_close(masks.mean(0), torch.full((9, 6), 0.25), rtol=0, atol=0.04)
    assert_rounded(masks_of(9, 6, masks=3, keep=1.0), torch.ones(3, 9, 6))


def test_rise_follows_its_seed():
    first, again, other = (baselines.rise(network(), pictures(), signals(), masks=5, seed=seed) for seed in (1, 1, 2))
    assert_rounded(first, again)
    assert not torch.allclose(first, other)
    state = torch.random.get_rng_state()
    baselines.rise(network(), pictures(), signals(), masks=5)
    assert torch.equal(torch.random.get_rng_state(), state)


# --- what all have in common ------------------------------------------------------------------------------------------


@every_method
def test_signals_and_images_do_not_change_each_other(method):
    model, images, weights = network(), pictures(), signals()
    together = METHODS[method](model, images, weights)
    assert together.dtype == torch.float32
    assert not together.requires_grad
    assert together.is_contiguous()
    assert together.shape == (2, 3, *((4, 3) if "cam" in method else (8, 6)))
    assert together.abs().amax((1, 2, 3)).min() > 1e-3
    for n, k in itertools.product(range(2), range(3)):
        alone = METHODS[method](model, images[n : n + 1], weights[k : k + 1])
        torch.testing.assert_close(together[n : n + 1, k : k + 1], alone, rtol=1e-4, atol=1e-5)


@every_method
def test_signals_may_differ_from_image_to_image(method):
    model, images, weights = network(), pictures(), signals(3, 2, TAGS)
    together = METHODS[method](model, images, weights)
    for n in range(2):
        alone = METHODS[method](model, images[n : n + 1], weights[:, n])
        torch.testing.assert_close(together[n : n + 1], alone, rtol=1e-4, atol=1e-5)


@every_method
def test_no_signals_give_no_maps(method):
    found = METHODS[method](network(), pictures(), torch.zeros(0, TAGS))
    assert found.shape == (2, 0, *((4, 3) if "cam" in method else (8, 6)))


@every_method
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_dtype_of_the_model(method, dtype):
    expected = METHODS[method](network(), pictures(), signals())
    weights = signals().to(torch.bfloat16) if dtype == torch.bfloat16 else signals()
    found = METHODS[method](network().to(dtype), pictures().to(dtype), weights)
    assert found.dtype == (torch.float32 if dtype == torch.bfloat16 else dtype)
    tolerance = 0.2 if dtype == torch.bfloat16 else 1e-4  # a unit in the last place of bfloat16 is 0.008
    if (method, dtype) != ("lrp", torch.bfloat16):  # which divides by small differences
        torch.testing.assert_close(found, expected.to(found.dtype), rtol=tolerance, atol=tolerance * expected.max())


@every_method
def test_threads_get_the_sequential_results(method):
    model, expected = network(), METHODS[method](network(), pictures(), signals())
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: METHODS[method](model, pictures(), signals()), range(8)))
    for maps in found:
        assert_rounded(maps, expected)


def notes(model):
    """All of a model that a method could have left changed."""
    found = {}
    for name, module in model.named_modules():
        found[name, "module"] = (id(module), module.training, sorted(vars(module)), getattr(module, "inplace", None))
        found[name, "hooks"] = [len(value) for key, value in sorted(vars(module).items()) if key.endswith("hooks")]
    for name, tensor in itertools.chain(model.named_parameters(), model.named_buffers()):
        grad = None if tensor.grad is None else (id(tensor.grad), tensor.grad.tolist())
        version = None if tensor.is_inference() else tensor._version
        found[name] = (id(tensor), tensor.data_ptr(), version, tensor.requires_grad, grad, tensor.tolist())
    return found


class Counter(nn.Module):
    """Writes to a buffer on every forward pass."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, images):
        self.calls += 1
        return images.clone()


def used_network():
    """With a gradient, a frozen parameter, a hook, an inference tensor, batch normalisation, a buffer that changes."""
    model = network()
    model.pool = nn.Sequential(model.pool, Counter()).eval()
    model.features.insert(1, nn.BatchNorm2d(4).eval())
    model(pictures()).sum().backward()
    model.features[0].weight.requires_grad_(False)
    model.pool.register_forward_hook(lambda module, inputs, output: None)
    with torch.inference_mode():
        model.classifier.bias = nn.Parameter(torch.ones(TAGS), requires_grad=False)
    return model


@every_method
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_model_and_images_are_left_as_they_were(method, mode):
    model = used_network()
    expected = METHODS[method](model, pictures(), signals())
    before = notes(model)
    with mode():
        images, weights = pictures(), signals()
        images.requires_grad_(mode is torch.enable_grad)
        found = METHODS[method](model, images, weights)
        assert torch.is_grad_enabled() == (mode is torch.enable_grad)
    assert notes(model) == before
    assert torch.equal(images, pictures())
    assert images.grad is None
    assert images.requires_grad == (mode is torch.enable_grad)
    assert not found.is_inference()
    assert_rounded(found, expected)


COUNTDOWN = [0]


class Fuse(torch.autograd.Function):
    """Breaks on the forward or backward pass that the countdown reaches."""

    @staticmethod
    def forward(ctx, images):
        COUNTDOWN[0] -= 1
        if not COUNTDOWN[0]:
            raise KeyError("a mistake in the model")
        return images.clone()

    @staticmethod
    def backward(ctx, gradient):
        return Fuse.forward(ctx, gradient)


@every_method
@pytest.mark.parametrize("passes", [1, 2, 3, 4, 5])
def test_model_is_left_as_it_was_after_an_exception(method, passes):
    model = used_network()
    model.features.insert(4, Steps(lambda model, images: Fuse.apply(images)).eval())
    before, images = notes(model), pictures()
    COUNTDOWN[0] = passes
    until_it_breaks = iter(lambda: METHODS[method](model, images, signals()), None)
    with pytest.raises(KeyError, match="a mistake in the model"):
        list(until_it_breaks)
    assert notes(model) == before
    assert not images.requires_grad
    assert torch.is_grad_enabled()
    with pytest.raises(GroundingError, match="signals are"):
        METHODS[method](model, images, signals(2, TAGS + 1))
    assert notes(model) == before


ALIVE: "weakref.WeakSet[nn.Module]" = weakref.WeakSet()


class Marked(nn.ReLU):
    """Remembers every copy of itself that ran and still lives."""

    def forward(self, images):
        ALIVE.add(self)
        return super().forward(images)


@every_method
def test_no_copy_of_the_model_stays(method):
    model = network()
    model.features[4] = Marked().eval()
    METHODS[method](model, pictures(), signals())
    gc.collect()
    assert not [module for module in ALIVE if module is not model.features[4]]


def test_methods_are_callable_by_name():
    assert list(baselines.METHODS) == [
        "gradient",
        "guided_backprop",
        "deconvnet",
        "cam",
        "grad_cam",
        "lrp",
        "rise",
    ]


# --- layers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["cam", "grad_cam"])
def test_the_last_map_of_more_than_one_place_is_read_by_default(method):
    by_default, named = (METHODS[method](network(), pictures(), signals(), layer=layer) for layer in (None, "features"))
    assert_rounded(by_default, named)


@pytest.mark.parametrize("method", ["cam", "grad_cam"])
@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("featurs", "no layer 'featurs': did you mean 'features'"),
        ("", "no layer ''"),
        ("unused", "layer 'unused' ran 0 times"),
        ("shared", "layer 'shared' ran 2 times"),
        ("classifier", r"layer 'classifier' gives \(2, 5\): expected a map \(2, C, h, w\)"),
        ("pair", "layer 'pair' gives a tuple"),
    ],
)
def test_layers_that_cannot_be_read(method, layer, message):
    class Wide(Network):
        def __init__(self):
            super().__init__()
            self.unused, self.shared = nn.ReLU(), nn.Identity()
            self.pair = Steps(lambda model, x: (x, x))

        def forward(self, images):
            return super().forward(self.pair(self.shared(self.shared(images)))[0])

    with pytest.raises(GroundingError, match=message):
        METHODS[method](Wide().eval(), pictures(), signals(), layer=layer)


@every_image_method
def test_methods_that_read_the_image_refuse_a_layer(method):
    with pytest.raises(GroundingError, match=facts(method, "layer 'features'", "reads the image")):
        METHODS[method](network(), pictures(), signals(), layer="features")


@pytest.mark.parametrize("method", ["cam", "grad_cam"])
def test_a_model_without_any_map_has_no_layer_to_read(method):
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, TAGS)).eval()
    with pytest.raises(GroundingError, match="no module of the model gives a map"):
        METHODS[method](model, pictures(), signals())


def test_grad_cam_refuses_a_layer_that_the_scores_do_not_depend_on():
    def run(model, images):
        return model.head(images.mean((2, 3)) + 0 * model.side(images).detach().sum())

    model = steps(run, side=nn.Conv2d(3, 2, 1), head=nn.Linear(3, TAGS))
    with pytest.raises(GroundingError, match="the scores do not depend on layer 'side'"):
        baselines.grad_cam(model, pictures(dtype=torch.float64), signals(), layer="side")


class Otherwise(Network):
    """Not a mean over all places and then one linear layer."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.more = nn.Linear(TAGS, TAGS)

    def forward(self, images):
        if self.how == "maximum":
            return self.classifier(self.features(images).amax((2, 3)))
        if self.how == "two layers":
            return self.more(super().forward(images))
        if self.how == "softmax":
            return super().forward(images).softmax(1)
        if self.how == "scaled":
            return super().forward(images) * 2
        return self.classifier(self.features(images).mean((2, 3)) + 0.1)


@pytest.mark.parametrize("how", ["maximum", "two layers", "softmax", "scaled", "shifted"])
def test_cam_refuses_other_models(how):
    torch.manual_seed(3)
    with pytest.raises(GroundingError, match="not one linear layer on the mean of layer 'features'"):
        baselines.cam(Otherwise(how).eval(), pictures(), signals())


def test_cam_refuses_a_layer_too_early():
    with pytest.raises(GroundingError, match=facts(r"layer 'features\.2'", "use grad_cam")):
        baselines.cam(network(), pictures(), signals(), layer="features.2")


# --- bad input --------------------------------------------------------------------------------------------------------

NAN = torch.full((1, TAGS), math.nan)
HOLE = torch.stack([torch.ones(TAGS), torch.zeros(TAGS)])


@every_method
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (torch.ones(TAGS), r"signals are \(5,\) torch.float32: expected floating point .*\(K, 5\)"),
        (torch.ones(1, TAGS + 1), r"signals are \(1, 6\)"),
        (torch.ones(1, 3, TAGS), r"signals are \(1, 3, 5\)"),
        (torch.ones(1, TAGS, dtype=torch.int64), r"signals are \(1, 5\) torch.int64"),
        ([[1.0] * TAGS], "signals are lists of 5 classes"),
        (NAN, "signals hold NaN"),
        (NAN * 0 + math.inf, "signals hold NaN or infinity"),
        (HOLE, "signal 1 is all zero"),
    ],
)
def test_signals_that_do_not_fit(method, weights, message):
    with pytest.raises(GroundingError, match=message):
        METHODS[method](network(), pictures(), weights)


@every_method
@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.ones(3, 8, 6), r"images are \(3, 8, 6\) torch.float32: expected a floating point tensor \(N, C, H, W\)"),
        (torch.ones(1, 3, 8, 6, dtype=torch.uint8), "torch.uint8"),
        (torch.ones(0, 3, 8, 6), r"images are \(0, 3, 8, 6\)"),
        ("photo.jpg", "images are a str"),
        (torch.full((1, 3, 8, 6), math.nan), "the scores hold NaN or infinity"),
    ],
)
def test_images_that_do_not_fit(method, images, message):
    with pytest.raises(GroundingError, match=message):
        METHODS[method](network(), images, signals())


def with_dropout():
    model = network()
    model.features.append(nn.Dropout())
    return model


class Uncopyable(Network):
    def __init__(self):
        super().__init__()
        self.numbers = (number for number in range(3))


@every_method
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: network().train(), "the model is in training mode"),
        (with_dropout, r"module 'features\.5' is in training mode: call eval\(\)"),
        (lambda: lambda images: images, "the model is a function: expected a torch.nn.Module"),
        (lambda: Steps(lambda m, x: (m.net(x), x), net=network()).eval(), "returned a tuple: expected one tensor"),
        (lambda: Steps(lambda m, x: {"logits": m.net(x)}, net=network()).eval(), "returned a dict"),
        (lambda: network().features, r"returned \(2, 6, 4, 3\): expected scores \(2, T\)"),
        (
            lambda: Steps(lambda m, x: m.net(x)[:1], net=network()).eval(),
            r"returned \(1, 5\): expected scores \(2, T\)",
        ),
        (lambda: torch.compile(network()), "compiled or scripted"),
        (lambda: Uncopyable().eval(), "the model cannot be copied"),
    ],
)
def test_models_that_do_not_fit(method, make, message):
    with pytest.raises(GroundingError, match=message):
        METHODS[method](make(), pictures(), signals())


@pytest.mark.parametrize("method", ["gradient", "guided_backprop", "deconvnet", "grad_cam", "lrp"])
def test_scores_that_do_not_depend_on_the_images(method):
    model = Steps(lambda m, x: m.net(x.detach()), net=network()).eval()
    with pytest.raises(GroundingError, match="the scores do not depend on the images"):
        METHODS[method](model, pictures(), signals())


@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet"])
def test_a_model_without_relu_has_no_rectified_gradient(method):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(96, TAGS)).eval()
    with pytest.raises(GroundingError, match=f"ran no ReLU: {method} would be the plain gradient"):
        METHODS[method](model, pictures(), signals())


@pytest.mark.parametrize(
    ("run", "name"),
    [
        (lambda m, x: m.net(x + m.conv(x)), "aten.add.Tensor"),
        (lambda m, x: m.net(x * m.conv(x).sigmoid()), "aten.sigmoid.default"),
        (lambda m, x: m.net(functional.avg_pool2d(x, 2)), "aten.avg_pool2d.default"),
        (lambda m, x: m.net(functional.relu6(x)), "aten.hardtanh.default"),
        (lambda m, x: m.net(x).softmax(1), "aten._softmax.default"),
        (lambda m, x: m.net(m.attend(*[x.flatten(2)] * 3)[0].reshape(x.shape)), "aten"),
    ],
)
def test_lrp_refuses_what_zennit_has_no_rule_for(run, name):
    model = Steps(run, net=network(), conv=nn.Conv2d(3, 3, 1), attend=nn.MultiheadAttention(48, 2, batch_first=True))
    with pytest.raises(UnsupportedOperationError, match=f"{name}.* outside a module has no rule in zennit"):
        baselines.lrp(model.eval(), pictures(), signals())


def norms(run, **modules):
    """Batch normalisation that does something, which a wrong merge must not pass over."""
    torch.manual_seed(2)
    for module in modules.values():
        if isinstance(module, nn.BatchNorm2d) and module.affine:
            nn.init.uniform_(module.weight, 2, 3)
    return Steps(run, net=network(), **modules).eval()


def conv(inputs=3, outputs=3):
    return nn.Conv2d(inputs, outputs, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: norms(lambda m, x: m.net(m.conv(m.bn(x))), conv=conv(), bn=nn.BatchNorm2d(3)), "lrp merged"),
        (
            lambda: norms(
                lambda m, x: m.net(m.conv(m.narrow(m.bn(m.wide(x))))),
                conv=conv(),
                bn=nn.BatchNorm2d(4),
                wide=conv(3, 4),
                narrow=conv(4, 3),
            ),
            "lrp merged",
        ),
        (
            lambda: norms(lambda m, x: m.net(m.bn(m.conv(x))), conv=conv(), bn=nn.BatchNorm2d(3, affine=False)),
            "lrp cannot merge 'bn'",
        ),
        (lambda: norms(lambda m, x: m.net(m.conv(m.conv(x))), conv=conv()), "layer 'conv' ran twice"),
    ],
)
def test_lrp_refuses_layers_out_of_order(make, message):
    with pytest.raises(GroundingError, match=message):
        baselines.lrp(make(), pictures(), signals())


@pytest.mark.parametrize("options", [{"masks": 0}, {"cells": 0}, {"keep": 0.0}, {"keep": 1.5}, {"keep": math.nan}])
def test_rise_refuses_options(options):
    with pytest.raises(GroundingError, match=facts("expected at least one mask", "probability above 0")):
        baselines.rise(network(), pictures(), signals(), **options)


@pytest.mark.parametrize(
    ("method", "module"),
    [
        ("guided_backprop", "captum.attr"),
        ("deconvnet", "captum.attr"),
        ("lrp", "zennit.composites"),
        ("lrp", "zennit.torchvision"),
    ],
)
def test_a_missing_library_is_named_with_its_remedy(monkeypatch, method, module):
    monkeypatch.setitem(sys.modules, module, None)
    library = module.partition(".")[0]
    with pytest.raises(GroundingError, match=rf'^{method} needs {library}: .*pip install "grounding\[baselines\]"$'):
        METHODS[method](network(), pictures(), signals())


def test_importing_needs_no_library(monkeypatch):
    for name in ("captum", "zennit"):
        for loaded in [key for key in sys.modules if key.partition(".")[0] == name]:
            monkeypatch.delitem(sys.modules, loaded)
        monkeypatch.setitem(sys.modules, name, None)
    spec = importlib.util.spec_from_file_location("fresh_baselines", baselines.__file__)
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    assert fresh.gradient(network(), pictures(), signals()).shape == (2, 3, 8, 6)
