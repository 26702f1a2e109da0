"""The contrastive MWP below a pooled linear classifier against the Class Activation Map: theorem, converse, limits.

Notation, as in notebooks/contrast-and-cam.ipynb: features x >= 0 at P places, scores y = W mean_p(x) + b. For one
output, A and B (h, w) are what its positive and its negative weights find at each place, so that CAM = A - B (arXiv
1512.04150, equation 2, without the bias); Z+ and Z- are their means, and S = Z+ - Z- is the score less the bias.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from grounding.attention import contrastive_mwp, readings, record
from grounding.images import sample_scene

EXAMPLES = settings(max_examples=40, deadline=None)
CLOSE = {"rtol": 1e-10, "atol": 1e-12}


def pooled(weight, bias=None, pool=lambda x: x.mean((2, 3))):
    """The classifier on features (N, C, h, w)."""
    return lambda x: functional.linear(pool(x), weight, bias)


def contrastive(model, x):
    """(N, T, h, w): the contrastive map of every output at the features themselves, layer 0."""
    tape = record(model, x)
    return readings(tape, torch.eye(tape.scores.shape[1], dtype=torch.float64), [0])[0].maps


def for_and_against(weight, x):
    """A and B, (N, T, h, w), place by place as they are defined."""
    halves = []
    for half in (weight.clamp(min=0), (-weight).clamp(min=0)):
        maps = torch.zeros(len(x), len(weight), *x.shape[2:], dtype=torch.float64)
        for n, t, c in torch.cartesian_prod(*map(torch.arange, (len(x), *weight.shape))).tolist():
            maps[n, t] += half[t, c] * x[n, c]
        halves.append(maps)
    return halves


def mean(maps):
    return maps.mean((2, 3), keepdim=True)


@st.composite
def nets(draw):
    """Features (N, C, h, w), some of them 0; weights (T, C), each row with both signs; a bias (T,)."""
    n, tags, channels = draw(st.integers(1, 2)), draw(st.integers(1, 4)), draw(st.integers(2, 6))
    height, width = draw(st.integers(1, 4)), draw(st.integers(2, 5))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    x = torch.randn(n, channels, height, width, generator=generator, dtype=torch.float64).clamp(min=0)
    x[:, :, 0, 0] += 0.1  # every channel is seen somewhere
    lean = draw(st.floats(-1, 1))  # towards scores of either sign
    weight = torch.randn(tags, channels, generator=generator, dtype=torch.float64) + lean
    weight[:, 0], weight[:, 1] = weight[:, 0].abs() + 0.1, -weight[:, 1].abs() - 0.1
    return x, weight, torch.randn(tags, generator=generator, dtype=torch.float64)


@EXAMPLES
@given(nets(), st.integers(0, 1000))
def test_the_map_is_what_speaks_for_less_what_speaks_against_each_as_a_distribution(net, seed):
    x, weight, bias = net
    a, b = for_and_against(weight, x)
    expected = (a / mean(a) - b / mean(b)) / x[0, 0].numel()
    torch.testing.assert_close(contrastive(pooled(weight, bias), x), expected, **CLOSE)
    signals = torch.randn(3, len(weight), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    mixed = contrastive_mwp(record(pooled(weight, bias), x), signals, layer=0)
    torch.testing.assert_close(mixed, torch.einsum("kt,nthw->nkhw", signals, expected), **CLOSE)


@EXAMPLES
@given(nets())
def test_the_map_is_the_cam_less_the_score_spread_as_the_weights_are_excited(net):
    """c = scale * (CAM - S E), E of mean 1: so the mean distance between the two maps is the size of the score."""
    x, weight, bias = net
    a, b = for_and_against(weight, x)
    score = (pooled(weight)(x))[..., None, None]  # S, without the bias
    scale = (mean(a) + mean(b)) / (2 * mean(a) * mean(b) * x[0, 0].numel())
    spread = (a + b) / (mean(a) + mean(b))
    found = contrastive(pooled(weight, bias), x)
    torch.testing.assert_close(found, scale * ((a - b) - score * spread), **CLOSE)
    torch.testing.assert_close(mean((found / scale - (a - b)).abs()), score.abs(), **CLOSE)
    torch.testing.assert_close(mean(found), torch.zeros_like(score), **CLOSE)
    torch.testing.assert_close(mean(a - b), score, **CLOSE)


@EXAMPLES
@given(nets())
def test_a_score_of_zero_makes_it_the_cam_whatever_the_bias(net):
    x, weight, bias = net
    x = x[:1]
    a, b = for_and_against(weight, x)
    balanced = torch.where(weight > 0, weight, weight * (mean(a) / mean(b))[0, :, :, 0])
    assert pooled(balanced)(x).abs().max() < 1e-12
    cam = torch.einsum("tc,nchw->nthw", balanced, x)
    found = contrastive(pooled(balanced, bias), x)
    torch.testing.assert_close(found, cam / (x[0, 0].numel() * mean(a)), **CLOSE)


@EXAMPLES
@given(nets(), st.floats(0.1, 10), st.floats(0.1, 10))
def test_the_map_does_not_see_how_strongly_either_sign_weighs_so_not_the_score(net, alpha, beta):
    x, weight, bias = net
    other = torch.where(weight > 0, alpha * weight, beta * weight)
    torch.testing.assert_close(contrastive(pooled(other, bias), x), contrastive(pooled(weight), x), **CLOSE)


@EXAMPLES
@given(nets())
def test_the_score_decides_which_of_the_two_is_positive_at_more_places(net):
    x, weight, _ = net
    a, b = for_and_against(weight, x)
    found, score = contrastive(pooled(weight), x), mean(a - b).expand_as(a)
    assert not ((found > 1e-9) & (a - b < -1e-9) & (score > 0)).any()
    assert not ((found < -1e-9) & (a - b > 1e-9) & (score < 0)).any()


@EXAMPLES
@given(nets())
def test_they_agree_at_two_places_up_to_scale_only_if_the_score_is_zero_or_for_and_against_stand_alike(net):
    """Their quotient rises with A / B where the score is above 0 and falls where it is below: never twice the same."""
    x, weight, _ = net
    a, b = (half.flatten(2) for half in for_and_against(weight, x))
    found, cam = contrastive(pooled(weight), x).flatten(2), a - b
    for n, t in torch.cartesian_prod(torch.arange(len(x)), torch.arange(len(weight))).tolist():
        both = (cam[n, t] > 1e-6) & (found[n, t] > 1e-9)
        order = (b[n, t] / a[n, t])[both].argsort(descending=True)
        quotient = (found[n, t] / cam[n, t])[both][order]
        assert (quotient.diff() * cam[n, t].mean().sign() > -1e-9 * quotient[1:]).all()
        distinct = (b[n, t] / a[n, t])[both][order].diff() < -1e-6
        assert (quotient.diff()[distinct].abs() > 1e-9 * cam[n, t].mean().abs()).all()


@EXAMPLES
@given(nets())
def test_where_no_place_speaks_both_for_and_against_the_clamped_maps_agree_whatever_the_score(net):
    x, weight, bias = net
    x, weight, bias = x[:1].clone(), weight[:1], bias[:1]
    left = (torch.arange(x.shape[3]) < 1).expand(x.shape[2:])
    x[:, weight[0] > 0] = x[:, weight[0] > 0] * left + 0.1 * left
    x[:, weight[0] <= 0] = x[:, weight[0] <= 0] * ~left + 0.1 * ~left
    a, b = for_and_against(weight, x)
    assert not ((a > 0) & (b > 0)).any()
    expected = (a - b).clamp(min=0) / (x[0, 0].numel() * mean(a))
    torch.testing.assert_close(contrastive(pooled(weight, bias), x).clamp(min=0), expected, **CLOSE)


@EXAMPLES
@given(nets(), st.sampled_from([1.0, -1.0]))
def test_without_a_weight_of_the_other_sign_it_is_the_cam_over_the_size_of_the_score(net, sign):
    """The half that nothing excites has Z = 0 and counts as 0: the map no longer sums to 0 but to the score's sign."""
    x, weight, bias = net
    weight = sign * weight.abs()
    cam, score = torch.einsum("tc,nchw->nthw", weight, x), pooled(weight)(x)[..., None, None]
    found = contrastive(pooled(weight, bias), x)
    torch.testing.assert_close(found, cam / (x[0, 0].numel() * score.abs()), **CLOSE)
    torch.testing.assert_close(found.sum((2, 3)), score.sign()[..., 0, 0], **CLOSE)


