"""The whole program: start, stop, what it writes, who notices whom, and the archiver beside it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.client import Client
from tests.system.conftest import CRATE, GENERATOR, LOGGER, MODULE, Ioc, Racks

ALL: dict[str, dict[str, Any]] = {"HV1": {**CRATE, "channels": {2: [0, 1]}}, "TC1": LOGGER, "GEN": GENERATOR}
ARCHIVE = {"database": "sqlite:///rack.sqlite", "pvs": ["PREFIX:*"]}


pytestmark = pytest.mark.usefixtures("one_at_a_time")


def up(ioc: Ioc, ca: Client, *instruments: str) -> None:
    for name in instruments:
        ca.wait(ioc(f"{name}:Conn"), lambda value: value == 2, 30)


def archiver(ioc: Ioc) -> psutil.Process:
    """The archiver's process."""
    deadline = time.monotonic() + 10
    while not (children := psutil.Process(ioc.process.pid).children()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return children[0]


def until(condition: Callable[[], object], timeout: float = 15.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_nothing_is_written_to_an_instrument_at_start_in_a_minute_of_scans_or_at_stop(
    racks: Racks, ca: Client
) -> None:
    instruments: dict[str, dict[str, Any]] = {
        "HV1": {**CRATE, "channels": {2: [0, 1], 8: [0, 1]}, "scan": {"monitor": 0.2, "settings": 1.0}},
        "TC1": LOGGER,
        "GEN": GENERATOR,
    }
    ioc = racks.start(instruments)
    up(ioc, ca, *instruments)
    sessions = json.loads(ioc.fault("HV1 state"))
    time.sleep(12)  # as many scans of the crate as one minute has at the default rates
    assert [ioc.fault(f"{name} writes") for name in instruments] == ["0", "0", "0"]
    assert [ioc.fault(f"{name} violations") for name in instruments] == ["[]", "[]", "[]"]
    ioc.process.send_signal(signal.SIGTERM)
    log = ioc.log
    assert ioc.process.wait(10) == 0
    assert "stopped" in log.read_text()
    assert sessions


def test_debugging_shows_scans_puts_and_clients(racks: Racks, ca: Client) -> None:
    folder, prefix = racks.prepare({"GEN": GENERATOR})
    ioc = racks.launch(folder, prefix, program=("env", "RACKIOC_LOG=DEBUG", *MODULE))
    up(ioc, ca, "GEN")
    ca.put(ioc("GEN:Mode"), "Remote")
    ca.put(ioc("GEN:VSet"), 12.5)
    until(lambda: ": carried out" in ioc.logged())
    lines = [line.split(" DEBUG ")[1] for line in ioc.logged().splitlines() if " DEBUG " in line]
    assert any(line.startswith("GEN: status: read in 0.") for line in lines)
    assert any(line.startswith("GEN: VSet") and line.endswith(" is put") for line in lines)
    assert any(line.startswith("GEN: VSet") and line.endswith(": carried out") for line in lines)
    assert any(line.startswith("rackioc.clients: client 127.0.0.1:") for line in lines)


def test_a_port_that_is_taken_is_a_warning_that_names_its_holder(racks: Racks) -> None:
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the test before served on the port
        holder.bind(("127.0.0.1", int(os.environ["EPICS_CA_SERVER_PORT"])))
        holder.listen()
        ioc = racks.start({"TC1": LOGGER})
        (line,) = [line for line in ioc.logged().splitlines() if "is in use" in line]
    assert " WARNING " in line
    assert f"TCP port {os.environ['EPICS_CA_SERVER_PORT']} is in use, by process {os.getpid()} (" in line


def test_a_closed_terminal_does_not_stop_what_nohup_started(racks: Racks) -> None:
    folder, prefix = racks.prepare({"TC1": LOGGER}, archive=ARCHIVE)
    ioc = racks.launch(folder, prefix, program=("nohup", *MODULE))
    until(lambda: ioc.archived("IOC:HEARTBEAT"))
    child = archiver(ioc)
    for process in (ioc.process, child):
        process.send_signal(signal.SIGHUP)
    beats = len(ioc.archived("IOC:HEARTBEAT"))
    until(lambda: len(ioc.archived("IOC:HEARTBEAT")) > beats + 1)
    assert ioc.process.poll() is None
    assert child.is_running()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("command", ["run", "ioc", "sim run"])
def test_a_signal_ends_it_well_also_before_anything_is_served(tmp_path: Path, command: str, number: int) -> None:
    config = tmp_path / "rack.yaml"
    os.mkfifo(config)  # it reads its configuration for as long as nobody writes one
    process = subprocess.Popen([*MODULE, *command.split(), str(config)])
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            writer = os.open(config, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # it has not opened it yet
            time.sleep(0.01)
        else:
            break
    process.send_signal(number)
    assert process.wait(10) == 0
    os.close(writer)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_it_in_order_with_the_last_samples_committed(racks: Racks, ca: Client, number: int) -> None:
    ioc = racks.start(ALL, archive=ARCHIVE)
    up(ioc, ca, "HV1", "TC1", "GEN")
    until(lambda: ioc.archived("GEN:VSet"))
    ca.put(ioc("GEN:Mode"), "Remote")
    ca.put(ioc("GEN:VSet"), 12.5)
    time.sleep(0.1)
    child = archiver(ioc)
    assert ioc.stop(number) == 0
    assert not child.is_running()
    history = ioc.archived("GEN:VSet")
    assert history[-1][5] == "Archive_Off"
    assert float(history[-2][2]) == pytest.approx(12.5, abs=0.03)


def test_an_absent_instrument_does_not_stop_the_others_and_appears_when_it_comes(racks: Racks, ca: Client) -> None:
    def wait_error(pv: str) -> None:
        until(lambda: ca.long(pv) != "")

    ioc = racks.start(ALL)
    up(ioc, ca, *ALL)
    for name in ALL:
        ioc.fault(f"{name} unplug")
    ioc.stop()
    # the next process finds the crate alone missing: nobody listens at its host
    absent = {**ALL, "GEN": {**GENERATOR, "port": "/dev/no-such-line"}}
    config = ioc.folder / "rack.yaml"
    config.write_text(config.read_text().replace(str(ioc.folder / "GEN"), "/tmp/no-such-line"))
    second = racks.launch(ioc.folder, ioc.prefix, "ioc")
    ca.wait(second("IOC:HEARTBEAT"), lambda value: value > 1)
    for name in absent:
        assert ca.text(second(f"{name}:Conn")) in {"Down", "Connecting"}
        wait_error(second(f"{name}:Error"))
    assert ca.severity(second("GEN:VMon")) == "INVALID"
    assert "libcaenhvwrapper" in ca.long(second("HV1:Error"))
    assert "/tmp/no-such-line" in ca.long(second("GEN:Error"))


def test_other_instruments_do_not_notice_one_that_hangs(racks: Racks, ca: Client) -> None:
    ioc = racks.start(ALL)
    up(ioc, ca, *ALL)
    ca.wait(ioc("TC1:T1"), lambda value: value.severity == 0)
    voltages, temperatures = ca.monitor(ioc("GEN:Status")), ca.monitor(ioc("TC1:T1"))
    ioc.fault("HV1 hang 5")
    time.sleep(6)
    assert not [value for value in (*voltages, *temperatures) if value.severity == 3]
    assert float(ca.get(ioc("GEN:WD:Margin"))) > 4
    assert int(ca.get(ioc("GEN:WD:Strikes"))) == 0


def test_puts_of_many_clients_to_one_generator_never_interleave(racks: Racks, ca: Client) -> None:
    ioc = racks.start({"GEN": GENERATOR})
    up(ioc, ca, "GEN")
    ca.put(ioc("GEN:Mode"), "Remote")
    ca.put(ioc("GEN:ISet"), 1)
    ca.put(ioc("GEN:VSet"), 1)
    script = """
import asyncio, sys
from aioca import caput
async def main():
    for n in range(6):
        await caput(sys.argv[1], "On" if n % 2 else "Off", wait=True, timeout=30, throw=False)
        await caput(sys.argv[2], 1 + n, wait=True, timeout=30, throw=False)
asyncio.run(main())
"""
    arguments = [sys.executable, "-P", "-c", script, ioc("GEN:HV"), ioc("GEN:VSet")]
    clients = [subprocess.Popen(arguments) for _ in range(5)]
    margins = []
    while any(client.poll() is None for client in clients):
        margins.append(float(ca.get(ioc("GEN:WD:Margin"))))
        time.sleep(0.1)
    assert ioc.fault("GEN violations") == "[]"
    commands = [entry.split("'")[1] if "'" in entry else entry for entry in json.loads(ioc.fault("GEN log 1000"))]
    halves = [found[0] for command in commands if (found := re.search("P[56],[01]", command))]
    assert len(halves) >= 8  # an Off that is pending takes the others along, and an On that is on sends nothing
    behind = {"P5,1": {"P5,0", "P6,1"}, "P6,1": {"P6,0"}}  # an Off goes between the halves of an On, and nothing else
    for first, second in pairwise(halves):
        assert second in behind.get(first, {second})
    assert min(margins) > 3.5


def test_the_archiver_is_started_again_when_it_is_killed(racks: Racks, ca: Client) -> None:
    ioc = racks.start({"GEN": GENERATOR}, archive=ARCHIVE)
    until(lambda: ioc.archived("IOC:HEARTBEAT"))
    archiver(ioc).kill()
    time.sleep(0.5)
    until(lambda: psutil.Process(ioc.process.pid).children())
    before = len(ioc.archived("IOC:HEARTBEAT"))
    until(lambda: len(ioc.archived("IOC:HEARTBEAT")) > before + 2)
    statuses = [row[5] for row in ioc.archived("IOC:HEARTBEAT")]
    assert statuses.count("Archive_Off") == 1


def test_the_archiver_ends_with_an_ioc_that_is_killed(racks: Racks, ca: Client) -> None:
    ioc = racks.start({"GEN": GENERATOR}, archive=ARCHIVE)
    child = archiver(ioc)
    until(lambda: ioc.archived("IOC:HEARTBEAT"))
    ioc.process.kill()
    ioc.process.wait()
    until(lambda: not child.is_running())
    racks.running.remove(ioc)


def test_an_ioc_that_comes_back_is_archived_again_with_the_gap_marked(racks: Racks, ca: Client) -> None:
    ioc = racks.start({"GEN": GENERATOR}, command="sim run", archive=ARCHIVE)
    until(lambda: ioc.archived("IOC:HEARTBEAT"))
    ioc.stop()
    environment = {**os.environ, "TEST_PASSWORD": "x"}
    archive = subprocess.Popen(
        [sys.executable, "-P", "-m", "rackioc", "archive", "rack.yaml"], cwd=ioc.folder, env=environment
    )
    try:
        first = racks.launch(ioc.folder, ioc.prefix, "ioc")
        before = len(ioc.archived("IOC:HEARTBEAT"))
        until(lambda: len(ioc.archived("IOC:HEARTBEAT")) > before + 2, 30)
        first.stop()
        until(lambda: [row for row in ioc.archived("IOC:HEARTBEAT") if row[5] == "Disconnected"])
        racks.launch(ioc.folder, ioc.prefix, "ioc")
        before = len(ioc.archived("IOC:HEARTBEAT"))
        until(lambda: len(ioc.archived("IOC:HEARTBEAT")) > before + 2, 40)
    finally:
        archive.terminate()
        assert archive.wait(10) == 0


def test_an_archiver_of_its_own_needs_no_password_of_an_instrument_and_tells_what_it_does(racks: Racks) -> None:
    ioc = racks.start({"GEN": GENERATOR, "HV1": CRATE}, command="ioc", archive=ARCHIVE)
    environment = {name: value for name, value in os.environ.items() if name != "TEST_PASSWORD"}
    log = ioc.folder / "archiver.log"
    with log.open("wb") as out:
        archive = subprocess.Popen(
            [*MODULE, "archive", "rack.yaml"], cwd=ioc.folder, env={**environment, "RACKIOC_LOG": "DEBUG"}, stderr=out
        )
    try:
        until(lambda: ioc.archived("IOC:HEARTBEAT"))
        until(
            lambda: re.search(r"DEBUG .*\d+ rows committed in 0\.\d+ s; waiting in memory: \d+, in", log.read_text())
        )
        assert f"{ioc('GEN:Conn')} is connected" in log.read_text()
        assert not re.search(r"\b1 rows", log.read_text())
    finally:
        archive.terminate()
        assert archive.wait(10) == 0


def test_deadbands_and_alarms_of_the_configuration_hold_in_the_archive(racks: Racks, ca: Client) -> None:
    records = {"PREFIX:TC1:T1": {"ADEL": 500.0, "HIGH": 0.0, "HSV": "MINOR"}}
    ioc = racks.start({"TC1": LOGGER}, records=records, archive=ARCHIVE)
    ca.wait(ioc("TC1:T1"), lambda value: value.severity == 1)
    until(lambda: len(ioc.archived("TC1:T2")) > 4)
    history = ioc.archived("TC1:T1")
    assert len([row for row in history if row[4] == "MINOR"]) == 1
    assert history[-1][5] == "HIGH"


def test_history_prints_what_is_archived(racks: Racks, ca: Client) -> None:
    ioc = racks.start({"GEN": GENERATOR}, archive=ARCHIVE)
    up(ioc, ca, "GEN")
    until(lambda: ioc.archived("GEN:VSet"))
    ca.put(ioc("GEN:Mode"), "Remote")
    ca.put(ioc("GEN:VSet"), 7)
    until(lambda: len(ioc.archived("GEN:VSet")) > 1)
    command = [sys.executable, "-P", "-m", "rackioc", "history", ioc("GEN:V*"), "--since", "1h", "--format"]
    done = subprocess.run([*command, "json"], cwd=ioc.folder, capture_output=True, text=True, check=True)
    values = [row for row in json.loads(done.stdout) if row["pv"] == ioc("GEN:VSet")]
    assert values[-1]["value"] == pytest.approx(7, abs=0.03)
    assert values[-1]["unit"] == "kV"
    done = subprocess.run([*command, "csv"], cwd=ioc.folder, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("time,pv,value,unit,severity,status")


def test_a_client_finds_it_by_tcp_alone(racks: Racks, ca: Client) -> None:
    ioc = racks.start({"TC1": LOGGER})
    port = ioc.logged().split("TCP port ")[1].split()[0]
    environment = {**os.environ, "EPICS_CA_ADDR_LIST": "", "EPICS_CA_NAME_SERVERS": f"127.0.0.1:{port}"}
    script = "import asyncio, sys; from aioca import caget; print(asyncio.run(caget(sys.argv[1], timeout=10)))"
    arguments = [sys.executable, "-P", "-c", script, ioc("IOC:PROCESS_ID")]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [str(ioc.process.pid)], done.stderr


def test_a_wrong_login_is_told_without_the_password(racks: Racks, ca: Client) -> None:
    ioc = racks.start({"HV1": {**CRATE, "host": "elsewhere"}})
    ioc.fault("HV1 unplug")
    up_or_down = ca.wait(ioc("HV1:Conn"), lambda value: value != 2, 20)
    assert up_or_down != 2
    sentence = ca.refused(ioc("HV1:Retry"), 1)
    assert "elsewhere" in sentence
    assert "geheim42" not in sentence


@pytest.mark.parametrize("command", ["run", "ioc", "check", "pvs"])
def test_a_bad_configuration_ends_with_code_2_and_its_faults(tmp_path: Path, command: str) -> None:
    (tmp_path / "rack.yaml").write_text("prefix: [5]\ninstruments: {X: {driver: lecroy}}\n")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "rackioc", command, "rack.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "rack.yaml:1: prefix: [5] must be a text" in done.stderr
    assert "rack.yaml:2: instruments.X.driver: 'lecroy' is not a driver" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_goes_wrong_otherwise_ends_with_code_1_and_a_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "rackioc", "history", "X"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "rack.sqlite" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
