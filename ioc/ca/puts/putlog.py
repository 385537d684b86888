"""Who put what: a line of the log for each put of a client, and one for all that follow it within a second.

What EPICS's caPutLog writes: who, from which computer, the value before and the new one. A client gives its names
itself, so they are as true as in any Channel Access server.
"""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from ioc.ca import dbr
from ioc.ca.dbr import NotConvertible
from ioc.ca.view import Values, View
from ioc.numbers import written

log = logging.getLogger("rackioc.puts")

# Seconds in which the puts of a client to one PV are told in one line, that of the newest
BURST = 1.0
# Characters of a value, or of a name that a client gives itself
LONGEST = 60


class _Put(NamedTuple):
    """A put of which may be told: the values before and wanted, and what ``failed``, in words ("": nothing)."""

    view: View
    before: Values
    wanted: Values
    failed: str


@dataclass(slots=True)
class _Burst:
    """Puts that are not told yet: how many, and the newest."""

    count: int = 0
    newest: _Put | None = None


# PV -> the logs of the clients that have a put to it which is not told yet, in the order of these puts
Held = dict[str, dict["PutLog", None]]


class PutLog:
    """The log of one client's puts.

    ``address``: whence it is connected; ``user``, ``host``: the names that it gives itself and its computer;
    ``held``: what all clients of the server have to tell yet.
    """

    def __init__(self, address: str, held: Held) -> None:
        self.user = self.host = ""
        self._held = held
        self._address = address
        self._bursts: dict[str, _Burst] = {}

    def tell(self, view: View, before: Values, wanted: Values, failed: str) -> None:
        """Tell of a put that has ended: the values before and wanted, and what ``failed``, in words ("": nothing)."""
        pv = f"{view.record.name}.{view.field_name}" if view.field_name else view.record.name
        put = _Put(view, before, wanted, failed)
        if burst := self._bursts.get(pv):
            burst.count += 1
            burst.newest = put  # put into words if none comes behind it
            held = self._held.setdefault(pv, {})
            held.pop(self, None)
            held[self] = None
        else:
            self._release(pv)
            self._log(pv, put, 1)
            self._begin(pv)

    def _log(self, pv: str, put: _Put, count: int) -> None:
        """Log a put, the newest of so many."""
        user, computer, value = _clean(self.user) or "somebody", self._computer(), _shown(put.view, put.wanted)
        outcome = _printable(put.failed) or f"was {_shown(put.view, put.before)}"
        if count == 1:
            log.info("%s at %s put %s to %s (%s)", user, computer, value, pv, outcome)
        else:
            sentence = "%s at %s put %s to %s (%s), the newest of %d within %g s"
            log.info(sentence, user, computer, value, pv, outcome, count, BURST)

    def _begin(self, pv: str) -> None:
        """Hold those back that come soon."""
        self._bursts[pv] = _Burst()
        asyncio.get_running_loop().call_later(BURST, self._end, pv)

    def _end(self, pv: str) -> None:
        holds = self in self._held.get(pv, ())
        try:
            if holds:
                self._release(pv, self)
        finally:  # else nothing more would be told of this client's puts to the PV
            del self._bursts[pv]
        if holds:
            self._begin(pv)

    def _release(self, pv: str, last: PutLog | None = None) -> None:
        """Log what clients hold back, up to the ``last`` or all: the newest put of a PV is told behind all others."""
        held = self._held.get(pv, {})
        while held:
            client = next(iter(held))
            del held[client]
            burst = client._bursts[pv]
            put, count = burst.newest, burst.count
            burst.newest, burst.count = None, 0
            if put is not None:
                client._log(pv, put, count)
            if client is last:
                break
        if not held:
            self._held.pop(pv, None)

    def _computer(self) -> str:
        return _clean(self._address if self.host in {"", self._address} else f"{self.host} ({self._address})")


def _shown(view: View, values: Values) -> str:
    """Return a value with all digits or its word, characters as a text, and of an array how many values there are."""
    characters = view.native == dbr.STRING or (view.native == dbr.CHAR and view.count != 1)  # DISP is one number
    if characters and all(isinstance(each, int) for each in values):
        return _clean(bytes(int(each) & 0xFF for each in values).partition(b"\0")[0].decode("latin-1"))
    if len(values) != 1:
        return f"{len(values)} values"
    value, word = values[0], ""
    if view.native == dbr.ENUM and value in range(dbr.MAX_STATES):
        with suppress(NotConvertible):
            word = view.text(int(value))
    if isinstance(value, float):
        word = word or (f"{value:.15g}" if math.isfinite(value) else written(value))
    return _clean(word or str(value))


def _clean(text: str) -> str:
    """Return a text as a part of a line: cut, and without what would end it."""
    shown = _printable(text[:LONGEST])
    return shown if len(text) <= LONGEST else f"{shown}..."


def _printable(text: str) -> str:
    """Return a text without what would end its line, or move a terminal's cursor."""
    return "".join(each if each.isprintable() else "?" for each in text)
