"""Networks written in odd ways against the dense matrices of what they compute, in float64.

Each is a list of stages, every one an affine map and an activation, written plainly; beside it stands the same function
as people write it. The oracle walks the stages by the definition, with the matrix of each made column by column.
"""

import copy
import functools
import math
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional

from grounding.attention import contrastive_mwp, mwp, record
from grounding.errors import GroundingError, UnsupportedOperationError
from helpers.oracles import contrastive, dense, excite, normal, positive, units

IMAGES, CHANNELS, TAGS = 2, 6, 4
SIGNALS = torch.cat([torch.eye(TAGS, dtype=torch.float64)[:2], positive(1, TAGS, seed=9)])

K1, K2 = normal(5, 3, 3, 3, seed=1) + 0.1, normal(CHANNELS, 5, 3, 3, seed=2) + 0.1
B1, B2 = positive(5, seed=3), positive(CHANNELS, seed=4)
W, V = normal(TAGS, CHANNELS, seed=5), normal(TAGS, CHANNELS, seed=6)
BIAS = normal(TAGS, seed=7)
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
    gates = torch.softmax(f @ normal(CHANNELS, 2, seed=20), -1)
    return gates[:, :1] * functional.linear(f, W) + gates[:, 1:] * functional.linear(f, V, BIAS)


def mixture_matrix(f):
    gates = torch.softmax(f @ normal(CHANNELS, 2, seed=20), -1)[0]
    return gates[0] * W + gates[1] * V


def stacked_mixture(f):
    gates = torch.softmax(f @ normal(CHANNELS, 2, seed=20), -1)
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
    "einsum of prompts": (lambda f: torch.einsum("nc,ptc->npt", f, torch.stack([W, V])).mean(1), None),
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
    "two LoRAs": (lambda f: f @ W.T + 0.3 * ((f @ DOWN.T) @ UP.T) - (f @ DOWN.flip(0).T) @ UP.T, None),
    "DoRA": (dora, (W + UP @ DOWN) * (BIAS.abs() / (W + UP @ DOWN).norm(dim=1))[:, None]),
    "difference of two heads": (lambda f: f @ W.T - functional.linear(f, V, BIAS), W - V),
    "average of two heads": (lambda f: torch.stack([f @ W.T, f @ V.T]).mean(0), (W + V) / 2),
    "weighted sum of two heads": (
        lambda f: (torch.stack([f @ W.T, f @ V.T], 1) * torch.tensor([0.3, -0.7]).double()[:, None]).sum(1),
        0.3 * W - 0.7 * V,
    ),
    "linear skip connection": (lambda f: f[:, :TAGS] + f @ W.T, W + torch.eye(TAGS, CHANNELS).double()),
    "mixture": (mixture, mixture_matrix),
    "stacked mixture": (stacked_mixture, mixture_matrix),
    "CLIP": (clip, lambda f: W / W.norm(dim=1, keepdim=True)),
    "CLIP of Hugging Face": (hugging_face_clip, W / W.norm(dim=1, keepdim=True)),
    "SigLIP": (siglip, W / W.norm(dim=1, keepdim=True)),
}
HEADS["two LoRAs"] = (HEADS["two LoRAs"][0], W + 0.3 * UP @ DOWN - UP @ DOWN.flip(0))
del HEADS["einsum of prompts"]


@pytest.mark.parametrize("name", HEADS)
def test_a_linear_head_however_it_is_written(name):
    head, matrix = HEADS[name]
    compare(lambda x: head(body(x)), BODY, matrix)
