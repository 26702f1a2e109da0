"""Networks written in odd ways against the dense matrices of what they compute, in float64.

Each is a list of stages, every one an affine map and an activation, written plainly; beside it stands the same function
as people write it. The oracle walks the stages by the definition, with the matrix of each made column by column.
"""

import copy
import functools
import math
import pickle
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional

from grounding.attention import contrastive_mwp, mwp, record
from grounding.attention.graph import Derived
from grounding.attention.linear_sums import _total
from grounding.errors import GroundingError, UnsupportedOperationError
from helpers.oracles import contrastive, dense, excite, normal, positive, units

IMAGES, CHANNELS, TAGS = 2, 6, 4
SIGNALS = torch.cat([torch.eye(TAGS, dtype=torch.float64)[:2], positive(1, TAGS, seed=9)])

K1, K2 = normal(5, 3, 3, 3, seed=1) + 0.1, normal(CHANNELS, 5, 3, 3, seed=2) + 0.1
B1, B2 = positive(5, seed=3), positive(CHANNELS, seed=4)
W, V = normal(TAGS, CHANNELS, seed=5), normal(TAGS, CHANNELS, seed=6)
BIAS = normal(TAGS, seed=7)
GATES = normal(CHANNELS, 2, seed=20)
DOWN, UP = normal(2, CHANNELS, seed=8), normal(TAGS, 2, seed=10)
images = positive(IMAGES, 3, 6, 6, seed=11)


def first(x):
    return functional.conv2d(x, K1, B1)


def second(x):
    return functional.conv2d(x, K2, B2, padding=1)


def pooled(x):
    return x.mean((2, 3))


def same(x):
    return x


BODY = [(first, torch.relu), (second, torch.relu), (pooled, same)]


def body(x):
    return pooled(second(first(x).relu()).relu())


matrix_of = functools.cache(dense)


def forward(stages, x):
    """The input of each stage, and the output of the last."""
    values = [x]
    for affine, activation in stages:
        values.append(activation(affine(values[-1])))
    return values


def expected(stages, head, x, signal, contrast):
    """The units of one image (1, ...) by the definition; `head` is the matrix on the flat features."""
    values = forward(stages, x)
    features = values[-1].flatten()
    p = excite(head, features, signal)
    if contrast:
        p = p - excite(-head, features, signal)
    for (affine, _), value in zip(reversed(stages), reversed(values[:-1]), strict=True):
        p = excite(matrix_of(affine, value.shape[1:]), value.flatten(), p)
    return p


def compare(network, stages, head, x=images, tape=None):
    """MWP and contrastive MWP of every unit of the images; `head` is a matrix, or a function of the features."""
    tape = tape or record(network, x)
    plain, contrasted = units(tape, SIGNALS), contrastive(tape, SIGNALS, layer=0)
    for n in range(len(x)):
        features = forward(stages, x[n : n + 1])[-1]
        matrix = head(features) if callable(head) else head
        for k, signal in enumerate(SIGNALS):
            for found, contrast in ((plain, False), (contrasted, True)):
                right = expected(stages, matrix, x[n : n + 1], signal, contrast)
                torch.testing.assert_close(found[k, n].flatten(), right, rtol=1e-9, atol=1e-12)


