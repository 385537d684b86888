"""The contents of a plot: PVs as lines, those of one unit on one axis."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from archiver.history.query import Query
from archiver.sample import INVALID, Metadata, Sample
from archiver.storage.summary import Summary, SummaryBin

NAN = float("nan")
# What draws adds margins to the largest number, and takes differences: beyond this they overflow.
LARGEST = 1e300
# The severity of a break in a line while the PV has another unit or other words, and is in a curve of its own
ELSEWHERE = -1
# The least width of a plot, for rows that are all at one time.
LEAST_NS = 10**6

# Texts that stand for a value that is not a finite number.
_NO_NUMBERS = {"NaN", "Infinity", "-Infinity"}


@dataclass(slots=True)
class Curve:
    """The line of a PV in a unit: each value holds until the next time; NaN, where it is not known, is a gap.

    ``words`` are those of its states; a state without one has its number there. Where the PV has another unit or
    other words the line has a gap with the severity ELSEWHERE.
    """

    pv: str
    unit: str = ""
    words: tuple[str, ...] = ()
    times_ns: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))
    severities: array[int] = field(default_factory=lambda: array("b"))

    def add(self, time_ns: int, value: float, severity: int) -> None:
        """Append a point; a value that is too large to be drawn breaks the line, as an infinite one."""
        self.times_ns.append(time_ns)
        self.values.append(value if abs(value) <= LARGEST else NAN)
        self.severities.append(severity)


@dataclass(slots=True)
class Picture:
    """The axes, one for each unit or set of words, and a sentence for each PV that cannot be drawn."""

    begin_ns: int
    end_ns: int
    axes: Sequence[Sequence[Curve]]
    left_out: Sequence[str]


class _Lines:
    """The curves of a PV, one for each unit and words that it has."""

    def __init__(self, pv: str, query: Query) -> None:
        self._pv = pv
        self._begin_ns = query.window.begin_ns
        self._at = query.metadata.at
        self._curves: dict[tuple[str, tuple[str, ...]], Curve] = {}
        self._metadata: Metadata | None = None
        self._curve = Curve(pv)

    @property
    def curves(self) -> list[Curve]:
        """Return the curves with a value that is known."""
        return [curve for curve in self._curves.values() if any(map(math.isfinite, curve.values))]

    def changes(self, time_ns: int) -> bool:
        """Return True if another curve than that of the last call of ``at`` may be the one of a time."""
        return self._at(self._pv, time_ns) is not self._metadata

    def at(self, time_ns: int) -> Curve:
        """Return the curve of a time, which is not before that of the last call; it breaks the one before."""
        metadata = self._at(self._pv, time_ns)
        if metadata is not self._metadata:
            before, self._metadata = self._curve, metadata
            key = metadata.unit, metadata.words
            words = tuple(word.strip() or str(number) for number, word in enumerate(metadata.words))
            self._curve = self._curves.setdefault(key, Curve(self._pv, metadata.unit, words))
            if before is not self._curve and before.values:
                before.add(max(time_ns, self._begin_ns), NAN, ELSEWHERE)
        return self._curve


class _Drawn:
    """Summaries of a PV as points of its curve: of each bin of a width lowest, highest and last number.

    Where some time of the bin is not known, the line is broken in it.
    """

    def __init__(self, lines: _Lines, width_ns: int) -> None:
        self._lines = lines
        self._curve = Curve("")
        self._width_ns = width_ns
        self._open: list[SummaryBin] = []

    def add(self, each: SummaryBin) -> None:
        """Add a summary; those of one bin become points together."""
        another = self._open and each.time_ns // self._width_ns != self._open[0].time_ns // self._width_ns
        if another or self._lines.changes(each.time_ns):
            self.close()  # before the curve is broken, which is where one of another unit begins
        self._curve = self._lines.at(each.time_ns)
        self._open.append(each)

    def close(self) -> None:
        """Draw the bin that is being filled."""
        if not self._open:
            return
        begin_ns, last = self._open[0].time_ns, self._open[-1]
        lows = [each.minimum for each in self._open if each.minimum is not None]
        highs = [each.maximum for each in self._open if each.maximum is not None]
        severity = max(each.known_severity_id for each in self._open) - 1
        points = [(low, severity) for low in (min(lows), max(highs))] if lows else []
        if any(each.invalid_ns or each.gap_ns for each in self._open):
            points.append((NAN, INVALID))
        points.append((NAN if last.last is None else last.last, last.last_severity_id - 1))
        for number, point in enumerate(points):
            self._curve.add(begin_ns + (last.end_ns - begin_ns) * number // len(points), *point)
        self._open = []


def picture(items: Iterable[Sample | Summary], query: Query, drawn_ns: int = 0) -> Picture:
    """Return the contents of a plot of samples, and of summaries in bins of ``drawn_ns``.

    The value in force at the window's begin is drawn from there on, the last one, with its alarm, up to its end.
    """
    begin_ns, end_ns = query.window.begin_ns, query.window.until_ns
    lines = {pv: _Lines(pv, query) for pv in query.names}
    drawn = {pv: _Drawn(each, drawn_ns) for pv, each in lines.items()}
    left_out: dict[str, str] = {}
    for sample in items:
        if isinstance(sample, Summary):
            drawn[sample.pv].add(sample.bin)
            continue
        drawn[sample.pv].close()
        value = _number(sample)
        if value is None:
            left_out[sample.pv] = f"{sample.pv} is not in the plot: it holds {_kind(sample)}, which no line can show"
        else:
            lines[sample.pv].at(sample.time_ns).add(max(sample.time_ns, begin_ns), value, sample.severity)
    for each in drawn.values():
        each.close()
    shown = [curve for pv, each in lines.items() if pv not in left_out for curve in each.curves]
    for pv in set(lines) - set(left_out) - {curve.pv for curve in shown}:
        left_out[pv] = f"{pv} is not in the plot: no value of it is known in the window"
    first_ns = query.window.since_ns or min((curve.times_ns[0] for curve in shown), default=end_ns)
    end_ns = max(end_ns, first_ns + LEAST_NS)
    for curve in shown:
        curve.add(end_ns, curve.values[-1], curve.severities[-1])
    return Picture(first_ns, end_ns, list(_axes(shown)), sorted(left_out.values()))


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
