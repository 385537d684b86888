"""The queue of samples in memory that are not committed yet; what is dropped when it is full is marked Overrun."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from archiver.recording.batch import Batch
from archiver.sample import Dated, Gap, Sample, gap_marker
from archiver.storage.store import TableRow

# Bytes of samples in memory; a sample takes SAMPLE_SIZE and what a text or an array has.
LIMIT = 250_000_000
SAMPLE_SIZE = 250

# Bytes of one batch, about: while it is stored or spooled it takes five times that, as rows, SQL, or JSON and what
# that is compressed to, and both may be done at once.
BATCH_SIZE = 8_000_000


@dataclass(slots=True)
class _Overrun:
    """The dropped samples of one PV: time of the first one, how many, and the last one, which is in force then."""

    first_ns: int
    count: int
    last: Sample


class Queue:
    """A queue that is filled by the thread of Channel Access and emptied by the writer's.

    lost         samples that were dropped since the start
    batch_size   bytes of a batch, about
    """

    def __init__(self, limit: int = LIMIT, batch_size: int = BATCH_SIZE) -> None:
        self._limit = limit
        self.batch_size = batch_size
        self._samples: deque[Sample] = deque()
        self._rows: deque[TableRow] = deque()
        self._metadata: deque[tuple[str, Dated]] = deque()
        self._overruns: dict[str, _Overrun] = {}
        self._since = 0.0  # when the oldest sample came, seconds since 1970
        self._in_flight = 0  # samples that were drained, and are neither done nor put back
        # bytes that came, that were drained, and that have a place elsewhere; each is changed by one side alone
        self._came, self._drained, self._went = 0, 0, 0
        self.lost = 0

    def __len__(self) -> int:
        """Return the number of samples in memory, those that are being stored included."""
        return len(self._samples) + self._in_flight

    @property
    def size(self) -> int:
        """Return the bytes of all samples in memory, those that are being stored included."""
        return self._came - self._went

    @property
    def crowded(self) -> bool:
        """Return whether memory is half full of what waits: it is to be spooled before more may come."""
        return self._came - self._drained > self._limit / 2

    @property
    def oldest(self) -> float | None:
        """Return when the oldest sample came (seconds since 1970); None if there is none."""
        return self._since if self._samples else None

    def add(self, sample: Sample) -> None:
        """Append a sample. When memory is full it is dropped: older samples have their place already."""
        if self._came - self._went >= self._limit:
            self._drop(sample)
            return
        if not self._samples:
            self._since = time.time()
        if self._overruns:
            self.mark_overruns()
        # here and in ``drain`` numbers, nearly all there is, have the shortest path
        self._came += SAMPLE_SIZE if type(sample[2]) is float else _size(sample)
        self._samples.append(sample)

    def add_rows(self, rows: Sequence[TableRow]) -> None:
        """Append rows of other tables."""
        self._rows.extend(rows)

    def add_metadata(self, pv: str, dated: Dated) -> None:
        """Append metadata of a PV."""
        self._metadata.append((pv, dated))

    def drain(self) -> Batch:
        """Remove and return the oldest, about ``batch_size``; pass it to ``done`` or ``put_back`` later.

        By one thread at a time. Each deque is emptied from its head, for more may come at its tail meanwhile; that of
        metadata last and whole, for they come before their sample.
        """
        rows = [self._rows.popleft() for _ in range(len(self._rows))]
        samples: list[Sample] = []
        waiting, append, size, most = self._samples, samples.append, 0, self.batch_size
        while waiting and size < most:
            sample = waiting.popleft()
            append(sample)
            size += SAMPLE_SIZE if type(sample[2]) is float else _size(sample)
        metadata = [self._metadata.popleft() for _ in range(len(self._metadata))]
        self._in_flight += len(samples)
        self._drained += size
        return Batch(samples, rows, metadata, size)

    def done(self, batch: Batch) -> None:
        """Free the memory of a drained batch, which is stored or spooled now."""
        self._in_flight -= len(batch.samples)
        self._went += batch.size

    def put_back(self, batch: Batch, since: float) -> None:
        """Insert a drained batch at the head again; ``since``: when its oldest sample came."""
        self._samples.extendleft(reversed(batch.samples))
        self._rows.extendleft(reversed(batch.rows))
        self._metadata.extendleft(reversed(batch.metadata))
        self._since = since
        self._in_flight -= len(batch.samples)
        self._drained -= batch.size

    def mark_overruns(self) -> None:
        """Append, if there is room again, a gap from each PV's first dropped sample on, and the last dropped one."""
        if not self._overruns or self.size >= self._limit:
            return
        overruns, self._overruns = self._overruns, {}
        for pv, overrun in overruns.items():
            if overrun.count > 1:
                self._append(gap_marker(pv, overrun.first_ns, Gap.OVERRUN))
            self._append(overrun.last)

    def _append(self, sample: Sample) -> None:
        self._came += _size(sample)
        self._samples.append(sample)

    def _drop(self, sample: Sample) -> None:
        overrun = self._overruns.get(sample.pv)
        if overrun is None:
            self._overruns[sample.pv] = _Overrun(sample.time_ns, 1, sample)
            return
        overrun.count, overrun.last = overrun.count + 1, sample
        self.lost += 1


def _size(sample: Sample) -> int:
    """Return the bytes of a sample in memory, about."""
    value = sample[2]
    length = len(value) if isinstance(value, str | bytes | tuple) else 0
    return SAMPLE_SIZE + length * (32 if isinstance(value, tuple) else 1)
