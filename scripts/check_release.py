"""A release that installs: build it twice, compare, install wheel and sdist where nothing else is, and use each extra.

python scripts/check_release.py --list
python scripts/check_release.py --output docs/results/release.md
python scripts/check_release.py --only build wheel sdist
python scripts/check_release.py --only extras --extras export ray
python scripts/check_release.py --only suite --pythons 3.12 3.13

Needs uv and git, takes what is committed, and works in a temporary folder; only the installations use the network. On
Linux what was installed then runs in a network namespace with nothing but the loopback interface (`unshare`).
"""

import argparse
import functools
import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[1]
MAIN_JOB = ("--caption", "a man in a red hat", "--offline", "--json")
BUILDS = (
    (0o022, "UTC", {}),
    (0o077, "Asia/Tokyo", {"LC_ALL": "C", "HOME": "/nowhere"}),
)  # umask, time zone, environment
LIMIT_S = 7200  # for one command
LOWEST = ("--resolution", "lowest-direct")
SUITE = ("-q", "-n", "1", "-m", "not slow and not remakes", "-p", "no:cacheprovider")
# Base installation -> which extra the one line of the error names.
WITHOUT: dict[str, tuple[str, ...]] = {
    "annotate": ("-m", "grounding.annotate", "--images", "photos", "--labels", "hat", "--output", "o"),
    "baselines": ("-m", "grounding.localize", "--method", "lrp", "--caption", "a hat"),
    "clickme": ("-m", "grounding.clickme", "--images", "photos", "--output", "o"),
    "clip": ("-m", "grounding.localize", "--classifier", "clip:ViT-B-16", "--caption", "a hat"),
    "demo": ("-m", "grounding.demo", "--no-browser"),
    "export": ("-m", "grounding.export", "--output", "a.onnx"),
    "hf": ("-m", "grounding.localize", "--classifier", "hf:user/name", "--caption", "a hat"),
    "human-maps": (
        "-c",
        "import sys; from pathlib import Path; from grounding.datasets.human_maps import *;\n"
        "try: read_human_maps(Path('maps.h5'), ['a'], lambda _: (64, 64), Spread('none'))\n"
        "except ValueError as error: sys.exit(f'error: {error}')",
    ),
    "ray": ("-m", "grounding.localize", "--manifest", "m.csv", "--engine", "ray", "--output", "out"),
    "s3": ("-m", "grounding.localize", "--manifest", "s3://b/m.csv", "--engine", "processes", "--output", "s3://b/out"),
    "serve": ("-m", "grounding.serve", "label-studio"),
    "timm": ("-m", "grounding.localize", "--classifier", "timm:resnet18", "--caption", "a hat"),
    "train": ("-m", "grounding.train", "c.yaml"),
}


@dataclass(frozen=True)
class Line:
    """A row of the table; a size in MB."""

    what: str
    result: str
    seconds: float
    size_mb: float | None = None
    failed: bool = False


class FailedError(Exception):
    """A command that did not end as it should; its message is the end of what it said."""


