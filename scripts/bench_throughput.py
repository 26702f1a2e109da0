"""Pictures a second, from the bytes of a file to a line of JSON, six phrases each: python scripts/bench_throughput.py.

All ways are taken in turns in one process, and a figure is the median of the rounds. `cpu_s` is the processor time of a
picture, of all threads: where other work uses the machine too, it says more than the clock.

| way | what |
|---|---|
| calls | one picture after the other, `localizer(image, caption, phrases)`, on all threads |
| batch of N | `Localizer.ground_batch`, N pictures in one forward pass and one walk, on all threads |
| manifest, W workers | what `python -m grounding.localize --manifest` does, with W threads, each on its own |

With --rows N it does a manifest of N pictures instead, and prints the memory of the process after every 1,000.
"""

import argparse
import io
import json
import os
import platform
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image

import grounding
from grounding.images import read_image
from grounding.manifest import Destination, ground_manifest, read_manifest
from grounding.results import to_json

PHRASES = ("a man", "a red hat", "a black coat", "a camera", "green grass", "a tall building")
CAPTION = ", ".join(PHRASES)
SIZES = ((299, 224), (500, 375), (375, 500), (640, 480), (333, 500), (500, 281))  # as photographs on the web have


def sample_pictures(folder: Path) -> list[Path]:
    """Cuttings of the sample scene."""
    scene, paths = Image.fromarray(grounding.sample_scene()), list[Path]()
    for number, size in enumerate(SIZES):
        paths.append(folder / f"sample-{number}.jpg")
        scene.crop((10 * number, 5 * number, 512 - 10 * number, 512 - 5 * number)).resize(size).save(paths[-1])
    return paths


def write_manifest(paths: Sequence[Path], rows: int, folder: Path) -> Path:
    """A table of so many pictures; one that comes again has another path, so that it is encoded again."""
    lines = []
    for number in range(rows):
        first = folder / f"0-{paths[number % len(paths)].name}"
        copy = folder / f"{number // len(paths)}-{paths[number % len(paths)].name}"
        if not copy.exists():
            shutil.copyfile(paths[number % len(paths)], copy) if copy == first else os.link(first, copy)
        lines.append(json.dumps({"image": copy.name, "caption": CAPTION, "phrases": PHRASES}))
    (folder / "pictures.jsonl").write_text("\n".join(lines) + "\n")
    return folder / "pictures.jsonl"


def memory_mib() -> int:
    """What the process has in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20


def do_manifest(localizer: grounding.Localizer, table: Path, workers: int, watch: int = 0) -> None:
    """Do a manifest into a folder that is then removed; says how much memory there is after every `watch` rows."""
    done = 0

    def tell(line: str) -> None:
        nonlocal done
        done += 1
        if watch and done % watch == 0:
            print(json.dumps({"rows": done, "memory_mib": memory_mib(), "time": time.strftime("%H:%M:%S")}), flush=True)

    to = Destination(None, False, False, tell)
    ground_manifest(localizer, read_manifest(table), table.parent, 5, {}, to, workers)


def do_calls(localizer: grounding.Localizer, paths: Sequence[Path]) -> None:
    """One picture after the other."""
    for path in paths:
        image = read_image(io.BytesIO(path.read_bytes()))
        to_json(localizer(image, CAPTION, PHRASES).to_dict(str(path)))


def do_batches(localizer: grounding.Localizer, paths: Sequence[Path], size: int) -> None:
    """So many pictures at once."""
    for first in range(0, len(paths), size):
        some = paths[first : first + size]
        images = [read_image(io.BytesIO(path.read_bytes())) for path in some]
        found = localizer.ground_batch([(image, [CAPTION]) for image in images], at_once=size)
        for path, (grounding_,) in zip(some, found, strict=True):
            to_json(grounding_.to_dict(str(path)))


def measure(ways: dict[str, Callable[[], None]], pictures: int, rounds: int) -> dict[str, dict[str, float]]:
    """Pictures a second and processor time of each way, after a round of warming up."""
    clock: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            start, used = time.perf_counter(), time.process_time()
            way()
            clock[name].append((time.perf_counter() - start) / pictures)
            cpu[name].append((time.process_time() - used) / pictures)
    return {
        name: {
            "pictures_per_s": round(1 / statistics.median(clock[name][1:]), 2),
            "best": round(1 / min(clock[name][1:]), 2),
            "cpu_s": round(statistics.median(cpu[name][1:]), 4),
        }
        for name in ways
    }


def main() -> None:
    """Print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="*", type=Path, help="files (default: cuttings of the sample scene)")
    parser.add_argument("--count", type=int, default=24, help="pictures a round (default: 24)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="*", default=[4], metavar="N")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, torch.get_num_threads()], metavar="W")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rows", type=int, help="watch the memory of a manifest of so many pictures")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    localizer = grounding.Localizer.from_pretrained()
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123 - no progress bars
    with tempfile.TemporaryDirectory() as name:
        paths = options.pictures or sample_pictures(Path(name))
        some = [paths[number % len(paths)] for number in range(options.count)]
        table = write_manifest(paths, options.rows or options.count, Path(name))
        ways: dict[str, Callable[[], None]] = {"calls": lambda: do_calls(localizer, some)}
        for size in options.batches:
            ways[f"batch of {size}"] = lambda size=size: do_batches(localizer, some, size)
        for workers in dict.fromkeys(options.workers):
            ways[f"manifest, {workers} workers"] = lambda workers=workers: do_manifest(localizer, table, workers)
        record: dict[str, object] = {"pictures": options.count, "threads": options.threads}
        if options.rows:
            start = time.perf_counter()
            do_manifest(localizer, table, max(options.workers), watch=1000)
            record = {"rows": options.rows, "pictures_per_s": round(options.rows / (time.perf_counter() - start), 2)}
        else:
            record["ways"] = measure(ways, options.count, options.rounds)
    record["peak_memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    record |= {"torch": torch.__version__, "load": os.getloadavg(), "processor": platform.processor()}
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
