"""The faults of a generator and its line, over real pyserial."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import serial

from sim.fake import CommandError
from sim.technix.fake import TechnixFake
from sim.technix.generator import Generator


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[TechnixFake]:
    fake = TechnixFake(str(tmp_path / "port"), Generator(), baud_pacing=False)
    fake.run("watch")
    fake.plug()
    yield fake
    fake.unplug()


@pytest.fixture
def line(fake: TechnixFake) -> Iterator[serial.Serial]:
    with serial.Serial(fake.port, 9600, timeout=0.2, exclusive=True) as line:
        yield line


def ask(line: serial.Serial, command: bytes) -> bytes:
    line.write(command + b"\r")
    return line.read_until(b"\r")


def pair(line: serial.Serial, name: bytes, pause: float = 0.11) -> list[bytes]:
    first = ask(line, name + b",1")
    time.sleep(pause)
    return [first, ask(line, name + b",0")]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 2
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def told(fake: TechnixFake, what: str) -> list[object]:
    return [event.value for event in fake.events.since(0)[1] if event.what == what]


def test_a_deaf_generator_does_nothing_and_its_watchdog_runs(fake: TechnixFake, line: serial.Serial) -> None:
    ask(line, b"P7,0")
    fake.run("deaf")
    assert ask(line, b"P7,1") == b""
    assert not fake.model.local
    fake.run("deaf 0")
    assert ask(line, b"E") == b"E1\r"
    assert (told(fake, "missed"), told(fake, "is:hears")) == (["P7,1"], [0, 1, 0, 1])


def test_the_nth_command_does_not_arrive(fake: TechnixFake, line: serial.Serial) -> None:
    fake.run("miss 2")
    assert [ask(line, b"P7,0"), ask(line, b"P7,1"), ask(line, b"P8,1")] == [b"P7,0\r", b"", b"P8,1\r"]
    assert not fake.model.local


def test_the_answer_to_the_nth_command_is_lost_after_it_acted(fake: TechnixFake, line: serial.Serial) -> None:
    fake.run("lose 2")
    assert [ask(line, b"E"), ask(line, b"P7,0"), ask(line, b"E")] == [b"E65\r", b"", b"E1\r"]
    assert told(fake, "spoilt") == ["P7,0: P7,0"]
    assert told(fake, "answered") == ["E: E65", "E: E1"]


def test_noise_comes_at_its_interval_while_everything_is_heard(fake: TechnixFake, line: serial.Serial) -> None:
    line.timeout = 0.05
    assert line.read(1) == b""
    fake.run("rx-noise 0.01")
    line.timeout = 0.5
    assert len(line.read(30)) == 30
    line.write(b"P7,0\r")
    until(lambda: not fake.model.local)
    fake.run("rx-noise 0")
    line.timeout = 0.1
    while line.read(1000):
        pass
    assert ask(line, b"E") == b"E1\r"


@pytest.mark.parametrize(
    ("command", "answer"), [(b"E", b"a165\r"), (b"d1,100", b"d1,101\r"), (b"P6,1", b"P7,1\r"), (b"P8,0", b"P5,0\r")]
)
def test_an_echo_is_that_of_another_command(
    fake: TechnixFake, line: serial.Serial, command: bytes, answer: bytes
) -> None:
    fake.run("wrong-echo")
    assert ask(line, command) == answer
    assert ask(line, b"E")[:1] == b"E"


def test_a_byte_is_left_out_of_an_answer(fake: TechnixFake, line: serial.Serial) -> None:
    fake.run("drop-byte 3")
    whole = len(b"d1,1000\r")
    assert [len(ask(line, b"d1,1000")) - whole for _ in range(7)] == [-1, 0, -1, 0, -1, 0, 0]


def test_the_pause_of_a_split_answer_is_settable(fake: TechnixFake, line: serial.Serial) -> None:
    fake.run("split 1 0.3")
    assert ask(line, b"E") == b"E"
    assert line.read_until(b"\r") == b"65\r"


def test_a_cut_cable_is_back_in_a_moment_under_its_name(fake: TechnixFake, line: serial.Serial) -> None:
    fake.run("cut 0.05")
    with pytest.raises(serial.SerialException):
        line.read(1)
    with serial.Serial(fake.port, 9600, timeout=0.2) as again:
        assert ask(again, b"E") == b"E65\r"


def test_noise_outlasts_a_cut_cable(fake: TechnixFake, line: serial.Serial) -> None:
    fake.run("rx-noise 0.01")
    fake.run("cut 0.01")
    with serial.Serial(fake.port, 9600, timeout=0.5) as again:
        assert again.read(6)


def test_a_watchdog_strikes_on_demand(fake: TechnixFake, line: serial.Serial) -> None:
    ask(line, b"P7,0")
    fake.run("strike")
    assert (fake.model.local, fake.model.watchdog_strikes) == (True, 1)


def test_the_front_panel_switches_on_in_local_mode_only(fake: TechnixFake, line: serial.Serial) -> None:
    fake.run("panel-on")
    assert fake.model.on
    fake.run("reset")
    ask(line, b"P7,0")
    fake.run("panel-on")
    assert not fake.model.on


def test_an_off_contact_that_sticks_answers_and_does_nothing_as_often_as_asked(
    fake: TechnixFake, line: serial.Serial
) -> None:
    fake.run("panel-on")
    fake.run("ignore P6,0 2")
    still_on = []
    for _ in range(3):
        assert pair(line, b"P6") == [b"P6,1\r", b"P6,0\r"]
        still_on.append(fake.model.on)
    assert still_on == [True, True, False]
    assert fake.violations == []


@pytest.mark.parametrize(
    ("command", "name"), [("P8,1", "inhibited"), ("P7,0", "local"), ("d1", "set_kv"), ("d2", "set_ma")]
)
def test_a_command_that_is_ignored_is_answered(
    fake: TechnixFake, line: serial.Serial, command: str, name: str
) -> None:
    before = getattr(fake.model, name)
    sent = command.encode() if "," in command else command.encode() + b",999"
    fake.run(f"ignore {command}")
    assert ask(line, sent) == sent + b"\r"
    assert getattr(fake.model, name) == before
    ask(line, sent)
    assert getattr(fake.model, name) != before


def test_a_pair_whose_second_half_comes_before_the_first_answer_does_not_act(
    fake: TechnixFake, line: serial.Serial
) -> None:
    fake.run("panel-on")
    fake.run("late 0.3 1")
    line.write(b"P6,1\r")
    time.sleep(0.15)
    line.write(b"P6,0\r")
    line.timeout = 1.0
    assert [line.read_until(b"\r"), line.read_until(b"\r")] == [b"P6,1\r", b"P6,0\r"]
    assert fake.model.on
    # nobody could know when the pause begins
    assert fake.violations == []


def test_a_lenient_generator_takes_a_pair_with_any_pause_and_tells_all_the_same(
    fake: TechnixFake, line: serial.Serial
) -> None:
    fake.run("panel-on")
    fake.run("pairs lenient")
    pair(line, b"P6", pause=0.02)
    assert not fake.model.on
    assert len(fake.violations) == 1
    with pytest.raises(CommandError, match=r"strict\|lenient"):
        fake.run("pairs loose")
