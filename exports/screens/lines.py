"""What a screen shows, line by line, before it has a place: sections of a label, a value and what sets it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate

from drivers.base import RecordType
from exports.rack import Pv


@dataclass(frozen=True)
class Line:
    """A line: its label, the PV that is shown, the PV that is set.

    file: the screen that the label opens; "": the label is a text. name: what is shown or set instead of the PV's own
    name, as a name with a macro or a field.
    """

    label: str
    read: Pv | None = None
    set: Pv | None = None
    file: str = ""
    read_name: str = ""
    set_name: str = ""
    macros: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_long(self) -> bool:
        """Return whether it shows a text of any length."""
        return self.read is not None and self.read.point.rtyp is RecordType.lsi

    @property
    def rows(self) -> int:
        """Return how many rows of a column it takes: a sentence needs two."""
        return 2 if self.is_long else 1


@dataclass(frozen=True)
class Section:
    """A heading with its lines."""

    title: str
    lines: tuple[Line, ...]

    @property
    def rows(self) -> int:
        """Return how many rows its lines take, without the heading."""
        return sum(line.rows for line in self.lines)

    def split(self, rows: int) -> tuple[Section, Section]:
        """Return what fits into so many rows, and the rest."""
        ends = list(accumulate(line.rows for line in self.lines))
        count = bisect_right(ends, rows)
        return replace(self, lines=self.lines[:count]), replace(self, lines=self.lines[count:])


def lines(pvs: Iterable[Pv], start: str, macro: str = "") -> Iterator[Line]:
    """Yield a line for each value, with its setting beside it; arrays and long lists are left out.

    start: what the names of the PVs begin with; it is no part of a label. macro: what stands for it in the names.
    """
    shown = [pv for pv in pvs if _is_shown(pv)]
    by_name = {pv.point.name: pv for pv in shown}
    settings = {pv.point.follows: pv for pv in shown if pv.point.follows in by_name}
    for pv in shown:
        if pv.point.follows in by_name:
            continue
        setting = settings.get(pv.point.name)
        if setting is None and pv.point.rtyp.writable:
            yield _line(None, pv, start, macro)
        elif setting is not None and setting.point.rtyp is RecordType.stringout:
            # it shows its readback, and a text needs the room of both
            yield _line(None, setting, start, macro)
        else:
            yield _line(pv, setting, start, macro)


def _is_shown(pv: Pv) -> bool:
    if pv.point.rtyp is RecordType.waveform:
        return False
    # their texts are of any length, and are for programs
    return not pv.name.endswith((":PVList", ":SafeList", ":Instruments"))


def _line(read: Pv | None, setting: Pv | None, start: str, macro: str) -> Line:
    def named(pv: Pv | None) -> str:
        return "" if pv is None else f"{macro or start}{pv.name.removeprefix(start)}"

    first = setting or read
    assert first is not None
    return Line(first.name.removeprefix(start), read, setting, read_name=named(read), set_name=named(setting))
