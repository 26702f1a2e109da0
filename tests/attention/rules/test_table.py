"""The table of rules as a whole, and rules that a user gives."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

from grounding.attention import Flow, Rule, contrastive_mwp, mwp, record
from grounding.attention.rules import choices, proportional, routing, weighted
from grounding.attention.rules.table import TABLE
from grounding.attention.spatial import aligned
from grounding.errors import GroundingError, UnsupportedOperationError
from helpers.oracles import check, normal, positive

aten = torch.ops.aten
FILES = (weighted.RULES, proportional.RULES, choices.RULES, routing.RULES)


def all_to_the_chosen(operation, flow):
    """All to the element that was chosen."""
    values, indices = operation.inputs[0], operation.outputs[1].content()  # (N, C, L), (N, C)
    p = flow.probability()  # (K, N, C)
    below = p.new_zeros(len(p), *values.shape)
    return (Flow(below.scatter_(-1, indices.expand(p.shape)[..., None], p[..., None])),)


def median(x):
    """(N, C, h, w) -> (N, C)"""
    return x.flatten(2).median(2).values


def network(function):
    head = normal(4, 3, seed=2)
    return lambda x: functional.linear(function(x), head)


def test_an_operation_stands_in_one_file():
    for one, other in itertools.combinations(FILES, 2):
        assert not one.keys() & other.keys()
    assert len(TABLE) == sum(map(len, FILES)) > 100


def test_records_are_whole():
    for overload, rule in TABLE.items():
        assert rule.pass_down or not (rule.needs_values or rule.every_output or rule.dual or rule.pass_map), overload
        assert rule.pass_down or rule.makes or rule.places or rule.ignores_values, overload
        assert not rule.dual or rule.needs_values, overload
        assert not rule.every_output or str(overload._schema.returns[0].type) == "List[Tensor]", overload


def test_a_rule_of_ones_own():
    images = positive(2, 3, 3, 3)
    with pytest.raises(UnsupportedOperationError, match=r"aten\.median.* has no .* rule: .* give record\(\) a rule"):
        mwp(record(network(median), images), torch.eye(4, dtype=torch.float64))
    rules = {aten.median.dim: Rule(all_to_the_chosen)}
    tape = record(network(median), images, rules=rules)
    maps = mwp(tape, torch.eye(4, dtype=torch.float64))  # (2, 4, 3, 3)
    torch.testing.assert_close(maps.sum((2, 3)), torch.ones(2, 4, dtype=torch.float64))
    chosen = images.flatten(2).median(2).indices  # (2, 3)
    lit = torch.zeros(2, 3, 9, dtype=torch.bool).scatter_(2, chosen[..., None], True).any(1).reshape(2, 1, 3, 3)
    assert not (maps * ~lit).any()


def test_a_rule_of_ones_own_comes_before_the_packages():
    def all_to_the_first(operation, flow):
        below = flow.probability().new_zeros(len(flow.ratio), *operation.inputs[0].shape)
        below[:, :, :, 0, 0] = flow.probability().flatten(3).sum(3)
        return (Flow(below),)

    model = nn.Sequential(nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 4)).double()
    images, signals = positive(1, 3, 4, 4), torch.eye(4, dtype=torch.float64)
    tape = record(model, images, rules={aten.relu.default: Rule(all_to_the_first, places=aligned)})
    maps = mwp(tape, signals)
    assert 3.9 < maps[..., 0, 0].sum() == maps.sum()
    assert mwp(record(model, images), signals)[..., 1:, 1:].any()


def test_no_map_behind_an_operation_that_may_move_the_places():
    """`cumsum` has no rule and is not pointwise, so nobody has said what it does to the places."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 4)).double()
    images, signals = positive(1, 3, 4, 4), torch.eye(4, dtype=torch.float64)
    for walk in (mwp, contrastive_mwp):
        with pytest.raises(GroundingError, match=r"above aten\.cumsum.* unknown .* places .*channels=True"):
            walk(record(lambda x: model(x.cumsum(2)), images), signals, layer="1")
    assert mwp(record(lambda x: model(x.cumsum(2)), images), signals, layer="1", channels=True).shape == (1, 4, 4, 4, 4)
    tape = record(lambda x: model(x.cumsum(2)), images, rules={aten.cumsum.default: Rule(None, places=aligned)})
    torch.testing.assert_close(mwp(tape, signals, layer="1"), mwp(record(model, images.cumsum(2)), signals, layer="1"))
    assert mwp(record(lambda x: model(x.sin()), images), signals, layer="1").shape == (1, 4, 4, 4)  # pointwise


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: functional.conv_transpose2d(normal(1, 2, 4, 4), x[..., :1, :1]).mean((2, 3)), ".*transposed"),
        (lambda x: torch.addmm(x.mean((2, 3)), normal(2, 3), normal(3, 3)), ".*bias or its weights depend"),
        (lambda x: normal(2, 3).abs() / x.mean((2, 3)), ".*an operand after the first depends"),
        (lambda x: x.mean((2, 3)) ** -1.5, r".*power -1\.5"),
        (lambda x: x.mean((2, 3)).sin(), ""),
    ],
)
def test_refusals_say_why(function, reason):
    with pytest.raises(UnsupportedOperationError, match=rf"has no Excitation Backprop rule{reason}.*: read a"):
        mwp(record(network(function), positive(2, 3, 4, 4)), torch.eye(4, dtype=torch.float64))


