"""The arithmetic beside the measured figures, and that the script measures what it says."""

import argparse
import json
import sys

import pytest
import torch
from torch import nn

from grounding.attention import record
from helpers.paths import load_script


@pytest.fixture(scope="module")
def bench():
    return load_script("bench_attention")


def test_bound_counts_the_forward_pass_each_z_and_a_product_for_each_signal(bench):
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 1, groups=2), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).append(nn.Linear(6, 5))
    tape = record(model, torch.rand(2, 3, 8, 8))
    three, one, head = 2 * 64 * 4 * 3 * 9, 2 * 64 * 6 * 2, 2 * 6 * 5
    found = [bench.multiply_adds(operation) for operation in tape.operations if operation.weighted]
    assert found == [three, one, head]
    forward = three + one + head
    assert bench.bound(tape, 17, {"layer": 0}) == pytest.approx(1 + 18 * (three + one + 2 * head) / forward)
    assert bench.bound(tape, 17, {"layer": "1"}) == pytest.approx(1 + 18 * (one + 2 * head) / forward)


def test_the_cost_of_the_embedded_classifier(bench):
    options = argparse.Namespace(signals=3, batch=1, repeats=1, device="cpu")
    case = bench.Case("embedded", 64, {"layer": -4}, options)
    row = case.cost()
    assert row["network"] == "embedded"
    assert row["total_ms"] > 0 < row["forward passes"]
    assert case.total().shape == (1, 3, 4, 4)
    assert case.bfloat16()["contrastive, difference"] < 0.2
    assert case.gradients()["with backward / plain"] > 0
    if sys.platform == "linux":
        assert case.memory()["peak / activations"] >= 0


def test_command_line_prints_json(bench, monkeypatch, capsys):
    monkeypatch.setattr(bench, "CASES", [("embedded", 64, {"layer": -4})])
    monkeypatch.setattr(sys, "argv", ["bench", "--repeats", "1", "--signals", "2", "--json", "--threads", "1"])
    bench.main()
    printed = json.loads(capsys.readouterr().out)
    assert printed["signals"] == 2
    assert printed["tables"]["cost"][0]["read at"] == "layer -4"


def test_what_cannot_be_measured_together_is_refused(bench, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench", "--all", "--batch", "2"])
    with pytest.raises(SystemExit) as stopped:
        bench.main()
    assert stopped.value.code == 2
    assert "--all measures one image" in capsys.readouterr().err
