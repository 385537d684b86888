"""The thermometer and its bridge's protocol, with time stepped by hand."""

from __future__ import annotations

import struct

import pytest

from sim.fake import CommandError
from sim.se521.fake import ThermometerFake
from sim.se521.thermometer import Thermometer

ANNOUNCE = bytes.fromhex("4301070000000000")


def command(name: str, counter: int = 0) -> bytes:
    return bytes([7, 2, ord(name), 0, 0, 0, counter, 3])


def fetch(count: int) -> bytes:
    return bytes([0x43, 4, count, 0, 0, 0, 0, 0])


class Bench:
    def __init__(self) -> None:
        self.now = 100.0
        self.fake = ThermometerFake("A1", Thermometer(noise=0.0, drift=0.0), clock=lambda: self.now)
        self.fake.plug()
        self.bridge = self.fake.bridge

    def ask(self, name: str, counter: int = 0, count: int = 64, pause: float = 0.05) -> list[bytes]:
        """One exchange; what is due within half a second."""
        for hear, report in (
            (self.bridge.feature, ANNOUNCE),
            (self.bridge.command, command(name, counter)),
            (self.bridge.feature, fetch(count)),
        ):
            hear(self.now, report)
            self.now += pause
        self.now += 0.5
        return self.due()

    def due(self) -> list[bytes]:
        result = []
        while self.bridge.packets and self.bridge.packets[0][0] <= self.now:
            result.append(self.bridge.packets.popleft()[1])
        return result


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.fake.model.step(1)
    return bench


def test_it_identifies_itself_in_31_and_1_bytes(bench: Bench) -> None:
    first, second = bench.ask("K", count=0x20)
    assert first[24:27] == b"521"
    assert (first[0], second[0]) == (31, 1)
    assert len(first) == len(second) == 32


def test_temperatures_are_tenths_of_fahrenheit_big_endian_and_signed(bench: Bench) -> None:
    first, second, third = bench.ask("A", counter=0xA5)
    assert (first[0], second[0], third[0]) == (31, 31, 2)
    assert struct.unpack(">4h", first[10:18]) == (707, 752, 1454, 104)
    assert second[31] == 0xA5


def test_below_zero_fahrenheit_the_value_is_negative(bench: Bench) -> None:
    bench.fake.run("set celsius.0 -40")
    bench.fake.model.step(1)
    assert struct.unpack(">h", bench.ask("A")[0][10:12]) == (-400,)


def test_the_flags_tell_the_open_thermocouples_in_both_nibbles(bench: Bench) -> None:
    assert bench.ask("A")[0][7] == 0xFF
    bench.fake.run("open 1")
    assert bench.ask("A")[0][7] == 0x77
    bench.fake.run("open 4")
    bench.fake.run("close 1")
    assert bench.ask("A")[0][7] == 0xEE


def test_an_open_input_shows_anything(bench: Bench) -> None:
    bench.fake.run("open 2")
    values = set()
    for _ in range(5):
        bench.fake.model.step(1)
        values.add(bench.fake.model.tenths[1])
    assert len(values) > 1


def test_it_samples_a_few_times_a_second() -> None:
    thermometer = Thermometer()
    values = []
    for _ in range(100):
        thermometer.step(0.01)
        values.append(tuple(thermometer.tenths))
    assert 3 <= len(set(values)) <= 5


def test_temperatures_drift_around_their_mean() -> None:
    thermometer = Thermometer(noise=0.0)
    seen = []
    for _ in range(60):
        thermometer.step(10)
        seen.append((thermometer.tenths[0] / 10 - 32) / 1.8)
    assert 1 < max(seen) - 21.5 < 1.6
    assert 1 < 21.5 - min(seen) < 1.6


def test_what_comes_too_early_is_not_heard(bench: Bench) -> None:
    assert bench.ask("A", pause=0.02) == []
    assert "came 20 ms after the one before" in bench.fake.violations[0]


def test_a_command_must_be_announced(bench: Bench) -> None:
    bench.bridge.command(bench.now, command("A"))
    bench.now += 0.05
    bench.bridge.feature(bench.now, fetch(64))
    bench.now += 0.5
    assert bench.due() == []


def test_the_number_of_bytes_asked_for_must_be_that_of_the_answer(bench: Bench) -> None:
    assert bench.ask("K", count=0x40) == []


def test_an_unknown_command_gets_no_answer(bench: Bench) -> None:
    assert bench.ask("Z") == []


def test_packets_come_one_after_the_other(bench: Bench) -> None:
    bench.ask("A")
    bench.fake.run("split")
    bench.now = 200.0
    bench.bridge.feature(200.0, ANNOUNCE)
    bench.bridge.command(200.05, command("A"))
    bench.bridge.feature(200.10, fetch(64))
    times = [due for due, _ in bench.bridge.packets]
    assert times == pytest.approx([200.13, 200.238, 200.346])


def test_a_mute_logger_says_nothing(bench: Bench) -> None:
    bench.fake.run("mute")
    assert bench.ask("A") == []


def test_a_stale_answer_has_the_counter_of_the_one_before(bench: Bench) -> None:
    bench.ask("A", counter=7)
    bench.fake.run("stale")
    assert bench.ask("A", counter=8)[1][31] == 7
    assert bench.ask("A", counter=9)[1][31] == 9


def test_half_an_answer_lacks_its_first_packet(bench: Bench) -> None:
    bench.fake.run("half")
    assert [packet[0] for packet in bench.ask("A")] == [31, 2]
    assert [packet[0] for packet in bench.ask("A")] == [31, 31, 2]


def test_garbage_is_no_answer(bench: Bench) -> None:
    good = bench.ask("A")
    bench.fake.run("garbage")
    assert bench.ask("A") != good
    assert bench.ask("A") == good


def test_a_late_answer_stays_queued_and_comes_before_the_next(bench: Bench) -> None:
    bench.fake.run("late 1 1")
    assert bench.ask("A", counter=1) == []
    bench.now += 1
    answer = bench.ask("A", counter=2)
    assert [packet[31] for packet in answer if packet[0] == 31][1::2] == [1, 2]


def test_there_is_no_fifth_thermocouple(bench: Bench) -> None:
    with pytest.raises(CommandError, match="there is no thermocouple 5"):
        bench.fake.run("open 5")


def test_reading_is_not_writing(bench: Bench) -> None:
    bench.ask("A")
    assert bench.fake.run("writes") == "0"
