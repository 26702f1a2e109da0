"""Losses against their definitions, term by term in float64."""

import math

import pytest
import torch

from grounding.training.losses import caption_contrast_loss, tag_loss


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 2


def cross_entropy(logit, target):
    p = 1 / (1 + math.exp(-logit))
    return -(target * math.log(p) + (1 - target) * math.log(1 - p))


def test_tag_loss_against_its_definition():
    logits, targets = random(4, 3), random(4, 3, seed=1).sigmoid()
    expected = sum(cross_entropy(float(logits[n, t]), float(targets[n, t])) for n in range(4) for t in range(3)) / 4
    assert tag_loss(logits, targets).item() == pytest.approx(expected, rel=1e-5)
    assert tag_loss(logits.bfloat16(), targets).dtype == torch.float32


def test_tag_loss_at_every_place_against_its_definition():
    local, wanted = random(2, 3, 4, 5), random(2, 3, 4, 5, seed=1).sigmoid()
    terms = map(cross_entropy, local.flatten().tolist(), wanted.flatten().tolist())
    assert tag_loss(local, wanted).item() == pytest.approx(sum(terms) / (2 * 4 * 5), rel=1e-5)


def test_the_losses_are_finite_at_extreme_logits():
    logits = torch.tensor([[1000.0, -1000.0]], requires_grad=True)
    loss = tag_loss(logits, torch.tensor([[0.0, 1.0]])) + caption_contrast_loss(
        torch.cat([logits, -logits]), torch.tensor([[1.0, 0.0], [0.0, 1.0]]), 0.1
    )
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


def contrast(logits, targets, temperature):
    """The equation in the docstring, by loops."""
    rows = [i for i in range(len(logits)) if float(targets[i].sum()) > 0]
    scores = {}
    for i in rows:
        for j in rows:
            log_p = [-math.log1p(math.exp(-float(logit))) for logit in logits[i]]
            y = [float(value) for value in targets[j]]
            scores[i, j] = sum(a * b for a, b in zip(y, log_p, strict=True)) / (temperature * sum(y))
    total = 0.0
    for i in rows:
        total -= scores[i, i] - math.log(sum(math.exp(scores[i, j]) for j in rows))
        total -= scores[i, i] - math.log(sum(math.exp(scores[j, i]) for j in rows))
    return total / (2 * len(rows))


@pytest.mark.parametrize("temperature", [0.2, 1.0, 5.0])
def test_caption_contrast_against_its_definition(temperature):
    logits, targets = random(5, 7), torch.tensor([[1, 0.5, 0, 0, 0, 0, 0.5]] * 4 + [[0] * 7]).float()
    targets[1:3] = torch.tensor([[0, 0, 1, 0, 0, 0, 0], [0.5, 0, 0, 1, 1, 1, 0]])
    expected = contrast(logits.double(), targets.double(), temperature)
    assert caption_contrast_loss(logits, targets, temperature).item() == pytest.approx(expected, rel=1e-5)


def test_pictures_without_any_tag_are_left_out():
    logits, targets = random(4, 6), (random(4, 6, seed=3) > 0).float()
    assert (targets.sum(1) > 0).all()
    expected = caption_contrast_loss(logits, targets, 1.0)
    logits = torch.cat([logits[:2], random(1, 6, seed=4), logits[2:], random(1, 6, seed=5)]).requires_grad_()
    targets = torch.cat([targets[:2], torch.zeros(1, 6), targets[2:], torch.zeros(1, 6)])
    loss = caption_contrast_loss(logits, targets, 1.0)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert logits.grad.isfinite().all()
    assert not logits.grad[[2, 5]].any()
    assert logits.grad[[0, 1, 3, 4]].abs().sum(1).min() > 0


@pytest.mark.parametrize("rows", [[], [1], [0], [0, 0], [1, 0]], ids=str)
def test_fewer_than_two_pictures_with_tags_give_0(rows):
    logits = random(len(rows), 3).requires_grad_()
    loss = caption_contrast_loss(logits, torch.tensor([[float(row)] * 3 for row in rows]).reshape(-1, 3), 0.5)
    assert loss.shape == ()
    assert loss.item() == 0
    loss.backward()
    assert not logits.grad.any()


def test_pictures_that_match_their_words_cost_less():
    targets = torch.eye(4)
    matched = caption_contrast_loss(targets * 8 - 4, targets, 1.0)
    swapped = caption_contrast_loss(targets[[1, 0, 2, 3]] * 8 - 4, targets, 1.0)
    level = caption_contrast_loss(torch.zeros(4, 4), targets, 1.0)
    assert matched < level < swapped
    assert level.item() == pytest.approx(math.log(4))


def test_caption_contrast_keeps_its_precision_under_autocast():
    logits, targets = random(8, 50), (random(8, 50, seed=1) > 1).float()
    expected = caption_contrast_loss(logits, targets, 0.1)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(caption_contrast_loss(logits, targets, 0.1), expected, rtol=0, atol=0)
