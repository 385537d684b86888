"""The tables of the two former loggers: what is in a row, when there is one, and old tables that go on growing."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pytest
from sqlalchemy import Connection, create_engine

from archiver.ca.listener import PvUpdate
from archiver.loggers.tablelogger import TableLogger, table_loggers
from archiver.loggers.tables import prepare, tables
from archiver.sample import Value
from archiver.settings import ArchiveSettings, MeasurementSettings, TemperatureSettings
from archiver.storage.store import StoreError, TableRow

OLD = """CREATE TABLE measurements (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, timestamp DATETIME, port_id INTEGER, voltage_set FLOAT,
    voltage_mon FLOAT, current FLOAT, is_hv_on BOOLEAN, status_raw INTEGER, is_overcurrent_protection_active BOOLEAN,
    is_current_out_of_spec BOOLEAN)"""
HALF_PAST_FOUR = 1_795_278_600  # 2026-11-21T16:30:00Z
BOTH: dict[int, Literal["ALL"] | tuple[int, ...]] = {4: "ALL", 8: (1, 2)}


class Rack:
    """What the PVs say now, and the rows that came of it."""

    def __init__(self) -> None:
        self.pvs: dict[str, PvUpdate] = {}
        self.late: list[Callable[[], None]] | None = None
        self.rows: list[TableRow] = []

    def get(self, pvs: Sequence[str], deliver: Callable[[Mapping[str, PvUpdate]], None]) -> None:
        found = {pv: self.pvs[pv] for pv in pvs if pv in self.pvs}
        if self.late is None:
            deliver(found)
        else:
            self.late.append(lambda: deliver(found))

    def channel(self, start: str, **changed: Value) -> None:
        values: dict[str, Value] = {"V0Set": 1500.0, "VMon": 1499.5, "IMon": 2.5, "I0Set": 10.0, "Status": 1}
        for name, value in (values | changed).items():
            self.set(f"LAB:HV1:{start}:{name}", value)

    def temperatures(self, *values: float) -> None:
        for number, value in enumerate(values, 1):
            self.set(f"LAB:TC1:T{number}", value, *((3, "UDF") if math.isnan(value) else ()))

    def set(self, pv: str, value: Value, severity: int = 0, status: str = "NO_ALARM") -> None:
        self.pvs[pv] = PvUpdate(time.time_ns(), value, severity, status)

    def set_invalid(self, pv: str, status: str = "COMM") -> None:
        self.pvs[pv] = self.pvs[pv]._replace(severity=3, status=status)


@pytest.fixture
def rack() -> Rack:
    return Rack()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "hv_monitoring.db"


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def archive(file: Path | str, **keys: Any) -> ArchiveSettings:
    return ArchiveSettings(database=f"sqlite:///{file}", pvs=(), **keys)


def measurements(rack: Rack, database: Path | str = "x.db", **keys: Any) -> TableLogger:
    settings: dict[str, Any] = {"instrument": "HV1", "channels": {4: (0,)}} | keys
    (log,) = table_loggers(
        archive(database, measurements=MeasurementSettings(**settings)), "LAB:", rack.get, rack.rows.extend
    )
    return log


def temperatures(rack: Rack, **keys: Any) -> TableLogger:
    settings = archive("x.db", temperatures=TemperatureSettings(instrument="TC1", **keys))
    (log,) = table_loggers(settings, "LAB:", rack.get, rack.rows.extend)
    return log


def run(log: TableLogger, since: float, until: float) -> None:
    """The clock goes on from one time to the other."""
    for tenth in range(int((until - since) * 10) + 1):
        log.tick(since + tenth / 10)


def ask(file: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(sql).fetchall()


def stamps(rack: Rack) -> list[Value | None]:
    return [row.values[0] for row in rack.rows]


def utc(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


# ---- measurements ----


def test_a_channel_has_a_row_at_each_full_interval(rack: Rack) -> None:
    rack.channel("S04:C00")
    run(measurements(rack), HALF_PAST_FOUR - 5, HALF_PAST_FOUR + 125)
    assert [row.values for row in rack.rows] == [
        (f"2026-11-21T17:{minute}:00.000000", 400, 1500.0, 1499.5, 2.5, 1, 1, 0, 0) for minute in (30, 31, 32)
    ]
    assert {(row.table, row.columns[:2], row.key) for row in rack.rows} == {
        ("measurements", ("timestamp", "port_id"), 2)
    }


def test_times_can_be_utc(rack: Rack) -> None:
    rack.channel("S04:C00")
    run(measurements(rack, time="utc"), HALF_PAST_FOUR - 1, HALF_PAST_FOUR + 1)
    assert stamps(rack) == ["2026-11-21T16:30:00.000000"]


@pytest.mark.parametrize(
    ("values", "flags"),
    [
        ({"Status": 1}, (1, 1, 0, 0)),
        ({"Status": 0}, (0, 0, 0, 0)),
        ({"Status": 9}, (1, 9, 1, 0)),
        ({"Status": 0x80}, (0, 0x80, 0, 0)),
        ({"IMon": 10.5}, (1, 1, 0, 1)),
        ({"IMon": 10.0}, (1, 1, 0, 0)),
        ({"IMon": 0.5, "I0Set": 0.0}, (1, 1, 0, 0)),
        ({"IMon": 0.5, "I0Set": -1.0}, (1, 1, 0, 0)),
    ],
)
def test_flags_are_as_the_logger_defined_them(rack: Rack, values: dict[str, Value], flags: tuple[int, ...]) -> None:
    rack.channel("S04:C00", **values)
    run(measurements(rack), HALF_PAST_FOUR - 1, HALF_PAST_FOUR)
    assert rack.rows[0].values[5:] == flags


def test_all_means_what_the_pv_list_shows_also_later(rack: Rack) -> None:
    for start in ("S04:C00", "S04:C11", "S05:C00", "S08:C01", "S08:C02", "S08:C03"):
        rack.channel(start)
    log = measurements(rack, channels=BOTH)
    run(log, HALF_PAST_FOUR - 1, HALF_PAST_FOUR)
    log.update_names(
        ["LAB:HV1:S04:C00:VMon", "LAB:HV1:S04:VMon:Array", "LAB:HV2:S04:C01:VMon", "LAB:HV1:S05:C00:VMon"]
    )
    run(log, HALF_PAST_FOUR + 59, HALF_PAST_FOUR + 60)
    log.update_names(["LAB:HV1:S04:C11:VMon", "LAB:HV1:S04:C00:VMon"])
    run(log, HALF_PAST_FOUR + 119, HALF_PAST_FOUR + 120)
    assert [row.values[1] for row in rack.rows] == [801, 802, 400, 801, 802, 400, 411, 801, 802]


@pytest.mark.parametrize("name", ["VMon", "Status"])
@pytest.mark.parametrize("status", ["COMM", "TIMEOUT", "READ", "UDF"])
def test_a_channel_that_is_not_known_now_has_no_row(rack: Rack, name: str, status: str) -> None:
    rack.channel("S08:C01")
    rack.channel("S08:C02")
    rack.set_invalid(f"LAB:HV1:S08:C01:{name}", status)
    run(measurements(rack, channels=BOTH), HALF_PAST_FOUR - 1, HALF_PAST_FOUR)
    assert [row.values[1] for row in rack.rows] == [802]


def test_an_alarm_about_a_value_does_not_hide_it(rack: Rack) -> None:
    rack.channel("S04:C00")
    rack.set_invalid("LAB:HV1:S04:C00:VMon", "HIHI")  # a site may call that INVALID
    run(measurements(rack), HALF_PAST_FOUR - 1, HALF_PAST_FOUR)
    assert rack.rows[0].values[3] == 1499.5


def test_a_setting_that_cannot_be_read_is_null_and_so_is_what_follows_from_it(rack: Rack) -> None:
    rack.channel("S04:C00", IMon=20.0)
    rack.set_invalid("LAB:HV1:S04:C00:V0Set", "READ")
    del rack.pvs["LAB:HV1:S04:C00:I0Set"]
    run(measurements(rack), HALF_PAST_FOUR - 1, HALF_PAST_FOUR)
    assert rack.rows[0].values[2:] == (None, 1499.5, 20.0, 1, 1, 0, None)


@pytest.mark.parametrize(
    ("step", "expected"), [(5, ["16:30:03", "16:31:00"]), (3600, ["17:29:58", "17:30:00", "17:31:00"])]
)
def test_a_clock_that_is_set_forward_costs_no_row(rack: Rack, step: int, expected: list[str]) -> None:
    rack.channel("S04:C00")
    log = measurements(rack, time="utc")
    run(log, HALF_PAST_FOUR - 58, HALF_PAST_FOUR - 2)
    run(log, HALF_PAST_FOUR - 2 + step, HALF_PAST_FOUR + step + 60)
    assert stamps(rack) == [f"2026-11-21T{each}.000000" for each in expected]


def test_a_clock_that_is_set_back_a_little_gives_no_row_twice(rack: Rack) -> None:
    rack.channel("S04:C00")
    log = measurements(rack, time="utc")
    run(log, HALF_PAST_FOUR - 1, HALF_PAST_FOUR + 2)
    run(log, HALF_PAST_FOUR - 3, HALF_PAST_FOUR + 62)
    assert stamps(rack) == ["2026-11-21T16:30:00.000000", "2026-11-21T16:31:00.000000"]


def test_an_hour_that_is_lived_through_again_has_rows_of_its_own(rack: Rack) -> None:
    rack.channel("S04:C00")
    log = measurements(rack, time="utc")
    run(log, HALF_PAST_FOUR - 1, HALF_PAST_FOUR + 62)
    run(log, HALF_PAST_FOUR - 62, HALF_PAST_FOUR + 62)
    times = ("30:00", "31:00", "29:00", "30:01", "31:01")
    assert stamps(rack) == [f"2026-11-21T16:{each}.000000" for each in times]


def test_the_hour_that_autumn_repeats_loses_no_row(rack: Rack) -> None:
    rack.channel("S04:C00")
    run(measurements(rack, interval="30m"), utc("2026-10-25T00:59:59+02:00"), utc("2026-10-25T03:00:01+01:00"))
    assert stamps(rack) == [
        "2026-10-25T01:00:00.000000",
        "2026-10-25T01:30:00.000000",
        "2026-10-25T02:00:00.000000",
        "2026-10-25T02:30:00.000000",
        "2026-10-25T02:00:00.000000+01:00",
        "2026-10-25T02:30:00.000000+01:00",
        "2026-10-25T03:00:00.000000",
    ]


def test_mysql_keeps_no_offset_so_the_second_pass_is_a_second_late(rack: Rack) -> None:
    settings = ArchiveSettings(
        database="mysql+pymysql://u:p@h/d",
        pvs=(),
        measurements=MeasurementSettings(instrument="HV1", channels={4: (0,)}, interval="1h"),
    )
    rack.channel("S04:C00")
    (log,) = table_loggers(settings, "LAB:", rack.get, rack.rows.extend)
    run(log, utc("2026-10-25T01:59:59+02:00"), utc("2026-10-25T02:00:01+01:00"))
    assert stamps(rack) == ["2026-10-25T02:00:00", "2026-10-25T02:00:01"]


def test_seven_hundred_channels_are_one_read(rack: Rack) -> None:
    asked: list[int] = []
    settings = MeasurementSettings(instrument="HV1", channels={slot: tuple(range(48)) for slot in range(16)})
    (log,) = table_loggers(
        archive("x.db", measurements=settings), "LAB:", lambda pvs, _: asked.append(len(pvs)), rack.rows.extend
    )
    run(log, HALF_PAST_FOUR - 1, HALF_PAST_FOUR + 1)
    assert asked == [768 * 5]


# ---- temperatures ----


def test_a_minute_is_the_mean_of_twenty_readings_around_it(rack: Rack) -> None:
    log = temperatures(rack)
    for tenth in range(-300, 300):
        rack.temperatures(*(number + tenth / 10 for number in range(4)))  # rises by 1 C a second, 0 at the minute
        log.tick(HALF_PAST_FOUR + tenth / 10)
        assert bool(rack.rows) == (tenth >= 95)
    (row,) = rack.rows
    assert row[:2] == ("temperatures", ("DateTm", "tc1", "tc2", "tc3", "tc4"))
    assert row.values == ("2026-11-21 17:30:00", *(pytest.approx(number) for number in range(4)))
    assert row.key == 1


def test_an_open_thermocouple_is_null_and_the_mean_is_that_of_valid_readings(rack: Rack) -> None:
    log = temperatures(rack)
    rack.temperatures(20.0, math.nan, math.nan, -200.0)
    run(log, HALF_PAST_FOUR - 12, HALF_PAST_FOUR + 2)
    rack.temperatures(20.0, math.nan, 30.0, -200.0)
    run(log, HALF_PAST_FOUR + 2, HALF_PAST_FOUR + 12)
    assert [row.values[1:] for row in rack.rows] == [(20.0, None, 30.0, -200.0)]


def test_four_open_thermocouples_are_a_row_of_nulls(rack: Rack) -> None:
    rack.temperatures(*[math.nan] * 4)
    run(temperatures(rack), HALF_PAST_FOUR - 12, HALF_PAST_FOUR + 12)
    assert [row.values[1:] for row in rack.rows] == [(None,) * 4]


@pytest.mark.parametrize("status", ["COMM", "TIMEOUT", "READ"])
def test_an_instrument_that_is_away_has_no_row(rack: Rack, status: str) -> None:
    rack.temperatures(20.0, math.nan, 21.0, 22.0)
    for pv in rack.pvs:
        rack.set_invalid(pv, status)
    log = temperatures(rack)
    run(log, HALF_PAST_FOUR - 12, HALF_PAST_FOUR + 12)
    rack.pvs.clear()  # and now the IOC is
    run(log, HALF_PAST_FOUR + 48, HALF_PAST_FOUR + 72)
    for number in range(1, 5):
        rack.set(f"LAB:TC1:T{number}", 0.0, 3, "UDF")  # it is back, and has read nothing yet
    run(log, HALF_PAST_FOUR + 108, HALF_PAST_FOUR + 132)
    assert rack.rows == []


def test_readings_that_slip_are_left_out(rack: Rack) -> None:
    log = temperatures(rack)
    rack.temperatures(20.0, 20.0, 20.0, 20.0)
    run(log, HALF_PAST_FOUR - 12, HALF_PAST_FOUR - 9.5)
    rack.temperatures(10.0, 10.0, 10.0, 10.0)
    run(log, HALF_PAST_FOUR + 9.5, HALF_PAST_FOUR + 9.6)
    assert rack.rows[0].values[1] == 15.0


def test_the_row_waits_for_answers_that_are_late(rack: Rack) -> None:
    rack.temperatures(20.0, 21.0, 22.0, 23.0)
    rack.late = []
    run(temperatures(rack), HALF_PAST_FOUR - 12, HALF_PAST_FOUR + 70)
    answers, later = rack.late[:20], rack.late[20:]
    assert len(later) == 20
    for answer in answers[:-1]:
        answer()
    assert rack.rows == []
    answers[-1]()
    assert stamps(rack) == ["2026-11-21 17:30:00"]


def test_a_clock_that_is_set_back_within_the_readings_gives_one_row(rack: Rack) -> None:
    rack.temperatures(20.0, 21.0, 22.0, 23.0)
    log = temperatures(rack)
    run(log, HALF_PAST_FOUR - 12, HALF_PAST_FOUR + 5)
    run(log, HALF_PAST_FOUR - 40, HALF_PAST_FOUR + 12)
    assert stamps(rack) == ["2026-11-21 17:30:00"]


def test_minutes_that_are_lived_through_again_have_rows_of_their_own(rack: Rack) -> None:
    rack.temperatures(20.0, 21.0, 22.0, 23.0)
    log = temperatures(rack, time="utc")
    for _ in range(2):
        run(log, HALF_PAST_FOUR - 12, HALF_PAST_FOUR + 72)
    assert stamps(rack) == [f"2026-11-21 16:{each}" for each in ("30:00", "31:00", "30:01", "31:01")]


def test_autumn_is_two_different_hours_also_as_a_primary_key(rack: Rack) -> None:
    rack.temperatures(20.0, 21.0, 22.0, 23.0)
    first, again = utc("2026-10-25T02:30:00+02:00"), utc("2026-10-25T02:30:00+01:00")
    assert again - first == 3600
    for each in (first, again, first, again):  # from an archiver that was started anew, too
        run(temperatures(rack), each - 12, each + 12)
    assert stamps(rack) == ["2026-10-25 02:30:00", "2026-10-25 02:30:01"] * 2


# ---- the tables ----


@pytest.fixture
def connection(file: Path) -> Iterator[Connection]:
    engine = create_engine(f"sqlite:///{file}")
    with closing(engine.connect()) as connection:
        yield connection
    engine.dispose()


def both(file: Path) -> ArchiveSettings:
    return archive(
        file,
        measurements=MeasurementSettings(instrument="HV1", channels=BOTH),
        temperatures=TemperatureSettings(instrument="TC1"),
    )


def test_tables_are_made_with_the_loggers_columns(file: Path, connection: Connection) -> None:
    for _ in range(2):
        prepare(connection, tables(both(file)))
    columns = {name: ask(file, f"SELECT name, type, pk FROM pragma_table_info('{name}')") for name in TABLES}
    assert columns == TABLES
    assert ask(file, "SELECT count(*) FROM pragma_index_list('measurements')") == [(1,)]


TABLES = {
    "measurements": [
        ("id", "INTEGER", 1),
        ("timestamp", "DATETIME", 0),
        ("port_id", "INTEGER", 0),
        ("voltage_set", "FLOAT", 0),
        ("voltage_mon", "FLOAT", 0),
        ("current", "FLOAT", 0),
        ("is_hv_on", "BOOLEAN", 0),
        ("status_raw", "INTEGER", 0),
        ("is_overcurrent_protection_active", "BOOLEAN", 0),
        ("is_current_out_of_spec", "BOOLEAN", 0),
    ],
    "temperatures": [("DateTm", "DATETIME", 1), *((f"tc{number}", "FLOAT", 0) for number in range(1, 5))],
}


def test_names_are_as_configured(file: Path, connection: Connection) -> None:
    names = ("zeit", "roof", "wall", "cellar", "out side")
    prepare(
        connection,
        tables(archive(file, temperatures=TemperatureSettings(instrument="TC1", table="solar", columns=names))),
    )
    assert ask(file, "SELECT name FROM pragma_table_info('solar')") == [(name,) for name in names]


def test_an_index_of_the_users_own_is_enough(file: Path, connection: Connection) -> None:
    connection.exec_driver_sql(OLD)
    connection.exec_driver_sql("CREATE UNIQUE INDEX own ON measurements (port_id, timestamp, id)")
    connection.commit()
    prepare(connection, tables(both(file)))
    assert ask(file, "SELECT name FROM pragma_index_list('measurements')") == [("own",)]


def test_a_table_that_lacks_columns_is_refused_and_left_alone(file: Path, connection: Connection) -> None:
    connection.exec_driver_sql("CREATE TABLE temperatures (datetm TEXT, TC1 FLOAT, tc3 FLOAT)")
    connection.commit()
    with pytest.raises(StoreError, match="the table temperatures has no column tc2, tc4: add"):
        prepare(connection, tables(both(file)))
    connection.close()
    assert ask(file, "SELECT name FROM sqlite_master") == [("temperatures",)]


def test_the_old_table_goes_on_growing_and_the_old_queries_answer(rack: Rack, file: Path) -> None:
    with closing(sqlite3.connect(file)) as old:
        old.execute(OLD)
        old.execute(
            "INSERT INTO measurements VALUES (41, '2026-11-21T17:28:59.123456', 801, 1500, 1499, 2.4, 1, 1, 0, 0)"
        )
        old.commit()
    rack.channel("S08:C01")
    rack.channel("S08:C02", Status=8, IMon=11.0)
    run(measurements(rack, channels=BOTH), HALF_PAST_FOUR - 1, HALF_PAST_FOUR + 61)
    with closing(sqlite3.connect(file)) as new:
        engine = create_engine(f"sqlite:///{file}")
        with closing(engine.connect()) as connection:
            prepare(connection, tables(both(file)))
        engine.dispose()
        for row in rack.rows:
            marks = ", ".join("?" * len(row.values))
            new.execute(f"INSERT INTO {row.table} ({', '.join(row.columns)}) VALUES ({marks})", row.values)
        new.commit()
    assert ask(file, "SELECT timestamp, voltage_mon FROM measurements WHERE port_id = 801 ORDER BY timestamp") == [
        ("2026-11-21T17:28:59.123456", 1499.0),
        ("2026-11-21T17:30:00.000000", 1499.5),
        ("2026-11-21T17:31:00.000000", 1499.5),
    ]
    for (stamp,) in ask(file, "SELECT timestamp FROM measurements"):  # a reader that knows the script's form alone
        datetime.strptime(str(stamp), "%Y-%m-%dT%H:%M:%S.%f")
    bad = "is_overcurrent_protection_active = 1 AND is_current_out_of_spec = 1 AND NOT is_hv_on"
    assert ask(file, f"SELECT id, port_id, typeof(timestamp) FROM measurements WHERE {bad}") == [
        (43, 802, "text"),
        (45, 802, "text"),
    ]
    assert ask(file, "SELECT strftime('%H:%M', timestamp) FROM measurements GROUP BY 1") == [
        ("17:28",),
        ("17:30",),
        ("17:31",),
    ]


@pytest.mark.parametrize("interval", ["0.5s", 0, "90ms", "an hour"])
def test_an_interval_is_whole_seconds(interval: str | float) -> None:
    for part in (
        MeasurementSettings(instrument="HV1", channels={4: "ALL"}, interval=interval),
        TemperatureSettings(instrument="TC1", interval=interval),
    ):
        assert [key for key, _ in part.faults()] == [("interval",)]
