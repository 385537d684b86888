"""The generator's physics and protocol, with time stepped by hand."""

from __future__ import annotations

import pytest

from sim.technix.fake import TechnixFake
from sim.technix.generator import Generator


class Bench:
    """A generator without a wire: ask() is one exchange that takes no time."""

    def __init__(self, generator: Generator) -> None:
        self.now = 0.0
        self.generator = generator
        self.fake = TechnixFake("/nowhere", generator, clock=lambda: self.now)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.fake.advance()

    def ask(self, command: str) -> str | None:
        self.fake.advance()
        answer = self.fake.protocol.answer(command)
        self.fake.protocol.answered(command)
        return answer

    def pair(self, name: str, pause: float = 0.1) -> None:
        self.ask(f"{name},1")
        self.wait(pause)
        self.ask(f"{name},0")

    def live(self, seconds: float) -> None:
        """Let time pass with a question every second, so that the watchdog sleeps."""
        for _ in range(round(seconds)):
            self.wait(1)
            self.ask("E")

    def status(self) -> int:
        answer = self.ask("E")
        assert answer is not None
        return int(answer[1:])


@pytest.fixture
def bench() -> Bench:
    return Bench(Generator())


@pytest.fixture
def on(bench: Bench) -> Bench:
    """At 40 kV, on, in remote mode."""
    bench.ask("P7,0")
    bench.ask("d1,1638")
    bench.pair("P5")
    bench.live(3)
    return bench


def test_it_starts_local_and_off(bench: Bench) -> None:
    assert bench.status() == 0x40 | 0x01


@pytest.mark.parametrize("command", ["d1,0", "d1,4095", "d2,12", "P5,1", "P5,0", "P6,1", "P7,0", "P8,1"])
def test_a_setting_is_answered_by_itself(bench: Bench, command: str) -> None:
    assert bench.ask(command) == command


def test_a_value_follows_the_question_without_separator(on: Bench) -> None:
    assert on.ask("a1") == "a11638"


@pytest.mark.parametrize(
    "command", ["", "d1", "d1,", "d1,4096", "d1,-1", "d3,1", "P5", "P5,2", "P9,1", "e", "a3", "a1,1", "E "]
)
def test_what_it_does_not_know_gets_silence_and_changes_nothing(bench: Bench, command: str) -> None:
    before = bench.generator.state()
    assert bench.ask(command) is None
    assert bench.generator.state() == before


def test_the_output_slews_to_the_setting(bench: Bench) -> None:
    bench.ask("P7,0")
    bench.ask("d1,4095")
    bench.pair("P5")
    bench.wait(1)
    assert bench.generator.kv == pytest.approx(20)
    bench.live(10)
    assert bench.generator.kv == 100
    assert bench.generator.ma == pytest.approx(12.5)


def test_hv_on_needs_100_ms_between_the_halves(bench: Bench) -> None:
    bench.ask("P7,0")
    bench.pair("P5", pause=0.09)
    assert not bench.generator.on
    assert bench.fake.violations == ["P5,0 came 90 ms after the answer to P5,1, not 100 ms"]


def test_hv_off_needs_100_ms_between_the_halves(on: Bench) -> None:
    on.pair("P6", pause=0.05)
    assert on.generator.on
    on.pair("P6")
    assert not on.generator.on
    assert len(on.fake.violations) == 1


def test_questions_between_the_halves_do_no_harm(bench: Bench) -> None:
    bench.ask("P7,0")
    bench.ask("P5,1")
    bench.wait(0.09)
    bench.ask("E")
    bench.wait(0.02)
    bench.ask("P5,0")
    assert bench.generator.on


@pytest.mark.parametrize(("name", "bit"), [("P5", 0x10), ("P6", 0x20)])
def test_the_first_half_shows_in_the_status_until_released(bench: Bench, name: str, bit: int) -> None:
    bench.ask(f"{name},1")
    bench.live(3)
    assert bench.status() & bit
    bench.ask(f"{name},0")
    assert not bench.status() & bit


def test_hv_on_is_echoed_and_refused_in_local_mode(bench: Bench) -> None:
    bench.pair("P5")
    assert not bench.status() & 0x08


def test_going_local_drops_the_voltage(on: Bench) -> None:
    on.ask("P7,1")
    assert on.status() & 0x48 == 0x40
    on.live(1)
    assert on.generator.kv == 0


def test_readings_are_zero_without_output_even_while_it_falls(on: Bench) -> None:
    on.pair("P6")
    assert on.generator.kv > 30
    assert (on.ask("a1"), on.ask("a2")) == ("a10", "a20")


def test_inhibition_stops_the_output_and_leaves_hv_on(on: Bench) -> None:
    on.ask("P8,1")
    assert on.status() & 0x88 == 0x88
    assert on.ask("a1") == "a10"
    on.live(2)
    on.ask("P8,0")
    on.live(3)
    assert on.ask("a1") == "a11638"


def test_a_setting_sent_while_off_becomes_live_at_hv_on(bench: Bench) -> None:
    bench.ask("d1,819")
    assert bench.generator.kv == 0
    bench.ask("P7,0")
    bench.pair("P5")
    bench.live(2)
    assert bench.generator.kv == pytest.approx(20)


def test_the_last_setting_chooses_the_regulation(on: Bench) -> None:
    assert on.status() & 0x01
    on.ask("d2,410")
    on.live(3)
    assert not on.status() & 0x01
    assert on.generator.ma == pytest.approx(410 / 4095 * 50)


def test_the_full_current_limits_the_voltage_into_a_low_load(on: Bench) -> None:
    on.generator.resistance = 0.4
    on.live(2)
    assert on.generator.kv == pytest.approx(20)
    assert not on.status() & 0x01


def test_the_full_voltage_limits_the_current_into_a_high_load(on: Bench) -> None:
    on.generator.resistance = 1000
    on.ask("d2,4095")
    on.live(6)
    assert on.generator.kv == 100
    assert on.status() & 0x01


def test_the_interlock_switches_off_and_leaves_a_fault_for_the_front_panel(on: Bench) -> None:
    on.fake.run("interlock open")
    assert on.status() & 0x0E == 0x06
    on.fake.run("reset")
    assert on.status() & 0x06 == 0x06, "the cause is still there"
    on.fake.run("interlock close")
    on.pair("P5")
    assert on.status() & 0x0E == 0x02, "no HV in fault"
    on.fake.run("reset")
    on.pair("P5")
    assert on.status() & 0x0E == 0x08


def test_five_seconds_of_silence_mean_off_and_local(on: Bench) -> None:
    on.wait(4.9)
    assert on.generator.on
    on.wait(0.2)
    assert not on.generator.on
    assert on.generator.local
    assert on.generator.watchdog_strikes == 1


def test_only_a_complete_command_feeds_the_watchdog(on: Bench) -> None:
    for _ in range(6):
        on.wait(1)
        on.ask("P7")
    assert on.generator.local


def test_settings_count_as_writes_and_questions_do_not(bench: Bench) -> None:
    for command in ("E", "a1", "a2", "d1,5", "P7,0", "d1,9999"):
        bench.ask(command)
    assert bench.fake.run("writes") == "2"
