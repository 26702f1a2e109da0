"""A network small enough to print: its winning probabilities in fractions, by the definition, and its diagrams.

Nothing here uses the engine: it is what docs/concepts/winning-probability.md and contrast.md work by hand, and what the
tests compare the engine with.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from xml.sax.saxutils import escape

Matrix = tuple[tuple[int, ...], ...]
Vector = tuple[Fraction, ...]

INPUTS = ("x1", "x2", "x3")
HIDDEN = ("h1", "h2", "h3")
WORDS = ("dog", "cat")
X = (1, 2, 1)
V: Matrix = ((1, 2, 1), (2, 1, -1), (-1, 1, 2))  # hidden units from inputs; then ReLU
W: Matrix = ((2, 2, -1), (2, -1, 2))  # words from hidden units

_INK, _GREY, _FOR, _AGAINST = "#24292f", "#8c959f", "#d9480f", "#1864ab"
_ACROSS_PX, _DOWN_PX, _RADIUS_PX, _MARGIN_PX, _HEAD_PX = 140, 150, 27, 60, 30
_TEXT_AT = 0.75  # of an edge, from above: there the texts of all edges stand apart


@dataclass(frozen=True)
class Walk:
    """A signal on its way down: P of the words, the hidden units and the inputs, and what each edge carries."""

    words: Vector
    hidden: Vector
    inputs: Vector
    to_hidden: Mapping[tuple[int, int], Fraction]  # (word, hidden unit)
    to_inputs: Mapping[tuple[int, int], Fraction]  # (hidden unit, input)


def hidden_units() -> tuple[int, ...]:
    """The activations behind the ReLU."""
    return tuple(max(0, sum(v * x for v, x in zip(row, X, strict=True))) for row in V)


def scores() -> tuple[int, ...]:
    """The scores of the words."""
    return tuple(sum(w * h for w, h in zip(row, hidden_units(), strict=True)) for row in W)


def shares(weights: Sequence[int], activations: Sequence[int]) -> Vector:
    """What each input gets of the probability of one unit: x_j W+_j / Z, and 0 where Z is 0."""
    parts = [max(0, w) * x for w, x in zip(weights, activations, strict=True)]
    return tuple(Fraction(part, sum(parts)) if sum(parts) else Fraction(0) for part in parts)


def walk(signal: Sequence[int], dual: bool = False) -> Walk:
    """MWP of a signal over the words; with the dual, of the network whose last layer is -W."""
    sign = -1 if dual else 1
    top = tuple(Fraction(value) for value in signal)
    to_hidden = _passed(top, [[sign * w for w in row] for row in W], hidden_units())
    hidden = _gathered(to_hidden, len(HIDDEN))
    to_inputs = _passed(hidden, V, X)
    return Walk(top, hidden, _gathered(to_inputs, len(INPUTS)), to_hidden, to_inputs)


def contrastive(signal: Sequence[int]) -> Walk:
    """MWP less the MWP of the dual signal."""
    ours, dual = walk(signal), walk(signal, dual=True)
    hidden = tuple(a - b for a, b in zip(ours.hidden, dual.hidden, strict=True))
    to_inputs = _passed(hidden, V, X)
    to_hidden = {edge: ours.to_hidden[edge] - dual.to_hidden[edge] for edge in ours.to_hidden}
    return Walk(ours.words, hidden, _gathered(to_inputs, len(INPUTS)), to_hidden, to_inputs)


def _passed(above: Vector, weights: Sequence[Sequence[int]], below: Sequence[int]) -> dict[tuple[int, int], Fraction]:
    return {(i, j): above[i] * share for i, row in enumerate(weights) for j, share in enumerate(shares(row, below))}


def _gathered(carried: Mapping[tuple[int, int], Fraction], count: int) -> Vector:
    return tuple(sum((p for (_, j), p in carried.items() if j == at), Fraction(0)) for at in range(count))


def forward_panel() -> str:
    """The network with its weights and activations."""
    edges = [
        _edge(1, 0, i, j, f"{w}", _GREY if w >= 0 else _AGAINST, 1.5) for i, row in enumerate(W) for j, w in _of(row)
    ]
    edges += [
        _edge(2, 1, i, j, f"{v}", _GREY if v >= 0 else _AGAINST, 1.5) for i, row in enumerate(V) for j, v in _of(row)
    ]
    nodes = [_node(0, i, word, str(score), _INK) for i, (word, score) in enumerate(zip(WORDS, scores(), strict=True))]
    nodes += [_node(1, i, name, str(h), _INK) for i, (name, h) in enumerate(zip(HIDDEN, hidden_units(), strict=True))]
    nodes += [_node(2, i, name, str(x), _INK) for i, (name, x) in enumerate(zip(INPUTS, X, strict=True))]
    return _panel("Up: weights and activations", edges, nodes)


def walk_panel(title: str, carried: Walk) -> str:
    """The network with what every unit has, and what flows along every edge, as wide as it is much."""
    edges = [_edge(1, 0, i, j, _said(p), _colour(p), _width(p)) for (i, j), p in carried.to_hidden.items()]
    edges += [_edge(2, 1, i, j, _said(p), _colour(p), _width(p)) for (i, j), p in carried.to_inputs.items()]
    nodes = [
        _node(0, i, word, str(p), _colour(p)) for i, (word, p) in enumerate(zip(WORDS, carried.words, strict=True))
    ]
    nodes += [
        _node(1, i, name, str(p), _colour(p)) for i, (name, p) in enumerate(zip(HIDDEN, carried.hidden, strict=True))
    ]
    nodes += [
        _node(2, i, name, str(p), _colour(p)) for i, (name, p) in enumerate(zip(INPUTS, carried.inputs, strict=True))
    ]
    return _panel(title, edges, nodes)


def svg(panels: Sequence[str], description: str) -> str:
    """Panels side by side on white."""
    width, height = _width_px() * len(panels), _HEAD_PX + 2 * _DOWN_PX + 2 * _MARGIN_PX
    placed = "".join(f'<g transform="translate({at * _width_px()} 0)">{panel}</g>' for at, panel in enumerate(panels))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="DejaVu Sans, Arial, sans-serif" role="img"><title>{escape(description)}</title>'
        f'<rect width="{width}" height="{height}" fill="white"/>{placed}</svg>\n'
    )


def _of(row: Sequence[int]) -> list[tuple[int, int]]:
    return list(enumerate(row))


def _width_px() -> int:
    return 2 * _ACROSS_PX + 2 * _MARGIN_PX


def _place(level: int, at: int) -> tuple[float, float]:
    """The centre of a unit; level 0 are the words, at the top."""
    shift = 0.5 if level == 0 else 0.0  # two words over three units
    return _MARGIN_PX + (at + shift) * _ACROSS_PX, _HEAD_PX + _MARGIN_PX + level * _DOWN_PX


def _edge(below: int, above: int, i: int, j: int, text: str, colour: str, width: float) -> str:
    (x0, y0), (x1, y1) = _place(above, i), _place(below, j)
    line = f'<line x1="{x0:g}" y1="{y0:g}" x2="{x1:g}" y2="{y1:g}" stroke="{colour}" stroke-width="{width:g}"/>'
    x, y = x0 + _TEXT_AT * (x1 - x0), y0 + _TEXT_AT * (y1 - y0) + 3
    halo = 'paint-order="stroke" stroke="white" stroke-width="5" stroke-linejoin="round"'
    said = f'<text x="{x:g}" y="{y:g}" fill="{colour}" font-size="14" text-anchor="middle" {halo}>{text}</text>'
    return line + (said if text else "")


def _node(level: int, at: int, name: str, value: str, colour: str) -> str:
    x, y = _place(level, at)
    circle = f'<circle cx="{x:g}" cy="{y:g}" r="{_RADIUS_PX}" fill="white" stroke="{colour}" stroke-width="2"/>'
    number = f'<text x="{x:g}" y="{y + 6:g}" fill="{colour}" font-size="15" text-anchor="middle">{value}</text>'
    label = f'<text x="{x + _RADIUS_PX + 5:g}" y="{y + 5:g}" fill="{_INK}" font-size="14">{name}</text>'
    return circle + number + label


def _panel(title: str, edges: Sequence[str], nodes: Sequence[str]) -> str:
    head = (
        f'<text x="{_width_px() / 2:g}" y="26" fill="{_INK}" font-size="16" text-anchor="middle">{escape(title)}</text>'
    )
    lines = "".join(edge.partition("<text")[0] for edge in edges)
    texts = "".join("".join(edge.partition("<text")[1:]) for edge in edges)
    return head + lines + texts + "".join(nodes)


def _said(p: Fraction) -> str:
    return str(p) if p else ""


def _colour(p: Fraction) -> str:
    return _FOR if p > 0 else _AGAINST if p < 0 else "#d0d7de"


def _width(p: Fraction) -> float:
    return 1.0 if not p else 1.5 + 16 * abs(float(p))
