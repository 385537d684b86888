"""A view through channel filters: a piece of an array, the time in place of the value, updates left out."""

from __future__ import annotations

import math
import time
from typing import Any

from drivers.base import RecordType
from ioc.ca import dbr
from ioc.ca.filterspec import Filters, Slice
from ioc.ca.view import Values, View
from ioc.record import ALARM, PROPERTY, beyond

# Digits of a time in seconds as text
_PRECISION = 6
_FORMATS = {"epics": "%Y-%m-%d %H:%M:%S.{:06.0f}", "iso": "%Y-%m-%dT%H:%M:%S.{:06.0f}%z"}


class FilteredView(View):
    """A view through filters. An alarm passes all that leave updates out, so that what is shown stays true."""

    __slots__ = ("_banded", "_filters", "_slice", "_told", "_whole", "field_name")

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
        # The time takes the place of a piece before it, too
        replaced = self._told and filters.arr and filters.order.index("arr") < filters.order.index("ts")
        self._slice = None if replaced else filters.arr
        # As in base, where an array, however short, and a text pass every deadband
        array = whole.record.point.rtyp is RecordType.waveform and not whole.field_name
        self._banded = not array and whole.count == 1 and whole.native != dbr.STRING

    @property
    def count(self) -> int:
        """Return the most elements that there can be."""
        return len(self._cut.of(self._uncut)) if self._cut else self._uncut

    @property
    def _uncut(self) -> int:
        """Return the most elements of which a piece may be cut out: of a pair of seconds and nanoseconds, too."""
        if self._told:
            return 2 if self._told == "ts" else 1
        return self._whole.count

    @property
    def _cut(self) -> Slice | None:
        return self._slice if self._uncut > 1 else None

    @property
    def padded(self) -> bool:  # type: ignore[override]
        """Return True if zeros may follow what there is of the values: not in a piece, where they would be values."""
        return not self._cut

    @property
    def writable(self) -> bool:
        """Return True if clients may write."""
        return self._whole.writable

    def values(self) -> Values:
        """Return the values of now, or their time, or the piece of either."""
        values = self._time() if self._told else self._whole.values()
        if not self._cut:
            return values
        piece = self._cut.of(len(values))
        return values[piece.start : piece.stop : piece.step]

    def values_for(self, dbr_type: int, count: int) -> Values:
        """Return at most ``count`` values (0: all) to be sent as a DBR type."""
        if self._told or self._cut:
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
        """Return True if the value has left the deadband around the last that did, or if the update passes anyway.

        As in base (dbnd.c) an alarm passes without moving the deadband, and the width of a relative one is a part of
        the value with its sign: where it is negative each change passes.
        """
        if not self._banded:
            return True
        value = float(self._whole.values()[0])
        if beyond(value, memory.get("last", math.nan), memory.get("width", band)):
            memory["last"] = value
            lets = True
        if lets and mode == "rel":
            memory["width"] = value * band / 100
        return lets

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
