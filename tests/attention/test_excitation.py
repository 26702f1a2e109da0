"""Whole networks: conservation, contrast, choice of layer, independence of signals and images, and the tape."""

import copy
import gc
import warnings
import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional

from grounding.attention import contrastive_mwp, contrastive_mwp_at, mwp, record
from grounding.attention.layers import find_layer, layers, named_layer
from grounding.attention.walk import at_once, plan
from grounding.errors import GroundingError, UnsupportedOperationError
from helpers.errors import facts
from helpers.networks import TAGS, build, same, signals, state
from helpers.oracles import contrastive, units
from helpers.rounding import assert_rounded

NETWORKS = ["vgg16", "googlenet", "resnet50"]


@pytest.fixture(scope="module")
def tapes():
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    return {name: record(build(name), images) for name in NETWORKS}


@pytest.mark.parametrize(
    ("name", "residual"), [("vgg16", "split"), ("googlenet", "split"), ("resnet50", "split"), ("resnet50", "main")]
)
def test_mass_is_conserved_at_every_layer_down_to_the_image(tapes, name, residual):
    tape = tapes[name]
    found = layers(tape)
    assert found[0] is tape.inputs[0]
    for index in range(0, len(found), 3):
        walked = units(tape, signals(), layer=index, residual=residual)
        assert walked.shape == (3, *found[index].shape)
        torch.testing.assert_close(walked.flatten(1).sum(1), torch.ones(3), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_contrastive_difference_sums_to_zero_at_the_classifier(tapes, name):
    walked = contrastive(tapes[name], signals(), layer=-1)
    torch.testing.assert_close(walked.flatten(1).sum(1), torch.zeros(3), rtol=0, atol=1e-6)
    assert walked.abs().flatten(1).sum(1).min() > 0.1


@pytest.mark.parametrize(
    ("name", "stride", "residual"),
    [("googlenet", 8, "split"), ("resnet50", 16, "split"), ("resnet50", 16, "main"), ("resnet50", 4, "split")],
)
def test_contrastive_difference_sums_to_zero_below(name, stride, residual):
    """In float64: random weights mix the difference to almost nothing, so its sum is compared with its size."""
    tape = record(copy.deepcopy(build(name)).double(), torch.rand(1, 3, 64, 64).double())
    walked = contrastive(tape, signals(), stride=stride, residual=residual)
    size = walked.abs().flatten(1).sum(1)
    assert size.min() > 0
    assert (walked.flatten(1).sum(1).abs() / size).max() < 1e-5


def test_maps_are_units_summed_over_channels_images_first(tapes):
    walked = contrastive(tapes["resnet50"], signals())
    maps = contrastive_mwp(tapes["resnet50"], signals())
    assert maps.shape == (1, 3, 4, 4)
    assert maps.min() < 0 < maps.max()
    torch.testing.assert_close(maps[0], walked[:, 0].sum(1))
    images = torch.rand(2, 3, 32, 32)
    for_each = signals()[:, None] * torch.tensor([1.0, 2.0])[:, None]
    maps = mwp(record(build("vgg16"), images), for_each, stride=8)
    torch.testing.assert_close(maps.sum((2, 3)), torch.tensor([[1.0], [2.0]]).expand(2, 3))


@pytest.mark.parametrize(
    ("name", "stride", "layer"),
    [
        ("vgg16", 16, "features.23"),
        ("vgg16", 8, "features.16"),
        ("googlenet", 8, "maxpool2"),
        ("googlenet", 16, "maxpool3"),
        ("resnet50", 16, "layer3.0"),
        ("resnet50", 8, "layer2.0"),
        ("resnet50", 4, "maxpool"),
    ],
)
@pytest.mark.parametrize("size", [(64, 64), (100, 75)])
def test_stride_chooses_the_layer_of_the_paper(name, stride, layer, size):
    model, shapes = build(name), {}
    handle = model.get_submodule(layer).register_forward_hook(lambda module, given, made: shapes.update(made=made))
    images = torch.rand(1, 3, *size)
    tape = record(model, images)
    handle.remove()
    value = find_layer(tape, stride)
    above = layers(tape)[layers(tape).index(value) - 1]
    assert value.shape == shapes["made"].shape
    assert above.shape[2:] > value.shape[2:]  # the first of that size
    walked = units(tape, signals(1), stride=stride)
    support = walked.flatten(1)[:, shapes["made"].flatten() == 0]
    assert support.abs().max() == 0  # P is where x is


def test_a_stride_between_layers_is_refused_with_those_there_are(tapes):
    with pytest.raises(GroundingError, match=facts("stride 64", "expected one of 32, 16, .*8, 4, 2, 1$")):
        contrastive(tapes["vgg16"], signals(), stride=64)


# --- a tiny network, matrix by matrix ---------------------------------------------------------------------------------


class Tiny(nn.Module):
    """Convolution, batch normalisation with scales of both signs, a residual block, pooling, a linear classifier."""

    def __init__(self, inplace):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.block1, self.norm1 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.block2, self.norm2 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=inplace)
        self.head = nn.Linear(4, TAGS)
        self.inplace = inplace

    def forward(self, x):
        x = self.relu(self.stem(x))
        y = self.relu(self.norm1(self.block1(x)))
        y = self.norm2(self.block2(y))
        if self.inplace:
            y += x
        else:
            y = y + x
        return self.head(self.relu(y).mean((2, 3)))


