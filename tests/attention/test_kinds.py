"""What is looked up of an ATen operation, and that values are told from constants though objects come and go."""

import pytest
import torch
from torch import nn

from grounding.attention import Rule, mwp, record
from grounding.attention.kinds import kind_of
from grounding.attention.rules.table import TABLE

aten = torch.ops.aten


@pytest.mark.parametrize(
    ("overload", "written", "has_modes", "plain"),
    [
        (aten.relu.default, (), False, True),
        (aten.relu_.default, ((0, "self"),), False, True),
        (aten.add.out, ((3, "out"),), False, True),
        (aten.native_batch_norm.default, (), True, True),  # its schema does not say what training writes
        (aten._native_batch_norm_legit_no_training.default, (), False, True),
        (aten.native_dropout.default, (), True, True),
        (aten.bernoulli_.float, ((0, "self"),), True, True),
        (aten.addcmul.default, (), False, False),  # written out
        (aten.flatten.using_ints, (), False, False),  # defined by others
    ],
)
def test_kind_of(overload, written, has_modes, plain):
    kind = kind_of(overload, {})
    assert kind.written == written
    assert kind.has_modes is has_modes
    assert (kind.plainer is None) is plain
    assert kind.rule is TABLE.get(overload, kind.rule)


def test_an_operation_that_was_given_a_rule_is_not_written_out():
    rule = Rule(None)
    kind = kind_of(aten.addcmul.default, {aten.addcmul.default: rule})
    assert kind.plainer is None
    assert kind.rule is rule


def test_a_constant_with_the_identity_of_an_activation_that_is_gone():
    head, reused = nn.Linear(3, 2), set()

    def model(images):
        for _ in range(5):
            gone = {id(activation) for activation in [images * 2.0 for _ in range(50)]}
            constants = [torch.ones(1, 3) for _ in range(50)]
            reused.update(gone & {id(constant) for constant in constants})
            for constant in constants:
                images = images + constant
        return head(images)

    tape = record(model, torch.rand(1, 3))
    assert reused, "Python gave no identity twice: this test says nothing"
    sums = [operation for operation in tape.operations if operation.overload is aten.add.Tensor]
    assert [len(operation.inputs) for operation in sums] == [1] * 250
    assert mwp(tape, torch.eye(2), channels=True).shape == (1, 2, 3)
