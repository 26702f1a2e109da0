"""Execute notebooks, each in an empty folder, and store them with their outputs: small, and the same on any machine.

    python scripts/run_notebooks.py [notebooks/tour.ipynb ...]            # all, in place
    python scripts/run_notebooks.py --check [notebooks/tour.ipynb ...]    # is what is stored what a fresh run gives?

A cell tagged `varies` says what depends on the processor, such as a time: of its outputs only the kinds are compared.
"""

import argparse
import base64
import copy
import io
import re
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from subprocess import DEVNULL
from typing import Final

import nbformat
import numpy as np
from jupyter_client import KernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from PIL import Image

ROOT: Final = Path(__file__).resolve().parents[1]
PICTURE_BYTES: Final = 60_000
NOTEBOOK_BYTES: Final = 300_000
WIDTH_PX: Final = 900
VARIES: Final = "varies"
METADATA: Final = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
_SVG: Final = "image/svg+xml"
_QUALITIES: Final = (88, 80, 70, 60, 50)
_THUMBNAIL_PX, _FARTHEST = 16, 16.0  # mean difference of two thumbnails, of 255
_NUMBER: Final = re.compile(r"(?<![A-Za-z_0-9])[-+]?\d+(?:\.\d*)?(?:e[-+]?\d+)?(?![A-Za-z_0-9])")
_ABSOLUTE: Final = re.compile(r"(?<![\w.:/~)\]-])(?:/(?:home|root|tmp|Users|work|var|opt|private|usr|mnt)/|[A-Z]:\\\\)")
_ADDRESS: Final = re.compile(r"\bat 0x[0-9a-f]{6,}")


def executed(notebook: NotebookNode, folder: Path, kernel: KernelManager | None = None) -> NotebookNode:
    """A copy with the outputs of a run without names of before, in this folder.

    Raises:
        CellExecutionError: a cell that fails.
    """
    fresh = copy.deepcopy(notebook)
    fresh.cells.insert(0, nbformat.v4.new_code_cell(f"__import__('os').chdir({str(folder)!r})\n%reset -f"))
    client = NotebookClient(fresh, km=kernel, timeout=600)
    try:
        client.execute(stdout=DEVNULL, stderr=DEVNULL)
    finally:
        if kernel and client.kc:
            client.kc.stop_channels()
    del fresh.cells[0]
    return fresh


def tidied(notebook: NotebookNode, folder: Path | None = None) -> NotebookNode:
    """A copy with one encoding of each picture, and nothing of the machine or of the time of the run."""
    tidy = copy.deepcopy(notebook)
    tidy.metadata = nbformat.from_dict(copy.deepcopy(METADATA))
    for number, cell in enumerate(tidy.cells):
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        cell["id"] = f"cell-{number}"
        if cell.cell_type == "code":
            cell.execution_count = None
            cell.outputs = list(_tidied_outputs(cell.outputs, str(folder) if folder else None))
    return tidy


def _tidied_outputs(outputs: Sequence[NotebookNode], folder: str | None) -> Iterator[NotebookNode]:
    """Without stderr; what was printed one after another is one text, however it arrived."""
    printed: NotebookNode | None = None
    for output in outputs:
        if output.output_type == "stream":
            if output.name == "stderr":
                continue
            if printed is not None:
                printed.text += _without(folder, output.text)
                continue
            output.text = _without(folder, output.text)
            printed = output
        else:
            printed = None
            output.metadata = NotebookNode()
            if "execution_count" in output:
                output.execution_count = None
            data = output.get("data", {})
            if "image/png" in data:
                data.pop("image/jpeg", None)
            for kind, text in data.items():
                if kind.startswith("text/"):
                    data[kind] = _without(folder, text)
        yield output


def _without(folder: str | None, text: str) -> str:
    return text.replace(folder, ".") if folder else text


def fitted(notebook: NotebookNode) -> NotebookNode:
    """A tidy copy with its pictures encoded so small that each, and the whole, is within bounds."""
    budget = PICTURE_BYTES
    while True:
        small = copy.deepcopy(notebook)
        for _, output in _outputs(small):
            for kind, content in _pictures(output).items():
                if kind != _SVG:
                    del output.data[kind]
                    coded, content = encoded(content, budget)
                    output.data[coded] = base64.b64encode(content).decode()
        if len(nbformat.writes(small)) <= NOTEBOOK_BYTES or budget < 5_000:
            return small
        budget = round(budget * 0.85)


