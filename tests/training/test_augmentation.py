"""Random views: what is seen lies where the crop says, the seed alone decides, and scores follow the picture."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from grounding.training.augmentation import augment, crop_scores
from grounding.training.config import AugmentationConfig

PLAIN = AugmentationConfig(min_crop_scale=0.35, flip=0.5, color_jitter=0.0, grayscale=0.0)
WHOLE = AugmentationConfig(min_crop_scale=1.0, flip=0.0, color_jitter=0.0, grayscale=0.0)


def ramps(height, width):
    """A picture whose red grows to the right and whose green grows downwards, both by the share of the side."""
    red = (np.arange(width) + 0.5) / width * np.ones((height, 1))
    green = (np.arange(height)[:, None] + 0.5) / height * np.ones(width)
    pixels = np.stack([red, green, np.zeros_like(red)]) * 255
    return torch.from_numpy(pixels.round().astype(np.uint8))


def noise(height, width, low=0, high=256, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(low, high, (3, height, width), dtype=torch.uint8, generator=generator)


def centres(start, end, cells):
    return start + (end - start) * (np.arange(cells) + 0.5) / cells


def equal(first, second):
    return bool(torch.equal(first.pixels, second.pixels) and torch.equal(first.crop, second.crop)) and (
        first.flipped == second.flipped
    )


@pytest.mark.parametrize(("height", "width", "size"), [(224, 224, 56), (200, 300, 40), (301, 199, 64), (60, 60, 120)])
def test_a_view_shows_what_its_crop_says(height, width, size):
    picture = ramps(height, width)
    flips = set()
    for seed in range(12):
        view = augment(picture, size, PLAIN, seed)
        assert view.pixels.shape == (3, size, size)
        assert view.pixels.dtype == view.crop.dtype == torch.float32
        x0, y0, x1, y1 = view.crop.tolist()
        across, down = centres(x0, x1, size), centres(y0, y1, size)
        if view.flipped:
            across = across[::-1]
        inner = slice(size // 20 + 1, -(size // 20) - 1)  # at its edges a crop sees nothing of what lies beyond
        seen = view.pixels.numpy()
        np.testing.assert_allclose(seen[0][inner, inner], np.tile(across[inner], (len(seen[0][inner]), 1)), atol=0.008)
        np.testing.assert_allclose(
            seen[1][:, inner][inner], np.tile(down[inner], (len(seen[0][inner]), 1)).T, atol=0.008
        )
        flips.add(view.flipped)
    assert flips == {True, False}


def test_the_whole_picture_unchanged():
    picture = noise(16, 16)
    for seed in range(5):
        view = augment(picture, 16, WHOLE, seed)
        assert view.crop.tolist() == [0, 0, 1, 1]
        assert not view.flipped
        torch.testing.assert_close(view.pixels, picture / 255, rtol=0, atol=1e-7)
        mirrored = augment(picture, 16, replace(WHOLE, flip=1.0), seed)
        assert mirrored.flipped
        torch.testing.assert_close(mirrored.pixels, picture.flip(2) / 255, rtol=0, atol=1e-7)


def test_smaller_pictures_are_averages_not_samples():
    """Of noise, whose standard deviation is 0.29, hardly anything is left where 64 pixels become one."""
    assert augment(noise(64, 64), 8, WHOLE, 0).pixels.std() < 0.07


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (1, 1, (1, 1)),
        (1, 500, (1, 1)),
        (500, 1, (1, 1)),
        (2, 3, None),
        (30, 3000, (30, 40)),
        (3000, 30, (40, 30)),
    ],
)
def test_pictures_of_extreme_shapes(height, width, expected):
    for seed in range(20):
        view = augment(noise(height, width), 8, AugmentationConfig(), seed)
        x0, y0, x1, y1 = view.crop.tolist()
        assert view.pixels.shape == (3, 8, 8)
        assert 0 <= x0 < x1 <= 1
        assert 0 <= y0 < y1 <= 1
        if expected:  # the largest central crop of an aspect that is allowed
            rows, columns = expected
            top, left = (height - rows) // 2, (width - columns) // 2
            wanted = [left / width, top / height, (left + columns) / width, (top + rows) / height]
            assert view.crop.tolist() == pytest.approx(wanted)


def drawn(height, width, smallest, count):
    """(N, 2) area and logarithm of the aspect of crops: both uniform, drawn again while the crop does not fit."""
    generator, crops = np.random.default_rng(0), []
    while len(crops) < count:
        area, aspect = generator.uniform(smallest, 1), np.exp(generator.uniform(np.log(3 / 4), np.log(4 / 3)))
        if (area * height * width * aspect) ** 0.5 <= width and (area * height * width / aspect) ** 0.5 <= height:
            crops.append((area, np.log(aspect)))
    return np.array(crops)


@pytest.mark.parametrize(("height", "width", "smallest"), [(224, 224, 0.35), (400, 300, 0.1), (150, 200, 0.6)])
def test_crops_are_spread_over_areas_aspects_and_places(height, width, smallest):
    config, picture = replace(PLAIN, min_crop_scale=smallest, flip=0.3), noise(height, width)
    views = [augment(picture, 4, config, seed) for seed in range(600)]
    x0, y0, x1, y1 = torch.stack([view.crop for view in views]).double().numpy().T
    area, aspect = (x1 - x0) * (y1 - y0), np.log((x1 - x0) * width / ((y1 - y0) * height))
    parts = [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0]
    for values, expected in zip((area, aspect), drawn(height, width, smallest, 3000).T, strict=True):
        np.testing.assert_allclose(np.quantile(values, parts), np.quantile(expected, parts), atol=0.05)
    for start, end in ((x0, x1), (y0, y1)):
        free = 1 - (end - start)
        assert (start[free > 0.02] / free[free > 0.02]).mean() == pytest.approx(0.5, abs=0.06)
        assert start.min() == 0
        assert end.max() == 1
    assert np.mean([view.flipped for view in views]) == pytest.approx(0.3, abs=0.06)


# ---- seeds


def test_the_seed_alone_decides():
    picture = noise(50, 70)
    views = []
    for state in (1, 2):
        torch.manual_seed(state)
        views.append([augment(picture, 32, AugmentationConfig(), seed) for seed in (0, 1, 2**64 - 1)])
    assert all(map(equal, *views))
    first, second, third = views[0]
    assert not torch.equal(first.crop, second.crop)
    assert not torch.equal(second.crop, third.crop)


def test_the_global_random_state_is_left_alone():
    before = torch.get_rng_state()
    augment(noise(50, 70), 32, AugmentationConfig(), 3)
    assert torch.equal(torch.get_rng_state(), before)


def test_threads_do_not_disturb_each_other():
    picture, config = noise(50, 70), AugmentationConfig()
    expected = [augment(picture, 32, config, seed) for seed in range(50)]
    torch.manual_seed(0)
    alone = [torch.rand(3) for _ in range(200)]
    torch.manual_seed(0)
    with ThreadPoolExecutor(4) as threads:
        views = [threads.submit(augment, picture, 32, config, seed) for seed in range(50)]
        beside = [torch.rand(3) for _ in range(200)]
    assert all(equal(view.result(), wanted) for view, wanted in zip(views, expected, strict=True))
    assert all(map(torch.equal, beside, alone))


@pytest.mark.parametrize(
    "change", [{"flip": 0.0}, {"color_jitter": 0.0}, {"grayscale": 0.0}, {"grayscale": 1.0}, {"flip": 1.0}]
)
def test_an_option_changes_no_other(change):
    picture, config = noise(50, 70), AugmentationConfig()
    for seed in range(10):
        first, second = (augment(picture, 16, c, seed) for c in (config, replace(config, **change)))
        assert torch.equal(first.crop, second.crop)
        assert first.flipped == second.flipped or "flip" in change
        if "flip" in change:
            turned = second.pixels.flip(2) if first.flipped != second.flipped else second.pixels
            torch.testing.assert_close(first.pixels, turned, rtol=0, atol=2e-3)
    smaller = replace(config, min_crop_scale=0.9)
    views = [[augment(noise(9, 9, 90, 91), 4, c, seed) for c in (config, smaller)] for seed in range(10)]
    assert all(torch.equal(first.pixels, second.pixels) for first, second in views)


def test_the_picture_is_left_as_it_was():
    picture = noise(20, 20)
    before = picture.clone()
    augment(picture, 20, AugmentationConfig(min_crop_scale=1.0, grayscale=1.0), 0)
    assert torch.equal(picture, before)


# ---- colours


WEIGHTS = np.array([0.2989, 0.587, 0.114])  # of ITU-R 601-2 luma, as Pillow and torchvision have it


def factors(view, picture):
    """The brightness, contrast and saturation that turn a picture into its view, by least squares, and the misfit.

    By the definitions, with grey g and its mean m: brightness y = b x; contrast z = k y + (1 - k) b m; saturation
    s z + (1 - s) g(z). So the grey of the view is k b g + (1 - k) b m, and what is not grey is s k b times as strong.
    """
    x, seen = picture.numpy() / 255, view.pixels.double().numpy()
    g, grey = np.tensordot(WEIGHTS, x, 1), np.tensordot(WEIGHTS, seen, 1)
    slope, offset = np.polyfit(g.ravel(), grey.ravel(), 1)
    brightness = slope + offset / g.mean()
    contrast = slope / brightness
    chroma = x - g
    strength = ((seen - grey) * chroma).sum() / (chroma**2).sum()
    misfit = np.abs(grey + strength * chroma - seen).max()
    return [brightness, contrast, strength / slope], misfit


def test_colours_follow_their_definitions_and_their_range():
    picture = noise(12, 12, 100, 150)
    config = replace(WHOLE, color_jitter=0.4)
    fits = [factors(augment(picture, 12, config, seed), picture) for seed in range(200)]
    assert max(misfit for _, misfit in fits) < 2e-3  # the weights of grey add up to 0.9999
    values = np.array([value for value, _ in fits])
    assert values.min() > 0.59
    assert values.max() < 1.41
    for each in values.T:
        assert each.min() < 0.63
        assert each.max() > 1.37
        assert each.mean() == pytest.approx(1, abs=0.05)
    assert np.abs(np.corrcoef(values.T) - np.eye(3)).max() < 0.2


@pytest.mark.parametrize("strength", [0.4, 1.0])
def test_colours_stay_in_range(strength):
    for seed in range(30):
        pixels = augment(noise(12, 12), 12, replace(WHOLE, color_jitter=strength), seed).pixels
        assert 0 <= pixels.min() <= pixels.max() <= 1
        assert pixels.isfinite().all()


def test_grey_pictures():
    picture = noise(12, 12)
    pixels = augment(picture, 12, replace(WHOLE, grayscale=1.0), 0).pixels
    expected = np.tensordot(WEIGHTS, picture.numpy() / 255, 1)
    np.testing.assert_allclose(pixels.numpy(), np.tile(expected, (3, 1, 1)), atol=1e-5)
    views = [augment(picture, 12, replace(AugmentationConfig(), grayscale=0.2), seed) for seed in range(400)]
    grey = [view for view in views if bool((view.pixels == view.pixels[:1]).all())]
    assert len(grey) / len(views) == pytest.approx(0.2, abs=0.06)
    assert {view.flipped for view in grey} == {True, False}


# ---- scores


def slow_crop(scores, crop, flipped, cells):
    """Bilinear interpolation between the centres of cells, in float64, one cell after the other."""
    tags, height, width = scores.shape
    x0, y0, x1, y1 = (float(value) for value in crop)
    cropped = np.zeros((tags, cells, cells))
    for row, y in enumerate(centres(y0, y1, cells)):
        for column, x in enumerate(centres(x0, x1, cells)):
            v, u = min(max(y * height - 0.5, 0), height - 1), min(max(x * width - 0.5, 0), width - 1)
            top, left = int(v), int(u)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            upper = scores[:, top, left] * (1 - u + left) + scores[:, top, right] * (u - left)
            lower = scores[:, bottom, left] * (1 - u + left) + scores[:, bottom, right] * (u - left)
            cropped[:, row, cells - 1 - column if flipped else column] = upper * (1 - v + top) + lower * (v - top)
    return cropped


@pytest.mark.parametrize(("height", "width", "cells"), [(6, 6, 4), (5, 9, 7), (3, 2, 8), (1, 1, 3), (7, 4, 1)])
def test_crop_scores_against_the_definition(height, width, cells):
    generator = np.random.default_rng(0)
    starts = generator.uniform(0, 0.5, (6, 2))
    crops = np.concatenate([starts, starts + generator.uniform(0.3, 0.5, (6, 2))], 1)
    crops[0] = 0, 0, 1, 1
    flipped = np.array([False, True, False, True, True, False])
    scores = generator.normal(0, 5, (6, 3, height, width))
    expected = np.stack([slow_crop(*each, cells) for each in zip(scores, crops, flipped, strict=True)])
    arguments = (torch.from_numpy(crops).float(), torch.from_numpy(flipped), cells)
    for kind, tolerance in ((torch.float64, 2e-5), (torch.float32, 2e-5)):
        cropped = crop_scores(torch.from_numpy(scores).to(kind), *arguments)
        assert cropped.dtype == kind
        np.testing.assert_allclose(cropped.double().numpy(), expected, atol=tolerance)


def test_the_scores_of_the_whole_picture():
    scores = torch.randn(2, 3, 5, 5)
    crops = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(2, 4)
    cropped = crop_scores(scores, crops, torch.tensor([False, True]), 5)
    torch.testing.assert_close(cropped, torch.stack([scores[0], scores[1].flip(2)]))


@pytest.mark.parametrize(("height", "width"), [(96, 96), (96, 144)])
def test_scores_follow_the_picture(height, width):
    """The scores of a picture, cropped, are the scores of the picture cropped: where a score is a mean of colours."""
    picture, cells, size = ramps(height, width), 24, 56
    scores = torch.nn.functional.adaptive_avg_pool2d(picture / 255, cells)[None]
    for seed in range(20):
        view = augment(picture, size, PLAIN, seed)
        cropped = crop_scores(scores, view.crop[None], torch.tensor([view.flipped]), 7)[0]
        seen = torch.nn.functional.adaptive_avg_pool2d(view.pixels, 7)
        torch.testing.assert_close(cropped, seen, rtol=0, atol=0.012)
