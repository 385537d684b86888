"""The archiver as it runs: against a C IOC, over libca, into a file."""

from __future__ import annotations

import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from archiver.storage.database import open_reader
from tests.archiver.processes import Archiver, Ioc, Wait

VOLTAGE = """
record(ai, "T:VMon") {
    field(VAL, "1.5") field(PINI, "YES") field(EGU, "kV") field(PREC, "2")
    field(HIHI, "9.2") field(HHSV, "MAJOR") field(MDEL, "0.01") field(ADEL, "1")
}
"""
STATES = """
record(bo, "T:HV") { field(VAL, "0") field(PINI, "YES") field(ZNAM, "Off") field(ONAM, "On") }
record(stringout, "T:Name") { field(VAL, "anode") field(PINI, "YES") }
record(longout, "T:Count") { field(VAL, "-7") field(PINI, "YES") }
record(ai, "T:Never") {}
record(waveform, "T:Wave") { field(FTVL, "DOUBLE") field(NELM, "10") field(PINI, "YES") }
"""
PV_LIST = """
record(waveform, "T:PVS") { field(FTVL, "CHAR") field(NELM, "100000") }
"""
TICKS = """
record(calc, "T:Ticks") { field(CALC, "VAL+1") field(SCAN, ".1 second") field(PINI, "YES") }
"""


def test_stamps_are_the_iocs_to_the_nanosecond(ioc: Ioc, archiver: Archiver, wait: Wait) -> None:
    ioc.start(VOLTAGE)
    archiver.start("T:VMon")
    wait(lambda: archiver.values("T:VMon") == [1.5])
    stamps = [ioc.stamp_ns("T:VMon")]
    ioc.put("T:VMon", 4)
    stamps.append(ioc.stamp_ns("T:VMon"))
    wait(lambda: len(archiver.rows("T:VMon")) == 2)
    assert [row[0] for row in archiver.rows("T:VMon")] == stamps


def test_the_archive_deadband_and_the_alarms_decide(ioc: Ioc, archiver: Archiver, wait: Wait) -> None:
    """ADEL 1, MDEL 0.01: were the mask DBE_VALUE, every put would be stored."""
    ioc.start(VOLTAGE)
    archiver.start("T:VMon")
    wait(lambda: archiver.values("T:VMon") == [1.5])
    for value in (1.8, 2.1, 9, 9.1, 9.3, 9.25, 9.1):
        ioc.put("T:VMon", value)
    wait(lambda: len(archiver.rows("T:VMon")) >= 4)
    assert archiver.signal(signal.SIGTERM) == 0
    assert [row[1:] for row in archiver.rows("T:VMon")][1:-1] == [
        (9.0, 0, "NO_ALARM"),
        (9.3, 2, "HIHI"),
        (9.1, 0, "NO_ALARM"),
    ]


def test_every_scalar_type_and_its_metadata(ioc: Ioc, archiver: Archiver, wait: Wait) -> None:
    ioc.start(VOLTAGE + STATES + PV_LIST)
    ioc.put("T:PVS", "T:VMon\nT:HV\nT:Name\nT:Count\nT:Never\nT:Wave")
    archiver.start("T:*")
    wait(lambda: archiver.values("T:Count") == [-7])
    ioc.put("T:HV", "On")
    ioc.put("T:VMon", "nan")
    wait(lambda: len(archiver.rows("T:VMon")) == 2)
    assert archiver.values("T:HV") == [0, 1]
    assert archiver.values("T:Name") == ["anode"]
    assert archiver.values("T:VMon") == [1.5, "NaN"]
    with closing(sqlite3.connect(archiver.file)) as connection:
        assert connection.execute("SELECT value FROM history WHERE name = 'T:HV'").fetchall() == [("Off",), ("On",)]
        about = """
            SELECT unit, prec, high_alarm_lmt FROM num_metadata JOIN channel USING (channel_id)
            WHERE name = 'T:VMon'"""
        assert connection.execute(about).fetchone() == ("kV", 2, 9.2)
    assert archiver.values("T:Never") == []
    assert "T:Never" not in archiver.log  # it has no value yet: nothing to store, nothing to complain about
    with closing(open_reader(archiver.database)) as reader:
        assert [sample.value for sample in reader.samples(["T:Wave"], 0, 2**63 - 1)] == [()]
    assert "6 of 6 PVs connected" in archiver.log


def test_a_lost_ioc_is_a_gap_that_heals(ioc: Ioc, archiver: Archiver, wait: Wait) -> None:
    """It may come back with another type. libca waits 10 s before it searches for what it has lost."""
    ioc.start(VOLTAGE + STATES)
    archiver.start("T:VMon", "T:Count")
    wait(lambda: archiver.values("T:VMon") == [1.5] and archiver.values("T:Count") == [-7])
    ioc.stop()
    wait(lambda: archiver.values("T:VMon") == [1.5, "Disconnected"])
    ioc.start(VOLTAGE + STATES.replace("longout", "stringout"))
    wait(lambda: archiver.values("T:Count") == [-7, "Disconnected", "-7"])
    assert archiver.values("T:VMon") == [1.5, "Disconnected", 1.5]
    assert archiver.rows("T:VMon")[1][2:] == (3, "Disconnected")
    assert archiver.log.count("0 of 2 PVs connected") == 1


