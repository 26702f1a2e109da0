"""A layer has one name, whatever its network is wrapped in, and the end of the name will do."""

import functools
from collections import OrderedDict

import pytest
import torch
from torch import nn

from grounding.attention import mwp, record
from grounding.errors import GroundingError
from helpers.errors import facts
from helpers.rounding import assert_rounded

IMAGES = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
SIGNALS = torch.eye(4)[:2]


class Block(nn.Module):
    """Two convolutions."""

    def __init__(self, channels):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(channels, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 1, 1)

    def forward(self, x):
        return self.conv2(self.conv1(x).relu()).relu()


class Network(nn.Module):
    """A backbone and a head; two layers have the end `conv1`."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.layer1, self.backbone.layer2 = Block(3), Block(4)
        self.fc = nn.Linear(4, 4)

    def forward(self, x, scale=1.0):
        return self.head(self.features(x)) * scale

    def features(self, x):
        return self.backbone.layer2(self.backbone.layer1(x))

    def head(self, x):
        return self.fc(x.mean((2, 3)))


class Wrap(nn.Module):
    """The network under any name, maybe beside other modules."""

    def __init__(self, name="model", inner=None, **others):
        super().__init__()
        self.name = name
        self.add_module(name, MODEL if inner is None else inner)
        for other, module in others.items():
            self.add_module(other, module)

    def forward(self, x):
        return self.get_submodule(self.name)((x - 0.1) / 0.5 + 0.2)


class Holder:
    """No module, but it has one."""

    def __init__(self, network):
        self.network = network

    def __call__(self, x):
        return self.network(x)

    def scores(self, x):
        return self.network.head(self.network.features(x))


torch.manual_seed(0)
MODEL = Network().eval()
COMPILED = torch.compile(MODEL, backend="eager")


def returning_a_dict(x):
    return {"logits": MODEL(x)}


def with_a_default(x, model=MODEL):
    return model.head(model.features(x))


def closing_over(model):
    return lambda x: model.head(model.features(x))


WRAPPED = {
    "itself": MODEL,
    "function": lambda x: MODEL(x),
    "function of a global": returning_a_dict,
    "function of its parts": lambda x: MODEL.head(MODEL.features(x)),
    "default": with_a_default,
    "closure": closing_over(MODEL),
    "module": Wrap().eval(),
    "data parallel": Wrap("module").eval(),
    "module in a module": Wrap("module", Wrap()).eval(),
    "compiled": COMPILED,
    "compiled in a module": Wrap(inner=COMPILED).eval(),
    "sequence": nn.Sequential(MODEL).eval(),
    "partial": functools.partial(MODEL, scale=2.0),
    "partial of a function": functools.partial(lambda x, y: MODEL(x), y=1),
    "forward": MODEL.forward,
    "partial of forward": functools.partial(MODEL.forward, scale=2.0),
    "object": Holder(MODEL),
    "method": Holder(MODEL).scores,
}


def recorded(model):
    return record(model, IMAGES, output="logits" if model is returning_a_dict else None)


@pytest.mark.parametrize("name", WRAPPED)
def test_a_name_does_not_depend_on_the_wrapper(name):
    tape = recorded(WRAPPED[name])
    plain = record(MODEL, IMAGES)
    modules = [row.name for row in tape.layers() if isinstance(row.name, str)]
    assert modules == [row.name for row in plain.layers() if isinstance(row.name, str)]
    assert "backbone.layer1.conv1" in modules
    for layer in ("backbone.layer1", "layer2", "layer1.conv1"):
        found = mwp(tape, SIGNALS, layer=layer)
        assert found.shape == (1, 2, *((4, 4) if layer == "layer2" else (8, 8)))
        if "module" not in name and name != "data parallel":  # these shift the image
            assert_rounded(found, mwp(plain, SIGNALS, layer=layer))


ENDS = {
    "an end": ("layer2", "backbone.layer2"),
    "a longer end": ("backbone.layer2", "backbone.layer2"),
    "an end of an end": ("layer2.conv2", "backbone.layer2.conv2"),
    "as the wrapper has it": ("model.backbone.layer2", "backbone.layer2"),
}


@pytest.mark.parametrize("name", ENDS)
def test_the_end_of_a_name(name):
    end, whole = ENDS[name]
    tape = record(Wrap().eval(), IMAGES)
    assert_rounded(mwp(tape, SIGNALS, layer=end), mwp(tape, SIGNALS, layer=whole))


def test_beside_other_modules_a_network_keeps_its_name_and_the_end_will_do():
    tape = record(Wrap(other=nn.Linear(2, 2)).eval(), IMAGES)
    assert "model.backbone.layer1.conv1" in [row.name for row in tape.layers()]
    assert_rounded(mwp(tape, SIGNALS, layer="layer2"), mwp(tape, SIGNALS, layer="model.backbone.layer2"))
    compiled = Wrap(inner=COMPILED, other=nn.Linear(2, 2)).eval()
    names = [row.name for row in record(compiled, IMAGES).layers()]
    assert "model.backbone.layer1.conv1" in names
    tape = record(compiled, IMAGES)
    assert_rounded(mwp(tape, SIGNALS, layer="model._orig_mod.fc", channels=True), SIGNALS[None])


def test_a_name_inside_comes_before_that_of_the_wrapped():
    tape = record(Wrap("backbone").eval(), IMAGES)
    assert_rounded(mwp(tape, SIGNALS, layer="backbone"), mwp(tape, SIGNALS, layer="backbone.layer2"))


def test_an_end_of_several_names():
    with pytest.raises(
        GroundingError,
        match=facts("'conv1' is the end of several", "one of backbone.layer1.conv1, backbone.layer2.conv1$"),
    ):
        mwp(record(MODEL, IMAGES), SIGNALS, layer="conv1")


def test_of_nested_names_the_outermost_is_meant():
    inner = nn.ModuleDict({"layer": nn.Conv2d(3, 4, 3)})
    inner.forward = lambda x: inner["layer"](x).relu()
    outer = nn.ModuleDict({"layer": inner})
    outer.forward = lambda x: outer["layer"](x) * 1.0
    model = nn.ModuleDict({"a": outer, "fc": nn.Linear(4, 4)})
    model.forward = lambda x: model["fc"](model["a"](x).mean((2, 3)))
    tape = record(model, IMAGES)
    assert_rounded(mwp(tape, SIGNALS, layer="layer"), mwp(tape, SIGNALS, layer="a.layer"))
    assert "a.layer" in [row.name for row in tape.layers()]


def test_of_several_names_the_one_that_computed_something_is_meant():
    """As in a network of two towers, of which one saw no image."""
    towers = nn.ModuleDict({"text": Network(), "vision": MODEL})
    tape = record(lambda images: towers["vision"](images), IMAGES)
    assert_rounded(mwp(tape, SIGNALS, layer="layer2"), mwp(record(MODEL, IMAGES), SIGNALS, layer="layer2"))
    assert "vision.backbone.layer1" in [row.name for row in tape.layers()]
    idle = record(lambda images: towers["vision"].fc(images.mean((2, 3)) @ torch.ones(3, 4)), IMAGES)
    with pytest.raises(GroundingError, match=facts("end of several names", "text.backbone", "vision.backbone")):
        mwp(idle, SIGNALS, layer="layer2")


def test_many_names_with_one_end_are_cut_short():
    blocks = (nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 3, 1))) for _ in range(7))
    model = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(768, 4)).eval()
    with pytest.raises(GroundingError, match=facts("0.conv, 1.conv, 2.conv, 3.conv, 4.conv and 2 more$")):
        mwp(record(model, IMAGES), SIGNALS, layer="conv")


def test_no_such_end():
    tape = record(MODEL, IMAGES)
    for name in ("ayer2", "zzz", "layer1.conv3"):
        with pytest.raises(GroundingError, match=f"the network has no layer '{name}'"):
            mwp(tape, SIGNALS, layer=name)


def test_two_networks_with_the_same_names():
    """Of each the names are known, but for those that both have."""
    body = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU())
    head = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Flatten(2))
    tape = record(lambda x: head(body(x)).mean(2), IMAGES)
    with pytest.raises(GroundingError, match="'0' is the name of two modules"):
        mwp(tape, SIGNALS, layer="0")


def test_a_variable_that_has_no_value_yet():
    def outer():
        def model(x):
            return MODEL(x) if x is not None else later

        tape = record(model, IMAGES)
        later = None
        return tape, later

    assert "backbone.layer1" in outer()[0].modules
