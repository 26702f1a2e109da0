"""The multiply-adds of maps, and how fast this machine can do them: the limit beside each figure of bench_attention.py.

Counted are those of the forward pass, of every Z on the way, and of one transposed product for each signal, the last
two twice at the contrast. Products of two activations, as in attention, are left out.
"""

import math
import platform
import re
import time
from pathlib import Path
from typing import Any

import torch

from grounding.attention.graph import Operation, Tape
from grounding.attention.layers import find_layer, indexed_layer, named_layer, same_signal
from grounding.attention.walk import plan

Where = dict[str, Any]  # layer or stride, as contrastive_mwp takes them

_MATRIX_LAST = (torch.ops.aten.addmm.default, torch.ops.aten.mm.default)


def multiply_adds(operation: Operation) -> int:
    """Of an operation with weights, for the whole batch."""
    weight = operation.args[-1 if operation.overload in _MATRIX_LAST else 1]
    outputs = operation.outputs[0].shape
    filters = outputs[1] if operation.overload is torch.ops.aten.convolution.default else outputs[-1]
    return math.prod(outputs) * math.prod(weight.shape) // filters


def matrix_rate(device: str) -> float:
    """Multiply-adds in a millisecond of a large product of float32 matrices, at the threads that are set: the best."""
    one, other = torch.rand(2, 2048, 2048, device=device)
    times = []
    for _ in range(7):
        start = time.perf_counter()
        one @ other
        if device != "cpu":
            torch.accelerator.synchronize()
        times.append(1000 * (time.perf_counter() - start))
    return 2048**3 / min(times)


def processor() -> str:
    """Its name, and whether it has matrix units for bfloat16; on Linux."""
    path = Path("/proc/cpuinfo")
    told = path.read_text() if path.exists() else ""
    name = re.search(r"model name\s*: (.*)", told)
    units = "with" if "amx_bf16" in told else "without"
    return f"{name[1] if name else platform.processor()}, {units} matrix units for bfloat16"


def bound(tape: Tape, signals: int, where: Where) -> float:
    """Forward passes that the multiply-adds of the maps amount to."""
    return 1 + walked(tape, signals, where) / forward_multiply_adds(tape)


def forward_multiply_adds(tape: Tape) -> int:
    """Of the forward pass."""
    return sum(multiply_adds(operation) for operation in tape.operations if operation.weighted)


def walked(tape: Tape, signals: int, where: Where) -> int:
    """Of the walk."""
    found = find_layer(tape, where["stride"]) if "stride" in where else None
    layer = where.get("layer")
    found = found or (named_layer(tape, layer) if isinstance(layer, str) else indexed_layer(tape, layer))
    steps = [step for step in plan(tape, [same_signal(tape, found)], "split", True) if step.operation.weighted]
    return sum(multiply_adds(step.operation) * (1 + signals) * (1 + step.contrast) for step in steps)
