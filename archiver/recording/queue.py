"""What has come in and is not yet committed, in memory, and what becomes of it when there is no room."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from archiver.recording.spool import Batch
from archiver.sample import Dated, Gap, Sample, gap_marker
from archiver.storage.store import SeedRow

LIMIT = 1_000_000
"""Samples in memory, about 250 MB."""


@dataclass(slots=True)
class _Loss:
    """Of one PV: when the first sample was lost, how many were, and the last one, which is in force then."""

    first_ns: int
    count: int
    last: Sample


class Queue:
    """Filled by the thread of Channel Access, emptied by the one that stores."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._samples: deque[Sample] = deque()
        self._rows: deque[SeedRow] = deque()
        self._metadata: dict[str, Dated] = {}
        self._losses: dict[str, _Loss] = {}
        self._since = 0.0
        self._out = 0  # taken, and neither done nor put back
        self.lost = 0

    def __len__(self) -> int:
        """Samples in memory, those that are being stored included."""
        return len(self._samples) + self._out

    @property
    def oldest(self) -> float | None:
        """When the oldest sample came (seconds since 1970)."""
        return self._since if self._samples else None

    def add(self, sample: Sample) -> None:
        """When memory is full the newest goes: what is older has a place already."""
        if len(self) >= self._limit:
            self._lose(sample)
            return
        if not self._samples:
            self._since = time.time()
        self.mark_losses()
        self._samples.append(sample)

    def add_rows(self, rows: Sequence[SeedRow]) -> None:
        self._rows.extend(rows)

    def describe(self, pv: str, dated: Dated) -> None:
        self._metadata[pv] = dated

    def take(self) -> Batch:
        """All of it, to be given to `done` or `put_back`, by one thread at a time.

        Each deque is emptied from its head, for more may come at its tail meanwhile.
        """
        metadata = {pv: self._metadata.pop(pv) for pv in list(self._metadata)}
        rows = [self._rows.popleft() for _ in range(len(self._rows))]
        samples = [self._samples.popleft() for _ in range(len(self._samples))]
        self._out += len(samples)
        return Batch(samples, rows, metadata)

    def done(self, batch: Batch) -> None:
        """It has a place elsewhere."""
        self._out -= len(batch.samples)

    def put_back(self, batch: Batch, since: float) -> None:
        """What could be put nowhere else is the oldest again."""
        self._samples.extendleft(reversed(batch.samples))
        self._rows.extendleft(reversed(batch.rows))
        self._metadata = batch.metadata | self._metadata
        self._since = since
        self._out -= len(batch.samples)

    def mark_losses(self) -> None:
        """If there is room again: a gap from each PV's first lost sample to the last, which is in force and kept."""
        if not self._losses or len(self) >= self._limit:
            return
        losses, self._losses = self._losses, {}
        for pv, loss in losses.items():
            if loss.count > 1:
                self._samples.append(gap_marker(pv, loss.first_ns, Gap.OVERRUN))
            self._samples.append(loss.last)

    def _lose(self, sample: Sample) -> None:
        loss = self._losses.get(sample.pv)
        if loss is None:
            self._losses[sample.pv] = _Loss(sample.time_ns, 1, sample)
            return
        loss.count, loss.last = loss.count + 1, sample
        self.lost += 1
