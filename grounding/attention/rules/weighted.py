"""Excitation Backprop through convolutions and linear layers, where nearly all of the arithmetic is.

Both give P(x) = x * (W+^T P(y) / Z) with Z = W+ x, without bias, as arXiv 1608.00507, equation 10; or, where the bias
is to take its share, with Z = W+ x + b+. W+ and Z are made once and serve all signals, whose walks are one batch.
"""

import functools
import itertools
import math
from dataclasses import replace

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.nn import functional

from grounding.attention.flow import Flow
from grounding.attention.graph import Operation, Rule, Value, first_operand_alone
from grounding.attention.rules.arithmetic import channels_last, excitation, reciprocal, rules_for
from grounding.attention.rules.folding import fold
from grounding.attention.rules.products import product, slow_pointwise
from grounding.attention.rules.reached import reached_outputs, some, some_outputs
from grounding.attention.rules.taps import met
from grounding.attention.spatial import convolved, projected

aten = torch.ops.aten

_LANES = 64  # products of matrices are fastest where their sides are multiples of this
_TOGETHER = 4  # outputs: MKL sums those that are left over in another order, and one signal would change another
_FEWEST = 16  # signals: likewise of fewer
_BLOCK = 1 << 20  # weights of a linear layer clamped at a time: 4 MiB, so that W+ never leaves the cache


def convolution(operation: Operation, flow: Flow, negate: bool = False, with_bias: bool = False) -> tuple[Flow, ...]:
    """Any stride, padding, dilation and groups, in 1, 2 or 3 dimensions. `negate` takes -W, -b: the dual unit."""
    source, weight, _, stride, padding, dilation, _, _, groups = operation.args
    x = excitation(source, flow.ratio.dtype)  # (N, C, h, w)
    positive = _positive(weight.content(flow.ratio.dtype), _sign(operation), negate)  # (D, C / groups, ...)
    positive = channels_last(positive)
    bias = positive_bias(operation, operation.args[2], flow.ratio.dtype, negate) if with_bias else None
    z = aten.convolution.default(x, positive, bias, stride, padding, dilation, False, [0], groups)
    n = channels_last(flow.take_times(reciprocal(z)).flatten(0, 1))  # (K * N, D, h', w')
    settings = (_repeat(setting, x.dim() - 2) for setting in (stride, padding, dilation))
    extra = [  # rows and columns at the far edge that the stride skipped
        size - ((out - 1) * step - 2 * pad + spread * (kernel - 1) + 1)
        for size, out, kernel, step, pad, spread in zip(
            x.shape[2:], n.shape[2:], positive.shape[2:], *settings, strict=True
        )
    ]
    pointwise = x.dim() == 4 and math.prod(positive.shape[2:]) == groups == 1 and x.shape[2:] == n.shape[2:]
    if pointwise and slow_pointwise(len(n), n.device):
        below = (n.permute(0, 2, 3, 1).flatten(0, 2) @ positive.flatten(1)).unflatten(0, (-1, *n.shape[2:]))
        back = below.permute(0, 3, 1, 2)
    else:
        back = aten.convolution.default(n, positive, None, stride, padding, dilation, True, extra, groups)
    return (Flow(back.reshape(len(flow.ratio), *x.shape), x, own=True),)


