"""Finished benchmarks as Markdown."""

import json
import sys

import pytest

from helpers.benchmarks import job, run, write_classifier, write_folder
from helpers.paths import load_script


@pytest.fixture
def script():
    return load_script("benchmark_tables")


def cell(value, low, high):
    return {"value": value, "low": low, "high": high, "count": 2}


def test_the_tables_of_a_run(script):
    metrics = {
        "task": "localization",
        "name": "ours",
        "dataset": {"name": "birds", "images": 1200, "rows": 1, "rows_without_tag": 3},
        "settings": {"classifier": {"fingerprint": "0123456789abcdef"}},
        "classifier_top_1": 87.25,
        "methods": {"mwp": {"GT-known": cell(50.0, 40.0, 60.0)}, "people": {"PxAP": {"count": 0}}},
        "differences": {"of": "mwp", "less": {"people": {"GT-known": cell(2.0, -1.0, 5.0)}}},
        "untagged_as_misses": {},
        "costs": {"mwp": {"one_class": 1.26, "further_class": 0.1}},
    }
    assert list(script.lines(metrics)) == [
        "## Localization: birds, ours",
        "",
        "1,200 pictures, 1 class in a picture, fingerprint `0123456789ab`, first class right 87.2%.",
        "",
        "| method | GT-known | PxAP | cost |",
        "|---|---|---|---|",
        "| mwp | 50.0 [40.0, 60.0] | - | 1.3 |",
        "| people | - | - | - |",
        "",
        "| mwp less | GT-known | PxAP |",
        "|---|---|---|",
        "| people | +2.0 [-1.0, +5.0] | - |",
        "",
    ]


def test_the_command(script, capsys, monkeypatch, tmp_path):
    folder, theirs = write_folder(tmp_path / "colours"), write_classifier(tmp_path / "c", tags=("red", "green"))
    metrics = run(job(folder, theirs, "pointing", ("mwp", "center")), tmp_path / "out")
    monkeypatch.setattr(sys, "argv", ["benchmark_tables.py", str(tmp_path / "out")])
    assert script.main() == 0
    out = capsys.readouterr().out
    assert out == "\n".join(script.lines(json.loads(json.dumps(metrics)))) + "\n"
    assert "| with 3 more without a tag as misses |" in out
    monkeypatch.setattr(sys, "argv", ["benchmark_tables.py", str(tmp_path)])
    assert (script.main(), "metrics.json cannot be read" in capsys.readouterr().err) == (2, True)