def tiny(inplace=False):
    torch.manual_seed(3)
    model = Tiny(inplace).double().eval()
    with torch.no_grad():
        for norm in (model.norm1, model.norm2):
            norm.weight.copy_(torch.tensor([1.0, -0.7, 0.5, -1.2]))
            norm.bias.copy_(torch.tensor([0.1, 0.6, -0.1, 0.8]))
            norm.running_mean.uniform_(-0.2, 0.2)
    return model


def excite(matrix, x, p):
    positive = matrix.clamp(min=0)
    z = positive @ x
    return x * (positive.T @ torch.where(z != 0, p / z, 0))


def share(parts, p):
    """What a sum of two gives to each, unit by unit: by size among those that pull it where it went."""
    given = []
    for one, two, mass in zip(*(part.flatten().tolist() for part in (*parts, p)), strict=True):
        total = one + two
        sizes = [abs(part) if part * total > 0 else 0.0 for part in (one, two)]
        given.append([mass * size / sum(sizes) if any(sizes) else 0.0 for size in sizes])
    return [column.reshape(parts[0].shape) for column in torch.tensor(given, dtype=torch.float64).T]


def dense(layer, shape, scale=None):
    units = torch.eye(torch.Size(shape).numel(), dtype=torch.float64).reshape(-1, *shape)
    bias = layer(torch.zeros(1, *shape, dtype=torch.float64))
    columns = (layer(units) - bias) * (1 if scale is None else scale[:, None, None])
    return columns.detach().flatten(1).T


def tiny_by_matrices(model, image, signal, contrast, residual):
    """The walk written out by hand, each layer a dense matrix."""
    norms = {
        name: norm.weight / (norm.running_var + norm.eps).sqrt()
        for name, norm in (("1", model.norm1), ("2", model.norm2))
    }
    shape = (4, *image.shape[1:])
    size = shape[1] * shape[2]
    stem = dense(model.stem, image.shape)
    block1, block2 = dense(model.block1, shape, norms["1"]), dense(model.block2, shape, norms["2"])
    a = (stem @ image.flatten()).relu()
    b = model.norm1(model.block1(a.reshape(1, *shape))).relu().flatten()
    c = model.norm2(model.block2(b.reshape(1, *shape))).flatten()
    total = c + a
    mean = torch.eye(4, dtype=torch.float64).repeat_interleave(size, 1) / size
    pooled = mean @ total.relu()
    head = model.head.weight
    p = excite(head, pooled, signal)
    if contrast:
        p = p - excite(-head, pooled, signal)
    p = excite(mean, total.relu(), p)
    if residual == "main":
        main, skip = p, torch.zeros_like(p)
    else:
        main, skip = share((c, a), p)
    p = skip + excite(block1, a, excite(block2, b, main))
    return excite(stem, image.flatten(), p).reshape(image.shape)


