"""Gets of PVs (ca_array_get_callback), each time anew, over channels that stay connected."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from archiver.ca import dbr
from archiver.ca.libca import NORMAL, NOT_CONNECTED, Context
from archiver.ca.listener import PvUpdate

# Called once with the values of the PVs that answered.
Deliver = Callable[[Mapping[str, PvUpdate]], None]


class Getter:
    """The channels of the PVs that were read once, and the requests for several of them together."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._pvs: dict[str, _Pv] = {}

    def get(self, pvs: Iterable[str], deliver: Deliver, timeout: float) -> None:
        """Read PVs, as ``Client.get`` does."""
        request = _Request(deliver)
        for pv in dict.fromkeys(pvs):
            if pv not in self._pvs:
                self._pvs[pv] = _Pv(self._context, pv)
            self._pvs[pv].get(request)
        self._context.call_later(timeout if request.waiting else 0.0, request.end)


class _Request:
    """One call of ``Getter.get``; ``waiting``: the PVs that may still answer."""

    def __init__(self, deliver: Deliver) -> None:
        self.waiting: set[str] = set()
        self._updates: dict[str, PvUpdate] = {}
        self._deliver = deliver
        self._ended = False

    def receive(self, pv: str, update: PvUpdate | None) -> None:
        """Store the answer of a PV, None for an error; the last one ends the request."""
        if update and not self._ended:
            self._updates[pv] = update
        self.waiting.discard(pv)
        if not self.waiting:
            self.end()

    def end(self) -> None:
        """Deliver the answers, once."""
        if not self._ended:
            self._ended = True
            self._deliver(self._updates)


class _Pv:
    """The channel of one PV; ``_early`` holds the requests that came before its first connection."""

    def __init__(self, context: Context, pv: str) -> None:
        self._pv = pv
        self._native, self._size = NOT_CONNECTED, 0
        self._early: list[_Request] | None = []
        self._channel = context.channel(pv, self._connection)

    def get(self, request: _Request) -> None:
        """Read the PV for a request, unless it is disconnected."""
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
