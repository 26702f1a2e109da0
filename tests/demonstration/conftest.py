"""The page as people start it, a process of its own, once for all tests; and a person's calls without a browser."""

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from helpers.paths import ROOT, load_script


@dataclass(frozen=True)
class Page:
    """The address of the page, its process, the temporary folder of that, and what it says on standard error."""

    address: str
    process: subprocess.Popen
    folder: Path
    log: Path


@contextlib.contextmanager
def started(folder, *arguments):
    """The page while the block lasts, then ended by Ctrl-C."""
    log = folder / "stderr.txt"
    temporary = folder / "temporary"
    temporary.mkdir()
    command = [sys.executable, "-m", "grounding.demo", "--port", "0", "--no-browser", *arguments]
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
    with log.open("w") as file:
        told = {"stdout": subprocess.PIPE, "stderr": file, "text": True}
        process = subprocess.Popen(command, env=environment, cwd=folder, **told)
    try:
        line = process.stdout.readline()
        assert line.startswith("demo: http://127.0.0.1:"), (line, log.read_text())
        yield Page(line.split()[1], process, temporary, log)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


@pytest.fixture(scope="session")
def demonstration(localizer):
    from grounding.demonstration.questions import Demonstration

    return Demonstration(localizer)


@pytest.fixture(scope="session")
def page(tmp_path_factory):
    with started(tmp_path_factory.mktemp("page")) as found:
        yield found


@pytest.fixture(scope="session")
def start_page():
    """Starts another page while a block lasts."""
    return started


@pytest.fixture(scope="session")
def bench():
    return load_script("bench_demo")


@pytest.fixture
def caller(page, bench):
    with contextlib.closing(bench.Caller(page.address)) as found:
        yield found


@pytest.fixture
def quiet(page):
    """The page may print nothing on standard error, least of all a traceback."""
    before = len(page.log.read_text())
    yield
    assert page.log.read_text()[before:] == ""
