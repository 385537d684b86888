"""A batch into the database: all that it takes, and in the place of what it never takes a mark."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from archiver.recording.spool import Batch
from archiver.sample import Dated, Gap, Sample, gap_marker
from archiver.storage.store import Rejected, Store, TableRow

LARGEST = 50_000
"""Samples in one transaction."""

T = TypeVar("T")

log = logging.getLogger(__name__)


def commit(batch: Batch, store: Store) -> int:
    """Store a batch, StoreError if the database cannot do it now; returns how many rows it rejected for good.

    Metadata come first, for samples are shown with what holds at their time.
    """
    rejected = 0

    def drop(row: TableRow, reason: str) -> None:
        nonlocal rejected
        rejected += 1
        log.error("a row of %s is rejected: %s", row.table, reason)

    def mark(sample: Sample, reason: str) -> None:
        nonlocal rejected
        rejected += 1
        log.error("%s: a sample is rejected: %s", sample.pv, reason)
        with suppress(Rejected):  # it may be the name that is rejected
            store.add([gap_marker(sample.pv, sample.time_ns, Gap.WRITE_ERROR)])

    def forget(described: tuple[str, Dated], reason: str) -> None:
        log.error("%s: what is known of it is rejected: %s", described[0], reason)

    if batch.metadata:
        _halve(lambda items: store.add_metadata(dict(items)), list(batch.metadata.items()), forget)
    if batch.rows:
        _halve(store.add_rows, batch.rows, drop)
    for start in range(0, len(batch.samples), LARGEST):
        _halve(store.add, batch.samples[start : start + LARGEST], mark)
    return rejected


def _halve(add: Callable[[list[T]], None], items: list[T], refuse: Callable[[T, str], None]) -> None:
    """Where the database rejects a batch, find what it rejects, and store the others."""
    try:
        add(items)
    except Rejected as error:
        if len(items) == 1:
            refuse(items[0], str(error))
            return
        middle = len(items) // 2
        _halve(add, items[:middle], refuse)
        _halve(add, items[middle:], refuse)
