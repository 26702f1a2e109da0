"""Features that are made once: what is stored, of which picture, and that nothing is left behind."""

import numpy as np
import pytest
import torch

from grounding.config import load
from grounding.errors import GroundingError
from grounding.tagging.classifier import resize_to_square
from grounding.tagging.network import plain_network, timm_network
from grounding.training.config import TrainConfig
from grounding.training.features import Features
from helpers.training import GreyPictures, no_progress

CPU = torch.device("cpu")


class Stripes(GreyPictures):
    """Pictures whose mirror images are others."""

    def read(self, index):
        image = super().read(index)
        image.paste((200, 30, 0), (0, 0, 7, 30))
        return image


def config(*overrides):
    return load(TrainConfig, None, ["inference_size_px=32", "network.initial=embedded", "head_only=true", *overrides])


@pytest.mark.parametrize("kind", ["plain", "timm"])
def test_features_against_the_backbone(tmp_path, kind):
    network = plain_network([(4, 2), (6, 2)], 3) if kind == "plain" else timm_network("test_resnet", 3)
    settings, calls = config("bf16=false"), []
    state = {key: value.clone() for key, value in network.train().state_dict().items()}
    features = Features(Stripes(3), network, settings, CPU, tmp_path, lambda: calls.append(1))
    assert len(calls) == 3
    assert network.training
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    network.eval()
    seen = set()
    for index in range(3):
        for seed in range(8):
            row = features.row(index, settings, seed)
            pixels = resize_to_square(features[index][None], 32)
            pixels = pixels.flip(3) if row.flipped else pixels
            mean, std = (torch.tensor(values)[:, None, None] for values in (network.mean, network.std))
            with torch.no_grad():
                expected = network.features((pixels - mean) / std)[0]
            torch.testing.assert_close(row.pixels.permute(2, 0, 1), expected, rtol=1e-4, atol=1e-5)
            assert (row.crops.tolist(), int(row.planned), int(row.seen)) == ([0, 0, 1, 1], index, index)
            seen.add((index, bool(row.flipped)))
    assert len(seen) == 6
    assert list(tmp_path.iterdir()) == []  # the file has no name


def test_bfloat16_takes_half_the_room(tmp_path):
    network = plain_network([(4, 2), (6, 2)], 3)
    whole, half = (
        Features(Stripes(1), network, config(f"bf16={bf16}"), CPU, tmp_path, no_progress) for bf16 in ("no", "yes")
    )
    first, second = (each.row(0, config(), 0).pixels for each in (whole, half))
    assert (first.dtype, second.dtype) == (torch.float32, torch.bfloat16)
    torch.testing.assert_close(second.float(), first, rtol=0.02, atol=0.02)


@pytest.mark.parametrize(("flip", "mirrored"), [(0.0, {False}), (1.0, {True})])
def test_mirror_images_are_as_frequent_as_asked(tmp_path, flip, mirrored):
    settings = config(f"augmentation.flip={flip}")
    features = Features(Stripes(1), plain_network([(4, 2)], 3), settings, CPU, tmp_path, no_progress)
    assert {bool(features.row(0, settings, seed).flipped) for seed in range(9)} == mirrored


def test_the_next_picture_stands_in_for_one_that_cannot_be_read(tmp_path):
    features = Features(GreyPictures(3, [1]), plain_network([(4, 2)], 3), config(), CPU, tmp_path, no_progress)
    rows = [features.row(index, config(), 0) for index in range(3)]
    assert [(int(row.planned), int(row.seen)) for row in rows] == [(0, 0), (1, 2), (2, 2)]
    assert list(features.unreadable) == [1]
    assert np.array_equal(rows[1].pixels.float(), rows[2].pixels.float())


def test_what_cannot_be_made(tmp_path):
    with pytest.raises(GroundingError, match="none of the 2 pictures can be read"):
        Features(GreyPictures(2, [0, 1]), plain_network([(4, 2)], 3), config(), CPU, tmp_path, no_progress)
    with pytest.raises(GroundingError, match=r"features of 2 pictures in .*none cannot be written: No such file"):
        Features(GreyPictures(2), plain_network([(4, 2)], 3), config(), CPU, tmp_path / "none", no_progress)
