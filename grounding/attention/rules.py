"""How winning probability passes down through each operation: the choices, and the rule of every operation.

Excitation Backprop (arXiv 1608.00507, section 3). For a linear operation y = W x with x >= 0 and winning probability
P(y), no bias, and 0 where Z = 0:

    P(x_j) = x_j * sum_i W+_ij P(y_i) / Z_i        Z_i = sum_k W+_ik x_k        W+ = max(W, 0)

A rule gets one operation of the tape and the `Flow` of its first output: P, (K, *output.shape) floating point, under
each of K signals. It returns one flow of (K, *input.shape) for each active input, in the order of `Operation.inputs`.
Every rule is linear in P, so P may be signed, and a walk may carry a difference. The rules are in `weighted` (weights
of the network), `shares` (linear without weights, sums, products) and `routes` (each output is one input element).

Choices:

* Negative inputs excite nothing: in Z and in the product, x counts as max(x, 0). The authors apply the equation as it
  stands, which is the same behind a ReLU. Elsewhere (normalised images, linear bottlenecks, layer normalisation, SiLU)
  positive and negative x nearly cancel in Z, and P would grow at every layer, to noise and to overflow.
* A sum of two activations is the linear rule with W = [1, 1] among the inputs that have the sign of the sum: each gets
  P * x_i / (x_1 + x_2), an input of the other sign gets nothing, and all get nothing where the sum is 0. The authors
  share in proportion whatever the signs, which is the same where no input is negative; elsewhere one share would be
  negative and the other larger than P, without bound where the sum is small.
* Averages, sums over dimensions, nearest and bilinear upsampling and sums of overlapping patches are linear without
  negative weights.
* A difference of two activations gives all to what is subtracted from (W = [1, -1]), as a bias would.
* Batch normalisation is folded into the convolution or linear layer that it alone reads. Only the sign of its scale can
  matter, because its size cancels in P / Z. Elsewhere it passes the signal through. A layer scale is folded likewise.
* Adding a constant is a bias: the signal passes. Multiplying by a constant is a diagonal W: where it is not folded, the
  signal passes where the constant is positive, and nothing passes elsewhere.
* A maximum gives all to its argmax as PyTorch reports it, the first of equals.
* GELU, SiLU, hardswish, leaky ReLU and the like pass the signal as ReLU does, P unchanged, also where their input is
  negative; but what they leave of such an input is negative too, and gets no signal from a linear layer above. So do
  sigmoid, tanh and softmax, where they are not gates, and positive powers.
* Layer and group normalisation pass the signal, whatever the sign of their scale or input. Of their outputs, which have
  both signs, a linear layer above gives signal to the positive ones. Written out, they do the same: means are
  subtracted and deviations divided by.
* A gate is constant: a product with the output of a sigmoid, tanh, softmax, root or norm (squeeze-excitation, response
  normalisation), or with what is computed from such outputs alone, gives all to the other operand, and nothing to the
  branch that made the gate. Behind a gate that is 0 nothing is left to give signal to.
* Attention, softmax(q k^T) v: the values carry the signal, and the softmax weights A are constants: the linear rule
  with W = A, P(v) = v * A^T (P / (A v)). Attention weights stay constants when a layer mixes those of several heads.
  (The alternatives share with queries and keys, as AttnLRP does, arXiv 2402.05602; or roll out A alone, 2005.00928.)
* A quotient gives all to its numerator.
* A product of two activations: a factor that is broadcast modulates the other, which gets all; else each gets half, as
  bilinear products in AttnLRP (arXiv 2402.05602, section 3.3). So do matrix products of two activations (linear
  attention), by the linear rule with the positive part of the other as weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch._ops import OpOverload

from grounding.attention.flow import Flow
from grounding.attention.routes import (
    Rule,
    concatenation,
    division,
    maximum,
    maximum_along,
    reshape,
    routing,
    shift,
    stacking,
)
from grounding.attention.routes import identity as identity
from grounding.attention.routes import sum_to as sum_to
from grounding.attention.shares import addition, average, matrix_product, product, resampling
from grounding.attention.weighted import convolution, linear_layer

if TYPE_CHECKING:
    from grounding.attention.tape import Operation, Value

aten = torch.ops.aten


def main_branch(operation: Operation) -> Value | None:
    """The deeper input of a sum of two activations, the first of equals; None for any other operation.

    Depth counts convolutions and linear layers on the longest way from an input: an identity or a projection beside a
    residual block is shallower than the block. `residual="main"` gives the whole signal to this input.
    """
    if operation.overload not in SUMS or len(operation.inputs) < 2:
        return None
    return max(operation.inputs, key=lambda value: value.depth)


def supported(operation: Operation) -> bool:
    """Whether there is a rule for this operation on these operands."""
    overload, args = operation.overload, operation.args
    if overload in SUMS or overload in _LISTS or overload in MATRIX_PRODUCTS:
        return True
    if overload not in RULES and overload not in SPLITS:
        return False
    if (overload in WEIGHTED and operation.kwargs) or (overload is aten.convolution.default and args[6]):
        return False  # a scaled product; a transposed convolution
    if overload is aten.as_strided_.default and not _same_places(operation):
        return False
    if overload is aten.pow.Tensor_Scalar and args[1] <= 0:
        return False
    if overload in PRODUCTS:
        return True
    data = args[1] if overload is aten.addmm.default else args[0]
    return len(operation.inputs) == 1 and data is operation.inputs[0]


def _same_places(operation: Operation) -> bool:
    """Whether `as_strided_` leaves every element where it was: adaptive pooling of channels-last to one cell does."""
    before, after = operation.inputs[0], operation.outputs[0]
    if before.shape != after.shape or operation.args[3:]:  # an offset
        return False
    sides = zip(after.shape, before.stride, after.stride, strict=True)
    return all(size == 1 or old == new for size, old, new in sides)


def _named(names: str) -> frozenset[OpOverload]:
    """Operations by name and overload, `default` where none is given."""
    found = set()
    for name in names.split():
        packet, _, overload = name.partition(".")
        found.add(getattr(getattr(aten, packet), overload or "default"))
    return frozenset(found)


WEIGHTED: dict[OpOverload, Callable[..., tuple[Flow, ...]]] = {
    aten.convolution.default: convolution,
    aten.linear.default: linear_layer,
    aten.addmm.default: linear_layer,
    aten.mm.default: linear_layer,
}
BATCH_NORMS = _named(
    "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training cudnn_batch_norm miopen_batch_norm"
)
SUMS = _named("add.Tensor add_.Tensor")
SUBTRACTIONS = _named("sub.Tensor sub_.Tensor div.Tensor div_.Tensor")  # and quotients: the first operand gets all
PRODUCTS = _named("mul.Tensor mul_.Tensor")
MATRIX_PRODUCTS = _named("bmm")
WEIGHTS = _named("_softmax _safe_softmax")
GATES = WEIGHTS | _named(
    "sigmoid sigmoid_ hardsigmoid hardsigmoid_ tanh tanh_ sqrt rsqrt reciprocal linalg_vector_norm std.correction "
    "gt.Scalar ge.Scalar lt.Scalar le.Scalar gt.Tensor ge.Tensor lt.Tensor le.Tensor"
)
RESHAPES = _named("view _unsafe_view _reshape_alias squeeze squeeze.dim squeeze.dims unsqueeze")
CREATORS = _named(  # the results depend on the shape of the tensor they are given, not on its values
    "new_zeros new_ones new_full new_empty new_empty_strided zeros_like ones_like full_like empty_like"
)
_LISTS = _named("cat stack")
_AVERAGES = _named("mean mean.dim sum.dim_IntList")
_RESAMPLINGS = _named("avg_pool2d _adaptive_avg_pool2d upsample_nearest2d upsample_bilinear2d col2im")
_MAXIMA = _named("max.dim amax")
_IDENTITIES = BATCH_NORMS | _named(
    "native_layer_norm native_group_norm _fused_rms_norm native_dropout clone detach alias _to_copy as_strided_ "
    "pow.Tensor_Scalar "
    "relu relu_ hardtanh hardtanh_ clamp clamp_ clamp_min clamp_min_ gelu gelu_ silu silu_ hardswish hardswish_ "
    "leaky_relu leaky_relu_ elu elu_ celu celu_ selu selu_ mish mish_ softplus _prelu_kernel "
    "sigmoid sigmoid_ hardsigmoid hardsigmoid_ tanh tanh_ _softmax _safe_softmax _log_softmax"
)
_ROUTINGS = _named(
    "t permute transpose.int expand repeat select.int slice.Tensor index.Tensor index_select roll flip im2col "
    "constant_pad_nd reflection_pad1d reflection_pad2d replication_pad2d pixel_shuffle pixel_unshuffle"
)
RULES: dict[OpOverload, Rule] = {
    **WEIGHTED,
    **dict.fromkeys(SUMS, addition),
    **dict.fromkeys(PRODUCTS, product),
    **dict.fromkeys(MATRIX_PRODUCTS, matrix_product),
    aten.div.Tensor: product,
    aten.div_.Tensor: product,
    aten.sub.Tensor: shift,
    aten.sub_.Tensor: shift,
    aten.cat.default: concatenation,
    aten.stack.default: stacking,
    aten.max_pool2d_with_indices.default: maximum,
    aten.adaptive_max_pool2d.default: maximum,
    **dict.fromkeys(_MAXIMA, maximum_along),
    **dict.fromkeys(_AVERAGES, average),
    **dict.fromkeys(_RESAMPLINGS, resampling),
    **dict.fromkeys(_IDENTITIES, identity),
    **dict.fromkeys(RESHAPES, reshape),
    **dict.fromkeys(_ROUTINGS, routing),
}
SPLITS: dict[OpOverload, Callable[[Operation, dict[Value, Flow]], tuple[Flow, ...]]] = dict.fromkeys(
    _named("split.Tensor split_with_sizes unbind.int"), division
)  # several outputs may carry signal
NEEDS_VALUES = (  # of their active inputs
    frozenset(WEIGHTED) | SUMS | MATRIX_PRODUCTS | _AVERAGES | _RESAMPLINGS | _MAXIMA
)
