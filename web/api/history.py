"""The history of some PVs as curves with about as many points as a screen has."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from archiver.history.curves import ELSEWHERE, Curve, picture
from archiver.history.query import HistoryError, Window, open_query, time_of
from archiver.history.segments import Plan, drawn_width
from archiver.sample import INVALID, Sample
from archiver.storage.summary import Summary
from web.api.results import CurveResult, HistoryResult

Numbers = np.ndarray[Any, Any]

# PVs of one request, points of a curve, and rows that are looked at.
MOST_PVS, MOST_POINTS, MOST_ROWS = 20, 5000, 3_000_000


def history(database: str, pvs: Sequence[str], since: str, until: str, points: int) -> HistoryResult:
    """Return the history of PVs between two times, as ``rackioc history`` has them. Raises HistoryError."""
    now_ns = time.time_ns()
    until_ns = time_of(until or None, now_ns)
    window = Window(time_of(since or "1h", now_ns), now_ns if until_ns is None else until_ns)
    with open_query(database, pvs, window) as query:
        drawn_ns = drawn_width(query, points)
        items = Plan(query, drawn_ns).items() if drawn_ns else query.samples()
        made = picture(_counted(items), query, drawn_ns)
        curves = [_curve(each, made.begin_ns, made.end_ns, points) for axis in made.axes for each in axis]
        order = {pv: number for number, pv in enumerate(query.names)}
        curves.sort(key=lambda each: order[each.pv])
        return HistoryResult(made.begin_ns / 1e9, made.end_ns / 1e9, curves, [*query.missing, *made.left_out])


def _counted(items: Iterator[Sample | Summary]) -> Iterator[Sample | Summary]:
    for number, item in enumerate(items):
        if number >= MOST_ROWS:
            raise HistoryError(f"the window has more than {MOST_ROWS} rows: choose a shorter one, or fewer PVs")
        yield item


def _curve(curve: Curve, begin_ns: int, end_ns: int, points: int) -> CurveResult:
    times, values = np.array(curve.times_ns, dtype=np.int64), np.array(curve.values)
    severities = np.array(curve.severities, dtype=np.int8)
    severities = np.where(np.isfinite(values) | (severities == ELSEWHERE), severities, INVALID)
    kept = _kept(times, values, severities, begin_ns, end_ns, points)
    return CurveResult(
        curve.pv,
        curve.unit,
        list(curve.words),
        (times[kept] / 1e9).round(6).tolist(),
        [value if math.isfinite(value) else None for value in values[kept].tolist()],
        severities[kept].tolist(),
    )


def _kept(times: Numbers, values: Numbers, severities: Numbers, begin_ns: int, end_ns: int, points: int) -> Numbers:
    """Return which points are kept: of each bin the first, last, lowest, highest, and where the severity changes."""
    if len(times) <= 4 * points:
        return np.arange(len(times))
    # a width first: nanoseconds of a year times a thousand are no 64-bit number any more
    bins = (times - begin_ns) // max((end_ns - begin_ns) // points, 1)
    starts = np.flatnonzero(np.diff(bins, prepend=bins[0] - 1))
    finite = np.isfinite(values)
    order = np.lexsort((np.where(finite, values, np.inf), bins))
    lowest = order[starts]
    order = np.lexsort((np.where(finite, -values, np.inf), bins))
    highest = order[starts]
    changes = np.flatnonzero(np.diff(severities, prepend=severities[0]))
    ends = np.append(starts[1:], len(times)) - 1
    return np.unique(np.concatenate([starts, ends, lowest, highest, changes]))
