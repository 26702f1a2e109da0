"""What memory holds after writes through views of it: for each element, the value that was written there last."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from grounding.attention.graph import Value


@dataclass(frozen=True, slots=True)
class Write:
    """A tensor that was made or written, and where in its storage it lies.

    Attributes:
        value: what was written; None for constants.
        shape, stride, offset: of the tensor, the latter two in elements.
        element_size: bytes of one element.
    """

    value: Value | None
    shape: torch.Size
    stride: tuple[int, ...]
    offset: int
    element_size: int

    @classmethod
    def to(cls, tensor: Tensor, value: Value | None) -> "Write":
        """A write to this tensor."""
        return cls(value, tensor.shape, tensor.stride(), int(tensor.storage_offset()), tensor.element_size())


def overlap(tensor: Tensor, writes: Sequence[Write]) -> bool:
    """Whether any of these writes to its storage was to an element of a tensor."""
    if any(write.element_size != tensor.element_size() for write in writes):
        return True
    written = torch.zeros(tensor.untyped_storage().nbytes() // tensor.element_size(), dtype=torch.bool)
    for write in writes:
        written.as_strided(write.shape, write.stride, write.offset).fill_(True)
    return bool(written.as_strided(tensor.shape, tensor.stride(), int(tensor.storage_offset())).any())


def last_written(tensor: Tensor, writes: Sequence[Write]) -> tuple[list[Write], Tensor] | None:
    """Where the elements of a tensor come from, after these writes to its storage.

    Returns:
        The writes of activations of which something is left in the tensor; and an index of the tensor's shape, int64:
        the number of each element among all elements of these, one after the other, or how many there are for a
        constant. None where a write was of elements of another size, as of the real part of a complex number.
    """
    if any(write.element_size != tensor.element_size() for write in writes):
        return None
    cells = torch.arange(tensor.untyped_storage().nbytes() // tensor.element_size())
    of_write, of_element = torch.full_like(cells, -1), torch.zeros_like(cells)
    for number, write in enumerate(writes):
        written = cells.as_strided(write.shape, write.stride, write.offset)
        of_write[written] = -1 if write.value is None else number
        of_element[written] = torch.arange(write.shape.numel()).reshape(write.shape)
    read = cells.as_strided(tensor.shape, tensor.stride(), int(tensor.storage_offset()))
    of_write, of_element = of_write[read], of_element[read]
    counts = torch.bincount(of_write.flatten() + 1, minlength=len(writes) + 1)  # of constants first
    left = counts[1:].nonzero()[:, 0].tolist()
    before = torch.zeros(len(writes) + 1, dtype=torch.int64)  # how many elements of others come first
    total = 0
    for number in left:
        before[number] = total
        total += writes[number].shape.numel()
    index = torch.where(of_write < 0, total, of_element + before[of_write])
    return [writes[number] for number in left], index.to(tensor.device)
