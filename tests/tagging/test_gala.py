"""Global-and-local attention: its equation, what it leaves as it is, where it can be put, the engine's way through."""

import copy
import itertools
import math
import pickle

import pytest
import timm
import torch
import torchvision
from torch import nn

from grounding.attention import contrastive_mwp, mwp, record
from grounding.errors import GroundingError
from grounding.tagging.classifier import Preprocessing, TagClassifier
from grounding.tagging.gala import (
    GalaSettings,
    GlobalLocalAttention,
    attended,
    capture,
    gala_layers,
    gala_parameters,
    insert_gala,
)
from grounding.tagging.network import PlainFeatures, plain_network, timm_network
from grounding.tagging.sources import load_classifier
from helpers.errors import facts
from helpers.networks import same, signals, soften
from helpers.networks import state as state_of
from helpers.rounding import assert_rounded

KINDS = [(squash, apply_to) for squash in ("tanh", "sigmoid") for apply_to in ("input", "output")]


def learnt(network, scale=1.0):
    """As after some training: alpha and beta are not 0, and differ by channel."""
    generator = torch.Generator().manual_seed(3)
    for layer in gala_layers(network).values():
        for parameter in (layer.alpha, layer.beta):
            parameter.data.copy_(scale * torch.randn(parameter.shape, generator=generator))
    return network


def softened_resnet():
    torch.manual_seed(0)
    return soften(torchvision.models.resnet18(num_classes=12))


def mobilenet():
    torch.manual_seed(0)
    return soften(timm.create_model("mobilenetv3_small_100", num_classes=12))


def plain():
    """A network without a class of its own: convolutions, a pool, and a linear layer."""
    torch.manual_seed(0)
    body = nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(*body, nn.Flatten(), nn.Linear(12, 12)).eval()


NETWORKS = {
    "resnet18": (softened_resnet, ("layer3", "layer4.1")),
    "mobilenetv3": (mobilenet, ("blocks.2", "blocks.4.0")),
    "plain": (plain, ("1", "3")),
}


def linear(values, weight, bias):
    return [
        b + sum(w * value for w, value in zip(row, values, strict=True)) for row, b in zip(weight, bias, strict=True)
    ]


def convolution(planes, weight, bias):
    """Planes, a list of rows each, through an odd kernel with zeros around them."""
    height, width, reach = len(planes[0]), len(planes[0][0]), len(weight[0][0]) // 2

    def at(d, i, j):
        steps = itertools.product(range(len(planes)), range(-reach, reach + 1), range(-reach, reach + 1))
        inside = [(c, di, dj) for c, di, dj in steps if 0 <= i + di < height and 0 <= j + dj < width]
        return bias[d] + sum(weight[d][c][di + reach][dj + reach] * planes[c][i + di][j + dj] for c, di, dj in inside)

    return [[[at(d, i, j) for j in range(width)] for i in range(height)] for d in range(len(weight))]


def rectified(values):
    return [rectified(each) for each in values] if isinstance(values, list) else max(0.0, values)


def loops(x, state, squash):
    """The equation, a number at a time, in Python's float64."""
    parts = {name: value.tolist() for name, value in state.items()}

    def layer(name):
        return parts[f"{name}.weight"], parts[f"{name}.bias"]

    factors = torch.zeros(x.shape, dtype=torch.float64)
    for n, planes in enumerate(x.tolist()):
        means = [sum(map(sum, plane)) / (len(plane) * len(plane[0])) for plane in planes]
        g = linear(rectified(linear(means, *layer("global_branch.0"))), *layer("global_branch.2"))
        narrow = rectified(convolution(planes, *layer("local_branch.0")))
        local = convolution(rectified(convolution(narrow, *layer("local_branch.2"))), *layer("local_branch.4"))[0]
        for c, i, j in itertools.product(*map(range, x.shape[1:])):
            z = parts["alpha"][c] * (g[c] + local[i][j]) + parts["beta"][c] * g[c] * local[i][j]
            factors[n, c, i, j] = 1 + math.tanh(z) if squash == "tanh" else 2 / (1 + math.exp(-z))
    return factors


