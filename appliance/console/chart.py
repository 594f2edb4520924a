"""A line chart as coordinates: pure geometry, drawn as SVG by the template `console/parts/chart.html`.

Time (or a training's steps) runs to the right, zero is at the bottom, a step without data is a gap, one model keeps one
colour class on all pages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

WIDTH, HEIGHT = 480, 200
LEFT, RIGHT, TOP, BOTTOM = 52, 8, 12, 24
COLOURS = 8
STEPS = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)
REACH = 0.25  # a contract line is drawn once the load has come to a quarter of it


@dataclass(frozen=True)
class Line:
    """One model's line: SVG path data, and the number of its colour class.

    A band has a second line, `lower`, and the area between the two, `band`.
    """

    name: str
    colour: int
    path: str
    lower: str = ""
    band: str = ""


@dataclass(frozen=True)
class Tick:
    """A mark on an axis, in SVG units, with what it reads."""

    at: float
    label: str


@dataclass(frozen=True)
class Chart:
    """Everything the template draws. `contract_y` is None when the contract is beyond the scale.

    `unit` is that of the values. `last_step` is given when steps run to the right instead of time; such a chart has no
    contract.
    """

    lines: Sequence[Line]
    y_ticks: Sequence[Tick]
    x_ticks: Sequence[Tick]
    contract: int | None
    contract_y: float | None
    last_step: int | None = None
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right_x: int = WIDTH - RIGHT
    bottom_y: int = HEIGHT - BOTTOM
    empty: bool = field(default=False)
    unit: str = "tokens/s"


def draw(
    series: Mapping[str, Sequence[tuple[datetime, float]]],
    *,
    colours: Mapping[str, int],
    start: datetime,
    span: timedelta,
    step_s: int,
    contract: int,
    lower: Mapping[str, Sequence[tuple[datetime, float]]] | None = None,
    unit: str = "tokens/s",
) -> Chart:
    """Lay out one chart of `series` (model to points, oldest first) over the span that begins at `start`.

    With `lower` (for each of the models, at the same moments) each line is the upper edge of a band.
    """
    peak = max((value for points in series.values() for _, value in points), default=0.0)
    reached = peak >= contract * REACH
    top = nice(max(peak, contract * 1.05 if reached else 0.0))

    def x(at: datetime) -> float:
        return round(LEFT + (at - start) / span * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM), 1)

    def placed(points: Sequence[tuple[datetime, float]]) -> list[tuple[float, float]]:
        return [(x(at), y(value)) for at, value in points]

    step = _step_width(step_s, span)
    lines = []
    for name, points in sorted(series.items()):
        above, below = placed(points), placed((lower or {}).get(name, ()))
        colour = colours.get(name, 0) % COLOURS
        lines.append(Line(name, colour, path(above, step), path(below, step), area(above, below, step)))
    return Chart(
        lines=lines,
        y_ticks=[Tick(y(value), axis_label(value)) for value in (0, top / 2, top)],
        x_ticks=[Tick(x(start + span * part), "") for part in (0, 0.25, 0.5, 0.75, 1)],
        contract=contract,
        contract_y=y(contract) if reached else None,
        empty=not any(series.values()),
        unit=unit,
    )


def curve(series: Mapping[str, Sequence[tuple[int, float]]], colours: Mapping[str, int]) -> Chart:
    """Lay out values over steps (name to points, first step first). Points are joined however far apart they are."""
    last = max((step for points in series.values() for step, _ in points), default=1) or 1
    top = nice(max((value for points in series.values() for _, value in points), default=1.0), least=0.1)

    def at(point: tuple[int, float]) -> tuple[float, float]:
        x = LEFT + point[0] / last * (WIDTH - LEFT - RIGHT)
        return round(x, 1), round(HEIGHT - BOTTOM - point[1] / top * (HEIGHT - TOP - BOTTOM), 1)

    return Chart(
        lines=[
            Line(name, colours[name], path([at(point) for point in points], math.inf))
            for name, points in series.items()
            if points
        ],
        y_ticks=[Tick(at((0, value))[1], axis_label(value)) for value in (0, top / 2, top)],
        x_ticks=[],
        contract=None,
        contract_y=None,
        last_step=last,
        empty=not any(series.values()),
    )


def _step_width(step_s: int, span: timedelta) -> float:
    return step_s / span.total_seconds() * (WIDTH - LEFT - RIGHT)


def path(points: Sequence[tuple[float, float]], step: float) -> str:
    """SVG path data; a new piece begins where more than one step is missing. A lone point is a short dash."""
    return "".join(_line(piece) + ("h2" if len(piece) == 1 else "") for piece in pieces(points, step))


def area(above: Sequence[tuple[float, float]], below: Sequence[tuple[float, float]], step: float) -> str:
    """SVG path data of what lies between two lines over the same x, with the gaps that `path` leaves."""
    parts: list[str] = []
    for upper, under in zip(pieces(above, step), pieces(below, step), strict=False):
        if len(upper) > 1:
            parts.append(f"{_line(upper)}{_line(under[::-1]).replace('M', 'L', 1)}Z")
        else:
            parts.append(f"{_line(upper)}h2V{under[0][1]}h-2Z")
    return "".join(parts)


def pieces(points: Sequence[tuple[float, float]], step: float) -> list[list[tuple[float, float]]]:
    """The runs of points without a gap."""
    runs: list[list[tuple[float, float]]] = []
    for point in points:
        if runs and point[0] - runs[-1][-1][0] <= step * 1.6:
            runs[-1].append(point)
        else:
            runs.append([point])
    return runs


def _line(piece: Sequence[tuple[float, float]]) -> str:
    return "".join(f"{'L' if index else 'M'}{x} {y}" for index, (x, y) in enumerate(piece))


def nice(peak: float, least: float = 10.0) -> float:
    """The top of a scale: a round number not below the peak nor `least`."""
    if peak <= least:
        return least
    power = 10.0 ** math.floor(math.log10(peak))
    return next(step * power for step in STEPS if step * power >= peak)


def axis_label(value: float) -> str:
    """A value on the axis, short."""
    return f"{value / 1000:g}k" if value >= 10_000 else f"{value:g}"
