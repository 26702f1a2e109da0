"""The arithmetic beside the measured figures, and that the script measures what it says."""

import argparse
import json
import sys

import pytest
import torch
from torch import nn

from grounding.attention import record
from helpers.paths import ROOT, load_script


@pytest.fixture(scope="module")
def bench():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "scripts")
        yield load_script("bench_attention")


@pytest.fixture(scope="module")
def arithmetic():
    return load_script("bench_arithmetic")


def test_bound_counts_the_forward_pass_each_z_and_a_product_for_each_signal(arithmetic):
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 1, groups=2), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).append(nn.Linear(6, 5))
    tape = record(model, torch.rand(2, 3, 8, 8))
    three, one, head = 2 * 64 * 4 * 3 * 9, 2 * 64 * 6 * 2, 2 * 6 * 5
    found = [arithmetic.multiply_adds(operation) for operation in tape.operations if operation.weighted]
    assert found == [three, one, head]
    forward = three + one + head
    assert arithmetic.bound(tape, 17, {"layer": 0}) == pytest.approx(1 + 18 * (three + one + 2 * head) / forward)
    assert arithmetic.bound(tape, 17, {"layer": "1"}) == pytest.approx(1 + 18 * (one + 2 * head) / forward)


def test_the_cost_of_the_embedded_classifier(bench):
    options = argparse.Namespace(signals=3, batch=1, repeats=1, device="cpu")
    case = bench.Case("embedded", 64, {"layer": -4}, options)
    row = case.cost()
    assert row["network"] == "embedded"
    assert row["total_ms"] > 0 < row["forward passes"]
    assert 0 < row["limit"] < row["forward passes"]
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
    assert "matrix units" in printed["processor"]


def test_peers_are_timed_against_ours(bench, monkeypatch):
    """One that gives twice our maps, and one that gives maps of another size."""
    monkeypatch.setattr(bench, "CASES", [("embedded", 64, {"layer": -4})])
    options = argparse.Namespace(signals=2, batch=1, repeats=1, device="cpu")
    case = bench.Case("embedded", 64, {"layer": -4}, options)
    others = {"twice": lambda given: 2 * case.walk(len(given))[0], "larger": lambda given: torch.rand(len(given), 8, 8)}
    monkeypatch.setattr(bench, "installed", lambda model, images: others)
    ours, twice, larger = bench.peers(options)
    assert (ours["implementation"], ours["times slower"], ours["difference"]) == ("ours", 1.0, 0.0)
    assert twice["implementation"] == "twice"
    assert twice["difference"] == pytest.approx(1.0, rel=0.01)
    assert larger["difference"] == "another method"


def test_recording_is_told_by_operation(bench):
    row = bench.recording(argparse.Namespace(repeats=1, device="cpu"))
    assert row["operations"] > 100
    assert row["record_us / operation"] > 0


def test_only_installed_peers_are_run(monkeypatch):
    peers = load_script("bench_peers")
    rows = {"here": ("json", lambda model, images: "maps"), "not here": ("no_such_module", None)}
    monkeypatch.setattr(peers, "PEERS", rows)
    assert peers.installed(None, None) == {"here": "maps"}


def test_what_cannot_be_measured_together_is_refused(bench, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench", "--all", "--batch", "2"])
    with pytest.raises(SystemExit) as stopped:
        bench.main()
    assert stopped.value.code == 2
    assert "--all and --peers measure one image" in capsys.readouterr().err