@pytest.mark.parametrize("squash", ["tanh", "sigmoid"])
@pytest.mark.parametrize(("shape", "reduction"), [((2, 8, 6, 7), 4), ((1, 5, 1, 1), 2), ((1, 3, 2, 9), 3)])
def test_the_equation_in_loops(shape, reduction, squash):
    torch.manual_seed(1)
    layer = learnt(GlobalLocalAttention(shape[1], reduction, squash).double())
    for parameter in layer.parameters():
        parameter.data *= 2  # so that all terms count
    x = torch.randn(shape, dtype=torch.float64)
    with torch.no_grad():
        found = layer(x)
    torch.testing.assert_close(found, loops(x, layer.state_dict(), squash), rtol=1e-12, atol=1e-12)
    assert found.std() > 0.01


def test_the_sizes_of_the_branches():
    """Of 10 channels and r = 4, 10 // 4 = 2 are left within; the local branch sees 5x5 places and makes one channel."""
    layer = GlobalLocalAttention(10)
    assert {name: tuple(value.shape) for name, value in layer.named_parameters() if "bias" not in name} == {
        "alpha": (10,),
        "beta": (10,),
        "global_branch.0.weight": (2, 10),
        "global_branch.2.weight": (10, 2),
        "local_branch.0.weight": (2, 10, 1, 1),
        "local_branch.2.weight": (2, 2, 5, 5),
        "local_branch.4.weight": (1, 2, 1, 1),
    }


@pytest.mark.parametrize("squash", ["tanh", "sigmoid"])
def test_factors_lie_between_0_and_2(squash):
    layer = learnt(GlobalLocalAttention(4, 4, squash), scale=100.0)
    factors = layer(10 * torch.randn(8, 4, 5, 5))
    assert factors.min() >= 0
    assert factors.min() < 0.01
    assert 1.99 < factors.max() <= 2


@pytest.mark.parametrize(
    ("channels", "how", "message"),
    [
        (3, {}, "attention over 3 channels has reduction 4: expected at most 3"),
        (8, {"reduction": 0}, "reduction is 0: expected at least 1"),
        (8, {"reduction": 2.0}, "reduction is 2.0: expected a whole number"),
        (8, {"squash": "relu"}, "squash is 'relu': expected tanh or sigmoid"),
    ],
)
def test_attention_that_cannot_be(channels, how, message):
    with pytest.raises(GroundingError, match=facts(message)):
        GlobalLocalAttention(channels, **how)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("squash", "apply_to"), KINDS)
def test_a_network_keeps_its_output_to_the_last_bit_and_can_learn(name, squash, apply_to):
    make, layers = NETWORKS[name]
    network, images = make(), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = network(images)
    before = set(network.state_dict())
    insert_gala(network, layers, images[:1], squash=squash, apply_to=apply_to)
    with torch.no_grad():
        assert torch.equal(network(images), expected)
    new = set(network.state_dict()) - before
    assert set(network.state_dict()) >= before
    assert len(new) == 2 * 12  # alpha, beta and five layers of weights and bias
    assert all(".gala." in key for key in new)
    network(images)[:, 0].sum().backward()
    for layer in gala_layers(network).values():
        assert layer.alpha.grad.abs().sum() > 0
        assert layer.beta.grad.abs().sum() > 0
    learnt(network)
    assert not torch.allclose(network(images), expected)


def test_the_factors_multiply_what_a_stage_is_given_or_returns():
    x = torch.rand(1, 8, 5, 5)
    for apply_to in ("input", "output"):
        network = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1))
        conv = network[0]
        with torch.no_grad():
            given = conv(x)
            insert_gala(network, ["0"], x, apply_to=apply_to)
            learnt(network)
            if apply_to == "input":
                expected = nn.functional.conv2d(x * conv.gala(x), conv.weight, conv.bias, padding=1)
            else:
                expected = given * conv.gala(given)
            torch.testing.assert_close(network(x), expected)
        assert attended(conv) == apply_to
    assert attended(nn.ReLU()) is None


