"""What several tests share: the embedded localizer, the sample scene, and ways to run the command lines."""

import io
import os
import sys
from functools import partial

import pytest
from hypothesis import HealthCheck, settings

from grounding.images import sample_scene

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if WORKERS > 1:  # before torch is imported; processes that a test starts inherit it
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // WORKERS)))


@pytest.fixture(autouse=True)
def same_start():
    """Begin each test with the same random numbers; leave torch's settings and `--offline` as they were."""
    import torch

    torch.manual_seed(0)
    threads, grad, offline = torch.get_num_threads(), torch.is_grad_enabled(), os.environ.get("HF_HUB_OFFLINE")
    yield
    os.environ.pop("HF_HUB_OFFLINE", None)
    if offline is not None:
        os.environ["HF_HUB_OFFLINE"] = offline
    assert torch.is_grad_enabled() == grad, "a test leaves autograd switched"
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


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


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium, one for each process of the tests."""
    from playwright.sync_api import sync_playwright

    from helpers.browser import browser_path

    path = browser_path()
    with sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser):
    """Opens an address as a person of its own; afterwards no page may have reported an error.

    `page.told.errors` holds what was reported: a test that expects some takes them out.
    """
    from helpers.browser import Told

    contexts, told = [], []

    def open_(address, **context):
        contexts.append(browser.new_context(**{"viewport": {"width": 1300, "height": 900}, **context}))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.told = Told(page)
        told.append(page.told)
        page.goto(address)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert [each.errors for each in told] == [[]] * len(told)
