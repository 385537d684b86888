"""A view through channel filters: a piece of an array, the time in place of the value, updates left out."""

from __future__ import annotations

import time
from typing import Any

from ioc.ca import dbr
from ioc.ca.filterspec import Filters
from ioc.ca.view import Values, View
from ioc.record import ALARM, PROPERTY, beyond

# Digits of a time in seconds as text
_PRECISION = 6
_FORMATS = {"epics": "%Y-%m-%d %H:%M:%S.{:06.0f}", "iso": "%Y-%m-%dT%H:%M:%S.{:06.0f}%z"}


class FilteredView(View):
    """A view through filters. An alarm passes all that leave updates out, so that what is shown stays true."""

    __slots__ = ("_filters", "_told", "_whole", "field_name")

    remembers = True

    def __init__(self, whole: View, filters: Filters) -> None:
        self.record = whole.record
        self.owner = whole.owner
        self.field_name = whole.field_name
        self.scalar_double = False
        self._whole = whole
        self._filters = filters
        ts = filters.ts or {}
        # What of the time stamp takes the place of the value; "": nothing does
        self._told = ts.get("num") or ts.get("str") or ""
        self.native = dbr.STRING if "str" in ts else dbr.DOUBLE if self._told else whole.native

    @property
    def count(self) -> int:
        """Return the most elements that there can be."""
        if self._told:
            return 2 if self._told == "ts" else 1
        return len(self._filters.arr.of(self._whole.count)) if self._cuts and self._filters.arr else self._whole.count

    @property
    def _cuts(self) -> bool:
        return self._filters.arr is not None and self._whole.count > 1 and not self._told

    @property
    def padded(self) -> bool:  # type: ignore[override]
        """Return True if zeros may follow what there is of the values: not in a piece, where they would be values."""
        return not self._cuts

    @property
    def writable(self) -> bool:
        """Return True if clients may write."""
        return self._whole.writable

    def values(self) -> Values:
        """Return the values of now, or the piece of them, or their time."""
        return self._time() if self._told else self._piece()

    def _piece(self) -> Values:
        values = self._whole.values()
        if not self._cuts or self._filters.arr is None:
            return values
        piece = self._filters.arr.of(len(values))
        return values[piece.start : piece.stop : piece.step]

    def values_for(self, dbr_type: int, count: int) -> Values:
        """Return at most ``count`` values (0: all) to be sent as a DBR type."""
        if self._told or self._cuts:
            return super().values_for(dbr_type, count)
        return self._whole.values_for(dbr_type, count)

    def most(self, dbr_type: int) -> int:
        """Return the largest number of values that is sent as a DBR type."""
        return self.count if self._told else min(self.count, self._whole.most(dbr_type))

    def put(self, values: Any, callback: bool, asked: float | None = None) -> Any:
        """Carry out a client's put; return what to wait for if it takes time. Raises Refused."""
        return self._whole.put(values, callback, asked)

    def text(self, value: Any) -> str:
        """Return one value as text."""
        if self._told:
            return value if isinstance(value, str) else dbr.text_of(value, _PRECISION)
        return self._whole.text(value)

    def properties(self) -> Any:
        """Return units, limits and words."""
        return self._whole.properties()

    def stamp(self) -> float:
        """Return the time stamp in seconds since 1970 UTC: with ``ts`` that of the update."""
        now = self._filters.ts is not None and not self._told
        return time.time() if now else self._whole.stamp()

    def passes(self, memory: dict[str, Any], mask: int) -> bool:
        """Return True if an update is to be sent: the first and an alarm always, else what all filters let pass.

        As in base each filter sees what those before it let pass, in the order of the name.
        """
        lets = bool(mask & (ALARM | PROPERTY)) or "began" not in memory
        memory["began"] = True
        return all(self._lets_pass(name, memory, lets) for name in self._filters.order)

    def _lets_pass(self, name: str, memory: dict[str, Any], lets: bool) -> bool:
        filters = self._filters
        if name == "dbnd" and filters.dbnd is not None:
            return self._leaves(*filters.dbnd, memory, lets)
        if name == "dec" and filters.dec is not None:
            return self._counted(filters.dec, memory, lets)
        return name != "utag" or filters.utag is None or lets or filters.utag[1] == 0

    def _leaves(self, mode: str, band: float, memory: dict[str, Any], lets: bool) -> bool:
        """Return True if the value has left the deadband around the last that was sent."""
        values = self._piece()
        if len(values) != 1 or isinstance(values[0], str):
            memory.pop("last", None)  # it is not what was sent last any more
            return True
        last = memory.get("last")
        width = band if mode == "abs" or last is None else abs(last) * band / 100
        if not lets and last is not None and not beyond(values[0], last, width):
            return False
        memory["last"] = values[0]
        return True

    def _counted(self, number: int, memory: dict[str, Any], lets: bool) -> bool:
        """Return True for the first of ``number`` updates."""
        count = memory.get("count", 0)
        memory["count"] = (count + 1) % number
        return lets or count == 0

    def _time(self) -> tuple[float | str, ...]:
        """Return the time stamp in place of the value (ts.c)."""
        ts, moment = self._filters.ts or {}, self._whole.stamp()
        seconds, nanoseconds = dbr.stamp(moment)
        if "str" in ts:
            local = time.localtime(seconds + dbr.EPICS_EPOCH)
            return (time.strftime(_FORMATS[ts["str"]], local).format(nanoseconds // 1000),)
        whole = float(seconds + (dbr.EPICS_EPOCH if ts.get("epoch") == "unix" else 0))
        told = {"sec": (whole,), "nsec": (float(nanoseconds),), "dbl": (whole + nanoseconds / 1e9,)}
        return told.get(self._told, (whole, float(nanoseconds)))
