"""The check of an archive: the database itself, each row, the gaps, and the owners."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from archiver.keeping.copy import Report
from archiver.sample import INVALID, SEVERITIES, Gap
from archiver.storage import manage
from archiver.storage.database import open_reader, open_source
from archiver.storage.owner import FROM_ITS_ROWS, alive, end_of_life
from archiver.storage.renamed import sound
from archiver.storage.store import Reader
from archiver.storage.transfer.contract import Channel, Row, Source
from archiver.storage.transfer.tables import CARRIED
from archiver.times import format_time

_GAPS = frozenset(Gap)
# Faults of one kind that are told.
MOST = 10


@dataclass
class GapFigures:
    """The gaps of one cause: how many, in how many channels, for how long, and the longest."""

    count: int = 0
    channels: set[int] = field(default_factory=set)
    total_ns: int = 0
    longest_ns: int = 0
    longest: str = ""

    def add(self, channel: int, pv: str, begin_ns: int, end_ns: int) -> None:
        """Add a gap. Clocks that were set back make none that is shorter than nothing."""
        length_ns = max(0, end_ns - begin_ns)
        self.count += 1
        self.channels.add(channel)
        self.total_ns += length_ns
        if length_ns >= self.longest_ns:
            self.longest_ns, self.longest = length_ns, f"{pv} from {format_time(begin_ns)}"


@dataclass
class Findings:
    """What a check has found: lines that describe the archive, and its faults."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def check(database: str, report: Report) -> Findings:
    """Read all of an archive, also while its archiver writes. Raises StoreError."""
    found = Findings()
    with closing(open_reader(database)) as reader:  # an archive, and of this version
        found.faults += _contradictions(reader)
    found.lines += [line for line in manage.status(database) if not line[0].startswith("archiver ")]
    with closing(open_source(database)) as source:
        channels = {each.number: each for each in source.channels()}
        found.faults += source.faults()
        rows = _Rows(channels, source.statuses())
        total = sum(each.rows for each in source.figures().values())
        for chunk in source.chunks(list(channels), {}):
            rows.add(chunk)
            report(rows.count, max(total, rows.count))
        found.faults += [*rows.faults, *_strangers(source, channels)]
        found.lines += [("rows read", f"{rows.count:,}"), *_owners(source, channels), *rows.gaps(time.time_ns())]
    return found


class _Rows:
    """The check of the rows, each channel's in order of time."""

    def __init__(self, channels: Mapping[int, Channel], statuses: Mapping[int, str]) -> None:
        self._channels, self._statuses = channels, statuses
        self._gap_ids = {number: name for number, name in statuses.items() if name in _GAPS}
        self._open: dict[int, tuple[str, int]] = {}
        self._gaps = {gap.value: GapFigures() for gap in Gap}
        self._faults: Counter[str] = Counter()
        self._first: dict[str, str] = {}
        self.count = 0

    def add(self, rows: Sequence[Row]) -> None:
        """Add rows."""
        self.count += len(rows)
        for row in rows:
            channel, time_ns, severity, status, num_val, float_val, str_val, array_val = row
            begun = self._open.pop(channel, None) if self._open else None
            if begun is not None:
                self._gaps[begun[0]].add(channel, self._channels[channel].pv, begun[1], time_ns)
            if status in self._gap_ids and severity == INVALID + 1:
                self._open[channel] = self._gap_ids[status], time_ns
            plain = float_val is not None and num_val is None and str_val is None and array_val is None
            if not (plain and status in self._statuses and 1 <= severity <= len(SEVERITIES)):  # nearly all are
                self._look(row)

    @property
    def faults(self) -> Iterator[str]:
        """Yield the kinds of faults that were found, with how many rows have them, and the first."""
        for kind, number in self._faults.items():
            yield f"{number} rows {kind}, the first is {self._first[kind]}"

    def gaps(self, now_ns: int) -> Iterator[tuple[str, str]]:
        """Yield a line for each cause of gaps; those that have not ended go on until now."""
        for channel, (cause, begin_ns) in self._open.items():
            self._gaps[cause].add(channel, self._channels[channel].pv, begin_ns, now_ns)
        for cause, each in self._gaps.items():
            if each.count:
                yield (
                    f"gaps {cause}",
                    f"{each.count:,} in {len(each.channels):,} channels, {each.total_ns / 1e9:,.0f} s together; the "
                    f"longest {each.longest_ns / 1e9:,.0f} s: {each.longest}",
                )

    def _look(self, row: Row) -> None:
        values = [row.num_val, row.float_val, row.str_val]
        if row.status not in self._statuses:
            self._fault("have a status without a name", row)
        if not 1 <= row.severity <= len(SEVERITIES):
            self._fault("have a severity that there is not", row)
        if sum(value is not None for value in values) != 1:
            self._fault("have no value, or several", row)
        packed = row.array_val
        if packed is not None and not isinstance(packed, bytes):  # SQLite stores what it is given
            self._fault("have an array that is none", row)
        elif packed is not None and (len(packed) < 4 or len(packed) != 4 + 8 * int.from_bytes(packed[:4], "big")):
            self._fault("have an array of another length than it says", row)

    def _fault(self, kind: str, row: Row) -> None:
        self._faults[kind] += 1
        self._first.setdefault(kind, f"{self._channels[row.channel].pv} at {format_time(row.time_ns)}")


def _contradictions(reader: Reader) -> Iterator[str]:
    """Yield a sentence for each rename that cannot be used."""
    _, contradicting = sound(reader.renames())
    for each in contradicting:
        yield (
            f"{each.old} is renamed to {each.new}, which contradicts an earlier rename: it is not used; take one of "
            f"them back, rackioc db rename {each.old} {each.new} --undo"
        )


def _owners(source: Source, channels: Mapping[int, Channel]) -> Iterator[tuple[str, str]]:
    """Yield a line for each archiver, for PVs that several keep, and for channels that belong to nobody."""
    owners = Counter(each.archiver for each in channels.values())
    for name, alive_ns in source.archivers().items():
        end_ns = end_of_life(alive_ns, time.time_ns())
        since = f"; nothing is known since {format_time(end_ns)}" if end_ns else ""
        if end_ns == FROM_ITS_ROWS:
            since = ", by a clock that was ahead; nothing is known after its newest rows"
        yield f"owner {name}", f"{owners[name]:,} channels, {alive(alive_ns)}{since}"
    if owners[None]:
        yield "no owner", f"{owners[None]:,} channels: they belong to the archiver that adds the next row"
    several = sum(number > 1 for number in Counter(each.pv for each in channels.values()).values())
    if several:
        yield "kept twice", f"{several:,} PVs, by several archivers"


def _strangers(source: Source, channels: Mapping[int, Channel]) -> Iterator[str]:
    """Yield a sentence for each table with rows of channels that there are not."""
    for table in CARRIED:
        if table.columns[0] == "channel_id":
            unknown = sorted({row[0] for row in source.table(table)} - set(channels))
            if unknown:
                yield f"{table.name} has rows of channels without a name: {', '.join(map(str, unknown[:MOST]))}"
