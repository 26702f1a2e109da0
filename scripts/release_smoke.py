"""One real call for each extra, to be run by a Python that has the package and only that extra.

python -P scripts/release_smoke.py export
python -P scripts/release_smoke.py --list

`scripts/check_release.py` runs it in a fresh environment for each extra, in an empty folder, without a network. What it
needs is made on the spot: tiny networks with random weights in the formats of their libraries, and pictures of shapes.
"""

import argparse
import importlib
import json
import os
import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 120  # that a page may take to answer
sys.path.append(str(ROOT / "tests"))  # for its helpers


def command(name: str, *arguments: object) -> None:
    """Run a command line of the package; whatever but 0 ends the check."""
    door = importlib.import_module(f"grounding.{name}")
    if status := door.main([str(argument) for argument in arguments]):
        raise SystemExit(f"grounding {name} ended with {status}")


def photograph(name: str) -> Path:
    """Save the sample scene."""
    from PIL import Image

    from grounding import sample_scene

    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sample_scene()).save(path)
    return path


def page(*arguments: object, path: str = "", wanted: str = "") -> str:
    """Start a page as a user does, ask for it once, and end it; the start of what it answered."""
    line = [sys.executable, "-P", "-m", *(str(argument) for argument in arguments)]
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as process:
        late = threading.Timer(SECONDS, process.kill)
        late.start()
        try:
            assert process.stdout
            for text in process.stdout:
                if found := re.search(r"http://(?:127\.0\.0\.1|localhost):\d+", text):
                    break
            else:
                raise SystemExit(f"{arguments[0]} named no address")
            with urllib.request.urlopen(found[0] + path, timeout=SECONDS) as answer:
                content: str = answer.read().decode()
        finally:
            late.cancel()
            process.terminate()
    if wanted not in content:
        raise SystemExit(f"{arguments[0]} answered without {wanted!r}: {content[:200]}")
    return f"{arguments[0]} answered {answer.status}, {len(content):,} characters"


def annotate() -> str:
    """Drafts as `Detections`, and the page."""
    import grounding

    photograph("photos/a.png")
    localizer = grounding.Localizer.from_pretrained()
    found = localizer.encode(grounding.sample_scene()).ground("a man in a red hat").to_detections()
    said = page(
        "grounding.annotate", "--images", "photos", "--labels", "hat", "--output", "o", "--port", 0, "--no-browser"
    )
    return f"{len(found)} supervision.Detections; {said}"


def baselines() -> str:
    """Maps by captum and by zennit."""
    import grounding

    scene = grounding.Localizer.from_pretrained().encode(grounding.sample_scene())
    said = []
    for method in ("guided_backprop", "lrp"):
        found = scene.under(grounding.Localizer.from_pretrained(method=method)).ground("a red hat")
        said.append(f"{method} {found['a red hat'].status}")
    return ", ".join(said)


def clickme() -> str:
    """The page of the game."""
    photograph("photos/hat/a.png")
    photograph("photos/man/b.png")
    return page("grounding.clickme", "--images", "photos", "--output", "o", "--port", 0, "--no-browser", wanted="<html")


def clip() -> str:
    """A tiny CLIP in the format of open_clip, and one in that of transformers."""
    from helpers.clip import save_clip, save_open_clip

    photograph("a.png")
    for folder in (save_open_clip(Path("open")), save_clip(Path("transformers"))):
        command("localize", "--classifier", f"clip:{folder}", "--image", "a.png", "--caption", "a hat", "--json")
    return "localized by clip: in both formats"


def demo() -> str:
    """The page."""
    return page("grounding.demo", "--port", 0, "--no-browser", "--offline", wanted="gradio")


def docs() -> str:
    """The site of the repository; where there is none yet, that of one page."""
    site = ROOT / "mkdocs.yml"
    if not site.exists():
        Path("docs").mkdir()
        Path("docs/index.md").write_text("# Site\n\n::: grounding.boxes\n")
        site = Path("mkdocs.yml")
        site.write_text("site_name: s\ntheme: {name: material, font: false}\nplugins: [mkdocstrings]\n")
    line = [sys.executable, "-m", "mkdocs", "build", "-q", "-f", str(site), "-d", str(Path("site").resolve())]
    subprocess.run(line, check=True)
    return f"mkdocs built {len(list(Path('site').rglob('*.html')))} pages from {site.name}"


def export() -> str:
    """The localizer as ONNX."""
    import onnx

    command("export", "--output", "localizer.onnx")
    onnx.checker.check_model("localizer.onnx")
    return f"localizer.onnx, {Path('localizer.onnx').stat().st_size / 1e6:.1f} MB, is valid"


