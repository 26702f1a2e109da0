"""One manifest done five ways, of which some are killed: has each row exactly one result or one reason, and the same?

    python scripts/scale_check.py [--rows 2000] [--shards ../shared/data/flickr-train-0000*.tar] [--page FILE.md]

Photographs are repeated with captions of their own; one row in twenty is broken in one of seven ways. The runs:
plain; one process; two; Ray with two workers; Ray with one worker that is killed twice; Ray interrupted and continued.
"""

import argparse
import io
import json
import os
import platform
import random
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

BREAKAGES = ("truncated", "missing", "blank caption", "not a picture", "empty file", "no image", "a folder")
PAGE = "docs/results/scale.md"
DEFAULT = "/work/shared/data/flickr-train-0000*.tar"


def photographs(pattern, most):
    """(bytes, captions) of the photographs of shards."""
    found = []
    for shard in sorted(Path(pattern).parent.glob(Path(pattern).name)):
        members = {}
        with tarfile.open(shard) as tar:
            for member in tar:
                members.setdefault(member.name.rpartition(".")[0], {})[member.name.rpartition(".")[2]] = (
                    tar.extractfile(member).read()
                )
        for files in members.values():
            if "jpg" in files and "json" in files and (captions := json.loads(files["json"]).get("captions")):
                found.append((files["jpg"], captions))
                if len(found) == most:
                    return found
    if not found:
        sys.exit(f"{pattern} holds no photographs with captions")
    return found


