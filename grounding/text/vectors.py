"""Word vectors learnt from captions: which word stands where another one could."""

import functools
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from grounding.errors import GroundingError
from grounding.text.tokens import stem

VECTORS_FILE = "vectors.npz"


@dataclass(frozen=True, slots=True, eq=False)
class WordVectors:
    """A unit vector for each known Porter stem; words are stemmed before they are looked up.

    `stems` holds V different stems, `vectors` is (V, D) float32 with rows of length 1.
    """

    stems: tuple[str, ...]
    vectors: npt.NDArray[np.float32]
    _row: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.stems):
            raise GroundingError(f"{len(self.stems)} stems need as many vectors, not an array {self.vectors.shape}")
        object.__setattr__(self, "_row", {word: row for row, word in enumerate(self.stems)})

    @staticmethod
    @functools.cache
    def embedded() -> "WordVectors":
        """Load the vectors in the package: PPMI and SVD over the Flickr30k Entities train captions."""
        with resources.files("grounding.text").joinpath(VECTORS_FILE).open("rb") as file:
            return WordVectors._read(file, VECTORS_FILE)

    @staticmethod
    def load(path: Path) -> "WordVectors":
        """Read what `save` wrote; `GroundingError` where the file is missing or holds something else."""
        try:
            with path.open("rb") as file:
                return WordVectors._read(file, str(path))
        except OSError as error:
            raise GroundingError(f"cannot read word vectors {str(path)!r}: {error.strerror}") from error

    @staticmethod
    def _read(file: IO[bytes], name: str) -> "WordVectors":
        try:
            with np.load(file, allow_pickle=False) as stored:
                stems = stored["stems"].tobytes().decode("utf-8").split("\n")
                vectors = stored["vectors"].astype(np.float32)
        except (zipfile.BadZipFile, ValueError, KeyError, AttributeError, EOFError) as error:
            raise GroundingError(f"{name!r} holds no word vectors; write it with tools/train_text.py") from error
        return WordVectors(tuple(stems), unit_rows(vectors))

    def save(self, path: Path) -> None:
        """Write a NumPy archive: `vectors` int8 (V, D), each row scaled to ±127; `stems` UTF-8 bytes, one a line."""
        scale = 127 / np.maximum(np.abs(self.vectors).max(axis=1, keepdims=True), 1e-12)
        stems = np.frombuffer("\n".join(self.stems).encode("utf-8"), dtype=np.uint8)
        with path.open("wb") as file:
            np.savez_compressed(file, vectors=np.rint(self.vectors * scale).astype(np.int8), stems=stems)

    def __contains__(self, word: str) -> bool:
        """Whether a word, or another one with its stem, has a vector."""
        return stem(word) in self._row

    def similarity(self, first: str, second: str) -> float | None:
        """Return the cosine of two words in [-1, 1], or None where one of them is unknown."""
        if first not in self or second not in self:
            return None
        return float(self.vectors[self._row[stem(first)]] @ self.vectors[self._row[stem(second)]])

    def nearest(self, word: str, among: Sequence[str]) -> tuple[str, float] | None:
        """Find the most similar word and its cosine, the first on a tie; None where nothing can be compared."""
        known = [other for other in among if other in self]
        if word not in self or not known:
            return None
        rows = [self._row[stem(other)] for other in known]
        cosines = self.vectors[rows] @ self.vectors[self._row[stem(word)]]  # (len(known),)
        best = int(cosines.argmax())
        return known[best], float(cosines[best])


def unit_rows(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Scale rows (N, D) to length 1; a zero row stays zero."""
    lengths = np.linalg.norm(array, axis=1, keepdims=True)
    return np.asarray(array / np.maximum(lengths, 1e-12), dtype=np.float32)