class Lora(nn.Module):
    """As peft does it."""

    def __init__(self, scaling=2.0):
        super().__init__()
        self.base = nn.Linear(CHANNELS, TAGS)
        self.lora_A = nn.ModuleDict({"default": nn.Linear(CHANNELS, 2, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(2, TAGS, bias=False)})
        self.lora_dropout = nn.Dropout(0.1)
        self.scaling = scaling
        self.double().eval()
        with torch.no_grad():
            self.base.weight.copy_(W)
            self.lora_A["default"].weight.copy_(DOWN)
            self.lora_B["default"].weight.copy_(UP)

    def forward(self, x):
        result = self.base(x)
        return result + self.lora_B["default"](self.lora_A["default"](self.lora_dropout(x))) * self.scaling


def dora(f):
    """Magnitude and direction apart."""
    merged = W + UP @ DOWN
    return functional.linear(f, merged) * (BIAS.abs() / merged.norm(dim=1))


def per_image_dots(f):
    return torch.stack([torch.stack([torch.dot(row, weight) for weight in W]) for row in f])


def mixture(f):
    gates = torch.softmax(f @ GATES, -1)
    return gates[:, :1] * functional.linear(f, W) + gates[:, 1:] * functional.linear(f, V, BIAS)


def mixture_matrix(f):
    gates = torch.softmax(f @ GATES, -1)[0]
    return gates[0] * W + gates[1] * V


def stacked_mixture(f):
    gates = torch.softmax(f @ GATES, -1)
    return (torch.stack([f @ W.T, f @ V.T], 1) * gates[..., None]).sum(1)


def clip(f):
    image, text = functional.normalize(f, dim=-1), functional.normalize(W, dim=-1)
    return math.exp(1.5) * image @ text.T


def hugging_face_clip(f):
    image = f / f.norm(p=2, dim=-1, keepdim=True)
    text = W / W.norm(p=2, dim=-1, keepdim=True)
    logits_per_text = torch.matmul(text, image.t()) * torch.tensor(1.5, dtype=f.dtype).exp()
    return logits_per_text.t()


def siglip(f):
    image, text = f / f.norm(dim=-1, keepdim=True), W / W.norm(dim=-1, keepdim=True)
    logits_per_text = torch.matmul(text, image.t()) * torch.tensor(2.3, dtype=f.dtype).exp() - 10.0
    return logits_per_text.t()


def grouped(f):
    return torch.einsum("ngc,gtc->ngt", f.view(-1, 2, 3), W.view(2, 2, 6)[..., :3]).flatten(1)


GROUPED = torch.block_diag(*W.view(2, 2, 6)[..., :3])

HEADS = {  # name: (as it is written, the matrix)
    "einsum nc,tc->nt": (lambda f: torch.einsum("nc,tc->nt", f, W), W),
    "einsum tc,nc->nt": (lambda f: torch.einsum("tc,nc->nt", W, f), W),
    "einsum nc,ct->nt": (lambda f: torch.einsum("nc,ct->nt", f, W.T), W),
    "einsum tc,nc->tn": (lambda f: torch.einsum("tc,nc->tn", W, f).T, W),
    "constant on the left": (lambda f: (W @ f.T).T, W),
    "constant on the left, with a bias": (lambda f: torch.addmm(BIAS[:, None], W, f.T).T, W),
    "linear of constants": (lambda f: functional.linear(W, f).T, W),
    "bmm": (lambda f: torch.bmm(f[:, None], W.T.expand(len(f), -1, -1))[:, 0], W),
    "bmm, constant on the left": (lambda f: torch.bmm(W.expand(len(f), -1, -1), f[..., None])[..., 0], W),
    "baddbmm": (lambda f: torch.baddbmm(BIAS[None, None], f[:, None], W.T.repeat(len(f), 1, 1))[:, 0], W),
    "batched matmul": (lambda f: torch.matmul(W, f[..., None])[..., 0], W),
    "grouped einsum": (grouped, GROUPED),
    "product and sum": (lambda f: (f[:, None] * W).sum(-1), W),
    "product and sum, constant first": (lambda f: (W[None] * f.unsqueeze(1)).sum(dim=2) + BIAS, W),
    "product and mean": (lambda f: (f[:, :, None] * W.T).mean(1), W),
    "vecdot": (lambda f: torch.linalg.vecdot(f[:, None], W), W),
    "cosine similarity": (
        lambda f: functional.cosine_similarity(f[:, None], W[None], dim=-1),
        W / W.norm(dim=1, keepdim=True),
    ),
    "inner": (lambda f: torch.inner(f, W), W),
    "tensordot": (lambda f: torch.tensordot(W, f, ([1], [1])).T, W),
    "multi_dot": (lambda f: torch.linalg.multi_dot([f, torch.eye(CHANNELS).double(), W.T]), W),
    "mv": (lambda f: torch.stack([W.mv(row) for row in f]), W),
    "addmv": (lambda f: torch.stack([torch.addmv(BIAS, W, row, alpha=2, beta=0.5) for row in f]), W),
    "dot": (per_image_dots, W),
    "scaled addmm": (lambda f: torch.addmm(BIAS, f, W.T, alpha=-0.5, beta=2), -W),
    "vmap over images": (lambda f: torch.vmap(lambda row: W @ row + BIAS)(f), W),
    "vmap over classes": (lambda f: torch.vmap(lambda weight: f @ weight, out_dims=1)(W), W),
    "vmap over both": (lambda f: torch.vmap(lambda row: torch.vmap(lambda weight: weight.dot(row))(W))(f), W),
    "bilinear": (
        lambda f: functional.bilinear(f, BIAS.expand(len(f), -1), normal(TAGS, CHANNELS, TAGS, seed=12), BIAS),
        torch.einsum("tcd,d->tc", normal(TAGS, CHANNELS, TAGS, seed=12), BIAS),
    ),
    "bilinear, constant first": (
        lambda f: functional.bilinear(BIAS.expand(len(f), -1), f, normal(TAGS, TAGS, CHANNELS, seed=12)),
        torch.einsum("tdc,d->tc", normal(TAGS, TAGS, CHANNELS, seed=12), BIAS),
    ),
    "convolution of one place": (lambda f: functional.conv2d(f[..., None, None], W[..., None, None]).flatten(1), W),
    "transposed convolution of one place": (
        lambda f: functional.conv_transpose2d(f[..., None, None], W.T[..., None, None]).flatten(1),
        W,
    ),
    "negative": (lambda f: -functional.linear(f, W), -W),
    "one less": (lambda f: 1 - functional.linear(f, W, BIAS), -W),
    "a constant less": (lambda f: BIAS - f @ W.T, -W),
    "negative temperature": (lambda f: functional.linear(f, W) / -0.07, -W),
    "signs for each class": (lambda f: functional.linear(f, W) * BIAS, W * BIAS[:, None]),
    "chosen classes": (lambda f: functional.linear(f, torch.cat([V, W]))[:, [4, 5, 6, 7]], W),
    "chosen classes, negative": (lambda f: functional.linear(f, torch.cat([V, W]))[:, [4, 5, 6, 7]] * -2, -W),
    "parts side by side": (lambda f: torch.cat([f @ W[:1].T, f @ W[1:].T], 1), W),
    "a head for each class": (lambda f: torch.stack([f @ weight[:, None] for weight in W], 1)[..., 0], W),
    "LoRA": (Lora(), W + 2 * UP @ DOWN),
    "LoRA, negative scale": (Lora(-0.7), W - 0.7 * UP @ DOWN),
    "two LoRAs": (
        lambda f: f @ W.T + 0.3 * ((f @ DOWN.T) @ UP.T) - (f @ DOWN.flip(0).T) @ UP.T,
        W + 0.3 * UP @ DOWN - UP @ DOWN.flip(0),
    ),
    "DoRA": (dora, (W + UP @ DOWN) * (BIAS.abs() / (W + UP @ DOWN).norm(dim=1))[:, None]),
    "difference of two heads": (lambda f: f @ W.T - functional.linear(f, V, BIAS), W - V),
    "average of two heads": (lambda f: torch.stack([f @ W.T, f @ V.T]).mean(0), (W + V) / 2),
    "weighted sum of two heads": (
        lambda f: (torch.stack([f @ W.T, f @ V.T], 1) * torch.tensor([0.3, -0.7], dtype=f.dtype)[:, None]).sum(1),
        0.3 * W - 0.7 * V,
    ),
    "linear skip connection": (lambda f: f[:, :TAGS] + f @ W.T, W + torch.eye(TAGS, CHANNELS).double()),
    "mixture": (mixture, mixture_matrix),
    "stacked mixture": (stacked_mixture, mixture_matrix),
    "CLIP": (clip, lambda f: W / W.norm(dim=1, keepdim=True)),
    "CLIP of Hugging Face": (hugging_face_clip, W / W.norm(dim=1, keepdim=True)),
    "SigLIP": (siglip, W / W.norm(dim=1, keepdim=True)),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_linear_head_however_it_is_written(name):
    head, matrix = HEADS[name]
    compare(lambda x: head(body(x)), BODY, matrix)


def lora_convolution(x):
    """A narrow convolution, and one of single places back, beside the layer."""
    narrow = functional.conv2d(x, normal(2, 5, 3, 3, seed=21), padding=1)
    return functional.conv2d(x, K2, B2, padding=1) + 0.5 * functional.conv2d(narrow, normal(CHANNELS, 2, 1, 1, seed=22))


def normalised(x, seed):
    mean, variance, scale = normal(CHANNELS, seed=seed), positive(CHANNELS, seed=seed), normal(CHANNELS, seed=seed + 1)
    return functional.batch_norm(x, mean, variance, scale, B2)


def parallel_branches(x):
    """As RepVGG and ACNet are trained: kernels of several shapes, each with its batch normalisation."""
    wide = functional.conv2d(x, K2, padding=1)
    one = functional.conv2d(x, normal(CHANNELS, 5, 1, 1, seed=23))
    flat = functional.conv2d(x, normal(CHANNELS, 5, 1, 3, seed=24), padding=(0, 1))
    return normalised(wide, 25) + normalised(one, 27) + normalised(flat, 29)


def strided_branches(x):
    dilated = functional.conv2d(x, normal(CHANNELS, 5, 3, 3, seed=31), stride=2, dilation=2, padding=2)
    return dilated + functional.conv2d(x, normal(CHANNELS, 5, 1, 1, seed=32) + 0.5, stride=2)


def transposed(x):
    return functional.conv_transpose2d(x, normal(5, CHANNELS, 3, 2, seed=33) + 0.1, B2, (2, 1), (1, 0), (1, 0))


def grouped_transposed(x):
    return functional.conv_transpose2d(x[:, :4], normal(4, CHANNELS // 2, 2, 2, seed=34), groups=2, dilation=2)


def places_last(x):
    return x.permute(0, 2, 3, 1)


TOKENS, WIDTH = 4 * 4, 5
MIX = normal(7, TOKENS, seed=35)
MLP = normal(CHANNELS, WIDTH, seed=36) + 0.2
GROUPS = normal(TOKENS, WIDTH, CHANNELS, seed=37) + 0.2
LOW, HIGH = normal(2, WIDTH, seed=38), normal(CHANNELS, 2, seed=39)


def tokens(x):
    return x.flatten(2).transpose(1, 2)  # (N, 16, 5)


def lora_of_tokens(x):
    return functional.linear(x, MLP, B2) + functional.linear(functional.linear(x, LOW), HIGH) / -4


def negative_lora(x):
    return -torch.add(x @ MLP.T, (x @ LOW.T) @ HIGH.T * B2, alpha=0.5)


BODIES = {  # name: (the second stage as it is written, plainly, what is done to its output)
    "convolution, negative": (lambda x: -second(x), lambda x: functional.conv2d(x, -K2, -B2, padding=1), pooled),
    "one less convolution": (
        lambda x: 1.5 - second(x),
        lambda x: 1.5 - functional.conv2d(x, K2, B2, padding=1),
        pooled,
    ),
    "constant less convolution": (
        lambda x: B1[:1, None] * 9 - second(x),
        lambda x: functional.conv2d(x, -K2, 9 * B1[0] - B2, padding=1),
        pooled,
    ),
    "LoRA of a convolution": (lora_convolution, lora_convolution, pooled),
    "parallel branches": (parallel_branches, parallel_branches, pooled),
    "strided branches": (strided_branches, strided_branches, pooled),
    "transposed convolution": (transposed, transposed, pooled),
    "transposed convolution, negative": (lambda x: 3 * -transposed(x), lambda x: -3 * transposed(x), pooled),
    "grouped transposed convolution": (grouped_transposed, grouped_transposed, pooled),
    "grouped transposed convolution with signs": (
        lambda x: normalised(grouped_transposed(x), 41),
        lambda x: normalised(grouped_transposed(x), 41),
        pooled,
    ),
    "mixing of tokens from the left": (
        lambda x: torch.matmul(MIX, tokens(x)),
        lambda x: torch.einsum("lt,ntc->nlc", MIX, tokens(x)),
        lambda x: x.mean(1).repeat(1, 2)[:, :CHANNELS],
    ),
    "mixing of tokens, negative": (
        lambda x: -torch.matmul(MIX, tokens(x)),
        lambda x: torch.einsum("lt,ntc->nlc", -MIX, tokens(x)),
        lambda x: x.mean(1).repeat(1, 2)[:, :CHANNELS],
    ),
    "linear layer of an expanded tensor": (
        lambda x: functional.linear(tokens(x)[:, :1].expand(-1, 3, -1), MLP, B2),
        lambda x: functional.linear(tokens(x)[:, :1].repeat(1, 3, 1), MLP, B2),
        lambda x: x.mean(1),
    ),
    "a matrix for each token": (
        lambda x: -torch.einsum("ntc,tcd->ntd", tokens(x), -GROUPS),
        lambda x: torch.einsum("ntc,tcd->ntd", tokens(x), GROUPS),
        lambda x: x.mean(1),
    ),
    "a matrix for each token, from the left": (
        lambda x: torch.einsum("tdc,ntc->dtn", GROUPS.mT, tokens(x)).permute(2, 1, 0) * -1,
        lambda x: torch.einsum("ntc,tcd->ntd", tokens(x), -GROUPS),
        lambda x: x.mean(1),
    ),
    "LoRA of tokens": (
        lambda x: lora_of_tokens(tokens(x)),
        lambda x: functional.linear(tokens(x), MLP - HIGH @ LOW / 4, B2),
        lambda x: x.mean(1),
    ),
    "LoRA with a scale for each output, negative": (
        lambda x: negative_lora(tokens(x)),
        lambda x: functional.linear(tokens(x), -(MLP + 0.5 * B2[:, None] * (HIGH @ LOW))),
        lambda x: x.mean(1),
    ),
    "scaled addmm": (
        lambda x: torch.addmm(B2, tokens(x).flatten(0, 1), MLP.T, alpha=-2, beta=3).unflatten(0, (len(x), -1)),
        lambda x: functional.linear(tokens(x), -2 * MLP, 3 * B2),
        lambda x: x.mean(1),
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_linear_layer_however_it_is_written(name):
    odd, plain, above = BODIES[name]
    stages = [(first, torch.relu), (plain, torch.relu), (above, same)]
    torch.testing.assert_close(odd(first(images)), plain(first(images)))
    compare(lambda x: above(odd(first(x).relu()).relu()) @ W.T, stages, W)


class Classifier(nn.Module):
    """Two heads of one body, with tied weights and a LoRA, by tasks."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3)
        self.mix = nn.Conv2d(5, CHANNELS, 3, padding=1)
        self.lora = Lora()
        self.double().eval()
        with torch.no_grad():
            self.conv.weight.copy_(K1)
            self.conv.bias.copy_(B1)
            self.mix.weight.copy_(K2)
            self.mix.bias.copy_(B2)

    def forward(self, x):
        features = self.mix(self.conv(x).relu()).relu().mean((2, 3))
        return {"task": self.lora(features), "other": features @ self.lora.base.weight.t()}


def ensemble(x):
    """Members as one batch, with their parameters stacked."""
    members = torch.vmap(lambda weight, bias: body(x) @ weight.T + bias)(torch.stack([W, V]), torch.stack([BIAS, BIAS]))
    return torch.cat([members[0][:, :2], members[1][:, 2:]], 1)


def test_tasks_of_one_body():
    model = Classifier()
    compare(lambda x: model(x)["task"], BODY, W + 2 * UP @ DOWN)
    compare(lambda x: model(x)["other"], BODY, W)


def test_members_of_an_ensemble():
    compare(ensemble, BODY, torch.cat([W[:2], V[2:]]))


def test_a_network_of_sequences():
    """In one dimension, with a head for each class."""
    kernel, sequences = normal(CHANNELS, 3, 3, seed=50) + 0.2, positive(IMAGES, 3, 9, seed=51)

    def layer(x):
        return functional.conv1d(x, kernel, padding=1)

    stages = [(layer, torch.relu), (lambda x: x.mean(2), same)]
    compare(lambda x: torch.stack([layer(x).relu().mean(2) @ weight for weight in W], -1), stages, W, sequences)


def test_two_features_have_one_head():
    """As DeiT with its distillation token: the matrix of both, side by side."""
    stages = [(first, torch.relu), (lambda x: torch.cat([x[:, :3, 0, 0], x[:, 2:, 1, 3]], 1), same)]
    low, high = normal(TAGS, 3, seed=52), normal(TAGS, 3, seed=53)

    def network(x):
        h = first(x).relu()
        return (functional.linear(h[:, :3, 0, 0], low, BIAS) + h[:, 2:, 1, 3] @ high.T) / 2

    compare(network, stages, torch.cat([low, high], 1) / 2)


def test_what_lies_above_a_head_of_several_operations_stays():
    """Softmax, temperature and places: as above a linear layer."""

    def spread(x):
        return second(first(x).relu()).relu().flatten(2).mT  # (N, 16, C)

    def plain(x):
        return (spread(x) @ W.T).mean(1).softmax(-1)

    def odd(x):
        return (spread(x)[:, :, None] * W).sum(-1).mean(1).softmax(-1)

    for walk in (mwp, contrastive_mwp):
        found, right = (walk(record(network, images), SIGNALS, layer=0) for network in (odd, plain))
        torch.testing.assert_close(found, right, rtol=1e-9, atol=1e-12)


WAYS = [
    "LoRA",
    "bmm",
    "cosine similarity",
    "mixture",
    "average of two heads",
    "vmap over images",
    "CLIP of Hugging Face",
]


@pytest.mark.parametrize("name", WAYS)
def test_traced_exported_and_compiled_networks_agree(name):
    head, matrix = HEADS[name]

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = head if isinstance(head, nn.Module) else None

        def forward(self, x):
            return head(body(x))

    network = Network().eval()
    compare(torch.export.export(network, (images,)).module(), BODY, matrix)
    compare(torch.compile(network, backend="eager"), BODY, matrix)
    if name not in ("vmap over images", "LoRA"):  # a traced factor is a number where a tensor belongs
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecated, yet in use
            traced = torch.jit.trace(network, images, check_trace=False)
        compare(traced, BODY, matrix)


@pytest.mark.parametrize("name", WAYS)
def test_copies_and_pickles(name):
    head, matrix = HEADS[name]
    tape = record(lambda x: head(body(x)), images)
    for again in (copy.deepcopy(tape), pickle.loads(pickle.dumps(tape))):
        compare(None, BODY, matrix, tape=again)


@pytest.mark.parametrize("name", WAYS)
def test_maps_have_gradients(name):
    """Along a random direction of the pixels and of the weights, as by differences."""
    head = HEADS[name][0]
    where = normal(2, IMAGES, len(SIGNALS), 4, 4, seed=60)

    def loss(x, scale, differentiable=False):
        first_layer = nn.Conv2d(3, 5, 3).double()
        first_layer.weight, first_layer.bias = nn.Parameter(K1), nn.Parameter(B1)
        below = nn.Sequential()
        below.add_module("first", first_layer)

        def network(x):
            return head(pooled(second(below(x).relu()).relu()) * scale.exp())

        tape = record(network, x, differentiable=differentiable)
        maps = torch.stack([walk(tape, SIGNALS, layer="first") for walk in (mwp, contrastive_mwp)])
        return (maps * where).sum()

    x = images.clone().requires_grad_()
    scale = torch.zeros(CHANNELS, dtype=torch.float64, requires_grad=True)
    gradients = torch.autograd.grad(loss(x, scale, True), (x, scale))
    for at, gradient in enumerate(gradients):
        direction = normal(*gradient.shape, seed=61)
        moved = []
        for step in (1e-6, -1e-6):
            given = [images, torch.zeros(CHANNELS, dtype=torch.float64)]
            given[at] = given[at] + step * direction
            moved.append(loss(*given))
        by_differences = (moved[0] - moved[1]) / 2e-6
        torch.testing.assert_close((gradient * direction).sum(), by_differences, rtol=1e-5, atol=1e-8)


def test_weights_of_a_lora_have_gradients():
    model = Classifier()
    tape = record(lambda x: model(x)["task"], images, differentiable=True)
    contrastive_mwp(tape, SIGNALS, layer="conv").square().sum().backward()
    assert all(parameter.grad.any() for parameter in model.lora.parameters() if parameter.dim() > 1)


def test_changed_weights_are_noticed():
    model = Classifier()
    tape = record(lambda x: model(x)["task"], images)
    with torch.no_grad():
        model.lora.lora_A["default"].weight.mul_(2)
    with pytest.raises(GroundingError, match="have changed since"):
        mwp(tape, SIGNALS)


def test_the_layer_below_a_merged_head_is_the_last():
    tape = record(lambda x: HEADS["LoRA"][0](body(x)), images)
    assert units(tape, SIGNALS, layer=-1).shape == (3, IMAGES, CHANNELS)
    assert mwp(tape, SIGNALS, layer="", channels=True).shape == (IMAGES, 3, TAGS)


NOT_LINEAR = {  # name: (network, what the error says)
    "image and text": (lambda x: body(x) @ (body(x.flip(2)) + 1).T, "multiplies two activations.*lambda images"),
    "factorised bilinear": (lambda x: (body(x) @ W.T) * (body(x) @ V.T), "product of two activations.*a constant"),
    "sum of two depths": (
        lambda x: (lambda f: f @ W.T + functional.linear(functional.gelu(f @ W.T), W @ V.T))(body(x)),
        "past the classifier",
    ),
}


@pytest.mark.parametrize("name", NOT_LINEAR)
def test_scores_that_are_not_linear_have_no_contrast(name):
    network, says = NOT_LINEAR[name]
    with pytest.raises(GroundingError, match=says) as caught:
        contrastive_mwp(record(network, images), SIGNALS[..., :2] if "text" in name else SIGNALS, layer=0)
    assert "\n" not in str(caught.value)


def test_text_beside_images():
    """As CLIP is called with ids: closing over them is right."""
    table = normal(9, CHANNELS, seed=55)

    def model(x, ids):
        text = functional.embedding(ids, table)
        return torch.matmul(text / text.norm(dim=-1, keepdim=True), (body(x) / body(x).norm(dim=-1, keepdim=True)).T).T

    ids = torch.tensor([1, 4, 2, 7])
    with pytest.raises(UnsupportedOperationError, match=r"record\(lambda images: model\(images, text\), images\)"):
        mwp(record(model, images, ids), SIGNALS)
    compare(lambda x: model(x, ids), BODY, table[ids])


def test_a_difference_of_two_heads_on_two_features():
    """What is subtracted counts, with the other sign."""
    low, high = normal(TAGS, 3, seed=52), normal(TAGS, 3, seed=53)
    stages = [(first, torch.relu), (lambda x: torch.cat([x[:, :3, 0, 0], x[:, 2:, 1, 3]], 1), same)]

    def network(x):
        h = first(x).relu()
        return h[:, :3, 0, 0] @ low.T - functional.linear(h[:, 2:, 1, 3], high, BIAS)

    compare(network, stages, torch.cat([low, -high], 1))


def test_an_average_is_no_classifier():
    """It has no weights to negate: the contrast is that of the layer below."""
    shares = torch.tensor([0.3, 0.7], dtype=torch.float64)
    tape = record(lambda x: ((body(x) @ torch.cat([W, V]).T).unflatten(1, (TAGS, 2)) * shares).sum(-1), images)
    found = contrastive(tape, SIGNALS, layer=-1)  # (K, N, C)
    assert found.abs().sum(2).min() > 0.1
    torch.testing.assert_close(found.sum(2), torch.zeros(3, IMAGES).double(), atol=1e-9, rtol=0)


NOT_MERGED = {  # name: a sum in which something else than linear maps of one activation comes together
    "skip connection": lambda x: x + functional.conv2d(x, normal(5, 5, 3, 3, seed=71), padding=1),
    "chain of two wide convolutions": lambda x: (
        second(x) + functional.conv2d(functional.conv2d(x, normal(5, 5, 3, 3, seed=72), padding=1), K2, padding=1)
    ),
    "dilations": lambda x: functional.conv2d(x, K2, padding=2, dilation=2) + functional.conv2d(x, K2, padding=1),
    "spread out": lambda x: (lambda t: functional.linear(t.expand(-1, 3, -1), MLP) + (t @ MLP.T).expand(-1, 3, -1))(
        tokens(x)[:, :1]
    ),
}


@pytest.mark.parametrize("name", NOT_MERGED)
def test_other_sums_stay_sums(name):
    """No operation has the weights of two."""
    network = NOT_MERGED[name]
    tape = record(lambda x: network(first(x).relu()).relu().flatten(1)[:, :CHANNELS] @ W.T, images)
    assert not any(isinstance(arg, Derived) and arg.function is _total for each in tape.operations for arg in each.args)
    assert units(tape, SIGNALS).isfinite().all()


@pytest.mark.parametrize("written", ["einsum", "left"])
def test_the_main_branch_counts_layers_however_they_are_written(written):
    square = normal(WIDTH, WIDTH, seed=74)

    def network(block):
        above = normal(WIDTH, TAGS, seed=75)
        return lambda x: block(tokens(first(x).relu())).relu().mean(1) @ above

    odd = {
        "einsum": lambda t: t + torch.einsum("ntc,tdc->ntd", t, square.expand(TOKENS, -1, -1) * 1),
        "left": lambda t: t + torch.matmul(square, t.mT).mT,
    }[written]
    found, right = (  # of equals, the first would be the main branch
        units(record(network(block), images), SIGNALS, residual="main")
        for block in (odd, lambda t: functional.linear(t.contiguous(), square) + t)
    )
    torch.testing.assert_close(found, right, rtol=1e-9, atol=1e-12)
