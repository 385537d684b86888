"""The archiver as it runs: against a C IOC, over libca, into a file."""

from __future__ import annotations

import io
import re
import signal
import sqlite3
import threading
import time
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
from epicscorelibs.ca import cadef

from archiver import service
from archiver.health import read
from archiver.sample import Gap
from archiver.settings import ArchiveSettings
from archiver.status import show_pvs, show_status
from archiver.storage.database import open_reader
from archiver.storage.owner import ON_ITS_WAY_NS
from bench.rig import loopback
from drivers.base import Reading, Severity, Status
from rackioc.archive_status import ArchiveStatus
from tests.archiver.model import after
from tests.archiver.processes import Archiver, Ioc, Wait
from tests.small_ioc import SmallIoc

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
COUNTER = """
record(calc, "T:N{}") {{ field(SCAN, ".1 second") field(CALC, "VAL+1") }}
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


BRACKETS = """
record(ai, "T:CH[3]") { field(VAL, "3") field(PINI, "YES") }
record(ai, "T:V1") { field(VAL, "1") field(PINI, "YES") }
record(ai, "T:V2") { field(VAL, "2") field(PINI, "YES") }
record(waveform, "T:WF") { field(FTVL, "DOUBLE") field(NELM, "10") field(PINI, "YES") field(INP, [1.5, -2, 7, 8]) }
record(waveform, "T:Bytes") { field(FTVL, "UCHAR") field(NELM, "5") field(PINI, "YES") field(INP, [1, 0, 255, 0, 9]) }
"""


def test_names_with_brackets_elements_of_arrays_and_bytes(ioc: Ioc, archiver: Archiver, wait: Wait) -> None:
    ioc.start(BRACKETS + PV_LIST)
    ioc.put("T:PVS", "T:V1\nT:V2\nT:WF")
    archiver.start("T:CH[3]", "T:V[12]", "T:WF.[1:2]", "T:WF", "T:Bytes", policies={"T:WF.[1:2]": {"scan": "0.2s"}})
    pvs = ["T:CH[3]", "T:V1", "T:V2", "T:WF.[1:2]", "T:WF", "T:Bytes"]
    wait(lambda: all(archiver.rows(pv) for pv in pvs))
    with closing(open_reader(archiver.database)) as reader:
        assert reader.names() == sorted(pvs)
        values = [[sample.value for sample in reader.samples([pv], 0, 2**63 - 1)] for pv in pvs]
    wave, some, all_bytes = (1.5, -2.0, 7.0, 8.0), (-2.0, 7.0), (1.0, 0.0, 255.0, 0.0, 9.0)
    assert values == [[3.0], [1.0], [2.0], [some], [wave], [all_bytes]]
    wait(lambda: "6 of 6 PVs connected" in archiver.log)


def test_a_name_with_brackets_needs_no_list_of_pvs(ioc: Ioc, archiver: Archiver, wait: Wait) -> None:
    ioc.start(BRACKETS)
    archiver.start("T:CH[3]")
    wait(lambda: archiver.values("T:CH[3]") == [3.0])


def test_it_starts_with_a_spool_that_a_power_cut_has_emptied(
    ioc: Ioc, archiver: Archiver, wait: Wait, tmp_path: Path
) -> None:
    (tmp_path / "rack.spool").write_bytes(bytes(100_000))
    ioc.start(VOLTAGE)
    archiver.start("T:VMon")
    wait(lambda: archiver.values("T:VMon") == [1.5])
    assert "file is not a database; it is set aside as rack.spool.broken-" in archiver.log
    health = read(tmp_path / "rack.spool.status")
    assert health is not None
    assert health.aside == 1


def test_a_pv_that_was_never_connected_is_named(ioc: Ioc, archiver: Archiver, wait: Wait, tmp_path: Path) -> None:
    ioc.start(VOLTAGE + STATES)
    typos = [f"T:Typo{number}" for number in range(25)]
    archiver.start("T:VMon", "T:Count", *typos)
    file = tmp_path / "rack.spool.status"
    wait(lambda: (health := read(file)) and health.never == 25)
    out = io.StringIO()
    (problem,) = show_status(file, "table", out)
    assert problem.startswith("25 PVs not connected since the archiver's start: T:Typo0, T:Typo1, ")
    assert "T:Typo19 and 5 more: check the spelling" in problem
    assert "2 of 27 connected" in out.getvalue()
    assert "never connected  25: T:Typo0" in out.getvalue()


def test_the_figures_of_each_pv(ioc: Ioc, archiver: Archiver, wait: Wait, tmp_path: Path) -> None:
    ioc.start(VOLTAGE + STATES + TICKS)
    archiver.start("T:VMon", "T:Count", "T:Typo", "T:Ticks")
    figures = tmp_path / "rack.spool.pvs"

    def shown(glob: str) -> list[list[str]]:
        out = io.StringIO()
        show_pvs(figures, glob, "table", out)
        return [re.split("  +", line) for line in out.getvalue().splitlines()[1:]]

    wait(lambda: len(shown("*")) == 4 and int(shown("T:Ticks")[0][2]) > 20)
    count, ticks, typo = (shown(pv)[0] for pv in ("T:Count", "T:Ticks", "T:Typo"))
    assert (count[1:3], typo[1:]) == (["connected", "1"], ["never", "0", "0", "none", "none"])
    assert float(ticks[3]) == pytest.approx(10, rel=0.5)
    assert ticks[4][:10] == time.strftime("%Y-%m-%d", time.gmtime())
    assert [row[0] for row in shown("T:T*")] == ["T:Typo", "T:Ticks"]
    assert show_pvs(figures, "X*", "json", io.StringIO()) == ["none of the 4 PVs fits X*"]
    (problem,) = show_pvs(tmp_path / "other.pvs", "*", "table", io.StringIO())
    assert "there are no figures of PVs" in problem


def test_after_minutes_in_vain_the_log_and_an_alarm_say_so(
    ioc: Ioc, wait: Wait, tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    for name, value in environment.items():
        if name.startswith("EPICS_CA_"):
            monkeypatch.setenv(name, value)
        elif name.startswith("EPICS_CAS_"):
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(service, "NEVER", 1.0)
    monkeypatch.setattr(service, "NEVER_LONG", 3.0)
    monkeypatch.chdir(tmp_path)
    ioc.start(VOLTAGE)
    settings = ArchiveSettings(database="sqlite:///rack.sqlite", pvs=("T:VMon", "T:Typo"))
    stop = threading.Event()
    archiver = threading.Thread(target=service.run, args=(settings, Path("rack.yaml"), "T:PVS", "T:", stop))
    archiver.start()
    try:
        file = tmp_path / "rack.spool.status"
        wait(lambda: (health := read(file)) and health.never_long and health.connected)
        *_, readings = ArchiveStatus(file, lambda: False).read("status")
        assert isinstance(readings, dict)
        assert readings["Connected"] == Reading(1, Severity.MINOR, Status.STATE, message="1 never connected: T:Typo")
        wait(lambda: "1 PV not connected in 3 s since the archiver's start: T:Typo; check the" in caplog.text)
        time.sleep(2.5)
        assert caplog.text.count("T:Typo") == 1
    finally:
        stop.set()
        archiver.join()


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
    assert newest_ns - ON_ITS_WAY_NS < end_ns < killed_ns - ON_ITS_WAY_NS  # at the last sign of life
    ticks = archiver.rows("T:Ticks")
    assert (max(end_ns, after(newest_ns)), *mark) in ticks
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


def test_a_stop_is_stored_at_once_also_while_an_ioc_stands_still(ioc: Ioc, archiver: Archiver, wait: Wait) -> None:
    """libca waits 30 s for such an IOC to close its side; a supervisor kills the archiver before."""
    ioc.start(VOLTAGE)
    archiver.start("T:VMon")
    wait(lambda: archiver.values("T:VMon") == [1.5])
    ioc.freeze()
    stopped_ns = time.time_ns()
    archiver.terminate()
    wait(lambda: archiver.values("T:VMon")[-1] == "Archive_Off", 20)
    assert abs(archiver.rows("T:VMon")[-1][0] - stopped_ns) < 10 * 10**9


def test_what_came_before_the_mark_of_a_stop_is_stored(
    wait: Wait, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An IOC goes on telling values while the archiver disconnects, which takes long where channels are many."""
    disconnect = cadef.ca_context_destroy

    def slowly() -> None:
        time.sleep(0.5)
        disconnect()

    monkeypatch.setattr(cadef, "ca_context_destroy", slowly)
    for name, value in loopback.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    ioc, database = SmallIoc(), "sqlite:///rack.sqlite"
    pv, over, stop, told_ns = f"{ioc.prefix}ai", threading.Event(), threading.Event(), dict[float, int]()

    def tell() -> None:
        while not over.is_set():
            ioc.read("ai", float(len(told_ns)))
            told_ns[float(len(told_ns))] = time.time_ns()

    settings = ArchiveSettings(database=database, pvs=(pv,))
    arguments = (settings, Path("rack.yaml"), f"{ioc.prefix}none", ioc.prefix, stop)
    threads = [threading.Thread(target=service.run, args=arguments), threading.Thread(target=tell)]
    for thread in threads:
        thread.start()
    try:
        wait(lambda: (health := read(tmp_path / "rack.spool.status")) and health.stored > 100)
        stop.set()
        threads[0].join()
    finally:
        stop.set()
        over.set()
        threads[1].join()
        ioc.close()
    with closing(open_reader(database)) as reader:
        *_, newest, mark = reader.samples([pv], 0, 2**63 - 1)
    assert mark.status == "Archive_Off"
    way_ns = 200 * 10**6  # from the IOC to libca, with time to spare
    assert max(value for value, each in told_ns.items() if each < mark.time_ns - way_ns) <= float(str(newest.value))


