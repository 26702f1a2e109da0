"""Classifier folders: weights in safetensors, config.json and presence.json; and state dicts with code in them."""

import functools
import json
import os
import pickle
import random
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from grounding.tagging.classifier import Preprocessing, TagClassifier
from grounding.tagging.network import plain_network
from grounding.tagging.presence import FEATURES, PresenceModel
from grounding.tagging.sources import load_classifier
from helpers.malformed.judge import EITHER, READ, REFUSED, Case, blanked, cut, flipped

TAGS = ("red", "green")
VAST = {"layers": [[8192, 1]] * 50}
DEEP = "[" * 100_000


def write_classifier(folder: Path) -> Path:
    """A classifier of two tags with a presence model."""
    presence = PresenceModel(np.zeros(2), np.ones(2), np.ones(len(FEATURES)), 0.0, 0.5, {"pictures": 1})
    network = plain_network([(3, 2)], len(TAGS), normalised=False).eval()
    TagClassifier(network, TAGS, Preprocessing(32), "tiny", presence_model=presence).save_pretrained(folder)
    return folder


class Evil:
    """Runs code where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return os.mkdir, (str(self.path),)


def tensors(content: bytes) -> tuple[dict[str, object], bytes]:
    """The header of a safetensors file, and its data."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def with_header(header: object, data: bytes, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def _weights(content: bytes) -> dict[str, bytes]:
    header, data = tensors(content)
    name = next(key for key in header if key != "__metadata__")
    first = header[name]
    other = next(key for key in header if key not in ("__metadata__", name))

    def changed(**values: object) -> bytes:
        return with_header(header | {name: first | values}, data)

    one = json.dumps({name: first})[1:-1]
    return {
        "empty": b"",
        "short": b"\x10\0\0",
        "no-header": struct.pack("<Q", 0),
        "length-2^63": with_header(header, data, 2**63),
        "length-2^64": with_header(header, data, 2**64 - 1),
        "length-beyond": with_header(header, data, len(content)),
        "length-short": with_header(header, data, 20),
        "no-json": with_header(b"not JSON at all", data),
        "list": with_header([1, 2], data),
        "deep": with_header(b'{"a":' * 100_000, data),
        "latin-1": with_header(b'{"\xe4": 1}', data),
        "twice": with_header(f"{{{one}, {json.dumps(header)[1:]}".encode(), data),
        "no-dtype": with_header(header | {name: {k: v for k, v in first.items() if k != "dtype"}}, data),
        "dtype": changed(dtype="F7"),
        "dtype-number": changed(dtype=5),
        "dtype-small": changed(dtype="F4"),
        "dtype-wider": changed(dtype="F64"),
        "shape": changed(shape=[1, 2, 3]),
        "shape-negative": changed(shape=[-1]),
        "shape-vast": changed(shape=[2**40, 2**40]),
        "shape-overflow": changed(shape=[2**63, 2]),
        "shape-text": changed(shape="many"),
        "offsets-negative": changed(data_offsets=[-8, 8]),
        "offsets-overlap": with_header(header | {other: header[other] | {"data_offsets": first["data_offsets"]}}, data),
        "offsets-backward": changed(data_offsets=first["data_offsets"][::-1]),
        "offsets-beyond": changed(data_offsets=[0, 10**12]),
        "cut-data": content[:-7],
        "more-data": content + bytes(9),
        "missing": with_header({k: v for k, v in header.items() if k != name}, data),
        "metadata": with_header(header | {"__metadata__": {"a": {"b": 1}}}, data),
        "pickle": pickle.dumps({"a": 1}),
        "nan": with_header(header, b"\xff\x7f" * (len(data) // 2)),
        "infinite": with_header(header, b"\x80\x7f" * (len(data) // 2)),
    }


def _configs(config: dict[str, object]) -> dict[str, object]:
    values = {
        "schema_version": [None, "1", 2, [1]],
        "architecture": [None, ["TagNetwork"], "timm:", "timm:no_such", "ResNet", {}],
        "image_size_px": [0, -1, 10**12, 8192, "32", 1.5, True, None],
        "map_layer": ["a", 1.5, [], 10**30],
        "tags": [None, [], "ab", [1, 2], ["a"], ["a"] * 100_000, {"a": 1}],
        "layers": [None, [], [[3]], [[3, 0]], [["3", 2]], [[3, 2]] * 10_000, [[10**9, 1]], VAST["layers"]],
        "pooling": [None, [], {}, "median", 5],
        "mean": [None, [0, 0], ["a", 0, 0], [10**400, 0, 0], [[], 0, 0]],
        "std": [[0, 1, 1], [-1, 1, 1], None, [10**400, 1, 1]],
        "gala": [5, [], {}, {"layers": ["a"], "reduction": 1, "squash": [], "apply_to": {}}],
    }
    changed = {f"{key}-{n}": config | {key: value} for key, group in values.items() for n, value in enumerate(group)}
    texts = {"nan": '{"schema_version": NaN}', "deep": DEEP, "digits": '{"schema_version": %s}' % ("9" * 5000)}
    texts |= {
        "empty": "",
        "list": "[]",
        "latin-1": b'{"\xe4": 1}',
        "transformers": '{"model_type": "vit"}',
        "mean-nan": None,
    }
    texts["mean-nan"] = json.dumps(config | {"mean": [float("nan"), 0, 0]})
    timm = config | {"architecture": "timm:resnet18", "options": {"no_such": 1}}
    return changed | texts | {"timm-options": timm, "timm-list": timm | {"options": [1]}}


def _presences(model: dict[str, object]) -> dict[str, object]:
    values = {
        "schema_version": [2, None, []],
        "tag_means": [[1], None, "a", [[1], [2, 3]], [10**400, 1], [None, 1], [float("nan"), 1]],
        "tag_stds": [[0, 1], [-1, 1], [float("inf"), 1]],
        "weights": [[1], {}, [float("nan")] * len(FEATURES)],
        "bias": ["a", None, [], 10**400, float("nan")],
        "threshold": [{}, float("inf"), 10**400],
        "recipe": [None, [], {}, {"pictures": "many"}],
    }
    changed = {f"{key}-{n}": model | {key: value} for key, group in values.items() for n, value in enumerate(group)}
    return changed | {
        "deep": DEEP,
        "empty": "",
        "latin-1": b'"\xe4"',
        "list": "[]",
        "digits": '{"bias": ' + "9" * 5000 + "}",
    }


def load(folder: Path) -> None:
    classifier = TagClassifier.from_pretrained(folder)
    assert classifier.presence_source
    classifier.fingerprint()


def cases(folder: Path, chance: random.Random) -> Iterator[Case]:
    whole = write_classifier(folder / "whole")
    names = {"weights": "model.safetensors", "config": "config.json", "presence": "presence.json"}
    contents = {what: (whole / name).read_bytes() for what, name in names.items()}
    changes: dict[str, dict[str, object]] = {
        "weights": dict(_weights(contents["weights"])),
        "config": _configs(json.loads(contents["config"])),
        "presence": _presences(json.loads(contents["presence"])),
    }
    for what, group in changes.items():
        for name, content in group.items():
            yield _case(folder, whole, what, name, names[what], content, EITHER if name == "twice" else REFUSED)
        for damage in (cut, flipped, blanked):
            content = damage(contents[what], chance)
            yield _case(folder, whole, what, damage.__name__, names[what], content, EITHER)
    yield Case("classifier whole", functools.partial(load, whole), READ)
    yield from _state_dicts(folder)


def _case(folder: Path, whole: Path, what: str, name: str, file: str, content: object, expected) -> Case:
    copy = Path(shutil.copytree(whole, folder / f"{what}-{name}"))
    text = content if isinstance(content, str | bytes) else json.dumps(content)
    (copy / file).write_bytes(text if isinstance(text, bytes) else text.encode())
    return Case(f"{what} {name}", functools.partial(load, copy), expected)


def _state_dicts(folder: Path) -> Iterator[Case]:
    evil = folder / "evil"
    torch.save({"classifier.1.weight": Evil(evil)}, folder / "code.pt")
    (folder / "code.pkl").write_bytes(pickle.dumps(Evil(evil)))
    torch.save([1, 2], folder / "list.pt")
    torch.save({"a": torch.zeros(1).expand(10**6, 10**6)}, folder / "vast.pt")
    (folder / "cut.pt").write_bytes((folder / "vast.pt").read_bytes()[:200])
    (folder / "text.pt").write_text("no weights")
    for name in (
        "code.pt",
        "code.pkl",
        "list.pt",
        "vast.pt",
        "cut.pt",
        "text.pt",
        "missing.pt",
        "missing.safetensors",
        "nul\0",
    ):
        source = f"torchvision:squeezenet1_1={folder / name}"
        yield Case(f"state dict {name!r}", functools.partial(load_classifier, source), absent=evil)
    for source in ("", "nowhere", "torchvision:", "torchvision:no_such", "x" * 100_000, "nul\0", "\ud800"):
        yield Case(f"source {source[:30]!r}", functools.partial(load_classifier, source))
