"""Bad input to `record` and to the walks: one line that says what was given, what was expected and what to do.

Each is raised before any number is made: no convolution and no matrix product of the walk has run.
"""

import contextlib
import copy
import warnings
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
import timm
import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.ops import DropBlock2d, StochasticDepth

from grounding.attention import contrastive_mwp, contrastive_mwp_at, mwp, mwp_at, record
from grounding.attention.rules.weighted import RULES as WEIGHTED
from grounding.errors import GroundingError, UnsupportedOperationError
from helpers.errors import facts
from helpers.networks import same, state
from helpers.rounding import assert_rounded

TAGS = 5
IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
SIGNALS = torch.eye(TAGS)[:2]


class Counter(TorchDispatchMode):
    """Counts convolutions and matrix products."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func in WEIGHTED
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def refused(match, error=GroundingError):
    """An error of one line, of this type and no other."""
    with pytest.raises(GroundingError, match=match) as caught:
        yield
    assert type(caught.value) is error
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 300


def network(*middle):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), *middle, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, TAGS)
    ).eval()


@pytest.fixture(scope="module")
def tape():
    return record(network(), IMAGES)


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


# --- what a walk is asked ---------------------------------------------------------------------------------------------

NAN, INFINITY = float("nan"), float("inf")
SIGNAL_ERRORS = {
    "other tags": (torch.rand(2, TAGS + 1), r"signals are \(2, 6\) torch.float32: expected .*\(K, 2, 5\) or \(K, 5\)"),
    "other images": (torch.rand(2, 3, TAGS), r"signals are \(2, 3, 5\).*\(K, 2, 5\)"),
    "one dimension": (torch.rand(TAGS), r"signals are \(5,\).*expected floating point"),
    "four dimensions": (torch.rand(1, 2, 2, TAGS), r"signals are \(1, 2, 2, 5\)"),
    "no dimension": (torch.tensor(1.0), r"signals are \(\)"),
    "integers": (SIGNALS.long(), r"signals are .*torch.int64: expected floating point"),
    "booleans": (SIGNALS > 0, r"torch.bool: expected floating point"),
    "complex": (SIGNALS.to(torch.complex64), r"torch.complex64: expected floating point"),
    "all zero": (SIGNALS * 0, r"signal 0 is all zero: expected a weight other than 0"),
    "one of them zero": (torch.stack([SIGNALS[0], SIGNALS[0] * 0]), r"signal 1 is all zero"),
    "one of them zero for all images": (
        torch.stack([torch.ones(2, TAGS), torch.zeros(2, TAGS)]),
        r"signal 1 is all zero",
    ),
    "NaN": (torch.where(SIGNALS > 0, NAN, SIGNALS), r"signals hold NaN or infinity: expected finite weights"),
    "infinite": (torch.where(SIGNALS > 0, -INFINITY, SIGNALS), r"signals hold NaN or infinity"),
    "a list of weights": ([1.0, 0, 0, 0, 0], r"a class is 1.0: expected a position from 0 to 4, or a name"),
    "an array": (SIGNALS.numpy(), r"signals are a ndarray: expected a floating point tensor"),
}


@pytest.mark.parametrize("walk", [mwp, contrastive_mwp])
@pytest.mark.parametrize("name", SIGNAL_ERRORS)
def test_signals(tape, name, walk):
    signals, match = SIGNAL_ERRORS[name]
    with Counter() as counter, refused(match):
        walk(tape, signals, layer=0)
    assert counter.count == 0


def test_signals_that_are_allowed(tape):
    """A zero for one image only; half precision; no signals; a view; one that leads to autograd."""
    partly = torch.stack([torch.zeros(2, TAGS), torch.ones(2, TAGS)], 1)
    assert mwp(tape, partly, layer=0)[0].abs().sum() == 0 < mwp(tape, partly, layer=0)[1].sum()
    whole = mwp(tape, SIGNALS, layer=0)
    assert mwp(tape, SIGNALS[:0], layer=0).shape == (2, 0, 16, 16)
    for signals in (SIGNALS.half(), torch.eye(TAGS)[::1, :][:2], SIGNALS.clone().requires_grad_(), SIGNALS.bfloat16()):
        found = mwp(tape, signals, layer=0)
        assert_rounded(found, whole)
        assert found.dtype == torch.float32
        assert not found.requires_grad


LAYER_ERRORS = {
    "a name like another": ({"layer": "layr"}, r"the network has no layer 'layr': did you mean 'layer' or 'layer2'\?"),
    "a name like none": ({"layer": "zzz"}, r"no layer 'zzz': expected a module such as stem, layer, layer2, fc$"),
    "too high a number": ({"layer": 99}, r"layer is 99: the network has \d+ layers, 0 the image and -1 the last"),
    "too low a number": ({"layer": -99}, r"layer is -99: the network has"),
    "several": ({"layer": [0, "layer"]}, r"layer is a list: expected the name of a module, or a number .*mwp_at"),
    "a fraction": ({"layer": 1.0}, r"layer is a float: expected the name"),
    "a module": ({"layer": nn.ReLU()}, r"layer is a ReLU: expected the name"),
    "a stride too": ({"layer": 0, "stride": 16}, r"both stride 16 and layer 0 were given: expected one"),
    "a stride too far": ({"stride": 64}, r"no layer of the network has stride 64: expected one of 2, 1$"),
    "no stride": ({"stride": 0}, r"stride is 0: expected a number of image pixels above 0"),
    "a negative stride": ({"stride": -8}, r"stride is -8: expected"),
    "an infinite stride": ({"stride": INFINITY}, r"stride"),
    "NaN for a stride": ({"stride": NAN}, r"stride is nan: expected"),
    "a layer that nothing ran through": ({"layer": "unused"}, r"layer 'unused' computed nothing .*: name one before"),
    "a residual of another name": (
        {"layer": 0, "residual": "all"},
        r"residual is 'all': expected 'split', 'main' or 'signed'",
    ),
    "integers": ({"layer": 0, "dtype": torch.int32}, r"dtype is torch.int32: expected a floating point type"),
    "complex": ({"layer": 0, "dtype": torch.complex64}, r"dtype is torch.complex64: expected a floating point type"),
    "units without places": ({"layer": "fc"}, r"\(2, 5\), no places: .*channels=True"),
    "pooled units": ({"layer": -1}, r"\(2, 4\), no places: .*channels=True"),
}


class Layered(nn.Module):
    """Modules with names, one of which is never called."""

    def __init__(self):
        super().__init__()
        self.stem, self.layer, self.layer2 = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.fc = nn.Linear(4, TAGS)
        for layer in (self.stem, self.layer, self.layer2):
            nn.init.constant_(layer.bias, 1.0)  # every unit is alive
        self.register_module("unused", None)

    def forward(self, x):
        return self.fc(self.layer2(self.layer(self.stem(x).relu()).relu()).relu().mean((2, 3)))


@pytest.mark.parametrize("name", LAYER_ERRORS)
def test_layers_and_options(name):
    options, match = LAYER_ERRORS[name]
    model = Layered().eval()
    if "unused" in match:
        model.unused = nn.Linear(2, 2).eval()
    tape = record(model, IMAGES)
    with Counter() as counter, refused(match):
        mwp(tape, SIGNALS, **options)
    assert counter.count == 0


def test_a_name_is_not_that_of_one_it_begins():
    tape = record(Layered().eval(), IMAGES)
    by_name, by_number, other = mwp_at(tape, SIGNALS, ["layer", 3, "layer2"], channels=True)
    assert_rounded(by_name, by_number)
    assert (by_name - other).abs().max() > 0.001


@pytest.mark.parametrize(
    ("layers", "match"),
    [
        ([0, "layr"], r"no layer 'layr': did you mean 'layer'"),
        ([None], r"layer is a NoneType: expected the name of a module, or a number"),
        ("layer", r"layers are 'layer': expected a list"),
        (0, r"layers are 0: expected a list"),
    ],
)
def test_several_layers(layers, match):
    tape = record(Layered().eval(), IMAGES)
    with Counter() as counter, refused(match):
        mwp_at(tape, SIGNALS, layers)
    assert counter.count == 0


@pytest.mark.parametrize("layers", [["fc"], [0, "fc"], [-1, "", 0]])
def test_a_layer_above_the_contrast(layers):
    tape = record(Layered().eval(), IMAGES)
    assert mwp(tape, SIGNALS, layer="fc", channels=True).tolist() == SIGNALS.expand(2, 2, TAGS).tolist()
    with Counter() as counter, refused("lies above the contrast: read"):
        contrastive_mwp_at(tape, SIGNALS, layers, channels=True)
    assert counter.count == 0


def test_a_layer_above_the_contrast_of_a_convolution():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, TAGS, 1), nn.AvgPool2d(4), nn.Flatten(2)).eval()
    tape = record(lambda x: model(x).mean(2), IMAGES)
    with refused("lies above the contrast"):
        contrastive_mwp(tape, SIGNALS, layer="3")
    with refused("lies above the contrast"):
        contrastive_mwp(tape, SIGNALS, layer="2")
    assert contrastive_mwp(tape, SIGNALS, layer="1").shape == (2, 2, 16, 16)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("aten.sin.default", torch.sin),
        ("aten.exp.default", torch.exp),
        ("aten.fmax.default", lambda x: x.fmax(x * x)),
    ],
)
@pytest.mark.parametrize("walk", [mwp, contrastive_mwp])
def test_an_operation_without_a_rule(name, function, walk):
    tape = record(network(Function(function)), IMAGES)
    with (
        Counter() as counter,
        refused(facts(rf"{name} of \(2x4x16x16.*\)", "no .*rule", "layer above"), UnsupportedOperationError),
    ):
        walk(tape, SIGNALS, layer=0)
    assert counter.count == 0
    assert walk(tape, SIGNALS, layer="2").shape == (2, 2, 16, 16)  # what lies above needs no rule for it


@pytest.mark.parametrize(
    "function", [lambda x: x.mean((2, 3)), lambda x: x.flatten(1), lambda x: x.amax((2, 3)).relu()]
)
@pytest.mark.parametrize("walk", [mwp, contrastive_mwp])
def test_no_operation_with_weights(function, walk):
    tape = record(function, IMAGES)
    with Counter() as counter, refused(facts("no convolution or linear layer", "inputs", "output")):
        walk(tape, torch.ones(1, tape.scores.shape[1]), layer=0)
    assert counter.count == 0


def test_weights_that_changed_since():
    model = network()
    tape = record(model, IMAGES)
    with torch.no_grad():
        model[0].weight.mul_(2)
    with refused(facts("changed since the forward pass", "record it again")):
        mwp(tape, SIGNALS, layer=0)
    assert mwp(tape, SIGNALS, layer=-1, channels=True).shape == (2, 2, 4)


# --- what the model returns -------------------------------------------------------------------------------------------

Outputs = namedtuple("Outputs", ["logits", "auxiliary"])


class ImageClassifierOutput(OrderedDict):
    """As transformers returns it: a dict whose entries are attributes too."""

    def __init__(self, logits):
        super().__init__(logits=logits)
        self.logits = logits


RETURNED = {
    "a tuple with something else": (
        lambda scores: (scores, "features"),
        r"returned a tuple with 0, 1 \(str\): expected one tensor, or a tuple .*scores first: give output=0$",
    ),
    "an empty tuple": (lambda scores: (), r"returned a tuple of nothing: expected one tensor"),
    "a list": (lambda scores: [scores], r"returned a list with 0: expected one tensor, .* give output=0$"),
    "a dict": (lambda scores: {"out": scores}, r"returned a dict with out: expected one tensor, .* give output='out'$"),
    "an output of transformers": (
        lambda scores: ImageClassifierOutput(logits=scores),
        r"returned an ImageClassifierOutput with logits: expected one tensor, .*: give output='logits'$",
    ),
    "a named tuple": (
        lambda scores: Outputs(scores, None),
        r"returned an Outputs with logits, auxiliary \(NoneType\): expected one tensor, .* give output='logits'$",
    ),
    "nothing": (lambda scores: None, r"returned a NoneType: expected one tensor"),
    "a number": (lambda scores: scores.sum().item(), r"returned a float: expected one tensor"),
    "classes": (lambda scores: scores.argmax(1), r"returned torch.int64: expected floating point scores"),
    "complex numbers": (lambda scores: scores + 0j, r"returned torch.complex64: expected floating point scores"),
    "a constant": (lambda scores: torch.ones(2, TAGS), r"does not depend on its inputs"),
    "its shape": (lambda scores: torch.tensor(scores.shape).float(), r"does not depend on its inputs"),
    "infinity": (lambda scores: scores / 0, r"scores of image 0 hold NaN or infinity"),
    "NaN": (lambda scores: scores.log(), r"scores of image \d hold NaN or infinity"),
}


@pytest.mark.parametrize("name", RETURNED)
def test_results_of_the_model(name):
    model, (convert, match) = network(), RETURNED[name]
    before = state(model)
    with refused(match):
        record(lambda images: convert(model(images)), IMAGES)
    same(before, state(model))
    assert torch.utils._python_dispatch._get_current_dispatch_mode() is None


@pytest.mark.parametrize(
    ("convert", "match"),
    [
        (lambda scores: scores.sum(), r"returned a tensor of shape \(\): expected scores \(N, T\)"),
        (lambda scores: scores.sum(1), r"returned a tensor of shape \(2,\): expected scores \(N, T\)"),
        (
            lambda scores: scores[:, :, None, None] + 0,
            r"signals are \(2, 5\).*expected floating point \(K, 2, 5, 1, 1\)$",
        ),
    ],
)
def test_scores_of_another_rank(convert, match):
    model = network()
    with refused(match):
        mwp(record(lambda images: convert(model(images)), IMAGES), SIGNALS, layer=0)


def test_picking_the_output_as_the_message_says():
    model = network()
    expected = mwp(record(model, IMAGES), SIGNALS, layer=0)
    for wrapper, pick in (
        (lambda images: ImageClassifierOutput(logits=model(images)), lambda made: made.logits),
        (lambda images: {"logits": model(images)}, lambda made: made["logits"]),
        (lambda images: (model(images), None), lambda made: made[0]),
    ):
        tape = record(lambda images, wrapper=wrapper, pick=pick: pick(wrapper(images)), IMAGES)
        assert_rounded(mwp(tape, SIGNALS, layer=0), expected)


# --- training mode ----------------------------------------------------------------------------------------------------


class Attention(nn.Module):
    """Self-attention over the places."""

    def __init__(self, need_weights):
        super().__init__()
        self.attention, self.need_weights = nn.MultiheadAttention(4, 2, dropout=0.3, batch_first=True), need_weights

    def forward(self, x):
        y = x.flatten(2).transpose(1, 2)
        return self.attention(y, y, y, need_weights=self.need_weights)[0].transpose(1, 2).reshape(x.shape)


RANDOM = {
    "dropout": nn.Dropout(0.3),
    "dropout in place": nn.Dropout(0.3, inplace=True),
    "dropout of channels": nn.Dropout2d(0.3),
    "alpha dropout": nn.AlphaDropout(0.3),
    "alpha dropout of channels": nn.FeatureAlphaDropout(0.3),
    "stochastic depth by row": StochasticDepth(0.3, "row"),
    "stochastic depth by batch": StochasticDepth(0.3, "batch"),
    "drop path": timm.layers.DropPath(0.3),
    "drop block": DropBlock2d(0.3, 3),
    "attention": Attention(True),
    "attention without weights": Attention(False),
}


@pytest.mark.parametrize("name", RANDOM)
def test_dropout_in_training_mode(name):
    model = network(RANDOM[name].train())
    model[2].train()
    with refused(r"dropout is active \(aten.*\): call model.eval\(\) first"):
        record(model, IMAGES)
    assert model[2].training
    assert not model[0].training
    model.eval()
    if "attention" not in name:  # its rule is tested with the other rules
        assert_rounded(mwp(record(model, IMAGES), SIGNALS, layer=0), mwp(record(network(), IMAGES), SIGNALS, layer=0))


FUNCTIONAL = {
    "dropout": lambda x: functional.dropout(x, 0.3),
    "dropout in place": lambda x: functional.dropout(x * 1, 0.3, inplace=True),
    "dropout of channels": lambda x: functional.dropout2d(x, 0.3),
    "alpha dropout": lambda x: functional.alpha_dropout(x, 0.3, training=True),
    "by a mask": lambda x: x * torch.empty_like(x).bernoulli_(0.5),
    "in attention": lambda x: functional.scaled_dot_product_attention(x, x, x, dropout_p=0.3),
}


@pytest.mark.parametrize("name", FUNCTIONAL)
def test_dropout_that_no_flag_switches_off(name):
    with refused(r"dropout is active \(aten.*\): call model.eval\(\) first"):
        record(network(Function(FUNCTIONAL[name])), IMAGES)


BATCH = {
    "batch normalisation": (
        nn.BatchNorm2d(4).train(),
        r"as batch normalisation does in training mode: call model.eval\(\)",
    ),
    "without momentum": (nn.BatchNorm2d(4, momentum=None).train(), r"training mode: call model.eval\(\)"),
    "without statistics": (nn.BatchNorm2d(4, track_running_stats=False).train(), r"uses the statistics of the batch"),
    "without statistics in evaluation mode": (
        nn.BatchNorm2d(4, track_running_stats=False).eval(),
        r"uses the statistics of the batch",
    ),
    "of instances, tracked": (nn.InstanceNorm2d(4, track_running_stats=True).train(), r"call model.eval\(\) first"),
    "as a function": (
        Function(lambda x: functional.batch_norm(x, None, None, training=True)),
        r"uses the statistics of the batch",
    ),
}


@pytest.mark.parametrize("name", BATCH)
def test_batch_statistics(name):
    module, match = BATCH[name]
    module = copy.deepcopy(module)
    model = network(Function(lambda x: x))
    model[2] = module  # of a model in evaluation mode, this module alone is as it is
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with refused(match):
        record(model, IMAGES)
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())


def test_statistics_of_each_image_are_no_batch_statistics():
    """Instance normalisation keeps none and has no mode: it passes the signal, as group normalisation does."""
    model = network(nn.InstanceNorm2d(4, affine=True), nn.ReLU())
    same = network(nn.GroupNorm(4, 4), nn.ReLU())
    for mode in (True, False):
        model.train(mode)
        found, expected = (mwp(record(each, IMAGES), SIGNALS, layer=0) for each in (model, same))
        torch.testing.assert_close(found, expected)


# --- models -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrap", "inner"),
    [
        (nn.DataParallel, "model.module"),
        (lambda model: nn.DataParallel(nn.DataParallel(model)), "model.module.module"),
        (lambda model: nn.Sequential(nn.DataParallel(model)), "model.0.module"),
        (lambda model: nn.ModuleDict({"a": nn.DataParallel(model)}), "model.a.module"),
    ],
)
def test_data_parallel(wrap, inner):
    model = wrap(network())
    with refused(facts("DataParallel", rf"record {inner}$")):
        record(model, IMAGES)
    found = mwp(record(model.get_submodule(inner.removeprefix("model.")), IMAGES), SIGNALS, layer=0)
    assert found.shape == (2, 2, 16, 16)


@pytest.mark.parametrize("model", [None, "resnet50", 3, {"a": 1}])
def test_what_is_no_model(model):
    with refused(facts(type(model).__name__, "expected a module or a function")):
        record(model, IMAGES)


def quantised(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "dynamic":
            return torch.ao.quantization.quantize_dynamic(network(), {nn.Linear})
        engine = torch.backends.quantized.engine
        if engine == "none":
            pytest.skip("this PyTorch has no engine for quantised networks")
        stub, back = torch.ao.quantization.QuantStub(), torch.ao.quantization.DeQuantStub()
        model = nn.Sequential(stub, nn.Conv2d(3, 4, 3), nn.ReLU(), back, network()[2:]).eval()
        model.qconfig, model[4].qconfig = torch.ao.quantization.get_default_qconfig(engine), None
        model = torch.ao.quantization.prepare(model)
        model(IMAGES)
        return torch.ao.quantization.convert(model)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("kind", ["dynamic", "static"])
def test_quantised_modules(kind):
    model = quantised(kind)
    with refused(facts("quantised", "expected .*dense floating point")):
        record(model, IMAGES)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_quantised_images():
    with refused(facts("quantised", "expected .*dense floating point")):
        record(network(), torch.quantize_per_tensor(IMAGES, 0.1, 0, torch.quint8))


def with_weight(convert):
    """The network with the weights of its last layer in another layout."""
    model = network()
    model[-1].weight = nn.Parameter(convert(model[-1].weight.detach()), requires_grad=False)
    return model


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("convert", ["to_sparse", "to_sparse_csr", "to_sparse_csc"])
def test_sparse_weights(convert):
    with refused(facts("sparse", "expected .*dense floating point")):
        record(with_weight(lambda weight: getattr(weight, convert)()), IMAGES)


def test_activations_in_the_layout_of_onednn():
    with refused(facts("oneDNN|mkldnn", "expected .*dense floating point")):
        record(lambda images: network()(images.to_mkldnn().to_dense()), IMAGES)
    with refused(r"(oneDNN|mkldnn) tensor: expected"):
        record(network(), IMAGES.to_mkldnn())


def test_lazy_modules_that_have_not_run():
    model = nn.Sequential(nn.Flatten(), nn.LazyLinear(TAGS)).eval()
    with refused(r"lazy modules without weights: run it once first"):
        record(model, IMAGES)
    model(IMAGES)
    assert mwp(record(model, IMAGES), SIGNALS, layer=0).shape == (2, 2, 16, 16)


def test_a_forward_pass_that_writes_to_a_weight():
    """Itself or through a view."""
    model = network()
    for write in (
        lambda x: model[0].weight.detach().add_(1),
        lambda x: model[0].bias.data[:1].fill_(0),
        lambda x: functional.relu_(model[-1].weight.view(-1)),
    ):
        with torch.no_grad(), refused(facts("changes a tensor of the model", r"\(aten\.")):
            record(lambda x, write=write: (write(x), model(x))[1], IMAGES)


# --- images -----------------------------------------------------------------------------------------------------------

BROKEN = IMAGES.clone()
BROKEN[1, 0, 3, 4] = NAN


@pytest.mark.parametrize(
    ("inputs", "match"),
    [
        ((), r"record was given inputs of \[\]: expected tensors"),
        (([IMAGES],), r"record was given inputs of \['list'\]: expected tensors"),
        ((IMAGES.numpy(),), r"record was given inputs of \['ndarray'\]: expected tensors"),
        ((IMAGES, None), r"record was given inputs of \['Tensor', 'NoneType'\]: expected tensors"),
        ((IMAGES[:0],), r"the images have shape \(0, 3, 16, 16\): expected at least one"),
        ((IMAGES[..., :0],), r"the images have shape \(2, 3, 16, 0\): expected at least one pixel"),
        ((BROKEN,), r"the scores of image 1 hold NaN or infinity: are its pixels"),
        ((IMAGES / 0,), r"the scores of image 0 hold NaN or infinity: are its pixels"),
        ((IMAGES.to_sparse(),), r"sparse\w* tensor: expected a network of dense floating point"),
    ],
)
def test_images(inputs, match):
    with refused(match):
        record(network(), *inputs)


@pytest.mark.parametrize(
    "images",
    [
        (IMAGES * 255).long(),
        (IMAGES * 255).to(torch.uint8),
        IMAGES > 0.5,
        IMAGES.to(torch.complex64),
        IMAGES.double(),
        IMAGES[:, :2],
    ],
)
def test_what_the_model_itself_refuses_is_raised_as_it_is(images):
    """Not disguised and not swallowed; and PyTorch is left without a mode."""
    model = network()
    with pytest.raises(RuntimeError) as alone:
        model(images)
    with pytest.raises(RuntimeError) as recorded:
        record(model, images)
    assert str(recorded.value) == str(alone.value)
    assert torch.utils._python_dispatch._get_current_dispatch_mode() is None


def test_images_that_are_allowed():
    """Bytes that the model converts; one pixel; one image; images that lead to autograd; a second input."""
    model = network()
    pixels = (IMAGES * 255).to(torch.uint8)
    converted = mwp(record(lambda images: model(images.float() / 255), pixels), SIGNALS, layer=1)
    torch.testing.assert_close(converted, mwp(record(model, pixels.float() / 255), SIGNALS, layer=0))
    one = mwp(record(model, IMAGES[:, :, :1, :1]), SIGNALS, layer=0)
    assert one.shape == (2, 2, 1, 1)
    assert one.max() <= 1 + 1e-6
    with refused(facts("stride 16", "expected one of 1$")):
        contrastive_mwp(record(model, IMAGES[:, :, :1, :1]), SIGNALS)
    given = IMAGES.clone().requires_grad_()
    assert_rounded(mwp(record(model, given), SIGNALS, layer=0), mwp(record(model, IMAGES), SIGNALS, layer=0))
    assert given.grad is None
    scale = torch.tensor(np.float32(2.0))
    assert (
        mwp(record(lambda images, by: model(images * 2) + 0 * by, IMAGES, scale), SIGNALS, layer="1").isfinite().all()
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs two devices")
def test_images_on_another_device():
    with pytest.raises(RuntimeError, match="device"):
        record(network(), IMAGES.cuda())


def test_a_record_prints_in_a_few_lines(tape):
    for text in (repr(tape), str(tape), repr(tape.operations[0]), repr(tape.output)):
        assert len(text) < 2000


def test_a_model_that_returns_its_scores_and_more():
    model = network()

    def with_features(images):
        features = model[:-1](images)
        return model[-1](features), features, images.mean()

    tape = record(with_features, IMAGES)
    assert len(tape.outputs) == 3
    assert tape.scores is tape.outputs[0]
    assert_rounded(tape.outputs[1], model[:-1](IMAGES))
    alone = record(model, IMAGES)
    assert tape.output.shape == alone.output.shape
    assert_rounded(mwp(tape, SIGNALS), mwp(alone, SIGNALS))