@pytest.mark.parametrize("residual", ["split", "main"])
@pytest.mark.parametrize("contrast", [False, True])
@pytest.mark.parametrize("inplace", [False, True])
@torch.no_grad()
def test_tiny_residual_network_matrix_by_matrix(inplace, contrast, residual):
    model = tiny(inplace)
    images = torch.rand(2, 2, 4, 5, dtype=torch.float64)
    weights = signals().double()
    walk = contrastive if contrast else units
    found = walk(record(model, images), weights, layer=0, residual=residual)
    for k, n in ((0, 0), (1, 1), (2, 0)):
        expected = tiny_by_matrices(model, images[n], weights[k], contrast, residual)
        torch.testing.assert_close(found[k, n], expected, rtol=1e-9, atol=1e-11)
    assert not torch.allclose(found[0, 0], found[1, 0])


@pytest.mark.parametrize("name", NETWORKS)
def test_signals_together_equal_one_walk_each(tapes, name):
    weights = torch.eye(TAGS)[:4]
    together = contrastive(tapes[name], weights, stride=8)
    for k in range(4):
        alone = contrastive(tapes[name], weights[k : k + 1], stride=8)
        torch.testing.assert_close(together[k : k + 1], alone, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("name", NETWORKS)
def test_images_together_equal_each_alone(name):
    model, images = build(name), torch.rand(3, 3, 64, 64)
    together = contrastive(record(model, images), signals(), stride=16)
    own = contrastive(record(model, images), signals()[:, None].expand(3, 3, TAGS), stride=16)
    assert_rounded(together, own)
    for n in range(3):
        alone = contrastive(record(model, images[n : n + 1]), signals(), stride=16)
        torch.testing.assert_close(together[:, n : n + 1], alone, rtol=1e-3, atol=1e-7)


def test_signals_per_image_reach_their_image_only():
    model, images = build("vgg16"), torch.rand(2, 3, 32, 32)
    weights = torch.zeros(1, 2, TAGS)
    weights[0, 1] = signals(1)[0]
    walked = units(record(model, images), weights, stride=8)
    assert walked[:, 0].abs().sum() == 0
    assert walked[:, 1].sum().item() == pytest.approx(1, abs=1e-5)


def test_no_signals_give_no_maps(tapes):
    assert contrastive(tapes["vgg16"], torch.zeros(0, TAGS)).shape == (0, 1, 512, 4, 4)


# --- classifiers ------------------------------------------------------------------------------------------------------


def test_head_on_mean_features_and_layers_by_index():
    """The embedded architecture: plain convolutions, then `features.mean((2, 3))` and a linear head."""
    torch.manual_seed(0)
    features = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(True), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(True))
    head = torch.randn(TAGS, 8)
    tape = record(lambda x: functional.linear(features(x).mean((2, 3)), head), torch.rand(1, 3, 16, 16))
    assert [tuple(value.shape[1:]) for value in layers(tape)] == [
        (3, 16, 16),
        (8, 8, 8),
        (8, 8, 8),
        (8, 4, 4),
        (8, 4, 4),
        (8,),
    ]
    at_classifier = contrastive(tape, signals(), layer=-1)
    pooled = layers(tape)[-1].tensor
    for k, signal in enumerate(signals()):
        expected = excite(head, pooled[0], signal) - excite(-head, pooled[0], signal)
        torch.testing.assert_close(at_classifier[k, 0], expected)
    assert_rounded(contrastive(tape, signals(), layer=-2), contrastive(tape, signals(), stride=4))


def test_classifier_by_one_by_one_convolution_below_the_pooling():
    """As SqueezeNet: the contrast is at the input of the convolution, wherever the pooling is."""
    torch.manual_seed(0)
    conv, head = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, TAGS, 1)
    with torch.no_grad():
        conv.bias.fill_(2)  # every unit is alive, so both signs of W find something to excite
    images = torch.rand(1, 3, 8, 8)

    def local(x):
        return functional.adaptive_avg_pool2d(functional.relu(head(functional.relu(conv(x)))), 1).flatten(1)

    walked = contrastive(record(local, images), signals(), layer=-1)
    assert walked.shape == (3, 1, 6, 8, 8)
    torch.testing.assert_close(walked.flatten(1).sum(1), torch.zeros(3), rtol=0, atol=1e-6)


