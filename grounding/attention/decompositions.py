"""Fused operations written out in plain ones, so that the tape holds operations that have rules.

Each function takes the arguments of its ATen operation by the names of its schema and computes the same, but for
rounding. Random numbers and dropout have no place here: the dropout of attention is 0 in evaluation mode.
"""

import functools
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.nn import functional

from grounding.errors import GroundingError

aten = torch.ops.aten


def by_name(operation: OpOverload, *args: Any, **kwargs: Any) -> SimpleNamespace:
    """The arguments of a call under the names of the operation's schema, defaults included."""
    defaults = _defaults(operation)
    return SimpleNamespace(**{**defaults, **dict(zip(defaults, args, strict=False)), **kwargs})


@functools.cache
def _defaults(operation: OpOverload) -> dict[str, Any]:
    """The arguments of an operation, in order, each with what it is where it is not given."""
    return {argument.name: argument.default_value for argument in operation._schema.arguments}


def attention_scores(
    query: Tensor, key: Tensor, mask: Tensor | None = None, causal: bool = False, scale: float | None = None
) -> Tensor:
    """q k^T * scale + mask, (N, H, L, S).

    Args:
        query: (N, H, L, E).
        key: (N, H, S, E).
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


def dot_product_attention(operation: OpOverload, *args: Any, **kwargs: Any) -> tuple[Tensor | int, ...]:
    """softmax(q k^T * scale + mask) v by any backend, and the logarithm of the sum of exponentials of each row.

    With fewer heads of keys and values than of queries, each serves several. What only training reads is left empty.

    Raises:
        GroundingError: attention with dropout.
    """
    call = by_name(operation, *args, **kwargs)
    if call.dropout_p:
        raise GroundingError(f"attention has dropout {call.dropout_p:g}: call model.eval() first")
    query, key, value = call.query, call.key, call.value
    repeats = query.shape[1] // key.shape[1]
    if repeats > 1:
        key, value = (each.repeat_interleave(repeats, 1) for each in (key, value))
    mask = vars(call).get("attn_mask", vars(call).get("attn_bias"))
    scores = attention_scores(query, key, mask, call.is_causal, call.scale)  # (N, H, L, S)
    lengths = {"max_q": query.shape[2], "max_k": key.shape[2]}
    unread = (lengths.get(result.name, query.new_empty(0)) for result in operation._schema.returns[2:])
    return scores.softmax(-1) @ value, scores.logsumexp(-1), *unread


def multi_head_attention(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
    """`nn.MultiheadAttention` in evaluation mode: (N, L, embed_dim), and the attention weights.

    The weights of queries, keys and values lie one above the other, (3 * embed_dim, embed_dim). A mask is added, or is
    True where a key takes no part; by `mask_type` it is 0 (L, S), 1 of keys (N, S), 2 complete (N, H, L, S).
    """
    call = by_name(aten._native_multi_head_attention.default, *args, **kwargs)
    parts = zip((call.query, call.key, call.value), call.qkv_weight.chunk(3), call.qkv_bias.chunk(3), strict=True)
    q, k, v = (functional.linear(x, w, b).unflatten(-1, (call.num_head, -1)).transpose(1, 2) for x, w, b in parts)
    mask: Tensor | None = call.mask
    if mask is not None:
        mask = mask[:, None, None] if call.mask_type == 1 else mask
        mask = ~mask if mask.dtype == torch.bool else mask
    weights = attention_scores(q, k, mask).softmax(-1)  # (N, H, L, S)
    attended = functional.linear((weights @ v).transpose(1, 2).flatten(2), call.proj_weight, call.proj_bias)
    if not call.need_weights:
        return attended, None
    return attended, weights.mean(1) if call.average_attn_weights else weights


def transformer_encoder_layer(*args: Any, **kwargs: Any) -> Tensor:
    """`nn.TransformerEncoderLayer` in evaluation mode, (N, L, embed_dim)."""
    call = by_name(aten._transformer_encoder_layer_fwd.default, *args, **kwargs)
    x: Tensor = call.src

    def norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return functional.layer_norm(x, (call.embed_dim,), weight, bias, call.eps)

    def attend(x: Tensor) -> Tensor:
        weights = call.qkv_weight, call.qkv_bias, call.proj_weight, call.proj_bias
        return multi_head_attention(
            x, x, x, call.embed_dim, call.num_heads, *weights, call.mask, False, False, call.mask_type
        )[0]

    def feed_forward(x: Tensor) -> Tensor:
        hidden = functional.linear(x, call.ffn_weight_1, call.ffn_bias_1)
        hidden = functional.gelu(hidden) if call.use_gelu else functional.relu(hidden)
        return functional.linear(hidden, call.ffn_weight_2, call.ffn_bias_2)

    first, second = (call.norm_weight_1, call.norm_bias_1), (call.norm_weight_2, call.norm_bias_2)
    if call.norm_first:
        x = x + attend(norm(x, *first))
        return x + feed_forward(norm(x, *second))
    x = norm(x + attend(x), *first)
    return norm(x + feed_forward(x), *second)


def add_product(x: Tensor, left: Tensor, right: Tensor, *, value: float = 1) -> Tensor:
    """`addcmul`: x + value * left * right."""
    return x + left * right * value if value != 1 else x + left * right


def add_matrix_product(x: Tensor, left: Tensor, right: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """`baddbmm`: beta * x + alpha * left @ right."""
    product = left @ right
    return (x * beta if beta != 1 else x) + (product * alpha if alpha != 1 else product)


def matrix_times_vector(matrix: Tensor, vector: Tensor) -> Tensor:
    """`mv`: (T, C), (C,) -> (T,)."""
    return (matrix @ vector.unsqueeze(1)).squeeze(1)


def add_matrix_times_vector(x: Tensor, matrix: Tensor, vector: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """`addmv`: beta * x + alpha * matrix @ vector."""
    return x * beta + matrix_times_vector(matrix, vector) * alpha


def inner_product(left: Tensor, right: Tensor) -> Tensor:
    """`dot`: (C,), (C,) -> ()."""
    return (left.unsqueeze(0) @ right.unsqueeze(1)).view(())


def triple_product(
    first: Tensor,
    weight: Tensor,
    last: Tensor,
    expand_first: list[int],
    expand_weight: list[int],
    expand_last: list[int],
    summed: list[int],
    unrolled: int = 1,
) -> Tensor:
    """`_trilinear`, of which bilinear layers are made: the product of three, with dimensions added, and summed."""
    for dim in expand_first:
        first = first.unsqueeze(dim)
    for dim in expand_weight:
        weight = weight.unsqueeze(dim)
    for dim in expand_last:
        last = last.unsqueeze(dim)
    return (first * (weight * last)).sum(summed)


def by_number(operation: OpOverload, x: Tensor, number: float, alpha: float = 1) -> Tensor:
    """`mul.Scalar` and the like, which traced networks call: the operation on tensors, with a number."""
    result: Tensor = operation(x, number * alpha)
    return result


def gated_half(x: Tensor, dim: int = -1) -> Tensor:
    """`glu`: the first half along a dimension, times the sigmoid of the second."""
    half, gate = x.chunk(2, dim)
    return half * gate.sigmoid()


def traced_convolution(*args: Any) -> Tensor:
    """`_convolution`, which traced networks call with flags of the backend behind the arguments of `convolution`."""
    output: Tensor = aten.convolution.default(*args[:9])
    return output


_ATTENTION = (
    aten._scaled_dot_product_flash_attention_for_cpu.default,
    aten._scaled_dot_product_flash_attention.default,
    aten._scaled_dot_product_efficient_attention.default,
    aten._scaled_dot_product_cudnn_attention.default,
)
FUSED: dict[OpOverload, Callable[..., Any]] = {
    **{operation: functools.partial(dot_product_attention, operation) for operation in _ATTENTION},
    aten._native_multi_head_attention.default: multi_head_attention,
    aten._transformer_encoder_layer_fwd.default: transformer_encoder_layer,
    aten._convolution.default: traced_convolution,
    aten.addcmul.default: add_product,
    aten.glu.default: gated_half,
    **{each.Scalar: functools.partial(by_number, each.Tensor) for each in (aten.add, aten.sub, aten.mul, aten.div)},
    aten.baddbmm.default: add_matrix_product,
    aten.mv.default: matrix_times_vector,
    aten.addmv.default: add_matrix_times_vector,
    aten.dot.default: inner_product,
    aten._trilinear.default: triple_product,
}


@functools.cache
def decomposition(operation: OpOverload) -> Callable[..., Any] | None:
    """What computes the same by plainer operations; None for an operation that is plain.

    Within a fused operation PyTorch hands on those unopened that it defines by others, such as `flatten`.
    """
    composite = torch._C._dispatch_has_kernel_for_dispatch_key(operation.name(), "CompositeImplicitAutograd")
    return FUSED.get(operation, operation.decompose if composite else None)
