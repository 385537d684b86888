"""The puts of one client: from the bytes to the instrument, and the answer when that is done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from drivers.base import Array, DeviceError
from ioc import faults
from ioc.ca import dbr
from ioc.ca.message import BAD_COUNT, BAD_TYPE, NO_WRITE_ACCESS, NORMAL, PUT_FAIL
from ioc.ca.subscription import Channel
from ioc.ca.view import View

# Seconds that a read waits for the put without callback before it, so that ``caput`` shows the new value
PUT_PATIENCE = 0.3

Answer = Callable[[int, str], None]


class PutError(Exception):
    """A put that is wrong in itself, with its status code."""

    def __init__(self, status_code: int, reason: str) -> None:
        super().__init__(reason)
        self.status_code = status_code


class Puts:
    """Puts under way; ``done`` is called after each answer that comes later than its request."""

    def __init__(self, done: Callable[[], None]) -> None:
        self._done = done
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(
        self, view: View, dbr_type: int, count: int, payload: bytes, answer: Answer, *, callback: bool
    ) -> asyncio.Task[None] | None:
        """Begin a put; ``answer`` gets a status and the reason, now (None is returned) or when the task ends."""
        try:
            waiting = _begin(view, dbr_type, count, payload, callback)
        except (DeviceError, PutError) as error:
            answer(getattr(error, "status_code", PUT_FAIL), str(error))
            return None
        except Exception as error:
            answer(PUT_FAIL, _fault(view, error))
            return None
        if waiting is None:
            answer(NORMAL, "")
            return None
        return self._create_task(self._finish(view, waiting, answer))

    def then(self, channel: Channel, read: Callable[[], None]) -> None:
        """Answer a read; not before the client's own put without callback is done, if that is soon."""
        putting = channel.putting
        if putting is None or putting.done():
            read()
        else:
            self._create_task(self._wait(channel, putting, read))

    async def _wait(self, channel: Channel, putting: asyncio.Task[None], read: Callable[[], None]) -> None:
        await asyncio.wait([putting], timeout=PUT_PATIENCE)
        if channel.putting is putting:
            channel.putting = None
        read()
        self._done()

    async def _finish(self, view: View, waiting: Awaitable[None], answer: Answer) -> None:
        """Wait for the instrument; a client that has left meanwhile is not answered, but its put is carried out."""
        try:
            await waiting
        except DeviceError as error:
            answer(PUT_FAIL, str(error))
        except asyncio.CancelledError:
            answer(PUT_FAIL, f"the put was given up, but may have been carried out: {view.record.name}")
        except Exception as error:
            answer(PUT_FAIL, _fault(view, error))
        else:
            answer(NORMAL, "")
        self._done()

    def _create_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task; the event loop itself keeps no hold of it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _begin(view: View, dbr_type: int, count: int, payload: bytes, callback: bool) -> Awaitable[None] | None:
    name = view.record.name
    if dbr_type in {dbr.PUT_ACKT, dbr.PUT_ACKS}:
        (value,) = _decoded(name, dbr.ENUM, 1, payload)
        view.owner.acknowledge(view.record, "ACKT" if dbr_type == dbr.PUT_ACKT else "ACKS", int(value))
        return None
    if not view.writable:
        raise PutError(NO_WRITE_ACCESS, f"{name} cannot be written")
    if dbr_type > dbr.DOUBLE:
        raise PutError(BAD_TYPE, f"{name} cannot be written with data type {dbr_type}")
    if not 0 < count <= max(view.count, 1):
        raise PutError(BAD_COUNT, f"{name} takes {view.count} values at most, not {count}")
    return view.put(_decoded(name, dbr_type, count, payload), callback)


def _fault(view: View, error: Exception) -> str:
    """Return what a client is told of a put that ended in a fault of the program."""
    faults.log_once("a put", view.record.name, error)
    return f"internal error, see the log; it may have been carried out: {view.record.name}"


def _decoded(name: str, dbr_type: int, count: int, payload: bytes) -> Array:
    try:
        return dbr.decode(dbr_type, count, payload)
    except ValueError as error:
        raise PutError(BAD_COUNT, f"{name}: {error}") from None
