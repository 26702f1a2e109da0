"""What tests of the annotation page share: a served folder, a hand that drags, and what is on disk."""

import contextlib
import json
import shutil

from playwright.sync_api import expect

from grounding.annotation.page import application
from grounding.annotation.project import Project
from helpers.browser import serving


@contextlib.contextmanager
def annotating(open_page, drafted, folder):
    """Opens the page of `folder`, a copy of an annotation folder unless it is the same, for one person each time."""
    if drafted != folder:
        shutil.copytree(drafted, folder, dirs_exist_ok=True)
    pages = []

    def visit(place="", **context):
        pages.append(open_page(address + place, **context))
        return pages[-1]

    with Project.open(folder) as project, serving(application(project)) as address:
        yield visit
        for page in pages:  # before the server ends, of which they would complain
            page.goto("about:blank")


def decisions(folder):
    """What the log says: action and what it is about, without who, when and how long."""
    left_out = {"n", "time", "person", "time_s", "actions"}
    return [{name: value for name, value in line.items() if name not in left_out} for line in lines(folder)]


def lines(folder):
    """The lines of the log."""
    log = folder / "log.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def drafts(folder):
    """The drafted pictures by their names."""
    read = [json.loads(line) for line in (folder / "drafts.jsonl").read_text().splitlines()]
    return {each["image"]: each for each in read}


def edges(box):
    return [box[edge] for edge in ("x0", "y0", "x1", "y1")]


def ready(page, name=None):
    """Wait until a picture is shown and everything is saved."""
    expect(page.locator("#work")).to_have_attribute("aria-busy", "false")
    expect(page.locator("#saved")).to_have_text("All saved")
    if name is not None:
        expect(page.locator("#name")).to_have_text(name)


def go_to(page, picture):
    """Show a picture by its address, as a bookmark would."""
    page.evaluate("id => { location.hash = id; }", picture["id"])
    ready(page, picture["image"])


class Hand:
    """A mouse that knows where a px of the picture is on the screen."""

    def __init__(self, page, picture):
        self.page, self.picture = page, picture

    def at(self, x, y):
        canvas = self.page.locator("#canvas").bounding_box()
        scale = canvas["width"] / self.picture["width"]
        return canvas["x"] + x * scale, canvas["y"] + y * scale

    def drag(self, start, end, key=None):
        """From one point of the picture to another; `key` is held."""
        if key:
            self.page.keyboard.down(key)
        self.page.mouse.move(*self.at(*start))
        self.page.mouse.down()
        self.page.mouse.move(*self.at(*((a + b) / 2 for a, b in zip(start, end, strict=True))))
        self.page.mouse.move(*self.at(*end))
        self.page.mouse.up()
        if key:
            self.page.keyboard.up(key)
        ready(self.page)

    def pull(self, handle, across, down):
        """A handle of the chosen box by so many px of the picture."""
        knob = self.page.locator(f".{handle} .knob").bounding_box()
        x, y = knob["x"] + knob["width"] / 2, knob["y"] + knob["height"] / 2
        (x0, y0), (x1, y1) = self.at(0, 0), self.at(across, down)
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x + (x1 - x0) / 2, y + (y1 - y0) / 2)
        self.page.mouse.move(x + x1 - x0, y + y1 - y0)
        self.page.mouse.up()
        ready(self.page)

    def click(self, x, y):
        self.page.mouse.click(*self.at(x, y))
