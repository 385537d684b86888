"""Reading PVs now and then, each time anew, over channels that stay."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from archiver.ca import dbr
from archiver.ca.libca import NORMAL, NOT_CONNECTED, Context
from archiver.ca.listener import PvUpdate

Deliver = Callable[[Mapping[str, PvUpdate]], None]


class Getter:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._pvs: dict[str, _Pv] = {}

    def get(self, pvs: Iterable[str], deliver: Deliver, timeout: float) -> None:
        """See ``Client.get``."""
        request = _Request(deliver)
        for pv in dict.fromkeys(pvs):
            if pv not in self._pvs:
                self._pvs[pv] = _Pv(self._context, pv)
            self._pvs[pv].get(request)
        self._context.call_later(timeout if request.waiting else 0.0, request.end)


class _Request:
    """One call of ``Getter.get``; `waiting`: the PVs that may still answer."""

    def __init__(self, deliver: Deliver) -> None:
        self.waiting: set[str] = set()
        self._updates: dict[str, PvUpdate] = {}
        self._deliver = deliver
        self._ended = False

    def receive(self, pv: str, update: PvUpdate | None) -> None:
        if update and not self._ended:
            self._updates[pv] = update
        self.waiting.discard(pv)
        if not self.waiting:
            self.end()

    def end(self) -> None:
        if not self._ended:
            self._ended = True
            self._deliver(self._updates)


class _Pv:
    """One PV."""

    def __init__(self, context: Context, pv: str) -> None:
        self._pv = pv
        self._native, self._size = NOT_CONNECTED, 0
        self._early: list[_Request] | None = []  # before the first connection
        self._channel = context.channel(pv, self._connection)

    def get(self, request: _Request) -> None:
        if self._native != NOT_CONNECTED:
            request.waiting.add(self._pv)
            self._get(request)
        elif self._early is not None:
            request.waiting.add(self._pv)
            self._early.append(request)

    def _connection(self, native: int, size: int) -> None:
        self._native, self._size = native, size
        if native != NOT_CONNECTED:
            for request in self._early or ():
                self._get(request)
            self._early = None

    def _get(self, request: _Request) -> None:
        decode = dbr.decoder(self._native, self._size)

        def receive(status: int, data: bytes) -> None:
            request.receive(self._pv, decode(data) if status == NORMAL else None)

        self._channel.get(dbr.TIME + self._native, 1 if self._size == 1 else 0, receive)
