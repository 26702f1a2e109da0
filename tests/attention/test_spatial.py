"""Places followed through a network: however dimensions are laid out, the map is the image, summed over channels."""

import pytest
import timm
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from grounding.attention import contrastive_mwp, mwp, record
from grounding.attention.layers import find_layer, layers
from grounding.attention.spatial import grid, sum_to_map
from grounding.errors import GroundingError
from helpers.errors import facts

HEIGHT, WIDTH, CHANNELS = 4, 6, 5

# what a network does to (N, C, h, w), each with the way back; nothing changes a pixel
THERE_AND_BACK = {
    "channels last": (lambda x: x.permute(0, 2, 3, 1), lambda x: x.permute(0, -1, 1, 2)),
    "transposed": (lambda x: x.transpose(1, 3), lambda x: x.transpose(-1, 1)),
    "tokens": (lambda x: x.flatten(2).transpose(1, 2), lambda x: x.transpose(1, 2).unflatten(2, (HEIGHT, WIDTH))),
    "all rows at once": (
        lambda x: x.permute(0, 2, 3, 1).reshape(-1, CHANNELS),
        lambda x: x.reshape(-1, HEIGHT, WIDTH, CHANNELS).permute(0, 3, 1, 2),
    ),
    "heads": (lambda x: x.unflatten(1, (CHANNELS, 1)), lambda x: x.flatten(1, 2)),
    "another dimension": (lambda x: x.unsqueeze(0).unsqueeze(-1), lambda x: x.squeeze(-1).squeeze(0)),
    "class token before": (
        lambda x: torch.cat([torch.ones(len(x), 1, CHANNELS), x.flatten(2).transpose(1, 2)], 1),
        lambda x: x[:, 1:].transpose(1, 2).reshape(-1, CHANNELS, HEIGHT, WIDTH),
    ),
    "tokens before and behind": (
        lambda x: torch.cat([torch.ones(len(x), CHANNELS, 2), x.flatten(2), torch.ones(len(x), CHANNELS, 3)], 2),
        lambda x: x[..., 2:-3].unflatten(-1, (HEIGHT, WIDTH)),
    ),
    "tokens from behind": (
        lambda x: torch.cat([torch.ones(len(x), CHANNELS, 1), x.flatten(2)], 2)[..., -HEIGHT * WIDTH :],
        lambda x: x.unflatten(-1, (HEIGHT, WIDTH)),
    ),
    "channels one by one": (lambda x: torch.stack([x[:, at] for at in range(CHANNELS)], 1), lambda x: x),
    "two class tokens, one dropped": (
        lambda x: torch.cat([torch.ones(len(x), 2, CHANNELS), x.flatten(2).transpose(1, 2)], 1)[:, 1:],
        lambda x: x[:, 1:].transpose(1, 2).unflatten(2, (HEIGHT, WIDTH)),
    ),
}
STEPS = st.lists(st.sampled_from(sorted(THERE_AND_BACK)), max_size=4)


def image(count, seed=0):
    return torch.rand(count, CHANNELS, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, last=st.sampled_from(sorted(THERE_AND_BACK)), count=st.integers(1, 3))
def test_every_way_to_lay_out_an_image_keeps_its_places(steps, last, count):
    def network(x):
        for name in steps:
            there, back = THERE_AND_BACK[name]
            x = back(there(x))
        return THERE_AND_BACK[last][0](x)

    x = image(count)
    tape = record(network, x)
    assert grid(tape.output) == (HEIGHT, WIDTH)
    torch.testing.assert_close(sum_to_map(tape.scores[None], tape.output)[0], x.sum(1))


def windows(x):
    """(N, C, h, w) -> (N * windows, 2, 3, C)."""
    return x.unflatten(2, (2, 2)).unflatten(4, (2, 3)).permute(0, 2, 4, 3, 5, 1).flatten(0, 2)


def test_windows_are_places_until_the_residual_sum():
    x = image(2)
    tape = record(windows, x)
    assert grid(tape.output) == (2, 2)
    expected = functional.avg_pool2d(x, (2, 3), divisor_override=1).sum(1)
    torch.testing.assert_close(sum_to_map(tape.scores[None], tape.output)[0], expected)


def test_of_two_ways_to_name_its_places_a_sum_takes_the_finer():
    def coarse(x):
        return x.unflatten(2, (2, 2)).flatten(2, 3)

    assert grid(record(coarse, image(2)).output) == (2, WIDTH)
    for added in (lambda x: x + coarse(x), lambda x: coarse(x) + x):
        assert grid(record(added, image(2)).output) == (HEIGHT, WIDTH)


LOST = {
    "mean over places": lambda x: x.mean((2, 3)),
    "windows of a shifted image": lambda x: windows(x.roll((1, 2), (2, 3))),
    "a mirrored image": lambda x: x.flip(3),
    "a class token alone": lambda x: torch.cat([x.new_ones(len(x), CHANNELS, 1), x.flatten(2)], 2)[..., :1] * x.sum(),
    "tokens of which places are missing": lambda x: torch.cat([x.flatten(2), x.new_ones(1, CHANNELS, 1)], 2)[..., 2:],
    "places shuffled": lambda x: x.flatten(2)[..., torch.arange(23, -1, -1)],
    "a crop": lambda x: x[:, :, 1:],
    "a convolution of a mirrored image": lambda x: functional.conv2d(x.flip(3), torch.eye(CHANNELS)[..., None, None]),
    "a convolution of channels-last data": lambda x: functional.conv2d(
        x.permute(0, 2, 3, 1), torch.eye(HEIGHT)[..., None, None]
    ),
    "tokens cut elsewhere": lambda x: torch.cat([x.flatten(2), x.new_ones(1, CHANNELS, 16)], 2).unflatten(2, (5, 8)),
    "every other token": lambda x: x.flatten(2)[..., ::2],
    "places one after the other in another order": lambda x: x.transpose(2, 3).flatten(2),
}


