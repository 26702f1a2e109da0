"""Fused operations written out in plain ones, so that the tape holds operations that have rules.

Each function takes the arguments of its ATen operation and computes the same, but for rounding. Random numbers and
dropout have no place here: the dropout of attention is 0 in evaluation mode.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.nn import functional

from grounding.errors import GroundingError

aten = torch.ops.aten


def attention_scores(
    query: Tensor, key: Tensor, mask: Tensor | None = None, causal: bool = False, scale: float | None = None
) -> Tensor:
    """q k^T * scale + mask, (N, H, L, S).

    Args:
        query, key: (N, H, L, E), (N, H, S, E).
        mask: to add, or True where a key takes part; broadcast to (N, H, L, S).
        causal: row i sees the keys up to i.
        scale: 1 / sqrt(E) where None.
    """
    scores = (query * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)) @ key.transpose(-2, -1)
    if causal:
        mask = scores.new_ones(scores.shape[-2:], dtype=torch.bool).tril()
    if mask is None:
        return scores
    return scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask


def dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float, causal: bool, scale: float | None
) -> tuple[Tensor, Tensor]:
    """softmax(q k^T * scale + mask) v, and the logarithm of the sum of exponentials of each row.

    With fewer heads of keys and values than of queries, each serves several.

    Raises:
        GroundingError: attention with dropout.
    """
    if dropout:
        raise GroundingError(f"attention has dropout {dropout:g}: call model.eval() first")
    repeats = query.shape[1] // key.shape[1]
    if repeats > 1:
        key, value = (each.repeat_interleave(repeats, 1) for each in (key, value))
    scores = attention_scores(query, key, mask, causal, scale)
    return scores.softmax(-1) @ value, scores.logsumexp(-1)


def flash_attention_for_cpu(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """On a processor."""
    return dot_product_attention(query, key, value, attn_mask, dropout_p, is_causal, scale)


def flash_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    return_debug_mask: bool = False,
    *,
    scale: float | None = None,
) -> tuple[Tensor | int, ...]:
    """On a GPU; of the results, only the first two are used without gradients."""
    results = dot_product_attention(query, key, value, None, dropout_p, is_causal, scale)
    return _as_flash_attention(*results, query, key)


def efficient_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_bias: Tensor | None,
    compute_log_sumexp: bool,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
) -> tuple[Tensor, ...]:
    """On a GPU, with a mask."""
    output, total = dot_product_attention(query, key, value, attn_bias, dropout_p, is_causal, scale)
    return output, total, query.new_empty(0), query.new_empty(0)


def cudnn_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_bias: Tensor | None,
    compute_log_sumexp: bool,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    return_debug_mask: bool = False,
    *,
    scale: float | None = None,
) -> tuple[Tensor | int, ...]:
    """On a GPU, by cuDNN."""
    results = dot_product_attention(query, key, value, attn_bias, dropout_p, is_causal, scale)
    return _as_flash_attention(*results, query, key)


def _as_flash_attention(output: Tensor, total: Tensor, query: Tensor, key: Tensor) -> tuple[Tensor | int, ...]:
    """With what training alone would read left empty."""
    empty = query.new_empty(0)
    return output, total, empty, empty, query.shape[2], key.shape[2], empty, empty, empty


def multi_head_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim: int,
    heads: int,
    weight: Tensor,
    bias: Tensor,
    out_weight: Tensor,
    out_bias: Tensor,
    mask: Tensor | None = None,
    need_weights: bool = True,
    average: bool = True,
    mask_type: int | None = None,
) -> tuple[Tensor, Tensor | None]:
    """`nn.MultiheadAttention` in evaluation mode: (N, L, embed_dim), and the attention weights.

    Args:
        weight, bias: of queries, keys and values, one above the other: (3 * embed_dim, embed_dim).
        mask: to add, or True where a key takes no part.
        mask_type: the mask is 0 (L, S), 1 of keys (N, S), 2 complete (N, H, L, S).
    """
    parts = zip((query, key, value), weight.chunk(3), bias.chunk(3), strict=True)
    q, k, v = (functional.linear(x, w, b).unflatten(-1, (heads, -1)).transpose(1, 2) for x, w, b in parts)
    if mask is not None:
        mask = mask[:, None, None] if mask_type == 1 else mask
        mask = ~mask if mask.dtype == torch.bool else mask
    weights = attention_scores(q, k, mask).softmax(-1)  # (N, H, L, S)
    attended = functional.linear((weights @ v).transpose(1, 2).flatten(2), out_weight, out_bias)
    if not need_weights:
        return attended, None
    return attended, weights.mean(1) if average else weights


def transformer_encoder_layer(
    x: Tensor,
    embed_dim: int,
    heads: int,
    weight: Tensor,
    bias: Tensor,
    out_weight: Tensor,
    out_bias: Tensor,
    use_gelu: bool,
    norm_first: bool,
    eps: float,
    norm_weight_1: Tensor,
    norm_bias_1: Tensor,
    norm_weight_2: Tensor,
    norm_bias_2: Tensor,
    weight_1: Tensor,
    bias_1: Tensor,
    weight_2: Tensor,
    bias_2: Tensor,
    mask: Tensor | None = None,
    mask_type: int | None = None,
) -> Tensor:
    """`nn.TransformerEncoderLayer` in evaluation mode, (N, L, embed_dim)."""

    def norm_1(x: Tensor) -> Tensor:
        return functional.layer_norm(x, (embed_dim,), norm_weight_1, norm_bias_1, eps)

    def norm_2(x: Tensor) -> Tensor:
        return functional.layer_norm(x, (embed_dim,), norm_weight_2, norm_bias_2, eps)

    def attend(x: Tensor) -> Tensor:
        shared = (embed_dim, heads, weight, bias, out_weight, out_bias, mask, False, False, mask_type)
        return multi_head_attention(x, x, x, *shared)[0]

    def feed_forward(x: Tensor) -> Tensor:
        hidden = functional.linear(x, weight_1, bias_1)
        return functional.linear(functional.gelu(hidden) if use_gelu else functional.relu(hidden), weight_2, bias_2)

    if norm_first:
        x = x + attend(norm_1(x))
        return x + feed_forward(norm_2(x))
    x = norm_1(x + attend(x))
    return norm_2(x + feed_forward(x))


def add_product(x: Tensor, left: Tensor, right: Tensor, *, value: float = 1) -> Tensor:
    """`addcmul`: x + value * left * right."""
    return x + left * right * value if value != 1 else x + left * right


def add_matrix_product(x: Tensor, left: Tensor, right: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """`baddbmm`: beta * x + alpha * left @ right."""
    product = left @ right
    return (x * beta if beta != 1 else x) + (product * alpha if alpha != 1 else product)


def traced_convolution(*args: Any) -> Tensor:
    """`_convolution`, which traced networks call with flags of the backend behind the arguments of `convolution`."""
    output: Tensor = aten.convolution.default(*args[:9])
    return output


FUSED: dict[OpOverload, Callable[..., Any]] = {
    aten._scaled_dot_product_flash_attention_for_cpu.default: flash_attention_for_cpu,
    aten._scaled_dot_product_flash_attention.default: flash_attention,
    aten._scaled_dot_product_efficient_attention.default: efficient_attention,
    aten._scaled_dot_product_cudnn_attention.default: cudnn_attention,
    aten._native_multi_head_attention.default: multi_head_attention,
    aten._transformer_encoder_layer_fwd.default: transformer_encoder_layer,
    aten._convolution.default: traced_convolution,
    aten.addcmul.default: add_product,
    aten.baddbmm.default: add_matrix_product,
}


@functools.cache
def decomposition(operation: OpOverload) -> Callable[..., Any] | None:
    """What computes the same by plainer operations; None for an operation that is plain.

    Within a fused operation PyTorch hands on those unopened that it defines by others, such as `flatten`.
    """
    composite = torch._C._dispatch_has_kernel_for_dispatch_key(operation.name(), "CompositeImplicitAutograd")
    return FUSED.get(operation, operation.decompose if composite else None)
