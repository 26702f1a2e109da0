"""What several tests share: the embedded localizer, the sample scene, and ways to run the command lines."""

import io
import sys
from functools import partial

import pytest

from grounding.images import sample_scene


@pytest.fixture(scope="session")
def localizer():
    from grounding import Localizer

    return Localizer.from_pretrained()


@pytest.fixture(scope="session")
def scene(localizer):
    return localizer.encode(sample_scene())


@pytest.fixture
def in_empty_folder(capsys, monkeypatch, tmp_path):
    """Gives a function that runs a command line's `main`: exit status, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def call(main, *arguments, stdin=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as stop:  # argparse
            status = stop.code
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return call


@pytest.fixture
def run(in_empty_folder):
    """Runs `python -m grounding.localize`."""
    from grounding.localize import main

    return partial(in_empty_folder, main)


@pytest.fixture
def train(in_empty_folder):
    """Runs `python -m grounding.train`: exit status, standard output, lines of standard error without progress bars."""
    from grounding.train import main

    def call(*arguments):
        status, out, err = in_empty_folder(main, *arguments)
        return status, out, [line for line in err.replace("\r", "\n").splitlines() if line.strip() and "%|" not in line]

    return call
