"""Charts as inline SVG: numbers in, markup out. Colours are classes of the page's style (`s0`, `s1`, ...)."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup

Summary = Mapping[str, Any]  # of `summary.interval`; {"count": 0} where nothing was measured
Scale = Callable[[float], float]
WIDTH: Final = 460
_HEIGHT: Final = 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, WIDTH - 14, 12, _HEIGHT - 44


@dataclass(frozen=True, slots=True)
class Series:
    """One line, or one bar of each group.

    Attributes:
        points: place -> summary: an x value for a line, the name of a group for bars.
        style: number of its colour and marker.
        dashed: drawn with a broken line.
    """

    name: str
    points: Mapping[Any, Summary]
    style: int
    dashed: bool = False

    def measured(self) -> list[tuple[Any, Summary]]:
        """The places that have a number."""
        return [(place, summary) for place, summary in self.points.items() if summary["count"]]


def linear(low: float, high: float, start: float, end: float) -> Scale:
    """From [low, high] to [start, end]; everything to the middle where low is high."""
    if low == high:
        return lambda value: (start + end) / 2
    return lambda value: start + (value - low) / (high - low) * (end - start)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers inside [low, high]."""
    if not high > low:
        return [low]
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def describe(summary: Summary) -> str:
    """`41.9 [38.9, 45.0]`, or `not measured`."""
    if not summary["count"]:
        return "not measured"
    return f"{summary['value']:.1f} [{summary['low']:.1f}, {summary['high']:.1f}]"


def bars(series: Sequence[Series], groups: Sequence[tuple[str, int]], label: str) -> Markup:
    """Horizontal bars in percent: the first series wide and with its number, the others thin below it.

    Args:
        series: points by group name.
        groups: name and count of each group, from the top.
        label: what the chart shows, for people who do not see it.
    """
    left, right, top = 104, WIDTH - 50, 6
    across = linear(0, 100, left, right)
    wide, thin, gap = 13, 6, 15
    pitch = wide + thin * (len(series) - 1) + gap
    bottom = top + pitch * len(groups)
    parts = [_line("grid", across(tick), top, across(tick), bottom) for tick in (0, 25, 50, 75, 100)]
    parts += [_text(across(tick), bottom + 16, f"{tick}%", "middle") for tick in (0, 25, 50, 75, 100)]
    for row, (name, count) in enumerate(groups):
        y = top + gap / 2 + row * pitch
        parts += [_text(left - 8, y + 11, name, "end", "strong"), _text(left - 8, y + 25, f"{count:,}", "end")]
        for number, values in enumerate(series):
            summary = values.points.get(name, {"count": 0})
            height = wide if number == 0 else thin - 1
            if summary["count"]:
                title = f"{name}, {values.name}: {describe(summary)}"
                low, high = across(summary["low"]), across(summary["high"])
                parts.append(
                    Markup(
                        '<g class="s{}"><title>{}</title><rect class="bar" x="{}" y="{}" width="{}" height="{}"/>{}</g>'
                    ).format(
                        values.style, title, left, _round(y), _round(across(summary["value"]) - left), height,
                        _whisker_across(low, high, y + height / 2, height * 0.35),
                    )
                )  # fmt: skip
                if number == 0:
                    parts.append(_text(max(high, across(summary["value"])) + 6, y + 11, f"{summary['value']:.1f}"))
            y += wide + 1 if number == 0 else thin
    return _svg(bottom + 24, label, parts)


def lines(
    series: Sequence[Series],
    label: str,
    x_title: str,
    y_title: str,
    places: Sequence[tuple[float, str]] | None = None,
    intervals: str = "band",
    diagonal: bool = False,
) -> Markup:
    """Lines in percent over numbers, each with its 95% interval.

    Args:
        series: points by x.
        label: what the chart shows, for people who do not see it.
        places: x and text of the ticks; round numbers by default.
        intervals: `band` or `whisker`.
        diagonal: also draw the line on which x is the share of hits.
    """
    known = [place for values in series for place, _ in values.measured()] + [place for place, _ in places or []]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    margin = 0.04 * (high - low)
    across, up = linear(low - margin, high + margin, _LEFT, _RIGHT), linear(0, 100, _BOTTOM, _TOP)
    marks = places or [(tick, f"{tick:g}") for tick in (round(tick, 10) for tick in ticks(low, high, 8))]
    parts = _frame(across, marks, up, (0, 20, 40, 60, 80, 100), x_title, y_title)
    if diagonal:
        parts.append(_line("diagonal", across(low), up(100 * low), across(high), up(100 * high)))
    parts += [_curve(values, across, up, intervals) for values in series]
    return _svg(_HEIGHT, label, parts)


def stacked(bins: Sequence[tuple[str, int, int]], last: str, label: str, x_title: str, y_title: str) -> Markup:
    """A histogram of hits under misses, with the share of hits over each bar.

    Args:
        bins: the text at the left edge, hits and misses of each.
        last: the text at the right edge of the last bin.
    """
    highest = max((hits + misses for _, hits, misses in bins), default=0) or 1
    up, across = linear(0, highest * 1.08, _BOTTOM, _TOP), linear(0, len(bins), _LEFT, _RIGHT)
    edges = enumerate([*(text for text, _, _ in bins), last])
    parts = _frame(across, edges, up, [tick for tick in ticks(0, highest) if tick == int(tick)], x_title, y_title)
    for place, (_, hits, misses) in enumerate(bins):
        if hits + misses:
            x, width, share = across(place) + 2, across(1) - across(0) - 4, 100 * hits / (hits + misses)
            for kind, start, end in (("hits", 0, hits), ("misses", hits, hits + misses)):
                parts.append(
                    Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>').format(
                        kind, _round(x), _round(up(end)), _round(width), _round(up(start) - up(end)),
                        f"{end - start:,} {kind} of {hits + misses:,}",
                    )
                )  # fmt: skip
            parts.append(_text(x + width / 2, up(hits + misses) - 4, f"{share:.0f}%", "middle", "strong"))
    return _svg(_HEIGHT, label, parts)


