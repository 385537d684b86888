"""The commands of a Channel Access client, over the real libca, against a real server."""

from __future__ import annotations

import os
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from archiver.ca.session import named
from bench.rig.loopback import environment
from drivers.base import Reading, Severity, Status
from ioc.record import VALUE
from tests.small_ioc import SmallIoc, until

COMMAND = (sys.executable, "-P", "-m", "rackioc")


def run(*arguments: str) -> tuple[int, list[str], str]:
    """Run a command with its outputs piped, as a script does; return its code, its lines and what it says."""
    return run_shell(shlex.join([*COMMAND, *arguments]))


def run_shell(line: str) -> tuple[int, list[str], str]:
    """Run a line of a shell; return as ``run``."""
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, timeout=50)
    assert "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if not line.startswith("Warning: Duplicate EPICS CA Address")]
    return done.returncode, done.stdout.splitlines(), "\n".join(said)


def test_values_are_printed_as_by_caget(small_ioc: SmallIoc) -> None:
    small_ioc.post("ai", 1.25)
    small_ioc.post("bo", 1)
    small_ioc.post("text", "anode")
    small_ioc.post("long", -7)
    small_ioc.post("wave", (1.0, 2.5))
    names = [small_ioc.prefix + name for name in ("ai", "bo", "text", "long", "wave", "mbbi.STAT", "ao.DRVH")]
    code, lines, _ = run("get", *names)
    values = [line.removeprefix(f"{name:<30} ") for name, line in zip(names, lines, strict=True)]
    assert (code, values) == (0, ["1.25", "On", "anode", "-7", "2 1 2.5", "UDF", "60"])
    assert run("get", "-t", names[0])[:2] == (0, ["1.25"])


def test_a_repeater_that_is_started_keeps_no_pipe_open(small_ioc: SmallIoc, tmp_path: Path) -> None:
    """Like that of an older EPICS base, which goes on with the streams that it was started with."""
    small_ioc.post("ai", 1.25)
    repeater, started = tmp_path / "caRepeater", tmp_path / "started"
    repeater.write_text(f"#!/bin/sh\necho $$ > {started}\nexec sleep 120\n")
    repeater.chmod(0o755)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    asked = shlex.join([*COMMAND, "get", "-t", f"{small_ioc.prefix}ai"])
    try:
        found = run_shell(f"PATH={shlex.quote(str(tmp_path))}:$PATH EPICS_CA_REPEATER_PORT={port} {asked} 2>&1 | cat")
        assert found == (0, ["1.25"], "")
    finally:
        os.kill(int(started.read_text()), signal.SIGKILL)


@pytest.mark.parametrize("field", ["", ".VAL", ".{}"])
def test_a_value_that_is_invalid_is_told_to_be(small_ioc: SmallIoc, field: str) -> None:
    small_ioc.read("ai", 1.25)
    small_ioc.read("ai", None, Severity.INVALID, Status.COMM)
    name = f"{small_ioc.prefix}ai{field}"
    code, lines, said = run("get", "-t", name)
    assert (code, lines) == (0, ["1.25"])
    assert said == f"rackioc: {name} is INVALID (COMM): it may not be the value of now"


def test_a_value_with_a_lesser_alarm_and_a_field_of_an_invalid_record_are_not_told_to_be_invalid(
    small_ioc: SmallIoc,
) -> None:
    small_ioc.read("long", 3, Severity.MAJOR, Status.STATE)
    names = [small_ioc.prefix + name for name in ("long", "ao.DRVH", "ao.SEVR")]
    assert run("get", "-t", *names) == (0, ["3", "60", "INVALID"], "")


def test_a_put_after_which_the_value_is_invalid_says_so(small_ioc: SmallIoc) -> None:
    small_ioc.read("ao", 5.0, Severity.INVALID, Status.TIMEOUT)
    code, lines, said = run("put", f"{small_ioc.prefix}ao", "61")
    assert (code, len(lines)) == (1, 2)
    invalid, refused = said.splitlines()
    assert invalid == f"rackioc: {small_ioc.prefix}ao is INVALID (TIMEOUT): it may not be the value of now"
    assert refused.startswith(f"rackioc: {small_ioc.prefix}ao: ")


