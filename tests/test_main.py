"""One command line with those of the package in it."""

import re
import subprocess
import sys

import pytest

import grounding
from grounding.__main__ import main
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


def test_the_version(run_main):
    assert run_main("--version")[:2] == (0, f"{grounding.__version__}\n")


def test_help_imports_nothing_heavy():
    code = "import sys, grounding.__main__ as m\ntry: m.main(['evaluate', '--help'])\nexcept SystemExit: pass\n"
    heavy = "print(sorted({'torch', 'numpy', 'PIL', 'nltk', 'cv2', 'pandas'} & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code + heavy], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_the_console_script_is_this():
    scripts = re.search(r"\[project\.scripts\]\n(.*)\n", (ROOT / "pyproject.toml").read_text())[1]
    assert scripts == 'grounding = "grounding.__main__:main"'
