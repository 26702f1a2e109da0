"""Kill an evaluation at random moments, resume it each time, and see that nothing is lost or changed.

Runs the command once undisturbed, then again and again with SIGKILL after a random time until so many kills have
happened; whenever a killed run gets to its end, its files are compared byte by byte with the undisturbed ones.

    python scripts/kill_and_resume.py --kills 50 --images ../shared/data/flickr-val-00000.tar \\
        --annotations ../shared/data/flickr30k_entities_trainval.zip --limit 40
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from grounding.evaluation.runs.folder import FILES


def start(arguments: list[str], folder: Path) -> subprocess.Popen[bytes]:
    """Begin an evaluation, in a process group of its own."""
    command = [sys.executable, "-m", "grounding.evaluate", "flickr30k", *arguments, "--output", str(folder)]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True)


def main() -> int:
    """The command line; returns 1 when a resumed run differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--longest", type=float, default=8.0, help="seconds after which a run is killed at the latest")
    parser.add_argument("--seed", type=int, default=0)
    options, passed_on = parser.parse_known_args()
    draw, kills, finished, kept = random.Random(options.seed), 0, 0, 0
    with tempfile.TemporaryDirectory() as place:
        whole, output = Path(place, "whole"), Path(place, "killed")
        lines = output.with_name("killed.partial") / "results.jsonl"
        if start(passed_on, whole).wait():
            print("the undisturbed run failed: try the command by itself")
            return 1
        while kills < options.kills or output.exists() or lines.exists():
            process = start(passed_on, output)
            try:
                process.wait(draw.uniform(0, options.longest) if kills < options.kills else None)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                kills += 1
            present = lines.read_bytes().count(b"\n") if lines.is_file() else 0
            lost = present < kept and not output.exists()
            if process.returncode not in (0, -signal.SIGKILL) or lost:
                print(f"after {kills} kills: status {process.returncode}, {present} of {kept} photographs kept")
                return 1
            kept = present
            if process.returncode == 0:
                different = [name for name in FILES if (output / name).read_bytes() != (whole / name).read_bytes()]
                if different:
                    print(f"after {kills} kills: {', '.join(different)} differ")
                    return 1
                shutil.rmtree(output)
                finished, kept = finished + 1, 0
    print(f"{kills} kills; {finished} runs resumed to their end, each file identical to the undisturbed run's")
    return 0


if __name__ == "__main__":
    sys.exit(main())