def say(*arguments: object, folder: Path, accept: Sequence[int] = (0,), **environment: str) -> str:
    """Run a command without the repository on the path; what it printed, both streams."""
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    line = [str(argument) for argument in arguments]
    with subprocess.Popen(
        line,
        cwd=folder,
        env={**clean, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            printed, _ = process.communicate(timeout=LIMIT_S)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise FailedError(f"{' '.join(line[:4])}: not done in {LIMIT_S} s") from error
            raise
    if process.returncode not in accept:
        raise FailedError(f"{' '.join(line[:4])} ... ended with {process.returncode}: {printed[-1500:]}")
    return printed


@functools.cache
def alone() -> tuple[str, ...]:
    """The start of a command line that leaves a command nothing but the loopback interface; empty where that fails."""
    start = ("unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
    if shutil.which("unshare") and not subprocess.run([*start, "true"], check=False, capture_output=True).returncode:
        return start
    return ()


@functools.cache
def uv() -> str:
    """Where uv is."""
    found = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if found is None:
        raise SystemExit("uv is not there: pip install uv")
    return found


def find_python(version: str) -> str:
    """A Python by version: on the path, else of pyenv, else whatever uv makes of the text."""
    if "/" in version:
        return version
    of_pyenv = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    if found := shutil.which(f"python{version}"):
        with_it = subprocess.run([found, "-c", ""], check=False, capture_output=True, cwd="/")
        if not with_it.returncode:  # the stand-ins of pyenv are there for versions that are not chosen, too
            return found
    return str(of_pyenv[-1]) if of_pyenv else version


def environment(folder: Path, python: str, *install: object) -> Path:
    """Make a virtual environment and install into it; its python."""
    say(uv(), "venv", "-q", "--python", find_python(python), folder, folder=folder.parent)
    executable = folder / "bin" / "python"
    say(uv(), "pip", "install", "-q", "--python", executable, *install, folder=folder.parent)
    return executable


def size_mb(folder: Path) -> float:
    """What the files of an environment take."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_symlink()) / 1e6


def versions(python: Path, *names: str) -> str:
    """The installed versions of packages."""
    code = "import sys, importlib.metadata as m; print(', '.join(f'{n} {m.version(n)}' for n in sys.argv[1:]))"
    return say(python, "-c", code, *names, folder=python.parent).strip()


class Release:
    """The steps; each yields lines of the table."""

    def __init__(self, folder: Path, pythons: Sequence[str], extras: Sequence[str]) -> None:
        self.folder, self.pythons, self.extras = folder, pythons, extras
        self.base_mb: float | None = None

    @functools.cached_property
    def built(self) -> tuple[Path, Path]:
        """The wheel and the sdist."""
        return self.build(0, self.pythons[0])

    def build(self, number: int, python: str) -> tuple[Path, Path]:
        """Clone what is committed, and build it under another umask, time zone and home."""
        umask, zone, environment = BUILDS[number]
        checkout = self.folder / f"checkout{number}" / ("x" * number) / "source"
        out = self.folder / f"dist{number}"
        out.mkdir()
        say("sh", "-c", f'umask {umask:o} && git clone -q "$0" "$1"', ROOT, checkout, folder=self.folder)
        home = {"HOME": str(self.folder)} if "HOME" in environment else {}
        cache = say(uv(), "cache", "dir", folder=self.folder).strip()
        line = f'umask {umask:o} && exec "$0" build -q --python {find_python(python)} --out-dir "$1"'
        say("sh", "-c", line, uv(), out, folder=checkout, **{**environment, **home, "TZ": zone, "UV_CACHE_DIR": cache})
        (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
        return wheel, sdist

    @contextmanager
    def place(self, name: str) -> Iterator[Path]:
        """An empty folder, removed at the end: environments are large."""
        path = self.folder / name
        path.mkdir()
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def main_job(self, python: Path, folder: Path) -> str:
        """The main command by module and by console script, without a network."""
        folder.mkdir(exist_ok=True)
        start = time.monotonic()
        first = say(*alone(), python, "-m", "grounding.localize", *MAIN_JOB, folder=folder)
        seconds = time.monotonic() - start
        second = say(*alone(), python.parent / "grounding", "localize", *MAIN_JOB, folder=folder)
        for printed in (first, second):
            if printed.count('"localized"') != 2:
                raise FailedError(f"not both phrases are localized: {printed[-500:]}")
        version = say(python.parent / "grounding", "--version", folder=folder).split()[1]
        return f"grounding {version} ({seconds:.0f} s)"

    def check_build(self) -> Iterator[Line]:
        """Two builds are the same bytes; the metadata pass twine."""
        start = time.monotonic()
        first = self.built
        seconds = time.monotonic() - start
        second = self.build(1, self.pythons[-1])
        for one, other in zip(first, second, strict=True):
            digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (one, other)]
            same = digests[0] == digests[1]
            told = f"twice the same bytes, sha256 {digests[0][:16]}…" if same else "two builds differ"
            yield Line(f"build {one.name}", told, seconds, one.stat().st_size / 1e6, not same)
        start = time.monotonic()
        said = say(uv(), "tool", "run", "-q", "twine", "check", "--strict", *first, folder=self.folder, NO_COLOR="1")
        yield Line("twine check --strict", f"{said.count('PASSED')} passed", time.monotonic() - start, None)

    def check_wheel(self) -> Iterator[Line]:
        """The wheel alone, in each Python."""
        for python in self.pythons:
            yield from self.installed(f"wheel, Python {python}", python, self.built[0])

    def check_sdist(self) -> Iterator[Line]:
        """The sdist alone, built where it is installed."""
        yield from self.installed(f"sdist, Python {self.pythons[0]}", self.pythons[0], self.built[1])

    def check_pip(self) -> Iterator[Line]:
        """The wheel by pip, the one that a new virtual environment of the first Python brings."""
        start = time.monotonic()
        with self.place("pip") as folder:
            say(uv(), "venv", "-q", "--python", find_python(self.pythons[0]), "--seed", folder / "uv", folder=folder)
            say(folder / "uv" / "bin" / "python", "-m", "venv", folder / "e", folder=folder)
            python = folder / "e" / "bin" / "python"
            say(python, "-m", "pip", "install", "-q", self.built[0], folder=folder)
            told = f"{self.main_job(python, folder / 'w')}, {versions(python, 'pip', 'torch', 'torchvision')}"
        yield Line(f"wheel by pip, Python {self.pythons[0]}", told, time.monotonic() - start)

    def check_lowest(self) -> Iterator[Line]:
        """The lowest versions that are declared."""
        with self.unpacked() as source:
            yield from self.installed("lowest versions", self.pythons[0], *LOWEST, source)

    @contextmanager
    def unpacked(self) -> Iterator[Path]:
        """The source of the sdist; of a folder, unlike of a wheel, uv takes the dependencies as direct ones."""
        with self.place("unpacked") as folder:
            shutil.unpack_archive(self.built[1], folder, filter="data")
            (source,) = folder.iterdir()
            yield source

    def installed(self, what: str, python: str, *install: object) -> Iterator[Line]:
        """Install into a fresh environment, and run the main job."""
        start = time.monotonic()
        with self.place("installed") as folder:
            executable = environment(folder / "e", python, *install)
            size = size_mb(folder / "e")
            told = f"{self.main_job(executable, folder / 'w')}, {versions(executable, 'torch', 'torchvision', 'numpy')}"
        yield Line(what, told, time.monotonic() - start, size)

    def check_without(self) -> Iterator[Line]:
        """Without any extra, what needs one says which in one line."""
        with self.place("without") as folder:
            python = environment(folder / "e", self.pythons[0], self.built[0])
            self.base_mb = size_mb(folder / "e")
            self.furnish(python, folder / "w")
            for extra in [extra for extra in self.extras if extra in WITHOUT]:
                start = time.monotonic()
                said = say(*alone(), python, *WITHOUT[extra], folder=folder / "w", accept=(1, 2)).strip()
                *bars, last = re.split(r"[\r\n]+", said)  # a bar of progress may stand before the error
                good = all("%|" in bar for bar in bars if bar)
                good = good and bool(re.match(rf"""error: .*pip install ['"]grounding\[{extra}]""", last))
                yield Line(f"without `{extra}`", last, time.monotonic() - start, None, not good)

    def furnish(self, python: Path, folder: Path) -> None:
        """The files that `WITHOUT` names."""
        folder.mkdir()
        (folder / "m.csv").write_text("image,caption\nphotos/a.png,a hat\n")
        (folder / "maps.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
        (folder / "photos" / "hat").mkdir(parents=True)
        code = "import grounding; from PIL import Image; i = Image.fromarray(grounding.sample_scene());\n"
        say(python, "-c", code + "i.save('photos/a.png'); i.save('photos/hat/b.png')", folder=folder)
        (folder / "c.yaml").write_text(
            "{output: r, tags: 1, log: tensorboard, data: {sources: [m.csv]}, batch_size: 1}"
        )

    def check_lowest_extras(self) -> Iterator[Line]:
        """Each extra alone in the lowest versions that are declared, and what it is for."""
        with self.unpacked() as source:
            for extra in self.extras:
                yield self.used(extra, f"`{extra}` alone, lowest versions", *LOWEST, f"{source}[{extra}]")

    def check_extras(self) -> Iterator[Line]:
        """Each extra alone, and what it is for."""
        if self.base_mb is None:
            with self.place("base") as folder:
                environment(folder / "e", self.pythons[0], self.built[0])
                self.base_mb = size_mb(folder / "e")
        for extra in self.extras:
            yield self.used(extra, f"`{extra}` alone", f"{self.built[0]}[{extra}]")

    def used(self, extra: str, what: str, *install: object) -> Line:
        """Install an extra into a fresh environment, and use it."""
        start = time.monotonic()
        with self.place("extra") as folder:
            try:
                python = environment(folder / "e", self.pythons[0], *install)
                added = None if self.base_mb is None else size_mb(folder / "e") - self.base_mb
                work = folder / "w"
                work.mkdir()
                script = ROOT / "scripts" / "release_smoke.py"
                last = say(*alone(), python, "-P", script, extra, folder=work).strip().splitlines()[-1]
                return Line(what, last.removeprefix("smoke: "), time.monotonic() - start, added)
            except FailedError as error:
                return Line(what, str(error), time.monotonic() - start, None, True)

    def check_suite(self) -> Iterator[Line]:
        """The fast part of the suite, from the unpacked sdist, in each Python."""
        for python in self.pythons:
            with self.unpacked() as source, self.place("suite") as folder:
                executable = environment(folder / "e", python, "-e", f"{source}[test]")
                start = time.monotonic()
                said = say(executable, "-m", "pytest", *SUITE, folder=source, accept=(0, 1), OMP_NUM_THREADS="1")
                last = said.strip().splitlines()[-1].strip("= ")
                failed = re.findall(r"^(?:FAILED|ERROR) (.*)", said, re.MULTILINE)
                told = "; ".join([last, *failed[:20]])
                yield Line(
                    f"fast tests from the sdist, Python {python}", told, time.monotonic() - start, None, bool(failed)
                )


STEPS: dict[str, Callable[[Release], Iterator[Line]]] = {
    "build": Release.check_build,
    "wheel": Release.check_wheel,
    "sdist": Release.check_sdist,
    "pip": Release.check_pip,
    "lowest": Release.check_lowest,
    "without": Release.check_without,
    "extras": Release.check_extras,
    "lowest-extras": Release.check_lowest_extras,
    "suite": Release.check_suite,
}


def known_extras() -> list[str]:
    """The extras of pyproject.toml but `test`, which the suite installs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return sorted(set(project["optional-dependencies"]) - {"test"})


def known_pythons() -> list[str]:
    """The Pythons of the classifiers."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [found[1] for each in project["classifiers"] if (found := re.fullmatch(r"Programming.* (3\.\d+)", each))]


def table(lines: Sequence[Line]) -> str:
    """The results as a Markdown table."""
    rows = ["| what | result | seconds | MB |", "|---|---|---|---|"]
    for line in lines:
        told = ("**failed** " if line.failed else "") + " ".join(line.result.split()).replace("|", "\\|")
        size = "" if line.size_mb is None else f"{line.size_mb:,.1f}" if line.size_mb < 100 else f"{line.size_mb:,.0f}"
        rows.append(f"| {line.what} | {told} | {line.seconds:.0f} | {size} |")
    return "\n".join(rows) + "\n"


def page(lines: Sequence[Line]) -> str:
    """The table with what it was measured on."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    network = "without a network" if alone() else "with --offline"
    return (
        "# The release, installed\n\n"
        "`python scripts/check_release.py` builds the release twice, installs it into fresh virtual environments, and\n"
        "uses what it installed. MB: of a file; of an environment; of an extra, what it adds to the package alone.\n"
        f"Seconds include the installation, from uv's cache. Installed code ran {network}.\n\n"
        f"{platform.system()}, {platform.machine()}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}, commit"
        f" {commit.stdout.strip() or '?'}.\n\n{table(lines)}"
    )


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="print the steps")
    parser.add_argument("--only", nargs="+", choices=STEPS, metavar="STEP", default=list(STEPS), help="some of --list")
    parser.add_argument("--pythons", nargs="+", metavar="VERSION", default=known_pythons(), help="as uv names them")
    parser.add_argument("--extras", nargs="+", choices=known_extras(), metavar="EXTRA", default=known_extras())
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the table to this Markdown file as well")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the steps; the exit status is 1 when any line failed, and 130 after Ctrl-C."""
    options = build_parser().parse_args(arguments)
    if options.list:
        print("\n".join(f"{name:13} {step.__doc__}" for name, step in STEPS.items()))
        return 0
    signal.signal(signal.SIGTERM, _terminated)
    lines: list[Line] = []
    try:
        with tempfile.TemporaryDirectory(prefix="release-", ignore_cleanup_errors=True) as folder:
            release = Release(Path(folder), options.pythons, options.extras)
            for name in [name for name in STEPS if name in options.only]:
                try:
                    for line in STEPS[name](release):
                        lines.append(line)
                        print(table([line]).splitlines()[-1], flush=True)
                except FailedError as error:
                    lines.append(Line(name, str(error), 0, None, True))
                    print(table(lines[-1:]).splitlines()[-1], flush=True)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    if options.output:
        options.output.write_text(page(lines), encoding="utf-8")
    return int(any(line.failed for line in lines))


def _terminated(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
