"""Reading PVs now and then, each time anew, over channels that stay."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from archiver.ca import dbr
from archiver.ca.libca import NORMAL, NOT_CONNECTED, Context
from archiver.ca.listener import Update

Deliver = Callable[[Mapping[str, Update]], None]


class Reader:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._readable: dict[str, _Readable] = {}

    def read(self, pvs: Iterable[str], deliver: Deliver, timeout: float) -> None:
        """See `Client.read`."""
        reading = _Reading(deliver)
        for pv in dict.fromkeys(pvs):
            if pv not in self._readable:
                self._readable[pv] = _Readable(self._context, pv)
            self._readable[pv].read(reading)
        self._context.later(timeout if reading.waiting else 0.0, reading.end)


class _Reading:
    """One call of `Reader.read`; `waiting`: the PVs that may still answer."""

    def __init__(self, deliver: Deliver) -> None:
        self.waiting: set[str] = set()
        self._updates: dict[str, Update] = {}
        self._deliver = deliver
        self._ended = False

    def answer(self, pv: str, update: Update | None) -> None:
        if update and not self._ended:
            self._updates[pv] = update
        self.waiting.discard(pv)
        if not self.waiting:
            self.end()

    def end(self) -> None:
        if not self._ended:
            self._ended = True
            self._deliver(self._updates)


class _Readable:
    """One PV."""

    def __init__(self, context: Context, pv: str) -> None:
        self._pv = pv
        self._native, self._size = NOT_CONNECTED, 0
        self._early: list[_Reading] | None = []  # before the first connection
        self._channel = context.channel(pv, self._connection)

    def read(self, reading: _Reading) -> None:
        if self._native != NOT_CONNECTED:
            reading.waiting.add(self._pv)
            self._get(reading)
        elif self._early is not None:
            reading.waiting.add(self._pv)
            self._early.append(reading)

    def _connection(self, native: int, size: int) -> None:
        self._native, self._size = native, size
        if native != NOT_CONNECTED:
            for reading in self._early or ():
                self._get(reading)
            self._early = None

    def _get(self, reading: _Reading) -> None:
        decode = dbr.decoder(self._native, self._size)

        def answer(status: int, data: bytes) -> None:
            reading.answer(self._pv, decode(data) if status == NORMAL else None)

        self._channel.get(dbr.TIME + self._native, 1 if self._size == 1 else 0, answer)
