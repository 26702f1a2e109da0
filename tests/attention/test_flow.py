"""A flow is a product not yet formed: whatever is done to it must equal what is done to the product."""

import itertools

import pytest
import torch

from grounding.attention.flow import Flow
from grounding.attention.rules.arithmetic import reciprocal

SHAPE = (2, 3, 4, 5)  # (K, N, C, w)


def numbers(*shape, seed):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def flow(seed, own, factor):
    """A flow and its probability; `factor` None is a ratio that is formed, a number the seed of an activation."""
    ratio = numbers(*SHAPE, seed=seed)
    activation = None if factor is None else numbers(*SHAPE[1:], seed=factor)
    formed = ratio.clone() if activation is None else ratio * activation
    return Flow(ratio, activation, own), formed


KINDS = list(itertools.product([False, True], [None, 11, 12]))


@pytest.mark.parametrize(("one", "two"), list(itertools.product(KINDS, KINDS)))
def test_the_sum_of_two_ways_down(one, two):
    (left, left_formed), (right, right_formed) = flow(1, *one), flow(2, *two)
    kept = [(each.ratio, each.ratio.clone()) for each in (left, right) if not each.own]
    total = left.plus(right)
    torch.testing.assert_close(total.probability(), left_formed + right_formed)
    assert all(torch.equal(now, before) for now, before in kept)  # what others read is not written to


@pytest.mark.parametrize(("own", "factor"), KINDS)
def test_products_and_parts(own, factor):
    by = numbers(*SHAPE[1:], seed=5)
    for act in (lambda f: f.take_times(by), lambda f: f.scaled(by).probability()):
        given, formed = flow(1, own, factor)
        torch.testing.assert_close(act(given), formed * by)
    given, formed = flow(1, own, factor)
    torch.testing.assert_close(given.part(slice(1, 3)).probability(), formed[:, :, 1:3])
    given, formed = flow(1, own, factor)
    for _ in range(2):  # asking changes nothing
        torch.testing.assert_close(given.probability(), formed)
    torch.testing.assert_close(given.take(), formed)
    given, formed = flow(1, own, factor)
    shared = given.shared()
    before = given.ratio.clone()
    torch.testing.assert_close(shared.take_times(by), formed * by)
    assert torch.equal(given.ratio, before)


def test_equal_activations_keep_gradients_of_their_own():
    one, other = (torch.ones(SHAPE[1:], dtype=torch.float64, requires_grad=True) for _ in range(2))
    left, right = numbers(*SHAPE, seed=1), numbers(*SHAPE, seed=2)
    Flow(left, one).plus(Flow(right, other)).probability().sum().backward()
    torch.testing.assert_close(one.grad, left.sum(0))
    torch.testing.assert_close(other.grad, right.sum(0))


def test_precision_changes_the_numbers_only():
    given, formed = flow(1, True, 11)
    assert given.to(torch.float64) is given
    torch.testing.assert_close(given.to(torch.float32).probability(), formed.float())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_the_reciprocal_of_next_to_nothing_is_0(dtype):
    z = torch.tensor([0.0, 2.0, -4.0, 1e-38], dtype=dtype)
    assert reciprocal(z).tolist() == [0.0, 0.5, -0.25, 0.0]
