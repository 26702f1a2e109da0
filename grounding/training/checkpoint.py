"""The whole state of a training in one safetensors file."""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Optimizer

from grounding.errors import GroundingError


def save_checkpoint(
    path: Path, network: nn.Module, average: nn.Module | None, optimizer: Optimizer, epoch: int, step: int
) -> None:
    """Write weights, their moving average, the optimizer's state, epoch and step, completely or not at all.

    Raises:
        GroundingError: the disk is full or the folder cannot be written; the file before it is kept.
    """
    tensors = {f"network.{key}": value for key, value in network.state_dict().items()}
    if average is not None:
        tensors |= {f"average.{key}": value for key, value in average.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": value for key, value in state.items()}
    partial = path.with_name(path.name + ".partial")
    try:
        progress = json.dumps({"epoch": epoch, "step": step})  # one key: safetensors orders several by chance
        content = save({key: value.contiguous() for key, value in tensors.items()}, {"progress": progress})
        with partial.open("wb") as file:
            file.write(content)
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise GroundingError(
            f"checkpoint {path} cannot be written ({error.strerror}): "
            "the one before it is kept; make room and run the same command again"
        ) from error


def load_checkpoint(path: Path, network: nn.Module, average: nn.Module | None, optimizer: Optimizer) -> tuple[int, int]:
    """Load what `save_checkpoint` wrote into a network, its average and its optimizer; returns epoch and step.

    Raises:
        GroundingError: the file is corrupt, or belongs to another network.
    """
    try:
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118, it is no dictionary
            progress = json.loads(file.metadata()["progress"])
        network.load_state_dict(_part(tensors, "network."))
        if average is not None:
            average.load_state_dict(_part(tensors, "average."))
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in _part(tensors, "optimizer.").items():
            index, _, name = key.partition(".")
            state.setdefault(int(index), {})[name] = value
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": state, "param_groups": groups})
        return progress["epoch"], progress["step"]
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise GroundingError(f"checkpoint {path} cannot be continued ({reason}): remove it to start again") from error


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