@pytest.mark.parametrize(
    ("apply_to", "expected"), [("input", ["1.0.0.gala", "2.gala"]), ("output", ["1.1.1.gala", "2.gala"])]
)
def test_of_a_sequential_the_outermost_child_attends(apply_to, expected):
    """It runs its children, so it must not get one."""
    inner = [nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU()) for _ in range(2)]
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(*inner), nn.Conv2d(4, 4, 1))
    images = torch.rand(2, 3, 9, 9)
    before = network(images)
    insert_gala(network, ["1", "2"], images, apply_to=apply_to)
    assert list(gala_layers(network)) == expected
    assert torch.equal(network(images), before)


def test_the_first_and_last_of_a_sequential_that_holds_a_module_twice():
    shared = nn.ReLU()
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(shared, nn.Conv2d(4, 4, 1), shared))
    insert_gala(network, ["1"], torch.rand(1, 3, 9, 9), apply_to="output")
    assert list(gala_layers(network)) == ["1.0.gala"]  # the last is the first
    with capture(network) as attention:
        network(torch.rand(2, 3, 9, 9))
    assert len(attention) == 2  # one module, which runs twice


def assert_same_maps(found, expected):
    """To rounding in float64, beside the largest value of the map."""
    assert expected.abs().max() > 0
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9 * float(expected.abs().max()))


def constant(network):
    """Replace attention by the factors of its next run, in place: hooks that multiply by a recorded tensor."""

    def fix(stage, place):
        hooks = stage._forward_pre_hooks if place == "input" else stage._forward_hooks
        hooks.clear()
        layer, factors = stage.gala, []

        def times(features):
            if not factors:
                factors.append(layer(features).detach())
            return features * factors[0]

        if place == "input":
            stage.register_forward_pre_hook(lambda _, given: (times(given[0]), *given[1:]))
        else:
            stage.register_forward_hook(lambda _, __, output: times(output))

    for stage in list(network.modules()):
        if place := attended(stage):
            fix(stage, place)
    return network


@pytest.mark.parametrize(
    ("name", "squash", "apply_to"),
    [(name, *kind) for name in NETWORKS for kind in (KINDS if name != "resnet18" else [KINDS[0], KINDS[-1]])],
)
def test_the_engine_takes_attention_for_a_constant(name, squash, apply_to):
    make, layers = NETWORKS[name]
    network, images = make().double(), torch.rand(2, 3, 32, 32, dtype=torch.float64)
    before = mwp(record(network, images), signals().double(), layer=0)
    insert_gala(network, layers, images, squash=squash, apply_to=apply_to)
    assert_same_maps(mwp(record(network, images), signals().double(), layer=0), before)  # factors of 1
    learnt(network)
    fixed = constant(copy.deepcopy(network))
    fixed(images)  # records the factors
    weights = signals().double()
    tapes = record(network, images), record(fixed, images)
    torch.testing.assert_close(tapes[0].scores, tapes[1].scores)
    for walk, residual in itertools.product((mwp, contrastive_mwp), ("split", "main")):
        found, expected = (walk(tape, weights, layer=0, residual=residual) for tape in tapes)
        assert_same_maps(found, expected)
    assert_same_maps(*(contrastive_mwp(tape, weights, stride=4) for tape in tapes))
    if name != "plain":
        assert_same_maps(*(mwp(tape, weights, layer=layers[1]) for tape in tapes))
    assert not torch.allclose(before, mwp(tapes[0], weights, layer=0), rtol=1e-3, atol=1e-6)  # attention does count


def test_recording_leaves_attention_as_it_is():
    network, images = plain(), torch.rand(1, 3, 32, 32)
    insert_gala(network, ["1"], images)
    before = state_of(network)
    mwp(record(network, images), signals(), layer=0)
    same(before, state_of(network))


