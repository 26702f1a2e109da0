"""Devices by name."""

import pytest
import torch

from grounding.devices import usable_device
from grounding.errors import GroundingError


def test_the_processor_can_always_be_used():
    assert usable_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["meta", "cuda:77", "abacus", ""])
def test_what_cannot_compute_is_refused_in_one_line(name):
    with pytest.raises(GroundingError, match=f"'{name}' cannot be used") as caught:
        usable_device(name)
    assert "\n" not in str(caught.value)
