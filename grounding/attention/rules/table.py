"""How winning probability passes down through each operation: the choices, and the rule of every operation.

Excitation Backprop (arXiv 1608.00507, section 3). For a linear operation y = W x with x >= 0 and winning probability
P(y), no bias, and 0 where Z = 0:

    P(x_j) = x_j * sum_i W+_ij P(y_i) / Z_i        Z_i = sum_k W+_ik x_k        W+ = max(W, 0)

A rule gets one operation of the tape and the `Flow` of its first output: P, (K, *output.shape) floating point, under
each of K signals. It returns one flow of (K, *input.shape) for each active input, in the order of `Operation.inputs`.
Every rule is linear in P, so P may be signed, and a walk may carry a difference. The rules, each with what else there
is to know of its operations (`graph.Rule`), are in `weighted` (weights of the network), `proportional` (linear without
weights, sums, products), `choices` (each output is one of several elements) and `routing` (all else).

Choices:

* Negative inputs excite nothing: in Z and in the product, x counts as max(x, 0). The authors apply the equation as it
  stands, which is the same behind a ReLU. Elsewhere (normalised images, linear bottlenecks, layer normalisation, SiLU)
  positive and negative x nearly cancel in Z, and P would grow at every layer, to noise and to overflow.
* A sum of two activations is the linear rule with W = [1, 1] among the inputs that have the sign of the sum: each gets
  P * x_i / (x_1 + x_2), an input of the other sign gets nothing, and all get nothing where the sum is 0. The authors
  share in proportion whatever the signs, which is the same where no input is negative; elsewhere one share would be
  negative and the other larger than P, without bound where the sum is small. `residual="signed"` does as they do.
* Averages, sums over dimensions, nearest and linear resizing and sums of overlapping patches are linear without
  negative weights.
* A difference of two activations gives all to what is subtracted from (W = [1, -1]), as a bias would.
* What is affine channel by channel, s y + t, is folded into the convolution or linear layer that it alone reads: batch
  normalisation, in one or written out, and layer scales. Only the sign of s can matter, because its size cancels in
  P / Z. Elsewhere batch normalisation passes the signal through.
* Biases get nothing. With `bias="share"` they count in Z = W+ x + b+, for the dual unit in Z = (-W)+ x + (-b)+, where b
  is what the layer and all that is folded into it add.
* Adding a constant is a bias: the signal passes. Multiplying by a constant is a diagonal W: where it is not folded, the
  signal passes where the constant is positive, and nothing passes elsewhere.
* A maximum gives all to its argmax as PyTorch reports it, the first of equals. So does one of two activations, or a
  choice by a mask; what falls on a constant that was chosen is lost. A maximum with a constant is a clamp.
* GELU, SiLU, hardswish, leaky ReLU, clamps and the like pass the signal as ReLU does, P unchanged, also where their
  input is negative; but what they leave of such an input is negative too, and gets no signal from a linear layer above.
  So do sigmoid, tanh and softmax, where they are not gates, and positive powers.
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

from collections.abc import Mapping

import torch
from torch._ops import OpOverload

from grounding.attention.graph import Rule
from grounding.attention.rules import choices, proportional, routing, weighted
from grounding.attention.spatial import aligned

TABLE: Mapping[OpOverload, Rule] = weighted.RULES | proportional.RULES | choices.RULES | routing.RULES
_NO_RULE_BUT_PLACES = Rule(None, places=aligned)


def rule_of(overload: OpOverload | None, given: Mapping[OpOverload, Rule]) -> Rule | None:
    """What is known of an operation: by the rules that were given, by the table, or because it is pointwise.

    None stands for memory that was written in parts, through views.
    """
    if overload is None:
        return routing.WRITTEN
    known = given.get(overload) or TABLE.get(overload)
    return known or (_NO_RULE_BUT_PLACES if torch.Tag.pointwise in overload.tags else None)
