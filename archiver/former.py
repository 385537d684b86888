"""What earlier runs of the archiver stored, and the end of one that was killed."""

import logging
from collections.abc import Iterable

from archiver.sample import RESOLUTION_NS, Gap, Sample, gap_marker, is_gap
from archiver.spool import Spool, SpoolError
from archiver.store import Store

log = logging.getLogger(__name__)


def end_former_run(store: Store, spool: Spool, began_ns: int) -> dict[str, int]:
    """Mark as not archived what a killed run left open; the time of each PV's newest row, the marks included.

    The marks stand where the whole archive ends, the spool included: until then at least that run was alive. An IOC
    whose clock is ahead must not put the end of the others' rows into the future.
    """
    newest = {sample.pv: sample for sample in store.newest()}
    try:
        for batch in spool.leftover():
            _take_later(newest, batch.samples)
    except SpoolError as error:
        log.error("%s; it is put aside, what was in it is not stored", error)
        spool.put_aside()
    end_ns = min(max((sample.time_ns for sample in newest.values()), default=0), began_ns)
    marks = [
        gap_marker(sample.pv, (max(end_ns, sample.time_ns) // RESOLUTION_NS + 1) * RESOLUTION_NS, Gap.ARCHIVE_OFF)
        for sample in newest.values()
        if not is_gap(sample) and sample.time_ns < began_ns
    ]
    if marks:
        log.warning("the former run was not stopped but killed: %d PVs marked %s", len(marks), Gap.ARCHIVE_OFF)
        store.add(marks)
        _take_later(newest, marks)
    return {pv: sample.time_ns for pv, sample in newest.items()}


def _take_later(newest: dict[str, Sample], samples: Iterable[Sample]) -> None:
    for sample in samples:
        if sample.pv not in newest or newest[sample.pv].time_ns < sample.time_ns:
            newest[sample.pv] = sample