def test_a_monitored_value_that_cannot_be_read_any_more_is_told(small_ioc: SmallIoc) -> None:
    small_ioc.read("ai", 1.25)
    name = f"{small_ioc.prefix}ai"

    async def spoil() -> None:
        small_ioc.records["ai"].val = object()
        small_ioc.server.post([(small_ioc.records["ai"], VALUE)])

    with subprocess.Popen([*COMMAND, "monitor", name], stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdout is not None
        assert process.stdout.readline().endswith(" 1.25\n")
        small_ioc.do(spoil())
        told = process.stdout.readline() if select.select([process.stdout], [], [], 20)[0] else ""
        small_ioc.read("ai", 2.5)
        again = process.stdout.readline() if select.select([process.stdout], [], [], 20)[0] else ""
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert told.startswith(f"{name:<30} *** Not read (")
    assert again.endswith(" 2.5\n")


def test_a_long_text_is_printed_as_one(small_ioc: SmallIoc) -> None:
    small_ioc.post("lsi", "a word " * 30)
    assert run("get", "-t", f"{small_ioc.prefix}lsi.VAL$")[1] == [("a word " * 30)]


def test_a_pv_that_nobody_serves_is_told_and_is_code_1_and_the_others_are_printed(small_ioc: SmallIoc) -> None:
    small_ioc.post("ai", 1.25)
    code, lines, said = run("get", "-w", "0.5", "NOBODY:HAS:IT", f"{small_ioc.prefix}ai")
    assert (code, len(lines)) == (1, 1)
    assert said == "rackioc: NOBODY:HAS:IT is not connected after 0.5 s: no server answers for this name"
    for command in (["info", "NOBODY"], ["put", "NOBODY", "1"]):
        code, lines, said = run(*command, "-w", "0.5")
        assert (code, lines, said.startswith("rackioc: NOBODY is not connected")) == (1, [], True)


@pytest.mark.parametrize("output", ["/dev/full", "&-"])
@pytest.mark.parametrize("terse", [[], ["-t"]])
def test_a_put_is_carried_out_though_nothing_can_be_printed(
    small_ioc: SmallIoc, terse: list[str], output: str
) -> None:
    small_ioc.post("bo", 1)
    name = f"{small_ioc.prefix}bo"
    words = shlex.join([*COMMAND, "put", *terse, name, "Off"])
    code, lines, said = run_shell(f"{words} >{output}")
    assert run("get", "-t", name)[1] == ["Off"]
    assert (code, lines, len(said.splitlines())) == (1, [], 1), said
    assert said.startswith(f"rackioc: {name} was put, but the values cannot be printed: standard output: ")


@pytest.mark.slow
def test_a_put_does_not_wait_for_a_server_as_long_as_for_the_instrument(small_ioc: SmallIoc) -> None:
    code, _, said = run("put", "NOBODY:HAS:IT", "1")
    assert (code, said) == (1, "rackioc: NOBODY:HAS:IT is not connected after 5 s: no server answers for this name")


@pytest.mark.parametrize("command", ["get PV", "put PV 1", "monitor PV", "info PV"])
def test_a_variable_with_nonsense_is_one_line_and_code_2(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("EPICS_CA_SERVER_PORT", "abc")
    code, lines, said = run(*command.split())
    assert (code, lines) == (2, [])
    assert said == "rackioc: the environment variable EPICS_CA_SERVER_PORT is 'abc', not a port from 1 to 65535"


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("ao", "-0", "-0"),
        ("ao", "5.5", "5.5"),
        ("bo", "On", "On"),
        ("bo", "0", "Off"),
        ("text", "a b", "a b"),
    ],
)
def test_a_put_prints_the_value_of_before_and_the_new_one(
    small_ioc: SmallIoc, name: str, value: str, shown: str
) -> None:
    code, lines, said = run("put", small_ioc.prefix + name, value)
    assert (code, said) == (0, "")
    assert re.match(r"Old : \S+ ", lines[0])
    assert lines[1].split(None, 3)[3] == shown


@pytest.mark.parametrize("words", [["-test"], ["-abc"], ["-5t"], ["-c", "5"], ["5", "-c"]])
def test_what_begins_with_a_hyphen_and_is_no_number_is_not_put_without_its_first_letters(
    small_ioc: SmallIoc, words: list[str]
) -> None:
    text = f"{small_ioc.prefix}text"
    small_ioc.post("text", "anode")
    code, lines, said = run("put", text, *words)
    assert (code, lines, "No such option: -" in said) == (2, [], True)
    assert run("get", "-t", text)[1] == ["anode"]
    assert run("put", "-t", text, "--", "-test")[:2] == (0, ["-test"])


def test_a_negative_number_needs_nothing_before_it(small_ioc: SmallIoc) -> None:
    for value in ("-5", "-.5", "-5.", "-1e-3", "-2E+1", "-0x10"):
        assert run("put", f"{small_ioc.prefix}text", value, "-t") == (0, [value], "")


def test_a_long_text_is_put_to_its_field_with_a_dollar(small_ioc: SmallIoc) -> None:
    code, _, said = run("put", f"{small_ioc.prefix}text", "x" * 40)
    assert (code, "takes texts of 39 bytes" in said) == (1, True)


@pytest.mark.parametrize("value", ["61", "-1"])
def test_a_put_that_is_refused_is_code_1_and_tells_no_reason_of_an_earlier_one(
    small_ioc: SmallIoc, value: str
) -> None:
    small_ioc.do(_refused(small_ioc, "61 kV is above the limit"))
    code, lines, said = run("put", f"{small_ioc.prefix}ao", value)
    assert (code, len(lines)) == (1, 2)
    assert said == f"rackioc: {small_ioc.prefix}ao: Channel write request failed"


