"""A put that makes things safe: never refused for the state of the line, repeated until the instrument shows it."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from drivers.base import (
    BadReply,
    DeviceError,
    Energizes,
    LinkDown,
    Look,
    NoReply,
    NotShown,
    Point,
    RecordType,
    Refused,
    Step,
    Value,
    Wait,
)
from ioc.port import execution, port
from tests.ioc.bench import POINTS, Bench, Rig, Run

OFF, ON = 0, 1
PENDING, DONE = ("STATE", "MAJOR"), ("NO_ALARM", "NO_ALARM")
UNKNOWN = [NoReply("no answer"), BadReply("noise"), LinkDown("the cable is out")]


class Supply(Bench):
    """A supply with a switch. Puts are lost while it is ``deaf``; ``fault(value)`` is raised after one was heard."""

    def __init__(self) -> None:
        super().__init__()
        self.points = (
            *POINTS[:3],
            Point(name="HV", rtyp=RecordType.bo, follows="HV_RBV", states=("Off", "On"), safe=OFF),
            Point(name="HV_RBV", rtyp=RecordType.bi, group="fast", states=("Off", "On")),
        )
        self.values |= {"HV_RBV": ON}
        self.deaf = False
        self.fault: Callable[[Value], DeviceError | None] = lambda value: None
        self.hears_blind = False
        self.settles = 0.0

    def write(self, point: Point, value: Value) -> Iterator[Step]:
        if point.name != "HV":
            self._note((point.name, value))
            yield Wait(self.settles)
            self.values["Set_RBV"] = value
            yield {"Set_RBV": value}
            return
        self._note(("HV", value))
        self.gate.wait(5.0)
        if not self.deaf:
            self.values["HV_RBV"] = value
        if error := self.fault(value):
            raise error
        yield Wait(self.settles)
        yield {"HV_RBV": self.values["HV_RBV"]}
        if self.values["HV_RBV"] != value:
            raise Refused(f"HV stays {self.values['HV_RBV']}")

    def write_blind(self, point: Point, value: Value) -> Iterator[Step]:
        yield Wait()
        self._note(("blind", value))
        if not self.hears_blind:
            raise LinkDown("the line cannot be opened")
        self.values["HV_RBV"] = value


@pytest.fixture
def supply() -> Supply:
    return Supply()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "REPEAT", 0.1)
    monkeypatch.setattr(port, "REPEAT", 0.1)
    monkeypatch.setattr(port, "FIRST_RETRY", 0.2)


def entries(supply: Supply) -> list[object]:
    return [entry for entry in supply.log if entry in ("connect", "close", "fast") or isinstance(entry, tuple)]


async def lose(rig: Rig, supply: Supply) -> None:
    """Take the connection away, for as long as ``connect_error`` is set."""
    supply.connect_error = LinkDown("the cable is out")
    supply.read_error = {"fast": supply.connect_error, "slow": supply.connect_error}
    await rig.until(lambda: rig.state("Conn")[0] == 0)


def give_back(supply: Supply) -> None:
    supply.read_error = {}
    supply.connect_error = None


def test_an_off_for_an_instrument_that_is_away_is_sent_first_when_it_is_back(run: Run, supply: Supply) -> None:
    async def scenario(rig: Rig) -> None:
        assert rig.state("HV:OffPending") == (0, *DONE)
        await lose(rig, supply)
        off = asyncio.create_task(rig.put("HV", OFF))
        await rig.until(lambda: rig.state("HV:OffPending") == (1, *PENDING))
        supply.log.clear()
        await asyncio.sleep(0.3)
        assert not off.done()
        give_back(supply)
        await off
        assert supply.values["HV_RBV"] == OFF
        assert rig.state("HV:OffPending") == (0, *DONE)
        assert rig.state("HV") == (OFF, *DONE)
        log = entries(supply)
        assert log[log.index(("HV", OFF)) - 1] == "connect", "something else came first"

    run(scenario, driver=supply)


def test_a_driver_is_told_while_an_off_waits_to_be_sent(run: Run, supply: Supply) -> None:
    async def scenario(rig: Rig) -> None:
        supply.gate.clear()
        supply.log.clear()
        await rig.until(lambda: bool(supply.log))  # in the midst of a scan
        assert not supply.urgent()
        supply.deaf = True
        off = asyncio.create_task(rig.put("HV", OFF))
        await rig.until(supply.urgent)
        supply.gate.set()
        await rig.until(lambda: ("HV", OFF) in supply.log)
        assert not supply.urgent()
        supply.deaf = False
        supply.values["HV_RBV"] = OFF
        with suppress(DeviceError):
            await off

    run(scenario, driver=supply)


def test_an_off_is_sent_blind_before_each_try_to_connect(run: Run, supply: Supply) -> None:
    supply.hears_blind = True

    async def scenario(rig: Rig) -> None:
        await lose(rig, supply)
        supply.log.clear()
        off = asyncio.create_task(rig.put("HV", OFF))
        await rig.until(lambda: supply.values["HV_RBV"] == OFF, 1.0)
        await rig.until(lambda: supply.log.count(("blind", OFF)) > 1)
        assert [entry for entry in entries(supply) if entry != "close"][:2] == [("blind", OFF), "connect"]
        assert rig.state("HV:OffPending") == (1, *PENDING), "nothing has shown it yet"
        give_back(supply)
        await off

    run(scenario, driver=supply)


class Patient(Supply):
    """A supply with a second switch, whose HV Off waits for an answer between two halves."""

    def __init__(self) -> None:
        super().__init__()
        self.points = (*self.points, POINTS[3])

    def write_blind(self, point: Point, value: Value) -> Iterator[Step]:
        self._note((point.name, "blind"))
        if point.name == "HV":
            for _ in range(10):
                time.sleep(0.05)
                yield Wait()
            self._note("second half")


class Whole(Supply):
    """A supply that leaves nothing half done: what is given up sends a last command. Its scan can be made to wait."""

    waits = False

    def write(self, point: Point, value: Value) -> Iterator[Step]:
        yield from self._whole("put", super().write(point, value))

    def read(self, group: str) -> Iterator[Step]:
        yield from super().read(group)
        if group == "fast" and self.waits:
            self._note("scan waits")
            yield from self._whole("scan", iter([Wait(5.0)]))

    def _whole(self, what: str, steps: Iterator[Step]) -> Iterator[Step]:
        try:
            yield from steps
        finally:
            self._note(f"{what} made whole")
            if self.connect_error:
                raise LinkDown("the cable is out")


class Slow(Supply):
    """A supply with many switches, of which each command takes its time."""

    def __init__(self) -> None:
        super().__init__()
        self.switches = [
            Point(name=f"C{number}", rtyp=RecordType.bo, states=("Off", "On"), safe=OFF) for number in range(40)
        ]
        never = Point(name="Deaf", rtyp=RecordType.bo, follows="HV_RBV", states=("Off", "On"), safe=OFF)
        self.points = (*self.points, *self.switches, never)

    def write(self, point: Point, value: Value) -> Iterator[Step]:
        self._note((point.name, value))
        if point.name in {"HV", "Deaf"}:
            yield Wait(self.settles)
            raise NotShown(f"{point.name} stays on")
        time.sleep(0.03)
        yield Wait(0.01)


def test_an_off_that_comes_while_another_is_sent_blind_goes_between_its_halves(run: Run) -> None:
    supply = Patient()

    async def scenario(rig: Rig) -> None:
        await lose(rig, supply)
        supply.log.clear()
        off = asyncio.create_task(rig.put("HV", OFF))
        await rig.until(lambda: ("HV", "blind") in supply.log)
        safe = asyncio.create_task(rig.put("Safe", 0))
        await rig.until(lambda: "second half" in supply.log)
        assert supply.log.index(("Safe", "blind")) < supply.log.index("second half")
        give_back(supply)
        await asyncio.gather(off, safe)

    run(scenario, driver=supply)


def test_what_is_under_way_when_the_line_goes_is_given_up_before_the_line_is_closed(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    supply = Whole()
    supply.settles = 0.5

    async def scenario(rig: Rig) -> None:
        supply.waits = True
        await rig.until(lambda: "scan waits" in supply.log)
        off = asyncio.create_task(rig.put("HV", OFF))
        await rig.until(lambda: ("HV", OFF) in supply.log)
        await lose(rig, supply)
        await rig.until(lambda: "close" in supply.log)
        assert {"put made whole", "scan made whole"} <= {*supply.log[: supply.log.index("close")]}
        assert sum("the cable is out" in message for message in caplog.messages) == 1, "told once while it lasts"
        supply.settles, supply.waits = 0.0, False
        give_back(supply)
        await off

    run(scenario, driver=supply)
    gc.collect()


@pytest.mark.parametrize("error", UNKNOWN, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("deaf", [False, True])
def test_an_off_whose_effect_is_unknown_is_repeated_until_it_shows(
    run: Run, supply: Supply, error: DeviceError, deaf: bool
) -> None:
    async def scenario(rig: Rig) -> None:
        supply.deaf, supply.fault = deaf, lambda value: error
        off = asyncio.create_task(rig.put("HV", OFF))
        await rig.until(lambda: ("HV", OFF) in supply.log)
        if deaf:
            await rig.until(lambda: supply.log.count(("HV", OFF)) > 2)
            assert rig.state("HV:OffPending") == (1, *PENDING)
            supply.deaf, supply.fault = False, lambda value: None
        await off
        assert rig.state("HV:OffPending") == (0, *DONE)
        assert supply.values["HV_RBV"] == OFF

    run(scenario, driver=supply)


def test_an_off_that_the_instrument_ignores_fails_at_once_and_stays_pending(run: Run, supply: Supply) -> None:
    async def scenario(rig: Rig) -> None:
        supply.deaf = True
        with pytest.raises(Refused, match="stays"):
            await rig.put("HV", OFF)
        assert rig.state("HV:OffPending") == (1, *PENDING)
        await rig.until(lambda: supply.log.count(("HV", OFF)) > 2)
        supply.deaf = False
        await rig.until(lambda: rig.state("HV:OffPending") == (0, *DONE))
        count = supply.log.count(("HV", OFF))
        await asyncio.sleep(0.3)
        assert supply.log.count(("HV", OFF)) == count

    run(scenario, driver=supply)


def test_an_off_that_takes_too_long_fails_with_the_reason_and_stays_pending(
    run: Run, supply: Supply, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(port, "PATIENCE", 0.3)

    async def scenario(rig: Rig) -> None:
        await lose(rig, supply)
        with pytest.raises(NoReply, match="HV Off is pending"):
            await rig.put("HV", OFF)
        assert rig.state("HV:OffPending") == (1, *PENDING)
        give_back(supply)
        await rig.until(lambda: rig.state("HV:OffPending") == (0, *DONE))
        assert supply.values["HV_RBV"] == OFF
        await lose(rig, supply)
        with pytest.raises(NoReply):
            await rig.put("HV", OFF)
        await rig.instrument.close()
        gc.collect()
        assert "never retrieved" not in caplog.text

    run(scenario, driver=supply)


class Held(Supply):
    """A supply that does not answer to a put, and late to the question whether its switch is off."""

    def __init__(self) -> None:
        super().__init__()
        self.fault = lambda value: NoReply("no answer") if self.deaf else None
        self.asked, self.answers = threading.Event(), threading.Event()

    def read(self, group: str) -> Iterator[Step]:
        for step in super().read(group):
            if step == {"HV_RBV": OFF}:
                self.asked.set()
                self.answers.wait(1.5)
            yield step


def test_an_off_that_is_put_once_more_is_sent_whatever_was_read_before_that(run: Run) -> None:
    supply = Held()

    async def scenario(rig: Rig) -> None:
        supply.deaf = True
        first = asyncio.create_task(rig.put("HV", OFF))
        await rig.until(lambda: ("HV", OFF) in supply.log)
        supply.values["HV_RBV"] = OFF
        await rig.until(supply.asked.is_set)
        supply.values["HV_RBV"] = ON  # by somebody else, behind the reading
        supply.deaf = False
        supply.log.clear()
        second = asyncio.create_task(rig.put("HV", OFF))
        await asyncio.sleep(0.05)
        supply.answers.set()
        await asyncio.gather(first, second)
        assert ("HV", OFF) in supply.log
        assert supply.values["HV_RBV"] == OFF

    run(scenario, driver=supply)


class Late(Supply):
    """A supply that is looked at late after an Off was sent; ``pause`` is what comes before it."""

    def __init__(self, pause: Wait) -> None:
        super().__init__()
        self.pause = pause

    def write(self, point: Point, value: Value) -> Iterator[Step]:
        if point.name != "HV":
            yield from super().write(point, value)
            return
        yield Wait()  # not sent yet: what a scan reads then proves nothing
        self._note(("HV", value))
        self.values["HV_RBV"] = value
        try:
            yield self.pause
            self._note("looked")
            yield {"HV_RBV": value}
        finally:
            self._note("over")


@pytest.mark.parametrize("pause", [Look(0.8), Wait(0.8)])
@pytest.mark.parametrize("before", [OFF, ON])
def test_an_off_that_waits_to_be_looked_at_ends_with_a_scan_that_shows_it(run: Run, pause: Wait, before: int) -> None:
    supply = Late(pause)
    supply.values["HV_RBV"] = before

    async def scenario(rig: Rig) -> None:
        await asyncio.sleep(0.1)
        supply.log.clear()
        began = time.monotonic()
        await rig.put("HV", OFF)
        assert time.monotonic() - began < 0.6 or not isinstance(pause, Look)
        assert supply.log.count(("HV", OFF)) == supply.log.count("over") == 1
        assert ("looked" in supply.log) == (not isinstance(pause, Look))
        assert rig.state("HV:OffPending") == (0, *DONE)
        assert rig.state("HV_RBV")[0] == OFF
        await asyncio.sleep(1.0)
        assert ("looked" in supply.log) == (not isinstance(pause, Look))

    run(scenario, driver=supply)


class Killing(Supply):
    """A supply with a command that kills, and that nothing reads."""

    def __init__(self) -> None:
        super().__init__()
        kill = Point(name="Kill", rtyp=RecordType.bo, command=True, states=("Idle", "Execute"), safe=1)
        self.points = (*self.points, kill)

    def write(self, point: Point, value: Value) -> Iterator[Step]:
        if point.name != "Kill":
            yield from super().write(point, value)
            return
        self._note(("Kill", value))
        yield Wait(0.2)
        yield {}


def test_a_kill_that_is_put_once_more_while_it_is_looked_at_is_sent_once_more(run: Run) -> None:
    supply = Killing()

    async def scenario(rig: Rig) -> None:
        first = asyncio.create_task(rig.put("Kill", 1))
        await rig.until(lambda: ("Kill", 1) in supply.log)
        await rig.put("Kill", 1)
        await first
        assert supply.log.count(("Kill", 1)) == 2
        assert rig.state("Kill:ExecutePending") == (0, *DONE)

    run(scenario, driver=supply)


def test_a_later_on_takes_the_place_of_a_pending_off(run: Run, supply: Supply) -> None:
    async def scenario(rig: Rig) -> None:
        supply.deaf = True
        with pytest.raises(Refused):
            await rig.put("HV", OFF)
        supply.deaf = False
        supply.settles = 0.3
        await rig.put("HV", ON)
        assert rig.state("HV:OffPending") == (0, *DONE)
        supply.log.clear()
        await asyncio.sleep(0.4)
        assert ("HV", OFF) not in supply.log

    run(scenario, driver=supply)


def test_an_on_that_is_refused_does_not(run: Run, supply: Supply) -> None:
    async def scenario(rig: Rig) -> None:
        supply.deaf = True
        with pytest.raises(Refused):
            await rig.put("HV", OFF)
        supply.fault = lambda value: Refused("the interlock is open") if value == ON else None
        with pytest.raises(Refused, match="interlock"):
            await rig.put("HV", ON)
        supply.deaf = False
        await rig.until(lambda: supply.values["HV_RBV"] == OFF)

    run(scenario, driver=supply)


@pytest.mark.parametrize("error", UNKNOWN, ids=lambda error: type(error).__name__)
def test_an_on_of_unknown_outcome_is_invalid_at_once_and_followed_by_an_off(
    run: Run, supply: Supply, error: DeviceError
) -> None:
    supply.values["HV_RBV"] = OFF

    async def scenario(rig: Rig) -> None:
        supply.fault = lambda value: error if value == ON else None
        rig.posts.clear()
        with pytest.raises(DeviceError):
            await rig.put("HV", ON)
        assert "INVALID" in {record.sevr.name for record in (rig.record("HV"), rig.record("HV_RBV"))} or (
            rig.posts.index(("HV_RBV", 4, OFF, error.status.name)) >= 0
        )
        await rig.until(lambda: ("HV", OFF) in supply.log)
        await rig.until(lambda: rig.state("HV:OffPending") == (0, *DONE) and rig.state("HV") == (OFF, *DONE))
        assert supply.values["HV_RBV"] == OFF

    run(scenario, driver=supply)


def test_an_on_that_was_refused_or_changed_nothing_is_not_followed_by_an_off(run: Run, supply: Supply) -> None:
    async def scenario(rig: Rig) -> None:
        supply.fault = lambda value: NoReply("no answer")  # to a second On: it is on already
        with pytest.raises(NoReply):
            await rig.put("HV", ON)
        supply.fault = lambda value: Refused("not now")
        with pytest.raises(Refused):
            await rig.put("HV", ON)
        await asyncio.sleep(0.3)
        assert ("HV", OFF) not in supply.log

    run(scenario, driver=supply)


def test_an_on_that_fails_behind_an_off_is_followed_by_an_off(run: Run, supply: Supply) -> None:
    """When it was put the readback still said On, and it waited until the Off was over."""

    async def scenario(rig: Rig) -> None:
        supply.settles = 0.2
        supply.fault = lambda value: NoReply("no answer") if value == ON else None
        off = asyncio.create_task(rig.put("HV", OFF))
        await rig.until(lambda: ("HV", OFF) in supply.log)
        with pytest.raises(DeviceError):
            await rig.put("HV", ON)
        await rig.until(lambda: supply.log.count(("HV", OFF)) == 2)
        await rig.until(lambda: rig.state("HV") == (OFF, *DONE))
        await off

    run(scenario, driver=supply)


def test_an_off_does_not_wait_for_a_put_that_waits_for_its_read_back(run: Run, supply: Supply) -> None:
    async def scenario(rig: Rig) -> None:
        supply.settles = 0.5
        setting = asyncio.create_task(rig.put("Set", 5.0))
        await rig.until(lambda: ("Set", 5.0) in supply.log)
        began = time.monotonic()
        supply.log.clear()
        off = asyncio.create_task(rig.put("HV", OFF))
        await rig.until(lambda: ("HV", OFF) in supply.log)
        assert time.monotonic() - began < 0.2
        assert "fast" in supply.log or not setting.done()
        await asyncio.gather(setting, off)

    run(scenario, driver=supply)


def test_an_off_ends_an_on_that_is_under_way(run: Run, supply: Supply) -> None:
    supply.values["HV_RBV"] = OFF

    async def scenario(rig: Rig) -> None:
        supply.settles = 0.3
        on = asyncio.create_task(rig.put("HV", ON))
        await rig.until(lambda: ("HV", ON) in supply.log)
        off = asyncio.create_task(rig.put("HV", OFF))
        with pytest.raises(NoReply, match="given up under way"):
            await on
        await off
        await rig.until(lambda: rig.state("HV:OffPending") == (0, *DONE) and rig.state("HV") == (OFF, *DONE))
        assert [entry for entry in supply.log if isinstance(entry, tuple)] == [("HV", ON), ("HV", OFF)]

    run(scenario, driver=supply)


def test_a_put_that_waits_does_not_hold_up_the_scans(run: Run, supply: Supply) -> None:
    async def scenario(rig: Rig) -> None:
        supply.settles = 0.5
        setting = asyncio.create_task(rig.put("Set", 5.0))
        await rig.until(lambda: ("Set", 5.0) in supply.log)
        supply.log.clear()
        await setting
        assert supply.log.count("fast") >= 8
        assert rig.state("Mon")[2] == "NO_ALARM"

    run(scenario, driver=supply)


def test_puts_to_one_point_are_carried_out_one_after_the_other(run: Run, supply: Supply) -> None:
    async def scenario(rig: Rig) -> None:
        supply.settles = 0.1
        rig.posts.clear()
        await asyncio.gather(*(rig.put("Set", float(value)) for value in range(1, 7)))
        assert [val for name, _, val, _ in rig.posts if name == "Set"] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]

    run(scenario, driver=supply)


def test_an_off_waits_behind_a_call_that_hangs_and_is_then_the_first(run: Run, supply: Supply) -> None:
    supply.longest_call = 0.3  # type: ignore[misc]  # of this one instrument

    async def scenario(rig: Rig) -> None:
        supply.gate.clear()
        await rig.until(lambda: rig.state("Conn")[0] == 0, 3.0)
        with pytest.raises(NoReply):
            await rig.put("Set", 5.0)
        off = asyncio.create_task(rig.put("HV", OFF))
        await rig.until(lambda: rig.state("HV:OffPending") == (1, *PENDING))
        supply.log.clear()
        supply.gate.set()
        await off
        assert entries(supply)[0] == ("HV", OFF)

    run(scenario, driver=supply)


def test_a_pending_off_is_tried_until_it_is_shown_when_the_ioc_stops(run: Run, supply: Supply) -> None:
    async def scenario(rig: Rig) -> None:
        supply.deaf = True
        off = asyncio.create_task(rig.put("HV", OFF))
        await rig.until(lambda: ("HV", OFF) in supply.log)
        supply.log.clear()
        closing = asyncio.create_task(rig.instrument.close())
        await rig.until(lambda: supply.log.count(("HV", OFF)) > 2)
        supply.deaf = False
        await closing
        assert [entry for entry in entries(supply) if entry != "fast"][-2:] == [("HV", OFF), "close"]
        assert supply.values["HV_RBV"] == OFF
        await asyncio.gather(off, return_exceptions=True)

    run(scenario, driver=supply)


def test_an_off_that_comes_during_a_stop_is_carried_out(run: Run) -> None:
    supply = Patient()

    async def scenario(rig: Rig) -> None:
        supply.deaf = True
        first = asyncio.create_task(rig.put("HV", OFF))
        await rig.until(lambda: ("HV", OFF) in supply.log)
        closing = asyncio.create_task(rig.instrument.close())
        await asyncio.sleep(0.2)
        await rig.put("Safe", 0)
        assert supply.log.count(("Safe", 0)) == 1
        supply.deaf = False
        await closing
        await asyncio.gather(first, return_exceptions=True)  # refused, for it was not shown at once
        with pytest.raises(LinkDown, match="is being stopped"):
            await rig.put("Safe", 0)

    run(scenario, driver=supply)


def test_an_off_for_an_instrument_that_comes_back_during_a_stop_is_carried_out(run: Run, supply: Supply) -> None:
    async def scenario(rig: Rig) -> None:
        await lose(rig, supply)
        off = asyncio.create_task(rig.put("HV", OFF))
        await rig.until(lambda: ("blind", OFF) in supply.log)
        closing = asyncio.create_task(rig.instrument.close())
        await asyncio.sleep(0.2)
        give_back(supply)
        await closing
        await off
        assert [entry for entry in entries(supply) if entry != "fast"][-3:] == ["connect", ("HV", OFF), "close"]

    run(scenario, driver=supply)


def test_who_waits_for_an_off_that_a_stop_could_not_carry_out_is_told_why(
    run: Run, supply: Supply, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(port, "LAST_TRY", 0.5)

    async def scenario(rig: Rig) -> None:
        supply.deaf, supply.fault = True, lambda value: NoReply("no answer")
        off = asyncio.create_task(rig.put("HV", OFF))
        await rig.until(lambda: ("HV", OFF) in supply.log)
        await rig.instrument.close()
        sentence = "HV Off is not shown by PS, which is being stopped: no answer"
        with pytest.raises(LinkDown, match=sentence):
            await off
        assert sentence in caplog.text

    run(scenario, driver=supply)


def test_an_on_that_a_stop_ends_under_way_is_followed_by_an_off(run: Run, supply: Supply) -> None:
    supply.values["HV_RBV"] = OFF
    supply.settles = 0.5

    async def scenario(rig: Rig) -> None:
        supply.log.clear()
        on = asyncio.create_task(rig.put("HV", ON))
        await rig.until(lambda: ("HV", ON) in supply.log)
        await rig.instrument.close()
        with pytest.raises(LinkDown):
            await on
        log = [entry for entry in entries(supply) if entry != "fast"]
        assert log[-3:] == [("HV", ON), ("HV", OFF), "close"]
        assert supply.values["HV_RBV"] == OFF

    run(scenario, driver=supply)


def test_a_stop_sends_the_first_command_of_each_pending_off_before_the_second_of_any(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    supply = Patient()
    monkeypatch.setattr(port, "LAST_TRY", 2.0)

    async def scenario(rig: Rig) -> None:
        await lose(rig, supply)
        puts = [asyncio.create_task(rig.put("HV", OFF)), asyncio.create_task(rig.put("Safe", 0))]
        await rig.until(lambda: ("Safe", "blind") in supply.log)
        supply.log.clear()
        await rig.instrument.close()
        log = [entry for entry in supply.log if entry == "second half" or isinstance(entry, tuple)]
        first = log.index(("HV", "blind"))
        assert log[first:].index(("Safe", "blind")) < log[first:].index("second half")
        for put in puts:
            with pytest.raises(DeviceError):
                await put

    run(scenario, driver=supply)


def test_a_stop_sends_each_of_many_offs_that_a_slow_line_takes_long_for(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(port, "LAST_TRY", 0.5)
    supply = Slow()

    async def scenario(rig: Rig) -> None:
        puts = [asyncio.create_task(rig.put(point.name, OFF)) for point in supply.switches]
        await asyncio.sleep(0.1)
        await rig.instrument.close()
        sent = {entry[0] for entry in supply.log if isinstance(entry, tuple)}
        assert sent == {point.name for point in supply.switches}
        assert supply.log[-1] == "close"
        await asyncio.gather(*puts, return_exceptions=True)  # of the last ones nobody has seen that they are off

    run(scenario, driver=supply)


def test_a_stop_ends_where_several_offs_are_never_shown_and_one_is_put_again_and_again(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(port, "LAST_TRY", 1.0)
    supply = Slow()
    supply.deaf, supply.settles = True, 0.15

    async def scenario(rig: Rig) -> None:
        puts = [asyncio.create_task(rig.put(name, OFF)) for name in ("HV", "Deaf")]
        await rig.until(lambda: ("Deaf", OFF) in supply.log)
        closing = asyncio.create_task(rig.instrument.close())
        began = time.monotonic()
        while not closing.done() and time.monotonic() < began + 5:
            puts.append(asyncio.create_task(rig.put("HV", OFF)))
            await asyncio.sleep(0.1)
        assert time.monotonic() - began < 2.5
        await closing
        await asyncio.gather(*puts, return_exceptions=True)

    run(scenario, driver=supply)


def test_an_on_that_fails_while_its_readback_is_still_on_is_followed_by_an_off(run: Run, supply: Supply) -> None:
    """The switch of a desktop unit is on until the channel is down."""
    write = supply.write

    def slow_to_go(point: Point, value: Value) -> Iterator[Step]:
        yield Energizes() if value == ON else Wait()
        yield from write(point, value)

    supply.write = slow_to_go  # type: ignore[method-assign]
    supply.fault = lambda value: NoReply("no answer") if value == ON else None

    async def scenario(rig: Rig) -> None:
        with pytest.raises(NoReply):
            await rig.put("HV", ON)
        await rig.until(lambda: ("HV", OFF) in supply.log)

    run(scenario, driver=supply)


def test_values_stay_true_and_an_off_is_taken_while_a_stop_waits_for_another(run: Run, supply: Supply) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.instrument.stop()
        supply.values["Mon"] = 7.0
        await rig.until(lambda: rig.state("Mon")[0] == 7.0)
        with pytest.raises(LinkDown, match="is being stopped"):
            await rig.put("HV", ON)
        with pytest.raises(LinkDown, match="is being stopped"):
            await rig.put("Set", 5.0)
        await rig.put("HV", OFF)
        await rig.instrument.close()
        assert supply.values["HV_RBV"] == OFF

    run(scenario, driver=supply)


def test_a_stop_does_not_wait_for_a_call_that_hangs_and_shows_meanwhile_what_is_not_known(
    run: Run, supply: Supply, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(port, "STOP_PATIENCE", 1.5)
    supply.longest_call = 0.3  # type: ignore[misc]  # of this one instrument

    async def scenario(rig: Rig) -> None:
        supply.gate.clear()
        off = asyncio.create_task(rig.put("HV", OFF))
        await rig.until(lambda: ("HV", OFF) in supply.log)
        began = time.monotonic()
        await rig.instrument.stop()
        assert 1.4 < time.monotonic() - began < 2.5
        assert "INVALID" in rig.state("Mon")
        await rig.instrument.close()
        assert time.monotonic() - began < 3
        supply.gate.set()
        await asyncio.gather(off, return_exceptions=True)

    run(scenario, driver=supply)


def test_offs_one_after_the_other_do_not_starve_the_scans(run: Run, supply: Supply) -> None:
    async def scenario(rig: Rig) -> None:
        until = time.monotonic() + 1.0
        supply.log.clear()
        while time.monotonic() < until:
            await rig.put("HV", OFF)
        assert supply.log.count("fast") > 10
        assert rig.state("Mon")[2] == "NO_ALARM"

    run(scenario, driver=supply)
