"""Learning-rate schedule."""

import math

from torch.optim import Optimizer


def set_learning_rates(optimizer: Optimizer, step: int, steps: int, warmup_share: float = 0.05) -> None:
    """Set each group's `lr` from its `peak`: linear warm-up over a share of the steps, then a cosine down to zero."""
    warmup = max(1, int(steps * warmup_share))
    if step < warmup:
        factor = (step + 1) / warmup
    else:
        factor = 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor
