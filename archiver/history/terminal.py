"""The output of ``--terminal``: the history as a plot of characters."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from itertools import cycle, groupby, pairwise
from operator import itemgetter
from typing import Any, TextIO

import plotext

from archiver.history.curves import Curve, Picture
from archiver.sample import SEVERITIES
from archiver.times import moment_of

# Lines of each axis.
HEIGHT = 16

# Ticks of the time axis; colours of MINOR and MAJOR, and of the PVs; at INVALID the line is broken.
TICKS = 5
COLOURS = {1: "orange", 2: "red"}
LINES = ("blue+", "green", "cyan", "blue", "green+", "cyan+")
# Seconds since the window's begin, and the value.
XY = tuple[float, float]


def draw(picture: Picture, out: TextIO, *, utc: bool) -> None:
    """Print a picture as wide as the terminal, in colour if ``out`` is one; times are in UTC or in local time."""
    plotext.terminal.limit(False, False)  # as wide as is said below, also where there is no terminal
    for curves in picture.axes:
        heading, plot = _axes(curves, picture, shutil.get_terminal_size().columns, utc=utc)
        text = f"{heading}\n{plot.string()}\n"
        out.write(text if out.isatty() else plotext.uncolorize(text))


def _axes(curves: Sequence[Curve], picture: Picture, columns: int, *, utc: bool) -> tuple[str, Any]:
    """Return the legend, a line above the plot, in which it would cover a part of it, and the plot."""
    column = (picture.end_ns - picture.begin_ns) / 1e9 / columns
    axes = plotext.figure.clear().theme("colorless")  # on the terminal's own background
    axes.plot_size(columns, HEIGHT)
    legend = [f"[{curves[0].unit}]"] if curves[0].unit else []
    for curve, colour in zip(curves, cycle(LINES)):
        axes.draw(_line(axes, curve, colour, picture.begin_ns, column))
        legend.append(plotext.colorize(f"\u2500 {curve.pv}", colour).string())
    for severity, colour in COLOURS.items():
        points = [point for curve in curves for point in _reduced(_alarms(curve, severity, picture.begin_ns), column)]
        if points:
            axes.draw(axes.signal(*_coordinates(points), marker=plotext.marker("dot", colour)))
            legend.append(plotext.colorize(f"\u2022 {SEVERITIES[severity]}", colour).string())
    _ticks(axes, curves[0].words, picture, utc=utc)
    zone = "UTC" if utc else "local time"
    return "  ".join([*legend, zone]), axes.build()


def _ticks(axes: Any, words: Sequence[str], picture: Picture, *, utc: bool) -> None:
    span = picture.end_ns - picture.begin_ns
    seconds = [span * n // (TICKS - 1) / 1e9 for n in range(TICKS)]
    moments = [moment_of(picture.begin_ns + round(each * 1e9), utc=utc) for each in seconds]
    labels = [f"{moment:%m-%d %H:%M:%S}" for moment in moments]
    axes.ruler("x").lim(0, span / 1e9).ticks(seconds, labels)
    if words:
        axes.ruler("y").ticks(list(range(len(words))), list(words))


def _line(axes: Any, curve: Curve, colour: str, begin_ns: int, column: float) -> Any:
    """Return the steps of a curve, without a line to the begin of a stretch."""
    steps: list[XY] = []
    begins = []
    for stretch in _stretches(curve, begin_ns):
        begins.append(len(steps))
        steps += _steps(_reduced(stretch, column))
    line = axes.signal(*_coordinates(steps), marker=plotext.marker("hd", colour)).lines()
    for begin in begins:
        line.line(begin, False)
    return line


def _stretches(curve: Curve, begin_ns: int) -> Iterator[list[XY]]:
    """Yield the points from gap to gap, each stretch up to where its gap begins."""
    stretch: list[XY] = []
    for time_ns, value in zip(curve.times_ns, curve.values, strict=True):
        x = (time_ns - begin_ns) / 1e9
        if not math.isnan(value):
            stretch.append((x, value))
        elif stretch:
            yield [*stretch, (x, stretch[-1][1])]
            stretch = []
    if stretch:
        yield stretch


def _alarms(curve: Curve, severity: int, begin_ns: int) -> list[XY]:
    rows = zip(curve.times_ns, curve.values, curve.severities, strict=True)
    return [((t - begin_ns) / 1e9, v) for t, v, each in rows if each == severity and not math.isnan(v)]


def _reduced(points: Sequence[XY], column: float) -> list[XY]:
    """Return the first, lowest, highest and last point of each column of characters: plotext takes 50 us a point."""
    kept: list[XY] = []
    for _, group in groupby(points, lambda point: point[0] // column):
        there = list(group)
        kept += sorted({there[0], min(there, key=itemgetter(1)), max(there, key=itemgetter(1)), there[-1]})
    return kept


def _steps(points: Sequence[XY]) -> Iterator[XY]:
    """Yield the points with the corners between them: a value holds until the next."""
    yield points[0]
    for (_, before), (x, y) in pairwise(points):
        yield x, before
        yield x, y


def _coordinates(points: Sequence[XY]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
