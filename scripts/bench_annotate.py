"""What drafted boxes save: 50 pictures of CUB annotated in the page by a scripted browser, with drafts and without.

    python scripts/bench_annotate.py --cub ../shared/data/cub_200_2011_50classes.tar
    python scripts/bench_annotate.py --cub CUB_200_2011 --classifier runs/birds/classifier --pictures 200

Every picture has one bird, whose box is known. The scripted annotator accepts a draft whose IoU with that box is at
least T; else it pulls the one handle that brings it there, else two opposite ones, which make it exact, else it rejects
the draft and draws. Without drafts it draws each box. Each click, drag and press of a key is one action, the key that
ends the picture among them: no box takes less than 1, and one that is drawn takes 2. Drafts in the middle of the
picture, all of the mean size of the train split's boxes, are the trivial way to do it. The actions are those that the
page itself counted, and must be those that the script made; the seconds are the browser's, not a person's.
"""

import argparse
import json
import random
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from playwright.sync_api import Page, expect, sync_playwright
from tqdm import tqdm

from grounding.annotate import main as annotate
from grounding.annotation.drafted import DRAFTS, Settings, draft_line, write_settings
from grounding.annotation.page import application
from grounding.annotation.project import Project
from grounding.annotation.records import Drafted, Edges
from grounding.boxes import iou
from grounding.datasets.cub import read_cub
from grounding.datasets.labelled import LabelledImage, LabelledImages
from grounding.errors import GroundingError

LABEL = "bird"
LEAST_IOU = (0.5, 0.7)
CORNERS = (("nw", "se"), ("se", "nw"), ("ne", "sw"), ("sw", "ne"))
SINGLE = ("nw", "n", "ne", "e", "se", "s", "sw", "w")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@dataclass(frozen=True)
class Outcome:
    """What annotating all pictures in one way took."""

    drafts: str
    least_iou: float | None
    untouched: float | None  # share
    actions: float  # a box
    mean_iou: float  # of the boxes in the end
    time_s: float  # a box, of the browser


def overlap(box: Edges, other: Edges) -> float:
    """IoU of two boxes."""
    return float(iou(np.array([box]), np.array([other]))[0, 0])


def pulled(box: Edges, handle: str, truth: Edges) -> Edges | None:
    """The box when a handle is pulled to where it should be; None where the box would turn over."""
    x0, y0, x1, y1 = box
    x0, x1 = truth[0] if "w" in handle else x0, truth[2] if "e" in handle else x1
    y0, y1 = truth[1] if "n" in handle else y0, truth[3] if "s" in handle else y1
    return (x0, y0, x1, y1) if x1 - x0 > 1 and y1 - y0 > 1 else None


def corrections(draft: Edges, truth: Edges, least_iou: float) -> tuple[str, ...] | None:
    """The handles to pull, none where the draft is accepted as it is; None where it is better drawn anew."""
    if overlap(draft, truth) >= least_iou:
        return ()
    once = [(overlap(box, truth), handle) for handle in SINGLE if (box := pulled(draft, handle, truth))]
    if once and max(once)[0] >= least_iou:
        return (max(once)[1],)
    return next((pair for pair in CORNERS if pulled(draft, pair[0], truth)), None)


class Annotator:
    """Works at the page with mouse and keys, and counts what it does."""

    def __init__(self, page: Page, least_iou: float) -> None:
        self.page, self.least_iou, self.actions = page, least_iou, 0

    def annotate(self, drafts: Sequence[Edges], truth: Edges, size: tuple[int, int]) -> None:
        """One picture, from when it is shown until it is done."""
        canvas = self.page.locator("#canvas").bounding_box()
        assert canvas is not None
        self._scale = canvas["width"] / size[0]
        self._corner = canvas["x"], canvas["y"]
        pulls = corrections(drafts[0], truth, self.least_iou) if drafts else None
        if drafts and pulls is None:
            self._press("x")
        if pulls is None:
            self._drag(truth[:2], truth[2:])
        box = drafts[0] if drafts else truth
        for handle in pulls or ():
            after = pulled(box, handle, truth)
            assert after is not None
            self._drag(_place(box, handle), _place(after, handle))
            box = after
        self._press("d")

    def _press(self, key: str) -> None:
        self.page.keyboard.press(key)
        self.actions += 1

    def _drag(self, start: tuple[float, ...], end: tuple[float, ...]) -> None:
        mouse = self.page.mouse
        mouse.move(*self._on_screen(start))
        mouse.down()
        mouse.move(*self._on_screen(end), steps=2)
        mouse.up()
        self.actions += 1
        expect(self.page.locator("#saved")).to_have_text("All saved")

    def _on_screen(self, point: tuple[float, ...]) -> tuple[float, float]:
        x, y = (corner + at * self._scale for corner, at in zip(self._corner, point, strict=True))
        return x, y


def _place(box: Edges, handle: str) -> tuple[float, float]:
    """Where a handle of a box is, in px of the picture."""
    x0, y0, x1, y1 = box
    x = x0 if "w" in handle else x1 if "e" in handle else (x0 + x1) / 2
    return x, y0 if "n" in handle else y1 if "s" in handle else (y0 + y1) / 2


# ---- pictures and drafts


def box_of(image: LabelledImage) -> Edges:
    """The box of the bird."""
    x0, y0, x1, y1 = (float(edge) for edge in image.regions[0].boxes[0])
    return x0, y0, x1, y1


def middle_box(train: LabelledImages, width: int, height: int) -> Edges:
    """A box in the middle, its sides the mean part of a picture's that the boxes of `train` have."""
    boxes = [(box_of(image), image.width, image.height) for image in train.images]
    across = statistics.fmean((x1 - x0) / w for (x0, _, x1, _), w, _ in boxes) * width / 2
    down = statistics.fmean((y1 - y0) / h for (_, y0, _, y1), _, h in boxes) * height / 2
    return width / 2 - across, height / 2 - down, width / 2 + across, height / 2 + down