def forest(summary: Summary, reach: float) -> Markup:
    """One difference and its interval on an axis from -reach to reach, for a table's cell."""
    across = linear(-reach, reach, 4, 156)
    return Markup('<svg class="forest" viewBox="0 0 160 20" aria-hidden="true">{}<g class="s0">{}{}</g></svg>').format(
        _line("zero", 80, 1, 80, 19),
        _whisker_across(across(summary["low"]), across(summary["high"]), 10, 4),
        _marker(0, across(summary["difference"]), 10),
    )


def swatch(style: int, kind: str, dashed: bool = False) -> Markup:
    """A legend's sample: `bar`, `line`, `hits` or `misses`."""
    if kind == "line":
        line = Markup('<path class="line{}" d="M2 7H30"/>{}')
        width, drawn = 32, line.format(" dashed" if dashed else "", _marker(style, 16, 7))
    else:
        width, drawn = 14, Markup('<rect class="{}" y="1" width="12" height="12"/>').format(kind)
    return Markup('<svg class="swatch s{0}" width="{1}" viewBox="0 0 {1} 14" aria-hidden="true">{2}</svg>').format(
        style, width, drawn
    )


def _curve(series: Series, across: Scale, up: Scale, intervals: str) -> Markup:
    points = [(across(place), summary) for place, summary in series.measured()]
    parts = []
    if intervals == "band" and len(points) > 1:
        upper = [f"{_round(x)},{_round(up(summary['high']))}" for x, summary in points]
        lower = [f"{_round(x)},{_round(up(summary['low']))}" for x, summary in reversed(points)]
        parts.append(Markup('<polygon class="band" points="{}"/>').format(" ".join(upper + lower)))
    if len(points) > 1:
        path = "M" + "L".join(f"{_round(x)} {_round(up(summary['value']))}" for x, summary in points)
        parts.append(Markup('<path class="line{}" d="{}"/>').format(" dashed" if series.dashed else "", path))
    for (place, summary), (x, _) in zip(series.measured(), points, strict=True):
        title = Markup("<title>{}</title>").format(f"{series.name}, {place:.4g}: {describe(summary)}")
        whisker = "" if intervals == "band" else _whisker_up(x, up(summary["low"]), up(summary["high"]))
        parts.append(Markup("<g>{}{}{}</g>").format(title, whisker, _marker(series.style, x, up(summary["value"]))))
    return Markup('<g class="s{}">{}</g>').format(series.style, Markup("").join(parts))


def _frame(
    across: Scale, x_ticks: Iterable[tuple[float, str]], up: Scale, y_ticks: Iterable[float], x_title: str, y_title: str
) -> list[Markup]:
    parts = []
    for tick in y_ticks:
        y = up(tick)
        parts += [_line("grid", _LEFT, y, _RIGHT, y), _text(_LEFT - 6, y + 4, f"{tick:,.0f}", "end")]
    turned = '<text class="axis" x="{0}" y="{1}" text-anchor="middle" transform="rotate(-90 {0} {1})">{2}</text>'
    parts.append(_text((_LEFT + _RIGHT) / 2, _HEIGHT - 6, x_title, "middle", "axis"))
    parts.append(Markup(turned).format(10, (_TOP + _BOTTOM) / 2, y_title))
    for place, text in x_ticks:
        x = across(place)
        parts += [_line("tick", x, _BOTTOM, x, _BOTTOM + 4), _text(x, _BOTTOM + 17, text, "middle")]
    return parts


def _marker(style: int, x: float, y: float) -> Markup:
    shapes = (
        "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
        "M-3.6-3.6h7.2v7.2h-7.2z",
        "M0-4.8L4.6 3.4h-9.2z",
        "M0-5L5 0L0 5L-5 0z",
    )
    return Markup('<path class="marker" transform="translate({} {})" d="{}"/>').format(
        _round(x), _round(y), shapes[style % len(shapes)]
    )


def _whisker_across(low: float, high: float, y: float, half: float) -> Markup:
    ends = "".join(f"M{_round(x)} {_round(y - half)}v{_round(2 * half)}" for x in (low, high))
    return Markup('<path class="whisker" d="M{} {}H{}{}"/>').format(_round(low), _round(y), _round(high), ends)


def _whisker_up(x: float, low: float, high: float) -> Markup:
    return Markup('<path class="whisker" d="M{} {}V{}"/>').format(_round(x), _round(low), _round(high))


def _line(kind: str, x0: float, y0: float, x1: float, y1: float) -> Markup:
    return Markup('<path class="{}" d="M{} {}L{} {}"/>').format(kind, _round(x0), _round(y0), _round(x1), _round(y1))


def _text(x: float, y: float, text: str, anchor: str = "start", kind: str = "label") -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(
        kind, _round(x), _round(y), anchor, text
    )


def _svg(height: float, label: str, parts: Iterable[Markup]) -> Markup:
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, _round(height), label, Markup("").join(parts)
    )


def _round(value: float) -> float:
    return round(value, 2)
