"""Files of predictions, results of other tools, and the tables of finished runs."""

import functools
import io
import json
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from grounding.evaluation.predictions.convert import convert
from grounding.evaluation.predictions.parquet import read_parquet, write_parquet
from grounding.evaluation.predictions.prediction import Prediction, phrase_index
from grounding.evaluation.predictions.reading import read_predictions
from grounding.evaluation.runs.folder import read_metrics
from helpers.malformed.judge import EITHER, READ, REFUSED, Case, blanked, cut, flipped
from helpers.malformed.pictures import EPS, picture, png
from helpers.predictions import IMAGES, KEYS, SPLITS, record
from helpers.predictions import png as encoded

DEEP = "[" * 100_000


def _base64(content: bytes) -> str:
    import base64

    return base64.b64encode(content).decode()


def _lines() -> dict[str, object]:
    values = {
        "image": [None, 5.5, [], {}, "", "x" * 5000, True],
        "sentence": [None, -1, "0", 1.5, 10**30, True],
        "phrase": [99, [], None],
        "boxes": [
            None,
            5,
            [[1, 2, 3]],
            [[1, 2, 3, "a"]],
            [[3, 3, 1, 1]],
            [[0, 0, 1e300, 1]],
            [[float("nan")] * 4],
            [[10**400, 0, 0, 0]],
            [[[1, 2, 3, 4]]],
            [[None] * 4],
            [[True] * 4],
            {"a": 1},
            "x" * 100_000,
        ],
        "scores": [[], ["a"], [float("inf")], 5, [[1]], [None]],
        "point": [[1], ["a", "b"], [float("nan"), 1], {}, 5],
        "map": [
            5,
            [],
            [[]],
            [[1], [1, 2]],
            [["a"]],
            [[-1]],
            [[float("inf")]],
            "no base64!",
            "ü",
            "",
            _base64(b"text"),
            _base64(EPS),
            _base64(picture("JPEG")),
            _base64(picture()),
            _base64(picture(mode="L")[:-30]),
            _base64(png(14_000, 13_000, colour=0)),
            _base64(png(0, 0, colour=0)),
            [[10**400]],
            _base64(png(9000, 9000, colour=0, rows=bytes(9000 * 9001))),
        ],
        "status": [5, "", "missing", [], {}],
        "proposal_iou": [[2, 0], [1], ["a", 0], {}],
        "presence": [2, "a", [], float("nan"), -1],
    }
    lines = {f"{key}-{n}": record(**{key: value}) for key, group in values.items() for n, value in enumerate(group)}
    nested = "[" * 70 + "1" + "]" * 70
    texts = {
        "empty": "",
        "blank": "\n\n",
        "text": "no",
        "list": "[]",
        "deep": DEEP,
        "digits": '{"image": ' + "9" * 5000 + "}",
        "nested": f'{{"image": "11", "sentence": 0, "phrase": 0, "boxes": {nested}}}',
    }
    return lines | texts | {"latin-1": b'{"\xe4": 1}', "nul": b"\0\0\0\n"}


def cases(folder: Path, chance: random.Random) -> Iterator[Case]:
    for name, content in _lines().items():
        yield _scored(folder / f"{name}.jsonl", content)
    complete = "\n".join(json.dumps(record(key, map=encoded(np.eye(4)))) for key in KEYS).encode()
    yield _scored(folder / "complete.jsonl", complete, READ)
    for damage in (cut, flipped, blanked):
        yield _scored(folder / f"{damage.__name__}.jsonl", damage(complete, chance), EITHER)
    yield _scored(folder / "unknown.csv", b"x")
    for style in ("mdetr", "huggingface"):
        contents = {
            "empty": "",
            "deep": DEEP,
            "numbers": "[1, 2]",
            "null": "null",
            "keys": "[{}]",
            "image": '[{"image": "11", "image_id": "11"}]',
        }
        contents |= {
            "values": json.dumps([{"image": "11", "image_id": "11", "sentence_id": [], "boxes": {}, "results": [5]}])
        }
        contents |= {
            "labels": json.dumps(
                [
                    {
                        "image": "11",
                        "image_id": "11",
                        "sentence_id": 10**30,
                        "results": {"scores": [1], "boxes": [[0, 0, 1, 1]], "labels": [{}]},
                    }
                ]
            )
        }
        contents |= {"long": json.dumps([{"x" * 5000: 1}])}
        for name, content in contents.items():
            path = folder / f"{style}-{name}.json"
            path.write_text(content)
            yield Case(f"convert {path.name}", functools.partial(convert, path, style, IMAGES, "val", SPLITS))
    yield from _tables(folder, chance)
    yield from _metrics(folder)


