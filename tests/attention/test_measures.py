"""What the engine promises of whole networks: mass, precision, batches, layouts, compilers, names, threads, memory."""

import copy
import functools
import gc
import itertools
import threading
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize, prune

from grounding.attention import contrastive_mwp, contrastive_mwp_at, mwp, mwp_at, readings, record
from grounding.attention.layers import layers
from grounding.errors import GroundingError
from grounding.images import sample_scene
from grounding.regions.maps import normalize
from helpers.errors import facts
from helpers.networks import TAGS, build, signals
from helpers.rounding import assert_rounded

THREADS = 8


def shares(count=3, tags=TAGS):
    """(K, T) float64 signals that sum to 1."""
    weights = signals(count, tags).double()
    return weights / weights.sum(1, keepdim=True)


def same_maps(found, expected, rtol=1e-9):
    """Equal to within rounding, relative to the largest value."""
    torch.testing.assert_close(found, expected, rtol=0, atol=rtol * float(expected.abs().max()))
    assert expected.abs().max() > 0


class Mixed(nn.Module):
    """Something of everything, in float64: branches side by side, a residual block, a gate, pooling, dropout, in place.

    Depthwise, dilated and strided convolutions, batch normalisation with scales of both signs, uneven adaptive bins.
    """

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.left = nn.Conv2d(8, 4, 1)
        self.right = nn.Sequential(nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4), nn.ReLU(), nn.Conv2d(8, 4, 1))
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 1))
        self.norm = nn.BatchNorm2d(8)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1), nn.Sigmoid())
        self.nothing = nn.Sequential(nn.Identity(), nn.Dropout())
        self.head = nn.Linear(8 * 6, TAGS)
        with torch.no_grad():
            for norm in (self.stem[1], self.block[1], self.norm):
                norm.weight.uniform_(0.5, 1.5)[::3] *= -1
                norm.bias.uniform_(0.1, 0.6)
                norm.running_mean.uniform_(-0.2, 0.2)
        self.double().eval()

    def forward(self, x):
        x = self.pool(self.stem(x))
        x = functional.relu(torch.cat([self.left(x), self.right(x)], 1))
        y = self.norm(self.block(x))
        y += x
        y = functional.relu(y)
        y = self.nothing(y * self.gate(y))
        return self.head(functional.adaptive_avg_pool2d(y, (2, 3)).flatten(1))


@pytest.fixture(scope="module")
def mixed():
    return Mixed()


def noise(count=2, size=24, seed=4):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def expected(mixed):
    """Maps of the network as it is, at the image and within."""
    return ask(mixed, noise())


def ask(model, images, depth=("stem", 0)):
    """(2, N, K, h, w): contrastive maps at a layer of either kind, in float64."""
    tape = record(model, images)
    return [contrastive_mwp(tape, shares(), layer=layer) for layer in depth]


# --- mass -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vgg16", "googlenet", "resnet50", "embedded"])
def test_mass_is_conserved_at_every_layer_in_float32(name, localizer):
    if name == "embedded":
        classifier = localizer.classifier
        tape = record(lambda images: classifier.evidence(images)[0], classifier.preprocessing(sample_scene()))
        weights = torch.eye(tape.scores.shape[1])[tape.scores[0].topk(2).indices]
    else:
        tape = record(build(name), torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)))
        weights = signals(2)
    walked = mwp_at(tape, weights, range(len(layers(tape))), channels=True)
    assert len(walked) > 15
    assert tape.scores.dtype == torch.float32
    for p, value in zip(walked, layers(tape), strict=True):
        assert p.shape == (1, 2, *value.shape[1:])
        assert p.min() >= 0
        torch.testing.assert_close(p.flatten(2).double().sum(2), torch.ones(1, 2).double(), rtol=0, atol=1e-5)


# --- networks drawn at random -----------------------------------------------------------------------------------------

BLOCKS = ("conv", "strided", "residual", "branches", "shared", "max", "mean", "gate", "depthwise", "twice")


