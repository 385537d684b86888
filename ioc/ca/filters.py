"""Names with a channel filter (``PV.VAL{"dbnd":{"abs":5}}``, ``PV.VAL[0:3]``): read by caproto, applied to a view.

This file and ``server.py`` are the only ones that import caproto.
"""

from __future__ import annotations

import time
from typing import Any

import caproto as ca

from ioc.ca.view import Values, View
from ioc.record import ALARM, PROPERTY, beyond

_MARKS = (b"{", b"[")
_ALWAYS, _NEVER = {"unless"}, {"before", "first", "while", "last", "after"}


def has_filter(name: bytes) -> bool:
    """Return True for a name that asks for a filter."""
    return any(mark in name for mark in _MARKS)


def split(name: str) -> tuple[str, ca.ChannelFilter]:
    """Return the name without its filter, and the filter; ValueError for one that makes no sense."""
    try:
        parts = ca.parse_record_field(name)
        found = ca.parse_channel_filter(parts.modifiers.filter_)
        _check(found)
    except Exception as error:  # whatever a network sends: a name that nobody has
        raise ValueError(f"{name}: {error}") from error
    long_string = "$" if ca.RecordModifiers.long_string in parts.modifiers.modifiers else ""
    return f"{parts.record}.{parts.field or 'VAL'}{long_string}", found


class FilteredView(View):
    """A view through a filter: a piece of an array (arr), the time of the update (ts), what leaves a deadband (dbnd).

    sync passes updates by the state of a server; this one has none, so only "unless" passes any.
    """

    __slots__ = ("_filter", "_whole")

    scalar_double = False
    remembers = True

    def __init__(self, whole: View, channel_filter: ca.ChannelFilter) -> None:
        self.record = whole.record
        self.owner = whole.owner
        self.native = whole.native
        self._whole = whole
        self._filter = channel_filter

    @property
    def count(self) -> int:
        """Return the most elements that there can be."""
        return self._whole.count

    @property
    def writable(self) -> bool:
        """Return True if clients may write."""
        return self._whole.writable

    @property
    def field_name(self) -> str:
        """Return the name of a field other than the value; "" for the value."""
        return self._whole.field_name

    def values(self) -> Values:
        """Return the values of now, with ``arr`` a piece of them."""
        values = self._whole.values()
        arr = self._filter.arr
        if arr is None:
            return values
        end = None if arr.e in {None, -1} else arr.e + 1
        return values[arr.s : end : arr.i]

    def values_for(self, dbr_type: int, count: int) -> Values:
        """Return at most ``count`` values (0: all) to be sent as a DBR type."""
        if self._filter.arr is None:
            return self._whole.values_for(dbr_type, count)
        return super().values_for(dbr_type, count)

    def most(self, dbr_type: int) -> int:
        """Return the largest number of values that is sent as a DBR type."""
        return self._whole.most(dbr_type)

    def put(self, values: Any, callback: bool) -> Any:
        """Carry out a client's put; return what to wait for if it takes time. Raises Refused."""
        return self._whole.put(values, callback)

    def text(self, value: Any) -> str:
        """Return one value as text."""
        return self._whole.text(value)

    def properties(self) -> Any:
        """Return units, limits and words."""
        return self._whole.properties()

    def stamp(self) -> float:
        """Return the time stamp in seconds since 1970 UTC: with ``ts`` that of the update."""
        return time.time() if self._filter.ts else self._whole.stamp()

    def passes(self, last: Any, mask: int) -> bool:
        """Return True if an update is to be sent: an alarm always; a value that left the deadband around the last."""
        sync, dbnd = self._filter.sync, self._filter.dbnd
        if sync is not None and sync.m in _NEVER:
            return False
        values = self.values()
        if dbnd is None or mask & (ALARM | PROPERTY) or len(values) != 1 or isinstance(values[0], str) or not last:
            return True
        band = dbnd.d if dbnd.m == "abs" else abs(last[0]) * dbnd.d / 100
        return beyond(values[0], last[0], band)


def _check(found: ca.ChannelFilter) -> None:
    """Refuse what caproto accepts although it means nothing. Raises ValueError."""
    if found.arr is not None:
        for part in found.arr:
            if part is not None and not isinstance(part, int):
                raise ValueError(f"{part!r} is not an index")
        if found.arr.i is not None and found.arr.i < 1:
            raise ValueError("the step of the filter arr must be 1 or more")
    if found.dbnd is not None and (found.dbnd.m not in {"abs", "rel"} or not found.dbnd.d >= 0):
        raise ValueError("the filter dbnd needs abs or rel, with a deadband of 0 or more")
    if found.sync is not None and found.sync.m not in _ALWAYS | _NEVER:
        raise ValueError(f"{found.sync.m!r} is not a mode of the filter sync")
