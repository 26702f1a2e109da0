"""The table of the layers of a recording, as `Tape.layers` returns it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload


@dataclass(frozen=True, slots=True)
class LayerRow:
    """A layer of a recording: what to give as `layer`, and what to expect there.

    Attributes:
        name: of a module or an input, or a position in `layers.layers`: `mwp` takes it as `layer`.
        shape: of the layer.
        stride: image pixels for a place, the geometric mean of both sides; None where it has no places.
        usable: `yes`, or why no contrastive map can be read there.
        mass: the share of the winning probability that is on its places, 0 to 1; None where no map can be read.
    """

    name: str | int
    shape: tuple[int, ...]
    stride: float | None
    usable: str
    mass: float | None

    def cells(self) -> tuple[str, ...]:
        """As the table prints it."""
        stride = "" if self.stride is None else f"{self.stride:.3g}"
        mass = "" if self.mass is None else f"{self.mass:.3f}" if self.mass >= 0.001 else f"{self.mass:.1g}"
        return repr(self.name), " x ".join(map(str, self.shape)), stride, mass, self.usable


@dataclass(frozen=True, slots=True, repr=False)
class LayerTable(Sequence[LayerRow]):
    """Layers from the inputs up. A list that never changes, and prints as a table."""

    rows: tuple[LayerRow, ...]

    @overload
    def __getitem__(self, at: int) -> LayerRow: ...
    @overload
    def __getitem__(self, at: slice) -> "LayerTable": ...
    def __getitem__(self, at: int | slice) -> "LayerRow | LayerTable":
        """The layer at this position, or the table of a slice."""
        return LayerTable(self.rows[at]) if isinstance(at, slice) else self.rows[at]

    def __len__(self) -> int:
        """How many layers."""
        return len(self.rows)

    def __iter__(self) -> Iterator[LayerRow]:
        """The layers, from the inputs up."""
        return iter(self.rows)

    def __repr__(self) -> str:
        cells = [("name", "shape", "stride", "mass", "usable"), *(row.cells() for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        right = ("stride", "mass")
        lines = []
        for line in cells:
            aligned = (
                text.rjust(width) if title in right else text.ljust(width)
                for title, text, width in zip(cells[0], line, widths, strict=True)
            )
            lines.append("  ".join(aligned).rstrip())
        return "\n".join(lines)
