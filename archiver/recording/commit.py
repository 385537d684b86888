"""The commit of a batch: what the database accepts is stored, what it rejects is replaced by a gap marker."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from archiver.recording.batch import Batch
from archiver.sample import Dated, Gap, Sample, gap_marker
from archiver.storage.store import Rejected, Store, TableRow

# Samples in one transaction, at most.
LARGEST = 50_000

T = TypeVar("T")

log = logging.getLogger(__name__)


def commit(batch: Batch, store: Store) -> int:
    """Store a batch; return how many of its rows were rejected. Raises StoreError if it cannot be stored now.

    Metadata come first, for samples are shown with the metadata that hold at their time.
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
        _add_halves(lambda items: store.add_metadata(dict(items)), list(batch.metadata.items()), drop_metadata)
    if batch.rows:
        _add_halves(store.add_rows, batch.rows, drop_row)
    for start in range(0, len(batch.samples), LARGEST):
        _add_halves(store.add, batch.samples[start : start + LARGEST], mark_gap)
    return rejected


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
