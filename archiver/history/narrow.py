"""Lines of a table that are short enough for a terminal: local time to the millisecond, no word for no alarm."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from archiver.history.formats import Cell, OutputLine
from archiver.sample import SEVERITIES
from archiver.times import show_time

_NO_ALARM = SEVERITIES[0]
_ALARM = ("severity", "status")


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