def test_classifiers_side_by_side_are_contrasted_as_one():
    """As DeiT with its distillation token: the mean of two heads is one linear map of both features."""
    one, two, images = nn.Linear(4, TAGS, False), nn.Linear(4, TAGS, False), torch.rand(1, 8)
    found = contrastive(record(lambda x: (one(x[:, :4]) + two(x[:, 4:])) / 2, images), signals(), layer=0)
    weight = torch.cat([one.weight, two.weight], 1)
    for k, signal in enumerate(signals()):
        expected = excite(weight, images[0], signal) - excite(-weight, images[0], signal)
        torch.testing.assert_close(found[k, 0], expected)


def test_no_classifier_is_an_error():
    with pytest.raises(GroundingError, match="no convolution or linear layer"):
        units(record(lambda x: x * 2, torch.rand(1, TAGS)), signals())


# --- the tape ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_model_and_images_are_left_as_they_were(name):
    model, images = copy.deepcopy(build(name)), torch.rand(1, 3, 64, 64)
    model.requires_grad_(True)
    next(model.parameters()).requires_grad_(False)
    before, pixels = state(model), images.clone()
    contrastive(record(model, images), signals(), stride=8)
    same(before, state(model))
    assert torch.equal(images, pixels)


class Broken(nn.Module):
    """A network whose forward pass, or whose walk, raises."""

    def __init__(self, how):
        super().__init__()
        self.conv, self.norm, self.head, self.how = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, TAGS), how
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        x = self.norm(self.conv(x))
        if self.how == "forward":
            raise RuntimeError("broken")
        if self.how == "write":
            self.seen += 1
        x = torch.sin(x) if self.how == "walk" else x.relu()
        return self.head(functional.dropout(x.mean((2, 3)), training=self.how == "dropout"))


@pytest.mark.parametrize(
    ("how", "training", "error", "message"),
    [
        ("forward", False, RuntimeError, "broken"),
        ("walk", False, UnsupportedOperationError, r"aten\.sin\.default of \(1x4x6x6\)"),
        ("write", False, GroundingError, r"changes a tensor of the model .*aten\.add_\.Tensor"),
        ("dropout", False, GroundingError, r"dropout is active.*model\.eval\(\)"),
        ("", True, GroundingError, r"training mode: call model\.eval\(\)"),
    ],
)
def test_model_is_left_as_it_was_when_recording_or_walking_raises(how, training, error, message):
    model = Broken(how).train(training)
    before = state(model)
    with pytest.raises(error, match=message):
        units(record(model, torch.rand(1, 3, 8, 8)), signals())
    same(before, state(model))
    assert torch.utils._python_dispatch._get_current_dispatch_mode() is None


def test_batch_statistics_in_evaluation_mode_are_an_error():
    norm = nn.BatchNorm2d(3, track_running_stats=False).eval()
    with pytest.raises(GroundingError, match=r"statistics of the batch"):
        record(lambda x: norm(x), torch.rand(2, 3, 4, 4))


def test_an_operation_off_the_way_does_not_matter():
    conv, head = nn.Conv2d(3, 4, 3), nn.Linear(4, TAGS)

    def model(x):
        features = conv(torch.sin(x)).relu()
        torch.erfinv(features).logsumexp((2, 3))
        return head(features.mean((2, 3)))

    tape = record(model, torch.rand(1, 3, 8, 8))
    assert units(tape, signals(), layer=-2).shape == (3, 1, 4, 6, 6)
    with pytest.raises(UnsupportedOperationError, match="sin"):
        units(tape, signals())


@pytest.mark.parametrize("name", ["vgg16", "resnet50"])
def test_in_place_and_out_of_place_networks_give_the_same(name):
    model, images = build(name), torch.rand(1, 3, 64, 64)
    other = copy.deepcopy(model)
    for module in other.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = not module.inplace
    found = [contrastive(record(m, images), signals(), stride=4) for m in (model, other)]
    assert_rounded(*found)


def _keep(x, w, in_place):
    x = x * 1.0
    y = functional.conv2d(x, w)
    x = x.mul_(3.0) if in_place else x * 3.0
    return y + x


def test_input_overwritten_after_use_is_kept_as_it_was():
    w, head = torch.randn(3, 3, 1, 1), torch.randn(TAGS, 3)
    images = torch.rand(1, 3, 4, 4)
    found = [
        units(record(lambda x, i=i: functional.linear(_keep(x, w, i).mean((2, 3)), head), images), signals())
        for i in (True, False)
    ]
    assert_rounded(*found)