@pytest.mark.parametrize("name", LOST)
def test_no_places_are_better_than_wrong_ones(name):
    tape = record(LOST[name], image(1))
    found = grid(tape.output)
    if found is not None:  # then it must be right
        assert found == (HEIGHT, WIDTH)
        torch.testing.assert_close(sum_to_map(tape.scores[None], tape.output)[0], image(1).sum(1))


def test_places_come_back_at_the_residual_sum_and_through_patches_that_merge():
    def network(x):
        x = x + windows(x).reshape(x.shape)
        x = x.permute(0, 2, 3, 1)
        return torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], -1)

    x = image(2)
    tape = record(network, x)
    assert grid(tape.output) == (HEIGHT // 2, WIDTH // 2)
    torch.testing.assert_close(sum_to_map(tape.scores[None], tape.output)[0], tape.scores.sum(-1))


@pytest.mark.parametrize("count", [1, 2])
def test_a_map_at_windows_and_channels_last_data_that_a_convolution_reads(count):
    """Many signals, where the map could be summed in the convolution: it must be that of the units."""
    kernel, head = torch.rand(7, CHANNELS, 1, 1), torch.rand(6, 7)

    def of_windows(x):
        y = functional.conv2d((windows(x) + 0.1).permute(0, 3, 1, 2), kernel).relu().mean((2, 3))
        return functional.linear(y.reshape(len(x), -1, 7).mean(1), head)

    tape = record(of_windows, image(count))
    found = next(value for value in layers(tape) if value.shape == (4 * count, CHANNELS, 2, 3))
    for many in (1, 40):
        signals = torch.rand(many, 6) + 0.1
        index = layers(tape).index(found)
        units = mwp(tape, signals, layer=index, channels=True)
        expected = (
            sum_to_map(units.transpose(0, 1).reshape(many, *found.shape), found).transpose(0, 1) if count == 1 else None
        )
        maps = mwp(tape, signals, layer=index)
        assert maps.shape == (count, many, 2, 2)
        torch.testing.assert_close(maps.sum((2, 3)), torch.ones(1, 1) * signals.sum(1).expand(count, many))
        if expected is not None:
            torch.testing.assert_close(maps, expected)


def test_a_pooled_or_strided_map_has_its_own_grid():
    tape = record(lambda x: functional.avg_pool2d(functional.conv2d(x, torch.ones(2, CHANNELS, 1, 1)), 2), image(1))
    assert grid(tape.output) == (2, 3)


@pytest.mark.parametrize(
    ("name", "options", "size", "found"),
    [
        ("vit_tiny_patch16_224", {"img_size": (64, 96)}, (64, 96), (4, 6)),
        ("swin_tiny_patch4_window7_224", {"img_size": (112, 112), "depths": (1, 1, 1, 1)}, (112, 112), (7, 7)),
        ("convnext_atto", {}, (64, 96), (4, 6)),
    ],
)
def test_maps_of_transformers_and_channels_last_networks(name, options, size, found):
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=6, **options).eval()
    tape = record(model, torch.rand(2, 3, *size))
    assert grid(find_layer(tape, 16)) == found
    signals = torch.eye(6)[:3]
    assert contrastive_mwp(tape, signals).shape == (2, 3, *found)
    units = mwp(tape, signals, stride=16, channels=True)
    maps = mwp(tape, signals, stride=16)
    torch.testing.assert_close(maps.sum((2, 3)), units.flatten(2).sum(2), rtol=1e-4, atol=1e-6)


def test_the_map_of_a_token_layer_leaves_out_the_class_token():
    torch.manual_seed(0)
    model = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=5).eval()
    torch.nn.init.normal_(model.heads.head.weight)
    tape = record(model, torch.rand(1, 3, 32, 32))
    name = "encoder.layers.encoder_layer_0"
    units = mwp(tape, torch.eye(5), layer=name, channels=True)  # (1, K, 17, 16)
    expected = units.sum(-1)[..., 1:].unflatten(2, (4, 4))
    assert expected.abs().sum() > 0
    torch.testing.assert_close(mwp(tape, torch.eye(5), layer=name), expected)


def test_a_layer_without_places_says_so():
    model = torchvision.models.resnet18(weights=None, num_classes=5).eval()
    tape = record(model, torch.rand(1, 3, 32, 32))
    with pytest.raises(GroundingError, match=facts(r"\(1, 512\)", "no places", "channels=True")):
        mwp(tape, torch.eye(5), layer=-1)
    assert mwp(tape, torch.eye(5), layer=-1, channels=True).shape == (1, 5, 512)
    assert grid(layers(tape)[-1]) is None


def test_tokens_before_tokens_move_the_grid():
    """A class token and a register token, put before the patches one after the other."""
    first, second, head = torch.rand(1, 1, 3), torch.rand(1, 1, 3), torch.rand(4, 3)

    def model(x):
        tokens = torch.cat([second, torch.cat([first, x.flatten(2).transpose(1, 2)], 1)], 1)  # (1, 26, 3)
        return functional.linear(tokens.mean(1), head)

    tape = record(model, torch.rand(1, 3, 4, 6))
    (tokens,) = (at for at, value in enumerate(layers(tape)) if value.shape == (1, 26, 3))
    maps = mwp(tape, torch.eye(4), layer=tokens)
    assert maps.shape == (1, 4, 4, 6)
    torch.testing.assert_close(maps, mwp(tape, torch.eye(4), layer=0))
