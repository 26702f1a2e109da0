"""Outputs of a linear layer that no signal reaches are skipped; the others, in views or copies, give the definition."""

import pytest
import torch

from grounding.attention import mwp, record
from grounding.attention.flow import Flow
from grounding.attention.graph import Operation, Value
from grounding.attention.rules import weighted
from grounding.attention.rules.reached import reached_outputs, some, some_outputs
from helpers.oracles import excite, normal, positive

K, M, OUT, IN = 2, 3, 10, 4
ALL, RANGE, FEW, NONE = range(10), range(4, 8), (0, 5, 9), ()


def flow_of(outputs, by, own=False):
    """A flow that reaches these outputs only: by its ratio, or by its activation, one signal or row an output."""
    ratio, activation = normal(K, M, OUT, seed=1), positive(M, OUT, seed=2)
    there = torch.zeros(OUT, dtype=torch.bool)
    there[list(outputs)] = True
    if by == "ratio":
        for output in range(OUT):
            ratio[:, :, output] *= there[output]
        ratio[1] *= torch.arange(M)[:, None] == 1  # one row of one signal is enough
        ratio[0] *= 0
        return Flow(ratio, None, own)
    return Flow(ratio, activation * there * (torch.arange(M)[:, None] == 1), own)


@pytest.mark.parametrize("by", ["ratio", "activation"])
@pytest.mark.parametrize(
    ("outputs", "most", "expected"),
    [
        (ALL, 10, [slice(0, 10)]),
        (ALL, 4, [slice(0, 4), slice(4, 8), slice(8, 10)]),
        (RANGE, 3, [slice(4, 7), slice(7, 8)]),
        ((0, 1, 2, 4), 9, [slice(0, 5)]),  # one in five is skipped along with it
        (FEW, 2, [[0, 5], [9]]),
        (NONE, 2, []),
    ],
)
def test_reached_outputs(by, outputs, most, expected):
    with torch.no_grad():
        found = reached_outputs(flow_of(outputs, by), most)
    assert [each if isinstance(each, slice) else each.tolist() for each in found] == expected


@pytest.mark.parametrize("of", ["ratio", "activation", "both"])
def test_with_a_gradient_all_outputs_are_one_piece(of):
    ratio, activation = torch.zeros(K, M, OUT), torch.zeros(M, OUT)
    (activation if of == "activation" else ratio).requires_grad_()
    flow = Flow(ratio, None if of == "ratio" else activation)
    assert reached_outputs(flow, 2) == [slice(0, OUT)]


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("which", [slice(2, 5), torch.tensor([0, 3, 9])])
@pytest.mark.parametrize("by", ["ratio", "activation"])
def test_some_outputs(own, which, by):
    flow = flow_of(ALL, by, own)
    formed, kept = flow.probability().clone(), flow.ratio.clone()
    found = some_outputs(flow, which).take_times(torch.full((M, 3), 2.0, dtype=torch.float64))
    torch.testing.assert_close(found, 2 * formed[:, :, which])
    assert own or torch.equal(flow.ratio, kept)  # what others read is not written to
    torch.testing.assert_close(some(kept[0], which, -1), kept[0][:, which])


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("by", ["ratio", "activation"])
@pytest.mark.parametrize("outputs", [ALL, RANGE, FEW, NONE])
@pytest.mark.parametrize("block", [1, IN * 3, 1 << 20])
def test_a_linear_layer_on_its_dense_matrix(monkeypatch, own, by, outputs, block):
    monkeypatch.setattr(weighted, "_BLOCK", block)
    matrix, x = normal(OUT, IN, seed=3), normal(M, IN, seed=4)
    source, output = (Value(torch.Size(shape), (shape[1], 1), active=True) for shape in ((M, IN), (M, OUT)))
    weight = Value(matrix.shape, matrix.stride(), active=False, tensor=matrix)
    source.tensor = x
    operation = Operation(torch.ops.aten.linear.default, (source, weight), {}, (source,), (output,))
    given = flow_of(outputs, by, own)
    p = given.probability().clone()
    with torch.no_grad():
        (found,) = weighted.linear_layer(operation, given)
    expected = torch.stack([torch.stack([excite(matrix, x[m], p[k, m]) for m in range(M)]) for k in range(K)])
    torch.testing.assert_close(found.probability(), expected)
    assert found.probability().any() or not outputs


@pytest.mark.parametrize("sides", [(1, 1), (5, 3)])
@pytest.mark.parametrize(("images", "threads"), [(1, 1), (1, 2), (9, 1)])
def test_pointwise_convolutions_of_few_and_of_many_images(monkeypatch, sides, images, threads):
    """Two signals: below 16 images on one thread by a matrix product, else by a convolution, with the same result."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    kernel, head = normal(6, 4, 1, 1, seed=5), normal(3, 6, seed=6)
    x = positive(images, 4, *sides, seed=7)
    tape = record(lambda x: torch.nn.functional.conv2d(x, kernel).mean((2, 3)) @ head.t(), x)
    signals = positive(K, 3, seed=8)
    y = torch.einsum("dc,nchw->ndhw", kernel[:, :, 0, 0], x).clamp(min=0)
    expected = torch.zeros(images, K, *sides, dtype=torch.float64)
    for n in range(images):
        mean = torch.einsum("dc,nchw->ndhw", kernel[:, :, 0, 0], x)[n].mean((1, 2))
        for k in range(K):
            top = excite(head, mean, signals[k])  # (6,)
            share = y[n] / y[n].sum((1, 2), keepdim=True).clamp(min=1e-30)
            for i in range(sides[0]):
                for j in range(sides[1]):
                    at = excite(kernel[:, :, 0, 0], x[n, :, i, j], top * share[:, i, j])
                    expected[n, k, i, j] = at.sum()
    torch.testing.assert_close(mwp(tape, signals), expected, rtol=1e-9, atol=1e-12)
    assert expected.any()
