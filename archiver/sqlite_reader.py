"""Reading the archive from its SQLite file, also while the archiver writes."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from heapq import merge
from operator import attrgetter
from pathlib import Path
from typing import Any

from archiver.columns import from_columns
from archiver.sample import Dated, Sample
from archiver.sqlite_file import connect_reader, file_name, schema_version, sentences
from archiver.sqlite_metadata import history
from archiver.store import Bin, StoreError
from archiver.url import DatabaseUrl

SAMPLES = """
    SELECT channel.name, smpl_time, num_val, float_val, str_val, datatype, array_val, severity_id, status.name
    FROM {} AS rows JOIN channel USING (channel_id) JOIN status USING (status_id)"""

_SETTLED = f"""{SAMPLES.format("sample_settled")}
    WHERE channel_id = ? AND smpl_time >= ? AND smpl_time <= ? ORDER BY smpl_time"""

_BINS = """
    SELECT bin_time, width, count, min_val, max_val, mean_val FROM sample_bin
    WHERE channel_id = ? AND bin_time >= ? AND bin_time <= ? ORDER BY bin_time"""


class SqliteReader:
    def __init__(self, url: DatabaseUrl) -> None:
        self._file = file_name(url)
        if not Path(self._file).is_file():  # SQLite would make one
            raise StoreError(f"{self._file}: no such archive (the path counts from the directory you are in)")
        with sentences(self._file), ExitStack() as undo:
            self._connection = connect_reader(url)
            undo.callback(self.close)
            self._check_version()
            undo.pop_all()
        self._channels = {name: number for number, name in self._rows("SELECT channel_id, name FROM channel")}

    def names(self) -> Sequence[str]:
        return sorted(self._channels)

    def metadata(self, pv: str) -> Sequence[Dated]:
        with sentences(self._file):
            return history(self._connection, self._channels[pv])

    def samples(self, pvs: Sequence[str], since_ns: int, until_ns: int) -> Iterator[Sample]:
        """What has not settled is read once for all the PVs; of each PV it comes after what has."""
        begins = self._in_force([self._channels[pv] for pv in pvs], since_ns)
        settled = [
            map(to_sample, self._rows(_SETTLED, channel, begin, until_ns)) for channel, begin in begins.items()
        ]
        recent = map(to_sample, self._recent(begins, until_ns))
        return merge(*settled, recent, key=attrgetter("time_ns")) if settled else iter(())

    def bins(self, pv: str, since_ns: int, until_ns: int) -> Sequence[Bin]:
        return [Bin(*row) for row in self._rows(_BINS, self._channels[pv], since_ns, until_ns)]

    def close(self) -> None:
        self._connection.close()
        self._connection.engine.dispose()

    def _check_version(self) -> None:
        version = schema_version(self._connection, self._file)
        if not version:
            raise StoreError(f"{self._file}: an SQLite file, but not an archive of rackioc")

    def _in_force(self, channels: Sequence[int], since_ns: int) -> dict[int, int]:
        """The time of each channel's newest row before the window, else the window's begin."""
        recent = "SELECT channel_id, max(smpl_time) FROM sample_recent WHERE smpl_time <= ? GROUP BY channel_id"
        found: dict[int, int] = {}
        found.update((channel, time_ns) for channel, time_ns in self._rows(recent, since_ns))
        settled = "SELECT max(smpl_time) FROM sample_settled WHERE channel_id = ? AND smpl_time <= ?"
        for channel in channels:
            if channel not in found:
                found[channel] = next(self._rows(settled, channel, since_ns))[0] or since_ns
        return {channel: found[channel] for channel in channels}

    def _recent(self, begins: dict[int, int], until_ns: int) -> Iterator[Sequence[Any]]:
        if not begins:
            return
        wanted = ", ".join(f"({channel}, {begin})" for channel, begin in begins.items())
        yield from self._rows(
            f"""WITH wanted (number, begin) AS (VALUES {wanted}) {SAMPLES.format("sample_recent")}
            JOIN wanted ON number = channel_id
            WHERE smpl_time >= ? AND smpl_time <= ? AND smpl_time >= begin ORDER BY smpl_time""",
            min(begins.values()),
            until_ns,
        )

    def _rows(self, sql: str, *values: str | int) -> Iterator[Sequence[Any]]:
        with sentences(self._file):
            yield from self._connection.exec_driver_sql(sql, values)


def to_sample(row: Sequence[Any]) -> Sample:
    pv, time_ns, *columns, severity, status = row
    return Sample(pv, time_ns, from_columns(*columns), severity - 1, status)