class Drawn(nn.Module):
    """A chain of blocks of 4 channels, and a linear head."""

    def __init__(self, blocks, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.blocks, self.stem, self.head = blocks, nn.Conv2d(3, 4, 1), nn.Linear(4, TAGS)
        self.convs = nn.ModuleList(
            nn.Conv2d(4, 4, 3, 2 if kind == "strided" else 1, 1, groups=4 if kind == "depthwise" else 1)
            for kind in blocks
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.uniform_(module.bias, 0.1, 0.5)
        self.double().eval()

    def forward(self, x):
        x = self.stem(x).relu()
        for kind, conv in zip(self.blocks, self.convs, strict=True):
            if kind == "residual":
                x = (x + conv(x)).relu()
            elif kind == "branches":
                x = torch.cat([x[:, :1], conv(x)[:, :3].relu()], 1)
            elif kind == "twice":
                x = conv(torch.cat([x[:, 1:3], x[:, 2:]], 1) + x).relu()
            elif kind == "shared":
                x = conv(conv(x).relu()).relu()
            elif kind == "max":
                x = functional.max_pool2d(x, 3, 2, 1)
            elif kind == "mean":
                x = functional.avg_pool2d(x, 3, 2, 1)
            elif kind == "gate":
                x = x * conv(x).mean((2, 3), keepdim=True).sigmoid()
            else:
                x = conv(x).relu()
        return self.head(x.mean((2, 3)))


drawn = st.builds(
    Drawn, blocks=st.lists(st.sampled_from(BLOCKS), max_size=4), seed=st.integers(min_value=0, max_value=999)
)
repeated = settings(max_examples=25, deadline=None, derandomize=True)


@repeated
@given(model=drawn)
def test_contrast_is_mwp_less_the_mwp_of_the_negated_classifier(model):
    """The definition: a second network, whose classifier has the weights -W, walked by itself."""
    dual = copy.deepcopy(model)
    with torch.no_grad():
        dual.head.weight.neg_()
    tapes, where = [record(each, noise(size=9)) for each in (model, dual)], [0, "stem", -1]
    ours, duals = (mwp_at(tape, shares(), where, channels=True) for tape in tapes)
    for found, one, other in zip(
        contrastive_mwp_at(tapes[0], shares(), where, channels=True), ours, duals, strict=True
    ):
        torch.testing.assert_close(found, one - other, rtol=1e-9, atol=1e-12)


def test_the_contrast_is_taken_in_full_precision_whatever_the_walk():
    """The two probabilities are close, so half precision would leave few digits of their difference."""
    head, features = torch.randn(TAGS, 64, generator=torch.Generator().manual_seed(3)), torch.rand(2, 64) + 0.1
    tape, signals = record(lambda x: functional.linear(x, head), features), torch.ones(1, TAGS)
    precise = contrastive_mwp(tape, signals, layer=-1, channels=True)
    rounded = contrastive_mwp(tape, signals, layer=-1, channels=True, dtype=torch.bfloat16)
    torch.testing.assert_close(rounded.float(), precise, rtol=2**-6, atol=0)  # of each unit, not of the largest


@repeated
@given(model=drawn, first=st.floats(-3, 3), second=st.floats(-3, 3), walk=st.sampled_from([mwp, contrastive_mwp]))
def test_a_walk_is_linear_in_the_signal_and_in_no_image_but_its_own(model, first, second, walk):
    images, weights = noise(3, 9), shares(2)
    mixture = first * weights[0] + second * weights[1] + torch.eye(TAGS, dtype=torch.float64)[0]
    tape = record(model, images)
    maps = walk(tape, torch.stack([*weights, torch.eye(TAGS, dtype=torch.float64)[0], mixture]), layer=0)
    torch.testing.assert_close(maps[:, 3], first * maps[:, 0] + second * maps[:, 1] + maps[:, 2], rtol=1e-8, atol=1e-11)
    alone = walk(record(model, images[1:2]), weights, layer=0)
    torch.testing.assert_close(maps[1:2, :2], alone, rtol=1e-8, atol=1e-11)


@repeated
@given(model=drawn, data=st.data())
def test_several_layers_in_one_walk_are_what_each_is_alone(model, data):
    """Also in another order, twice, and by name; and each of them holds all the mass, less what nothing excites."""
    tape = record(model, noise(size=9))
    inside = [f"convs.{at}" for at, kind in enumerate(model.blocks) if kind not in ("max", "mean", "gate")]
    every = [*range(len(layers(tape))), "stem", "head", *inside]
    asked = data.draw(st.lists(st.sampled_from(every), max_size=4))
    found = mwp_at(tape, shares(), asked, channels=True)
    assert isinstance(found, tuple)
    assert len(found) == len(asked)
    for layer, p in zip(asked, found, strict=True):
        assert_rounded(p, mwp(tape, shares(), layer=layer, channels=True))
        assert p.flatten(2).sum(2).max() < 1 + 1e-9
    mass = [p.flatten(2).sum(2) for p in mwp_at(tape, shares(), range(len(layers(tape))), channels=True)]
    for below, above in itertools.pairwise(mass):
        assert (below - above).max() < 1e-9


@repeated
@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    filters=st.integers(1, 12),
    count=st.integers(1, 40),
)
def test_a_map_is_its_units_summed_over_channels(kernel, stride, padding, dilation, filters, count):
    """With few filters or many signals, the last convolution above a map is walked without forming the units."""
    torch.manual_seed(9)
    weight, head = torch.randn(filters, 3, *kernel).double(), torch.randn(TAGS, filters).double()

    def model(x):
        made = functional.conv2d(x, weight, None, stride, padding, dilation)
        return functional.linear(made.relu().mean((2, 3)), head)

    tape = record(model, noise(size=9))
    for walk in (mwp, contrastive_mwp):
        units = walk(tape, shares(count), layer=0, channels=True)
        torch.testing.assert_close(walk(tape, shares(count), layer=0), units.sum(2), rtol=1e-9, atol=1e-12)


# --- precision --------------------------------------------------------------------------------------------------------


def moved(maps, exact):
    """The largest share of a map's mass that lies elsewhere, each map clamped at 0 and normalised to sum to 1."""
    found, right = (normalize(each.float().clamp(min=0)) for each in (maps, exact))
    return float((found - right).abs().sum((-2, -1)).max()) / 2


def of_peak(maps, exact):
    """The largest difference, each map divided by its largest absolute value."""
    found, right = (each.float() / each.float().abs().amax((-2, -1), keepdim=True) for each in (maps, exact))
    return float((found - right).abs().max())


@functools.cache
def embedded():
    """The tape of the sample scene under each precision, and its eight most probable tags."""
    from grounding.tagging.sources import load_classifier

    classifier = load_classifier("embedded")
    half = load_classifier("embedded")
    half.network.bfloat16()
    images = classifier.preprocessing(sample_scene())[..., :192, 96:288]  # the man's head: bfloat16 may be slow

    def forward(images):
        return classifier.evidence(images)[0]

    tape = record(forward, images)
    with torch.autocast("cpu", torch.bfloat16):
        cast = record(forward, images)
    halved = record(lambda images: half.evidence(images)[0], images.bfloat16())
    assert {cast.scores.dtype, halved.scores.dtype} <= {torch.float32, torch.bfloat16}
    weights = torch.eye(tape.scores.shape[1])[tape.scores[0].topk(8).indices]
    tapes = {"exact": tape, "model": halved, "autocast": cast, "walk": tape, "model and walk": halved}
    return tapes, weights


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("walk", [mwp, contrastive_mwp])
@pytest.mark.parametrize("how", ["model", "autocast", "walk", "model and walk"])
def test_bfloat16_moves_less_than_a_fiftieth_of_a_map(how, walk, stride):
    tapes, weights = embedded()
    dtype = torch.bfloat16 if "walk" in how else None
    maps, exact = (walk(tapes[at], weights, stride=stride, dtype=kind) for at, kind in ((how, dtype), ("exact", None)))
    assert (maps.dtype, exact.dtype) == (dtype or torch.float32, torch.float32)
    assert 0 < moved(maps, exact) < 2e-2
    assert of_peak(maps, exact) < (4e-2 if walk is mwp else 8e-2)  # 10 and 20 roundings of bfloat16


def test_bfloat16_on_vgg16():
    """MWP alone: random weights mix the contrast to far below the rounding of its parts."""
    model, images = build("vgg16"), torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    tape, half = record(model, images), record(copy.deepcopy(model).bfloat16(), images.bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        cast = record(model, images)
    exact = mwp(tape, signals(), stride=8)
    for other, dtype in ((half, None), (half, torch.bfloat16), (cast, None), (tape, torch.bfloat16)):
        maps = mwp(other, signals(), stride=8, dtype=dtype)
        assert 0 < moved(maps, exact) < 2e-2
        assert 0 < of_peak(maps, exact) < 2e-2


# --- the same network in other clothes --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mixed", "googlenet", "resnet18"])
def test_a_batch_of_eight_is_eight_batches_of_one(name, mixed):
    """In float64, because random weights mix the contrast to almost nothing."""
    model = mixed if name == "mixed" else copy.deepcopy(build(name)).double()
    images = noise(8, 32)

    def maps(images):
        tape = record(model, images)
        return mwp(tape, shares(1), layer=0), contrastive_mwp(tape, shares(1), layer=0)

    together = maps(images)
    assert together[0].shape == together[1].shape == (8, 1, 32, 32)
    for n in (0, 3, 7):
        for found, alone in zip(together, maps(images[n : n + 1]), strict=True):
            same_maps(found[n : n + 1], alone, rtol=1e-6)


def test_a_batch_of_eight_is_eight_batches_of_one_in_float32(localizer):
    classifier = localizer.classifier
    picture = classifier.preprocessing(sample_scene())
    images = torch.cat([picture[..., 20 * n : 20 * n + 96, 30 * n : 30 * n + 96] for n in range(8)])

    def maps(images):
        tape = record(lambda images: classifier.evidence(images)[0], images)
        return contrastive_mwp(tape, torch.eye(tape.scores.shape[1])[:3], stride=8)

    together = maps(images)
    for n in range(8):
        same_maps(together[n : n + 1], maps(images[n : n + 1]), rtol=1e-4)


def compiled(model, images, **options):
    """Compiled for these images before it is recorded."""
    torch._dynamo.reset()
    made = torch.compile(copy.deepcopy(model), **options)
    with torch.no_grad():
        made(images)
    return made


def traced(model, images):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.trace(model, images)


def scripted(model, images):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(model)


def channels_last(model, images):
    return copy.deepcopy(model).to(memory_format=torch.channels_last)


CLOTHES = {
    "channels last": channels_last,
    "compiled": lambda model, images: compiled(model, images, backend="aot_eager"),
    "compiled, not yet run": lambda model, images: torch.compile(model),
    "traced": traced,
    "scripted": scripted,
    "graph module": lambda model, images: torch.fx.symbolic_trace(model),
    "exported": lambda model, images: torch.export.export(model, (images,)).module(),
    "a function": lambda model, images: lambda x: model(x),
    "its method": lambda model, images: model.forward,
    "in a container": lambda model, images: nn.Sequential(model).eval(),
    "with frozen weights": lambda model, images: copy.deepcopy(model).requires_grad_(False),
    "called with other weights": lambda model, images: functools.partial(
        torch.func.functional_call, model, dict(model.state_dict())
    ),
}


@pytest.mark.parametrize("images", ["contiguous", "channels last", "requires grad", "strided"])
@pytest.mark.parametrize("name", ["as it is", "channels last"])
def test_images_in_other_layouts(name, images, mixed, expected):
    model = mixed if name == "as it is" else channels_last(mixed, None)
    given = {
        "contiguous": noise(),
        "channels last": noise().to(memory_format=torch.channels_last),
        "requires grad": noise().requires_grad_(),
        "strided": noise().repeat_interleave(2, 3)[..., ::2],
    }[images]
    for found, right in zip(ask(model, given), expected, strict=True):
        same_maps(found, right)
        assert not found.requires_grad


@pytest.mark.parametrize("name", CLOTHES)
def test_the_same_network_in_other_clothes(name, mixed, expected):
    model = CLOTHES[name](mixed, noise())
    for _ in range(2):  # a traced module runs another way the second time
        same_maps(contrastive_mwp(record(model, noise()), shares(), layer=0), expected[1])


@pytest.mark.parametrize("name", ["compiled", "graph module"])
def test_names_of_a_compiled_network(name, mixed, expected):
    model = CLOTHES[name](mixed, noise())
    same_maps(contrastive_mwp(record(model, noise()), shares(), layer="stem"), expected[0])


@pytest.mark.parametrize("recording", [torch.no_grad, torch.enable_grad, torch.inference_mode])
@pytest.mark.parametrize("walking", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_under_every_mode_of_autograd(recording, walking, mixed, expected):
    assert all(weight.requires_grad for weight in mixed.parameters())
    with recording():
        tape = record(mixed, noise())
    with walking():
        found = contrastive_mwp(tape, shares().requires_grad_(), layer=0)
    same_maps(found, expected[1])
    assert not found.requires_grad
    assert not tape.scores.requires_grad


# --- shared and disguised weights -------------------------------------------------------------------------------------


def small(features=36):
    """For images of 8 by 8 pixels, 10 by 10 with 64 features."""
    torch.manual_seed(6)
    chain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(features, TAGS))
    return chain.double().eval()


def test_a_module_run_three_times_is_three_modules_of_equal_weights():
    conv = nn.Conv2d(3, 3, 3, padding=1).double()
    copies = [copy.deepcopy(conv) for _ in range(3)]
    head = nn.Linear(3, TAGS).double()

    def chain(*convs):
        return nn.Sequential(
            *[each for conv in convs for each in (conv, nn.ReLU())], nn.AvgPool2d(8), nn.Flatten(), head
        )

    images, deep = noise(size=8), [0, 1, 2, 3, 4, 5]
    found, apart = (
        contrastive_mwp_at(record(chain(*convs), images), shares(), deep, channels=True)
        for convs in ([conv] * 3, copies)
    )
    for one, other in zip(found, apart, strict=True):
        same_maps(one, other)
    tape = record(chain(conv, conv, conv), images)
    last = mwp(record(chain(*copies), images), shares(), layer="4", channels=True)
    for name in ("0", "2", "4"):  # one module, so all its names stand for its last run
        same_maps(mwp(tape, shares(), layer=name, channels=True), last)


PARAMETRIZED = {
    "weight norm": parametrizations.weight_norm,
    "spectral norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
}


@pytest.mark.parametrize("name", PARAMETRIZED)
@pytest.mark.parametrize("at", [0, 4])
def test_parametrized_weights_are_the_weights_they_make(name, at):
    model, images = small(), noise(size=8)
    PARAMETRIZED[name](model[at])
    with torch.no_grad():
        model[at].parametrizations.weight[0].train(False)
        for weight in model[at].parameters():
            weight.mul_(1.5)
    found = contrastive_mwp_at(record(model, images), shares(), [0, "0"], channels=True)
    parametrize.remove_parametrizations(model[at], "weight")
    for one, other in zip(
        found, contrastive_mwp_at(record(model, images), shares(), [0, "0"], channels=True), strict=True
    ):
        same_maps(one, other)


def test_pruned_weights_are_the_weights_that_are_left():
    model, images = small(), noise(size=8)
    whole = contrastive_mwp(record(model, images), shares(), layer=0)
    prune.l1_unstructured(model[0], "weight", 0.5)
    found = contrastive_mwp(record(model, images), shares(), layer=0)
    prune.remove(model[0], "weight")
    same_maps(found, contrastive_mwp(record(model, images), shares(), layer=0))
    assert not torch.allclose(found, whole)


@pytest.mark.parametrize("mode", ["reflect", "replicate"])
def test_padding_with_the_picture_itself(mode):
    """Against the same convolution of a picture that was padded before."""
    model, images = small(64), noise(size=8)
    padded = functional.pad(images, (1, 1, 1, 1), mode)
    whole = mwp(record(model, padded), shares(), layer=0, channels=True)
    rows = torch.arange(64, dtype=torch.float64).reshape(1, 1, 8, 8) + 1
    source = functional.pad(rows, (1, 1, 1, 1), mode).long().flatten() - 1  # which pixel each came from
    gathered = torch.zeros(*whole.shape[:3], 64, dtype=torch.float64).index_add_(3, source, whole.flatten(3))
    model[0].padding, model[0].padding_mode = (1, 1), mode
    model[0]._reversed_padding_repeated_twice = [1, 1, 1, 1]
    same_maps(mwp(record(model, images), shares(), layer=0, channels=True).flatten(3), gathered)


@pytest.mark.parametrize("count", [1, TAGS])
def test_settings_of_a_convolution_given_once_stand_for_both_sides(count):
    """ATen allows it; few and many signals reach the image in two ways."""
    torch.manual_seed(8)
    weight, head = torch.randn(4, 3, 3, 3).double(), torch.randn(TAGS, 4).double()

    def maps(*pair):
        stride, padding, dilation = pair

        def model(x):
            made = functional.conv2d(x, weight, None, stride, padding, dilation)
            return functional.linear(made.relu().mean((2, 3)), head)

        return contrastive_mwp(record(model, noise(size=9)), shares(count), layer=0)

    same_maps(maps([2], [1], [2]), maps([2, 2], [1, 1], [2, 2]))


def test_a_result_is_nobody_elses_memory(mixed):
    """What is written into one map reaches no other, nor the signals, nor the record."""
    tape, weights, where = record(mixed, noise()), shares(), ["head", "stem", 0, -1]
    right = [p.clone() for p in mwp_at(tape, weights, where, channels=True)]
    found = mwp_at(tape, weights, where, channels=True)
    for p in found:
        p.mul_(0)
    assert torch.equal(weights, shares())
    for one, other in zip(mwp_at(tape, weights, where, channels=True), right, strict=True):
        same_maps(one, other)


# --- names ------------------------------------------------------------------------------------------------------------


def excite(matrix, x, p):
    positive = matrix.clamp(min=0)
    z = positive @ x
    return x * (positive.T @ torch.where(z != 0, p / z, 0))


class Named(nn.Module):
    """Two branches side by side and a residual way around them, each layer a matrix."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(7)
        self.stem, self.head = nn.Linear(5, 6), nn.Linear(6, TAGS)
        self.inner = nn.ModuleDict({"left": nn.Linear(6, 2), "right": nn.Linear(6, 4), "mix": nn.Linear(6, 6)})
        self.double().eval()

    def forward(self, x):
        x = self.stem(x).relu()
        y = torch.cat([self.inner["left"](x), self.inner["right"](x)], 1).relu()
        return self.head((self.inner["mix"](y) + x).relu())


@pytest.mark.parametrize("contrast", [False, True])
def test_layers_inside_a_block_against_the_matrices(contrast):
    model, images = Named(), torch.rand(2, 5, dtype=torch.float64)
    names = ["head", "inner.mix", "inner.left", "inner.right", "stem"]
    names = names[1:] if contrast else names
    read = readings(record(model, images), shares(), names, contrast=contrast, channels=True)
    found = dict(zip(names, (reading.maps for reading in read), strict=True))
    for n in range(2):
        with torch.no_grad():
            stem = model.stem(images[n]).relu()
            parts = torch.cat([model.inner["left"](stem), model.inner["right"](stem)]).relu()
            mix = model.inner["mix"](parts)
            total = mix + stem
            weight = model.head.weight
            inner = torch.cat([model.inner["left"].weight, model.inner["right"].weight])
            for k, signal in enumerate(shares()):
                above = excite(weight, total.relu(), signal)
                if contrast:
                    above = above - excite(-weight, total.relu(), signal)
                main, skip = (above * torch.where(total > 0, part / total, 0).clamp(0, 1) for part in (mix, stem))
                at_parts = excite(model.inner["mix"].weight, parts, main)
                at_stem = skip + excite(inner, stem, at_parts)
                expected = {"inner.mix": main, "inner.left": at_parts[:2], "inner.right": at_parts[2:], "stem": at_stem}
                if not contrast:
                    expected["head"] = signal
                for name in names:
                    torch.testing.assert_close(found[name][n, k], expected[name], rtol=1e-9, atol=1e-12)


def test_branches_of_an_inception_share_what_the_block_has():
    tape = record(build("googlenet"), torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)))
    for block in ("inception5b", "inception4a", "inception3b"):
        branches = [f"{block}.branch{i}" for i in (1, 2, 3, 4)]
        *parts, whole = mwp_at(tape, signals(), [*branches, block])
        torch.testing.assert_close(sum(parts), whole, rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(sum(parts).sum((2, 3)), torch.ones(1, 3), rtol=0, atol=1e-5)
        assert min(part.sum() for part in parts) > 1e-3


def test_both_ways_through_a_residual_block_share_what_the_block_has():
    tape = record(build("resnet50"), torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)))
    names = ["layer3.0.bn3", "layer3.0.downsample", "layer3.0", "layer3.0.conv3", "layer3.0.downsample.0"]
    main, skip, block, conv, projection = mwp_at(tape, signals(), names, channels=True)
    torch.testing.assert_close(main + skip, block, rtol=1e-4, atol=1e-8)
    torch.testing.assert_close(block.flatten(2).sum(2), torch.ones(1, 3), rtol=0, atol=1e-5)
    assert_rounded(conv, main)  # the normalisation is folded
    assert_rounded(projection, skip)
    cut = mwp(tape, signals(), layer="layer3.5", channels=True)
    assert_rounded(mwp(tape, signals(), layer="layer3", channels=True), cut)
    shapes = [tuple(value.shape) for value in layers(tape)]
    index = len(shapes) - 1 - shapes[::-1].index((1, 1024, 4, 4))  # the last of its size, behind the rectifier
    assert_rounded(mwp(tape, signals(), layer=index, channels=True), cut)
    within = mwp(tape, signals(), layer="layer3.2.conv2", channels=True).flatten(2).sum(2)
    assert 0 < within.min() <= within.max() < 1
    with pytest.raises(GroundingError, match=facts("no signal", "layer", "another")):
        mwp(tape, signals(), layer="layer3.0.downsample", residual="main")


def test_names_through_a_function_and_a_wrapper(mixed, expected):
    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = mixed

        def forward(self, x):
            return {"logits": self.network(x)}

    wrapper = Wrapper().eval()
    for model, name in (
        (lambda x: mixed(x), "stem"),
        (lambda x: wrapper(x)["logits"], "network.stem"),
        (nn.Sequential(mixed).eval(), "0.stem"),
    ):
        same_maps(contrastive_mwp(record(model, noise()), shares(), layer=name), expected[0])


def test_a_module_that_does_nothing_is_named_in_the_error(mixed):
    tape = record(mixed, noise())
    for name in ("nothing", "nothing.0", "nothing.1"):
        with pytest.raises(GroundingError, match=facts(f"'{name}' computed nothing", "before")):
            mwp(tape, shares(), layer=name)


# --- threads ----------------------------------------------------------------------------------------------------------


def test_eight_threads_asking_one_record(mixed):
    tape, weights = record(mixed, noise()), torch.eye(TAGS, dtype=torch.float64)
    start = threading.Barrier(THREADS)

    def walk(thread):
        start.wait()
        return [
            contrastive_mwp(tape, weights[thread : thread + 1], layer=["stem", 0, "block.0"][(thread + turn) % 3])
            for turn in range(6)
        ]

    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(walk, range(THREADS)))
    start = threading.Barrier(1)
    for thread in range(THREADS):
        for one, alone in zip(found[thread], walk(thread), strict=True):
            same_maps(one, alone, rtol=1e-12)


def test_eight_threads_recording_one_model(mixed):
    """All are in the middle of a forward pass at once; a ninth runs the model and records nothing."""
    meet = threading.Barrier(THREADS + 1)
    images = noise(THREADS + 1)

    def forward(x):
        x = mixed.stem(x)
        if threads:
            meet.wait(30)
        return functional.linear(mixed.block(x).relu().mean((2, 3)), weights)

    def walk(n):
        if n == THREADS:
            return forward(images[n:]), []
        tape = record(forward, images[n : n + 1])
        names = [(operation.name, operation.module) for operation in tape.operations]
        return contrastive_mwp(tape, shares(), layer=0), names

    weights, threads = torch.randn(TAGS, 8, dtype=torch.float64), True
    with ThreadPoolExecutor(THREADS + 1) as pool:
        found = list(pool.map(walk, range(THREADS + 1)))
    threads = False
    for n, (maps, names) in enumerate(found):
        alone, right = walk(n)
        same_maps(maps.detach(), alone.detach(), rtol=1e-12)
        assert names == right


# --- memory -----------------------------------------------------------------------------------------------------------


class Sine(nn.Module):
    """Has no rule."""

    def forward(self, x):
        return torch.sin(x)


@pytest.fixture
def uncollected():
    """Without the garbage collector, what a reference cycle holds stays."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def activations(tape):
    """Weak references to all that a tape keeps of the images."""
    values = {value for operation in tape.operations for value in (*operation.inputs, *operation.outputs)}
    kept = [weakref.ref(value.tensor) for value in values if value.active and value.tensor is not None]
    return [*kept, weakref.ref(tape.scores)]


@pytest.mark.parametrize("how", ["walked", "walk raised", "name unknown"])
def test_a_record_is_freed_with_its_last_reference(how, uncollected):
    model = build_resnet18()
    if how == "walk raised":
        model = nn.Sequential(Sine(), model).eval()
    tape = record(model, torch.rand(1, 3, 64, 64))
    kept = activations(tape)
    assert len(kept) > 20
    try:
        maps = mwp(tape, signals(), layer="layer9" if how == "name unknown" else 0)
    except GroundingError as error:
        maps = str(error)  # the error itself holds the frames it went through
    assert isinstance(maps, str) == (how != "walked")
    del tape
    assert [reference() for reference in kept if reference() is not None] == []


@functools.cache
def build_resnet18():
    torch.manual_seed(0)
    return torchvision.models.resnet18(num_classes=TAGS).eval()


@pytest.mark.parametrize("how", ["walked", "walk raised", "recording raised"])
def test_memory_is_flat_over_repeated_images(how, uncollected, mixed):
    """In tensors and in objects of this package. (`torch.func.vjp` leaves small cycles of its own, without tensors.)"""
    model = {
        "walked": mixed,
        "walk raised": nn.Sequential(Sine(), mixed).eval(),
        "recording raised": lambda x: functional.dropout(mixed(x), 0.5),
    }[how]

    def once():
        try:
            mwp(record(model, noise(1)), shares(), layer=0)
        except GroundingError:
            return how
        return "walked"

    def objects():
        kinds = [type(thing) for thing in gc.get_objects()]
        return sum(
            kind in (torch.Tensor, nn.Parameter) or str(kind.__module__).startswith("grounding.") for kind in kinds
        )

    assert {once() for _ in range(3)} == {how}
    before = objects()
    for _ in range(20):
        once()
    assert objects() == before


# --- an independent implementation ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_agrees_with_zennit_on_vgg16():
    """Down to the image; zennit adds 1e-6 to every Z, which is more than rounding where activations are small."""
    pytest.importorskip("zennit")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from zennit.attribution import Gradient
        from zennit.composites import ExcitationBackprop
    model, images, weights = build("vgg16"), noise(1, 64).float(), signals(2)
    found = mwp(record(model, images), weights, layer=0, channels=True)
    for k in range(2):
        with Gradient(model=model, composite=ExcitationBackprop(zero_params="bias")) as attributor:
            _, right = attributor(images, weights[k : k + 1])
        difference = (found[:, k] - right).abs()
        assert difference.max() < 1e-4 * right.max()
        assert difference.sum() < 1e-4 * right.sum()
