"""What was not read in time is INVALID, by a clock that no scan can hold up; and who keeps the scans late is told."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest

from drivers.base import LinkDown, Point, Reading, RecordType, Severity, Status, Step, Wait
from ioc.port import Ages, port
from ioc.port.scan import Scan
from tests.ioc.bench import Bench, Rig, Run

FINE = ("NO_ALARM", "NO_ALARM")
BAD = Reading(None, Severity.INVALID, Status.READ)


class Groups(Bench):
    """An instrument whose scan of ``slow`` pauses, and whose answers are good, bad or none."""

    def __init__(self) -> None:
        super().__init__()
        self.pause = 0.0
        self.answers: list[Step] = []

    def read(self, group: str) -> Iterator[Step]:
        if group == "slow":
            yield Wait(self.pause)
        if self.answers:
            yield from self.answers
        else:
            yield from super().read(group)


@pytest.fixture
def groups() -> Groups:
    return Groups()


def test_what_was_not_read_for_two_periods_is_invalid_while_the_rest_goes_on(run: Run, groups: Groups) -> None:
    async def scenario(rig: Rig) -> None:
        groups.pause = 1.0
        began = time.monotonic()
        await rig.until(lambda: rig.state("Set")[1:] == ("TIMEOUT", "INVALID"), 1.0)
        assert time.monotonic() - began < 0.1 + 2 * 0.1 + 0.25  # its last reading, two periods, two looks
        assert rig.state("Set_RBV")[1:] == ("TIMEOUT", "INVALID")
        assert rig.record("Set").amsg.startswith("too old")
        assert rig.state("Mon") == (1.0, *FINE)
        assert rig.state("Conn")[0] == 2
        assert rig.state("Overruns")[1:] == ("SCAN", "MAJOR")
        groups.pause = 0.0
        await rig.until(lambda: rig.state("Set") == (10.0, *FINE), 2.0)
        await rig.until(lambda: rig.state("Overruns")[1:] == FINE)

    run(scenario, driver=groups)


@pytest.mark.parametrize("seed", range(20))
def test_each_point_is_too_old_when_its_group_says_so(seed: int) -> None:
    """Whatever is read, discarded and moved to another group meanwhile."""
    draw = random.Random(seed)
    scans = [Scan("fast", 1.0, 0.0), Scan("slow", 10.0, 0.0)]
    names = [f"P{number}" for number in range(30)]
    groups: dict[str, str] = {}
    ages, read_at = Ages(), dict[str, float]()
    for now in range(200):
        some = draw.sample(names, draw.randrange(10))
        match draw.randrange(8):
            case 0:
                groups = {name: draw.choice(["fast", "slow"]) for name in draw.sample(names, 20)}
                ages.arrange(groups)
                read_at = {name: moment for name, moment in read_at.items() if name in groups}
            case 1:
                ages.discard(some)
                read_at = {name: moment for name, moment in read_at.items() if name not in some}
            case _:
                ages.read(some, now)
                read_at |= {name: now for name in some if name in groups}
        longest = {scan.group: scan.longest_age for scan in scans}
        old = {name for name, moment in read_at.items() if now - moment > longest[groups[name]]}
        expired = ages.expire(scans, now)
        assert {name for each in expired.values() for name in each} == old
        assert all(groups[name] == group for group, each in expired.items() for name in each)
        assert old <= ages.stale
        read_at = {name: moment for name, moment in read_at.items() if name not in old}


def test_a_block_that_waited_for_the_loop_is_as_old_as_its_reading(run: Run, groups: Groups) -> None:
    groups.scan = {"fast": 0.5, "slow": 0.5}  # type: ignore[misc]

    async def scenario(rig: Rig) -> None:
        groups.values["Mon"] = 2.0
        scans = groups.log.count("fast")
        while groups.log.count("fast") < scans + 2:  # the loop stands still, the port's thread does not
            time.sleep(0.01)
        groups.gate.clear()
        time.sleep(1.5)
        await rig.until(lambda: ("Mon", 2.0) in [(name, value) for name, _, value, _ in rig.posts])
        rig.instrument.look()
        assert rig.state("Mon")[2] == "INVALID"
        assert rig.record("Mon").amsg.startswith("too old")

    run(scenario, driver=groups)


def test_values_that_grow_old_one_after_the_other_are_told_once(
    run: Run, groups: Groups, caplog: pytest.LogCaptureFixture
) -> None:
    names = [f"M{number}" for number in range(40)]
    groups.points = (*groups.points, *(Point(name=name, rtyp=RecordType.ai, group="fast") for name in names))
    groups.values |= dict.fromkeys(names, 1.0)

    async def scenario(rig: Rig) -> None:
        await rig.until(lambda: rig.state("M39") == (1.0, *FINE))
        groups.gate.clear()
        await rig.until(lambda: all(rig.state(name)[2] == "INVALID" for name in names), 2.0)
        assert caplog.text.count("fast was not read in time") == 1
        groups.gate.set()

    run(scenario, driver=groups)


def test_a_scan_that_takes_too_long_tells_so_while_it_lasts(run: Run, groups: Groups) -> None:
    async def scenario(rig: Rig) -> None:
        before = rig.state("Overruns")[0]
        groups.gate.clear()
        await rig.until(lambda: float(rig.state("ScanTime")[0]) > 300, 2.0)
        assert rig.state("ScanTime")[1:] == ("SCAN", "MAJOR")
        assert int(rig.state("Overruns")[0]) >= int(before) + 3
        groups.gate.set()
        await rig.until(lambda: rig.state("ScanTime")[1:] == FINE, 2.0)
        assert float(rig.state("ScanTime")[0]) < 100

    run(scenario, driver=groups)


@pytest.mark.parametrize("answers", [[{"Mon": BAD}], [Wait(0.02)]], ids=["bad values", "pauses"])
def test_only_a_good_answer_counts_as_heard(run: Run, groups: Groups, answers: list[Step]) -> None:
    async def scenario(rig: Rig) -> None:
        groups.answers = answers
        began = time.monotonic()
        await rig.until(lambda: rig.state("Conn")[0] == 0, 4.0)
        assert 1.8 < time.monotonic() - began < 3.0
        assert rig.state("Mon")[2] == rig.state("Set")[2] == "INVALID"
        groups.answers = []
        await rig.until(lambda: rig.state("Conn")[0] == 2 and rig.state("Set") == (10.0, *FINE), 1.0)

    run(scenario, driver=groups)


def test_an_answer_without_a_reading_counts_as_heard(run: Run, groups: Groups) -> None:
    async def scenario(rig: Rig) -> None:
        groups.answers = [{}]
        await rig.until(lambda: rig.state("Mon")[1:] == ("TIMEOUT", "INVALID"), 1.0)
        began = time.monotonic()
        await rig.until(lambda: time.monotonic() - began > 2.5)
        assert rig.state("Conn")[0] == 2
        assert rig.driver.log.count("connect") == 1

    run(scenario, driver=groups)


def test_a_silent_instrument_is_connected_anew(run: Run, groups: Groups, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port, "GIVE_UP", 1.0)

    async def scenario(rig: Rig) -> None:
        groups.answers = [{"Mon": BAD}]
        await rig.until(lambda: rig.driver.log.count("connect") == 2, 8.0)
        groups.answers = []
        await rig.until(lambda: rig.state("Mon") == (1.0, *FINE), 2.0)

    run(scenario, driver=groups)


def test_the_pause_before_a_new_try_is_short_again_after_a_steady_connection_only(
    run: Run, groups: Groups, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(port, "FIRST_RETRY", 0.1)
    lost: list[float] = []

    async def scenario(rig: Rig) -> None:
        for _ in range(3):
            count = rig.driver.log.count("connect")
            lost.append(time.monotonic())
            groups.read_error = {"fast": LinkDown("gone"), "slow": LinkDown("gone")}
            await rig.until(lambda: rig.state("Conn")[0] == 0)
            groups.read_error = {}
            await rig.until(lambda count=count: rig.driver.log.count("connect") > count)  # type: ignore[misc]
            lost[-1] = time.monotonic() - lost[-1]
            await rig.until(lambda: rig.state("Mon") == (1.0, *FINE))
        assert lost[0] < lost[1] < lost[2]

    run(scenario, driver=groups)


@pytest.mark.slow
def test_what_a_call_returned_that_had_hung_is_not_shown(run: Run, groups: Groups) -> None:
    """It may be as old as the call: a process that stood still, a library that waits."""

    async def scenario(rig: Rig) -> None:
        await rig.until(lambda: rig.state("Mon") == (1.0, *FINE))
        groups.values["Mon"] = 2.0
        groups.gate.clear()
        await rig.until(lambda: rig.state("Mon")[2] == "INVALID", 1.0)
        began = time.monotonic()
        await rig.until(lambda: time.monotonic() - began > 2.5)
        groups.values["Mon"] = 3.0
        seen = len(rig.posts)
        groups.gate.set()
        await rig.until(lambda: rig.state("Mon") == (3.0, *FINE), 2.0)
        shown = [(value, status) for name, _, value, status in rig.posts[seen:] if name == "Mon"]
        assert (2.0, "NO_ALARM") not in shown

    run(scenario, driver=groups)
