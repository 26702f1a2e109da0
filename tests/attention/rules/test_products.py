"""The product of a walk is a matrix product, whichever kernel computes it."""

import pytest
import torch

from grounding.attention.rules.products import product, slow_pointwise


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(("images", "rows"), [(1, 3), (16, 64), (17, 70), (15, 64), (16, 63), (16, 0), (0, 0)], ids=str)
@pytest.mark.parametrize("gradients", [False, True])
def test_product(images, rows, dtype, gradients):
    generator = torch.Generator().manual_seed(images + rows)
    n = torch.randn(images * rows, 14, dtype=torch.float64, generator=generator).to(dtype)[:, 2:10]  # not contiguous
    weight = torch.rand(8, 5, dtype=torch.float64, generator=generator).to(dtype)
    with torch.set_grad_enabled(gradients):
        found = product(n, weight, images)
    assert found.shape == (images * rows, 5)
    assert found.dtype == dtype
    expected = n.double() @ weight.double()
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=40 * torch.finfo(dtype).eps)


def test_many_rows_of_many_images_are_a_convolution_on_a_processor_only_without_gradients(monkeypatch):
    calls = []
    real = torch.ops.aten.convolution.default
    monkeypatch.setattr(
        "grounding.attention.rules.products.aten.convolution.default", lambda *given: calls.append(1) or real(*given)
    )
    n, weight = torch.rand(16 * 64, 8), torch.rand(8, 5)
    with torch.no_grad():
        product(n, weight, 16)
        assert bool(calls) == torch.backends.mkldnn.is_available()
        calls.clear()
        for given in ((n, weight, 1), (n[:-16], weight, 16), (n.double(), weight.double(), 16)):
            product(*given)
    product(n, weight, 16)
    assert not calls


@pytest.mark.parametrize(("images", "threads", "slow"), [(15, 1, True), (16, 1, False), (15, 2, False)])
def test_slow_pointwise(monkeypatch, images, threads, slow):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert slow_pointwise(images, torch.device("cpu")) is slow
    assert not slow_pointwise(images, torch.device("meta"))
