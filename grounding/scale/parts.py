"""The two Parquet files of a partition, of results and of rows that failed, and what their footers say."""

import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from grounding.results import to_json
from grounding.scale.partitions import Partition
from grounding.scale.storage import Storage

RESULTS: Final = "results"
FAILED: Final = "failed"
_KEY: Final = b"grounding"  # of what a footer says beside the schema


class Answer(NamedTuple):
    """What became of a row and caption.

    Attributes:
        row: its number in the manifest, from 1; the line, in a text table.
        caption_number: which caption of the row, from 0.
        result: as a line of results.jsonl has it; with an `error` where the row failed.
        picture: the same for rows of one picture; empty where there is none.
    """

    row: int
    caption_number: int
    result: Mapping[str, Any]
    picture: str


@dataclass(slots=True)
class Tally:
    """What became of the rows of a partition, or of several.

    Attributes:
        pictures: that were looked at; one with rows in two partitions counts in both.
        statuses: phrases by status.
        failure: the first reason of a row that failed.
    """

    rows: int = 0
    results: int = 0
    failed: int = 0
    pictures: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    failure: str = ""

    def add(self, other: "Tally") -> None:
        """Add what became of later rows."""
        self.rows += other.rows
        self.results += other.results
        self.failed += other.failed
        self.pictures += other.pictures
        self.statuses.update(other.statuses)
        self.failure = self.failure or other.failure

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, the most frequent status first."""
        return {name: getattr(self, name) for name in self.__slots__} | {"statuses": dict(self.statuses.most_common())}


def part_name(table: str, number: int) -> str:
    """The name of a partition's file, such as `results/part-000012.parquet`."""
    return f"{table}/part-{number:06d}.parquet"


def write_part(output: Storage, run: str, partition: Partition, answers: Sequence[Answer]) -> None:
    """Write both files of a partition. The same answers give the same bytes, so a second time changes nothing.

    Args:
        run: the fingerprint of the run's settings.
        answers: in any order.
    """
    answers = sorted(answers)
    good = [each for each in answers if "error" not in each.result]
    bad = [each for each in answers if "error" in each.result]
    statuses = Counter(phrase["status"] for each in good for phrase in each.result["phrases"])
    failure = bad[0].result["error"] if bad else ""
    pictures = len({each.picture for each in good})
    tally = Tally(partition.rows, len(good), len(bad), pictures, statuses, failure)
    said = json.dumps({"run": run, "partition": partition, "tally": tally.to_dict()}).encode()
    output.write(part_name(FAILED, partition.number), _table([_failed_row(each) for each in bad], FAILED, said))
    output.write(part_name(RESULTS, partition.number), _table([_result_row(each) for each in good], RESULTS, said))


def read_tally(output: Storage, run: str, partition: Partition) -> Tally | None:
    """What became of the rows of a partition, or None where its two files are not there, whole, and of this run."""
    import pyarrow as pa
    from pyarrow import parquet

    said = []
    for table in (RESULTS, FAILED):
        if (file := output.open(part_name(table, partition.number))) is None:
            return None
        try:
            with file:
                metadata = parquet.read_metadata(file)
        except pa.ArrowException:  # cut short
            return None
        facts = json.loads((metadata.metadata or {}).get(_KEY, b"{}"))
        if facts.get("run") != run or facts["partition"] != list(partition):
            return None
        if metadata.num_rows != facts["tally"][table]:
            return None
        said.append(facts["tally"])
    tally = Tally(**{**said[0], "statuses": Counter(said[0]["statuses"])})
    return tally if said[0] == said[1] else None


def _result_row(answer: Answer) -> dict[str, Any]:
    phrases = answer.result["phrases"]
    return {
        **_key(answer),
        "phrases": len(phrases),
        "localized": sum(phrase["status"] == "localized" for phrase in phrases),
        "result": to_json(dict(answer.result)),
    }


def _failed_row(answer: Answer) -> dict[str, Any]:
    return {**_key(answer), "error": _text(answer.result["error"])}


def _key(answer: Answer) -> dict[str, Any]:
    image, caption = answer.result["image"]["path"], answer.result["caption"]
    said = {"image": _text(image), "caption": _text(caption)}
    return {"row": answer.row, "caption_number": answer.caption_number, **said}


def _text(text: str) -> str:
    """What UTF-8 can encode, as `to_json` writes it."""
    return text.encode("utf-8", "backslashreplace").decode()


def _table(rows: list[dict[str, Any]], table: str, said: bytes) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    key = [("row", pa.int64()), ("caption_number", pa.int32()), ("image", pa.string()), ("caption", pa.string())]
    counts = [("phrases", pa.int32()), ("localized", pa.int32()), ("result", pa.string())]
    schema = pa.schema(key + (counts if table == RESULTS else [("error", pa.string())]), metadata={_KEY: said})
    content = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows, schema), content, compression="zstd")
    return content.getvalue()
