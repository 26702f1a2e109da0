"""Reliability plots on white: what a probability promises against what came true."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_SIDE_PX, _LEFT_PX, _TOP_PX, _GAP_PX = 260, 66, 44, 96
_INK, _GREY, _ORANGE = "#24292f", "#8c959f", "#d9480f"


@dataclass(frozen=True)
class Group:
    """Phrases of similar probability: their mean, and the percent that came true, with its 95% interval."""

    mean: float
    value: float
    low: float
    high: float


def groups_of(rows: Sequence[Mapping[str, float]]) -> list[Group]:
    """The groups that metrics.json has."""
    return [Group(*(float(row[name]) for name in ("mean", "value", "low", "high"))) for row in rows]


def reliability(panels: Mapping[str, Sequence[Group]], across: Sequence[str], down: Sequence[str]) -> str:
    """A plot for each title, side by side; on the diagonal a probability keeps its promise."""
    width = len(panels) * (_SIDE_PX + _GAP_PX) + 16
    height = _TOP_PX + _SIDE_PX + 62
    drawn = "".join(
        f'<g transform="translate({_LEFT_PX + at * (_SIDE_PX + _GAP_PX)} {_TOP_PX})">{_panel(*panel)}</g>'
        for at, panel in enumerate(zip(panels, panels.values(), across, down, strict=True))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="DejaVu Sans, Arial, sans-serif" role="img"><title>{escape(" and ".join(panels))}</title>'
        f'<rect width="{width}" height="{height}" fill="white"/>{drawn}</svg>\n'
    )


def _panel(title: str, groups: Sequence[Group], across: str, down: str) -> str:
    parts = [f'<rect width="{_SIDE_PX}" height="{_SIDE_PX}" fill="none" stroke="{_GREY}"/>']
    parts.append(f'<line x1="0" y1="{_SIDE_PX}" x2="{_SIDE_PX}" y2="0" stroke="{_GREY}" stroke-dasharray="5 5"/>')
    parts.append(_text(_SIDE_PX / 2, -16, title, 15))
    parts.append(_text(_SIDE_PX / 2, _SIDE_PX + 44, across, 13))
    parts.append(f'<g transform="translate(-46 {_SIDE_PX / 2:g}) rotate(-90)">{_text(0, 0, down, 13)}</g>')
    for tick in (0.0, 0.5, 1.0):
        parts.append(_text(tick * _SIDE_PX, _SIDE_PX + 20, f"{tick:g}", 12))
        parts.append(_text(-20, (1 - tick) * _SIDE_PX + 4, f"{100 * tick:.0f}", 12))
    for group in groups:
        x, (y, low, high) = group.mean * _SIDE_PX, (_height(v) for v in (group.value, group.low, group.high))
        parts.append(f'<line x1="{x:.1f}" y1="{low:.1f}" x2="{x:.1f}" y2="{high:.1f}" stroke="{_ORANGE}"/>')
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{_ORANGE}"/>')
    return "".join(parts)


def _height(percent: float) -> float:
    return (1 - percent / 100) * _SIDE_PX


def _text(x: float, y: float, words: str, size: int) -> str:
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{_INK}" text-anchor="middle">{escape(words)}</text>'