def write_drafts(folder: Path, images: Path, pictures: Sequence[LabelledImage], boxes: Sequence[Edges | None]) -> None:
    """An annotation folder with these drafts, None for none."""
    folder.mkdir()
    write_settings(folder, Settings(str(images.resolve()), (LABEL,), len(pictures)))
    with (folder / DRAFTS).open("w") as file:
        for place, (image, box) in enumerate(zip(pictures, boxes, strict=True)):
            drafts = () if box is None else ((LABEL, box, 0.5),)
            drafted = Drafted(place, f"{image.id}.jpg", image.width, image.height, "", 0.5, drafts)
            file.write(json.dumps(draft_line(drafted)) + "\n")


def draft(folder: Path, images: Path, classifier: str | None) -> None:
    """The same by the command line: there is a bird in every picture."""
    given = ["--images", images, "--output", folder, "--labels", LABEL, "--min-presence", 0, "--headless"]
    given += ["--classifier", classifier] if classifier else []
    if annotate([str(each) for each in given]) != 0:
        raise SystemExit("the boxes could not be drafted")


# ---- the browser


@contextmanager
def served(project: Project) -> Iterator[str]:
    """The address of the page while the block lasts."""
    server = uvicorn.Server(uvicorn.Config(application(project), port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()


def annotated(browser: Any, folder: Path, truths: dict[str, Edges], name: str, least_iou: float | None) -> Outcome:
    """Annotate all pictures of a folder."""
    with Project.open(folder) as project:
        with served(project) as address:
            page = browser.new_page(viewport={"width": 1300, "height": 900})
            page.goto(address)
            expect(page.locator("#work")).to_have_attribute("aria-busy", "false")
            annotator = Annotator(page, least_iou or 1.0)
            start = time.perf_counter()
            for place, id_ in enumerate(tqdm(project.order, f"{name}, T = {least_iou}", unit=" pictures")):
                picture = project.picture(id_)
                assert page.locator("#name").inner_text() == picture["name"]
                drafts = [(box["x0"], box["y0"], box["x1"], box["y1"]) for box in picture["boxes"]]
                annotator.annotate(drafts, truths[picture["name"]], (picture["width"], picture["height"]))
                expect(page.locator("#count")).to_have_text(f"{place + 1} of {len(project.order)} done")
                if place + 1 < len(project.order):
                    expect(page.locator("#work")).to_have_attribute("aria-busy", "false")
            elapsed = time.perf_counter() - start
            page.close()
        told = project.report().to_dict()
        found = []
        for id_ in project.order:
            picture = project.picture(id_)
            (box,) = (each for each in picture["boxes"] if each["state"] == "accepted")
            edges = box["x0"], box["y0"], box["x1"], box["y1"]
            found.append(overlap(edges, truths[picture["name"]]))
    assert told["boxes"] == len(truths)
    counted = round(told["actions_per_box"] * told["boxes"])
    assert counted == annotator.actions, f"the page counted {counted} actions: {annotator.actions} were made"
    untouched, boxes = told["untouched_share"], told["boxes"]
    mean = statistics.fmean(found)
    return Outcome(name, least_iou, untouched, annotator.actions / boxes, mean, elapsed / boxes)


def find_browser() -> str:
    """The path of a Chromium or Chrome."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise SystemExit("no Chromium or Chrome was found: apt-get install chromium")
    return found


def table(outcomes: Sequence[Outcome]) -> str:
    """The outcomes in Markdown."""
    rows = [
        "| drafts | T | accepted untouched | actions a box | IoU in the end | s a box |",
        "|---|---|---|---|---|---|",
    ]
    for each in outcomes:
        untouched = "" if each.untouched is None else f"{each.untouched:.0%}"
        least = "" if each.least_iou is None else f"{each.least_iou:g}"
        last = f"{each.actions:.2f} | {each.mean_iou:.2f} | {each.time_s:.2f}"
        rows.append(f"| {each.drafts} | {least} | {untouched} | {last} |")
    return "\n".join(rows)


def main() -> None:
    """Draft in three ways, annotate in five, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cub", type=Path, default=Path("../shared/data/cub_200_2011_50classes.tar"))
    parser.add_argument("--classifier", help="for the drafts (default: the embedded one)")
    parser.add_argument("--pictures", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        test, train = read_cub(options.cub, "test"), read_cub(options.cub, "train")
    except GroundingError as error:
        sys.exit(str(error))
    chosen = random.Random(options.seed).sample(list(test.images), options.pictures)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        images = root / "images"
        images.mkdir()
        for image in chosen:
            (images / f"{image.id}.jpg").write_bytes(test.read(image.id))
        truths = {f"{image.id}.jpg": box_of(image) for image in chosen}
        middle = [middle_box(train, image.width, image.height) for image in chosen]
        write_drafts(root / "none", images, chosen, [None] * len(chosen))
        write_drafts(root / "centre", images, chosen, middle)
        draft(root / "classifier", images, options.classifier)
        ways: list[tuple[str, float | None]] = [("none", None)]
        ways += [(name, least) for least in LEAST_IOU for name in ("centre", "classifier")]
        with sync_playwright() as driver:
            arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
            browser = driver.chromium.launch(executable_path=find_browser(), args=arguments)
            outcomes = []
            for name, least in ways:
                folder = root / f"{name}-{least}"
                shutil.copytree(root / name, folder)
                outcomes.append(annotated(browser, folder, truths, name, least))
            browser.close()
    print(table(outcomes))


if __name__ == "__main__":
    main()