def test_the_places_of_parts_side_by_side():
    """Channels that are split keep their places; rows that are split have none."""
    tape = record(lambda x: network(lambda y: y.mean((2, 3)))(torch.cat(x.split(1, 1), 1) * 2), positive(1, 3, 4, 6))
    assert mwp(tape, torch.eye(4, dtype=torch.float64)).shape == (1, 4, 4, 6)
    (operation,) = (operation for operation in tape.operations if "split" in operation.name)
    assert [dict(f for d in part.axes for f in d) for part in operation.outputs] == [
        {"n": 1, None: 1, "h": 4, "w": 6}
    ] * 3
    tape = record(lambda x: network(lambda y: y.mean((2, 3)))(x.split(2, 2)[0]), positive(1, 3, 4, 6))
    (operation,) = (operation for operation in tape.operations if "split" in operation.name)
    assert not any(name == "h" for part in operation.outputs for dim in part.axes for name, _ in dim)


def test_split_channels_against_the_matrix():
    check(lambda x: torch.cat([x.split(1, 1)[1], 2 * x.split(1, 1)[0]], 1), (2, 3, 3))


def test_arguments_given_by_name():
    """PyTorch's own calls give them by position; whoever calls an operation directly may not."""
    check(lambda x: aten.cat.default([2 * x, x], dim=1), (2, 3, 3))
    check(lambda x: torch.cat(aten.split.Tensor(x, 1, dim=1)[::-1], 1), (2, 3, 3))
    tape = record(lambda x: network(lambda y: y.mean((2, 3)))(aten.cat.default([x], dim=1) * 2), positive(1, 3, 4, 6))
    assert mwp(tape, torch.eye(4, dtype=torch.float64), layer=1).shape == (1, 4, 4, 6)


def test_a_rule_for_a_fused_operation_keeps_it_whole():
    factor = positive(3)
    model = network(lambda x: torch.addcmul(x.mean((2, 3)), factor, factor))
    images, signals = positive(2, 3, 4, 4), torch.eye(4, dtype=torch.float64)
    fused = aten.addcmul.default
    tape = record(model, images, rules={fused: Rule(lambda operation, flow: (flow,), places=aligned)})
    assert fused in [operation.overload for operation in tape.operations]
    assert fused not in [operation.overload for operation in record(model, images).operations]
    torch.testing.assert_close(mwp(tape, signals), mwp(record(model, images), signals))


def test_a_layer_below_an_operation_that_is_refused():
    """A power passes the signal unchanged, but not where it is refused: then the layer above it is another one."""
    tape = record(network(lambda x: (x.mean((2, 3)) + 1) ** -1.5), positive(2, 3, 4, 4))
    assert mwp(tape, torch.eye(4, dtype=torch.float64), layer=-1, channels=True).shape == (2, 4, 3)
    with pytest.raises(UnsupportedOperationError, match="power"):
        mwp(tape, torch.eye(4, dtype=torch.float64), layer=-2, channels=True)
