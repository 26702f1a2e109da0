"""Readers as functions of bytes or texts, for hypothesis: of whatever they are given, only a `GroundingError` comes."""

import json
import tempfile
import warnings
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from grounding.config import LocalizerConfig, load
from grounding.datasets.voc_xml import read_xml
from grounding.datasets.xml_files import parse_xml
from grounding.errors import GroundingError
from grounding.images import read_image
from grounding.manifest import read_manifest
from grounding.tagging.classifier import TagClassifier
from grounding.text.phrases import Chunker, find_phrases
from helpers.entities import IMAGES, annotation
from helpers.malformed.pictures import FORMATS, picture
from helpers.malformed.settings import CONFIG
from helpers.malformed.tables import COCO, CSV, JSONL
from helpers.malformed.weights import tensors, with_header, write_classifier

SPICE = (
    b"\0",
    b'"',
    b"'",
    b",",
    b";",
    b"\t",
    b"\n",
    b"\r",
    b"[",
    b"]",
    b"{",
    b"}",
    b":",
    b"&a",
    b"*a",
    b"<<",
    b"!!int",
    b"-",
)
SPICE += (
    b"9" * 400,
    b"NaN",
    b"null",
    b"\xff",
    b"\xed\xa0\x80",
    b"<",
    b"<!DOCTYPE",
    b"&x;",
    b"/",
    b"1e999",
    b"%",
    b"\xef\xbb\xbf",
)


def damaged(*whole: bytes) -> st.SearchStrategy[bytes]:
    """One of these files with pieces of it replaced, doubled or left out; or any bytes at all."""
    edit = st.tuples(st.integers(0, 4000), st.integers(0, 30), st.sampled_from(SPICE) | st.binary(max_size=8))

    def apply(content: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
        for start, length, new in edits:
            at = start % (len(content) + 1)
            content = content[:at] + new + content[at + length :]
        return content

    return st.builds(apply, st.sampled_from(whole), st.lists(edit, max_size=6)) | st.binary(max_size=200)


def _file(ending: str, read: Callable[[Path], object], content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"input{ending}"
        path.write_bytes(content)
        read(path)


@lru_cache
def _classifier() -> Path:
    return write_classifier(Path(tempfile.mkdtemp()) / "tiny")


def _weights(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for path in _classifier().iterdir():
            (Path(folder) / path.name).write_bytes(path.read_bytes())
        (Path(folder) / "model.safetensors").write_bytes(content)
        TagClassifier.from_pretrained(folder)


def _header(header: bytes) -> None:
    _weights(with_header(header, tensors((_classifier() / "model.safetensors").read_bytes())[1]))


def _xml(content: bytes) -> None:
    class One:
        path = "here"

        def read(self, name: str) -> bytes:
            return content

    parse_xml("here", content)
    read_xml(One(), "one.xml")


def _phrases(caption: str) -> None:
    for phrase in Chunker.load().phrases(caption):
        assert caption[phrase.start : phrase.end].strip()
    find_phrases(caption, caption.split()[:3])


def readers() -> dict[str, tuple[Callable[..., object], st.SearchStrategy[object]]]:
    """What is called with what, by name."""
    words = st.sampled_from(
        ["a man", "in", "red", "hat", "&#39;", "<b>", "http://x", "\u200b", ".", ",", "'s", "\n", "no", "2"]
    )
    header = json.dumps(tensors((_classifier() / "model.safetensors").read_bytes())[0]).encode()
    xml = annotation("1001", IMAGES["1001"]).encode()
    return {
        "captions": (_phrases, st.text(max_size=60) | st.lists(words, max_size=12).map(" ".join)),
        "csv": (partial(_file, ".csv", read_manifest), damaged(CSV, CSV.replace(b",", b";"))),
        "jsonl": (partial(_file, ".jsonl", read_manifest), damaged(JSONL)),
        "json": (partial(_file, ".json", read_manifest), damaged(json.dumps(COCO).encode(), JSONL)),
        "yaml": (
            partial(_file, ".yaml", partial(load, LocalizerConfig)),
            damaged(CONFIG.encode(), b"maps: &a {resolution: 64}\n"),
        ),
        "xml": (_xml, damaged(xml)),
        "safetensors header": (_header, damaged(header)),
        "picture": (partial(_file, ".jpg", read_image), damaged(*map(picture, FORMATS))),
    }


def only_grounding_errors(read: Callable[[object], object], given: object) -> None:
    """Call a reader; anything but an answer or a `GroundingError` of one line is raised."""
    try:
        read(given)
    except GroundingError as error:
        said = str(error).splitlines()
    else:
        said = ["an answer"]
    assert len(said) == 1


def hunt(name: str, examples: int, start: int = 1) -> None:
    """Call a reader with so many inputs, the same for a start; the first that is handled wrongly is raised."""
    read, strategy = readers()[name]

    @seed(start)
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def body(content: object) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, over damaged pictures
            only_grounding_errors(read, content)

    body()