@pytest.mark.slow
def test_an_archiver_that_catches_up_asks_no_ioc_to_merge_updates(ioc: Ioc, archiver: Archiver, wait: Wait) -> None:
    number = 1000
    ioc.start("".join(COUNTER.format(n) for n in range(number)))
    archiver.start(*(f"T:N{n}" for n in range(number)))
    wait(lambda: f"{number} of {number} PVs connected" in archiver.log, 60)
    wait(lambda: len(archiver.rows("T:N0")) > 20)
    archiver.freeze(4.0)
    caught_up_ns = time.time_ns() + 3 * 10**9
    wait(lambda: archiver.rows("T:N999")[-1][0] > caught_up_ns, 60)
    for pv in ("T:N0", "T:N500", "T:N999"):
        values = [value for value in archiver.values(pv) if isinstance(value, float)]
        assert {following - before for before, following in pairwise(values)} == {1.0}


# 1 kB: 300 of them send 3 MB/s, of which the buffers of the network are full within some seconds.
LOAD = f"""
record(waveform, "T:Load{{}}") {{{{
    field(FTVL, "DOUBLE") field(NELM, "120") field(SCAN, ".1 second") field(INP, [{",".join("1" * 120)}])
}}}}
"""


@pytest.mark.slow
def test_what_an_ioc_merges_while_the_archiver_stands_still_is_marked(
    ioc: Ioc, archiver: Archiver, wait: Wait
) -> None:
    load, counters = [f"T:Load{n}" for n in range(300)], [f"T:N{n}" for n in range(200)]
    ioc.start("".join(COUNTER.format(n) for n in range(200)) + VOLTAGE + "".join(LOAD.format(n) for n in range(300)))
    archiver.start("T:VMon", *load, *counters, policies={"T:Load*": {"scan": "60s"}})
    wait(lambda: "501 of 501 PVs connected" in archiver.log, 60)
    wait(lambda: len(archiver.rows("T:N0")) > 20)
    archiver.freeze(10.0)
    caught_up_ns = time.time_ns() + 3 * 10**9
    wait(lambda: archiver.rows("T:N199")[-1][0] > caught_up_ns, 60)
    merged = 0
    for pv in counters:
        values = archiver.values(pv)
        counts = [value for value in values if isinstance(value, float)]
        for before, following in pairwise(counts):
            if following - before > 1:
                merged += 1
                assert values[values.index(before) + 1] == Gap.OVERRUN
    assert merged > len(counters) / 2
    assert archiver.values("T:VMon") == [1.5]
    assert "stood still for 10 s" in archiver.log