def test_a_pv_that_may_not_be_read_is_named_and_tried_again(
    ioc: Ioc, archiver: Archiver, wait: Wait, tmp_path: Path
) -> None:
    (tmp_path / "ioc.acf").write_text("ASG(DEFAULT) { RULE(1, WRITE) }  ASG(SECRET)")
    ioc.start(VOLTAGE.replace("field(VAL", 'field(ASG, "SECRET") field(VAL'))
    archiver.start("T:VMon")
    wait(lambda: "T:VMon cannot be read: " in archiver.log)
    ioc.put("T:VMon.ASG", "DEFAULT")
    wait(lambda: archiver.values("T:VMon") == [1.5])
    ioc.put("T:VMon.ASG", "SECRET")
    wait(lambda: archiver.values("T:VMon") == [1.5, "Disconnected"])
    ioc.put("T:VMon.ASG", "DEFAULT")
    wait(lambda: archiver.values("T:VMon") == [1.5, "Disconnected", 1.5])


def test_a_value_older_than_the_gap_is_stored_at_the_connection(ioc: Ioc, archiver: Archiver, wait: Wait) -> None:
    """The IOC lives on while the archiver is away: its PV has not changed, but is known again from now on."""
    ioc.start(VOLTAGE)
    archiver.start("T:VMon")
    wait(lambda: archiver.values("T:VMon") == [1.5])
    assert archiver.signal(signal.SIGINT) == 0
    restarted_ns = time.time_ns()
    archiver.start("T:VMon")
    wait(lambda: archiver.values("T:VMon") == [1.5, "Archive_Off", 1.5])
    assert restarted_ns < archiver.rows("T:VMon")[-1][0] < time.time_ns()


def test_sigterm_commits_what_came_in_just_before(ioc: Ioc, archiver: Archiver, wait: Wait) -> None:
    ioc.start(VOLTAGE)
    archiver.start("T:VMon")
    wait(lambda: archiver.values("T:VMon") == [1.5])
    ioc.put("T:VMon", 5)
    time.sleep(0.1)  # for the network, not for the commit
    assert archiver.signal(signal.SIGTERM) == 0
    assert archiver.values("T:VMon") == [1.5, 5.0, "Archive_Off"]
    assert not archiver.file.with_name("rack.sqlite-wal").exists()


def test_kill_9_loses_at_most_the_last_second_and_is_marked_by_the_next_run(
    ioc: Ioc, archiver: Archiver, wait: Wait
) -> None:
    ioc.start(TICKS + VOLTAGE)
    archiver.start("T:Ticks", "T:VMon")
    wait(lambda: len(archiver.rows("T:Ticks")) > 12)
    killed_ns = time.time_ns()
    archiver.signal(signal.SIGKILL)
    newest_ns = archiver.rows("T:Ticks")[-1][0]
    assert killed_ns - newest_ns < 1.5e9
    archiver.start("T:Ticks", "T:VMon")
    wait(lambda: len(archiver.rows("T:VMon")) == 3)
    end_ns, *mark = archiver.rows("T:VMon")[1]
    assert mark == ["Archive_Off", 3, "Archive_Off"]
    assert newest_ns < end_ns < killed_ns  # at the last sign of life
    ticks = archiver.rows("T:Ticks")
    assert (end_ns, "Archive_Off", 3, "Archive_Off") in ticks
    assert len({row[1] for row in ticks}) == len(ticks)


def test_names_that_appear_in_the_list_later_are_followed(ioc: Ioc, archiver: Archiver, wait: Wait) -> None:
    ioc.start(VOLTAGE + STATES + PV_LIST)
    ioc.put("T:PVS", "T:VMon\nT:Count")
    archiver.start("T:V*", "T:H?")
    wait(lambda: archiver.values("T:VMon") == [1.5])
    assert archiver.values("T:HV") == []
    ioc.put("T:PVS", "T:VMon\nT:Count\nT:HV")
    wait(lambda: archiver.values("T:HV") == [0])
    assert archiver.values("T:Count") == []
    assert archiver.values("T:VMon") == [1.5]


def test_2000_pvs(ioc: Ioc, archiver: Archiver, wait: Wait) -> None:
    names = [f"T:C{number:04}" for number in range(2000)]
    records = "".join(f'record(longout, "{name}") {{ field(VAL, "3") field(PINI, "YES") }}\n' for name in names)
    ioc.start(records + PV_LIST)
    ioc.put("T:PVS", "\n".join(names))
    archiver.start("T:*")
    wait(lambda: "2000 of 2000 PVs connected" in archiver.log)
    assert archiver.signal(signal.SIGTERM) == 0
    with closing(sqlite3.connect(archiver.file)) as connection:
        counts = connection.execute("SELECT count(*), count(DISTINCT channel_id) FROM sample").fetchone()
    assert counts == (4000, 2000)
