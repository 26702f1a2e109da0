"""Everything that must hold before a change lands: lint, format, types, tests (README commands and notebooks included).

python scripts/check.py

The tests run in random order (`--randomly-seed=N` with the number that is printed repeats it), in one process for each
core, up to four, each of which computes with one thread. Beside them run the types, and the tests of the documentation
site, which build it once with warnings as errors.
"""

import os
import subprocess
import sys
from pathlib import Path

PROCESSES = min(4, os.cpu_count() or 1)
STEPS = (
    ("lint", ["ruff", "check", "."]),
    ("format", ["ruff", "format", "--check", "."]),
    ("tests", ["pytest", "-n", str(PROCESSES), "--dist", "worksteal", "--ignore", "tests/test_site.py"]),
)
BESIDE = (
    ("types", ["mypy"]),
    ("site", ["pytest", "-q", "tests/test_site.py"]),
)
ROOT = Path(__file__).parents[1]


def main() -> int:
    """Run every step, also after one failed; the exit status is 1 when any did."""
    failed = []
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each of the many processes compiles all that it imports
    beside = [
        subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _, command in BESIDE
    ]
    for name, command in STEPS:
        print(f"== {name}: python -m {' '.join(command)}", flush=True)
        if subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=False).returncode:
            failed.append(name)
    for (name, command), started in zip(BESIDE, beside, strict=True):
        print(f"== {name}: python -m {' '.join(command)}\n{started.communicate()[0]}", end="", flush=True)
        if started.returncode:
            failed.append(name)
    print(f"failed: {', '.join(failed)}" if failed else "all checks passed", flush=True)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
