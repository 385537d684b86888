"""The output of ``--plot``: the history as a picture in a file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from archiver.history.curves import Curve, Picture
from archiver.sample import SEVERITIES

# Of MINOR and MAJOR, as EPICS displays have them; at INVALID the line is broken.
COLOURS = {1: "#e6a700", 2: "#d62728"}


def save(picture: Picture, file: Path) -> None:
    """Save a picture as a PNG file: one axis below the other, 10 inches wide, drawn by Agg without a window."""
    count = len(picture.axes)
    figure = Figure(figsize=(10, 1 + 2.6 * count), layout="constrained")
    all_axes = figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]
    for axes, curves in zip(all_axes, picture.axes, strict=True):
        _draw(axes, curves)
    _time_axis(all_axes[-1], picture)
    with rc_context({"agg.path.chunksize": 20_000}):  # Agg fails on a line of a million points in one
        figure.savefig(file, format="png", dpi=100)


def _draw(axes: Axes, curves: Sequence[Curve]) -> None:
    words = curves[0].words
    named = set[int]()
    for curve in curves:
        times, values = np.array(curve.times_ns, "M8[ns]"), np.array(curve.values)
        axes.step(times, values, where="post", linewidth=1, label=curve.pv)
        for severity, colour in COLOURS.items():
            there = (np.array(curve.severities) == severity) & np.isfinite(values)
            if there.any():
                axes.plot(times[there], values[there], ".", color=colour, label=_once(severity, named))
    if words:
        axes.set_yticks(range(len(words)), words)
    else:
        axes.set_ylabel(curves[0].unit)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=5, fontsize="small", frameon=False)


def _once(severity: int, named: set[int]) -> str:
    """Return the label of an alarm's colour; it begins with an underscore if the legend has it already."""
    label = f"_{severity}" if severity in named else SEVERITIES[severity]
    named.add(severity)
    return label


def _time_axis(axes: Axes, picture: Picture) -> None:
    locator = AutoDateLocator(tz=UTC)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))  # type: ignore[no-untyped-call]
    axes.set_xlim(*np.array([picture.begin_ns, picture.end_ns], "M8[ns]"))
    axes.set_xlabel("time (UTC)")
