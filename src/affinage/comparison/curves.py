"""The losses of all runs over each other, as one SVG drawing that takes its colours from the page."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from markupsafe import Markup, escape
from matplotlib.ticker import LogLocator, MaxNLocator

from affinage.comparison.gather import Entry

WIDTH, HEIGHT = 760, 340
LEFT, RIGHT, TOP, BOTTOM = 64, 26, 14, 46
MOST_POINTS = 250  # of one curve: more cannot be told apart on a screen
COLOURS = 12

Point = tuple[float, float]


class Curve(NamedTuple):
    """The losses of one run over optimizer steps, in nats per answer token: of each step, and of the evaluations."""

    letter: str
    colour: int
    training: list[Point]
    validation: list[Point]


def curves_of(entries: Iterable[Entry]) -> list[Curve]:
    """The curves of the runs that trained a step; a loss that is not a number or not above 0 has no point."""
    curves = [
        Curve(entry.letter, place % COLOURS, _points(entry, "loss", "lr"), _points(entry, "validation_loss"))
        for place, entry in enumerate(entries)
    ]
    return [curve for curve in curves if curve.training or curve.validation]


def _points(entry: Entry, value: str, *also: str) -> list[Point]:
    rows = [record for record in entry.history if all(key in record for key in (value, *also))]
    return [(record["step"], record[value]) for record in rows if _positive(record[value])]


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value > 0


def thinned(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """At most `most` points: the means of as many stretches of equal length."""
    if len(points) <= most:
        return list(points)
    edges = [len(points) * i // most for i in range(most + 1)]
    stretches = [points[start:end] for start, end in pairwise(edges)]
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in stretches]


class _Axes:
    """Where a step and a loss lie in the drawing; losses are on a logarithmic axis."""

    def __init__(self, points: Sequence[Point]) -> None:
        losses = [y for _, y in points]
        self.low, self.high = min(losses) / 1.15, max(losses) * 1.15
        self.last = max(x for x, _ in points)

    def x(self, step: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * step / self.last, 1)

    def y(self, loss: float) -> float:
        share = math.log(loss / self.low) / math.log(self.high / self.low)
        return round(HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * share, 1)

    def steps(self) -> list[float]:
        return [tick for tick in MaxNLocator(6, integer=True).tick_values(0, self.last) if 0 <= tick <= self.last]

    def losses(self) -> list[float]:
        for subs in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), tuple(range(1, 10))):
            ticks = LogLocator(subs=subs, numticks=50).tick_values(self.low, self.high)
            inside = [tick for tick in ticks if self.low <= tick <= self.high]
            if len(inside) >= 3:
                return inside
        return [self.low, self.high]


def loss_drawing(curves: Sequence[Curve]) -> Markup:
    """An <svg> with every curve: training as a line, validation dashed with a dot at each evaluation.

    Each run is a group of the class `c<colour>` with `data-run` set to its letter. "" without a point to draw.
    """
    drawn = [curve._replace(training=thinned(curve.training)) for curve in curves]
    points = [point for curve in drawn for point in (*curve.training, *curve.validation)]
    if not points:
        return Markup("")
    axes = _Axes(points)
    best = ", ".join(f"{c.letter} {min(y for _, y in c.validation):.4g}" for c in curves if c.validation)
    label = f"Loss of {len(curves)} runs by optimizer step. Lowest validation loss: {best or 'none measured'}."
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}</svg>').format(
        WIDTH, HEIGHT, label, _frame(axes), Markup("").join(_curve(curve, axes) for curve in drawn)
    )


def _frame(axes: _Axes) -> Markup:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = [
        Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/><text x="{}" y="{}" class="end">{}</text>').format(
            LEFT, right, axes.y(tick), axes.y(tick), LEFT - 8, axes.y(tick) + 4, f"{tick:.3g}"
        )
        for tick in axes.losses()
    ]
    parts += [
        Markup('<line class="tick" x1="{}" x2="{}" y1="{}" y2="{}"/><text x="{}" y="{}" class="mid">{}</text>').format(
            axes.x(tick), axes.x(tick), bottom, bottom + 5, axes.x(tick), bottom + 19, f"{tick:,.0f}"
        )
        for tick in axes.steps()
    ]
    middle = (LEFT + right) / 2
    parts.append(Markup('<path class="axis" d="M{},{}V{}H{}"/>').format(LEFT, TOP, bottom, right))
    parts.append(Markup('<text x="{}" y="{}" class="mid">optimizer step</text>').format(middle, HEIGHT - 6))
    return Markup("").join(parts)


def _curve(curve: Curve, axes: _Axes) -> Markup:
    lines = [
        Markup('<polyline class="{}" points="{}"/>').format(
            kind, " ".join(f"{axes.x(x)},{axes.y(y)}" for x, y in points)
        )
        for kind, points in (("training", curve.training), ("validation", curve.validation))
        if points
    ]
    dots = [
        Markup('<circle cx="{}" cy="{}" r="3.5"><title>{}: validation loss {} at step {}</title></circle>').format(
            axes.x(x), axes.y(y), curve.letter, f"{y:.4f}", f"{x:,.0f}"
        )
        for x, y in curve.validation
    ]
    return Markup('<g class="c{}" data-run="{}">{}</g>').format(
        curve.colour, escape(curve.letter), Markup("").join([*lines, *dots])
    )
