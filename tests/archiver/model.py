"""A model of what the archive has to show, written without regard to speed, memory, batches and databases.

All rows are kept in one list for each PV. A value stands at its IOC's stamp. What the archiver dates itself moves no
value; as soon as the archiver's clock has reached such a row, what is known is repeated after it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from archiver.ca.listener import PvUpdate
from archiver.history.rows import to_row
from archiver.sample import Gap, Metadata, Sample, gap_marker, is_gap

US = 1000
MINUTE_NS = 60 * 10**9
REJECTED = {Gap.REJECTED_BACKWARDS, Gap.REJECTED_EPOCH1990, Gap.REJECTED_FUTURE}

# What a reader is to show: time (us), value, unit, severity, status
Shown = tuple[int, str, str, str, str]


class ModelRow(NamedTuple):
    """A row: what it says, with which metadata, and whether values may come before it."""

    sample: Sample
    about: Metadata
    dated: bool
    ahead: bool = False  # of a run whose clock was ahead, as a later one found
    over: bool = False  # of an earlier run, and not its last: not looked at even if the clock is set back to it

    def shown(self) -> Shown:
        """Return what a reader is to show, whichever database it is."""
        return shown(self.sample, self.about)


@dataclass
class Model:
    """The rows of one PV, and what is known of it."""

    pv: str
    rows: list[ModelRow] = field(default_factory=list)
    gap: Gap | None = Gap.ARCHIVE_OFF
    newest: PvUpdate | None = None
    ahead: PvUpdate | None = None  # the newest as it came, with a stamp of the future
    about: Metadata = field(default_factory=Metadata)
    coming: Metadata | None = None
    shown_ns: int = 0
    connected_ns: int = 0
    stamp_ns: int = 0
    own: bool = True  # the newest value stands at its own stamp
    old_ns: int = 0  # the newest stamp that had its row before the run began
    ghosts: list[int] = field(default_factory=list)  # rows whose place was taken by one that is over
    ahead_ns: int = 0  # how far the archiver's clock was when it was set back
    safe: int = 0  # rows that a killed archiver does not lose

    def update(self, update: PvUpdate, now_ns: int) -> None:
        if self.ahead is not None and repr(update) == repr(self.ahead):
            return
        came = update
        if (cause := self._rejected(update, now_ns)) is not None:
            if cause is not Gap.REJECTED_FUTURE or self.gap not in {Gap.DISCONNECTED, Gap.ARCHIVE_OFF}:
                if self.gap is None:
                    self.mark(cause, now_ns)
                return
            update = update._replace(stamp_ns=0)  # what the PV has when it connects
        elif now_ns + 10**9 < update.stamp_ns <= self.ahead_ns:  # by the clock of before, or going on from there
            connects = self.gap in {Gap.DISCONNECTED, Gap.ARCHIVE_OFF}
            update = update._replace(stamp_ns=0 if connects else now_ns)
        self.ahead = came if update is not came else None
        if self.newest is not None and repr(update) == repr(self.newest):
            return
        known_ns = now_ns if self.gap in REJECTED else self.connected_ns
        if self.gap is not None:
            self.own = update.stamp_ns > max(self._stamped_ns(), self._gap_ns(known_ns))
        elif not self.own and update.stamp_ns == self.stamp_ns:
            known_ns = self.shown_ns
        else:
            self.own = True
        self.newest, self.gap = update, None
        if self.own:
            time_ns = max(update.stamp_ns, after(self._stamped_ns()))
            self._write(self._free(time_ns), dated=False)
        else:
            self.old_ns = max(self.old_ns, min(update.stamp_ns, known_ns))
            self._date(known_ns)
        self.show(now_ns)

    def connect(self, now_ns: int) -> None:
        self.connected_ns = now_ns

    def describe(self, about: Metadata) -> None:
        self.coming = about

    def disconnect(self, now_ns: int) -> None:
        self.coming = None
        if self.gap is None:
            self.mark(Gap.DISCONNECTED, now_ns)
        self.gap = Gap.DISCONNECTED

    def end(self, now_ns: int) -> None:
        if self.connected_ns:
            self.mark(Gap.ARCHIVE_OFF, now_ns)

    def wait(self, now_ns: int) -> None:
        """More than a second, less than an hour, has passed since anything happened."""
        if self.coming is not None and self.newest is not None:
            self._date(now_ns)
        self.show(now_ns)

    def mark(self, gap: Gap, now_ns: int) -> None:
        self.gap, self.newest, self.ahead = gap, None, None
        self._date(now_ns)
        self.show(now_ns)

    def show(self, now_ns: int) -> None:
        later = [row for row in self._dated() if self.shown_ns < row <= now_ns]
        if later:
            self._date(max(later))
        elif self.shown_ns in self._dated() and self.shown_ns > self._earliest_ns(now_ns) + 10**9:
            self._date(now_ns)

    def begin(self, marks_ns: list[int], now_ns: int) -> None:
        """A new run has begun: all there is belongs to earlier ones."""
        for time_ns in marks_ns:
            self.rows.append(ModelRow(gap_marker(self.pv, time_ns, Gap.ARCHIVE_OFF), Metadata(), True))
        newest_ns = max((time for time in map(time_of, self.rows) if time <= now_ns), default=0)
        self.rows = [row._replace(dated=True, over=time_of(row) < newest_ns) for row in self.rows]
        self.rows = [row._replace(ahead=row.ahead or time_of(row) > now_ns) for row in self.rows]
        self.safe = len(self.rows)
        self.ghosts = []
        self.gap, self.newest, self.coming, self.about = Gap.ARCHIVE_OFF, None, None, Metadata()
        self.ahead = None
        values = [row.sample.time_ns for row in self.rows if time_of(row) <= now_ns and not is_gap(row.sample)]
        self.connected_ns, self.old_ns = 0, after(max(values)) if values else 0
        self.shown_ns = max((time for time in self._dated() if time <= now_ns), default=0)

    def in_force(self, time_ns: int) -> ModelRow | None:
        """Return the row that says what is known at a time."""
        before = [row for row in self.rows if row.sample.time_ns <= time_ns]
        return max(before, key=lambda row: row.sample.time_ns, default=None)

    def _rejected(self, update: PvUpdate, now_ns: int) -> Gap | None:
        if update.stamp_ns < 662_688_000 * 10**9:
            return Gap.REJECTED_EPOCH1990
        if update.stamp_ns > now_ns + 5 * MINUTE_NS:
            return Gap.REJECTED_FUTURE
        goes_on = self.gap is None or self.gap in REJECTED
        return Gap.REJECTED_BACKWARDS if goes_on and update.stamp_ns < self.stamp_ns else None

    def _write(self, time_ns: int, *, dated: bool) -> None:
        if self.gap is not None:
            row = ModelRow(gap_marker(self.pv, time_ns, self.gap), Metadata(), dated)
        else:
            assert self.newest is not None
            self.about, self.coming = self.coming or self.about, None
            self.stamp_ns = self.newest.stamp_ns
            row = ModelRow(Sample(self.pv, time_ns, *self.newest[1:]), self.about, dated)
        if any(time_of(other) // US == time_ns // US for other in self.rows):  # one that is over: it stays
            self.ghosts.append(time_ns)
        else:
            self.rows.append(row)
        self.shown_ns = time_ns

    def _date(self, time_ns: int) -> None:
        self._write(self._free(self._earliest_ns(time_ns)), dated=True)

    def _earliest_ns(self, time_ns: int) -> int:
        time_ns = max(time_ns, after(self._stamped_ns()))
        reached = [row for row in self._dated() if row <= time_ns]
        return max([time_ns, *(after(row) for row in reached)])

    def _free(self, time_ns: int) -> int:
        taken = {row.sample.time_ns // US for row in self.rows if not row.over} | {ns // US for ns in self.ghosts}
        while time_ns // US in taken:
            time_ns = after(time_ns)
        return time_ns

    def _stamped_ns(self) -> int:
        return max([self.old_ns, *(row.sample.time_ns for row in self.rows if not row.dated)])

    def _dated(self) -> list[int]:
        return [row.sample.time_ns for row in self.rows if row.dated and not row.over] + self.ghosts

    def _gap_ns(self, known_ns: int) -> int:
        later = [row for row in self._dated() if row > self._stamped_ns()]
        if not later:
            return 0
        until_ns = max(known_ns, after(self._stamped_ns()))
        return max((row for row in later if row <= until_ns), default=known_ns)


def time_of(row: ModelRow) -> int:
    """Return the time of a row (ns)."""
    return row.sample.time_ns


def shown(sample: Sample, about: Metadata) -> Shown:
    """Return a row as a reader shows it, but for the digits that only one database keeps."""
    row = to_row(sample, about)
    return row.time_ns // US, str(row.value), row.unit, row.severity, row.status


def after(time_ns: int) -> int:
    """Return the next full microsecond."""
    return (time_ns // US + 1) * US
