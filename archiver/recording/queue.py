"""What has come in and is not yet committed, in memory, and what becomes of it when there is no room."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from archiver.recording.spool import Batch
from archiver.sample import Dated, Gap, Sample, gap_marker
from archiver.storage.store import TableRow

LIMIT = 1_000_000
"""Samples in memory, about 250 MB."""


@dataclass(slots=True)
class _Overrun:
    """Of one PV: when the first sample was lost, how many were, and the last one, which is in force then."""

    first_ns: int
    count: int
    last: Sample


class Queue:
    """Filled by the thread of Channel Access, emptied by the one that stores."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._samples: deque[Sample] = deque()
        self._rows: deque[TableRow] = deque()
        self._metadata: dict[str, Dated] = {}
        self._overruns: dict[str, _Overrun] = {}
        self._since = 0.0
        self._in_flight = 0  # taken, and neither done nor put back
        self.lost = 0

    def __len__(self) -> int:
        """Samples in memory, those that are being stored included."""
        return len(self._samples) + self._in_flight

    @property
    def oldest(self) -> float | None:
        """When the oldest sample came (seconds since 1970)."""
        return self._since if self._samples else None

    def add(self, sample: Sample) -> None:
        """When memory is full the newest goes: what is older has a place already."""
        if len(self) >= self._limit:
            self._drop(sample)
            return
        if not self._samples:
            self._since = time.time()
        self.mark_overruns()
        self._samples.append(sample)

    def add_rows(self, rows: Sequence[TableRow]) -> None:
        self._rows.extend(rows)

    def add_metadata(self, pv: str, dated: Dated) -> None:
        self._metadata[pv] = dated

    def drain(self) -> Batch:
        """All of it, to be given to `done` or `put_back`, by one thread at a time.

        Each deque is emptied from its head, for more may come at its tail meanwhile.
        """
        metadata = {pv: self._metadata.pop(pv) for pv in list(self._metadata)}
        rows = [self._rows.popleft() for _ in range(len(self._rows))]
        samples = [self._samples.popleft() for _ in range(len(self._samples))]
        self._in_flight += len(samples)
        return Batch(samples, rows, metadata)

    def done(self, batch: Batch) -> None:
        """It has a place elsewhere."""
        self._in_flight -= len(batch.samples)

    def put_back(self, batch: Batch, since: float) -> None:
        """What could be put nowhere else is the oldest again."""
        self._samples.extendleft(reversed(batch.samples))
        self._rows.extendleft(reversed(batch.rows))
        self._metadata = batch.metadata | self._metadata
        self._since = since
        self._in_flight -= len(batch.samples)

    def mark_overruns(self) -> None:
        """If there is room again: a gap from each PV's first lost sample to the last, which is in force and kept."""
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
