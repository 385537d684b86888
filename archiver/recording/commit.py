"""The commit of a batch: what the database accepts is stored, what it rejects is replaced by a gap marker."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from archiver.recording.batch import Batch
from archiver.sample import RESOLUTION_NS, Dated, Gap, Sample, gap_marker, is_gap
from archiver.storage.store import Rejected, Store, TableRow

# Samples in one transaction, at most.
LARGEST = 50_000

T = TypeVar("T")

log = logging.getLogger(__name__)


def commit(batch: Batch, store: Store, *, earlier_wait: bool) -> int:
    """Store a batch; return how many of its rows were rejected. Raises StoreError if it cannot be stored now.

    Metadata come first, for samples are shown with the metadata that hold at their time. ``earlier_wait``: whether
    earlier batches may follow.
    """
    rejected = 0

    def drop_row(row: TableRow, reason: str) -> None:
        nonlocal rejected
        rejected += 1
        log.error("the database rejected a row of table %s: %s; it is not stored", row.table, reason)

    def mark_gap(sample: Sample, reason: str) -> None:
        nonlocal rejected
        rejected += 1
        log.error("%s: the database rejected a sample: %s; marked %s", sample.pv, reason, Gap.WRITE_ERROR)
        with suppress(Rejected):  # it may be the name that is rejected
            store.add([gap_marker(sample.pv, sample.time_ns, Gap.WRITE_ERROR)])

    def drop_metadata(item: tuple[str, Dated], reason: str) -> None:
        log.error("%s: the database rejected its unit, limits or words: %s; they are not stored", item[0], reason)

    if batch.metadata:
        for once in _each_once(batch.metadata):
            _add_halves(lambda items: store.add_metadata(dict(items), keep_equal=earlier_wait), once, drop_metadata)
    if batch.rows:
        _add_halves(store.add_rows, batch.rows, drop_row)
    samples = [*batch.samples, *_lost(store, batch.lost_ns)] if batch.lost_ns else batch.samples
    for start in range(0, len(samples), LARGEST):
        _add_halves(store.add, samples[start : start + LARGEST], mark_gap)
    return rejected


def _lost(store: Store, lost_ns: int) -> list[Sample]:
    """Return a gap for each PV of which something is lost, maybe, that was spooled at a time or later.

    It stands right after the newest value up to then: with what came next, nobody knows for how long that held.
    """
    newest = {sample.pv: sample for sample in store.newest()}
    return [
        gap_marker(pv, (time_ns // RESOLUTION_NS + 1) * RESOLUTION_NS, Gap.DAMAGED)
        for pv, time_ns in store.newest_values(lost_ns).items()
        if not (is_gap(newest[pv]) and newest[pv].time_ns <= lost_ns)  # nothing has been known since before
    ]


def _each_once(metadata: Sequence[tuple[str, Dated]]) -> list[list[tuple[str, Dated]]]:
    """Return metadata in parts in which each PV is once, nearly always one part."""
    parts: list[list[tuple[str, Dated]]] = []
    seen: Counter[str] = Counter()
    for pv, dated in metadata:
        if seen[pv] == len(parts):
            parts.append([])
        parts[seen[pv]].append((pv, dated))
        seen[pv] += 1
    return parts


def _add_halves(add: Callable[[list[T]], None], items: list[T], reject: Callable[[T, str], None]) -> None:
    """Add items; where the database rejects some, find these by halving, and add the others."""
    try:
        add(items)
    except Rejected as error:
        if len(items) == 1:
            reject(items[0], str(error))
            return
        middle = len(items) // 2
        _add_halves(add, items[:middle], reject)
        _add_halves(add, items[middle:], reject)
