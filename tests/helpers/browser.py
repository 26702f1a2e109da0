"""A real browser for the tests of pages, and a server for them on a free port.

The browser is Debian's `chromium`, or any Chrome that is found; `GROUNDING_BROWSER` names another. Where there is none,
tests skip; with `CI` set they fail.
"""

import contextlib
import os
import shutil
import threading
import time
from pathlib import Path

import pytest
import uvicorn

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SERIOUS = ("serious", "critical")


def browser_path():
    """The browser to drive; skips, or fails in CI, where there is none."""
    found = os.environ.get("GROUNDING_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing("no Chromium or Chrome was found: apt-get install chromium, or name one in GROUNDING_BROWSER")
    return found


@contextlib.contextmanager
def serving(app):
    """The address of an ASGI application that is served on a free port while the block lasts."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server ended before it started"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()


class Told:
    """What a page said that it should not: errors of its console and of its scripts, and answers of status 500."""

    def __init__(self, page):
        self.errors = []
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("response", lambda answer: self.errors.append(answer.url) if answer.status >= 500 else None)


def serious_faults(page):
    """What axe finds on a page that is serious or critical, one line a fault."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{fault['id']}: {fault['help']} ({fault['nodes'][0]['html'][:200]})"
        for fault in found
        if fault["impact"] in SERIOUS
    ]


def screenshots(page, name):
    """Wide and narrow, light and dark, in the folder that GROUNDING_SCREENSHOTS names; nothing where it names none."""
    folder = os.environ.get("GROUNDING_SCREENSHOTS")
    if folder is None:
        return
    size = page.viewport_size
    for width, form in ((1300, "wide"), (390, "narrow")):
        for scheme in ("light", "dark"):
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)
            page.wait_for_timeout(300)
            page.screenshot(path=Path(folder) / f"{name}-{form}-{scheme}.png", full_page=True)
    page.emulate_media(color_scheme=None)
    page.set_viewport_size(size)
