"""The masks of DGDM against slow loops over cells, how often they drop, and that nothing of a network changes."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18
from torchvision.ops import DropBlock2d

from grounding.errors import GroundingError
from grounding.tagging.network import plain_network, timm_network
from grounding.training.attention_config import DgdmConfig
from grounding.training.dgdm import ChannelAttentionDropout, SpatialAttentionDropBlock, drop_of, dropping

DRAWS = 10_000
SIGMAS = 5  # a share of n draws is off by more in less than one of a million


def off_by(share: float, draws: int) -> float:
    return SIGMAS * math.sqrt(max(share * (1 - share), 1e-4) / draws)


def slow_peak(attention: Tensor, threshold: float) -> Tensor:
    """(h, w): the cells from this share of the highest on, cell by cell."""
    peak = torch.zeros(attention.shape, dtype=torch.bool)
    highest = max(float(value) for row in attention for value in row)
    for y, row in enumerate(attention):
        for x, value in enumerate(row):
            peak[y, x] = float(value) >= threshold * highest and float(value) > 0
    return peak


def covering(foreground: Tensor, size: int) -> tuple[Tensor, int]:
    """(h, w): how many blocks that have their centre in the foreground cover each cell; and the number of blocks."""
    height, width = foreground.shape
    count, blocks = torch.zeros(height, width), 0
    for top in range(height - size + 1):
        for left in range(width - size + 1):
            if foreground[top + size // 2, left + size // 2]:
                blocks += 1
                for y in range(top, top + size):
                    for x in range(left, left + size):
                        count[y, x] += 1
    return count, blocks


# Channels


@pytest.mark.parametrize(
    ("means", "top_k", "kept"),
    [
        ([3.0, 1.0, 2.0], 1, [1, 0, 0]),
        ([3.0, 1.0, 2.0], 2, [1, 0, 1]),
        ([3.0, 1.0, 2.0], 3, [1, 1, 1]),
        ([1.0, 1.0, 1.0, 1.0], 2, [1, 1, 0, 0]),  # of equals the first
        ([-3.0, 1.0, 2.0], 1, [1, 0, 0]),  # the largest magnitude
        ([1.0, 2.0, 3.0], None, [0, 1, 1]),  # half, rounded up
    ],
)
def test_the_channels_with_the_largest_means_are_kept(means: list[float], top_k: int | None, kept: list[int]) -> None:
    features = torch.tensor(means)[None, :, None, None].expand(1, -1, 2, 3)
    mask = ChannelAttentionDropout(top_k, low_keep=0.0).mask(features)
    assert mask.shape == (1, len(means), 1, 1)
    assert mask.flatten().tolist() == kept


def test_channels_are_ranked_by_their_mean_and_not_by_their_maximum() -> None:
    features = torch.zeros(1, 2, 2, 2)
    features[0, 0, 0, 0] = 3.0  # mean 0.75
    features[0, 1] = 1.0
    assert ChannelAttentionDropout(1, 0.0).mask(features).flatten().tolist() == [0, 1]


def test_each_picture_has_its_own_channels() -> None:
    features = torch.tensor([[1.0, 2.0], [2.0, 1.0]])[:, :, None, None]
    assert ChannelAttentionDropout(1, 0.0).mask(features)[:, :, 0, 0].tolist() == [[0, 1], [1, 0]]


def test_low_channels_are_kept_as_often_as_asked() -> None:
    torch.manual_seed(0)
    features = torch.tensor([4.0, 1.0, 3.0, 2.0])[None, :, None, None].expand(DRAWS, -1, 1, 1)
    shares = ChannelAttentionDropout(2, 0.3).mask(features).mean(0).flatten()
    assert shares[[0, 2]].tolist() == [1, 1]
    for low in (1, 3):
        assert float(shares[low]) == pytest.approx(0.3, abs=off_by(0.3, DRAWS))


def test_a_multiple_of_the_features_has_the_same_channels() -> None:
    features = torch.rand(3, 8, 4, 4)
    drop = ChannelAttentionDropout(3, 0.0)
    assert torch.equal(drop.mask(features), drop.mask(features * 4096))


def test_more_channels_than_there_are() -> None:
    with pytest.raises(GroundingError, match=r"dgdm.top_k is 9: expected at most the 8 channels of the layer"):
        ChannelAttentionDropout(9)(torch.rand(1, 8, 2, 2))


# Regions


def test_the_peak_is_dropped() -> None:
    torch.manual_seed(1)
    drop = SpatialAttentionDropBlock(peak_threshold=0.8, block_share=0)
    for _ in range(50):
        attention = torch.randn(1, 1, 5, 7)
        assert torch.equal(drop.drop_mask(attention)[0, 0] == 0, slow_peak(attention[0, 0], 0.8))


def test_all_cells_of_a_tie_are_the_peak_and_a_blank_map_has_none() -> None:
    drop = SpatialAttentionDropBlock(block_share=0)
    assert drop.drop_mask(torch.tensor([[[[1.0, 1.0, 0.5]]]])).flatten().tolist() == [0, 0, 1]
    assert drop.drop_mask(torch.zeros(1, 1, 2, 2)).flatten().tolist() == [1, 1, 1, 1]
    assert drop.drop_mask(-torch.ones(1, 1, 2, 2)).flatten().tolist() == [1, 1, 1, 1]


def test_without_blocks_it_is_adl() -> None:
    """wsolevaluation's rule, from ANCHORS: what is below 0.9 of the highest is kept."""
    attention = torch.rand(4, 1, 6, 6)
    expected = (attention < 0.9 * attention.amax((1, 2, 3), keepdim=True)).float()
    assert torch.equal(SpatialAttentionDropBlock(0.75, 0.9, block_share=0).drop_mask(attention), expected)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_blocks_are_whole_squares_round_places_of_the_foreground(size: int) -> None:
    torch.manual_seed(2)
    foreground = torch.zeros(1, 1, 9, 8, dtype=torch.bool)
    foreground[0, 0, 4, 3] = True
    blocks = SpatialAttentionDropBlock(block_size=size, block_share=size**2).blocks(foreground)  # certain: 1 * s² / s²
    rows, columns = blocks[0, 0].nonzero().T
    top, left = 4 - size // 2, 3 - size // 2
    assert int(blocks.sum()) == size**2
    assert (int(rows.min()), int(rows.max())) == (top, top + size - 1)
    assert (int(columns.min()), int(columns.max())) == (left, left + size - 1)


