"""One command line with those of the package in it."""

import platform
import re
import subprocess
import sys

import pytest
import torch
import torchvision

import grounding
from grounding.__main__ import main, versions
from helpers.paths import ROOT


@pytest.fixture
def run_main(in_empty_folder):
    return lambda *arguments: in_empty_folder(main, *arguments)


def test_a_command_gets_its_own_options(run_main):
    status, out, err = run_main("localize", "--caption", "running quickly", "--json")
    assert (status, err) == (0, "")
    assert '"phrases": []' in out
    status, out, err = run_main("localize", "--top-k", "0", "--phrases", "a man")
    assert (status, out) == (2, "")
    assert "--top-k is 0" in err


@pytest.mark.parametrize("command", ["localize", "evaluate", "train", "export"])
def test_each_command_has_its_help(run_main, command):
    status, out, _ = run_main(command, "--help")
    assert status == 0
    assert f"grounding.{command}" in out
    assert command in run_main("--help")[1]


@pytest.mark.parametrize("arguments", [(), ("localise",), ("--nothing",)])
def test_no_or_another_command_is_one_line(run_main, arguments):
    status, out, err = run_main(*arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)


def test_the_version_is_one_line_with_what_a_report_needs(run_main):
    status, out, err = run_main("--version")
    (line,) = out.splitlines()
    assert (status, err) == (0, "")
    assert re.match(rf"grounding {re.escape(grounding.__version__)} \(Python {platform.python_version()}, ", line)
    assert f"torch {torch.__version__.partition('+')[0]}" in line
    assert f"torchvision {torchvision.__version__.partition('+')[0]}" in line
    assert line.endswith(f", {platform.platform()})")


def test_a_package_that_is_missing_is_said_to_be(monkeypatch):
    monkeypatch.setattr("grounding.__main__._TOLD", ("torch", "no-such-package"))
    assert ", no-such-package missing, " in versions()


def test_help_imports_nothing_heavy():
    code = "import sys, grounding.__main__ as m\ntry: m.main(['evaluate', '--help'])\nexcept SystemExit: pass\n"
    heavy = "print(sorted({'torch', 'numpy', 'PIL', 'nltk', 'cv2', 'pandas'} & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code + heavy], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_the_console_script_is_this():
    scripts = re.search(r"\[project\.scripts\]\n(.*)\n", (ROOT / "pyproject.toml").read_text())[1]
    assert scripts == 'grounding = "grounding.__main__:main"'
