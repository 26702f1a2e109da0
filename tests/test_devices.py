"""Devices by name."""

import pytest
import torch

from grounding.devices import usable_device
from grounding.errors import GroundingError


@pytest.mark.parametrize("name", ["cpu", torch.device("cpu")])
def test_the_processor_can_always_be_used(name):
    assert usable_device(name) == torch.device("cpu")


@pytest.mark.parametrize("name", ["meta", "cuda:77", "abacus", "", "vulkan", "hpu", "cuda:x", "x" * 500, None])
def test_what_cannot_compute_is_refused_in_one_short_line(name):
    with pytest.raises(GroundingError, match=r"^device '.*' cannot be used here.*: expected .*cpu") as caught:
        usable_device(name)
    assert str(name)[:20] in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 160


@pytest.mark.parametrize("name", ["mps", "xpu", "cuda"])
def test_a_device_is_there_or_the_line_is_short(name):
    try:
        device, refusal = usable_device(name), ""
    except GroundingError as error:
        device, refusal = None, str(error)
    assert refusal or device.type == name
    assert len(refusal) < 160