@pytest.mark.parametrize(
    ("speaks_for", "against", "cam", "expected"),
    [
        ([6.0, 3.0, 0.0], [0.0, 3.0, 6.0], [6.0, 0.0, -6.0], [2 / 3, 0.0, -2 / 3]),  # score 0: the same
        ([10.0, 5.0, 0.0], [4.0, 0.0, 1.0], [6.0, 5.0, -1.0], [2 / 3 - 4 / 5, 1 / 3, -1 / 5]),  # the maximum moves
        ([1.0, 1.0, 2.0], [2.0, 6.0, 4.0], [-1.0, -5.0, -2.0], [1 / 12, -1 / 4, 1 / 6]),  # nothing left of the CAM
        ([8.0, 2.0, 0.0], [4.0, 1.0, 0.0], [4.0, 1.0, 0.0], [0.0, 0.0, 0.0]),  # nothing left of the contrast
    ],
)
def test_worked_by_hand(speaks_for, against, cam, expected):
    """Two channels at three places, with the weights +1 and -1."""
    x = torch.tensor([speaks_for, against], dtype=torch.float64)[None, :, None]  # (1, 2, 1, 3)
    weight = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    assert torch.einsum("tc,nchw->nthw", weight, x).flatten().tolist() == cam
    found = contrastive(pooled(weight), x).flatten()
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), **CLOSE)