def test_constants_made_on_the_way_are_constants():
    head = nn.Linear(6, TAGS)

    def model(x):
        for _ in range(20):  # the constant gets the memory of what was overwritten and freed
            x = functional.relu_(x + 0.0) * 1.0
            x = x * torch.tensor([1.0] * 6)
        return head(x)

    walked = units(record(model, torch.rand(1, 6)), signals())
    torch.testing.assert_close(walked.sum((1, 2)), torch.ones(3))


def test_weights_changed_after_recording_are_an_error():
    model = tiny()
    tape = record(model, torch.rand(1, 2, 4, 5, dtype=torch.float64))
    with torch.no_grad():
        model.block1.weight.mul_(2)
    with pytest.raises(GroundingError, match="changed since the forward pass"):
        units(tape, signals())


def test_under_inference_mode_and_with_inference_tensors():
    model, images = tiny(inplace=True), torch.rand(1, 2, 4, 5, dtype=torch.float64)
    expected = units(record(model, images), signals())
    with torch.inference_mode():
        found = units(record(model, images.clone()), signals())
    torch.testing.assert_close(found, expected)


def test_a_tape_is_freed_without_the_garbage_collector():
    tape = record(tiny(), torch.rand(1, 2, 4, 5, dtype=torch.float64))
    units(tape, signals())
    image = weakref.ref(tape.operations[0].outputs[0].tensor or tape.scores)
    gc.disable()
    try:
        del tape
        assert image() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("model", "inputs", "message"),
    [
        (lambda x: (x, "features"), (torch.rand(1, 3),), r"returned a tuple with 0, 1 \(str\)"),
        (lambda x: torch.ones(2), (torch.rand(1, 3),), "does not depend"),
        (lambda: torch.ones(2), (), "expected tensors"),
        (lambda x: x, ([1, 2],), "expected tensors"),
    ],
)
def test_what_cannot_be_recorded(model, inputs, message):
    with pytest.raises(GroundingError, match=message):
        record(model, *inputs)


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (torch.zeros(2, TAGS + 1), {}, rf"signals are \(2, {TAGS + 1}\)"),
        (torch.zeros(TAGS), {}, "signals are"),
        (torch.zeros(2, 3, TAGS), {}, "signals are"),
        (torch.zeros(2, TAGS, dtype=torch.long), {}, "floating point"),
        (torch.full((1, TAGS), torch.nan), {}, "NaN"),
        (torch.zeros(2, TAGS), {"residual": "both"}, "expected 'split', 'main' or 'signed'"),
        (torch.zeros(2, TAGS), {"layer": 99}, "layer is 99: the network has"),
        (torch.zeros(2, TAGS), {"layer": 1, "stride": 16}, "both stride 16 and layer 1"),
        (torch.zeros(2, TAGS), {"stride": 0}, "stride is 0"),
    ],
)
def test_bad_signals_and_options(tapes, given, options, message):
    with pytest.raises(GroundingError, match=message):
        mwp(tapes["vgg16"], given, **options)


# --- an independent implementation ------------------------------------------------------------------------------------


@pytest.mark.parametrize("convolutional_only", [True, False])
def test_agrees_with_zennit(convolutional_only):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from zennit.attribution import Gradient
        from zennit.composites import ExcitationBackprop
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(2) if convolutional_only else nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 16, 32),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(32, TAGS),
    ).eval()
    images, weights = torch.rand(2, 3, 16, 16), signals()
    found = units(record(model, images), weights)
    for k in range(3):
        with Gradient(model=model, composite=ExcitationBackprop(zero_params="bias")) as attributor:
            _, expected = attributor(images, weights[k].expand(2, TAGS))
        # zennit adds 1e-6 to every Z
        torch.testing.assert_close(found[k], expected, rtol=1e-4, atol=1e-4 * float(found[k].max()))


# --- where a shorter way could go wrong -------------------------------------------------------------------------------


