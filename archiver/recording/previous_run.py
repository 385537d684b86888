"""The end of a previous run of the archiver that was killed: gap markers where its rows end."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from archiver.recording.spool import Spool, SpoolError
from archiver.recording.timeline import AHEAD, FUTURE_NS
from archiver.sample import RESOLUTION_NS, Gap, Sample, gap_marker, is_gap
from archiver.storage.owner import ON_ITS_WAY_NS
from archiver.storage.store import Store
from archiver.units import counted

log = logging.getLogger(__name__)


class End(NamedTuple):
    """The last rows of a PV when a run begins; times in ns.

    rows_ns       the newest row that is not later, the next AHEAD of those that are, and the last of them: the clock
                  was ahead once
    value_ns      the newest that is not later and marks no gap, 0 if there is none
    in_force_ns   the newest that is not later, 0 if all are
    """

    rows_ns: Sequence[int] = ()
    value_ns: int = 0
    in_force_ns: int = 0


def end_previous_run(store: Store, spool: Spool, began_ns: int, *, set_back: bool = False) -> dict[str, End]:
    """Mark each PV of this archiver ``Archive_Off`` where killed runs stopped; return where the rows of each PV end.

    A run that never reached the database could not mark the end of the one before it: its batches in the spool show
    when it began. ``set_back``: rows that are later are of a clock that was ahead, however little. Raises StoreError.
    """
    ends = _Ends(began_ns, store.alive_ns, store.newest_values(began_ns))
    for sample in store.newest():
        ends.add([*(store.latest(sample.pv, began_ns, AHEAD) if sample.time_ns > began_ns else ()), sample])
    marks: list[Sample] = []
    last_run_ns = 0
    try:
        for run_ns, spooled_ns, batch in spool.leftover():
            if run_ns not in {0, last_run_ns}:
                marks += ends.mark(run_ns)
            last_run_ns = run_ns
            ends.add_spooled(batch.samples, spooled_ns)
    except SpoolError as error:
        log.error("%s; it is set aside, what was in it is not stored", error)
        spool.set_aside()
    marks += ends.mark_present(0 if set_back else FUTURE_NS)
    marks += ends.mark(began_ns)
    if marks:
        if not set_back:
            _tell_killed(marks)
        store.add(marks)
    spool.run_ns = 0
    ends.add(store.unowned())
    return ends.of_each()


def _tell_killed(marks: Sequence[Sample]) -> None:
    count = counted(len({mark.pv for mark in marks}), "PV")
    log.warning("the previous run of the archiver was killed: %s marked %s at its end", count, Gap.ARCHIVE_OFF)


class _Ends:
    """The rows with which each PV ends: the one in force when a run begins, and all later ones."""

    def __init__(self, began_ns: int, alive_ns: int, values_ns: Mapping[str, int]) -> None:
        self._began_ns = began_ns
        self._alive_ns = alive_ns
        self._spooled_ns = 0  # until when the spool shows that a run was alive
        self._values_ns = dict(values_ns)
        self._in_force: dict[str, Sample] = {}
        self._later: dict[str, list[Sample]] = {}
        self._newest: dict[str, Sample] = {}

    def add(self, samples: Iterable[Sample]) -> None:
        """Add rows, in any order."""
        for sample in samples:
            _keep_newer(self._newest, sample)
            if sample.time_ns <= self._began_ns:
                _keep_newer(self._in_force, sample)
                if not is_gap(sample):
                    self._values_ns[sample.pv] = max(sample.time_ns, self._values_ns.get(sample.pv, 0))
            else:
                self._later.setdefault(sample.pv, []).append(sample)

    def add_spooled(self, samples: Sequence[Sample], spooled_ns: int) -> None:
        """Add the rows of a batch that was put into the spool at a time: the archiver was alive at the newest one."""
        self.add(samples)
        newest_ns = max((sample.time_ns for sample in samples), default=0)
        self._spooled_ns = max(self._spooled_ns, min(newest_ns, spooled_ns) - ON_ITS_WAY_NS)

    def mark(self, next_ns: int) -> list[Sample]:
        """Return the gap markers after the last samples of a run, the next of which began at ``next_ns``.

        They stand where that run gave its last sign of life, in the database or by the spool; where it gave none (an
        archive from before there were any, a clock that was set back) where the archive ends. After a row of its own
        in any case. The stamps of one IOC, whose clock may be ahead, say nothing of the rows of another one.
        """
        present = next_ns == self._began_ns
        last = [sample for sample in self._newest.values() if present or sample.time_ns < next_ns]
        if 0 < self._alive_ns < next_ns:
            end_ns = max(self._alive_ns, min(self._spooled_ns, next_ns))
        else:
            end_ns = min(max((sample.time_ns for sample in last), default=0), next_ns)
        marks = [
            gap_marker(sample.pv, _next(max(end_ns, sample.time_ns)), Gap.ARCHIVE_OFF)
            for sample in last
            if not is_gap(sample) or sample.status == Gap.DAMAGED  # what was lost may come in later
        ]
        self.add(marks)
        return marks

    def mark_present(self, future_ns: int) -> list[Sample]:
        """Return a gap marker now for each PV with rows that are later by more than that: the clock was ahead."""
        marks = [
            gap_marker(pv, _next(self._began_ns), Gap.ARCHIVE_OFF)
            for pv, sample in self._in_force.items()
            if self._newest[pv].time_ns > self._began_ns + future_ns and not is_gap(sample)
        ]
        self.add(marks)
        return marks

    def of_each(self) -> dict[str, End]:
        """Return where the rows of each PV end."""
        return {pv: self._of(pv) for pv in self._newest}

    def _of(self, pv: str) -> End:
        in_force_ns = self._in_force[pv].time_ns if pv in self._in_force else 0
        rows_ns = {in_force_ns, *(sample.time_ns for sample in self._later.get(pv, []))} - {0}
        return End(sorted(rows_ns), self._values_ns.get(pv, 0), in_force_ns)


def _next(time_ns: int) -> int:
    return (time_ns // RESOLUTION_NS + 1) * RESOLUTION_NS


def _keep_newer(newest: dict[str, Sample], sample: Sample) -> None:
    if sample.pv not in newest or newest[sample.pv].time_ns < sample.time_ns:
        newest[sample.pv] = sample
