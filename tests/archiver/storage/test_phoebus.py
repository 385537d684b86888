"""The tables as the Data Browser of Phoebus reads them: its statements, and what it makes of the rows.

The connection is in the time zone of the server, which is not UTC, as Connector/J leaves it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pymysql
import pytest
from sqlalchemy.engine import make_url

from archiver.sample import Dated, Gap, Metadata, Sample, Value, gap_marker
from archiver.storage.database import open_store
from archiver.storage.store import Store

START = 1_800_000_000_000_000_000
MS = 10**6
SAMPLES = """SELECT smpl_time, severity_id, status_id, num_val, float_val, str_val, nanosecs, datatype, array_val
    FROM sample WHERE channel_id=%s AND smpl_time>=%s AND smpl_time<=%s ORDER BY smpl_time, nanosecs"""
INITIAL = """SELECT smpl_time, nanosecs FROM sample WHERE channel_id=%s AND smpl_time<=%s
    ORDER BY smpl_time DESC, nanosecs DESC LIMIT 1"""
NUMERIC = """SELECT low_disp_rng, high_disp_rng, low_warn_lmt, high_warn_lmt, low_alarm_lmt, high_alarm_lmt, prec,
    unit FROM num_metadata WHERE channel_id=%s"""

# Time, severity, status, value
Row = tuple[int, str, str, Value]


class Phoebus:
    """The reader: caches the words of status and severity, and has one statement for each of its questions."""

    def __init__(self, url: str) -> None:
        parts = make_url(url)
        assert parts.port is not None
        assert parts.password is not None
        self._connection = pymysql.connect(
            host=parts.host, port=parts.port, user=parts.username, password=parts.password, database=parts.database
        )
        self.statuses = dict(self.ask("SELECT status_id, name FROM status"))
        self.severities = dict(self.ask("SELECT severity_id, name FROM severity"))
        ((zone,),) = self.ask("SELECT TIMEDIFF(NOW(), UTC_TIMESTAMP())")
        self._zone = timedelta(seconds=round(zone.total_seconds()))

    def close(self) -> None:
        self._connection.close()

    def ask(self, statement: str, *values: object) -> tuple[tuple[Any, ...], ...]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall()

    def channel(self, name: str) -> int:
        ((number,),) = self.ask("SELECT channel_id FROM channel WHERE name=%s", name)
        return int(number)

    def labels(self, name: str) -> list[str]:
        rows = self.ask(
            "SELECT enum_nbr, enum_val FROM enum_metadata WHERE channel_id=%s ORDER BY enum_nbr", self.channel(name)
        )
        assert [number for number, _ in rows] == list(range(len(rows)))
        return [label for _, label in rows]

    def read(self, name: str, since_ns: int, until_ns: int) -> list[Row]:
        """Time, severity, status and value of each sample, led by the one before the window."""
        channel = self.channel(name)
        since, until = self._session_time(since_ns), self._session_time(until_ns)
        for initial, _ in self.ask(INITIAL, channel, since):
            since = initial
        return [self._decode(row, self.labels(name)) for row in self.ask(SAMPLES, channel, since, until)]

    def _session_time(self, time_ns: int) -> datetime:
        utc = datetime.fromtimestamp(time_ns // 10**9, UTC).replace(tzinfo=None) + self._zone
        return utc + timedelta(microseconds=time_ns % 10**9 // 1000)

    def _decode(self, row: tuple[Any, ...], labels: list[str]) -> Row:
        time, severity, status, num_val, float_val, str_val, nanosecs, datatype, array = row
        seconds = int((time - self._zone).replace(tzinfo=UTC, microsecond=0).timestamp())
        value = self._value(num_val, float_val, str_val, datatype, array, labels)
        return seconds * 10**9 + nanosecs, self.severities[severity], self.statuses[status], value

    @staticmethod
    def _value(
        num_val: int | None,
        float_val: float | None,
        str_val: str | None,
        datatype: bytes | None,
        array: bytes,
        labels: list[str],
    ) -> Value:
        if float_val is not None:
            if labels:
                return labels[int(float_val)]
            assert datatype in {None, b" ", b"d"}
            return (
                struct.unpack(f">{struct.unpack('>i', array[:4])[0]}d", array[4:]) if datatype == b"d" else float_val
            )
        if num_val is not None:
            return labels[num_val] if labels else float(num_val)
        return str(str_val)


@pytest.fixture
def store(mysql_database: str) -> Iterator[Store]:
    with closing(open_store(mysql_database)) as store:
        yield store


OpenPhoebus = Callable[[], Phoebus]


@pytest.fixture
def phoebus(mysql_database: str) -> Iterator[OpenPhoebus]:
    """Opens a reader."""
    opened: list[Phoebus] = []

    def opening() -> Phoebus:
        opened.append(Phoebus(mysql_database))
        return opened[-1]

    yield opening
    for reader in opened:
        reader.close()


def sample(pv: str = "A", us: int = 0, value: Value = 1.5, severity: int = 0, status: str = "NO_ALARM") -> Sample:
    return Sample(pv, START + us * 1000, value, severity, status)


def test_values_are_decoded(store: Store, phoebus: OpenPhoebus) -> None:
    store.add(
        [
            sample(us=1),
            sample(us=999_999, value=7, severity=2, status="HIHI"),
            sample(us=1_000_000, value="text"),
            sample(us=1_000_001, value=math.nan),
            sample(us=1_000_002, value=(2.5, math.nan)),
            sample(us=1_000_003, value=()),
            sample(us=1_000_004, value=(math.inf,)),
            gap_marker("A", START + 1_000_005_000, Gap.ARCHIVE_OFF),
        ]
    )
    rows = phoebus().read("A", START, START + 2 * 10**9)
    assert [time for time, *_ in rows] == [START + us * 1000 for us in (1, 999_999, *range(1_000_000, 1_000_006))]
    assert [value for *_, value in rows[:4]] == [1.5, 7.0, "text", "NaN"]
    assert str([value for *_, value in rows[4:]]) == "[(2.5, nan), (), (inf,), 'Archive_Off']"
    assert [row[1:3] for row in (rows[0], rows[1], rows[-1])] == [
        ("OK", "NO_ALARM"),
        ("MAJOR", "HIHI"),
        ("INVALID", "Archive_Off"),
    ]


def test_the_sample_before_the_window_leads_although_its_time_has_a_fraction(
    store: Store, phoebus: OpenPhoebus
) -> None:
    store.add([sample(us=123_456), sample("B", 1)])
    for since_ns in (START + 123_456_000, START + 123_456_001, START + 3600 * 10**9):
        assert phoebus().read("A", since_ns, since_ns + 10**9) == [(START + 123_456_000, "OK", "NO_ALARM", 1.5)]


def test_a_state_is_its_label_and_a_number_has_its_ranges(store: Store, phoebus: OpenPhoebus) -> None:
    store.add_metadata(
        {
            "E": Dated(0, Metadata(words=("Off", "On", ""))),
            "N": Dated(0, Metadata("mV", 3, (0.0, 10.0), (None, 8.0), (math.nan, 9.0))),
        }
    )
    store.add([sample("E", 1, 1), sample("N", 1, 2.5)])
    reader = phoebus()
    assert reader.read("E", START, START + 10**9)[0][3] == "On"
    assert reader.labels("E") == ["Off", "On", ""]
    assert reader.ask(NUMERIC, reader.channel("N")) == ((0.0, 10.0, None, 8.0, None, 9.0, 3, "mV"),)
    assert reader.ask(NUMERIC, reader.channel("E")) == ()


def test_a_state_that_becomes_a_number_has_no_labels_left(store: Store, phoebus: OpenPhoebus) -> None:
    store.add_metadata({"A": Dated(0, Metadata(words=("Off", "On")))})
    store.add_metadata({"A": Dated(START, Metadata("V"))})
    assert phoebus().labels("A") == []
    store.add_metadata({"A": Dated(START + 1000, Metadata(words=("a", "b", "c")))})
    reader = phoebus()
    assert reader.labels("A") == ["a", "b", "c"]
    assert reader.ask(NUMERIC, reader.channel("A")) == ()


def test_names_are_found_and_rows_are_counted(store: Store, phoebus: OpenPhoebus) -> None:
    store.add([sample("LAB:HV_0:V", us) for us in range(5)] + [sample("LAB:HVx0:V"), sample("lab:hv_0:v")])
    reader = phoebus()
    found = reader.ask("SELECT name FROM channel WHERE name LIKE %s ORDER BY name", r"LAB:HV\_0:%")
    assert found == (("LAB:HV_0:V",),)
    window = (reader.channel("LAB:HV_0:V"), reader._session_time(START), reader._session_time(START + 3000))
    count = "SELECT COUNT(*) FROM sample WHERE channel_id=%s AND smpl_time BETWEEN %s AND %s"
    assert reader.ask(count, *window) == ((4,),)


def test_what_other_programs_of_phoebus_look_for_is_there(store: Store, phoebus: OpenPhoebus) -> None:
    reader = phoebus()
    assert reader.severities == {1: "OK", 2: "MINOR", 3: "MAJOR", 4: "INVALID"}
    assert reader.ask("SELECT retent_id, descr FROM retent") == ((30, "Months"), (9999, "Forever"))
    assert reader.ask("SELECT smpl_mode_id, name FROM smpl_mode") == ((1, "Monitor"), (2, "Scan"))
    for table in ("smpl_eng", "chan_grp"):
        assert reader.ask(f"SELECT * FROM {table}") == ()