def _tables(folder: Path, chance: random.Random) -> Iterator[Case]:
    """Parquet: as predictions to score, and as the table of a finished run."""
    path = folder / "run.parquet"
    found = {key: Prediction(np.array([[1.0, 2, 3, 4]]), np.ones(1), (1, 2)) for key in KEYS}
    write_parquet(path, IMAGES, found, pd.DataFrame(index=phrase_index(IMAGES)))
    whole, content = parquet.read_table(path), path.read_bytes()
    rows = whole.num_rows
    broken = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")])
    columns = {
        "null-images": ("image", pa.nulls(rows)),
        "list-images": ("image", pa.array([["a"]] * rows)),
        "null-sentences": ("sentence", pa.nulls(rows)),
        "text-sentences": ("sentence", pa.array(["a"] * rows)),
        "vast-sentences": ("sentence", pa.array([2**31 - 1] * rows)),
        "null-boxes": ("true_boxes", pa.nulls(rows)),
        "flat-boxes": ("true_boxes", pa.array([[1.0]] * rows)),
        "text-boxes": ("boxes", pa.array(["a"] * rows)),
        "null-types": ("types", pa.nulls(rows)),
        "no-utf-8": ("image", pa.concat_arrays([broken] * rows)),
        "list-chains": ("chain", pa.array([["1"]] * rows)),
        "null-captions": ("caption", pa.nulls(rows)),
    }
    tables = {
        name: _parquet(whole.set_column(whole.schema.get_field_index(column), column, values))
        for name, (column, values) in columns.items()
    }
    tables |= {
        "without": _parquet(whole.drop_columns(["boxes"])),
        "none": _parquet(whole.slice(0, 0)),
        "text": b"PAR1",
        "empty": b"",
    }
    tables |= {damage.__name__: damage(content, chance) for damage in (cut, blanked)}
    tables |= {f"flipped-{n}": flipped(content, chance, 10) for n in range(3)}
    for name, content in tables.items():
        (folder / f"{name}.parquet").write_bytes(content)
        odd = name.startswith("flipped") or name == "blanked"
        scored = EITHER if odd or columns.get(name, ("boxes", 0))[0] not in ("image", "sentence", "boxes") else REFUSED
        yield _scored(folder / f"{name}.parquet", content, scored)
        run = EITHER if odd or name in ("null-captions", "none") else REFUSED
        yield Case(f"run {name}.parquet", functools.partial(read_parquet, folder / f"{name}.parquet", ()), run)


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    return buffer.getvalue()


def _metrics(folder: Path) -> Iterator[Case]:
    whole = {
        "schema_version": 1,
        "name": 1,
        "statuses": {},
        "run": None,
        "baselines": {},
        "settings": {},
        "versions": {},
    }
    contents = {
        "deep": DEEP,
        "digits": '{"a": ' + "9" * 5000 + "}",
        "dataset": json.dumps(whole | {"dataset": None}),
        "list": "[]",
        "empty": "",
    }
    for name, content in contents.items():
        place = folder / f"metrics-{name}"
        place.mkdir()
        (place / "metrics.json").write_text(content)
        yield Case(f"metrics {name}", functools.partial(read_metrics, place))


def _scored(path: Path, content: object, expected=REFUSED) -> Case:
    text = content if isinstance(content, str | bytes) else json.dumps(content)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Case(
        f"predictions {path.name}", functools.partial(read_predictions, path, IMAGES, "val", SPLITS, True), expected
    )