def test_capture_has_the_attention_that_multiplied_with_gradients_and_lets_go():
    network, images = softened_resnet(), torch.rand(2, 3, 64, 64)
    insert_gala(network, ["layer4", "layer2.1"], images[:1])  # named in another order than they run
    learnt(network)
    with capture(network) as attention:
        assert attention == []
        network(images)
        assert [tuple(each.shape) for each in attention] == [(2, 128, 8, 8), (2, 256, 4, 4)]
        network(images)
    assert len(attention) == 4
    network(images)
    assert len(attention) == 4
    assert not any(layer._forward_hooks for layer in gala_layers(network).values())
    attention[0].square().sum().backward()
    layers = gala_layers(network)
    assert layers["layer2.1.gala"].local_branch[2].weight.grad.abs().sum() > 0
    assert layers["layer4.0.gala"].alpha.grad is None
    with pytest.raises(RuntimeError), capture(network):
        network(torch.rand(1, 2, 8, 8))
    assert not any(layer._forward_hooks for layer in layers.values())
    with capture(plain()) as attention:
        pass
    assert attention == []


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
@pytest.mark.parametrize("apply_to", ["input", "output"])
def test_a_copy_has_attention_of_its_own(copied, apply_to):
    network, images = softened_resnet(), torch.rand(2, 3, 32, 32)
    insert_gala(network, ["layer3"], images, apply_to=apply_to)
    with torch.no_grad():
        unmoved = network(images)
        other = copied(learnt(network))
        expected = network(images)
        assert torch.equal(other(images), expected)
        for parameter in gala_parameters(other):
            parameter.zero_()
        assert torch.equal(other(images), unmoved)
        assert torch.equal(network(images), expected)


def test_in_mixed_precision_features_keep_their_type_and_attention_is_float32():
    network, images = plain(), torch.rand(1, 3, 32, 32)
    insert_gala(network, ["2"], images, apply_to="output")
    seen = []
    network[2].register_forward_hook(lambda _, __, output: seen.append(output))
    with torch.autocast("cpu", torch.bfloat16), capture(network) as attention:
        network(images)
    assert (seen[0].dtype, attention[0].dtype) == (torch.bfloat16, torch.float32)


def test_attention_is_made_where_and_as_the_features_are():
    network = plain().double()
    insert_gala(network, ["1"], torch.rand(1, 3, 32, 32, dtype=torch.float64))
    assert {parameter.dtype for parameter in gala_parameters(network)} == {torch.float64}


def test_modes_and_buffers_are_as_before():
    network = softened_resnet().train()
    network.layer2.eval()
    before, ran = state_of(network), []
    watch = network.layer4.register_forward_hook(
        lambda layer, _, __: ran.append((layer.training, torch.is_grad_enabled()))
    )
    insert_gala(network, ["layer3", "layer2.1"], torch.rand(1, 3, 64, 64))
    watch.remove()
    assert ran == [(False, False)]
    after = state_of(network)
    assert {key: after["flags"][key] for key in before["flags"]} == before["flags"]
    assert before["buffers"] == after["buffers"]  # no statistic moved
    assert network.layer3[0].gala.training
    assert not network.layer2[1].gala.training
    hooks = {key: sum(counts) for key, counts in after["hooks"].items() if sum(counts)}
    assert hooks == {"layer2.1": 1, "layer3.0": 1}


def test_a_forward_pass_that_fails_leaves_the_network_as_it_was():
    network = softened_resnet().train()
    before = state_of(network)
    with pytest.raises(RuntimeError):
        insert_gala(network, ["layer3"], torch.rand(1, 7, 64, 64))
    same(before, state_of(network))


