"""The Technix driver against transcripts of the line: real pyserial on a pty, bytes from the manual both ways.

A transcript is a list of (command, answer), in order; another command, or a line left over, fails the test.
"""

from __future__ import annotations

import os
import pty
import re
import select
import termios
import threading
import time
import tty
from collections.abc import Iterator
from typing import Any

import pytest
import serial
from hypothesis import given
from hypothesis import strategies as st

from drivers import technix
from drivers.base import BadReply, LinkDown, NoReply, Reading, RecordType, Refused, Severity, Status
from drivers.technix import DRIVER, Technix
from drivers.technix.config import FullScale, Limits, TechnixConfig
from drivers.technix.line import REPLY_TIMEOUT
from drivers.technix.points import Scale
from drivers.technix.watchdog import Watchdog
from tests.drivers.steps import merged

# A pause in an answer is a number of seconds; None is a generator that says nothing.
Answer = bytes | tuple[bytes | float, ...] | None
Transcript = list[tuple[bytes, Answer]]

ON, REMOTE_OFF, LOCAL_OFF = b"E8", b"E0", b"E64"
SCALE = FullScale(voltage_kv=100, current_ma=50)
LIMITS = Limits(voltage_kv=60, current_ma=20)


class Generator:
    """The far end of the line: a thread that plays transcripts and notes when it got and gave each line.

    What may lack a byte is asked for once more, which transcripts leave out: it is answered as before. That is what
    is answered for the first time, a status that changes, and a number that becomes shorter (``repeats``).
    """

    def __init__(self) -> None:
        self.far, near = pty.openpty()
        tty.setraw(self.far)
        tty.setraw(near)
        self.port = os.ttyname(near)
        self._near = near
        self._script: Transcript = []
        self._last: dict[bytes, bytes] = {}
        self._once: set[bytes] = set()  # what may be asked for once more
        self._again = b""  # what is asked for once more now
        self.repeats = True
        self._surprises: list[bytes] = []
        self.times: list[tuple[bytes, float, float]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def expects(self, *transcript: tuple[bytes, Answer]) -> None:
        self.check()
        self._script = list(transcript)

    def check(self) -> None:
        time.sleep(0.02)
        assert not self._surprises, f"commands that nobody expected: {self._surprises}"
        assert not self._script, f"commands that were not sent: {self._script}"

    def send(self, data: bytes) -> None:
        os.write(self.far, data)

    def unplug(self) -> None:
        self._stop.set()
        self._thread.join()
        if self.far >= 0:
            os.close(self.far)
            os.close(self._near)
            self.far = -1

    def _run(self) -> None:
        line = b""
        while not self._stop.is_set():
            if not select.select([self.far], [], [], 0.01)[0]:
                continue
            line += os.read(self.far, 1)
            if line.endswith(b"\r"):
                self._play(line[:-1])
                line = b""

    def _play(self, command: bytes) -> None:
        got = time.monotonic()
        again, self._again = self._again == command, b""
        expected = bool(self._script) and self._script[0][0] == command
        if self.repeats and command in self._once and (again or not expected):
            self._once.discard(command)
            os.write(self.far, self._last[command] + b"\r")
            return
        if not self._script or self._script[0][0] != command:
            self._surprises.append(command)
            return
        _, answer = self._script.pop(0)
        parts = (answer,) if isinstance(answer, bytes) else answer or ()
        whole = b"".join(part for part in parts if isinstance(part, bytes)).removesuffix(b"\r")
        if re.fullmatch(b"(E|a1|a2)[0-9]{1,4}", whole) and whole.startswith(command) and _in_time(parts):
            last = self._last.get(command, b"")
            doubtful = whole != last if command == b"E" else not last or len(whole) < len(last)
            self._again = command if doubtful else b""
            self._last[command] = whole
            self._once.add(command)
        for part in (answer,) if isinstance(answer, bytes) else answer or ():
            if isinstance(part, bytes):
                os.write(self.far, part + b"\r" if isinstance(answer, bytes) else part)
            else:
                time.sleep(part)
        self.times.append((command, got, time.monotonic()))


def _in_time(parts: tuple[bytes | float, ...]) -> bool:
    return sum(part for part in parts if not isinstance(part, bytes)) < REPLY_TIMEOUT


@pytest.fixture
def generator() -> Iterator[Generator]:
    far = Generator()
    yield far
    far.unplug()


@pytest.fixture
def driver(generator: Generator) -> Iterator[Technix]:
    """A driver that has connected to a generator in remote mode, HV off, all well."""
    made = Technix(TechnixConfig(port=generator.port, full_scale=SCALE, limits=LIMITS, polarity="negative"))
    generator.expects((b"E", REMOTE_OFF))
    made.connect()
    generator.check()
    yield made
    made.close()
    generator.check()


def echo(*commands: bytes) -> list[tuple[bytes, Answer]]:
    return [(command, command) for command in commands]


def scan(driver: Technix) -> dict[str, object]:
    return dict(merged(driver.read("status")))


def put(driver: Technix, name: str, value: float) -> dict[str, object]:
    point = next(each for each in driver.points if each.name == name)
    return dict(merged(driver.write(point, value)))


def set_both(driver: Technix, generator: Generator) -> None:
    generator.expects((b"E", REMOTE_OFF), (b"d2,409", b"d2,409"), (b"E", REMOTE_OFF), (b"d1,409", b"d1,409"))
    put(driver, "ISet", 5.0)
    put(driver, "VSet", 10.0)
    generator.check()


UNKNOWN = Reading(None, Severity.INVALID, Status.UDF)


# ---- points and configuration ----


def test_every_group_answers_exactly_its_points(driver: Technix, generator: Generator) -> None:
    generator.expects((b"E", b"E0"), (b"a1", b"a10"), (b"a2", b"a20"))
    assert set(scan(driver)) == {point.name for point in driver.points if point.group == "status"}


def test_points_are_named_once_and_fit_into_epics_fields() -> None:
    points = Technix(TechnixConfig(port="nowhere", full_scale=SCALE)).points
    names = [point.name for point in points]
    assert len(set(names)) == len(names)
    assert all(len(point.desc) <= 40 and point.desc for point in points)
    assert all(point.follows in names for point in points if point.rtyp.writable)
    assert {point.egu for point in points if point.rtyp in {RecordType.ai, RecordType.ao}} == {"kV", "mA", "s"}


def test_a_step_of_one_count_is_visible_and_limits_are_those_of_the_configuration() -> None:
    points = {p.name: p for p in Technix(TechnixConfig(port="nowhere", full_scale=SCALE, limits=LIMITS)).points}
    assert (points["VSet"].prec, points["VSet"].drvl, points["VSet"].drvh, points["VMon"].hopr) == (2, 0, 60, 100)
    assert Technix(TechnixConfig(port="x", full_scale=SCALE)).points[0].drvh == 100


@pytest.mark.parametrize(
    ("full_scale", "limits", "keys"),
    [
        ((100, 50), (100, 50), []),
        ((100, 50), (101, 50), ["limits.voltage_kv"]),
        ((100, 50), (0, -1), ["limits.voltage_kv", "limits.current_ma"]),
        ((0, float("nan")), (None, None), ["full_scale.voltage_kv", "full_scale.current_ma"]),
        ((100, float("inf")), (float("nan"), None), ["limits.voltage_kv", "full_scale.current_ma"]),
    ],
)
def test_faults_name_each_key_that_makes_no_sense(
    full_scale: tuple[float, float], limits: tuple[float, float], keys: list[str]
) -> None:
    config = TechnixConfig(
        port="x",
        full_scale=FullScale(voltage_kv=full_scale[0], current_ma=full_scale[1]),
        limits=Limits(voltage_kv=limits[0], current_ma=limits[1]),
    )
    assert [".".join(key) for key, _ in config.faults()] == keys


# ---- counts ----


@given(st.sampled_from([100.0, 50.0, 30.0, 0.3, 1 / 3]), st.integers(0, 4095))
def test_a_readback_put_again_gives_the_same_count(full_scale: float, counts: int) -> None:
    scale = Scale(full_scale, full_scale, "kV")
    assert scale.counts(scale.value(counts)) == counts


@given(st.sampled_from([100.0, 50.0, 30.0, 0.3]), st.floats(0, 1))
def test_counts_never_exceed_the_value_and_miss_it_by_less_than_a_step(full_scale: float, part: float) -> None:
    scale, value = Scale(full_scale, full_scale, "kV"), part * full_scale
    counts = scale.counts(value)
    assert 0 <= counts <= 4095
    assert scale.value(counts) <= value < scale.value(counts + 1)


# ---- reading ----


def test_a_scan_gives_status_bits_and_magnitudes(driver: Technix, generator: Generator) -> None:
    generator.expects((b"E", b"E9"), (b"a1", b"a14095"), (b"a2", b"a2819"))
    readings = scan(driver)
    assert readings["VMon"] == Reading(100.0, Severity.MAJOR, Status.HIHI, message="above the limit of 60 kV")
    assert readings["IMon"] == Reading(10.0)
    assert readings["Polarity"] == 1
    expected = {"HV_RBV": 1, "Regulation": 1, "Mode_RBV": 0, "Inhibit_RBV": 0, "Status": 9}
    assert expected.items() <= readings.items()


@pytest.mark.parametrize(
    ("bits", "name"),
    [(128, "Inhibit_RBV"), (64, "Mode_RBV"), (32, "OffCmd"), (16, "OnCmd"), (8, "HV_RBV"), (4, "Interlock"),
     (2, "Fault"), (1, "Regulation")],
)  # fmt: skip
def test_each_status_bit_has_its_point(
    driver: Technix, generator: Generator, monkeypatch: pytest.MonkeyPatch, bits: int, name: str
) -> None:
    generator.expects((b"E", b"E%d" % bits), (b"a1", b"a10"), (b"a2", b"a20"))
    monkeypatch.setattr(technix.switching.Switching, "tidy", lambda self: iter(()))
    readings = scan(driver)
    bit_points = [p.name for p in driver.points if p.rtyp is RecordType.bi and p.name != "Polarity"]
    assert [each for each in bit_points if readings[each]] == [name]


def test_an_answer_in_pieces_is_put_together(driver: Technix, generator: Generator) -> None:
    generator.expects((b"E", (b"E", 0.1, b"1", 0.1, b"28\r")), (b"a1", b"a10"), (b"a2", b"a20"))
    assert scan(driver)["Status"] == 128


@pytest.mark.parametrize(
    "answer",
    [b"E", b"E256", b"E-1", b"E 1", b"E1.0", b"a10", b"", b"e0", b"E0x", b"\xff\xfe", b"E00000", b"E\xb2"],
)
def test_an_answer_that_is_not_echo_and_digits_is_a_bad_reply(
    driver: Technix, generator: Generator, answer: bytes
) -> None:
    generator.expects((b"E", answer))
    with pytest.raises(BadReply):
        scan(driver)


@pytest.mark.parametrize("answer", [b"a1", b"a14096", b"a2100", b"d1,100"])
def test_a_voltage_without_digits_or_out_of_range_is_not_a_number(
    driver: Technix, generator: Generator, answer: bytes
) -> None:
    generator.expects((b"E", b"E0"), (b"a1", answer))
    with pytest.raises(BadReply):
        scan(driver)


@pytest.mark.parametrize(
    ("question", "answers", "name"),
    [
        (b"E", [b"E12", b"E128"], "Status"),
        (b"a1", [b"a1248", b"a12048"], "VMon"),
        (b"a2", [b"a210", b"a2100"], "IMon"),
    ],
)
def test_an_answer_that_lacks_a_digit_is_not_shown(
    driver: Technix, generator: Generator, question: bytes, answers: list[bytes], name: str
) -> None:
    good = [(b"E", b"E128"), (b"a1", b"a12048"), (b"a2", b"a2100")]
    generator.expects(*good)
    shown = scan(driver)[name]
    generator.repeats = False
    exchanges = {each: [answer] for each, answer in good} | {question: answers}
    generator.expects(*((each, answer) for each, all_of_it in exchanges.items() for answer in all_of_it))
    assert scan(driver)[name] == shown


@pytest.mark.parametrize("answers", [[b"a1163", b"a11638", b"a11638"], [b"a116", b"a11638", b"a11639"]])
def test_a_first_voltage_that_lacks_a_digit_is_not_shown_though_it_is_longer_than_the_last(
    driver: Technix, generator: Generator, answers: list[bytes]
) -> None:
    status, current = (b"E", b"E8"), (b"a2", b"a20")
    generator.expects(status, (b"a1", b"a10"), current)
    scan(driver)
    generator.repeats = False
    generator.expects(status, *((b"a1", answer) for answer in answers), current)
    shown = scan(driver)["VMon"]
    assert isinstance(shown, Reading)
    assert shown.value == pytest.approx(40, abs=0.1)


@pytest.mark.parametrize("lost", ["a reply", "the connection"])
def test_a_voltage_that_lacks_a_digit_behind_a_loss_is_not_shown_though_it_is_as_long_as_the_last(
    driver: Technix, generator: Generator, lost: str
) -> None:
    status, current = (b"E", b"E8"), (b"a2", b"a20")
    generator.expects(status, (b"a1", b"a1500"), current)
    scan(driver)
    if lost == "a reply":
        generator.expects(status, (b"a1", b"a1="))
        with pytest.raises(BadReply):
            scan(driver)
    else:
        driver.close()
        generator.expects(status)
        driver.connect()
    generator.repeats = False
    outputs = [*((b"a1", answer) for answer in (b"a1638", b"a11638", b"a11638")), current, current]
    # What failed is asked for behind the other
    generator.expects(status, *(outputs if lost != "a reply" else outputs[3:] + outputs[:3]))
    shown = scan(driver)["VMon"]
    assert isinstance(shown, Reading)
    assert shown.value == pytest.approx(40, abs=0.1)


def test_a_digit_too_many_is_not_shown(driver: Technix, generator: Generator) -> None:
    status, current = (b"E", b"E8"), (b"a2", b"a20")
    generator.expects(status, (b"a1", b"a10"), current)
    zero = scan(driver)["VMon"]
    generator.repeats = False
    generator.expects(status, (b"a1", b"a110"), (b"a1", b"a10"), (b"a1", b"a10"), current)
    assert scan(driver)["VMon"] == zero


def test_a_status_that_is_another_one_each_time_is_a_bad_reply(driver: Technix, generator: Generator) -> None:
    generator.repeats = False
    generator.expects((b"E", b"E8"), (b"E", b"E9"), (b"E", b"E10"))
    with pytest.raises(BadReply, match="not once more"):
        scan(driver)


def test_a_bit_that_comes_and_goes_all_the_time_is_shown(driver: Technix, generator: Generator) -> None:
    outputs = [(b"a1", b"a12048"), (b"a1", b"a12048"), (b"a2", b"a2100"), (b"a2", b"a2100")]
    generator.repeats = False
    generator.expects((b"E", b"E8"), (b"E", b"E9"), (b"E", b"E8"), *outputs)
    assert scan(driver)["HV_RBV"] == 1
    generator.expects((b"E", b"E9"), (b"E", b"E8"), *outputs[1:3])
    assert scan(driver)["HV_RBV"] == 1


def test_noise_without_end_is_a_bad_reply(driver: Technix, generator: Generator) -> None:
    generator.expects((b"E", (b"\x00" * 200,)))
    with pytest.raises(BadReply):
        scan(driver)


@pytest.mark.quiet
@pytest.mark.parametrize("answer", [None, (b"E6",)])
def test_no_answer_or_half_an_answer_in_time_is_no_reply(
    driver: Technix, generator: Generator, answer: Answer
) -> None:
    generator.expects((b"E", answer))
    start = time.monotonic()
    with pytest.raises(NoReply):
        scan(driver)
    assert time.monotonic() - start < 0.7


def test_a_late_answer_is_never_taken_for_the_next_command(driver: Technix, generator: Generator) -> None:
    generator.expects((b"E", None))
    with pytest.raises(NoReply):
        scan(driver)
    # The late E arrives after the probe was sent: it must not be taken for the answer to the E that follows.
    generator.expects(
        (b"a1", (b"E8\r", 0.02, b"a1100\r")), (b"E", b"E0"), (b"a1", b"a10"), (b"a2", b"a20")
    )  # fmt: skip
    assert scan(driver)["Status"] == 0


def test_a_late_voltage_is_not_taken_for_a_later_one(driver: Technix, generator: Generator) -> None:
    generator.expects((b"E", b"E0"), (b"a1", None))
    with pytest.raises(NoReply):
        scan(driver)
    generator.expects((b"E", (b"a14095\rE0\r",)), (b"a2", b"a20"), (b"a1", b"a10"))
    assert scan(driver)["VMon"] == Reading(0.0)


def test_answers_that_are_always_late_are_never_believed(driver: Technix, generator: Generator) -> None:
    generator.expects((b"E", None))
    with pytest.raises(NoReply):
        scan(driver)
    for probe, late in ((b"a1", b"E0\r"), (b"E", b"a11\r"), (b"a2", b"E0\r")):
        generator.expects((probe, (late,)))
        with pytest.raises(NoReply):
            scan(driver)


def test_two_questions_at_most_wait_for_late_answers_and_one_more_after_opening_the_line(
    driver: Technix, generator: Generator
) -> None:
    for question in (b"E", b"a1"):
        generator.expects((question, None))
        with pytest.raises(NoReply, match="not answered within"):
            scan(driver)
    for _ in range(3):
        generator.expects()
        with pytest.raises(NoReply, match="late replies are awaited"):
            scan(driver)
    driver.close()
    generator.expects((b"a2", b"a20"), (b"E", b"E0"))
    driver.connect()


def test_noise_between_two_scans_is_thrown_away(driver: Technix, generator: Generator) -> None:
    generator.send(b"E255\r\x07")
    time.sleep(0.05)
    generator.expects((b"E", b"E0"), (b"a1", b"a10"), (b"a2", b"a20"))
    assert scan(driver)["Status"] == 0


# ---- the connection ----


def test_the_port_is_opened_exclusively_with_a_write_timeout_and_no_handshake(
    generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[serial.Serial] = []
    real = serial.serial_for_url

    def spy(*args: Any, **keys: Any) -> serial.Serial:
        opened.append(real(*args, **keys))
        return opened[-1]

    monkeypatch.setattr(serial, "serial_for_url", spy)
    first = Technix(TechnixConfig(port=generator.port, full_scale=SCALE))
    second = Technix(TechnixConfig(port=generator.port, full_scale=SCALE))
    generator.expects((b"E", b"E0"))
    first.connect()
    port = opened[0]
    assert (port.baudrate, port.bytesize, port.parity, port.stopbits) == (9600, 8, "N", 1)
    assert (port.exclusive, port.dsrdtr, port.rtscts, port.xonxoff) == (True, False, False, False)
    assert port.write_timeout
    with pytest.raises(LinkDown, match="another program uses it"):
        second.connect()
    first.close()


@pytest.mark.parametrize("url", ["/dev/no-such-port", "nonsense://x", "socket://127.0.0.1:1"])
def test_a_port_that_cannot_be_opened_is_a_link_down_that_names_it(url: str) -> None:
    with pytest.raises(LinkDown, match=r"no-such-port|nonsense|socket"):
        Technix(TechnixConfig(port=url, full_scale=SCALE)).connect()


def test_an_unplugged_adapter_is_a_link_down(driver: Technix, generator: Generator) -> None:
    generator.unplug()
    with pytest.raises(LinkDown):
        scan(driver)


@pytest.mark.parametrize("error", [serial.SerialException("x"), termios.error(5, "x"), OSError(5, "x"), TypeError()])
def test_whatever_pyserial_raises_is_a_link_down(
    driver: Technix, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(self: object, data: bytes) -> int:
        raise error

    monkeypatch.setattr(serial.Serial, "write", fail)
    with pytest.raises(LinkDown):
        scan(driver)


def test_a_mute_generator_does_not_connect_and_leaves_the_port_free(generator: Generator) -> None:
    silent = Technix(TechnixConfig(port=generator.port, full_scale=SCALE))
    generator.expects((b"E", None))
    with pytest.raises(NoReply):
        silent.connect()
    with pytest.raises(LinkDown, match="not open"):
        list(silent.read("status"))


def test_connect_scan_and_close_write_nothing(generator: Generator) -> None:
    driver = Technix(TechnixConfig(port=generator.port, full_scale=SCALE))
    generator.expects((b"E", b"E24"), (b"E", b"E24"), (b"a1", b"a10"), (b"a2", b"a20"))
    driver.connect()
    assert scan(driver)["OnCmd"] == 1  # a half-sent pair of somebody else is only shown
    driver.close()
    driver.close()
    generator.check()


# ---- setpoints ----


def test_setpoints_are_unknown_until_put(driver: Technix, generator: Generator) -> None:
    generator.expects((b"E", b"E0"), (b"a1", b"a10"), (b"a2", b"a20"))
    readings = scan(driver)
    assert readings["VSet_RBV"] == readings["ISet_RBV"] == UNKNOWN


def test_a_put_returns_the_setpoint_as_taken_rounded_down(driver: Technix, generator: Generator) -> None:
    generator.expects((b"E", b"E0"), (b"d1,2047", b"d1,2047"))
    assert put(driver, "VSet", 50.0)["VSet_RBV"] == 2047 * 100 / 4095
    generator.expects((b"E", b"E0"), (b"d2,1638", b"d2,1638"))
    assert put(driver, "ISet", 20.0)["ISet_RBV"] == 1638 * 50 / 4095
    generator.expects((b"E", b"E0"), (b"a1", b"a10"), (b"a2", b"a20"))
    assert scan(driver)["VSet_RBV"] == 2047 * 100 / 4095


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -1.0, 60.0001, 1e300])
def test_a_setpoint_that_is_no_magnitude_within_the_limit_is_refused_and_not_sent(
    driver: Technix, generator: Generator, value: float
) -> None:
    with pytest.raises(Refused, match=r"0 to 60 kV .*not .* kV"):
        put(driver, "VSet", value)


@pytest.mark.parametrize("answer", [None, b"d1,408", b"d1,4090"])
def test_a_setpoint_whose_put_was_not_echoed_is_unknown(
    driver: Technix, generator: Generator, answer: Answer
) -> None:
    set_both(driver, generator)
    generator.expects((b"E", b"E0"), (b"d1,409", answer))
    with pytest.raises((NoReply, BadReply)):
        put(driver, "VSet", 10.0)
    generator.expects((b"E", b"E0"), (b"a1", b"a10"), (b"a2", b"a20"))
    assert scan(driver)["VSet_RBV"] == UNKNOWN


def test_a_reconnect_makes_setpoints_unknown(driver: Technix, generator: Generator) -> None:
    set_both(driver, generator)
    driver.close()
    generator.expects((b"E", b"E0"), (b"E", b"E0"), (b"a1", b"a10"), (b"a2", b"a20"))
    driver.connect()
    assert scan(driver)["VSet_RBV"] == UNKNOWN
    generator.expects((b"E", b"E0"))
    with pytest.raises(Refused, match=r"VSet is unknown since the connection was opened, .*: put VSet first"):
        put(driver, "HV", 1)


def test_a_setpoint_is_not_sent_to_a_mute_generator(driver: Technix, generator: Generator) -> None:
    generator.expects((b"E", None))
    with pytest.raises(Refused, match="VSet was not sent: E was not answered"):
        put(driver, "VSet", 10.0)


# ---- HV ----


def test_hv_on_is_the_pair_with_its_pause_and_ends_with_the_status_bit(driver: Technix, generator: Generator) -> None:
    set_both(driver, generator)
    generator.expects((b"E", b"E0"), *echo(b"P5,1", b"P5,0"), (b"E", b"E0"), (b"E", b"E8"))
    assert put(driver, "HV", 1)["HV_RBV"] == 1
    (_, _, answered), (_, sent, _) = (each for each in generator.times if each[0].startswith(b"P5"))
    assert sent - answered >= 0.1


@pytest.mark.parametrize(
    ("bits", "reason"), [(b"E64", "local mode"), (b"E2", "fault"), (b"E6", "interlock is open; .*fault")]
)
def test_hv_on_is_refused_for_what_the_status_shows(
    driver: Technix, generator: Generator, bits: bytes, reason: str
) -> None:
    set_both(driver, generator)
    generator.expects((b"E", bits))
    with pytest.raises(Refused, match=reason):
        put(driver, "HV", 1)


def test_hv_on_is_refused_before_a_setpoint_was_put(driver: Technix, generator: Generator) -> None:
    generator.expects((b"E", b"E0"))
    with pytest.raises(Refused, match=r"put VSet first; ISet .*put ISet first"):
        put(driver, "HV", 1)


def test_hv_on_that_the_generator_echoes_but_does_not_do_is_refused_with_the_reason(
    driver: Technix, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(technix.switching, "SETTLE", 0.0)
    set_both(driver, generator)
    generator.expects((b"E", b"E0"), *echo(b"P5,1", b"P5,0"), (b"E", b"E6"), *echo(b"P6,1", b"P6,0"),
                      (b"E", b"E6"))  # fmt: skip
    with pytest.raises(Refused, match="interlock is open"):
        put(driver, "HV", 1)


def test_hv_on_without_effect_and_without_reason_is_followed_by_hv_off(
    driver: Technix, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(technix.switching, "SETTLE", 0.0)
    set_both(driver, generator)
    generator.expects((b"E", b"E0"), *echo(b"P5,1", b"P5,0"), (b"E", b"E0"), *echo(b"P6,1", b"P6,0"),
                      (b"E", b"E0"))  # fmt: skip
    with pytest.raises(Refused, match="did not come on"):
        put(driver, "HV", 1)


@pytest.mark.parametrize("answer", [None, b"P5,O"])
def test_hv_on_that_is_not_echoed_ends_as_hv_off_and_is_released_under_inhibition(
    driver: Technix, generator: Generator, answer: Answer
) -> None:
    set_both(driver, generator)
    generator.expects(
        (b"E", b"E0"), (b"P5,1", answer), *echo(b"P6,1", b"P6,0"), (b"E", b"E16"),
        *echo(b"P8,1"), (b"E", b"E144"), *echo(b"P5,0", b"P6,1", b"P6,0"), (b"E", b"E128"),
        *echo(b"P8,0"), (b"E", b"E0"),
    )  # fmt: skip
    with pytest.raises(Refused, match=r"HV on failed: P5,1 was .*; HV off was sent"):
        put(driver, "HV", 1)


def test_a_generator_that_goes_mute_during_hv_on_is_still_told_hv_off(driver: Technix, generator: Generator) -> None:
    set_both(driver, generator)
    commands = (b"P5,1", b"P6,1", b"P6,0", b"E")
    generator.expects((b"E", b"E0"), *((command, None) for command in commands))
    with pytest.raises(
        NoReply, match=r"HV on failed: P5,1 was not answered .*HV off was sent, its effect is unknown"
    ):
        put(driver, "HV", 1)


def test_hv_off_is_the_pair_with_its_pause_in_any_state(driver: Technix, generator: Generator) -> None:
    generator.expects(*echo(b"P6,1", b"P6,0"), (b"E", b"E70"))
    assert put(driver, "HV", 0)["HV_RBV"] == 0
    (_, _, answered), (_, sent, _) = (each for each in generator.times if each[0].startswith(b"P6"))
    assert sent - answered >= 0.1


def test_hv_off_releases_an_hv_on_that_somebody_left_half_sent_and_ends_off(
    driver: Technix, generator: Generator
) -> None:
    given = (b"E", b"E16")  # bit 5: the first half of HV on was given, by a process that is gone
    generator.expects(
        *echo(b"P6,1", b"P6,0"), given, *echo(b"P8,1"), (b"E", b"E144"),
        *echo(b"P5,0", b"P6,1", b"P6,0"), (b"E", b"E128"), *echo(b"P8,0"), (b"E", b"E0"),
    )  # fmt: skip
    readings = put(driver, "HV", 0)
    assert (readings["HV_RBV"], readings["OnCmd"]) == (0, 0)


def test_hv_off_and_inhibit_on_are_sent_to_a_mute_generator_and_fail(driver: Technix, generator: Generator) -> None:
    generator.expects((b"E", None))
    with pytest.raises(NoReply):
        scan(driver)
    generator.expects((b"P6,1", None), (b"P6,0", None), (b"a1", None))
    with pytest.raises(NoReply, match="HV Off was sent, its effect is unknown"):
        put(driver, "HV", 0)
    generator.expects((b"P8,1", None))
    with pytest.raises(
        NoReply, match="Inhibit On was sent, its effect is unknown: the last questions were not answered"
    ):
        put(driver, "Inhibit", 1)


def test_hv_off_without_effect_is_said(
    driver: Technix, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(technix.switching, "SETTLE", 0.0)
    generator.expects(*echo(b"P6,1", b"P6,0"), (b"E", ON))
    with pytest.raises(Refused, match=r"HV Off was sent, but the generator does not show it \(status 8\)"):
        put(driver, "HV", 0)


@pytest.mark.parametrize(
    ("name", "value", "urgent"),
    [("HV", 0, True), ("HV", 1, False), ("Inhibit", 1, True), ("Inhibit", 0, False), ("Mode", 1, True),
     ("VSet", 0, False)],
)  # fmt: skip
def test_what_makes_things_safe_is_urgent(driver: Technix, name: str, value: float, urgent: bool) -> None:
    point = next(each for each in driver.points if each.name == name)
    assert (point.safe == value) is urgent


@pytest.mark.parametrize("value", [2, -1, 0.5, float("nan"), "On"])
@pytest.mark.parametrize("name", ["HV", "Mode", "Inhibit"])
def test_a_state_that_does_not_exist_is_refused_and_not_sent(
    driver: Technix, generator: Generator, name: str, value: float
) -> None:
    with pytest.raises(Refused, match=f"{name} accepts 0"):
        put(driver, name, value)


# ---- mode and inhibition ----


@pytest.mark.parametrize(
    ("name", "value", "command", "before", "after"),
    [
        ("Mode", 0, b"P7,0", b"E72", b"E8"),
        ("Inhibit", 0, b"P8,0", b"E128", b"E0"),
    ],
)
def test_mode_and_inhibit_are_one_command_and_end_with_their_status_bit(
    driver: Technix, generator: Generator, name: str, value: int, command: bytes, before: bytes, after: bytes
) -> None:
    generator.expects((b"E", before), *echo(command), (b"E", after))
    readings = put(driver, name, value)
    assert readings[f"{name}_RBV"] == value
    assert readings["WD:Strikes"] == 0


@pytest.mark.parametrize(
    ("name", "command", "after"), [("Inhibit", b"P8,1", b"E128"), ("Mode", b"P7,1", b"E64")]
)  # fmt: skip
def test_inhibit_on_and_mode_local_are_sent_before_anything_is_asked(
    driver: Technix, generator: Generator, name: str, command: bytes, after: bytes
) -> None:
    generator.expects(*echo(command), (b"E", after))
    assert put(driver, name, 1)[f"{name}_RBV"] == 1


def test_a_mode_that_does_not_change_is_refused(
    driver: Technix, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(technix.switching, "SETTLE", 0.0)
    generator.expects((b"E", b"E64"), *echo(b"P7,0"), (b"E", b"E64"))
    with pytest.raises(Refused, match="Mode Remote was sent, but it stays Local"):
        put(driver, "Mode", 0)


# ---- a pair whose second half was lost ----


def interrupt_pair(driver: Technix, generator: Generator, monkeypatch: pytest.MonkeyPatch, value: int) -> None:
    """Begin HV on (1) or off (0) and lose the link between the halves."""

    def lose_link(seconds: float) -> None:
        if seconds:  # in the pause of the pair, not in that of a put, which has no length here
            driver.close()

    pair: Transcript = [(b"E", b"E0"), *echo(b"P5,1")] if value else echo(b"P6,1")
    generator.expects(*pair)
    with monkeypatch.context() as patch:
        patch.setattr(time, "sleep", lose_link)
        with pytest.raises(LinkDown):
            put(driver, "HV", value)
    generator.check()


def test_hv_on_cut_in_half_ends_as_hv_off_without_output_on_the_way(
    driver: Technix, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_both(driver, generator)
    interrupt_pair(driver, generator, monkeypatch, 1)
    generator.expects((b"E", b"E16"))
    driver.connect()  # connecting writes nothing
    generator.expects(
        (b"E", b"E16"), *echo(b"P6,1", b"P6,0"), (b"E", b"E16"), *echo(b"P8,1"), (b"E", b"E144"),
        *echo(b"P5,0", b"P6,1", b"P6,0"), (b"E", b"E128"), *echo(b"P8,0"), (b"E", b"E0"),
        (b"a1", b"a10"), (b"a2", b"a20"),
    )  # fmt: skip
    assert scan(driver)["HV_RBV"] == 0
    generator.expects((b"E", b"E0"), (b"a1", b"a10"), (b"a2", b"a20"))
    scan(driver)  # and that is all


def test_an_inhibition_that_was_active_before_stays(
    driver: Technix, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_both(driver, generator)
    interrupt_pair(driver, generator, monkeypatch, 1)
    generator.expects(
        (b"E", b"E144"), (b"E", b"E144"), *echo(b"P6,1", b"P6,0"), (b"E", b"E144"),
        *echo(b"P5,0", b"P6,1", b"P6,0"), (b"E", b"E128"),
        (b"a1", b"a10"), (b"a2", b"a20"),
    )  # fmt: skip
    driver.connect()
    assert scan(driver)["Inhibit_RBV"] == 1


def test_an_own_inhibition_is_not_ended_while_the_panel_has_hv_on(
    driver: Technix, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_both(driver, generator)
    interrupt_pair(driver, generator, monkeypatch, 1)
    generator.expects(
        (b"E", b"E16"), (b"E", b"E16"), *echo(b"P6,1", b"P6,0"), (b"E", b"E16"), *echo(b"P8,1"), (b"E", None)
    )
    driver.connect()
    with pytest.raises(NoReply):
        scan(driver)
    probe, with_hv, without = (b"a1", b"a10"), (b"E", b"E216"), (b"E", b"E208")
    for local in (probe, with_hv), (without, *echo(b"P8,0"), (b"E", b"E80")):
        generator.expects(*local, (b"a1", b"a10"), (b"a2", b"a20"))
        with pytest.raises(BadReply, match="cannot be released in local mode"):
            scan(driver)
        generator.check()


def test_hv_off_cut_in_half_is_released(
    driver: Technix, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_pair(driver, generator, monkeypatch, 0)
    generator.expects(
        (b"E", b"E32"), (b"E", b"E32"), *echo(b"P6,0"), (b"E", b"E0"), (b"a1", b"a10"), (b"a2", b"a20")
    )  # fmt: skip
    driver.connect()
    assert scan(driver)["OffCmd"] == 0


def test_a_cut_pair_that_the_generator_has_forgotten_is_left_alone(
    driver: Technix, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_both(driver, generator)
    interrupt_pair(driver, generator, monkeypatch, 1)
    generator.expects((b"E", b"E0"), (b"E", b"E0"), (b"a1", b"a10"), (b"a2", b"a20"))
    driver.connect()
    scan(driver)


def test_a_pair_that_cannot_be_completed_is_said_when_all_else_is_read_and_stays_inhibited(
    driver: Technix, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(technix.switching, "SETTLE", 0.0)
    set_both(driver, generator)
    interrupt_pair(driver, generator, monkeypatch, 1)
    generator.expects(
        (b"E", b"E16"), (b"E", b"E16"), *echo(b"P6,1", b"P6,0"), (b"E", b"E16"), *echo(b"P8,1"), (b"E", b"E144"),
        *echo(b"P5,0", b"P6,1", b"P6,0"), (b"E", b"E144"), (b"a1", b"a10"), (b"a2", b"a20"),
    )  # fmt: skip
    driver.connect()
    with pytest.raises(Refused, match="does not show it"):
        scan(driver)


# ---- the watchdog ----


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    real = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + seconds)


def test_a_strike_is_counted_once_and_makes_the_setpoints_unknown(
    driver: Technix, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_both(driver, generator)
    later(monkeypatch, 5.1)
    for _ in range(2):
        generator.expects((b"E", LOCAL_OFF), (b"a1", b"a10"), (b"a2", b"a20"))
        readings = scan(driver)
        assert (readings["WD:Strikes"], readings["VSet_RBV"]) == (1, UNKNOWN)
    generator.expects((b"E", LOCAL_OFF))
    with pytest.raises(Refused, match=r"local mode .*unknown since it went to local mode by itself, probably by its"):
        put(driver, "HV", 1)


def test_the_panels_local_button_is_no_strike_and_its_knobs_make_the_setpoints_unknown(
    driver: Technix, generator: Generator
) -> None:
    set_both(driver, generator)
    generator.expects((b"E", LOCAL_OFF), (b"a1", b"a10"), (b"a2", b"a20"))
    readings = scan(driver)
    assert (readings["WD:Strikes"], readings["VSet_RBV"], readings["ISet_RBV"]) == (0, UNKNOWN, UNKNOWN)
    generator.expects((b"E", LOCAL_OFF))
    with pytest.raises(
        Refused, match="unknown since it went to local mode, in which its front panel may change them"
    ):
        put(driver, "HV", 1)


def test_local_mode_that_was_put_is_no_strike_even_if_it_shows_late(
    driver: Technix, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_both(driver, generator)
    generator.expects(*echo(b"P7,1"), (b"E", None))
    with pytest.raises(NoReply, match="Mode Local was sent"):
        put(driver, "Mode", 1)
    later(monkeypatch, 6.0)
    generator.expects((b"E", LOCAL_OFF), (b"a1", b"a10"), (b"a2", b"a20"))
    readings = scan(driver)
    assert (readings["WD:Strikes"], readings["VSet_RBV"]) == (0, UNKNOWN)


def test_local_mode_that_was_not_heard_and_remote_mode_put_behind_it_hide_no_strike(
    driver: Technix, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator.expects(*echo(b"P7,1"), (b"E", None))
    with pytest.raises(NoReply, match="Mode Local was sent"):
        put(driver, "Mode", 1)
    generator.expects((b"a1", b"a10"), (b"E", b"E0"), *echo(b"P7,0"), (b"E", b"E0"))
    put(driver, "Mode", 0)
    later(monkeypatch, 5.1)
    generator.expects((b"E", LOCAL_OFF), (b"a1", b"a10"), (b"a2", b"a20"))
    assert scan(driver)["WD:Strikes"] == 1


def test_five_seconds_without_an_answer_make_the_setpoints_unknown(
    driver: Technix, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_both(driver, generator)
    real = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + 5.5)
    generator.expects((b"E", b"E0"), (b"a1", b"a10"), (b"a2", b"a20"))
    readings = scan(driver)
    # Still in remote mode: the watchdog has not struck, but nothing is known of these seconds.
    assert (readings["WD:Strikes"], readings["WD:Margin"], readings["VSet_RBV"]) == (0, 0.0, UNKNOWN)
    generator.expects((b"E", b"E0"), (b"d1,409", b"d1,409"), (b"E", b"E0"), (b"a1", b"a10"), (b"a2", b"a20"))
    put(driver, "VSet", 10)
    assert scan(driver)["VSet_RBV"] == 409 * 100 / 4095


def test_the_margin_is_what_the_longest_gap_of_the_last_minute_left() -> None:
    watchdog = Watchdog()
    assert watchdog.margin == 5.0
    margins = []
    for now in (0.0, 1.0, 1.5, 4.5, 5.0, 64.0, 64.25, 64.75):
        watchdog.feed(now)
        margins.append(watchdog.margin)
    assert margins == [5.0, 4.0, 4.0, 2.0, 2.0, 0.0, 0.0, 0.0]
    watchdog.feed(124.5)
    assert watchdog.lapse() == 59.75
    assert watchdog.lapse() == 0
    for now in range(125, 190, 2):
        watchdog.feed(now)
    assert watchdog.margin == 3.0


def test_the_class_that_the_configuration_loads_has_its_config() -> None:
    assert DRIVER.Config is technix.Config is TechnixConfig
