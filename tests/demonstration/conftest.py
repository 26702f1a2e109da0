"""The page, served once for all tests of a process, and a person's calls without a browser."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from helpers.browser import serving
from helpers.paths import load_script


@dataclass(frozen=True)
class Page:
    """The address of the page, what answers on it, and the folder of uploaded pictures."""

    address: str
    demonstration: Any
    folder: Path


@contextlib.contextmanager
def served(demonstration, folder, **options):
    from grounding.demonstration.page import application, gradio_settings

    with gradio_settings(folder), serving(application(demonstration, folder, **options)) as address:
        yield Page(address, demonstration, folder)


@pytest.fixture(scope="session")
def demonstration(localizer):
    from grounding.demonstration.questions import Demonstration

    return Demonstration(localizer)


@pytest.fixture(scope="session")
def page(demonstration, tmp_path_factory):
    with served(demonstration, tmp_path_factory.mktemp("uploads")) as found:
        yield found


@pytest.fixture(scope="session")
def bench():
    return load_script("bench_demo")


@pytest.fixture
def caller(page, bench):
    return bench.Caller(page.address)
