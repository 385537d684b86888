"""Answers that are made in threads and sent as they are read: in bounded memory, to a bounded number of readers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from archiver.storage.database import open_reader
from archiver.storage.store import Reader, StoreError
from web.retrieval.names import Names, PatternError
from web.retrieval.request import BadRequest
from web.retrieval.source import Gone

# Threads that read the archive; answers that are being read, each with some MB; seconds that one more waits for them.
THREADS, OPEN, WAIT_S = 12, 48, 20.0
# Seconds after which the log has again why the archive cannot be read
AGAIN_S = 60.0
# Seconds in which an answer has to be read
LONGEST_S = 900.0

log = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True)
class Archive:
    """An archive that answers: its URL, the names in it, and what reads it."""

    database: str
    names: Names
    readers: Readers

    def open(self) -> closing[Reader]:
        """Return a reader, as a context; of one thread."""
        return closing(open_reader(self.database))


class Readers:
    """The threads that read the archive, and how many answers there are at a time."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, "archive")
        self._free = asyncio.Semaphore(OPEN)
        self._told, self._told_at = "", 0.0

    async def value(self, make: Callable[[], _T]) -> _T:
        """Return what a function returns that reads the archive. Raises HTTPException."""
        await self._take()
        try:
            return await self._run(make)
        finally:
            self._free.release()

    async def stream(self, make: Callable[[threading.Event], Iterator[bytes]], media_type: str) -> Response:
        """Return an answer that is made step by step; the event is set when nobody waits any more.

        Raises HTTPException for what is found wrong before the first bytes; later the connection is cut.
        """
        await self._take()
        gone = threading.Event()
        steps = _Steps(make(gone))

        def close() -> None:
            gone.set()
            self._pool.submit(steps.close)
            self._free.release()

        async def body(chunk: bytes | None) -> AsyncIterator[bytes]:
            while chunk is not None:
                yield chunk
                try:
                    chunk = await self._run(steps.next)
                except HTTPException as error:
                    raise _Cut(error.detail) from None

        try:
            first = await self._run(steps.next)
        except BaseException:
            close()
            raise
        return _Streamed(body(first), close, media_type)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _take(self) -> None:
        try:
            await asyncio.wait_for(self._free.acquire(), WAIT_S)
        except TimeoutError:
            raise HTTPException(
                503, "too many are reading the archive: try again later", headers={"Retry-After": "10"}
            ) from None

    async def _run(self, make: Callable[[], _T]) -> _T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, make)
        except (BadRequest, PatternError) as error:
            raise HTTPException(400, str(error)) from None
        except StoreError as error:
            self._tell(str(error))
            raise HTTPException(503, f"the archive cannot be read now: {error}") from None

    def _tell(self, error: str) -> None:
        """Log that the archive cannot be read, not with each request of those that ask again and again."""
        now = time.monotonic()
        if error != self._told or now > self._told_at + AGAIN_S:
            self._told, self._told_at = error, now
            log.warning("%s", error)


class _Cut(Exception):
    """The answer cannot be completed."""


class _Streamed(StreamingResponse):
    """An answer that is closed however it ends, also if nobody ever read it."""

    def __init__(self, body: AsyncIterator[bytes], close: Callable[[], None], media_type: str) -> None:
        super().__init__(body, media_type=media_type)
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(LONGEST_S):
                await super().__call__(scope, receive, send)
        except TimeoutError:
            log.warning("an answer was not read within %g s and was given up", LONGEST_S)
        except _Cut as error:
            log.warning("an answer was cut: %s", error)
        finally:
            self._close()


class _Steps:
    """An iterator that is used by one thread at a time, whichever."""

    def __init__(self, iterator: Iterator[bytes]) -> None:
        self._lock = threading.Lock()
        self._iterator = iterator

    def next(self) -> bytes | None:
        """Return the next bytes, None at the end."""
        with self._lock, contextlib.suppress(Gone):
            return next(self._iterator, None)
        return None

    def close(self) -> None:
        """End the iterator, which closes what it has open."""
        with self._lock:
            close = getattr(self._iterator, "close", None)
            if close is not None:
                close()
