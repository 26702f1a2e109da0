"""The table of the script: its rows, how results are counted, and that a failing test is seen."""

import subprocess

import pytest

from helpers.paths import load_script


@pytest.fixture(scope="module")
def script():
    return load_script("check_matrix")


def test_every_row_differs_from_the_present_machine(script, capsys):
    assert script.main(["--list"]) == 0
    printed = capsys.readouterr().out
    for name, row in script.ROWS.items():
        assert f"{name} " in printed
        assert row.environment or row.resolution or row.arguments != ("-p", "no:randomly")
    changes = [(tuple(row.environment.items()), row.arguments, row.resolution) for row in script.ROWS.values()]
    assert len(set(changes)) == len(changes)


def test_the_results_of_a_row_are_counted(script, tmp_path, capsys):
    (tmp_path / "test_few.py").write_text(
        "import os, pytest\n"
        "def test_row(): assert os.environ['ATEN_CPU_CAPABILITY'] == 'avx2'\n"
        "def test_fails(): assert False\n"
        "@pytest.fixture\ndef broken(): raise ValueError\n"
        "def test_error(broken): pass\n"
        "def test_skipped(): pytest.skip('here')\n"
    )
    arguments = ["--", str(tmp_path), "-c", str(tmp_path / "pytest.ini"), "--rootdir", str(tmp_path)]
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    assert script.main(["avx2", "--output", str(tmp_path / "table.md"), *arguments]) == 1
    header, line, row = (tmp_path / "table.md").read_text().splitlines()
    assert header == "| row | passed | failed | skipped | seconds |"
    assert line == "| --- | --- | --- | --- | --- |"
    assert row.startswith("| avx2 | 1 | 2 | 1 | ")
    assert row in capsys.readouterr().out


def test_a_run_that_ends_before_its_tests_has_failed(script, monkeypatch, capsys):
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 5))
    assert script.main(["threads-1"]) == 1
    assert "| threads-1 | 0 | 1 | 0 | 0 |" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["avx3"], ["avx2", "none"]])
def test_unknown_rows_are_refused_with_those_there_are(script, arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        script.main(arguments)
    assert stopped.value.code == 2
    assert "expected some of default, avx2" in capsys.readouterr().err
