"""Plots for Phoebus' Data Browser (.plt): PVs with an axis for each unit.

Format: Phoebus, databrowser3, XMLPersistence.java, PVItem.java, AxisConfig.java.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import NamedTuple
from xml.etree.ElementTree import Element

from exports.markup import add, document
from exports.rack import Pv
from exports.screens.palette import BACKGROUND, TEXT, TRACES, Colour


class Trace(NamedTuple):
    """A PV, with its name in the legend, its unit, and the ends of its display range if it has them."""

    pv: str
    name: str
    unit: str
    low: float | None
    high: float | None


def trace(pv: Pv, name: str, legend: str) -> Trace:
    """Return the trace of a PV under a name, which may have a macro."""
    return Trace(name, legend, pv.point.egu, pv.point.lopr, pv.point.hopr)


def plot(title: str, traces: Sequence[Trace], header: Sequence[str]) -> str:
    """Return a plot of the last hour. The archives are those that Phoebus has as default."""
    root = Element("databrowser")
    add(root, "title", title)
    add(root, "save_changes", False)
    add(root, "show_legend", True)
    add(root, "show_toolbar", True)
    add(root, "grid", True)
    add(root, "scroll", True)
    add(root, "start", "-1 hour")
    add(root, "end", "now")
    _colour(root, "foreground", TEXT)
    _colour(root, "background", BACKGROUND)
    units = list(dict.fromkeys(each.unit for each in traces))
    axes = add(root, "axes")
    for index, unit in enumerate(units):
        axis = add(axes, "axis")
        add(axis, "visible", True)
        add(axis, "name", unit or "state")
        add(axis, "use_axis_name", True)
        add(axis, "right", index % 2 == 1)
        _colour(axis, "color", TEXT)
        add(axis, "autoscale", True)
        _range(axis, [each for each in traces if each.unit == unit])
        add(axis, "grid", index == 0)
    pvs = add(root, "pvlist")
    for each, colour in zip(traces, cycle(TRACES), strict=False):
        pv = add(pvs, "pv")
        add(pv, "name", each.pv)
        add(pv, "display_name", each.name)
        add(pv, "visible", True)
        add(pv, "axis", units.index(each.unit))
        _colour(pv, "color", colour)
        add(pv, "trace_type", "AREA")
        add(pv, "linewidth", 2)
        add(pv, "request", "OPTIMIZED")
    return document(root, header)


def _range(axis: Element, traces: Sequence[Trace]) -> None:
    """Add the range that holds those of all traces: Phoebus begins with it, cs-web-lib knows no other."""
    lows = [each.low for each in traces if each.low is not None]
    highs = [each.high for each in traces if each.high is not None]
    if len(lows) == len(highs) == len(traces) and min(lows) < max(highs):
        add(axis, "min", min(lows))
        add(axis, "max", max(highs))


def _colour(parent: Element, tag: str, colour: Colour) -> None:
    element = add(parent, tag)
    for part, value in colour._asdict().items():
        add(element, part, value)
