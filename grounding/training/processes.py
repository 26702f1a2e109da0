"""The processes that train together: this one alone, or those that torchrun starts."""

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta

import torch
from torch import distributed

from grounding.devices import usable_device
from grounding.evaluation.processes import world
from grounding.training.trainer import Process

_PATIENCE = timedelta(days=7)  # while rank 0 writes teacher scores the others wait


@contextlib.contextmanager
def processes(device: str) -> Iterator[Process]:
    """This process, connected with the others while the block lasts.

    Args:
        device: as PyTorch names them; under torchrun `cuda` is another GPU in every process.

    Raises:
        GroundingError: the device cannot be used.
    """
    rank, count = world()
    if count > 1 and device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
    place = usable_device(device)
    if count == 1:
        yield Process(device=place)
        return
    backend = "gloo"
    if place.type == "cuda":
        torch.cuda.set_device(place)
        backend = "cpu:gloo,cuda:nccl"
    distributed.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield Process(rank, count, place)
    finally:
        distributed.destroy_process_group()
