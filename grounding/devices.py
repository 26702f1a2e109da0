"""The device that arithmetic runs on."""

import torch

from grounding.errors import GroundingError


def usable_device(name: str | torch.device) -> torch.device:
    """Return the device of this name, as PyTorch names them: `cpu`, `cuda`, `cuda:1`, `mps`, `xpu`.

    Raises:
        GroundingError: it is unknown, absent or cannot compute.
    """
    try:
        probe = torch.zeros(1, device=torch.device(name))
        probe.cpu()
    except (RuntimeError, AssertionError, ImportError, TypeError) as error:
        given = " ".join(str(name)[:30].split())
        reason = str(error).splitlines()[0].split(". ")[0].rstrip(".")
        why = f" ({reason})" if len(reason) <= 50 else ""  # what PyTorch says may be as long as a page
        raise GroundingError(
            f"device '{given}' cannot be used here{why}: expected {' or '.join(_present())}"
        ) from error
    return probe.device  # with its index


def _present() -> list[str]:
    """The kinds of devices that this machine has."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return ["cpu", *([accelerator.type] if accelerator else [])]
