"""How a command ends: done, bad input, interrupted, terminated."""

import signal
import subprocess
import sys
import threading
import warnings

import pytest

from grounding.commands import exit_status, path_option
from grounding.errors import GroundingError


def interrupted():
    raise KeyboardInterrupt


def terminated():
    signal.raise_signal(signal.SIGTERM)


def refused():
    raise GroundingError("a line\n  that is broken")


@pytest.mark.parametrize(
    ("command", "advice", "status", "line"),
    [
        (lambda: 0, "", 0, ""),
        (lambda: 1, "", 1, ""),
        (refused, "", 2, "error: a line that is broken\n"),
        (interrupted, "", 130, "interrupted\n"),
        (interrupted, "go on", 130, "interrupted: go on\n"),
        (terminated, "", 143, "terminated\n"),
        (terminated, "go on", 143, "terminated: go on\n"),
    ],
)
def test_how_a_command_ends(command, advice, status, line, capsys):
    assert exit_status(command, advice) == status
    assert capsys.readouterr().err == line
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_second_signal_does_not_disturb_the_tidying_up(capsys):
    tidied = []

    def command():
        try:
            terminated()
        finally:
            terminated()
            tidied.append(1)

    assert exit_status(command) == 143
    assert tidied == [1]


def test_who_has_said_what_sigterm_does_is_left_alone():
    arrived = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: arrived.append(number))
    try:
        assert exit_status(lambda: terminated() or 0) == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    assert arrived == [signal.SIGTERM]


def test_a_command_may_run_in_a_thread():
    statuses = []
    thread = threading.Thread(target=lambda: statuses.append(exit_status(lambda: 0)))
    thread.start()
    thread.join()
    assert statuses == [0]


@pytest.mark.slow
def test_a_single_picture_is_terminated_in_one_line(tmp_path):
    program = "import os, signal, grounding.pipeline as p; "
    program += "p.Localizer.encode = lambda *_: os.kill(os.getpid(), signal.SIGTERM); "
    program += "from grounding.localize import main; raise SystemExit(main(['--caption', 'a man']))"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (143, "terminated\n")
    assert list(tmp_path.iterdir()) == []


def test_a_path_has_a_name_and_a_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("USERPROFILE", "/home/me")
    assert path_option("~/x").as_posix() == "/home/me/x"
    assert path_option("x/~").as_posix() == "x/~"


class Told(UserWarning):
    """A warning of the package."""


Told.__module__ = "grounding.somewhere"


def test_a_warning_of_the_package_is_one_line_and_others_are_as_python_has_them(capfd):
    def command():
        warnings.warn("little arrives", Told, stacklevel=1)
        warnings.warn("old", UserWarning, stacklevel=1)
        return 0

    with pytest.warns(UserWarning, match="old") as others:
        assert exit_status(command) == 0
    assert [str(warning.message) for warning in others] == ["old"]
    assert capfd.readouterr().err == "warning: little arrives\n"