@EXAMPLES
@given(nets())
def test_pooling_by_a_sum_is_the_same_and_by_the_maximum_leaves_the_winners_only(net):
    x, weight, bias = net
    summed = contrastive(pooled(weight, bias, lambda x: x.sum((2, 3))), x)
    torch.testing.assert_close(summed, contrastive(pooled(weight, bias), x), **CLOSE)
    winners = torch.zeros_like(x).flatten(2)
    best = x.flatten(2).max(2)
    winners.scatter_(2, best.indices[..., None], best.values[..., None])
    a, b = for_and_against(weight, winners.reshape(x.shape))
    expected = a / a.sum((2, 3), keepdim=True) - b / b.sum((2, 3), keepdim=True)
    maximum = contrastive(pooled(weight, bias, lambda x: functional.adaptive_max_pool2d(x, 1).flatten(1)), x)
    torch.testing.assert_close(maximum, expected, **CLOSE)


@EXAMPLES
@given(nets())
def test_a_head_before_the_pooling_leaves_nothing_to_see_one_layer_below(net):
    """Each place is contrasted with itself: the channels of every place cancel where both signs are excited."""
    x, weight, _ = net
    x = x + 0.1
    found = contrastive(lambda x: functional.conv2d(x, weight[:, :, None, None]).mean((2, 3)), x)
    torch.testing.assert_close(found, torch.zeros_like(found), **CLOSE)


@EXAMPLES
@given(nets(), st.integers(0, 1000))
def test_features_below_zero_count_as_zero_and_their_channel_by_what_is_left_of_its_mean(net, seed):
    x, weight, bias = net
    generator = torch.Generator().manual_seed(seed)
    x = x - 0.5 * torch.rand(x.shape, generator=generator, dtype=torch.float64) * (x == 0)
    x[:, :2, 0, 0] += 0.5 * x[0, 0].numel()  # so that the mean of one channel of either sign is above 0
    kept = x.clamp(min=0) * mean(x).clamp(min=0) / mean(x.clamp(min=0))
    a, b = for_and_against(weight, kept)
    expected = (a / mean(a) - b / mean(b)) / x[0, 0].numel()
    torch.testing.assert_close(contrastive(pooled(weight, bias), x), expected, **CLOSE)


def test_further_down_it_is_the_walk_of_a_classifier_for_which_this_picture_scores_zero():
    """W+ / Z+ - W- / Z- has the same contrastive map at every layer: the CAM of that classifier is the map itself."""
    torch.manual_seed(0)
    trunk = [nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU()]
    head = nn.Linear(8, 4)
    model = nn.Sequential(*trunk, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head).double().eval()
    image = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    x = nn.Sequential(*trunk)(image).detach()
    weight = head.weight.detach()
    a, b = (mean(half)[0, :, :, 0] for half in for_and_against(weight, x))
    rebalanced = torch.where(weight > 0, weight / a, weight / b)
    signals = torch.eye(4, dtype=torch.float64)
    units = contrastive_mwp(record(model, image), signals, layer="4", channels=True)
    torch.testing.assert_close(units, torch.einsum("tc,nchw->ntchw", rebalanced, x) / 16, **CLOSE)
    other = record(lambda images: functional.linear(nn.Sequential(*trunk)(images).mean((2, 3)), rebalanced), image)
    assert other.scores.abs().max() < 1e-12
    for layer in (0, 1, 3):
        found = contrastive_mwp(record(model, image), signals, layer=layer)
        torch.testing.assert_close(found, contrastive_mwp(other, signals, layer=layer), **CLOSE)
        assert found.abs().max() > 1e-6


def test_the_embedded_classifier_obeys_it(localizer):
    """On a picture, in float32: the scores are below 0, so the map shows evidence where the CAM is below 0."""
    network = localizer.classifier.network
    images = localizer.classifier.preprocessing(sample_scene())
    tape = record(lambda images: localizer.classifier.evidence(images)[0], images)
    tags = [localizer.classifier.indices[tag] for tag in ("man", "hat", "grass")]
    with torch.no_grad():
        x = network.features(images).double()
    weight, bias = network.head.weight.detach().double()[tags], network.head.bias.detach().double()[tags]
    a, b = for_and_against(weight, x)
    score = tape.scores[:, tags].double() - bias
    torch.testing.assert_close(mean(a - b)[..., 0, 0], score, rtol=1e-4, atol=1e-4)
    assert (score < 0).all()
    found = contrastive_mwp(tape, torch.eye(len(localizer.classifier.tags))[tags], layer="relu9").double()
    expected = (a / mean(a) - b / mean(b)) / x[0, 0].numel()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
    assert ((found > 0) & (a - b < 0)).any()
