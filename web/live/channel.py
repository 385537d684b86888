"""One PV over Channel Access: its newest metadata, value and rights, whatever comes in whatever order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from archiver.ca import dbr
from archiver.ca.calls import LOST
from archiver.ca.libca import ALARM, DISCONNECTED, NORMAL, NOT_CONNECTED, PROPERTY, VALUE, Context

# Seconds after which a PV is tried again that its IOC could not tell.
RETRY = 2.0


class State(NamedTuple):
    """What is known of a PV.

    native     the type of its field, or NOT_CONNECTED
    size       for how many values there is room
    metadata   a CTRL structure (archiver.ca.dbr), empty for a text and while it is not known
    value      a TIME structure, empty while it is not known
    writable   whether its IOC lets this program put
    """

    native: int = NOT_CONNECTED
    size: int = 0
    metadata: bytes = b""
    value: bytes = b""
    writable: bool = False

    @property
    def known(self) -> bool:
        """Return whether there is a value, and all that belongs to it."""
        return bool(self.value) and (bool(self.metadata) or self.native == dbr.STRING)


class Channel:
    """The channel of one PV with its two subscriptions; it belongs to the thread of its context.

    ``changed`` is called with the state after each change.
    """

    def __init__(self, context: Context, name: str, changed: Callable[[State], None]) -> None:
        self._context = context
        self._changed = changed
        self._failed = False
        self.state = State()
        self._channel = context.channel(name, self._connection)
        self._channel.watch_access(self._access)

    def close(self) -> None:
        """End the subscriptions and the search for the PV."""
        self._channel.close()

    @property
    def server(self) -> str:
        """Return name and port of the server that has the PV; empty while it is not connected."""
        return "" if self.state.native == NOT_CONNECTED else self._channel.host

    def get(self, done: Callable[[int, State], None]) -> None:
        """Read the value anew; ``done`` is called once with the ECA status and the state with that value."""
        state = self.state
        if state.native == NOT_CONNECTED:
            done(DISCONNECTED, state)
        else:
            self._channel.get(
                dbr.TIME + state.native, 0, lambda status, data: done(status, state._replace(value=data))
            )

    def _connection(self, native: int, size: int) -> None:
        self._set(State(native, size, writable=native != NOT_CONNECTED and self._channel.access[1]))
        if native == NOT_CONNECTED:
            self._channel.unregister_handlers()
        else:
            self._open()

    def _access(self, read: int, write: int) -> None:
        if self.state.native == NOT_CONNECTED:
            return
        self._set(self.state._replace(writable=bool(write)))
        if read and self._failed:
            self._open()

    def _open(self) -> None:
        self._failed = False
        native, size = self.state.native, self.state.size
        self._channel.unsubscribe()
        if native != dbr.STRING:
            self._channel.subscribe(dbr.CTRL + native, 1, PROPERTY, self._metadata)
        self._channel.subscribe(dbr.TIME + native, 1 if size == 1 else 0, VALUE | ALARM, self._value)

    def _metadata(self, status: int, data: bytes) -> None:
        if status == NORMAL:
            self._set(self.state._replace(metadata=data))
        else:
            self._fail(status)

    def _value(self, status: int, data: Any) -> None:
        if status == LOST:
            self._set(self.state._replace(value=data.last))
        elif status == NORMAL:
            self._set(self.state._replace(value=data))
        else:
            self._fail(status)

    def _fail(self, status: int) -> None:
        """Show no value that its IOC does not let us read, or cannot; try again later."""
        if status == DISCONNECTED:
            return
        self._set(self.state._replace(value=b""))
        if not self._failed:
            self._failed = True
            self._context.call_later(RETRY, self._retry)

    def _retry(self) -> None:
        if self._failed and self.state.native != NOT_CONNECTED:
            self._open()

    def _set(self, state: State) -> None:
        self.state = state
        self._changed(state)
