"""The log of a training: a row of numbers for every epoch, as CSV or as TensorBoard events."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from grounding.errors import GroundingError
from grounding.folders import whole_file, writing


class CsvLog:
    """`log.csv`, with a header; `epoch` is in every row, the other columns may be missing."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._path, self._columns = path, columns

    def begin(self, epoch: int) -> None:
        """Write the header; keep the rows up to this epoch, without later ones of an interrupted training."""
        rows: list[dict[str, str]] = []
        if self._path.is_file():
            with self._path.open(encoding="utf-8", newline="") as file:
                rows = [row for row in csv.DictReader(file) if int(row["epoch"]) <= epoch]
        with whole_file(self._path) as whole:
            writer = csv.DictWriter(whole, self._columns, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    def write(self, row: Mapping[str, float]) -> None:
        """Append a row; a `GroundingError` where it cannot be written."""
        with writing(f"log {self._path}"), self._path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self._columns, lineterminator="\n")
            writer.writerow({key: f"{value:.6g}" for key, value in row.items()})


class TensorBoardLog:
    """TensorBoard events, a curve for every column; a `GroundingError` where TensorBoard is not installed."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise GroundingError(
                "log is tensorboard, which is not installed: pip install 'grounding[train]', or set log=csv"
            ) from error
        self._open, self._folder = SummaryWriter, folder

    def begin(self, epoch: int) -> None:
        """Open the events and hide points after this epoch."""
        self._writer = self._open(str(self._folder), purge_step=epoch + 1)

    def write(self, row: Mapping[str, float]) -> None:
        """Add a point to each curve; a `GroundingError` where it cannot be written."""
        with writing(f"log {self._folder}"):
            for name, value in row.items():
                self._writer.add_scalar(name, value, int(row["epoch"]))
            self._writer.flush()


def open_log(kind: Literal["csv", "tensorboard"], folder: Path, columns: Sequence[str]) -> CsvLog | TensorBoardLog:
    """`FOLDER/log.csv`, or event files in `FOLDER/tensorboard`; nothing is written before `begin`."""
    return CsvLog(folder / "log.csv", columns) if kind == "csv" else TensorBoardLog(folder / "tensorboard")
