"""The learning rate of every step, and the groups of parameters with their own peak and weight decay."""

import math
from typing import Any

from torch.nn import Parameter
from torch.optim import Optimizer

from grounding.tagging.gala import gala_parameters
from grounding.tagging.network import TagNetwork
from grounding.training.config import TrainConfig


def parameter_groups(network: TagNetwork, config: TrainConfig) -> list[dict[str, Any]]:
    """Group the parameters that are not frozen for AdamW: backbone before head, with before without weight decay.

    Weight decay is for matrices and convolutions only, not for biases or normalisation. `peak` is the highest learning
    rate of a group. Attention (GALA) is new to the network as the head is, and has its rate; none of it has weight
    decay, as in its authors' training (arXiv 1805.08819).
    """
    attention = set(map(id, gala_parameters(network)))
    new = attention | set(map(id, network.head.parameters()))
    chosen: dict[tuple[bool, bool], list[Parameter]] = {}
    for parameter in network.parameters():
        if parameter.requires_grad:
            single = parameter.ndim <= 1 or id(parameter) in attention
            chosen.setdefault((id(parameter) in new, single), []).append(parameter)
    peak, head_peak = config.learning_rate, config.head_learning_rate or config.learning_rate
    return [
        {
            "params": chosen[is_new, single],
            "weight_decay": 0.0 if single else config.weight_decay,
            "peak": head_peak if is_new else peak,
        }
        for is_new, single in sorted(chosen)
    ]


def set_learning_rates(optimizer: Optimizer, step: int, steps: int, warmup_share: float = 0.05) -> None:
    """Set each group's `lr` from its `peak`: linear warm-up over a share of the steps, then a cosine down to zero."""
    warmup = max(1, int(steps * warmup_share))
    if step < warmup:
        factor = (step + 1) / warmup
    else:
        factor = 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor
