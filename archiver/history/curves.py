"""The contents of a plot: PVs as lines, those of one unit on one axis."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from archiver.history.query import Query
from archiver.sample import INVALID, Sample

NAN = float("nan")
# The least width of a plot, for rows that are all at one time.
LEAST_NS = 10**6

# Texts that stand for a value that is not a finite number.
_NO_NUMBERS = {"NaN", "Infinity", "-Infinity"}


@dataclass(slots=True)
class Curve:
    """The line of a PV: each value holds until the next time; NaN, where it is not known, is a gap in the line.

    ``words`` are those of its states; a state without one has its number there.
    """

    pv: str
    unit: str = ""
    words: tuple[str, ...] = ()
    times_ns: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))
    severities: array[int] = field(default_factory=lambda: array("b"))

    def add(self, time_ns: int, value: float, severity: int) -> None:
        """Append a point."""
        self.times_ns.append(time_ns)
        self.values.append(value)
        self.severities.append(severity)


@dataclass(slots=True)
class Picture:
    """The axes, one for each unit or set of words, and a sentence for each PV that cannot be drawn."""

    begin_ns: int
    end_ns: int
    axes: Sequence[Sequence[Curve]]
    left_out: Sequence[str]


def picture(samples: Iterable[Sample], query: Query) -> Picture:
    """Return the contents of a plot of the samples.

    The value in force at the window's begin is drawn from there on, the last one up to its end.
    """
    begin_ns, end_ns = query.window.begin_ns, query.window.until_ns
    curves = {pv: Curve(pv) for pv in query.names}
    left_out: dict[str, str] = {}
    for sample in samples:
        value = _number(sample)
        if value is None:
            left_out[sample.pv] = f"{sample.pv} is not in the plot: it holds {_kind(sample)}, which no line can show"
        else:
            curves[sample.pv].add(max(sample.time_ns, begin_ns), value, sample.severity)
    drawn = [curve for pv, curve in curves.items() if pv not in left_out and any(map(math.isfinite, curve.values))]
    for pv in set(curves) - set(left_out) - {curve.pv for curve in drawn}:
        left_out[pv] = f"{pv} is not in the plot: no value of it is known in the window"
    for curve in drawn:
        metadata = query.metadata.at(curve.pv, end_ns)
        curve.unit = metadata.unit
        curve.words = tuple(word.strip() or str(number) for number, word in enumerate(metadata.words))
    first_ns = query.window.since_ns or min((curve.times_ns[0] for curve in drawn), default=end_ns)
    end_ns = max(end_ns, first_ns + LEAST_NS)
    for curve in drawn:
        curve.add(end_ns, curve.values[-1], 0)
    return Picture(first_ns, end_ns, list(_axes(drawn)), sorted(left_out.values()))


def _axes(curves: Iterable[Curve]) -> Iterator[list[Curve]]:
    found: dict[tuple[str, tuple[str, ...]], list[Curve]] = {}
    for curve in curves:
        found.setdefault((curve.unit, curve.words), []).append(curve)
    yield from found.values()


def _number(sample: Sample) -> float | None:
    value = sample.value
    if sample.severity == INVALID or value in _NO_NUMBERS:
        return NAN
    if isinstance(value, int | float):
        return value if math.isfinite(value) else NAN
    return None


def _kind(sample: Sample) -> str:
    return "arrays" if isinstance(sample.value, tuple) else "texts"
