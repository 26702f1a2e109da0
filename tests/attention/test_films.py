"""Films (N, C, t, h, w), and what else has three dimensions: maps (N, K, t, h, w)."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from grounding.attention import contrastive_mwp, mwp, record
from grounding.attention.layers import find_layer, image_of, layers
from grounding.attention.spatial import grid, sum_to_map
from grounding.errors import GroundingError
from helpers.errors import facts
from helpers.networks import soften
from helpers.oracles import check, normal, positive

TIMES, HEIGHT, WIDTH, CHANNELS = 2, 4, 6, 5
PLACES = (TIMES, HEIGHT, WIDTH)


def film(count=2):
    return torch.rand(count, CHANNELS, *PLACES, generator=torch.Generator().manual_seed(0))


def with_tokens(x, before, behind):
    tokens = x.flatten(2).transpose(1, 2)
    return torch.cat([tokens.new_ones(len(x), before, CHANNELS), tokens, tokens.new_ones(len(x), behind, CHANNELS)], 1)


LAID_OUT = {
    "as it came": lambda x: x,
    "channels last": lambda x: x.permute(0, 2, 3, 4, 1),
    "times before channels": lambda x: x.transpose(1, 2),
    "tokens": lambda x: x.flatten(2).transpose(1, 2),
    "tokens made a film": lambda x: x.flatten(2).unflatten(2, PLACES),
    "class token before": lambda x: with_tokens(x, 1, 0),
    "tokens before and behind": lambda x: with_tokens(x, 2, 3),
    "two steps of tokens": lambda x: torch.cat([x.new_ones(len(x), 1, CHANNELS), with_tokens(x, 1, 1)], 1),
    "a token taken away": lambda x: with_tokens(x, 2, 1)[:, 1:],
    "those before taken away": lambda x: with_tokens(x, 1, 2)[:, 1:],
    "all tokens taken away": lambda x: with_tokens(x, 2, 1)[:, 2:-1],
    "all taken away, and a film again": lambda x: with_tokens(x, 1, 0)[:, 1:].transpose(1, 2).unflatten(2, PLACES),
    "every picture an image": lambda x: x.transpose(1, 2).flatten(0, 1).unflatten(0, (-1, TIMES)).transpose(1, 2),
}


@pytest.mark.parametrize("name", LAID_OUT)
def test_every_way_to_lay_out_a_film_keeps_its_places(name):
    tape = record(LAID_OUT[name], film())
    assert grid(tape.output) == PLACES
    torch.testing.assert_close(sum_to_map(tape.scores[None], tape.output)[0], film().sum(1))


LOST = {
    "mean over places": lambda x: x.mean((2, 3, 4)),
    "tokens of which one is missing": lambda x: x.flatten(2)[..., 1:],
    "tokens cut elsewhere": lambda x: x.flatten(2).unflatten(2, (3, 4, 4)),
    "places in another order": lambda x: x.transpose(2, 3).flatten(2),
    "a film turned round": lambda x: x.flip(2),
}


@pytest.mark.parametrize("name", LOST)
def test_no_places_are_better_than_wrong_ones(name):
    tape = record(LOST[name], film())
    if grid(tape.output) is not None:  # then they must be right
        torch.testing.assert_close(sum_to_map(tape.scores[None], tape.output)[0], film().sum(1))
    assert (grid(tape.output) is None) == ("another order" not in name)


@pytest.mark.parametrize("pool", [functional.avg_pool3d, functional.max_pool3d, functional.interpolate])
def test_a_pooled_or_resized_film_has_its_own_grid(pool):
    def model(x):
        return pool(x, scale_factor=0.5) if pool is functional.interpolate else pool(x, 2)

    assert grid(record(model, film()).output) == (1, 2, 3)


WEIGHT = normal(3, 2, 2, 3, 3)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: functional.conv3d(x, WEIGHT, padding=1).relu(),
        lambda x: functional.conv3d(x, WEIGHT, stride=(1, 2, 2)),
        lambda x: functional.conv3d(x, WEIGHT[:2, :1], groups=2),
    ],
    ids=["padded", "strided", "grouped"],
)
def test_the_map_of_a_film_by_definition(function):
    """(N, K, t, h, w), against the dense matrix, and as the sum of the units."""
    check(function, (2, 3, 4, 5))


class Video(nn.Module):
    """Two convolutions, the second of which alone strides in time."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv3d(3, 4, 3, (1, 2, 2), 1), nn.Conv3d(4, 6, 3, (4, 2, 2), 1)
        self.fc = nn.Linear(6, 5)

    def forward(self, x):
        return self.fc(self.second(self.first(x).relu()).relu().mean((2, 3, 4)))