def build(folder, rows, pattern, share=0.05, seed=0):
    """Write pictures and `manifest.parquet`; returns the numbers of the broken rows, from 1, with the breakage."""
    rng = random.Random(seed)
    pictures = photographs(pattern, max(1, rows // 3))
    (folder / "pictures" / "folder").mkdir(parents=True)
    for number, (content, _) in enumerate(pictures):
        (folder / "pictures" / f"{number}.jpg").write_bytes(content)
    broken = dict(
        zip(
            sorted(rng.sample(range(1, rows + 1), round(rows * share))),
            [BREAKAGES[i % len(BREAKAGES)] for i in range(rows)],
            strict=False,
        )
    )
    table = []
    for row in range(1, rows + 1):
        number = (row - 1) // 2 % len(pictures)  # two captions of a picture, one after the other
        content, captions = pictures[number]
        image, caption = f"pictures/{number}.jpg", captions[row % len(captions)]
        match broken.get(row):
            case "truncated":
                image = f"pictures/truncated-{row}.jpg"
                (folder / image).write_bytes(content[: len(content) // 2])
            case "missing":
                image = f"pictures/missing-{row}.jpg"
            case "blank caption":
                caption = " "
            case "not a picture":
                image = f"pictures/text-{row}.jpg"
                (folder / image).write_text("no picture")
            case "empty file":
                image = f"pictures/empty-{row}.jpg"
                (folder / image).write_bytes(b"")
            case "no image":
                image = ""
            case "a folder":
                image = "pictures/folder"
        table.append({"image": image, "caption": caption})
    parquet.write_table(pa.Table.from_pylist(table), folder / "manifest.parquet", row_group_size=max(10, rows // 7))
    return broken


def _command(folder, output, *more):
    return [
        sys.executable, "-m", "grounding.localize", "--manifest", str(folder / "manifest.parquet"),
        "--output", str(output), *more,
    ]  # fmt: skip


def _wait_for(condition, process, seconds=7200):
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if found := condition():
            return found
        time.sleep(0.1)
    sys.exit("the run ended before it could be disturbed: take more rows")


def _parts(output):
    return len(list((output / "results").glob("part-*"))) if (output / "results").is_dir() else 0


def actors(process):
    """The process ids of Ray's actors below a process."""
    out = subprocess.run(["ps", "-ewwo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in out.splitlines()[1:]]
    below, found = {process.pid}, []
    for _ in range(6):
        below |= {int(pid) for pid, parent, _ in rows if int(parent) in below}
    for pid, _, arguments in rows:
        if int(pid) in below and arguments.startswith("ray::") and "MapWorker" in arguments:
            found.append(int(pid))
    return found


def _start(arguments):
    return subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, start_new_session=True)


def _finish(process):
    _, errors = process.communicate()
    if process.returncode not in (0, 1) or "Traceback" in errors:
        sys.exit(f"a run ended with exit status {process.returncode}:\n{errors}")
    return [line for line in re.split(r"[\r\n]+", errors) if line.strip() and "%|" not in line]


def _plain(folder, output):
    return _finish(_start(_command(folder, output)))


def _two_processes(folder, output):
    return _finish(_start(_command(folder, output, "--workers", "2")))


def _one_process(folder, output):
    return _finish(_start(_command(folder, output, "--workers", "1")))


def _ray_two(folder, output):
    return _finish(_start(_command(folder, output, "--engine", "ray", "--workers", "2")))


def _ray_killed_twice(folder, output):
    """Kill the only actor; wait until another has done something, and kill that too."""
    process = _start(_command(folder, output, "--engine", "ray", "--workers", "1"))
    errors = []
    reader = threading.Thread(target=lambda: errors.append(process.stderr.read()))
    reader.start()
    killed = []
    for done in (2, 5):
        pid = _wait_for(
            lambda done=done: _parts(output) >= done and (set(actors(process)) - set(killed)), process
        ).pop()
        time.sleep(0.3)
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)
    process.wait()
    reader.join()
    if process.returncode not in (0, 1):
        sys.exit(f"the run that was killed twice ended with exit status {process.returncode}:\n{errors[0]}")
    return [f"killed actors {killed}"]


def _interrupted(folder, output):
    """Ctrl-C after some partitions; the same command again."""
    arguments = _command(folder, output, "--engine", "ray", "--workers", "2")
    process = _start(arguments)
    errors = []
    reader = threading.Thread(target=lambda: errors.append(process.stderr.read()))
    reader.start()
    _wait_for(lambda: _parts(output) >= 4, process)
    os.killpg(process.pid, signal.SIGINT)
    process.wait(600)
    reader.join()
    if process.returncode != 130:
        sys.exit(f"the interrupted run ended with exit status {process.returncode}, expected 130:\n{errors[0]}")
    kept = _parts(output)
    _finish(_start(arguments))
    return [f"{kept} partitions were kept over the interruption"]


RUNS = {
    "plain": _plain,
    "1 process": _one_process,
    "2 processes": _two_processes,
    "Ray, 2 workers": _ray_two,
    "Ray, 1 worker, killed twice": _ray_killed_twice,
    "Ray, 2 workers, interrupted and continued": _interrupted,
}


def answers(output):
    """(row, result or reason) of each answer: a list, so that what is there twice shows."""
    if (output / "results.jsonl").exists():
        lines = [json.loads(line) for line in (output / "results.jsonl").open(encoding="utf-8")]
        return [(row, line.get("error") or line) for row, line in enumerate(lines, start=1)]
    good = parquet.read_table(output / "results", partitioning=None).to_pylist()
    bad = parquet.read_table(output / "failed", partitioning=None).to_pylist()
    found = [(each["row"], json.loads(each["result"])) for each in good]
    return sorted(found + [(each["row"], each["error"]) for each in bad], key=lambda each: each[0])


def difference(value, other, where=""):
    """Where two results differ first, and how."""
    if isinstance(value, dict) and isinstance(other, dict) and value.keys() == other.keys():
        inside = [(key, value[key], other[key]) for key in value]
    elif isinstance(value, list) and isinstance(other, list) and len(value) == len(other):
        inside = [(index, *pair) for index, pair in enumerate(zip(value, other, strict=True))]
    else:
        return "" if value == other else f"{where}: {value} and {other}"
    return next(filter(None, (difference(a, b, f"{where}.{key}") for key, a, b in inside)), "")


def verdict(found, broken, rows, reference):
    """What is wrong with the answers of a run; nothing where all is right."""
    counts = Counter(row for row, _ in found)
    wrong = []
    if set(counts) != set(range(1, rows + 1)) or set(counts.values()) != {1}:
        wrong.append(f"rows are lost or doubled: {[r for r in range(1, rows + 1) if counts[r] != 1][:5]}")
    failed = {row for row, said in found if isinstance(said, str)}
    if failed != set(broken):
        wrong.append(f"other rows failed than are broken: {sorted(failed ^ set(broken))[:5]}")
    pairs = zip(found, reference, strict=False)
    if different := [(row, difference(said, other)) for (row, said), (_, other) in pairs if said != other]:
        wrong.append(f"{len(different)} rows differ from the first run: {different[:12]}")
    return wrong


def main():
    """Do the runs; the exit status is 1 where they differ."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=2000)
    options.add_argument("--shards", default=DEFAULT)
    options.add_argument("--page", type=Path, help=f"write what came of it to this file, such as {PAGE}")
    options.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS))
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="scale-") as temporary:
        folder = Path(temporary)
        broken = build(folder, chosen.rows, chosen.shards)
        print(f"{chosen.rows} rows, {len(broken)} broken: {dict(Counter(broken.values()))}", flush=True)
        table, reference, fine = [], None, True
        for name in chosen.runs:
            output = folder / re.sub(r"\W+", "-", name)
            begun = time.perf_counter()
            notes = RUNS[name](folder, output)
            seconds = time.perf_counter() - begun
            found = answers(output)
            reference = reference or found
            wrong = verdict(found, broken, chosen.rows, reference)
            fine = fine and not wrong
            good = sum(not isinstance(said, str) for _, said in found)
            table.append(
                (name, good, len(found) - good, seconds, chosen.rows / seconds, "; ".join(wrong) or "identical")
            )
            print(*table[-1], *notes, sep=" | ", flush=True)
            if chosen.page:
                write_page(chosen.page, chosen.rows, broken, table)
    return 0 if fine else 1


def write_page(path, rows, broken, table):
    """Write what came of the runs as Markdown."""
    text = io.StringIO()
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(Counter(broken.values()).items()))
    text.write(f"# One manifest, {len(table)} ways\n\n")
    text.write(
        f"`python scripts/scale_check.py --rows {rows} --page {PAGE}`: {rows:,} rows, two captions a photograph of "
    )
    text.write(f"Flickr30k; {len(broken)} broken ({kinds}). {os.cpu_count()} processors ({platform.machine()}), ")
    text.write(f"{os.environ.get('OMP_NUM_THREADS', 'all')} thread(s) each, load {os.getloadavg()[0]:.1f} at the end. ")
    text.write("Seconds include the start: importing PyTorch, starting Ray, loading the model.\n\n")
    text.write(
        "| run | results | reasons | seconds | rows a second | against the first run |\n|---|---|---|---|---|---|\n"
    )
    for name, good, bad, seconds, rate, wrong in table:
        text.write(f"| {name} | {good:,} | {bad:,} | {seconds:.0f} | {rate:.1f} | {wrong} |\n")
    path.write_text(text.getvalue(), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
