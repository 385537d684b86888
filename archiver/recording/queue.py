"""The queue of samples in memory that are not committed yet; what is dropped when it is full is marked Overrun."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from archiver.recording.spool import Batch
from archiver.sample import Dated, Gap, Sample, gap_marker
from archiver.storage.store import TableRow

# Samples in memory, about 250 MB.
LIMIT = 1_000_000


@dataclass(slots=True)
class _Overrun:
    """The dropped samples of one PV: time of the first one, how many, and the last one, which is in force then."""

    first_ns: int
    count: int
    last: Sample


class Queue:
    """A queue that is filled by the thread of Channel Access and emptied by the writer.

    lost       samples that were dropped since the start
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._samples: deque[Sample] = deque()
        self._rows: deque[TableRow] = deque()
        self._metadata: deque[tuple[str, Dated]] = deque()
        self._overruns: dict[str, _Overrun] = {}
        self._since = 0.0  # when the oldest sample came, seconds since 1970
        self._in_flight = 0  # samples that were drained, and are neither done nor put back
        self.lost = 0

    def __len__(self) -> int:
        """Return the number of samples in memory, those that are being stored included."""
        return len(self._samples) + self._in_flight

    @property
    def oldest(self) -> float | None:
        """Return when the oldest sample came (seconds since 1970); None if there is none."""
        return self._since if self._samples else None

    def add(self, sample: Sample) -> None:
        """Append a sample. When memory is full it is dropped: older samples have their place already."""
        if len(self) >= self._limit:
            self._drop(sample)
            return
        if not self._samples:
            self._since = time.time()
        self.mark_overruns()
        self._samples.append(sample)

    def add_rows(self, rows: Sequence[TableRow]) -> None:
        """Append rows of other tables."""
        self._rows.extend(rows)

    def add_metadata(self, pv: str, dated: Dated) -> None:
        """Append metadata of a PV."""
        self._metadata.append((pv, dated))

    def drain(self) -> Batch:
        """Remove and return all of it; pass it to ``done`` or ``put_back`` later. By one thread at a time.

        Each deque is emptied from its head, for more may come at its tail meanwhile; that of metadata last, for they
        come before their sample.
        """
        rows = [self._rows.popleft() for _ in range(len(self._rows))]
        samples = [self._samples.popleft() for _ in range(len(self._samples))]
        metadata = [self._metadata.popleft() for _ in range(len(self._metadata))]
        self._in_flight += len(samples)
        return Batch(samples, rows, metadata)

    def done(self, batch: Batch) -> None:
        """Free the memory of a drained batch, which is stored or spooled now."""
        self._in_flight -= len(batch.samples)

    def put_back(self, batch: Batch, since: float) -> None:
        """Insert a drained batch at the head again; ``since``: when its oldest sample came."""
        self._samples.extendleft(reversed(batch.samples))
        self._rows.extendleft(reversed(batch.rows))
        self._metadata.extendleft(reversed(batch.metadata))
        self._since = since
        self._in_flight -= len(batch.samples)

    def mark_overruns(self) -> None:
        """Append, if there is room again, a gap from each PV's first dropped sample on, and the last dropped one."""
        if not self._overruns or len(self) >= self._limit:
            return
        overruns, self._overruns = self._overruns, {}
        for pv, overrun in overruns.items():
            if overrun.count > 1:
                self._samples.append(gap_marker(pv, overrun.first_ns, Gap.OVERRUN))
            self._samples.append(overrun.last)

    def _drop(self, sample: Sample) -> None:
        overrun = self._overruns.get(sample.pv)
        if overrun is None:
            self._overruns[sample.pv] = _Overrun(sample.time_ns, 1, sample)
            return
        overrun.count, overrun.last = overrun.count + 1, sample
        self.lost += 1