def test_no_block_without_foreground_or_where_it_would_leave_the_map() -> None:
    drop = SpatialAttentionDropBlock(block_size=3, block_share=1000)
    assert not drop.blocks(torch.zeros(1, 1, 5, 5, dtype=torch.bool)).any()
    edge = torch.zeros(1, 1, 5, 5, dtype=torch.bool)
    edge[..., 0, 0] = True
    assert not drop.blocks(edge).any()


@pytest.mark.parametrize(("size", "share"), [(1, 0.2), (2, 0.3), (3, 0.1), (4, 0.6)])
def test_blocks_cover_each_cell_as_often_as_they_should(size: int, share: float) -> None:
    torch.manual_seed(3)
    foreground = torch.zeros(6, 7, dtype=torch.bool)
    foreground[1:5, 2:6] = True
    foreground[0, 0] = True
    count, blocks = covering(foreground, size)
    chance = min(1.0, share * float(foreground.sum()) / blocks / size**2)  # so that areas sum to share * foreground
    expected = 1 - (1 - chance) ** count  # (6, 7)
    drop = SpatialAttentionDropBlock(block_size=size, block_share=share)
    found = drop.blocks(foreground.expand(DRAWS, 1, 6, 7)).float().mean((0, 1))
    for cell, wanted in zip(found.flatten().tolist(), expected.flatten().tolist(), strict=True):
        assert cell == pytest.approx(wanted, abs=off_by(wanted, DRAWS) if 0 < wanted < 1 else 0)


