"""The end of a previous run of the archiver that was killed: gap markers where its rows end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

from archiver.recording.spool import Spool, SpoolError
from archiver.sample import RESOLUTION_NS, Gap, Sample, gap_marker, is_gap
from archiver.storage.store import Store

log = logging.getLogger(__name__)


def end_previous_run(store: Store, spool: Spool, began_ns: int, archived: Callable[[str], bool]) -> dict[str, int]:
    """Mark each PV ``Archive_Off`` where killed runs stopped; return the time of each PV's newest row (ns).

    Only PVs for which ``archived`` is true: another archiver may write to the same database.
    A run that never reached the database could not mark the end of the one before it: its batches in the spool show
    when it began. Raises StoreError.
    """
    newest = {sample.pv: sample for sample in store.newest() if archived(sample.pv)}
    marks: list[Sample] = []
    last_run_ns = 0
    try:
        for run_ns, batch in spool.leftover():
            if run_ns not in {0, last_run_ns}:
                marks += _end(newest, run_ns, [sample for sample in newest.values() if sample.time_ns < run_ns])
            last_run_ns = run_ns
            _keep_newer(newest, batch.samples)
    except SpoolError as error:
        log.error("%s; it is set aside, what was in it is not stored", error)
        spool.set_aside()
    marks += _end(newest, began_ns, list(newest.values()))
    if marks:
        count = len({mark.pv for mark in marks})
        log.warning(
            "the previous run of the archiver was killed: %d PVs marked %s at its end", count, Gap.ARCHIVE_OFF
        )
        store.add(marks)
    spool.run_ns = 0
    return {pv: sample.time_ns for pv, sample in newest.items()}


def _end(newest: dict[str, Sample], next_ns: int, last: Sequence[Sample]) -> list[Sample]:
    """Return the gap markers after the last samples of a run, the next of which began at ``next_ns``.

    They stand where the whole archive ends, the spool included: until then at least that run was alive. An IOC whose
    clock is ahead must not put the end of the others' rows into the future. They become the newest samples.
    """
    end_ns = min(max((sample.time_ns for sample in last), default=0), next_ns)
    marks = [
        gap_marker(sample.pv, (max(end_ns, sample.time_ns) // RESOLUTION_NS + 1) * RESOLUTION_NS, Gap.ARCHIVE_OFF)
        for sample in last
        if not is_gap(sample)
    ]
    _keep_newer(newest, marks)
    return marks


def _keep_newer(newest: dict[str, Sample], samples: Iterable[Sample]) -> None:
    for sample in samples:
        if sample.pv not in newest or newest[sample.pv].time_ns < sample.time_ns:
            newest[sample.pv] = sample
