"""Excitation Backprop through a linear map of one or several activations that the network computes in several steps.

arXiv 1608.00507, equation 10, over all its inputs at once: P(x_j) = x_j * sum_i L+_ij P(y_i) / Z_i, with L the matrix
of the whole map and Z = L+ x. A row of L is the gradient of one output, by replaying the operations that it stands for.
"""

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from grounding.attention.flow import Flow
from grounding.attention.graph import Operation, Rule
from grounding.attention.replay import replay
from grounding.attention.rules.arithmetic import accept_any_operands, reciprocal

_ENTRIES = 1 << 22  # of L at a time: 16 MiB


def linear_map(operation: Operation, flow: Flow, negate: bool = False, with_bias: bool = False) -> tuple[Flow, ...]:
    """All inputs share what each output has. What the map divides or multiplies by, such as a norm, is constant.

    Only rows of outputs that signal reaches are computed. `negate` uses -L, -b: the dual unit. `with_bias` adds b+ to
    Z, with b what the map gives for inputs of zeros.
    """
    dtype, inputs = flow.ratio.dtype, operation.inputs
    excited = [value.content(dtype).clamp(min=0) for value in inputs]
    p = flow.probability().flatten(1)  # (K, outputs)
    run = _as_function(operation, dtype)
    pull = torch.func.vjp(run, *(value.content(dtype) for value in inputs))[1]
    bias = run(*map(torch.zeros_like, excited)) if with_bias else p.new_zeros(p.shape[1])
    bias = (-bias if negate else bias).clamp(min=0)  # (outputs,)
    totals = [p.new_zeros(len(p), x.numel()) for x in excited]
    reached = (p.any(0) | (torch.is_grad_enabled() and p.requires_grad)).nonzero()[:, 0]
    for rows in reached.split(max(1, _ENTRIES // sum(x.numel() for x in excited))):
        units = torch.zeros(len(rows), p.shape[1], dtype=dtype, device=p.device)
        units[torch.arange(len(rows)), rows] = 1
        matrix = [each.flatten(1) for each in torch.func.vmap(pull)(units)]  # of each input (rows, elements)
        positive = [(-each if negate else each).clamp(min=0) for each in matrix]
        z = sum((part @ x.flatten() for part, x in zip(positive, excited, strict=True)), bias[rows])
        n = p[:, rows] * reciprocal(z)  # (K, rows)
        totals = [total + n @ part for total, part in zip(totals, positive, strict=True)]
    return tuple(Flow(total.reshape(-1, *x.shape), x, own=True) for total, x in zip(totals, excited, strict=True))


def _as_function(operation: Operation, dtype: torch.dtype) -> Callable[..., Tensor]:
    """The map as a function of its inputs, which gives (outputs,)."""
    given = {value: value.content(dtype) for value in operation.args}
    recorded = replay(operation.parts, given, dtype)

    def run(*contents: Tensor) -> Tensor:
        carried = dict(zip(operation.inputs, contents, strict=True))
        for part in operation.parts:
            if not carried.keys().isdisjoint(part.inputs):
                moving = {value: carried[value] for value in part.inputs if value in carried}
                computed = replay([part], recorded | moving, dtype)
                carried.update((value, computed[value]) for value in part.outputs if value in computed)
        return carried[operation.outputs[0]].flatten()

    return run


LINEAR_MAP = Rule(
    linear_map,
    dual=functools.partial(linear_map, negate=True),
    with_bias=functools.partial(linear_map, with_bias=True),
    needs_values=True,
    refuses=accept_any_operands,
)
