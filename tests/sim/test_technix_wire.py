"""The generator over real pyserial."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial

from sim.control import send
from sim.fake import CommandError
from sim.pty_port import PtyPort
from sim.technix.fake import TechnixFake
from sim.technix.generator import Generator


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[TechnixFake]:
    fake = TechnixFake(str(tmp_path / "port"), Generator())
    fake.plug()
    yield fake
    fake.unplug()


@pytest.fixture
def line(fake: TechnixFake) -> Iterator[serial.Serial]:
    with serial.Serial(fake.port, 9600, timeout=0.4, exclusive=True) as line:
        yield line


def ask(line: serial.Serial, command: bytes) -> bytes:
    line.write(command + b"\r")
    return line.read_until(b"\r")


def test_an_exchange_goes_over_pyserial(line: serial.Serial) -> None:
    assert ask(line, b"E") == b"E65\r"
    assert ask(line, b"P7,0") == b"P7,0\r"
    assert ask(line, b"E") == b"E1\r"


def test_an_exchange_takes_as_long_as_at_9600_baud(line: serial.Serial) -> None:
    start = time.monotonic()
    ask(line, b"d1,4095")
    assert time.monotonic() - start >= 16 / 960


@pytest.mark.alone
def test_without_pacing_it_answers_at_once(tmp_path: Path) -> None:
    fake = TechnixFake(str(tmp_path / "port"), Generator(), baud_pacing=False)
    fake.plug()
    with serial.Serial(fake.port, timeout=1) as line:
        start = time.monotonic()
        for _ in range(10):
            ask(line, b"d1,4095")
        assert time.monotonic() - start < 160 / 960
    fake.unplug()


def test_a_pair_with_the_pause_of_the_manual_switches_on(fake: TechnixFake, line: serial.Serial) -> None:
    ask(line, b"P7,0")
    ask(line, b"P5,1")
    time.sleep(0.1)
    ask(line, b"P5,0")
    assert fake.model.on
    assert fake.violations == []


def test_a_mute_generator_hears_but_says_nothing(fake: TechnixFake, line: serial.Serial) -> None:
    fake.run("mute")
    assert ask(line, b"P7,0") == b""
    assert not fake.model.local
    fake.run("unmute")
    assert ask(line, b"E") == b"E1\r"


def test_garbage_comes_as_often_as_asked(fake: TechnixFake, line: serial.Serial) -> None:
    fake.run("garbage 2")
    answers = [ask(line, b"E") for _ in range(3)]
    assert b"E65\r" not in answers[:2]
    assert answers[2] == b"E65\r"


def test_a_split_answer_comes_in_halves(fake: TechnixFake, line: serial.Serial) -> None:
    fake.run("split")
    line.timeout = 0.06
    assert ask(line, b"E") == b"E"
    line.timeout = 0.4
    assert line.read_until(b"\r") == b"65\r"
    fake.run("split 0")
    assert ask(line, b"E") == b"E65\r"


def test_a_late_answer_comes_after_the_timeout(fake: TechnixFake, line: serial.Serial) -> None:
    fake.run("late 0.2 1")
    line.timeout = 0.1
    assert ask(line, b"E") == b""
    line.timeout = 0.4
    assert line.read_until(b"\r") == b"E65\r"
    assert ask(line, b"a1") == b"a10\r"


def test_a_dropped_half_leaves_the_first_in_the_status(fake: TechnixFake, line: serial.Serial) -> None:
    fake.run("drop-half")
    ask(line, b"P6,1")
    assert ask(line, b"P6,0") == b""
    assert ask(line, b"E") == b"E97\r"
    assert ask(line, b"P6,0") == b"P6,0\r"


def test_unplugged_the_device_vanishes_and_comes_back_under_its_name(fake: TechnixFake, line: serial.Serial) -> None:
    fake.run("unplug")
    with pytest.raises(serial.SerialException):
        line.read(1)
    with pytest.raises(serial.SerialException, match="No such file"):
        serial.Serial(fake.port)
    fake.run("plug")
    with serial.Serial(fake.port, timeout=0.4) as again:
        assert ask(again, b"E") == b"E65\r"


def test_the_state_survives_the_cable(fake: TechnixFake, line: serial.Serial) -> None:
    ask(line, b"d1,4095")
    fake.run("unplug")
    fake.run("plug")
    assert fake.model.set_kv == 100


def test_fault_and_local_come_from_the_control_channel(fake: TechnixFake, line: serial.Serial) -> None:
    ask(line, b"P7,0")
    fake.run("fault")
    assert ask(line, b"E") == b"E3\r"
    fake.run("local")
    assert ask(line, b"E") == b"E67\r"


def test_the_interlock_is_open_or_closed(fake: TechnixFake) -> None:
    with pytest.raises(CommandError, match=r"interlock open\|close"):
        fake.run("interlock ajar")


def test_a_real_device_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "port").write_text("something of somebody else")
    with pytest.raises(RuntimeError, match="not a simulated port"):
        TechnixFake(str(tmp_path / "port"), Generator()).plug()


def test_a_port_left_behind_by_a_killed_run_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "port").symlink_to("/dev/pts/99999")
    fake = TechnixFake(str(tmp_path / "port"), Generator())
    fake.plug()
    with serial.Serial(fake.port, timeout=0.4) as line:
        assert ask(line, b"E") == b"E65\r"
    fake.unplug()


def test_it_stands_alone_until_interrupted(tmp_path: Path) -> None:
    port, control = tmp_path / "port", tmp_path / "control"
    program = f"from sim.technix.fake import serve; serve({str(port)!r}, {str(control)!r})"
    with subprocess.Popen([sys.executable, "-P", "-c", program]) as process:
        while not (control.exists() and port.exists()):
            time.sleep(0.02)
        with serial.Serial(str(port), timeout=1) as line:
            assert ask(line, b"E") == b"E65\r"
        assert send(str(control), "GEN writes") == "0"
        process.send_signal(signal.SIGINT)
    assert process.returncode == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("terminator", [b"\r", b"\n", b"\r\n", b";"])
def test_a_line_ends_as_the_instrument_has_it(tmp_path: Path, terminator: bytes) -> None:
    port = PtyPort(str(tmp_path / "line"), terminator)
    with serial.Serial(port.path, 9600, timeout=1) as line:
        line.write(b"*IDN?" + terminator + b"P" + terminator[:1])
        assert port.read_line() == b"*IDN?"
        line.write(terminator[1:])
        assert port.read_line() == b"P"
    port.close()
    port.release()


def test_a_binary_protocol_is_read_by_its_lengths_or_by_silence(tmp_path: Path) -> None:
    port = PtyPort(str(tmp_path / "line"))
    with serial.Serial(port.path, 9600, timeout=1) as line:
        line.write(b"\x02\x0d\x01\x00\x03rest")
        assert port.read_bytes(3) == b"\x02\x0d\x01"
        assert port.read_bytes(2) == b"\x00\x03"
        assert port.read_bytes(256, 0.05) == b"rest"
        assert port.read_bytes(1, 0.05) == b""
        later = threading.Timer(0.1, port.close)
        later.start()
        assert port.read_bytes(1) is None
        later.join()
    port.release()


def test_the_line_of_a_simulation_that_runs_is_left_to_it(tmp_path: Path) -> None:
    path = str(tmp_path / "line")
    port = PtyPort(path)
    for _ in range(2):  # also behind a client that has come and gone, and while one is there
        with pytest.raises(RuntimeError, match="line is the line of a simulation that runs: stop that one first"):
            PtyPort(path)
        with serial.Serial(path, 9600, timeout=1, exclusive=True) as line:
            with pytest.raises(RuntimeError, match="a simulation that runs"):
                PtyPort(path)
            line.write(b"E\r")
            assert port.read_line() == b"E"
    with pytest.raises(RuntimeError, match="a simulation that runs"):
        PtyPort(path)
    target = os.readlink(path)
    port.close()
    port.release()
    os.symlink(target, path)  # as a run that was killed leaves it
    again = PtyPort(path)
    again.close()
    again.release()
