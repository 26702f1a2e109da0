"""Where the rows of new tags start, against the definition."""

import pytest
import torch

from grounding.tagging.network import plain_network
from grounding.training.new_rows import start_new_rows


def networks(pooling="log-sum-exp"):
    torch.manual_seed(3)
    source, network = (plain_network([(5, 2)], tags, pooling, normalised=False) for tags in (4, 3))
    with torch.no_grad():
        network.head.weight.zero_()
        network.head.bias.copy_(torch.tensor([-3.0, -2.0, -1.0]))
    return source, network


@pytest.mark.parametrize("pooling", ["log-sum-exp", "average", "top-k", "attention"])
def test_a_new_row_is_the_mean_of_what_its_pictures_show(pooling):
    source, network = networks(pooling)
    if source.attention is not None:
        torch.nn.init.normal_(source.attention.weight)
    pictures = torch.rand(6, 5, 4, 4)
    targets = torch.tensor([[2, 0, 0], [1, 0, 2], [0, 0, 0], [0, 0, 1], [2, 0, 0], [0, 0, 0]], dtype=torch.uint8)
    start_new_rows(network, source, [0, 1], targets, lambda index: pictures[index])
    with torch.no_grad():
        shown = source.pool(source.local_scores(pictures), pictures).sigmoid().double()  # (6, 4)
        mixed = shown[0] * 2 + shown[1] + shown[4] * 2
        row = (mixed / mixed.sum()) @ source.head.weight.double()
        torch.testing.assert_close(network.head.weight[0].double(), row, rtol=1e-4, atol=1e-6)
        assert not network.head.weight[1:].any()  # one has no picture, the other was not asked for
        means = network.pool(network.local_scores(pictures), pictures).mean(0)
    torch.testing.assert_close(means, torch.tensor([-3.0, -2.0, -1.0]), rtol=1e-4, atol=1e-4)  # the logits of before


def test_nothing_is_looked_at_where_no_row_is_new():
    source, network = networks()
    start_new_rows(network, source, [], torch.ones(2, 3, dtype=torch.uint8), lambda index: pytest.fail("looked at"))
    assert not network.head.weight.any()
