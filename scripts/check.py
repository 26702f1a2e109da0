"""Everything that must hold before a change lands: lint, format, types, tests (README commands and notebooks included).

python scripts/check.py

The tests run in random order (`--randomly-seed=N` with the number that is printed repeats it), in one process for each
core, up to four, each of which computes with one thread.
"""

import os
import subprocess
import sys
from pathlib import Path

PROCESSES = min(4, os.cpu_count() or 1)
STEPS = (
    ("lint", ["ruff", "check", "."]),
    ("format", ["ruff", "format", "--check", "."]),
    ("tests", ["pytest", "-n", str(PROCESSES), "--dist", "worksteal"]),
)
TYPES = ["mypy"]  # beside the others
ROOT = Path(__file__).parents[1]


def main() -> int:
    """Run every step, also after one failed; the exit status is 1 when any did."""
    failed = []
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each of the many processes compiles all that it imports
    with subprocess.Popen([sys.executable, "-m", *TYPES], cwd=ROOT, stdout=subprocess.PIPE, text=True) as types:
        for name, command in STEPS:
            print(f"== {name}: python -m {' '.join(command)}", flush=True)
            if subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=False).returncode:
                failed.append(name)
        print(f"== types: python -m {' '.join(TYPES)}\n{types.communicate()[0]}", end="", flush=True)
    if types.returncode:
        failed.append("types")
    print(f"failed: {', '.join(failed)}" if failed else "all checks passed", flush=True)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
