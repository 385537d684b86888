"""Between Channel Access and the database: what has come in and is not yet committed."""

import asyncio
import logging
from collections import deque

from archiver.sample import Metadata, Sample
from archiver.store import Store, StoreError

LIMIT = 1_000_000
"""Samples that wait in memory while the database is away, about 200 MB; then the oldest go."""

log = logging.getLogger(__name__)


class Writer:
    """Collects samples on the event loop and commits them in a thread, one batch at a time.

    A batch is kept until its commit has returned, and sent again after an error: the store takes a sample once.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queue: deque[Sample] = deque()
        self._batch: list[Sample] = []
        self._metadata: dict[str, Metadata] = {}
        self._error = ""
        self.lost = 0

    def add(self, sample: Sample) -> None:
        self._queue.append(sample)
        if len(self._queue) > LIMIT:
            self._drop_oldest()

    def describe(self, pv: str, metadata: Metadata) -> None:
        self._metadata[pv] = metadata

    async def flush(self) -> None:
        """Commit what waits; if the database cannot, keep it for the next time."""
        self._batch = self._batch or self._take()
        metadata = dict(self._metadata)
        try:
            if metadata:
                await asyncio.to_thread(self._store.describe, metadata)
                self._metadata = {pv: m for pv, m in self._metadata.items() if metadata.get(pv) is not m}
            if self._batch:
                await asyncio.to_thread(self._store.add, self._batch)
                self._batch = []
        except StoreError as error:
            self._report(str(error))
        else:
            self._report("")

    async def close(self) -> None:
        """The last commits, of a batch kept after an error and of the rest; what they cannot store is lost."""
        await self.flush()
        await self.flush()
        if waiting := len(self._batch) + len(self._queue):
            raise StoreError(f"{self._error}; {waiting} samples are lost")

    def _drop_oldest(self) -> None:
        if not self.lost:
            log.error("memory for samples is full: from now on the oldest are lost")
        self._queue.popleft()
        self.lost += 1

    def _take(self) -> list[Sample]:
        batch = list(self._queue)
        self._queue.clear()
        return batch

    def _report(self, error: str) -> None:
        """An error that goes on is said once, and so is its end."""
        if error and error != self._error:
            log.error("%s; samples wait in memory (at most %d)", error, LIMIT)
        elif self._error and not error:
            log.info("the database takes samples again; %d were lost", self.lost)
        self._error = error