def test_blocks_lie_in_the_foreground_of_the_attention_map() -> None:
    attention = torch.full((1, 1, 7, 7), 0.1)
    attention[..., 2:5, 2:5] = 0.6
    attention[..., 3, 3] = 1.0
    mask = SpatialAttentionDropBlock(foreground_threshold=0.5, block_size=1, block_share=1000).drop_mask(attention)
    assert torch.equal(mask[0, 0] == 0, attention[0, 0] >= 0.5)


def test_a_multiple_of_the_attention_map_has_the_same_drop_mask() -> None:
    attention = torch.rand(2, 1, 6, 6)
    drop = SpatialAttentionDropBlock(block_share=0.3)
    masks = []
    for scale in (1, 1024):
        torch.manual_seed(4)
        masks.append(drop.drop_mask(attention * scale))
    assert torch.equal(*masks)


def test_one_coin_chooses_between_drop_mask_and_importance_map() -> None:
    torch.manual_seed(5)
    features = torch.tensor([[1.0, 0.2], [3.0, 0.4]])[None, :, None, :]  # (1, 2, 1, 2): attention 2.0 and 0.3
    drop = SpatialAttentionDropBlock(0.75, block_share=0)
    kept = features * torch.tensor([0.0, 1.0])
    weighed = features * torch.tensor([1 / (1 + math.exp(-2.0)), 1 / (1 + math.exp(-0.3))])
    found = [drop(features) for _ in range(2000)]
    dropped = [bool(torch.equal(each, kept)) for each in found]
    assert all(each or torch.allclose(other, weighed) for each, other in zip(dropped, found, strict=True))
    assert sum(dropped) / 2000 == pytest.approx(0.75, abs=off_by(0.75, 2000))


def test_gradients_reach_all_that_is_kept_and_nothing_that_is_dropped() -> None:
    torch.manual_seed(6)
    config = DgdmConfig(enabled=True, layers=("a",), drop_rate=1.0, block_share=0.3, low_keep=0.3)
    features = (torch.rand(2, 8, 6, 6) + 0.1).requires_grad_()
    out = drop_of(config)(features)
    out.sum().backward()
    assert features.grad is not None
    assert torch.equal(features.grad != 0, out != 0)
    assert 0 < float((out == 0).float().mean()) < 1


def test_a_block_larger_than_the_map() -> None:
    with pytest.raises(GroundingError, match=r"dgdm.block_size is 3: expected at most the 4 x 2 cells of the map"):
        SpatialAttentionDropBlock(drop_rate=1.0, block_size=3)(torch.rand(1, 2, 2, 4))


@pytest.mark.parametrize("size", [(1, 1), (3, 1), (14, 9)])
def test_any_size(size: tuple[int, int]) -> None:
    features = torch.rand(2, 4, *size)
    drop = nn.Sequential(ChannelAttentionDropout(), SpatialAttentionDropBlock(block_size=1))
    assert drop(features).shape == features.shape


@pytest.mark.parametrize("drop", [ChannelAttentionDropout(), SpatialAttentionDropBlock()])
def test_identity_in_evaluation_mode(drop: nn.Module) -> None:
    features = torch.rand(2, 4, 5, 5)
    assert drop.train().eval()(features) is features
    assert not list(drop.parameters())
    assert not drop.state_dict()


# Settings and networks


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [ChannelAttentionDropout, SpatialAttentionDropBlock]),
        ({"channels": False}, [SpatialAttentionDropBlock]),
        ({"spatial": "none"}, [ChannelAttentionDropout]),
        ({"channels": False, "spatial": "dropblock"}, [DropBlock2d]),
    ],
)
def test_parts_of_a_configuration(settings: dict[str, object], expected: list[type]) -> None:
    drop = drop_of(DgdmConfig(enabled=True, layers=("a",), **settings))  # type: ignore[arg-type]
    assert [type(part) for part in drop.children()] == expected