def encoded(content: bytes, limit: int = PICTURE_BYTES) -> tuple[str, bytes]:
    """The kind and bytes of a picture, at most `WIDTH_PX` wide: PNG if it fits and is no larger than a good JPEG."""
    picture: Image.Image = Image.open(io.BytesIO(content))
    if picture.mode in ("RGBA", "LA", "P"):
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    picture = picture.convert("RGB")
    if picture.width > WIDTH_PX:
        picture = _narrowed(picture, WIDTH_PX)
    png = _saved(picture, "PNG", optimize=True)
    if len(png) <= min(limit, len(_saved(picture, "JPEG", quality=_QUALITIES[0], optimize=True))):
        return "image/png", png
    while True:
        for quality in _QUALITIES:
            jpeg = _saved(picture, "JPEG", quality=quality, optimize=True)
            if len(jpeg) <= limit:
                return "image/jpeg", jpeg
        picture = _narrowed(picture, round(picture.width * 0.85))


def _narrowed(picture: Image.Image, width: int) -> Image.Image:
    return picture.resize((width, max(1, round(picture.height * width / picture.width))), Image.Resampling.LANCZOS)


def _saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def _outputs(notebook: NotebookNode) -> Iterator[tuple[int, NotebookNode]]:
    """All outputs, with the number of their cell."""
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            yield number, output


def faults(notebook: NotebookNode) -> list[str]:
    """What forbids to store it: no picture, too large, or something of the machine in it; a line each."""
    found = []
    if (size := len(nbformat.writes(notebook))) > NOTEBOOK_BYTES:
        found.append(f"{size} bytes in all, more than {NOTEBOOK_BYTES}")
    if not any(_pictures(output) for _, output in _outputs(notebook)):
        found.append("no picture is stored")
    if dict(notebook.metadata) != METADATA:
        found.append(f"metadata {dict(notebook.metadata)}, expected {METADATA}")
    for number, cell in enumerate(notebook.cells):
        lines = list(_counts(cell))
        for output in cell.get("outputs", []):
            lines += [*_counts(output), *_output_faults(output)]
        for words in (cell.source, *_texts(cell)):
            lines += _traces(words)
        found += [f"cell {number}: {line}" for line in lines]
    return found


def _counts(node: NotebookNode) -> Iterator[str]:
    if node.get("execution_count") is not None:
        yield "an execution count"


def _output_faults(output: NotebookNode) -> Iterator[str]:
    if output.get("name") == "stderr":
        yield "stderr"
    if output.output_type == "error":
        yield f"an error, {output.ename}"
    pictures = _pictures(output)
    if len(pictures) > 1:
        yield "one picture in several encodings"
    for kind, content in pictures.items():
        if len(content) > PICTURE_BYTES:
            yield f"{len(content)} bytes of {kind}, more than {PICTURE_BYTES}"
        if kind != _SVG and (width := Image.open(io.BytesIO(content)).width) > WIDTH_PX:
            yield f"a picture {width} px wide, more than {WIDTH_PX}"


def _traces(words: str) -> Iterator[str]:
    """What tells of the machine."""
    for pattern, name in ((_ABSOLUTE, "an absolute path"), (_ADDRESS, "an address in memory")):
        if match := pattern.search(words):
            yield f"{name}: {words[match.start() : match.start() + 60]!r}"
    machine = socket.gethostname()
    if not machine.isalpha() and re.search(
        rf"(?<!\w){re.escape(machine)}(?!\w)", words
    ):  # one called `build` is no trace
        yield "the name of the machine"


def _pictures(output: NotebookNode) -> dict[str, bytes]:
    """The bytes of each encoding of a picture."""
    kinds = {kind: text for kind, text in output.get("data", {}).items() if kind.startswith("image/")}
    return {kind: text.encode() if kind == _SVG else base64.b64decode(text) for kind, text in kinds.items()}


def _texts(cell: NotebookNode) -> Iterator[str]:
    for output in cell.get("outputs", []):
        yield output.get("text", "")
        yield from (text for kind, text in output.get("data", {}).items() if kind.startswith("text/"))


def warnings_of(notebook: NotebookNode) -> list[str]:
    """The lines on stderr that warn."""
    texts = [output.text for _, output in _outputs(notebook) if output.get("name") == "stderr"]
    return [line for text in texts for line in text.splitlines() if re.search(r"\w*Warning\b", line)]


def differences(stored: NotebookNode, fresh: NotebookNode) -> list[str]:
    """Where the outputs, both tidied, are of other kinds, or say something else than up to numbers' last digits."""
    found = []
    for number, (cell, again) in enumerate(zip_longest(stored.cells, fresh.cells)):
        if cell is None or again is None or cell.source != again.source:
            return [*found, f"cell {number}: another source"]
        kinds, others = ([_kinds(output) for output in each.get("outputs", [])] for each in (cell, again))
        if kinds != others:
            found.append(f"cell {number}: stored {kinds}, now {others}")
            continue
        if VARIES in cell.metadata.get("tags", []):
            continue
        for output, other in zip(cell.get("outputs", []), again.get("outputs", []), strict=True):
            found += [f"cell {number}: {line}" for line in _unlike(output, other)]
    return found


