"""Small charts as SVG that stands inside the page: colours, dashes and type come from page.css."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from i2s.report.tables import Stand

WIDTH, HEIGHT = 360, 200
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 34


@dataclass
class Series:
    """A named line."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass
class Chart:
    """Lines over a common axis; `log`: a logarithmic y axis, on which only figures above 0 are drawn."""

    title: str
    x_label: str
    series: list[Series]
    log: bool = False

    @property
    def svg(self) -> Markup:
        """The chart; its text alternative says where each line starts and ends."""
        series = [_drawable(s, self.log) for s in self.series]
        series = [s for s in series if s.x]
        if not series:
            return Markup("")
        xs, ys = [x for s in series for x in s.x], [_scale(y, self.log) for s in series for y in s.y]
        (x0, x1), (y0, y1) = _range(xs), _range(ys)

        def at(x: float, y: float) -> tuple[float, float]:
            across = LEFT + (WIDTH - LEFT - RIGHT) * (x - x0) / (x1 - x0)
            return round(across, 1), round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (y - y0) / (y1 - y0), 1)

        body = []
        for y in _log_ticks(y0, y1) if self.log else _ticks(y0, y1):
            text = _number(10**y if self.log else y)
            body.append(Markup('<path class="grid" d="M{} {}H{}"/>').format(LEFT, at(x0, y)[1], WIDTH - RIGHT))
            body.append(Markup('<text class="y" x="{}" y="{}">{}</text>').format(LEFT - 6, at(x0, y)[1] + 3.5, text))
        for x in _ticks(x0, x1):
            body.append(
                Markup('<text class="x" x="{}" y="{}">{}</text>').format(at(x, y0)[0], HEIGHT - BOTTOM + 15, _number(x))
            )
        middle = (LEFT + WIDTH - RIGHT) / 2
        body.append(Markup('<text class="x" x="{}" y="{}">{}</text>').format(middle, HEIGHT - 3, self.x_label))
        for number, s in enumerate(series):
            points = [at(x, _scale(y, self.log)) for x, y in zip(s.x, s.y, strict=True)]
            path = "M" + "L".join(f"{x} {y}" for x, y in points)
            body.append(Markup('<path class="line s{}" d="{}"/>').format(number, path))
            if len(points) == 1:
                body.append(Markup('<circle class="s{}" cx="{}" cy="{}" r="3"/>').format(number, *points[0]))
        ends = "; ".join(f"{s.name} from {_number(s.y[0])} to {_number(s.y[-1])}" for s in series)
        return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}: {}">{}</svg>').format(
            WIDTH, HEIGHT, self.title, ends, Markup("").join(body)
        )


def stand_svg(stand: Stand, decimals: int) -> Markup:
    """Floors (triangles), systems (a disc, the second a diamond, with intervals) and ceilings (squares) on a line."""
    width, height, edge, line = 320, 34, 10, 17
    scores = [row.scores[stand.measure] for row in stand.rows]
    values = [v for s in scores for v in (s.value, s.low, s.high) if v is not None]
    low, high = _range(values)

    def x(value: float) -> float:
        return round(edge + (width - 2 * edge) * (value - low) / (high - low), 1)

    body = [Markup('<path class="grid" d="M{} {}H{}"/>').format(edge, line, width - edge)]
    for row, score in zip(stand.rows, scores, strict=True):
        at = x(score.value)
        title = Markup("<title>{}: {}</title>").format(row.name, f"{score.value:.{decimals}f}")
        if row.system is None:
            shape = f"M{at - 5} {line - 9}h10l-5 9z" if row.kind == "floor" else f"M{at - 4.5} {line}h9v9h-9z"
            body.append(Markup('<path class="{}" d="{}">{}</path>').format(row.kind, shape, title))
            continue
        if score.low is not None and score.high is not None:
            span = f"M{x(score.low)} {line}H{x(score.high)}"
            body.append(Markup('<path class="span t{}" d="{}"/>').format(row.system, span))
        shape = f"M{at} {line - 7}l7 7l-7 7l-7-7z" if row.system else f"M{at - 6} {line}a6 6 0 1 0 12 0a6 6 0 1 0-12 0z"
        body.append(Markup('<path class="t{}" d="{}">{}</path>').format(row.system, shape, title))
    spoken = "; ".join(f"{row.name} {s.value:.{decimals}f}" for row, s in zip(stand.rows, scores, strict=True))
    return Markup('<svg class="stand" viewBox="0 0 {} {}" role="img" aria-label="{}: {}">{}</svg>').format(
        width, height, stand.measure, spoken, Markup("").join(body)
    )


def _drawable(series: Series, log: bool) -> Series:
    points = [(x, y) for x, y in zip(series.x, series.y, strict=True) if math.isfinite(y) and (y > 0 or not log)]
    return Series(series.name, [x for x, _ in points], [y for _, y in points])


def _scale(y: float, log: bool) -> float:
    return math.log10(y) if log else y


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _ticks(low: float, high: float) -> list[float]:
    """Round figures within the range, three to six of them."""
    step = 10.0 ** math.floor(math.log10((high - low) / 3))
    step *= next(k for k in (5, 2, 1) if k * step <= (high - low) / 3 or k == 1)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 10) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Logarithms of 1, 2, 5, 10, ... within a range of logarithms; of powers of ten alone where these are enough."""
    powers = [float(k) for k in range(math.ceil(low), math.floor(high) + 1)]
    if len(powers) > 2:
        return powers
    marks = [k + math.log10(m) for k in range(math.floor(low), math.ceil(high) + 1) for m in (1, 2, 5)]
    return [mark for mark in marks if low <= mark <= high]


def _number(value: float) -> str:
    """Short: 12000 as 12k, 0.25 as 0.25."""
    size = abs(value)
    if size >= 1e6:
        text = f"{value / 1e6:.3g}M"
    elif size >= 1e4:
        text = f"{value / 1e3:.3g}k"
    else:
        text = f"{value:.0f}" if size >= 100 else f"{value:.3g}"
    return text.replace("-", "\u2212")