def test_scores_that_come_past_the_classifier_have_no_contrast():
    conv, head, mixing = nn.Conv2d(3, TAGS, 1), nn.Linear(TAGS, TAGS), torch.rand(TAGS, TAGS)
    nn.init.uniform_(conv.weight, 0.1, 1)  # something excites every unit

    def model(x):
        h = conv(x).relu().mean((2, 3))
        return head((h @ mixing).relu()) + h

    tape = record(model, torch.rand(1, 3, 8, 8))
    with pytest.raises(GroundingError, match="past the classifier"):
        contrastive(tape, signals(), layer=0)
    torch.testing.assert_close(units(tape, signals(), layer=-1).flatten(1).sum(1), torch.ones(3))


def test_a_dense_output_is_a_map_too():
    conv = nn.Conv2d(3, TAGS, 1)
    images = torch.rand(2, 3, 4, 6)
    weights = torch.rand(3, 2, TAGS, 4, 6) + 0.1
    maps = mwp(record(nn.Sequential(conv), images), weights, layer="0")
    torch.testing.assert_close(maps, weights.sum(2).transpose(0, 1))


@pytest.mark.parametrize("shape", [(), (1,), (6, 1, 1), (4, 4), (6, 4, 4), (1, 6, 4, 4)])
def test_a_constant_factor_of_any_shape_below_a_concatenation(shape):
    generator = torch.Generator().manual_seed(5)
    one, two, head = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 4, 1), torch.rand(TAGS, 96, generator=generator)
    factor = torch.rand(shape, generator=generator) + 0.1

    def model(x):
        return functional.linear((torch.cat([one(x), two(x)], 1).relu() * factor).flatten(1), head)

    tape = record(model, torch.rand(2, 3, 4, 4, generator=generator))
    maps = mwp(tape, signals(20), layer=0)
    torch.testing.assert_close(maps, units(tape, signals(20), layer=0).sum(2).transpose(0, 1))
    assert maps.sum() > 0


def test_half_precision_walks_have_no_nan():
    model, images = build("vgg16"), torch.rand(1, 3, 64, 64) * 1e-4
    maps = mwp(record(model, images), signals(), stride=8, dtype=torch.float16)
    assert maps.isfinite().all()


def test_the_scores_own_layer_may_have_readers_that_lead_nowhere():
    head = nn.Linear(4, TAGS)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = head

        def forward(self, x):
            y = self.head(x)
            y.softmax(1)
            return y

    found = mwp(record(Model(), torch.rand(2, 4)), signals(), layer="head", channels=True)
    assert_rounded(found, signals().expand(2, 3, TAGS))


def test_signals_in_groups_give_the_same(tapes, monkeypatch):
    weights, names = signals(5), ["layer2", "layer3"]
    together = contrastive_mwp_at(tapes["resnet50"], weights, names)
    monkeypatch.setattr("grounding.attention.excitation.at_once", lambda *given: 2)
    for found, expected in zip(contrastive_mwp_at(tapes["resnet50"], weights, names), together, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-8)


def test_groups_are_as_large_as_the_memory_of_the_forward_pass_or_the_floor_allows(monkeypatch):
    layers_ = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()]
    model = nn.Sequential(*layers_, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, TAGS))
    tape = record(model, torch.rand(1, 3, 8, 8))
    activations = 256 + 256 + 64 + 64 + 64 + 4 + TAGS  # what each layer makes; flattening makes nothing
    pooled = named_layer(tape, "2")

    def together(stop, channels):
        return at_once(tape, plan(tape, [stop], "split", False), channels)

    monkeypatch.setattr("grounding.attention.walk._FLOOR", 2 * activations)
    assert together(pooled, False) == 2 * activations // (4 * 4)
    monkeypatch.setattr("grounding.attention.walk._FLOOR", activations // 2)
    assert together(pooled, False) == activations // (4 * 4)  # P is formed at the 4 features only
    assert together(pooled, True) == activations // (4 * 64)
    assert together(tape.inputs[0], False) == 1  # the pooling makes 256 numbers a signal


def test_a_name_that_two_networks_of_a_function_have_is_refused():
    one, two = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()), nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU())
    head = torch.rand(TAGS, 4)
    tape = record(lambda x: functional.linear(two(one(x)).mean((2, 3)), head), torch.rand(1, 3, 4, 4))
    with pytest.raises(GroundingError, match=facts("'0'", "two modules", "one module that holds both")):
        mwp(tape, signals(), layer="0")