def _kinds(output: NotebookNode) -> tuple[str, ...]:
    """A picture is a picture, as PNG or JPEG."""
    data = sorted({re.sub(r"image/(png|jpeg)", "picture", kind) for kind in output.get("data", {})})
    return (output.output_type, output.get("name", ""), *data)


def _unlike(output: NotebookNode, other: NotebookNode) -> Iterator[str]:
    data, others = output.get("data", {}), other.get("data", {})
    if "text/html" in data:  # the plain text of a table breaks its lines by the width of its numbers
        pair = (data["text/html"], others["text/html"])
    elif "text/plain" in data:
        pair = (data["text/plain"], others["text/plain"])
    else:
        pair = (output.get("text", ""), other.get("text", ""))
    if line := unlike_texts(*pair):
        yield line
    pictures = [[content for kind, content in _pictures(each).items() if kind != _SVG] for each in (output, other)]
    for content, again in zip(*pictures, strict=True):
        if (distance := float(np.abs(_thumbnail(content) - _thumbnail(again)).mean())) > _FARTHEST:
            yield f"another picture: thumbnails differ by {distance:.0f} of 255 on average"


def _thumbnail(content: bytes) -> np.ndarray:
    """(16, 16, 3) means of a picture."""
    small = Image.open(io.BytesIO(content)).convert("RGB").resize((_THUMBNAIL_PX, _THUMBNAIL_PX), Image.Resampling.BOX)
    return np.asarray(small, np.float32)


def unlike_texts(text: str, again: str) -> str:
    """What differs first, or nothing: words are equal, spaces do not count, numbers agree up to their last digits."""
    words, others = (_NUMBER.sub(" # ", each).split() for each in (text, again))
    if words != others:
        at = next(k for k, (a, b) in enumerate(zip_longest(words, others)) if a != b)
        return f"stored {' '.join(words[at : at + 8])!r}, now {' '.join(others[at : at + 8])!r}"
    for one, two in zip(_NUMBER.findall(text), _NUMBER.findall(again), strict=True):
        if not alike(one, two):
            return f"stored {one}, now {two}"
    return ""


def alike(one: str, two: str) -> bool:
    """Whether two written numbers agree within 2%, 1e-6, and one and a half units of the last of their decimals."""
    larger = max(abs(float(one)), abs(float(two)))
    return abs(float(one) - float(two)) <= 0.02 * larger + 1.5 * max(_unit(one), _unit(two)) + 1e-6


def _unit(number: str) -> float:
    """Of the last decimal; 0 for an integer, which is exact where it is small, and for an exponent."""
    digits = number.partition(".")[2]
    return 10.0 ** -len(digits) if digits and "e" not in digits else 0.0


def stored_or_checked(path: Path, check: bool, kernel: KernelManager | None = None) -> list[str]:
    """Execute a notebook; write it, or compare it with what is stored. What is wrong, a line each."""
    try:
        notebook = nbformat.read(path, as_version=4)
    except (OSError, ValueError, nbformat.ValidationError) as error:
        return [f"it is no notebook that can be read: {type(error).__name__}"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        try:
            fresh = executed(notebook, folder, kernel)
        except CellExecutionError as error:
            return [f"a cell fails: {error.ename}: {error.evalue}"]
    found = [f"stderr: {line}" for line in warnings_of(fresh)]
    tidy = tidied(fresh, folder)
    if check:
        return [*found, *faults(notebook), *differences(notebook, tidy)]
    small = fitted(tidy)
    found += faults(small)
    if not found:
        nbformat.write(small, path)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 1 if a notebook fails, breaks a rule, or is not stored as it runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path)
    parser.add_argument("--check", action="store_true", help="compare what is stored with a fresh run; write nothing")
    options = parser.parse_args(arguments)
    status = 0
    for path in options.notebooks or sorted((ROOT / "notebooks").glob("*.ipynb")):
        found = stored_or_checked(path, options.check)
        status |= bool(found)
        done = "as stored" if options.check else "stored"
        print(f"{path.name}:", "no" if found else f"{done}, {path.stat().st_size / 1000:.0f} kB")
        for line in found:
            print(f"  {line}")
    return status


if __name__ == "__main__":
    sys.exit(main())