async def _refused(ioc: SmallIoc, reason: str) -> None:
    """As an instrument shows it."""
    ioc.records["ao"].process(Reading(5.0, Severity.MINOR, Status.WRITE, message=reason), time.time())


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("61 kV is above 60 kV; not sent to {ao}", "61 kV is above 60 kV; not sent to {ao}"),
        ("ao: 61 V is outside the limits", "{ao}: 61 V is outside the limits"),
        ("the crate says: no", "{ao}: the crate says: no"),
        ("not while {ao}2 is on", "{ao}: not while {ao}2 is on"),
    ],
)
def test_a_refusal_names_the_pv_once(reason: str, told: str) -> None:
    assert named("LAB:ao", reason.format(ao="LAB:ao")) == told.format(ao="LAB:ao")
    field = "LAB:ao.HIHI"
    assert named(field, f"no; not set: {field}") == f"no; not set: {field}"


@pytest.mark.slow
def test_an_off_that_waits_for_a_lost_instrument_is_told_as_pending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    prefix = f"T{os.getpid()}:"
    (tmp_path / "rack.yaml").write_text(
        f'prefix: "{prefix}"\ninstruments:\n  GEN: {{driver: technix, port: {tmp_path}/none, '
        "full_scale: {voltage_kv: 100, current_ma: 50}}\n"
    )
    with subprocess.Popen([*COMMAND, "ioc", str(tmp_path / "rack.yaml")]) as ioc:
        try:
            until(lambda: run("get", "-w", "1", f"{prefix}GEN:Conn")[0] == 0, 30)
            code, _, said = run("put", f"{prefix}GEN:HV", "Off")
        finally:
            ioc.kill()
    assert (code, f"{prefix}GEN:HV: HV Off is pending, not shown by GEN within 5 s" in said) == (1, True), said


def test_a_put_to_what_can_only_be_read_is_code_1(small_ioc: SmallIoc) -> None:
    code, _, said = run("put", f"{small_ioc.prefix}ai", "1")
    assert (code, "Write access denied; it can only be read" in said) == (1, True)
    code, _, said = run("put", f"{small_ioc.prefix}ao.DRVH", "1")
    assert (code, "a field that only the configuration sets" in said) == (1, True)


def test_where_a_pv_is_served_is_told(small_ioc: SmallIoc) -> None:
    code, lines, _ = run("info", f"{small_ioc.prefix}wave")
    assert code == 0
    told = [line.split(":", 1)[1].strip() for line in lines[1:]]
    assert (told[0], told[2:]) == ("connected", ["read, no write", "DBF_DOUBLE", "6"])
    assert told[1].endswith(f":{small_ioc.server.port}")


def test_changes_are_printed_with_time_and_alarm_until_ctrl_c(small_ioc: SmallIoc) -> None:
    small_ioc.post("ai", 1.25)
    name = f"{small_ioc.prefix}ai"
    with subprocess.Popen([*COMMAND, "monitor", name], stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        small_ioc.post("ai", 55.0)
        second = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert re.fullmatch(rf"{name} +\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{{6}} 1\.25\n", first)
    assert second.endswith(" 55 HIGH MINOR\n")


def test_what_is_found_is_monitored_while_others_are_looked_for(small_ioc: SmallIoc) -> None:
    small_ioc.post("ai", 1.25)
    names = ["NOBODY:HAS:IT", f"{small_ioc.prefix}ai"]
    command = [*COMMAND, "monitor", "-w", "8", *names]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        began = time.monotonic()
        lines.append(process.stdout.readline())
        waited = time.monotonic() - began
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert [line.split()[0] for line in lines] == names[::-1]
    assert "Not connected" in lines[1]
    assert waited > 4


@pytest.mark.parametrize("command", ["get", "put", "monitor", "info"])
@pytest.mark.parametrize("name", ["", "x" * 70_000])
def test_what_cannot_be_a_name_is_one_sentence(command: str, name: str) -> None:
    code, lines, said = run(command, name, *(["1"] if command == "put" else []), "-w", "0.5")
    assert (code, lines, said) == (1, [], f"rackioc: '{name[:60]}' is not the name of a PV")


def test_a_reader_that_has_enough_ends_the_monitor(small_ioc: SmallIoc) -> None:
    small_ioc.post("ai", 1.25)
    command = f"{sys.executable} -P -m rackioc monitor {small_ioc.prefix}ai | head -1"
    with subprocess.Popen(command, shell=True, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "1.25" in process.stdout.readline()

        def ended() -> bool:
            small_ioc.post("ai", time.time() % 10)
            return process.poll() is not None

        until(ended, 20)
