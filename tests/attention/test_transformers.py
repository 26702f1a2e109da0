"""Attention, fused or written out, against the definition of Excitation Backprop on dense matrices, in float64."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from grounding.attention import contrastive_mwp, mwp, record
from grounding.attention.decompositions import FUSED
from helpers.oracles import IMAGES, TAGS, check, dense, excite, normal, positive, units

aten = torch.ops.aten
HEADS, WIDTH = 2, 6
EACH = WIDTH // HEADS
SCALING = 1 / math.sqrt(EACH)
TOKENS = 5


def heads(x):
    """(N, L, WIDTH) -> (N, HEADS, L, EACH)."""
    return x.unflatten(-1, (HEADS, EACH)).transpose(1, 2)


def joined(x):
    """(N, HEADS, L, EACH) -> (N, L, WIDTH)."""
    return x.transpose(1, 2).flatten(2)


def query(x):
    return functional.linear(x, normal(WIDTH, WIDTH, seed=11), normal(WIDTH, seed=12))


def key(x):
    return functional.linear(x, normal(WIDTH, WIDTH, seed=13), normal(WIDTH, seed=14))


def weights(x, mask=0.0, scale=SCALING):
    """The definition: (N, HEADS, L, L) attention weights of tokens among themselves."""
    q, k = heads(query(x)), heads(key(x))
    scores = torch.empty(len(x), HEADS, x.shape[1], x.shape[1], dtype=x.dtype)
    for n in range(len(x)):
        for h in range(HEADS):
            for i in range(x.shape[1]):
                for j in range(x.shape[1]):
                    scores[n, h, i, j] = (q[n, h, i] * k[n, h, j]).sum() * scale
    scores = scores + mask
    found = (scores - scores.amax(-1, keepdim=True)).exp()
    return found / found.sum(-1, keepdim=True)


def mixing(attention):
    """(HEADS, L, S) attention weights as a matrix from (S, WIDTH) values to (L, WIDTH)."""
    found = torch.zeros(attention.shape[1], WIDTH, attention.shape[2], WIDTH, dtype=attention.dtype)
    for h in range(HEADS):
        for e in range(EACH):
            found[:, h * EACH + e, :, h * EACH + e] = attention[h]
    return found.flatten(2).flatten(0, 1)


CAUSAL = torch.full((TOKENS, TOKENS), -math.inf, dtype=torch.float64).triu(1)
NEAR = (torch.arange(TOKENS)[:, None] - torch.arange(TOKENS)).abs() < 2
FAR = torch.zeros(TOKENS, TOKENS, dtype=torch.float64).masked_fill(~NEAR, -math.inf)
BIAS = normal(HEADS, TOKENS, TOKENS, seed=15)


def written(x, mask=0.0):
    scores = heads(query(x)) @ heads(key(x)).transpose(-2, -1) / math.sqrt(EACH)
    return (scores + mask).softmax(-1)


def fused(**options):
    return lambda x: joined(
        functional.scaled_dot_product_attention(heads(query(x)), heads(key(x)), heads(x), **options)
    )


def shared_values(x):
    """One head of keys and values for both of queries."""
    k, v = heads(key(x))[:, :1], heads(x)[:, :1]
    return joined(functional.scaled_dot_product_attention(heads(query(x)), k, v, enable_gqa=True))


ATTENTION = {  # a function of tokens that are the values too, and its attention weights
    "written out": (lambda x: joined(written(x) @ heads(x)), weights),
    "gate on the right": (lambda x: (heads(x).mT @ written(x).mT).permute(0, 3, 1, 2).flatten(2), weights),
    "by einsum": (lambda x: joined(torch.einsum("nhij,nhjd->nhid", written(x), heads(x))), weights),
    "dropout and cast": (
        lambda x: joined(functional.dropout(written(x), 0.5, training=False).clone().to(x.dtype) @ heads(x)),
        weights,
    ),
    "in windows": (
        lambda x: joined((written(x).unsqueeze(0).expand(1, -1, -1, -1, -1) @ heads(x).unsqueeze(0)).squeeze(0)),
        weights,
    ),
    "fused": (fused(), weights),
    "fused, scaled": (fused(scale=0.3), lambda x: weights(x, scale=0.3)),
    "fused, causal": (fused(is_causal=True), lambda x: weights(x, CAUSAL)),
    "fused, masked": (fused(attn_mask=NEAR), lambda x: weights(x, FAR)),
    "fused, biased": (fused(attn_mask=BIAS), lambda x: weights(x, BIAS)),
    "biased": (lambda x: joined(written(x, BIAS) @ heads(x)), lambda x: weights(x, BIAS)),
    "shifted windows": (
        lambda x: joined(written(x, x.new_zeros(TOKENS, TOKENS).masked_fill(~NEAR, -math.inf)) @ heads(x)),
        lambda x: weights(x, FAR),
    ),
}


@pytest.mark.parametrize("lowest", [0.05, -0.5])
@pytest.mark.parametrize("name", ATTENTION)
def test_values_carry_the_signal_and_attention_weights_are_constant(name, lowest):
    function, attention = ATTENTION[name]
    check(function, (TOKENS, WIDTH), lambda image: mixing(attention(image[None])[0]), lowest=lowest)


def test_heads_that_share_their_values():
    def matrix(image):
        q, k = heads(query(image[None]))[0], heads(key(image[None]))[0, 0]
        attention = (q @ k.t() / math.sqrt(EACH)).softmax(-1)  # (HEADS, L, L)
        found = torch.zeros(TOKENS, HEADS, EACH, TOKENS, WIDTH, dtype=torch.float64)
        for e in range(EACH):
            found[:, :, e, :, e] = attention.transpose(0, 1)
        return found.flatten(3).flatten(0, 2)

    check(shared_values, (TOKENS, WIDTH), matrix)


TALK = torch.tensor([[1.2, -0.5], [-0.7, 1.5]], dtype=torch.float64)
MIXED = {
    "convolution": lambda x: functional.conv2d(written(x), TALK[:, :, None, None]),
    "linear layer": lambda x: functional.linear(written(x).permute(0, 2, 3, 1).contiguous(), TALK).permute(0, 3, 1, 2),
}


@pytest.mark.parametrize("name", MIXED)
def test_attention_weights_mixed_by_a_layer_stay_constant(name):
    """Talking heads, arXiv 2003.02436: of the mixed weights, the positive part counts."""
    mixed = MIXED[name]
    assert mixed(positive(1, TOKENS, WIDTH)).min() < 0
    check(lambda x: joined(mixed(x) @ heads(x)), (TOKENS, WIDTH), lambda image: mixing(mixed(image[None])[0]))


def test_cross_attention_of_a_constant_query_pools_the_values():
    probe = normal(1, 1, WIDTH, seed=22)

    def pooled(x):
        q = heads(probe.expand(len(x), -1, -1))
        return joined(functional.scaled_dot_product_attention(q, heads(key(x)), heads(x)))

    def matrix(image):
        attention = (heads(probe)[0] @ heads(key(image[None]))[0].mT / math.sqrt(EACH)).softmax(-1)
        return mixing(attention)

    check(pooled, (TOKENS, WIDTH), matrix)


# --- fused operations compute what PyTorch computes -------------------------------------------------------------------


def layer(**options):
    torch.manual_seed(3)
    return nn.TransformerEncoderLayer(WIDTH, HEADS, 7, batch_first=True, dtype=torch.float64, **options).eval()


def multi_head(**options):
    torch.manual_seed(4)
    module = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True, dtype=torch.float64).eval()
    nn.init.normal_(module.in_proj_bias)
    nn.init.normal_(module.out_proj.bias)
    return lambda x: module(x, x, x, **options)


PADDED = torch.tensor([[False] * 4 + [True], [False] * 5])
MODULES = {
    "multi-head attention": lambda x: multi_head(need_weights=False)(x)[0],
    "and its weights": lambda x: torch.cat([part.flatten(1) for part in multi_head()(x)], 1),
    "and its weights by head": lambda x: multi_head(average_attn_weights=False)(x)[1],
    "masked": lambda x: multi_head(need_weights=False, attn_mask=~NEAR)(x)[0],
    "masked by head": lambda x: multi_head(need_weights=False, attn_mask=(~NEAR).repeat(len(x) * HEADS, 1, 1))(x)[0],
    "padded": lambda x: multi_head(need_weights=False, key_padding_mask=PADDED)(x)[0],
    "padded and masked": lambda x: multi_head(need_weights=False, key_padding_mask=PADDED, attn_mask=~NEAR)(x)[0],
    "encoder layer": layer(),
    "encoder layer, norm first, GELU": layer(norm_first=True, activation="gelu"),
    "encoder layer, masked": lambda x: layer()(x, src_mask=~NEAR),
    "encoder": nn.TransformerEncoder(layer(), 2, enable_nested_tensor=False).eval(),
    "dot products": fused(),
    "dot products, masked": fused(attn_mask=NEAR),
    "dot products, causal": fused(is_causal=True),
    "shared values": shared_values,
    "values shared by pairs": lambda x: functional.scaled_dot_product_attention(
        query(x).unflatten(-1, (WIDTH, 1)).transpose(1, 2),
        key(x)[..., :3].unflatten(-1, (3, 1)).transpose(1, 2),
        x[..., :3].unflatten(-1, (3, 1)).transpose(1, 2),
        enable_gqa=True,
    ),
}


@pytest.mark.parametrize("name", MODULES)
def test_recorded_scores_are_the_models_own(name):
    x = normal(IMAGES, TOKENS, WIDTH, seed=30)
    with torch.no_grad():
        expected = MODULES[name](x)
    tape = record(MODULES[name], x)
    torch.testing.assert_close(tape.scores, expected, rtol=1e-9, atol=1e-12)
    recorded = {operation.overload for operation in tape.operations}
    assert recorded.isdisjoint(FUSED)
    assert recorded & {aten._softmax.default, aten._safe_softmax.default}


@pytest.mark.parametrize(("mask", "kind"), [(~NEAR, 0), (PADDED, 1), ((~NEAR).expand(IMAGES, HEADS, -1, -1), 2)])
def test_true_in_a_mask_leaves_a_key_out(mask, kind):
    """Of PyTorch's own operation; `nn.MultiheadAttention` gives it numbers instead."""
    x = normal(IMAGES, TOKENS, WIDTH, seed=31)
    weight, bias = normal(3 * WIDTH, WIDTH, seed=32), normal(3 * WIDTH, seed=33)
    out, out_bias = normal(WIDTH, WIDTH, seed=34), normal(WIDTH, seed=35)
    overload = aten._native_multi_head_attention.default
    given = (x, x, x, WIDTH, HEADS, weight, bias, out, out_bias, mask, True, False, kind)
    for found, expected in zip(FUSED[overload](*given), overload(*given), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


ON_GPU = {
    "flash": (aten._scaled_dot_product_flash_attention.default, lambda bias: (), True),
    "efficient": (aten._scaled_dot_product_efficient_attention.default, lambda bias: (bias, True), False),
    "cudnn": (aten._scaled_dot_product_cudnn_attention.default, lambda bias: (bias, True), False),
}


@pytest.mark.parametrize("name", ON_GPU)
def test_what_a_gpu_fuses_computes_attention(name):
    """Without a GPU: our definition against PyTorch's on the processor, and as many results as the schema has."""
    overload, extra, causal = ON_GPU[name]
    q, k, v = (heads(normal(IMAGES, TOKENS, WIDTH, seed=seed)) for seed in (1, 2, 3))
    bias = None if causal else BIAS
    found = FUSED[overload](q, k, v, *extra(bias), 0.0, causal, scale=0.4)
    expected = functional.scaled_dot_product_attention(q, k, v, bias, is_causal=causal, scale=0.4)
    torch.testing.assert_close(found[0], expected, rtol=1e-9, atol=1e-12)
    assert found[1].shape == q.shape[:3]
    assert len(found) == len(overload._schema.returns)


def test_attention_with_dropout_is_an_error():
    overload = aten._scaled_dot_product_flash_attention_for_cpu.default
    with pytest.raises(ValueError, match=r"attention has dropout 0\.1: call model\.eval"):
        FUSED[overload](*heads(normal(3, TOKENS, WIDTH)).unsqueeze(1), dropout_p=0.1)


# --- a vision transformer, matrix by matrix ---------------------------------------------------------------------------

PATCH = normal(WIDTH, 3, 2, 2, seed=40)
CLASS, PLACES = normal(1, 1, WIDTH, seed=41), normal(1, TOKENS, WIDTH, seed=42)
SCALE = torch.tensor([0.7, -0.4, 1.1, 0.5, -0.9, 0.3], dtype=torch.float64)
MLP = 7


def norm(x, seed):
    return functional.layer_norm(x, (WIDTH,), normal(WIDTH, seed=seed), normal(WIDTH, seed=seed + 1))


def embed(image):
    return functional.conv2d(image, PATCH, stride=2).flatten(2).transpose(1, 2)


def value(x):
    return functional.linear(x, normal(WIDTH, WIDTH, seed=43), normal(WIDTH, seed=44))


def project(x):
    return functional.linear(x, normal(WIDTH, WIDTH, seed=45), normal(WIDTH, seed=46)) * SCALE


def widen(x):
    return functional.linear(x, normal(MLP, WIDTH, seed=47), normal(MLP, seed=48))


def narrow(x):
    return functional.linear(x, normal(WIDTH, MLP, seed=49), normal(WIDTH, seed=50)) * SCALE


def written_attention(x):
    scores = heads(query(x)) @ heads(key(x)).mT / math.sqrt(EACH)
    return joined(scores.softmax(-1) @ heads(value(x)))


def fused_attention(x):
    return joined(functional.scaled_dot_product_attention(heads(query(x)), heads(key(x)), heads(value(x))))


def packed_attention(x):
    """One linear layer for queries, keys and values, taken apart."""
    q, k, v = torch.stack([heads(query(x)), heads(key(x)), heads(value(x))]).unbind(0)
    return joined(functional.scaled_dot_product_attention(q, k, v))


def transformer(attend):
    def model(image):
        x = torch.cat([CLASS.expand(len(image), -1, -1), embed(image)], 1) + PLACES
        x = x + project(attend(norm(x, 51)))
        x = x + narrow(functional.gelu(widen(norm(x, 53))))
        return functional.linear(norm(x, 55)[:, 0], normal(TAGS, WIDTH, seed=57))

    return model


def share(p, part, total):
    """What a sum of two gives to one of them: in proportion, but all to the one of the sum's sign where they differ."""
    ratio = part / total
    return p * torch.where(total == 0, 0, ratio.clamp(0, 1))


@pytest.mark.parametrize("attend", [written_attention, fused_attention, packed_attention])
def test_vision_transformer_matrix_by_matrix(attend):
    image, signal = normal(1, 3, 4, 4, seed=58), positive(TAGS)
    tokens = torch.cat([CLASS, embed(image)], 1) + PLACES
    normed = norm(tokens, 51)
    values = value(normed)
    attention = weights(normed)[0]
    mixed = (mixing(attention) @ values.flatten()).reshape(1, TOKENS, WIDTH)
    first = project(mixed)
    middle = tokens + first
    normed_middle = norm(middle, 53)
    hidden = functional.gelu(widen(normed_middle))
    second = narrow(hidden)
    last = middle + second
    top = norm(last, 55)

    p = torch.zeros(TOKENS, WIDTH, dtype=torch.float64)
    p[0] = excite(normal(TAGS, WIDTH, seed=57), top[0, 0], signal)
    p = p.flatten()
    down = share(p, second.flatten(), last.flatten())
    down = excite(dense(narrow, (TOKENS, MLP)), hidden.flatten(), down)
    down = excite(dense(widen, (TOKENS, WIDTH)), normed_middle.flatten(), down)
    p = share(p, middle.flatten(), last.flatten()) + down
    down = share(p, first.flatten(), middle.flatten())
    down = excite(dense(project, (TOKENS, WIDTH)), mixed.flatten(), down)
    down = excite(mixing(attention), values.flatten(), down)
    down = excite(dense(value, (TOKENS, WIDTH)), normed.flatten(), down)
    p = (share(p, tokens.flatten(), middle.flatten()) + down).reshape(TOKENS, WIDTH)[1:]
    expected = excite(dense(embed, (3, 4, 4)), image.flatten(), p.flatten())

    found = units(record(transformer(attend), image), signal[None])
    torch.testing.assert_close(found.flatten(), expected, rtol=1e-9, atol=1e-10)
    assert found.sum() > 0.03


def test_walks_are_linear_and_phrases_independent():
    images = positive(IMAGES, 3, 4, 4, seed=59)
    tape = record(transformer(fused_attention), images)
    signals = normal(3, TAGS, seed=60)
    together = contrastive_mwp(tape, signals, layer=0)
    apart = torch.cat([contrastive_mwp(tape, signal[None], layer=0) for signal in signals], 1)
    torch.testing.assert_close(together, apart, rtol=1e-9, atol=1e-12)
    total = contrastive_mwp(tape, signals.sum(0, keepdim=True), layer=0)
    torch.testing.assert_close(total, together.sum(1, keepdim=True), rtol=1e-9, atol=1e-12)


def test_mass_is_conserved_through_attention_of_positive_values():
    """Softmax rows sum to 1 and every Z is above 0: nothing is lost."""
    images = positive(IMAGES, TOKENS, WIDTH, seed=61)
    head = positive(TAGS, TOKENS * WIDTH, seed=62)
    tape = record(lambda x: functional.linear(fused()(x).flatten(1), head), images)
    masses = mwp(tape, positive(3, TAGS, seed=63), channels=True).flatten(2).sum(2)
    torch.testing.assert_close(masses, positive(3, TAGS, seed=63).sum(1).expand(IMAGES, -1), rtol=1e-9, atol=1e-12)


def test_content_is_kept_only_where_the_signal_passes():
    """Queries and keys, the larger part of a transformer's activations, are let go."""
    tape = record(transformer(fused_attention), positive(1, 3, 4, 4))
    scores = [made.inputs for made in tape.operations if made.overload is aten.bmm.default]
    assert [value.tensor is None for value in scores[0]] == [True, True]
    assert [value.tensor is None for value in scores[1]] == [False]
