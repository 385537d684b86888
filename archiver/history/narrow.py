"""Lines of a table that are short enough for a terminal: local time to the millisecond, no word for no alarm.

Where that does not suffice, columns are left out, the least wanted first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import NamedTuple

from archiver.history.formats import LOOK_AHEAD, Cell, OutputLine
from archiver.sample import SEVERITIES
from archiver.times import show_time

_NO_ALARM = SEVERITIES[0]
_ALARM = ("severity", "status")
# Columns that are left out where a line is too long, in this order
_EXPENDABLE = ("mean_rows", "std", "last", "alarm_s", "gap_s", "invalid_s", "unit", "count")
_GAP = 2
# What times of bins end with, before the offset, where all begin at full minutes or seconds
_ROUND = (":00.000", ".000")


class NarrowLine(NamedTuple):
    """A line whose cells are shorter than those of ``line``, which has them in full."""

    line: OutputLine
    cells: Sequence[str]

    def exact(self) -> Sequence[Cell]:
        """Return the cells with all digits."""
        return self.line.exact()

    def shown(self) -> Sequence[str]:
        """Return the cells for a terminal."""
        return self.cells


def fit(
    columns: Sequence[str], lines: Iterable[NarrowLine], width: int
) -> tuple[Sequence[str], Iterator[NarrowLine], list[str]]:
    """Return columns and lines that fit into so many characters, as far as that can be, and what was left out.

    The first lines decide. Of bins the times, too, are without what is 0 in all of them.
    """
    rest = iter(lines)
    first = list(islice(rest, LOOK_AHEAD))
    useless = _useless(columns, first)
    both = (
        line._replace(cells=[line.cells[0].replace(useless, "", 1), *line.cells[1:]]) for line in chain(first, rest)
    )
    shown = [next(both) for _ in first]
    widths = [max(map(len, column)) for column in zip(columns, *(line.cells for line in shown), strict=True)]
    kept = dict(enumerate(widths))
    left_out = []
    for name in _EXPENDABLE:
        if sum(kept.values()) + _GAP * (len(kept) - 1) <= width:
            break
        if name in columns:
            del kept[columns.index(name)]
            left_out.append(name)
    fitting = (line._replace(cells=[line.cells[index] for index in kept]) for line in chain(shown, both))
    return [columns[index] for index in kept], fitting, left_out


def _useless(columns: Sequence[str], lines: Sequence[NarrowLine]) -> str:
    """Return what the times of bins all have before their offset; "" for other lines."""
    if columns[0] != "time" or "count" not in columns:
        return ""
    return next((each for each in _ROUND if all(each in line.cells[0] for line in lines)), "")


def narrow_columns(columns: Sequence[str]) -> Sequence[str]:
    """Return the columns of a terminal: severity and status have one together."""
    return [*columns[:-2], "alarm"] if tuple(columns[-2:]) == _ALARM else columns


def narrow(columns: Sequence[str], lines: Iterable[OutputLine], *, utc: bool) -> Iterator[NarrowLine]:
    """Yield the lines for a terminal; where the first column is the time it is in local time, or in UTC."""
    for line in lines:
        cells = ["" if cell == _NO_ALARM else cell for cell in line.shown()]
        if tuple(columns[-2:]) == _ALARM:
            cells[-2:] = [" ".join(cells[-2:]).strip()]
        time_ns = getattr(line, "time_ns", None)
        if columns[0] == "time" and time_ns is not None:
            cells[0] = show_time(time_ns, utc=utc)
        yield NarrowLine(line, cells)
