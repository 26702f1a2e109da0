"""Keys of a training that have new names: the old ones say so, and what was written with them is still read."""

import dataclasses

import pytest

from grounding.config import build, load, with_new_names
from grounding.errors import GroundingError
from grounding.training.config import TrainConfig

RENAMED = {
    "shown_size_px": "inference_size_px",
    "accumulate": "gradient_accumulation_steps",
    "clip": "max_grad_norm",
    "views": "augmentation",
    "data.kept_size_px": "data.cache_size_px",
    "augmentation.smallest_crop": "augmentation.min_crop_scale",
    "augmentation.jitter": "augmentation.color_jitter",
    "augmentation.grey": "augmentation.grayscale",
}


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_old_key_says_the_new_one(old, new):
    with pytest.raises(GroundingError) as error:
        load(TrainConfig, None, [f"{old}=1"])
    assert f"'{old}'" in str(error.value)
    assert f"'{new}'" in str(error.value)


def test_values_under_old_keys():
    written = {"seed": 3, "clip": 2.0, "views": {"jitter": 0.5, "flip": 0.25}, "data": {"kept_size_px": 0}}
    current = build(TrainConfig, with_new_names(TrainConfig, written))
    assert (current.seed, current.max_grad_norm, current.data.cache_size_px) == (3, 2.0, 0)
    assert (current.augmentation.color_jitter, current.augmentation.flip) == (0.5, 0.25)
    today = dataclasses.asdict(current)
    assert with_new_names(TrainConfig, today) == today