class Odd(nn.Module):
    """Modules that a network may have and attention cannot be put into."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.again = nn.Conv2d(8, 8, 1)
        self.relu = nn.ReLU()
        self.wide = nn.Conv2d(8, 16, 1)
        self.listed = nn.ModuleList([nn.ReLU()])
        self.named = nn.ModuleDict({"a": nn.ReLU()})
        self.nothing = nn.Sequential()
        self.same = self.again
        self.unused = nn.Conv2d(8, 8, 1)
        self.by_name = Keyword()
        self.pair = Pair()
        self.last = nn.LayerNorm(16)
        self.whole = nn.Identity()
        self.head = nn.Linear(16, 4)

    def forward(self, images):
        x = self.relu(self.wide(self.relu(self.again(self.conv(images)))))
        x = self.named["a"](self.listed[0](self.nothing(x)))
        self.whole((x * 9).long())
        x, _ = self.pair(self.by_name(features=x))
        return self.head(self.last(x.permute(0, 2, 3, 1)).mean((1, 2)))


class Keyword(nn.Module):
    def forward(self, *, features):
        return features


class Pair(nn.Module):
    def forward(self, x):
        return x, x


@pytest.mark.parametrize(
    ("names", "how", "message"),
    [
        ([], {}, r"gala is for the modules \[\]: expected a list of names, one at least"),
        ("conv", {}, "gala is for the modules 'conv': expected a list of names"),
        (["cnov"], {}, "the network has no module 'cnov': did you mean 'conv'?"),
        (["qqqq"], {}, "the network has no module 'qqqq': expected one such as conv, again"),
        ([""], {}, "the network has no module ''"),
        (["conv", "conv"], {}, "module 'conv' is named twice"),
        (["again", "same"], {}, "the input of 'again' and 'same' is the same place"),
        (["nothing"], {}, "'nothing' is a Sequential"),
        (["listed"], {}, "'listed' is a ModuleList, which others go through"),
        (["named"], {}, "'named' is a ModuleDict, which others go through"),
        (["unused"], {}, "'unused' did not run in the forward pass"),
        (["head"], {}, r"the input of 'head' is a tensor \(2, 16\): expected features \(N, C, h, w\)"),
        (["head"], {"apply_to": "output"}, r"the output of 'head' is a tensor \(2, 4\)"),
        (["whole"], {}, r"the input of 'whole' is a tensor \(2, 16, 7, 7\)"),  # of whole numbers
        (["last"], {"apply_to": "output"}, r"the output of 'last' is a tensor \(2, 7, 7, 16\)"),  # channels last
        (["by_name"], {}, "the input of 'by_name' is a NoneType"),
        (["pair"], {"apply_to": "output"}, "the output of 'pair' is a tuple"),
        (["relu"], {}, "'relu' runs 2 times, on 8 and 16 channels"),
        (["again", "conv"], {}, "gala cannot be put into 'conv': attention over 3 channels has reduction 4"),
        (["conv"], {"apply_to": "both"}, "apply_to is 'both': expected input or output"),
        (["again"], {"squash": "relu"}, "squash is 'relu'"),
        (["again"], {"reduction": 9}, "attention over 8 channels has reduction 9: expected at most 8"),
    ],
)
def test_where_attention_cannot_be_put(names, how, message):
    network = Odd()
    before = state_of(network)
    with pytest.raises(GroundingError, match=message) as caught:
        insert_gala(network, names, torch.rand(2, 3, 9, 9), **how)
    assert "\n" not in str(caught.value)
    same(before, state_of(network))


def test_attention_twice_in_one_place():
    network = softened_resnet()
    insert_gala(network, ["layer3"], torch.rand(1, 3, 32, 32))
    for name in ("layer3", "layer3.0"):
        with pytest.raises(GroundingError, match=f"'{name}' has attention already"):
            insert_gala(network, [name], torch.rand(1, 3, 32, 32))
    insert_gala(network, ["layer4"], torch.rand(1, 3, 32, 32))
    assert list(gala_layers(network)) == ["layer3.0.gala", "layer4.0.gala"]


# --- tag networks -----------------------------------------------------------------------------------------------------


def tag_network(kind, settings):
    torch.manual_seed(0)
    network = plain_network([(8, 2), (12, 2), (16, 2)], 3) if kind == "plain" else timm_network("test_resnet", 3)
    network.insert_gala(settings)
    return learnt(soften(network))


SETTINGS = {
    "plain input": ("plain", GalaSettings(("conv2", "relu3"))),
    "plain output": ("plain", GalaSettings(("relu1", "relu3"), 2, "sigmoid", "output")),
    "timm input": ("timm", GalaSettings(("layer3", "layer4.0"), squash="sigmoid")),
    "timm output": ("timm", GalaSettings(("layer3", "layer2.0"), 8, "tanh", "output")),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_tag_network_keeps_its_attention_when_folded_saved_and_loaded(name, tmp_path):
    network = tag_network(*SETTINGS[name]).bfloat16().float()  # weights are saved so
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = network(images)
        folded = network.folded()
        torch.testing.assert_close(folded(images), expected, rtol=1e-4, atol=1e-4)
    assert folded.gala == network.gala == SETTINGS[name][1]
    assert len(gala_layers(folded)) == 2
    folded = folded.bfloat16().float()
    saved = TagClassifier(folded, ["man", "hat", "dog"], Preprocessing(64, network.mean, network.std), "first")
    saved.save_pretrained(tmp_path)
    loaded = load_classifier(tmp_path)
    assert loaded.network.gala == SETTINGS[name][1]
    assert not any(module.training for module in loaded.network.modules())
    with torch.no_grad():
        assert_rounded(loaded.network(images), folded(images))
    assert loaded.fingerprint() == saved.fingerprint()
    assert list(loaded.network.state_dict()) == list(folded.state_dict())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (GalaSettings(("conv1",), apply_to="output"), "attention on the output of 'conv1' keeps batch normalisation"),
        (GalaSettings(("norm1",)), "attention on the input of 'norm1' keeps batch normalisation"),
        (GalaSettings(("norm1",), apply_to="output"), "name a relu, or the input of a conv"),
        (GalaSettings(("norm9",)), "the network has no module 'norm9': did you mean 'norm"),
        (GalaSettings(("conv1",)), "gala cannot be put into 'conv1': attention over 3 channels"),
    ],
)
def test_attention_that_a_plain_network_cannot_have(settings, message):
    network = plain_network([(8, 2), (12, 2)], 3)
    with pytest.raises(GroundingError, match=message):
        network.insert_gala(settings)
    assert network.gala is None
    assert not gala_layers(network)


def test_a_folded_plain_network_can_have_attention_behind_its_convolutions():
    network = plain_network([(8, 2), (12, 2)], 3, normalised=False)
    network.insert_gala(GalaSettings(("conv1",), apply_to="output"))
    assert list(gala_layers(network.folded())) == ["features.conv1.gala"]


@pytest.mark.parametrize(("name", "apply_to"), [("conv1", "output"), ("norm1", "input"), ("norm2", "output")])
def test_a_backbone_with_attention_in_its_way_is_not_folded(name, apply_to):
    features = PlainFeatures([(8, 2), (12, 2)]).eval()
    insert_gala(features, [name], torch.rand(1, 3, 32, 32), apply_to=apply_to)
    with pytest.raises(GroundingError, match=f"the {apply_to} of '{name}' keeps batch normalisation from being folded"):
        features.fold()


def test_a_tag_network_gets_its_attention_at_once():
    network = plain_network([(8, 2), (12, 2)], 3)
    network.insert_gala(GalaSettings(("relu1",)))
    with pytest.raises(GroundingError, match=facts("attention already", "relu1", "insert all of it at once")):
        network.insert_gala(GalaSettings(("relu2",)))


def test_a_timm_network_of_one_size_gets_attention():
    """The forward pass that finds the channels has the size that the network takes."""
    options = {"img_size": 32, "embed_dim": 24, "depth": 1, "num_heads": 2}
    network = timm_network("vit_tiny_patch16_224", 3, options=options)
    network.insert_gala(GalaSettings(("patch_embed.proj",), apply_to="output"))
    assert list(gala_layers(network.backbone)) == ["patch_embed.proj.gala"]
    with pytest.raises(GroundingError, match=r"the input of 'norm' is a tensor \(1, 5, 24\)"):
        timm_network("vit_tiny_patch16_224", 3, options=options).insert_gala(GalaSettings(("norm",)))


def test_what_a_tag_network_does_not_run_cannot_attend():
    """timm's own forward pass goes on after the features, to `conv_head`."""
    network = timm_network("mobilenetv3_small_100", 3)
    with pytest.raises(GroundingError, match="'conv_head' did not run in the forward pass"):
        network.insert_gala(GalaSettings(("conv_head",)))


def test_frozen_parts_keep_learning_attention():
    network = tag_network("timm", GalaSettings(("layer3",)))
    network.freeze(["layer3", "conv1"])
    network.train()
    network(torch.rand(2, 3, 64, 64)).sum().backward()
    for key, parameter in network.backbone.named_parameters():
        frozen = key.startswith(("layer3.", "conv1.")) and ".gala." not in key
        assert parameter.requires_grad != frozen
        assert (parameter.grad is None) == frozen
    assert not network.backbone.layer3[0].bn1.training
    plain_one = tag_network("plain", GalaSettings(("relu2",)))
    with pytest.raises(GroundingError, match="'relu2' holds no parameter"):
        plain_one.freeze(["relu2"])
