"""The way of a reading and of a put, through a real port with its thread."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest

from drivers.base import (
    BadReply,
    DeviceError,
    LinkDown,
    NoReply,
    Point,
    Reading,
    Readings,
    RecordType,
    Refused,
    Severity,
    Status,
    Step,
    Value,
    Wait,
)
from ioc.fields import FIELDS
from ioc.record import PROPERTY
from ioc.site import Site
from tests.ioc.bench import Bench, Rig, Run

FINE = ("NO_ALARM", "NO_ALARM")
REFUSED = ("WRITE", "MINOR")


def test_readings_become_records_and_a_setting_follows_its_readback(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        assert rig.state("Mon") == (1.0, *FINE)
        assert rig.state("Set_RBV") == (10.0, *FINE)
        assert rig.state("Set") == (10.0, *FINE)
        assert rig.state("Conn") == (2, *FINE)

    run(scenario)


def test_a_change_made_elsewhere_shows_in_the_setting(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        rig.driver.values["Set_RBV"] = 33.0
        await rig.until(lambda: rig.state("Set") == (33.0, *FINE))

    run(scenario)


def test_a_setting_says_as_its_readback_does_why_nothing_is_known(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        for words in ("nothing is plugged in", "the board is gone"):
            rig.driver.values["Set_RBV"] = Reading(None, Severity.INVALID, Status.COMM, message=words)
            await rig.until(lambda words=words: rig.record("Set_RBV").amsg == words)  # type: ignore[misc]
            assert rig.record("Set").amsg == words

    run(scenario)


def test_other_words_of_a_known_readback_leave_alone_what_was_put(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        def hold(words: str) -> None:
            rig.driver.values["Set_RBV"] = Reading(10.0, Severity.MINOR, Status.STATE, message=words)

        hold("moves up")
        await rig.until(lambda: rig.record("Set_RBV").amsg == "moves up")
        rig.driver.write = lambda point, value: iter(())  # type: ignore[method-assign]
        await rig.put("Set", 42.0)
        hold("moves on")
        await rig.until(lambda: rig.record("Set_RBV").amsg == "moves on")
        assert rig.record("Set").val == 42.0

    run(scenario)


def test_a_put_completes_when_the_instrument_took_the_value_and_says_so(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.put("Set", 42.0)
        assert rig.state("Set") == (42.0, *FINE)
        assert rig.state("Set_RBV") == (42.0, *FINE)
        assert ("Set", 42.0) in rig.driver.log

    run(scenario)


def test_a_command_is_executed_by_a_1_and_rests_at_0_whatever_its_driver_yields(run: Run, bench: Bench) -> None:
    bench.points = (*bench.points, Point(name="Zero", rtyp=RecordType.bo, command=True, states=("Zero", "Run")))
    sent: list[Value] = []

    def write(point: Point, value: Value) -> Iterator[Step]:
        sent.append(value)
        yield {"Mon": 5.0}

    bench.write = write  # type: ignore[method-assign]

    async def scenario(rig: Rig) -> None:
        for value in (0, 1, 0, 1):
            await rig.put("Zero", value)
            assert rig.state("Zero") == (0, *FINE)
        assert sent == [1, 1]

    run(scenario, driver=bench)


def test_the_setting_shows_what_the_instrument_took(run: Run, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "write", lambda point, value: iter([{"Set_RBV": 41.97}]))

    async def scenario(rig: Rig) -> None:
        await rig.put("Set", 42.0)
        assert rig.state("Set") == (41.97, *FINE)

    run(scenario, driver=bench)


def test_a_setting_keeps_what_was_read_while_its_put_still_went_on(
    run: Run, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(point: Point, value: Value) -> Iterator[Step]:
        yield {"Set_RBV": value}
        bench.values["Set_RBV"] = 30.0  # by another hand, while the driver looks at something else
        bench.log.clear()
        while bench.log.count("slow") < 2:
            yield Wait(0.05)

    monkeypatch.setattr(bench, "write", write)

    async def scenario(rig: Rig) -> None:
        await rig.put("Set", 42.0)
        assert rig.state("Set_RBV") == (30.0, *FINE)
        assert rig.state("Set") == (30.0, *FINE)

    run(scenario, driver=bench)


def test_a_late_old_readback_does_not_flip_the_setting_back(
    run: Run, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "write", lambda point, value: {})

    async def scenario(rig: Rig) -> None:
        await rig.put("Set", 42.0)
        bench.log.clear()
        await rig.until(lambda: bench.log.count("slow") > 2)
        assert rig.state("Set") == (42.0, *FINE)
        assert rig.state("Set_RBV") == (10.0, *FINE)

    run(scenario, driver=bench)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 100.5, -1.0, "much"])
def test_a_refused_put_reaches_no_instrument_leaves_the_value_and_is_told(run: Run, value: Value) -> None:
    async def scenario(rig: Rig) -> None:
        rig.posts.clear()
        with pytest.raises(Refused) as refusal:
            await rig.put("Set", value)
        assert rig.state("Set") == (10.0, *REFUSED)
        assert rig.record("Set").amsg == str(refusal.value)[:39]
        assert not [entry for entry in rig.driver.log if isinstance(entry, tuple)]
        assert rig.record("Error").val == str(refusal.value)
        assert rig.record("ErrorCount").val == 1
        assert ("Set", 7, 10.0, "WRITE") in rig.posts  # the value in force, posted again

    run(scenario)


def test_an_error_that_a_driver_does_not_foresee_is_told_with_its_kind(run: Run) -> None:
    """The text of a KeyError is the key alone."""

    async def scenario(rig: Rig) -> None:
        del rig.driver.values["Mon"]
        await rig.until(lambda: str(rig.record("Error").val).endswith(": internal error, KeyError: 'Mon'"))

    run(scenario)


def test_a_put_that_the_instrument_refuses_fails_with_its_sentence(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        rig.driver.write_error = Refused("the crate says OUTOFRANGE")
        with pytest.raises(Refused, match="OUTOFRANGE"):
            await rig.put("Set", 42.0)
        assert rig.state("Set") == (10.0, *REFUSED)
        assert rig.record("Error").val == "the crate says OUTOFRANGE"

    run(scenario)


@pytest.mark.parametrize("same", [False, True])
def test_a_refusal_is_told_until_the_next_good_put_and_by_the_last_sentence(run: Run, same: bool) -> None:
    async def scenario(rig: Rig) -> None:
        for value in (100.5, -1.0):
            with pytest.raises(Refused) as refusal:
                await rig.put("Set", value)
            assert rig.record("Set").amsg == str(refusal.value)[:39]
        scans = rig.driver.log.count("slow")
        await rig.until(lambda: rig.driver.log.count("slow") > scans + 3)
        assert rig.state("Set") == (10.0, *REFUSED)  # a scan does not end it
        assert rig.state("Set_RBV") == (10.0, *FINE)
        await rig.put("Set", 10.0 if same else 20.0)
        assert rig.state("Set") == (10.0 if same else 20.0, *FINE)
        assert rig.record("Set").amsg == ""

    run(scenario)


def test_a_refusal_hides_no_other_alarm_and_a_lock_gives_none(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        record = rig.record("Set")
        record.disp = True
        with pytest.raises(Refused, match="locked"):
            await rig.put("Set", 20.0)
        assert rig.state("Set") == (10.0, *FINE)
        record.disp = False
        for severity in (Severity.MAJOR, Severity.INVALID):
            record.process(Reading(None, severity, Status.SOFT), 0.0)
            with pytest.raises(Refused):
                await rig.put("Set", 1e9)
            assert rig.state("Set")[1:] == ("SOFT", severity.name)

    run(scenario)


def test_puts_go_ahead_of_scans_in_order_of_arrival(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        rig.driver.gate.clear()
        await asyncio.sleep(0.2)  # scans are due and wait behind the gate
        puts = [asyncio.create_task(rig.put("Set", float(value))) for value in range(5)]
        await asyncio.sleep(0)
        rig.driver.log.clear()
        rig.driver.gate.set()
        await asyncio.gather(*puts)
        written = [entry for entry in rig.driver.log if isinstance(entry, tuple)]
        assert written == [("Set", float(value)) for value in range(5)]
        assert rig.state("Set") == (4.0, *FINE)

    run(scenario)


def test_an_off_overtakes_waiting_puts_and_cancels_earlier_ones_to_the_same_point(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        rig.driver.gate.clear()
        await asyncio.sleep(0.1)
        setting = asyncio.create_task(rig.put("Set", 5.0))
        switch_on = asyncio.create_task(rig.put("Safe", 1))
        await asyncio.sleep(0)
        switch_off = asyncio.create_task(rig.put("Safe", 0))
        await asyncio.sleep(0)
        rig.driver.log.clear()
        rig.driver.gate.set()
        await asyncio.gather(setting, switch_off)
        with pytest.raises(Refused, match="overtook"):
            await switch_on
        assert [entry for entry in rig.driver.log if isinstance(entry, tuple)] == [("Safe", 0), ("Set", 5.0)]

    run(scenario)


def test_scans_that_fail_slowly_do_not_starve_the_puts(
    run: Run, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow_and_bad(group: str) -> Iterator[Readings]:
        bench.log.append(group)
        time.sleep(0.2)  # four periods
        raise NoReply("silence")
        yield

    async def scenario(rig: Rig) -> None:
        monkeypatch.setattr(bench, "read", slow_and_bad)
        await rig.until(lambda: rig.state("Mon")[2] == "INVALID")
        began = time.monotonic()
        for value, name in ((1.0, "Set"), (2.0, "Set"), (0, "Safe"), (0, "Safe")):
            await rig.put(name, value)
        assert time.monotonic() - began < 2.0

    run(scenario, driver=bench)


@pytest.mark.alone
def test_what_makes_things_safe_goes_before_a_scan_that_is_overdue(
    run: Run, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow_and_bad(group: str) -> Iterator[Readings]:
        bench.log.append(group)
        time.sleep(0.2)
        raise NoReply("silence")
        yield

    async def scenario(rig: Rig) -> None:
        monkeypatch.setattr(bench, "read", slow_and_bad)
        await rig.until(lambda: rig.state("Mon")[2] == "INVALID")
        for _ in range(3):
            began = time.monotonic()
            await rig.put("Safe", 0)
            assert time.monotonic() - began < 0.35  # the scan in progress, and no other

    run(scenario, driver=bench)


def test_an_off_after_an_off_is_no_failure_of_the_first(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        rig.driver.gate.clear()
        await asyncio.sleep(0.1)
        puts = [asyncio.create_task(rig.put("Safe", 0)) for _ in range(3)]
        await asyncio.sleep(0)
        rig.driver.gate.set()
        await asyncio.gather(*puts)

    run(scenario)


def test_a_silent_instrument_shows_as_down_and_is_read_anew_when_it_answers(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        rig.driver.read_error = {"fast": NoReply("silence"), "slow": NoReply("silence")}
        await rig.until(lambda: rig.state("Conn")[0] == 0, 4.0)
        assert rig.state("Set")[1:] == ("TIMEOUT", "INVALID")
        assert rig.driver.log.count("connect") == 1
        await rig.put("Safe", 0)  # it may hear what cannot be heard here
        rig.driver.read_error = {}
        await rig.until(lambda: rig.state("Conn")[0] == 2 and rig.state("Set") == (10.0, *FINE), 1.0)

    run(scenario)


def test_limits_that_move_are_judged_by_the_driver_unless_the_site_sets_its_own(run: Run, bench: Bench) -> None:
    bench.points = tuple(replace(p, moving=True) if p.name == "Set" else p for p in bench.points)

    async def scenario(rig: Rig) -> None:
        await rig.put("Set", 500.0)
        assert ("Set", 500.0) in bench.log

    async def narrowed(rig: Rig) -> None:
        with pytest.raises(Refused, match="50"):
            await rig.put("Set", 60.0)

    run(scenario, driver=bench)
    bench.points = tuple(replace(p, moving=True) if p.name == "Set" else p for p in bench.points)
    run(narrowed, driver=bench, site=Site([("T:PS:Set", {"DRVH": 50.0})]))


def test_a_storm_of_puts_does_not_starve_the_scans(run: Run, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow_write(point: Point, value: Value) -> Iterator[Step]:
        bench.log.append(("Set", value))
        time.sleep(0.02)
        yield {"Set_RBV": value}

    monkeypatch.setattr(bench, "write", slow_write)

    async def scenario(rig: Rig) -> None:
        bench.log.clear()
        await asyncio.gather(*(rig.put("Set", float(n)) for n in range(50)))
        fast = [index for index, entry in enumerate(bench.log) if entry == "fast"]
        gaps = [b - a for a, b in pairwise(fast)]
        assert len(fast) >= 5
        assert max(gaps) <= 8

    run(scenario, driver=bench)


@pytest.mark.parametrize(
    ("error", "status"),
    [(NoReply("no answer in 0.5 s"), "TIMEOUT"), (BadReply("noise on the line"), "READ")],
)
def test_a_failed_scan_makes_its_group_invalid_keeps_the_values_and_heals(
    run: Run, caplog: pytest.LogCaptureFixture, error: DeviceError, status: str
) -> None:
    async def scenario(rig: Rig) -> None:
        rig.driver.read_error["fast"] = error
        await rig.until(lambda: rig.state("Mon") == (1.0, status, "INVALID"))
        assert rig.state("Set_RBV") == (10.0, *FINE)
        await asyncio.sleep(0.3)
        del rig.driver.read_error["fast"]
        await rig.until(lambda: rig.state("Mon") == (1.0, *FINE))
        assert rig.record("Error").val == str(error)
        assert caplog.text.count(str(error)) == 1
        await rig.until(lambda: "is read again without errors" in caplog.text)

    caplog.set_level(logging.INFO)
    run(scenario)


def test_an_error_whose_words_change_or_that_comes_again_is_logged_once(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(rig: Rig) -> None:
        for _ in range(2):
            for command in ("E", "a1", "a2", "E"):
                rig.driver.read_error["fast"] = NoReply(f"{command} was not answered")
                await asyncio.sleep(0.1)
            rig.driver.read_error.clear()
            await rig.until(lambda: rig.state("Mon") == (1.0, *FINE))

    caplog.set_level(logging.WARNING)
    run(scenario)
    assert caplog.text.count("was not answered") == 1


def test_a_setting_is_invalid_with_its_readback(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        rig.driver.read_error["slow"] = NoReply("silence")
        await rig.until(lambda: rig.state("Set") == (10.0, "TIMEOUT", "INVALID"))
        del rig.driver.read_error["slow"]
        await rig.until(lambda: rig.state("Set") == (10.0, *FINE))

    run(scenario)


def test_a_lost_link_makes_everything_invalid_and_is_opened_again(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(rig: Rig) -> None:
        rig.driver.connect_error = LinkDown("the cable is out")
        rig.driver.read_error["fast"] = LinkDown("the cable is out")
        await rig.until(lambda: rig.state("Conn")[0] == 0)
        for name in ("Mon", "Set", "Set_RBV"):
            assert rig.state(name)[1:] == ("COMM", "INVALID")
        with pytest.raises(LinkDown, match="cable"):
            await rig.put("Set", 1.0)
        rig.driver.read_error.clear()
        rig.driver.connect_error = None
        await rig.until(lambda: rig.state("Set") == (10.0, *FINE) and rig.state("Mon") == (1.0, *FINE))
        assert not [entry for entry in rig.driver.log if isinstance(entry, tuple)]
        assert caplog.text.count("the cable is out") == 1

    caplog.set_level(logging.WARNING)
    run(scenario)


def test_a_put_of_retry_connects_without_waiting_for_the_back_off(run: Run, bench: Bench, down: LinkDown) -> None:
    bench.connect_error = down

    async def scenario(rig: Rig) -> None:
        await rig.until(lambda: bench.log.count("connect") >= 2)  # the next try would be 2 s later
        bench.connect_error = None
        await rig.put("Retry", 1)
        assert rig.state("Conn")[0] == 2

    run(scenario, driver=bench)


def test_a_put_of_retry_fails_with_the_reason_when_the_instrument_stays_away(
    run: Run, bench: Bench, down: LinkDown
) -> None:
    bench.connect_error = down

    async def scenario(rig: Rig) -> None:
        with pytest.raises(LinkDown, match="the cable is out"):
            await rig.put("Retry", 1)

    run(scenario, driver=bench)


def test_a_call_that_hangs_makes_everything_invalid_until_it_comes_back(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        rig.driver.gate.clear()
        await rig.until(lambda: rig.state("Mon")[1:] == ("TIMEOUT", "INVALID"), 2.0)
        await rig.until(lambda: rig.state("Set")[1:] == ("TIMEOUT", "INVALID"), 1.0)
        await rig.until(lambda: rig.state("Conn")[0] == 0)
        rig.driver.gate.set()
        await rig.until(lambda: rig.state("Mon") == (1.0, *FINE) and rig.state("Set") == (10.0, *FINE))
        await rig.until(lambda: rig.state("Conn")[0] == 2)

    run(scenario)


def test_puts_do_not_wait_behind_a_call_that_hangs(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        rig.driver.gate.clear()
        await asyncio.sleep(0.1)
        early = asyncio.create_task(rig.put("Set", 5.0))
        await rig.until(lambda: rig.state("Mon")[1:] == ("TIMEOUT", "INVALID"), 2.0)
        with pytest.raises(NoReply):
            await early
        with pytest.raises(NoReply):
            await rig.put("Set", 6.0)
        rig.driver.gate.set()
        await rig.until(lambda: rig.state("Set") == (10.0, *FINE))
        assert not [entry for entry in rig.driver.log if isinstance(entry, tuple)]

    run(scenario)


def test_puts_do_not_wait_for_a_connection(run: Run, bench: Bench, down: LinkDown) -> None:
    bench.connect_error = down

    async def scenario(rig: Rig) -> None:
        await rig.until(lambda: "connect" in bench.log)
        bench.connect_error = None
        with pytest.raises(LinkDown):
            await rig.put("Set", 5.0)
        await rig.put("Retry", 1)
        await rig.until(lambda: rig.state("Set") == (10.0, *FINE))
        assert not [entry for entry in bench.log if isinstance(entry, tuple)]

    run(scenario, driver=bench)


def test_a_bug_in_a_driver_is_an_alarm_and_not_the_end(run: Run, bench: Bench) -> None:
    async def scenario(rig: Rig) -> None:
        bench.values.pop("Mon")
        await rig.until(lambda: rig.state("Mon")[1:] == ("READ", "INVALID"))
        bench.values["Mon"] = 2.0
        await rig.until(lambda: rig.state("Mon") == (2.0, *FINE))

    run(scenario, driver=bench)


def test_a_read_that_is_no_generator_fails_like_any_other(
    run: Run, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(group: str) -> Iterator[Readings]:
        raise NoReply("silence")

    async def scenario(rig: Rig) -> None:
        monkeypatch.setattr(bench, "read", read)
        await rig.until(lambda: rig.state("Mon") == (1.0, "TIMEOUT", "INVALID"))

    run(scenario, driver=bench)


def test_all_calls_to_a_driver_come_from_one_thread(run: Run, bench: Bench) -> None:
    async def scenario(rig: Rig) -> None:
        await asyncio.gather(*(rig.put("Set", float(n)) for n in range(10)))

    run(scenario, driver=bench)
    assert len(bench.threads) == 1
    assert bench.log[-1] == "close"


def test_points_that_appear_get_records_and_points_that_go_become_invalid(run: Run, bench: Bench) -> None:
    new = Point(name="New", rtyp=RecordType.ai, group="fast")

    async def scenario(rig: Rig) -> None:
        bench.values["New"] = 5.0
        bench.points = (*bench.points, new)
        await rig.until(lambda: "New" in rig.instrument.records and rig.state("New") == (5.0, *FINE))
        bench.points = bench.points[1:]
        await rig.until(lambda: rig.state("Mon")[1:] == ("COMM", "INVALID"))
        assert rig.state("New") == (5.0, *FINE)

    run(scenario, driver=bench)


def test_a_name_that_is_too_long_is_left_out_and_told_once(
    run: Run, bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    name = "x" * 60
    bench.points = (*bench.points, Point(name=name, rtyp=RecordType.ai, group="fast"))
    bench.values[name] = 1.0
    plain = bench.read

    def read(group: str) -> Iterator[Step]:
        yield from plain(group)
        yield {"Ghost": 1.0}

    monkeypatch.setattr(bench, "read", read)

    async def scenario(rig: Rig) -> None:
        await asyncio.sleep(0.3)
        assert name not in rig.instrument.records

    run(scenario, driver=bench)
    assert caplog.text.count("longer than 60 characters") == 1
    assert caplog.text.count("Ghost") == 1


def test_new_limits_of_a_point_are_posted_as_properties_and_hold_at_once(run: Run, bench: Bench) -> None:
    async def scenario(rig: Rig) -> None:
        bench.points = tuple(replace(p, drvh=20.0) if p.name == "Set" else p for p in bench.points)
        await rig.until(lambda: ("Set", PROPERTY, 10.0, "NO_ALARM") in rig.posts)
        with pytest.raises(Refused, match="20 V"):
            await rig.put("Set", 50.0)

    run(scenario, driver=bench)


def test_a_site_narrows_limits_and_cannot_widen_them(run: Run) -> None:
    site = Site([("T:PS:Set", {"DRVH": FIELDS["DRVH"].parse(500)}), ("T:PS:S*", {"DRVL": FIELDS["DRVL"].parse(5)})])

    async def scenario(rig: Rig) -> None:
        point = rig.record("Set").point
        assert (point.drvl, point.drvh) == (5.0, 100.0)

    run(scenario, site=site)


def test_a_reading_with_an_alarm_of_its_own_shows_it(run: Run, bench: Bench) -> None:
    async def scenario(rig: Rig) -> None:
        bench.values["Mon"] = Reading(7.0, Severity.MAJOR, Status.STATE)
        await rig.until(lambda: rig.state("Mon") == (7.0, "STATE", "MAJOR"))

    run(scenario, driver=bench)


def test_scan_time_and_overruns_are_told(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        rig.driver.gate.clear()
        await asyncio.sleep(0.3)
        rig.driver.gate.set()
        await rig.until(lambda: int(rig.record("Overruns").val) > 0)
        assert max(float(post[2]) for post in rig.posts if post[0] == "ScanTime") > 100

    run(scenario)


def test_a_command_rests_at_zero_while_the_instrument_is_there(run: Run, bench: Bench) -> None:
    async def scenario(rig: Rig) -> None:
        assert rig.state("Safe") == (0, *FINE)
        bench.points = (*bench.points, replace(bench.points[-1], name="Safe2"))
        await rig.until(lambda: "Safe2" in rig.instrument.records and rig.state("Safe2") == (0, *FINE))
        bench.connect_error = LinkDown("the cable is out")
        bench.read_error["fast"] = LinkDown("the cable is out")
        await rig.until(lambda: rig.state("Safe")[2] == "INVALID")
        bench.connect_error = None
        bench.read_error.clear()
        await rig.until(lambda: rig.state("Safe") == (0, *FINE))

    run(scenario, driver=bench)


def test_a_setting_that_nothing_reads_does_not_stay_lost_when_the_instrument_is_back(run: Run, bench: Bench) -> None:
    bench.points = (*bench.points, Point(name="Told", rtyp=RecordType.ao))

    async def scenario(rig: Rig) -> None:
        await rig.until(lambda: rig.state("Mon")[1:] == FINE)
        bench.connect_error = LinkDown("the cable is out")
        bench.read_error["fast"] = LinkDown("the cable is out")
        await rig.until(lambda: rig.state("Told")[1] == "COMM")
        assert rig.record("Told").amsg == "the cable is out"
        bench.connect_error = None
        bench.read_error.clear()
        await rig.until(lambda: rig.state("Told")[1:] == ("UDF", "INVALID"))
        assert rig.record("Told").amsg == ""

    run(scenario, driver=bench)


def test_a_setting_that_nothing_reads_does_not_stay_lost_when_a_silent_or_hanging_instrument_answers(
    run: Run, bench: Bench
) -> None:
    bench.points = (*bench.points, Point(name="Told", rtyp=RecordType.ao))

    async def scenario(rig: Rig) -> None:
        bench.read_error = {"fast": NoReply("silence"), "slow": NoReply("silence")}
        await rig.until(lambda: rig.state("Told")[1] == "TIMEOUT", 4.0)
        bench.read_error = {}
        await rig.until(lambda: rig.state("Told")[1:] == ("UDF", "INVALID"), 2.0)
        assert bench.log.count("connect") == 1
        await rig.put("Told", 5.0)
        assert rig.state("Told")[1:] == FINE
        bench.gate.clear()
        await rig.until(lambda: rig.state("Told")[1] == "TIMEOUT", 4.0)
        bench.gate.set()
        await rig.until(lambda: rig.state("Told")[1:] == ("UDF", "INVALID"), 2.0)

    run(scenario, driver=bench)


def test_a_setting_that_nothing_reads_does_not_stay_lost_when_its_board_is_back(run: Run, bench: Bench) -> None:
    without = bench.points
    kept, told = (Point(name=name, rtyp=RecordType.ao) for name in ("Kept", "Told"))
    bench.points = (*without, kept, told)

    async def scenario(rig: Rig) -> None:
        bench.write_error = NoReply("it is not known what that did")
        with pytest.raises(NoReply):
            await rig.put("Kept", 5.0)
        bench.points = (*without, kept)
        await rig.until(lambda: rig.state("Told")[1] == "COMM")
        bench.points = (*without, kept, told)
        await rig.until(lambda: rig.state("Told")[1:] == ("UDF", "INVALID"), 2.0)
        assert rig.state("Kept")[1] == "TIMEOUT"  # of which the outcome of a put is not known

    run(scenario, driver=bench)


# ---- reading anew on request ----


@pytest.mark.parametrize("end", ["stop", "loss"])
def test_a_reading_asked_for_is_answered_also_when_it_never_comes(run: Run, bench: Bench, end: str) -> None:
    def ask(rig: Rig) -> asyncio.Future[None]:
        reading = rig.instrument.set_field(rig.record("Mon"), "PROC", 1)
        assert reading is not None
        return asyncio.ensure_future(reading)

    async def scenario(rig: Rig) -> None:
        bench.gate.clear()
        port = rig.instrument._port
        assert port is not None
        await rig.until(lambda: port.deadline is not None)
        asked = [ask(rig) for _ in range(3)]
        await asyncio.sleep(0.01)
        bench.read_error = dict.fromkeys(("fast", "slow"), LinkDown("the cable is out"))
        closing = asyncio.create_task(rig.instrument.close()) if end == "stop" else None
        await asyncio.sleep(0.05)
        bench.gate.set()
        answers = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 5)
        assert all(isinstance(answer, LinkDown) for answer in answers)
        if closing is not None:
            await closing

    run(scenario, bench)


@pytest.mark.parametrize("field", ["DRVH", "DRVL", "EGU"])
def test_what_is_commanded_or_meant_is_not_set_at_run_time(field: str) -> None:
    assert not FIELDS[field].live


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("HIHI", "high", "'high' is not a number"),
        ("HHSV", "AWFUL", "'AWFUL' is not one of NO_ALARM, MINOR, MAJOR, INVALID"),
        ("HHSV", 4, "4 is not one of"),
        ("PREC", 99, "99 is not a whole number from 0 to 15"),
        ("DESC", "x" * 41, "at most 40"),
    ],
)
def test_a_wrong_value_for_a_field_is_refused_with_a_sentence(
    run: Run, field: str, value: Value, sentence: str
) -> None:
    async def scenario(rig: Rig) -> None:
        with pytest.raises(Refused, match=sentence):
            rig.instrument.set_field(rig.record("Mon"), field, value)
        assert sentence.split(";", maxsplit=1)[0][:20] in str(rig.state("Error")[0])

    run(scenario)