def hf() -> str:
    """A tiny vision transformer, and a name that is not in the cache."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    from grounding import GroundingError, Localizer

    photograph("a.png")
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    labels = dict(enumerate(["tabby, tabby cat", "cowboy hat"]))
    ViTForImageClassification(
        ViTConfig(image_size=32, patch_size=8, id2label=labels, label2id={}, **sizes)
    ).save_pretrained("vit")
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained("vit")
    command("localize", "--classifier", "hf:vit", "--image", "a.png", "--caption", "a hat", "--json")
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        Localizer.from_pretrained("hf:nobody/nothing")
    except GroundingError as error:
        return f"localized by hf:; of what is not there: {error}"
    raise SystemExit("hf:nobody/nothing was found")


def human_maps() -> str:
    """Maps from an HDF5 file of ClickMe 2.0, and records of a TFRecord file."""
    import h5py
    import numpy as np

    from grounding.datasets.human_maps import Spread, read_human_maps
    from grounding.datasets.tfrecords import read_records
    from helpers.tfrecord_files import framed

    with h5py.File("maps.h5", "w") as file:
        group = file.create_group("clickmaps").create_group("a")
        group.create_dataset("clickmap", data=np.eye(64, dtype=np.float32))
        group.attrs["original_path"] = "a"
    found = read_human_maps(Path("maps.h5"), ["a"], lambda _: (64, 64), Spread("none"))
    Path("a.tfrecord").write_bytes(framed(b"one", b"two"))
    records = list(read_records(Path("a.tfrecord")))
    return f"{len(found.maps)} map of HDF5, {len(records)} records of TFRecord"


def ray() -> str:
    """Two rows of a manifest."""
    photograph("a.png")
    Path("m.csv").write_text("image,caption\na.png,a man in a red hat\na.png,a camera\n")
    command("localize", "--manifest", "m.csv", "--engine", "ray", "--workers", 1, "--output", "out")
    return f"ray wrote {len(list(Path('out').rglob('*.parquet')))} Parquet file(s)"


class _Bucket(BaseHTTPRequestHandler):
    """As much of S3 as reading and writing single objects needs."""

    objects: dict[str, bytes] = {}  # noqa: RUF012

    def _answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_PUT(self) -> None:
        self.objects[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200, ETag='"x"')

    def do_GET(self) -> None:
        key = self.path.split("?")[0]
        if "list-type" in self.path:
            self._answer(200, b"<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>")
        elif key not in self.objects:
            self._answer(404)
        else:
            content, asked = self.objects[key], self.headers.get("Range")
            if asked and self.command == "GET":
                start, end = (int(each) for each in asked.removeprefix("bytes=").split("-"))
                content = content[start : end + 1]
            if self.command == "HEAD":
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("ETag", '"x"')
                self.end_headers()
            else:
                self._answer(206 if asked else 200, content, ETag='"x"')

    do_HEAD = do_GET

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


def s3() -> str:
    """A manifest in a bucket of a server on this machine; its rows name pictures beside it."""
    from grounding.scale.storage import Storage

    server = ThreadingHTTPServer(("127.0.0.1", 0), _Bucket)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
    }
    _Bucket.objects["/bucket/a.png"] = photograph("a.png").read_bytes()
    content = Storage("s3://bucket").read("a.png")
    server.shutdown()
    return f"{len(content):,} bytes of s3://bucket/a.png"


def serve() -> str:
    """The backend for Label Studio."""
    return page("grounding.serve", "label-studio", "--port", 0, path="/health", wanted="UP")


def timm() -> str:
    """A network of timm with a file of weights."""
    from safetensors.torch import save_file

    library = importlib.import_module("timm")
    photograph("a.png")
    save_file(library.create_model("test_resnet").state_dict(), "w.safetensors")
    command(
        "localize", "--classifier", "timm:test_resnet=w.safetensors", "--image", "a.png", "--caption", "a hat", "--json"
    )
    return "localized by timm:test_resnet"


def train() -> str:
    """Two steps of a network of timm, logged for TensorBoard, and a picture by what they made."""
    from helpers.training import draw_shapes

    table = draw_shapes(Path("shapes"), 16)
    settings: dict[str, Any] = {
        "output": "run",
        "tags": 7,
        "inference_size_px": 64,
        "image_size_px": 64,
        "epochs": 1,
        "batch_size": 8,
        "log": "tensorboard",
        "data": {"sources": [str(table)], "cache_size_px": 64},
        "network": {"architecture": "timm:test_resnet"},
    }
    Path("c.yaml").write_text(json.dumps(settings))
    command("train", "c.yaml")
    picture = "shapes/000.png"
    command("localize", "--classifier", "run/classifier", "--image", picture, "--caption", "a red circle", "--json")
    (events,) = Path("run").rglob("events*")
    return f"2 steps, {events.stat().st_size} bytes of events"


CALLS: dict[str, Callable[[], str]] = {
    name.replace("_", "-"): call
    for name, call in globals().items()
    if name in {"annotate", "baselines", "clickme", "clip", "demo", "docs", "export", "hf"}
    or name in {"human_maps", "ray", "s3", "serve", "timm", "train"}
}


def main() -> int:
    """Run one; its last line says what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("extra", nargs="?", choices=sorted(CALLS), metavar="EXTRA", help="one of --list")
    parser.add_argument("--list", action="store_true", help="print their names")
    options = parser.parse_args()
    if options.extra is None:
        print("\n".join(CALLS))
        return 0
    with suppress(BrokenPipeError):
        print(f"smoke: {CALLS[options.extra]()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