def test_settings_reach_the_modules() -> None:
    config = DgdmConfig(True, ("a",), True, 7, 0.11, "guided", 0.22, 0.33, 0.44, 5, 0.55)
    channels, regions = drop_of(config).children()
    assert isinstance(channels, ChannelAttentionDropout)
    assert isinstance(regions, SpatialAttentionDropBlock)
    assert (channels.top_k, channels.low_keep) == (7, 0.11)
    assert (regions.drop_rate, regions.peak_threshold, regions.foreground_threshold) == (0.22, 0.33, 0.44)
    assert (regions.block_size, regions.block_share) == (5, 0.55)
    (blocks,) = drop_of(DgdmConfig(True, ("a",), False, spatial="dropblock", block_size=5, block_share=0.55)).children()
    assert isinstance(blocks, DropBlock2d)
    assert (blocks.p, blocks.block_size) == (0.55, 5)


class Zero(nn.Module):
    """A drop of everything."""

    def forward(self, features: Tensor) -> Tensor:
        return features * 0


NETWORKS = [
    pytest.param(lambda: resnet18(num_classes=3), "layer3.0", id="torchvision"),
    pytest.param(lambda: plain_network([(8, 2), (8, 2)], 3), "features.relu2", id="plain"),
    pytest.param(lambda: timm_network("resnet10t", 3), "features.trunk.layer2", id="timm"),
]


@pytest.mark.parametrize(("make", "name"), NETWORKS)
def test_outputs_are_dropped_while_training_and_the_network_is_left_as_it_was(make, name: str) -> None:  # type: ignore[no-untyped-def]
    network = make()
    images = torch.rand(2, 3, 64, 64)
    before = copy.deepcopy(network.state_dict())
    plain = network.eval()(images)
    with dropping(network, {name: Zero()}):
        assert torch.equal(network(images), plain)
        assert network.state_dict().keys() == before.keys()
        seen: list[Tensor] = []
        handle = network.get_submodule(name).register_forward_hook(lambda *given: seen.append(given[2]))
        network.train()(images)
        handle.remove()
    assert not seen[0].any()
    assert not any(module._forward_hooks for module in network.modules())
    network.load_state_dict(before)
    assert torch.equal(network.eval()(images), plain)


def test_hooks_are_removed_after_an_exception() -> None:
    network = nn.Sequential(nn.ReLU())
    with pytest.raises(ZeroDivisionError), dropping(network, {"0": Zero()}):
        raise ZeroDivisionError
    assert not network[0]._forward_hooks


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["layer9"], r"no module 'layer9': did you mean 'layer\d'\?"),
        (["layer1", "zzz"], "no module 'zzz': expected a module such as conv1, bn1"),
    ],
)
def test_a_name_that_does_not_exist(names: list[str], message: str) -> None:
    network = resnet18()
    with pytest.raises(GroundingError, match=message), dropping(network, dict.fromkeys(names, Zero())):
        pass
    assert not network.layer1._forward_hooks


def test_an_output_that_is_no_map() -> None:
    network = nn.Sequential(nn.Flatten())
    message = r"'0' returns of shape \(1, 12\): expected a module that returns \(N, C, h, w\)"
    with pytest.raises(GroundingError, match=message), dropping(network, {"0": Zero()}):
        network(torch.rand(1, 3, 2, 2))


def test_what_does_not_fit_names_the_layer() -> None:
    network = nn.Sequential(nn.ReLU())
    drops = {"0": ChannelAttentionDropout(5)}
    with pytest.raises(GroundingError, match=r"dgdm.layers '0': dgdm.top_k is 5"), dropping(network, drops):
        network(torch.rand(1, 3, 2, 2))
