"""Reading the archive from its SQLite file, also while the archiver writes."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import URL

from archiver.sample import Metadata, Sample
from archiver.sqlite import SAMPLES
from archiver.sqlite_file import connect_reader, schema_version, sentences
from archiver.store import StoreError

_WINDOW = f"""{SAMPLES}
    WHERE channel.name = :pv AND smpl_time <= :until AND smpl_time >= coalesce(
        (SELECT max(smpl_time) FROM sample WHERE channel_id = channel.channel_id AND smpl_time <= :since), :since)
    ORDER BY smpl_time"""

_NUMERIC = """
    SELECT unit, prec, low_disp_rng, high_disp_rng, low_warn_lmt, high_warn_lmt, low_alarm_lmt, high_alarm_lmt
    FROM num_metadata JOIN channel USING (channel_id) WHERE name = :pv"""

_ENUM = "SELECT enum_val FROM enum_metadata JOIN channel USING (channel_id) WHERE name = :pv ORDER BY enum_nbr"


class SqliteReader:
    def __init__(self, url: URL) -> None:
        self._file = str(url.database)
        if not Path(self._file).is_file():  # SQLite would make one
            raise StoreError(f"{self._file}: no such archive (the path counts from the directory you are in)")
        with sentences(self._file), ExitStack() as undo:
            self._connection = connect_reader(url)
            undo.callback(self.close)
            if not schema_version(self._connection, self._file):
                raise StoreError(f"{self._file}: an SQLite file, but not an archive of rackioc")
            undo.pop_all()

    def names(self) -> Sequence[str]:
        return [name for (name,) in self._rows("SELECT name FROM channel ORDER BY name")]

    def metadata(self, pv: str) -> Metadata:
        for unit, precision, *limits in self._rows(_NUMERIC, pv=pv):
            display, warning, alarm = zip(limits[0::2], limits[1::2], strict=True)
            return Metadata(unit, precision, display, warning, alarm)
        return Metadata(words=tuple(word for (word,) in self._rows(_ENUM, pv=pv)))

    def samples(self, pv: str, since_ns: int, until_ns: int) -> Iterator[Sample]:
        return (Sample(*row) for row in self._rows(_WINDOW, pv=pv, since=since_ns, until=until_ns))

    def close(self) -> None:
        self._connection.close()
        self._connection.engine.dispose()

    def _rows(self, sql: str, **values: str | int) -> Iterator[Sequence[Any]]:
        with sentences(self._file):
            yield from self._connection.execute(text(sql), values)