@pytest.fixture(scope="module")
def tape():
    return record(Video().eval(), torch.rand(2, 3, 8, 16, 24))


@pytest.mark.parametrize(
    ("stride", "places"), [(1, (8, 16, 24)), (2, (8, 8, 12)), (4, (2, 4, 6)), (3, (2, 4, 6)), (1.2, (8, 16, 24))]
)
def test_a_stride_is_that_of_the_sides_and_not_of_time(tape, stride, places):
    assert grid(find_layer(tape, stride)) == places
    maps = contrastive_mwp(tape, [0, 3], stride=stride)
    assert maps.shape == (2, 2, *places)
    assert maps.abs().max() > 0


def test_a_stride_that_there_is_not(tape):
    with pytest.raises(GroundingError, match=facts("no layer of the network has stride 16", "one of 4, 2, 1$")):
        contrastive_mwp(tape, [0])


def test_the_map_is_the_sum_of_the_units(tape):
    for layer in (0, "first", "second"):
        units = mwp(tape, [0, 3, 4], layer=layer, channels=True)
        assert units.dim() == 6
        torch.testing.assert_close(mwp(tape, [0, 3, 4], layer=layer), units.sum(2), rtol=1e-5, atol=1e-7)
        assert mwp(tape, torch.zeros(0, 5), layer=layer).shape == (2, 0, *units.shape[3:])


def test_the_table_of_a_film(tape):
    assert [(row.name, row.stride) for row in tape.layers()][:3] == [("inputs[0]", 1), ("first", 2), ("second", 4)]


def test_colours_behind_the_times():
    """As Hugging Face's video models take them: (N, t, C, h, w)."""
    video, x = Video().eval(), torch.rand(2, 8, 3, 16, 24)
    tape = record(lambda x: video(x.transpose(1, 2)), x)
    plain = record(video, x.transpose(1, 2))
    assert mwp(tape, [0]).shape == (2, 1, 8, 16, 24)
    torch.testing.assert_close(mwp(tape, [0]), mwp(plain, [0]))
    for channels, times in ((1, 3), (2, 3), (3, 3), (4, 3), (8, 5)):
        film = torch.rand(1, channels, times, 4, 6)
        assert grid(record(lambda x: x * 1.0, film).inputs[0]) == (times, 4, 6)


def test_a_film_beside_metadata_is_the_image():
    video, other = Video().eval(), nn.Linear(4, 5)
    tape = record(lambda metadata, x: video(x) + other(metadata), torch.rand(2, 4), torch.rand(2, 3, 4, 8, 8))
    assert image_of(tape) is tape.inputs[1]
    assert mwp(tape, [1]).shape == (2, 1, 4, 8, 8)


def test_r3d_18():
    torch.manual_seed(0)
    model = soften(torchvision.models.video.r3d_18(num_classes=4))
    tape = record(model, torch.rand(1, 3, 8, 32, 16))
    assert [grid(find_layer(tape, stride)) for stride in (2, 4, 8, 16)] == [
        (8, 16, 8),
        (4, 8, 4),
        (2, 4, 2),
        (1, 2, 1),
    ]
    maps = mwp(tape, [0, 1], layer="layer1")
    assert maps.shape == (1, 2, 8, 16, 8)
    assert maps.sum((2, 3, 4)).min() > 0.5
    contrast = contrastive_mwp(tape, [0, 1], stride=8)
    units = contrastive_mwp(tape, [0, 1], stride=8, channels=True)
    torch.testing.assert_close(contrast, units.sum(2), rtol=1e-4, atol=1e-6)
    assert contrast.shape == (1, 2, 2, 4, 2)
    assert layers(tape)[0] is tape.inputs[0]


def test_a_film_has_a_gradient():
    torch.manual_seed(0)
    video, x = Video().double().eval(), positive(1, 3, 4, 8, 8).requires_grad_()
    tape = record(video, x, differentiable=True)
    contrastive_mwp(tape, [0], stride=2)[..., :2, :2, :2].sum().backward()
    assert x.grad.isfinite().all()
    assert x.grad.abs().max() > 0
