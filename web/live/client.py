"""The thread of Channel Access: it keeps the newest state of each PV until the event loop takes it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from archiver.ca.libca import DISCONNECTED, Context
from web.live.channel import Channel, State

# Seconds of one turn: a request waits for so long at most.
POLL = 0.05

log = logging.getLogger(__name__)


class Client:
    """Channels that are opened and closed by name; all methods are called by the event loop, after ``start``.

    Memory is bounded by the number of channels: of what comes between two calls of ``take`` the newest is kept.
    """

    def __init__(self) -> None:
        self._requests: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._channels: dict[str, Channel] = {}
        self._changed: dict[str, State] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="channel access")

    def start(self) -> None:
        """Start the thread."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def stop(self) -> None:
        """Close all channels and end the thread."""
        self._stop.set()
        self._thread.join()

    def open(self, names: Sequence[str]) -> None:
        """Open channels; of one that is open the state is told again."""
        self._requests.put(partial(self._open, names))

    def close(self, names: Sequence[str]) -> None:
        """Close channels."""
        self._requests.put(partial(self._close, names))

    def take(self) -> dict[str, State]:
        """Return the newest state of each PV that has changed since the last call."""
        with self._lock:
            changed, self._changed = self._changed, {}
        return changed

    async def server(self, name: str) -> str:
        """Return name and port of the server of a channel that is open; empty while it is not connected."""
        known: asyncio.Future[str] = self._loop.create_future()

        def look() -> None:
            channel = self._channels.get(name)
            self._tell(known, channel.server if channel else "")

        self._requests.put(look)
        return await known

    async def get(self, name: str) -> tuple[int, State]:
        """Read a channel that is open; return the ECA status and the state with the value that was read."""
        ended: asyncio.Future[tuple[int, State]] = self._loop.create_future()

        def get() -> None:
            if channel := self._channels.get(name):
                channel.get(lambda status, state: self._tell(ended, (status, state)))
            else:
                self._tell(ended, (DISCONNECTED, State()))

        self._requests.put(get)
        return await ended

    def _tell(self, ended: asyncio.Future[Any], result: Any) -> None:
        def tell() -> None:
            if not ended.done():
                ended.set_result(result)

        self._loop.call_soon_threadsafe(tell)

    def _open(self, names: Sequence[str]) -> None:
        for name in names:
            if name in self._channels:
                self._note(name, self._channels[name].state)
            else:
                self._channels[name] = Channel(self._context, name, partial(self._note, name))

    def _close(self, names: Sequence[str]) -> None:
        for name in names:
            if channel := self._channels.pop(name, None):
                channel.close()
                with self._lock:
                    self._changed.pop(name, None)

    def _note(self, name: str, state: State) -> None:
        with self._lock:
            self._changed[name] = state

    def _run(self) -> None:
        try:
            self._context = Context()
            while not self._stop.is_set():
                self._context.poll(POLL)
                self._answer()
            self._context.close()
        except Exception:
            # without this thread every value on every screen would be an old one: end, to be started again
            log.exception("Channel Access has failed: the web server ends")
            os.kill(os.getpid(), signal.SIGTERM)

    def _answer(self) -> None:
        while True:
            try:
                request = self._requests.get_nowait()
            except Empty:
                return
            request()