def linear_layer(operation: Operation, flow: Flow, negate: bool = False, with_bias: bool = False) -> tuple[Flow, ...]:
    """`linear`, `addmm` or `mm` with constant weights. `negate` uses -W, -b: the dual unit.

    W+ is made some rows at a time, each used for Z and for the product while it is in the cache. Rows of outputs that
    no signal reaches are skipped: most of them, behind a ReLU; not where P has a gradient, which need not be 0 with it.
    """
    linear = operation.overload is aten.linear.default
    weight = operation.args[1].content() if linear else operation.args[-1].content().t()  # (out, in)
    source = operation.inputs[0]
    dtype, signals = flow.ratio.dtype, len(flow.ratio)
    x = source.content(dtype).reshape(-1, weight.shape[1]).clamp(min=0)  # (M, in)
    flow = flow.reshape(len(x), len(weight))  # (K, M, out)
    sign = _sign(operation)
    bias = positive_bias(operation, _bias_of(operation), dtype, negate) if with_bias else None
    block = max(_TOGETHER, max(_BLOCK, signals * x.numel()) // weight.shape[1] // _TOGETHER * _TOGETHER)
    below = None  # (K * M, in)
    for rows in reached_outputs(flow, block):
        among = sign if sign is None or sign.numel() == 1 else some(sign, rows, 0)
        positive = _positive(some(weight, rows, 0).to(dtype), among, negate)  # (rows, in)
        spare = -len(positive) % _TOGETHER
        z = x @ functional.pad(positive, (0, 0, 0, spare)).t() if spare else x @ positive.t()
        z = z[:, : len(positive)]  # (M, rows)
        z = z if bias is None else z + some(bias, rows, -1)
        n = some_outputs(flow, rows).take_times(reciprocal(z)).flatten(0, 1)  # (K * M, rows)
        below = product(n, positive, signals) if below is None else below.addmm_(n, positive)
    if below is None:
        below = x.new_zeros(signals * len(x), x.shape[1])
    return (Flow(below.reshape(signals, *source.shape), x.reshape(source.shape), own=True),)


def convolution_map(operation: Operation, flow: Flow) -> Tensor | None:
    """What `convolution` gives, summed over channels: (K, N, h, w); None where that way is no shorter.

    Z = W+ x is also a sum over the positions of the kernel, its taps: with the part U of each tap, (taps, N * h' * w',
    D), Z = U.sum(0), and the map is the sum of P(y) / Z * U over D, put down where each tap read x. So no signal need
    be walked to the channels of x. A few of the D filters at a time, so that U stays small.
    """
    source, weight, _, stride, padding, dilation, _, _, groups = operation.args
    filters, channels, *kernel = weight.shape
    outputs, taps = operation.outputs[0].shape[2:], math.prod(kernel)
    if groups == 1 and len(kernel) == 2 and even(flow) and not torch.is_grad_enabled():
        return even_map(operation, flow)
    shorter = taps * filters * math.prod(outputs) <= 4 * len(flow.ratio) * math.prod(source.shape[1:])
    if groups != 1 or len(kernel) != 2 or not shorter:
        return None
    settings = {
        name: tuple(_repeat(setting, len(kernel)))
        for name, setting in (("dilation", dilation), ("padding", padding), ("stride", stride))
    }
    x = source.content(flow.ratio.dtype).clamp(min=0)  # (N, C, h, w)
    sign = _sign(operation)
    seen = functional.unfold(x, tuple(kernel), **settings).unflatten(1, (channels, taps))
    seen = seen.permute(2, 0, 3, 1).flatten(1, 2)  # (taps, N * h' * w', C)
    mass = x.new_zeros(seen.shape[1], len(flow.ratio), taps)  # (N * h' * w', K, taps)
    group = _BLOCK // ((taps + len(flow.ratio)) * seen.shape[1])
    group = max(_LANES, group // _LANES * _LANES)
    group = filters if torch.is_grad_enabled() else group  # autograd keeps U in any case
    for first in range(0, filters, group):
        part = slice(first, first + group)
        among = sign if sign is None or sign.numel() == 1 else sign[part]
        positive = _positive(weight.content(flow.ratio.dtype)[part].flatten(2), among, False)  # (d, C, taps)
        u = torch.bmm(seen, positive.permute(2, 1, 0))  # (taps, N * h' * w', d)
        z = u.sum(0).reshape(len(x), *outputs, -1).permute(0, 3, 1, 2)  # (N, d, h', w')
        n = flow.part(part).take_times(reciprocal(z)).permute(1, 3, 4, 0, 2).flatten(0, 2)  # (N * h' * w', K, d)
        mass.baddbmm_(n, u.permute(1, 2, 0))
    mass = mass.unflatten(0, (len(x), -1)).permute(2, 0, 3, 1).flatten(0, 1)  # (K * N, taps, h' * w')
    put = functional.fold(mass, tuple(x.shape[2:]), tuple(kernel), **settings)
    return put.reshape(-1, len(x), *x.shape[2:])


def even(flow: Flow) -> bool:
    """Whether the ratio is the same at all places, as it is below a mean over them."""
    sides = zip(flow.ratio.shape[-2:], flow.ratio.stride()[-2:], strict=True)
    return all(size == 1 or step == 0 for size, step in sides)


def even_map(operation: Operation, flow: Flow) -> Tensor:
    """What `convolution_map` gives where the ratio is `even`: the sum over D of the ratio times what each filter gets.

    What a filter gets is the same for all signals, so nothing but the last sum grows with K. The parts U are made
    where x is, by a 1 x 1 convolution for all taps, and added up where each tap leads to: no patch of x is copied.
    """
    source, weight, _, stride, padding, dilation, _, _, _ = operation.args
    filters, channels, *kernel = weight.shape
    taps, outputs = math.prod(kernel), operation.outputs[0].shape[2:]
    x = source.content(flow.ratio.dtype).clamp(min=0)  # (N, C, h, w)
    ratio = flow.ratio[..., 0, 0].transpose(0, 1)  # (N, K, D)
    ratio = functional.pad(ratio, (0, 0, 0, max(0, _FEWEST - ratio.shape[1])))
    settings = (_repeat(setting, 2) for setting in (stride, padding, dilation))
    rows, columns = (met(*sizes) for sizes in zip(x.shape[2:], outputs, kernel, *settings, strict=True))
    met_by_tap = list(itertools.product(rows, columns))
    sign = _sign(operation)
    found = x.new_zeros(len(x), ratio.shape[1], x.shape[2:].numel())  # (N, K, h * w)
    group = max(_LANES, _BLOCK // (taps * x[:, 0].numel()) // _LANES * _LANES)
    for first in range(0, filters, group):
        part = slice(first, first + group)
        among = sign if sign is None or sign.numel() == 1 else sign[part]
        positive = _positive(weight.content(flow.ratio.dtype)[part].flatten(2), among, False)  # (d, C, taps)
        positive = positive.permute(2, 0, 1).reshape(-1, channels, 1, 1)
        u = aten.convolution.default(x, positive, None, [1], [0], [1], False, [0], 1).unflatten(1, (taps, -1))
        z = x.new_zeros(len(x), u.shape[2], *outputs)  # (N, d, h', w')
        for tap, ((above, below), (before, behind)) in enumerate(met_by_tap):
            z[..., above, before] += u[:, tap, :, below, behind]
        n = reciprocal(z) if flow.activation is None else flow.activation[:, part] * reciprocal(z)
        each = torch.zeros_like(u[:, 0])  # (N, d, h, w)
        for tap, ((above, below), (before, behind)) in enumerate(met_by_tap):
            each[..., below, behind].addcmul_(u[:, tap, :, below, behind], n[..., above, before])
        found.baddbmm_(ratio[..., part], each.flatten(2))
    maps: Tensor = found.transpose(0, 1)[: len(flow.ratio)]
    return maps.reshape(-1, len(x), *x.shape[2:])


def _sign(operation: Operation) -> Tensor | None:
    """The sign of the scale of all that is folded: (D,), or one for all outputs; None where nothing is folded."""
    folded = fold(operation)
    return None if folded is None else torch.as_tensor(folded[0]).detach().sign()


def positive_bias(operation: Operation, bias: Value | None, dtype: torch.dtype, negate: bool) -> Tensor | None:
    """b+, or (-b)+ for the dual unit, (D,) or (M, D), of the unit whose weights `_positive` gives; None without a bias.

    What is folded makes W x + b to s (W x + b) + t. `_positive` takes the sign of s alone, since P / Z is the same when
    W and b are both divided by a number above 0: so b is sign(s) b + t / |s|. Where s is 0, so are the weights.
    """
    folded, precise = fold(operation), torch.promote_types(dtype, torch.float32)
    b = 0.0 if bias is None else bias.content(precise)
    if folded is not None:
        scale, shift = (torch.as_tensor(each) for each in folded)
        b = b * scale.detach().sign() + torch.where(scale != 0, shift / torch.where(scale != 0, scale, 1).abs(), 0)
    if not isinstance(b, Tensor):
        return None
    outputs = operation.outputs[0].shape[1 if operation.overload is aten.convolution.default else -1]
    b = b.to(operation.inputs[0].content().device, dtype)
    b = b.expand(*b.shape[:-1], outputs)
    return b.clamp(max=0).neg() if negate else b.clamp(min=0)


def _bias_of(operation: Operation) -> Value | None:
    """The bias of a linear layer."""
    at = 0 if operation.overload is aten.addmm.default else 2
    bias: Value | None = operation.args[at] if at < len(operation.args) else None
    return bias


def _positive(weight: Tensor, sign: Tensor | None, negate: bool) -> Tensor:
    """W+, or (-W)+ for the dual unit, with the batch normalisation folded in: (D, ...)."""
    if sign is not None and not bool((sign == 1).all()):
        weight = weight * sign.to(weight).reshape(-1, *[1] * (weight.dim() - 1))
    return weight.clamp(max=0).neg_() if negate else weight.clamp(min=0)


def _repeat(setting: list[int], dimensions: int) -> list[int]:
    """A setting for each spatial dimension; ATen lets one stand for all."""
    return list(setting) * dimensions if len(setting) == 1 else list(setting)


def _convolution_refusal(operation: Operation) -> str | None:
    transposed = operation.args[6]
    return "it is a transposed convolution" if transposed else first_operand_alone(operation)


def _scaled(operation: Operation) -> str | None:
    return "its product is scaled (alpha or beta)" if operation.kwargs else None


def _linear_refusal(operation: Operation) -> str | None:
    return _scaled(operation) or first_operand_alone(operation)


def _addmm_refusal(operation: Operation) -> str | None:
    if len(operation.inputs) != 1 or operation.args[1] is not operation.inputs[0]:
        return "its bias or its weights depend on the images"
    return _scaled(operation)


_LINEAR = Rule(
    linear_layer,
    dual=functools.partial(linear_layer, negate=True),
    with_bias=functools.partial(linear_layer, with_bias=True),
    needs_values=True,
    refuses=_linear_refusal,
    places=projected,
)
RULES: dict[OpOverload, Rule] = {
    aten.convolution.default: Rule(
        convolution,
        dual=functools.partial(convolution, negate=True),
        with_bias=functools.partial(convolution, with_bias=True),
        pass_map=convolution_map,
        needs_values=True,
        refuses=_convolution_refusal,
        places=convolved,
    ),
    **rules_for("linear mm", _LINEAR),
    aten.addmm.default: replace(_LINEAR, refuses=_addmm_refusal),
}
