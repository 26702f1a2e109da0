"""The tests under other processors, threads, orders and versions, each row as if on another machine.

python scripts/check_matrix.py --list
python scripts/check_matrix.py avx2 threads-4 -- tests/attention
python scripts/check_matrix.py --all --output docs/notes/matrix.md
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
COLUMNS = ("row", "passed", "failed", "skipped", "seconds")


@dataclass(frozen=True)
class Row:
    """What differs from the present machine: the environment, arguments of pytest, or how uv resolves the versions."""

    description: str
    environment: dict[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ("-p", "no:randomly")
    resolution: str | None = None


ROWS = {
    "default": Row("PyTorch's kernels without vector instructions", {"ATEN_CPU_CAPABILITY": "default"}),
    "avx2": Row("PyTorch's kernels for AVX2", {"ATEN_CPU_CAPABILITY": "avx2"}),
    "onednn-avx2": Row("oneDNN's kernels for AVX2", {"ONEDNN_MAX_CPU_ISA": "AVX2"}),
    "onednn-avx512": Row("oneDNN's kernels for AVX-512, without AMX", {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}),
    **{f"threads-{count}": Row(f"threads: {count}", {"OMP_NUM_THREADS": str(count)}) for count in (1, 2, 4)},
    **{f"order-{seed}": Row(f"random order {seed}", {}, (f"--randomly-seed={seed}",)) for seed in (1, 2, 3)},
    "processes-2": Row("two processes side by side", {}, ("-p", "no:randomly", "-n", "2")),
    "lowest": Row("the lowest versions that pyproject.toml admits", resolution="lowest-direct"),
    "newest": Row("the newest versions", resolution="highest"),
}


def install(resolution: str, folder: Path) -> str:
    """Make a fresh virtual environment with these versions; its python."""
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        raise SystemExit("rows of versions are installed by uv, which is not there: pip install uv")
    python = str(folder / "bin" / "python")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    subprocess.run([uv, "venv", "-q", "--seed", "--python", version, str(folder)], check=True)
    command = [uv, "pip", "install", "-q", "--compile-bytecode", "--python", python, "--resolution", resolution]
    subprocess.run([*command, "-e", ".[test]"], cwd=ROOT, check=True)
    return python


def counts(report: Path) -> dict[str, int]:
    """The number of tests that passed, failed and were skipped, of a JUnit report; a test run that broke has failed."""
    if not report.exists():
        return {"passed": 0, "failed": 1, "skipped": 0}
    cases = list(ElementTree.parse(report).iter("testcase"))
    kinds = [{child.tag for child in case} for case in cases]
    failed = sum(bool(kind & {"failure", "error"}) for kind in kinds)
    skipped = sum("skipped" in kind for kind in kinds)
    return {"passed": len(cases) - failed - skipped, "failed": failed, "skipped": skipped}


def run(name: str, arguments: list[str]) -> dict[str, str]:
    """Run the tests under a row; its line of the table."""
    row = ROWS[name]
    with tempfile.TemporaryDirectory() as folder:
        python = install(row.resolution, Path(folder) / "venv") if row.resolution else sys.executable
        report, start = Path(folder) / "report.xml", time.monotonic()
        command = [python, "-m", "pytest", "-q", *row.arguments, f"--junitxml={report}", *arguments]
        print(f"== {name}: {row.description}", flush=True)
        status = subprocess.run(command, cwd=ROOT, env={**os.environ, **row.environment}, check=False).returncode
        seconds, found = time.monotonic() - start, counts(report)
    if status and not found["failed"]:
        found["failed"] = 1  # nothing was collected, or a warning at the end
    return {"row": name, **{key: str(value) for key, value in found.items()}, "seconds": f"{seconds:.0f}"}


def table(lines: list[dict[str, str]]) -> str:
    """The results as a Markdown table."""
    rows = [list(COLUMNS), ["---"] * len(COLUMNS), *([line[column] for column in COLUMNS] for line in lines)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def build_parser() -> argparse.ArgumentParser:
    """The command line, without what comes after `--`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="one of --list")
    parser.add_argument("--list", action="store_true", help="print the rows and what each is")
    parser.add_argument("--all", action="store_true", help="every row")
    parser.add_argument("--output", type=Path, help="write the table to this Markdown file as well")
    return parser


def main(arguments: list[str]) -> int:
    """Run the rows asked for; the exit status is 1 when a test failed in any."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    parser = build_parser()
    options = parser.parse_args(arguments[:at])
    names = list(ROWS) if options.all else options.rows
    if options.list:
        print("\n".join(f"{name:14} {row.description}" for name, row in ROWS.items()))
        return 0
    if not names or set(names) - set(ROWS):
        parser.error(f"rows are {' '.join(names) or 'missing'}: expected some of {', '.join(ROWS)}, or --all")
    lines = [run(name, arguments[at + 1 :]) for name in names]
    print(table(lines))
    if options.output:
        options.output.write_text(table(lines), encoding="utf-8")
    return int(any(line["failed"] != "0" for line in lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
