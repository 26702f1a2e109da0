"""The device that arithmetic runs on."""

import torch

from grounding.errors import GroundingError


def usable_device(name: str) -> torch.device:
    """The device of this name, as PyTorch names them: `cpu`, `cuda`, `cuda:1`, `mps`.

    Raises:
        GroundingError: it is unknown, absent or cannot compute.
    """
    try:
        probe = torch.zeros(1, device=torch.device(name))
        probe.cpu()
    except (RuntimeError, AssertionError) as error:
        raise GroundingError(f"device '{name}' cannot be used: {str(error).splitlines()[0]}") from error
    return probe.device  # with its index
