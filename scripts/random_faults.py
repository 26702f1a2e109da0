"""Disturb a manifest's run at random, go on with it, and see that nothing is lost, doubled or changed.

`grounding.localize --manifest` does small pictures over and over. It is killed, its disk is full, its unfinished files
are cut or damaged, folders are renamed under it, and a second run writes to the same output; then the same command
goes on, until it ends. Its results are compared byte by byte with those of an undisturbed run; rows whose picture was
away at the time may say so instead. So that many runs fit into ten minutes, the classifier is a tiny one with random
weights, and each run is a process of its own, forked from one that has imported torch and read the words.

    python scripts/random_faults.py --minutes 10 --seed 1
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from PIL import Image

from grounding import localize
from grounding.images import sample_scene
from grounding.pipeline import Localizer
from grounding.tagging.classifier import Preprocessing, TagClassifier
from grounding.tagging.network import plain_network

PICTURES = 30
TAGS = ("man", "hat", "camera", "sky", "field", "tripod", "dog", "red")
CAPTIONS = ("a man in a red hat", "a camera on a tripod", "the sky above a field")
KILLS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
ENDINGS = {-signal.SIGKILL: "killed", 143: "terminated", 130: "interrupted", 2: "refused", 1: "finished", 0: "finished"}


class Trial:
    """A manifest in a folder, its undisturbed results, and what has happened to it so far."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.chance = folder, random.Random(seed)
        self.pictures, self.output = folder / "pictures", folder / "out"
        self.partial = folder / "out.partial"
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.pictures.mkdir()
        scene = Image.fromarray(sample_scene())
        lines = ["image,caption"]
        for number in range(PICTURES):
            left, top = self.chance.randrange(300), self.chance.randrange(300)
            scene.crop((left, top, left + 200, top + 150)).save(self.pictures / f"{number}.png")
            lines += [f"{number}.png,{caption}" for caption in CAPTIONS[: 1 + number % 3]]
        (self.pictures / "text.png").write_text("no picture")
        lines += ["text.png,a man", "missing.png,a man"]
        (folder / "table.csv").write_text("\n".join(lines) + "\n")
        network = plain_network([(8, 2)] * 4 + [(8, 1)], len(TAGS), normalised=False).eval()
        TagClassifier(network, TAGS, Preprocessing(128), "tiny").save_pretrained(folder / "tiny")
        Localizer.from_pretrained(folder / "tiny").encode(sample_scene()).ground(CAPTIONS[0])  # reads the words
        start = time.perf_counter()
        status = self.wait(self.start())
        self.takes_s = time.perf_counter() - start
        assert status == 1, (folder / "said.txt").read_text()
        self.right = (self.output / "results.jsonl").read_bytes().splitlines(keepends=True)
        assert len(self.right) == len(lines) - 1
        shutil.rmtree(self.output)

    def start(self, most_bytes: int | None = None, overwrite: bool = False, said: str = "said.txt") -> int:
        """Begin a run in a process of its own; gives its number."""
        if process := os.fork():
            return process
        os.setsid()
        quiet = os.open(self.folder / said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        if most_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
        arguments = ["--manifest", str(self.folder / "table.csv"), "--image-folder", str(self.pictures)]
        arguments += ["--classifier", str(self.folder / "tiny"), "--output", str(self.output)]
        arguments += ["--overwrite"] if overwrite else []
        status = 99  # of a traceback
        try:
            status = localize.main(arguments)
        finally:
            os._exit(status)

    def wait(self, process: int) -> int:
        """How a run has ended, when it has."""
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])

    def ended(self, process: int) -> bool:
        """Whether a run has ended by now; it is still to be waited for."""
        return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def sleep(self, longest: float = 1.1) -> None:
        """Wait for a part of the time that a whole run takes."""
        time.sleep(self.chance.uniform(0, longest) * self.takes_s)

    def attempt(self, overwrite: bool) -> tuple[int, str]:
        """One run, disturbed or not: how it ended, and by what it was disturbed."""
        faults = ("kill", "kill", "full", "away", "renamed", "two", "none")
        fault = self.chance.choice(faults)
        size = sum(map(len, self.right))
        process = self.start(self.chance.randrange(size) if fault == "full" else None, overwrite)
        if fault == "kill":
            self.sleep()
            number = self.chance.choice(KILLS)
            self.counts[f"kill by {number.name}"] += not self.ended(process)
            os.kill(process, number)
        elif fault in ("away", "renamed"):
            self.move(self.pictures if fault == "away" else self.partial, process)
        elif fault == "two":
            self.sleep(0.8)
            status = self.wait(self.start(said="second.txt"))
            self.check("second.txt", status, f"a second run at the same time ended with {status}")
        status = self.wait(process)
        if fault != "kill":
            self.counts[{"none": "undisturbed", "full": "disk full", "two": "two writers"}.get(fault, fault)] += 1
        self.check("said.txt", status, f"after {fault}, a run ended with {status}")
        return status, fault

    def move(self, place: Path, process: int) -> None:
        """Rename a folder under a run for a while."""
        self.sleep(0.8)
        hidden = place.with_name(f"{place.name}-away")
        if not place.exists() or self.ended(process):
            return
        place.rename(hidden)
        self.sleep(0.5)
        if place == self.partial:
            self.wait_for(process)
            if place.exists():
                shutil.rmtree(place)
        hidden.rename(place)

    def wait_for(self, process: int) -> None:
        """Wait until a run has ended."""
        while not self.ended(process):
            time.sleep(0.05)

    def check(self, said: str, status: int, what: str) -> None:
        """See that a run ended in a way that a user understands."""
        text = (self.folder / said).read_text(errors="replace")
        self.counts[f"run {ENDINGS.get(status, status)}"] += 1
        if status not in ENDINGS or "Traceback" in text:
            self.wrong.append(f"{what}: {text[-600:]}")

    def damage(self) -> None:
        """Do something to the unfinished files, as a power failure or a disk may."""
        if not self.partial.is_dir() or self.chance.random() < 0.4:
            return
        path = self.partial / self.chance.choice(("results.jsonl", "results.jsonl", "checks.txt", "settings.json"))
        how = self.chance.choice(("cut", "flip", "blank", "garbage", "empty", "remove"))
        content = bytearray(path.read_bytes()) if path.exists() else bytearray()
        if not content:
            return
        at = self.chance.randrange(len(content))
        if how in ("cut", "blank"):
            content[at:] = bytes(len(content) - at if how == "blank" else 0)
        elif how == "flip":
            content[at] ^= 1 << self.chance.randrange(8)
        elif how == "garbage":
            content += self.chance.randbytes(100) + b"\n"
        path.write_bytes(b"" if how == "empty" else content)
        if how == "remove":
            path.unlink()
        self.counts[f"{path.name}: {how}"] += 1

    def cycle(self) -> None:
        """Run until the results are there, whatever happens; then compare them."""
        status, away, refused = 2, False, 0
        while status not in (0, 1):
            status, fault = self.attempt(overwrite=refused > 1)
            away = away or fault == "away"
            refused = refused + 1 if status == 2 and fault in ("none", "kill", "two", "away") else 0
            if status not in (0, 1):
                self.damage()
        self.compare(away)
        for path in (self.output, self.partial):
            shutil.rmtree(path, ignore_errors=True)

    def compare(self, away: bool) -> None:
        """Each row once and in its place, as in the undisturbed run, or its picture was away."""
        self.counts["runs to the end, compared"] += 1
        lines = (self.output / "results.jsonl").read_bytes().splitlines(keepends=True)
        left = sorted(path.name for path in self.output.iterdir())
        if left != ["results.jsonl"] or self.partial.exists():
            self.wrong.append(f"left behind: {left}, partial {self.partial.exists()}")
        if len(lines) != len(self.right):
            self.wrong.append(f"{len(lines)} rows in place of {len(self.right)}")
        for number, (line, right) in enumerate(zip(lines, self.right, strict=False), 1):
            self.counts["rows compared"] += 1
            if line == right:
                continue
            found, wanted = json.loads(line), json.loads(right)
            if (
                away
                and "cannot be read" in found.get("error", "")
                and found["image"]["path"] == wanted["image"]["path"]
            ):
                self.counts["rows whose picture was away, with the reason"] += 1
            else:
                self.wrong.append(f"row {number} differs: {line[:300]!r}")


def main() -> int:
    """Disturb for so many minutes, print the counts, and end with 1 where anything was wrong."""
    parser = argparse.ArgumentParser(description="Disturb a manifest's run at random, and compare its results.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder), options.seed)
        print(f"undisturbed: {len(trial.right)} rows in {trial.takes_s:.1f} s", flush=True)
        start = time.perf_counter()
        while time.perf_counter() - start < 60 * options.minutes and len(trial.wrong) < 5:
            trial.cycle()
        print(f"{(time.perf_counter() - start) / 60:.1f} minutes, seed {options.seed}:")
        for name, count in sorted(trial.counts.items()):
            print(f"{count:8,}  {name}")
    print("nothing lost, nothing doubled, nothing changed" if not trial.wrong else "\n".join(["WRONG:", *trial.wrong]))
    return 1 if trial.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
