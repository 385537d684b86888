"""A Channel Access client: PVs with a subscription for archivers, and PVs that are read now and then."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from archiver.ca import dbr, libca
from archiver.ca.calls import LOST, CallQueue, Dropped, Overflow
from archiver.ca.getter import Getter
from archiver.ca.libca import ALARM, DISCONNECTED, LOG, NORMAL, NOT_CONNECTED, PROPERTY
from archiver.ca.listener import PvListener, PvUpdate
from archiver.sample import Metadata

# Seconds after which a PV that its IOC does not let us read is tried again.
RETRY_PERIOD = 2.0
# Seconds after which a text that is not connected is logged.
NOT_FOUND = 10.0

log = logging.getLogger(__name__)


class Client:
    """The Channel Access client of one thread, which makes it and polls it: all callbacks are called by ``poll``.

    ``overflow``: where updates wait for which there is no room in memory.
    """

    def __init__(self, overflow: Overflow | None = None) -> None:
        self._context = libca.Context(overflow)
        self._subscriptions: dict[str, _Subscription] = {}
        self._getter = Getter(self._context)

    @property
    def connected(self) -> int:
        """Return how many of the subscribed PVs are connected and can be read."""
        return sum(pv.connected for pv in self._subscriptions.values())

    @property
    def waiting(self) -> CallQueue:
        """Return the queue of what libca has brought and what has not been processed."""
        return self._context.queue

    @property
    def total(self) -> int:
        """Return how many PVs are subscribed to."""
        return len(self._subscriptions)

    def subscribe(self, pv: str, listener: PvListener) -> None:
        """Subscribe to a PV until ``close``. A PV that is subscribed to already keeps its listener."""
        if pv not in self._subscriptions:
            self._subscriptions[pv] = _Subscription(self._context, pv, listener)

    def unsubscribe(self, pv: str) -> None:
        """End the subscription to a PV; its listener is not called any more."""
        if subscription := self._subscriptions.pop(pv, None):
            subscription.close()

    def states(self) -> dict[str, str]:
        """Return whether each PV that is subscribed to is ``connected``, ``lost``, or was ``never`` connected."""
        return {pv: each.state for pv, each in self._subscriptions.items()}

    def never_connected(self, seconds: float = 0.0) -> list[str]:
        """Return the PVs that have been searched for so long and not been connected once."""
        since = time.monotonic() - seconds
        return [pv for pv, each in self._subscriptions.items() if not each.known and each.since <= since]

    def subscribe_text(self, pv: str, changed: Callable[[str], None]) -> None:
        """Call ``changed`` with the whole of a long text (X:List.VAL$, an array of CHAR), now and when it changes."""
        text = _Subscription(self._context, pv, _Text(changed))

        def warn() -> None:
            if not text.connected:
                log.warning(
                    "%s is not connected after %g s: until it is, PVs that are given by a glob are not archived",
                    pv,
                    NOT_FOUND,
                )

        self._context.call_later(NOT_FOUND, warn)

    def get(
        self, pvs: Sequence[str], deliver: Callable[[Mapping[str, PvUpdate]], None], timeout: float = 5.0
    ) -> None:
        """Call ``deliver`` once with the present values: when all PVs have answered, or after ``timeout`` (s).

        PVs that do not answer are missing in it. A PV that is disconnected is left out at once; one that was never
        connected is waited for.
        """
        self._getter.get(pvs, deliver, timeout)

    def poll(self, seconds: float, has_room: Callable[[], bool] = lambda: True) -> None:
        """Process events for so many seconds; what comes while ``has_room`` is false waits."""
        self._context.poll(seconds, has_room)

    def finish(self, has_room: Callable[[], bool]) -> int:
        """Process what has come, as soon as ``has_room`` is true; no callback is called any more.

        Return until when all that came was processed (ns since 1970).
        """
        return int(self._context.finish(has_room) * 1e9)

    def close(self) -> None:
        """Process what has come, unless that is finished, and disconnect; an IOC that stands still holds it up."""
        self._context.close()


class _Subscription:
    """The subscriptions to one PV: new ones for each connection, of the type and size that the PV has now.

    The first answer to the subscription for metadata opens the one for values, so that metadata come before values;
    text has none.
    """

    def __init__(self, context: libca.Context, pv: str, listener: PvListener) -> None:
        self._context = context
        self._pv = pv
        self._listener = listener
        self._warned: set[str] = set()
        self._native, self._size = NOT_CONNECTED, 0
        self._metadata = Metadata()
        self._failed = False
        self._before_ns = self._newest_ns = 0  # the stamps of the last two updates of this connection
        self.connected = False
        self.known = False  # it was connected once
        self.since = time.monotonic()
        self._channel = context.channel(pv, self._connection)

    @property
    def state(self) -> str:
        """Return ``connected``, ``lost`` or ``never`` (connected)."""
        return "connected" if self.connected else "lost" if self.known else "never"

    def close(self) -> None:
        """End the subscriptions and the search for the PV."""
        self._channel.close()

    def _connection(self, native: int, size: int) -> None:
        self._disconnect()
        self._native, self._size = native, size
        if native != NOT_CONNECTED:
            self._open()

    def _open(self) -> None:
        self._failed = False
        self._channel.unsubscribe()
        if dbr.is_text(self._native, self._size):
            self._open_values()
        else:
            self._channel.subscribe(dbr.CTRL + self._native, 1, PROPERTY, self._property)

    def _open_values(self) -> None:
        size = 1 if self._size == 1 else 0
        self._decode = dbr.decoder(self._native, self._size)
        self._channel.subscribe(dbr.TIME + self._native, size, LOG | ALARM, self._value)

    def _property(self, status: int, data: bytes) -> None:
        if status != NORMAL:
            self._fail(status)
            return
        metadata = dbr.metadata(self._native, data)
        if not self.connected:
            self._connect()
            self._open_values()
        elif metadata == self._metadata:
            return
        self._metadata = metadata
        self._listener.metadata_changed(metadata)

    def _value(self, status: int, data: Any) -> None:
        if status == LOST:
            self._lost(data)
            return
        if status != NORMAL:
            self._fail(status)
            return
        if not self.connected:
            self._connect()
        if update := self._decode(data):
            if self._newest_ns < self._context.standstill.until_ns:
                self._look(update.stamp_ns)
            self._before_ns, self._newest_ns = self._newest_ns, update.stamp_ns
            self._listener.update(update)

    def _look(self, stamp_ns: int) -> None:
        """Pass on that updates before this one may have been merged while this process stood still."""
        if since_ns := self._context.standstill.missing(self._before_ns, self._newest_ns, stamp_ns):
            self._listener.lost(since_ns)

    def _lost(self, dropped: Dropped) -> None:
        """Pass on that updates were dropped; the last of them is in force."""
        if dropped.more:
            self._listener.lost(dbr.stamp_ns(dropped.first))
        self._value(NORMAL, dropped.last)

    def _connect(self) -> None:
        self.connected = self.known = True
        self._before_ns = self._newest_ns = 0
        log.debug("%s is connected", self._pv)
        self._listener.connected()

    def _disconnect(self) -> None:
        for dropped in self._channel.unregister_handlers():
            self._lost(dropped)
        if self.connected:
            self.connected = False
            log.debug("%s is disconnected", self._pv)
            self._listener.disconnected()

    def _fail(self, status: int) -> None:
        """Try again later: the IOC does not let us read the PV, or cannot."""
        if status == DISCONNECTED:
            return
        warning = libca.message(status)
        if warning not in self._warned:
            self._warned.add(warning)
            log.warning(
                "%s cannot be read: %s; trying again every %g s, not archived until then",
                self._pv,
                warning,
                RETRY_PERIOD,
            )
        self._disconnect()
        self._failed = True
        self._context.call_later(RETRY_PERIOD, self._retry)

    def _retry(self) -> None:
        if self._failed and self._native != NOT_CONNECTED:
            self._open()


class _Text:
    """A listener that passes on a text and nothing else."""

    def __init__(self, changed: Callable[[str], None]) -> None:
        self._changed = changed

    def connected(self) -> None:
        """Do nothing."""

    def metadata_changed(self, metadata: Metadata) -> None:
        """Do nothing: a text has no metadata."""

    def update(self, update: PvUpdate) -> None:
        """Pass on the text."""
        self._changed(str(update.value))

    def lost(self, since_ns: int) -> None:
        """Do nothing: the last text follows."""

    def disconnected(self) -> None:
        """Do nothing: the last text holds until there is a new one."""
