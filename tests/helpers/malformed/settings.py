"""Configurations: YAML files and overrides."""

import functools
import random
from collections.abc import Iterator
from pathlib import Path

from grounding.config import LocalizerConfig, load
from grounding.training.config import TrainConfig
from helpers.malformed.judge import EITHER, READ, REFUSED, Case, cut, flipped


def _nested(first: str, step: str) -> str:
    """Nine levels, each of which has the one inside it ten times."""
    for level in range(9):
        first = step.format(first=first, level=level, again=", ".join([f"*a{level}"] * 9))
    return first


LAUGHS = _nested("ha", "[&a{level} {first}, {again}]")
MERGES = _nested("{gamma: 0.2}", "{{<<: [&a{level} {first}, {again}]}}")
CONFIG = "maps:\n  resolution: 64\n  residual: main\nregions: {gamma: 0.2, turns: [0, 0.3]}\n"
WRONG = {
    "python-object": "maps: !!python/object/apply:os.system ['touch evil']",
    "python-name": "maps: !!python/name:os.system",
    "python-tuple": "regions: {turns: !!python/tuple [1, 2]}",
    "laughs": LAUGHS,
    "laughs-turns": f"regions: {{turns: [{LAUGHS}]}}",
    "laughs-value": f"regions: {{gamma: {LAUGHS}}}",
    "laughs-group": f"maps: {LAUGHS}",
    "laughs-key": f"? {LAUGHS}\n: 1",
    "merges": f"regions: {MERGES}",
    "long-laughs": f"a: &a {'x' * 100_000}\nmaps: [{', '.join(['*a'] * 9000)}]",
    "itself": "maps: &a [*a]",
    "itself-turns": "regions: {turns: &a [*a]}",
    "merges-itself": "maps: &a {<<: *a}",
    "unknown-alias": "maps: *nothing",
    "deep": "[" * 2000,
    "deep-block": "\n".join(" " * n + "a:" for n in range(2000)),
    "deep-value": "maps: " + "{a: " * 3000 + "1" + "}" * 3000,
    "tab": "maps:\n\tresolution: 64",
    "twice": "maps: {resolution: 64, resolution: 96}",
    "twice-group": "maps: {resolution: 64}\nmaps: {resolution: 96}",
    "list": "- maps\n- regions",
    "text": "maps",
    "number": "12",
    "key-list": "? [a, b]\n: 1",
    "key-null": ": 1",
    "key-number": "!!int 5: 1",
    "key-bytes": "!!binary aGFoYQ==: 1",
    "unknown": "maps: {resolutoin: 64}",
    "long-key": f"? {'x' * 50_000}\n: 1",
    "long-value": f"maps: {{residual: {'x' * 50_000}}}",
    "many-values": f"maps: {{residual: [{'x, ' * 20_000}]}}",
    "wrong-type": "maps: {resolution: many}",
    "group-for-value": "maps: {resolution: {a: 1}}",
    "value-for-group": "maps: 5",
    "huge": "maps: {resolution: 1e308}",
    "digits": f"maps: {{resolution: {'9' * 5000}}}",
    "nan": "maps: {centre_prior: .nan}",
    "nan-said": "maps: {centre_prior: nan}",
    "infinite": "regions: {gamma: .inf}",
    "infinite-said": "regions: {gamma: inf}",
    "int-tag": "maps: {resolution: !!int ''}",
    "int-tag-text": "maps: {resolution: !!int abc}",
    "bool-tag": "maps: {resolution: !!bool maybe}",
    "date-tag": "maps: {resolution: !!timestamp 2001-99-99}",
    "binary-tag": "maps: {resolution: !!binary 'ü'}",
    "omap-tag": "maps: !!omap [a]",
    "set-tag": "maps: {resolution: !!set {a, b}}",
    "own-tag": "maps: !mine {a: 1}",
    "two-documents": "maps: {}\n---\nmaps: {}",
    "nul": "maps: {residual: ma\0in}",
    "control": "maps: {residual: ma\x07in}",
    "latin-1": b"maps: {residual: m\xe4in}",
    "utf-16": CONFIG.encode("utf-16-le"),
    "directive": "%YAML 9.9\n---\nmaps: {}",
    "quote": "maps: 'open",
    "large": "maps: {residual: [" + "a, " * 700_000 + "]}",
}
RIGHT = {
    "whole": CONFIG,
    "empty": "",
    "comment": "# nothing\n",
    "merge": "maps: &m {resolution: 64}\nmaps2: *m".replace("maps2: *m", "regions: {gamma: 0.2}"),
}
OVERRIDES = (
    "maps.resolution",
    "=",
    "=5",
    ".=5",
    "maps=",
    "maps..resolution=5",
    "maps.resolution=[[[[",
    "maps.resolution=" + "[" * 2000,
    "regions.turns=[1, a]",
    "maps.resolution=!!int ''",
    "maps.resolution=!!timestamp 2001-99-99",
    "maps.resolution=!!bool maybe",
    "maps.resolution=!!python/object/apply:os.getcwd []",
    "maps.residual=&a [*a]",
    "maps.resolution=\0",
    "\ud800=1",
    "maps.residual=\ud800",
    "maps.resolution=" + "9" * 5000,
    "maps.centre_prior=nan",
    "maps.resolution.x=1",
    "x" * 50_000 + "=1",
)


def cases(folder: Path, chance: random.Random) -> Iterator[Case]:
    for expected, group in ((REFUSED, WRONG), (READ, RIGHT)):
        for name, content in group.items():
            yield _case(folder / f"{name}.yaml", content, expected)
    for damage in (cut, flipped):
        yield _case(folder / f"{damage.__name__}.yaml", damage(CONFIG.encode(), chance), EITHER)
    for override in OVERRIDES:
        expected = EITHER if override == "maps=" else REFUSED
        yield Case(f"override {override[:40]!r}", functools.partial(load, LocalizerConfig, None, [override]), expected)
    for name in ("laughs", "nan-said", "key-list", "deep"):
        (folder / f"train-{name}.yaml").write_text(WRONG[name])
        yield Case(f"training {name}", functools.partial(load, TrainConfig, folder / f"train-{name}.yaml"))
    (folder / "folder.yaml").mkdir()
    for name in ("folder.yaml", "missing.yaml", "nul\0.yaml"):
        yield Case(f"config {name!r}", functools.partial(load, LocalizerConfig, folder / name))


def _case(path: Path, content: str | bytes, expected=REFUSED) -> Case:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Case(f"config {path.name}", functools.partial(load, LocalizerConfig, path), expected)
