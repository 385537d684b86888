"""What a client sends behind its put sees the put: a get, a first update, with callback or without."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Iterator
from functools import partial

import pytest

from drivers.base import Refused
from ioc.ca import dbr, turns
from ioc.ca.message import ERROR, EVENT_ADD, EVENT_CANCEL, NORMAL, PUT_FAIL, READ_NOTIFY, WRITE, WRITE_NOTIFY
from ioc.ca.puts import puts
from ioc.ca.puts.puts import PUT_PATIENCE
from tests.ioc.ca.live import LiveIoc
from tests.ioc.ca.test_fuzz import frame
from tests.small_ioc import HEADER, Raw, until

MASK = struct.pack(">12xHH", 5, 0)


@pytest.fixture(scope="module")
def ioc() -> Iterator[LiveIoc]:
    """A server with an instrument."""
    ioc = LiveIoc()
    yield ioc
    ioc.close()


@pytest.fixture(autouse=True)
def well(ioc: LiveIoc) -> Iterator[None]:
    """The instrument takes all."""
    yield
    ioc.driver.gate.set()
    ioc.driver.write_error = None


def put(sid: int, value: float, command: int = WRITE, number: int = 3) -> bytes:
    return frame(command, struct.pack(">d", value), dbr.DOUBLE, 1, sid, number)


def get(sid: int, number: int) -> bytes:
    return frame(READ_NOTIFY, b"", dbr.DOUBLE, 1, sid, number)


@pytest.mark.parametrize("name", ["PS:Own", "PS:Set", "PS:Set_RBV"])
@pytest.mark.parametrize("command", [WRITE, WRITE_NOTIFY])
def test_puts_without_waiting_are_updates_in_order_and_each_once(ioc: LiveIoc, command: int, name: str) -> None:
    with Raw(ioc) as raw:
        setpoint = name.removesuffix("_RBV")
        target = raw.create(setpoint)
        raw.say(put(target, 0.0, WRITE_NOTIFY, 99))
        raw.answer(WRITE_NOTIFY, 99)
        sid = raw.create(name)
        raw.subscribe(sid, 1)
        raw.update()
        with Raw(ioc) as other:
            target = other.create(setpoint)
            for value in range(1, 7):
                other.say(put(target, float(value), command))
                time.sleep(0.001)
            seen: list[float] = []
            while not seen or seen[-1] != 6.0:
                seen.append(raw.number(raw.update()))
        time.sleep(0.2)
        raw.say(get(sid, 7))
        after = raw.message()
        assert after[0] == READ_NOTIFY  # no update more
        assert seen == sorted(set(seen))


def subscribe(sid: int, number: int) -> bytes:
    return frame(EVENT_ADD, MASK, dbr.DOUBLE, 1, sid, number)


def settle(raw: Raw, sid: int, value: float = 0.0) -> None:
    """Put, and wait until it is done."""
    raw.say(put(sid, value, WRITE_NOTIFY, 99))
    raw.answer(WRITE_NOTIFY, 99)


@pytest.mark.parametrize("times", [1, 2, 50, 1000])
@pytest.mark.parametrize("command", [WRITE, WRITE_NOTIFY])
@pytest.mark.parametrize("behind", ["get", "subscription", "get by another channel"])
def test_what_is_sent_behind_a_put_shows_it(ioc: LiveIoc, behind: str, command: int, times: int) -> None:
    with Raw(ioc) as raw:
        sid, other = raw.create("PS:Own", 1), raw.create("PS:Own.VAL", 2)
        settle(raw, sid)
        messages = b"".join(put(sid, float(value), command) for value in range(1, times + 1))
        reading = {"get": get(sid, 8), "subscription": subscribe(sid, 8), "get by another channel": get(other, 8)}
        raw.say(messages + reading[behind])
        _, body, _ = raw.answer(EVENT_ADD if behind == "subscription" else READ_NOTIFY, 8)
        assert raw.number(body) == times


def test_a_get_behind_each_put_shows_it_or_a_newer_one(ioc: LiveIoc) -> None:
    with Raw(ioc) as raw:
        sid = raw.create("PS:Own")
        settle(raw, sid)
        raw.say(b"".join(put(sid, float(value)) + get(sid, 1000 + value) for value in range(1, 200)))
        for value in range(1, 200):
            _, body, _ = raw.answer(READ_NOTIFY, 1000 + value)
            assert raw.number(body) >= value


@pytest.mark.parametrize("name", ["PS:Own", "PS:Set"])
@pytest.mark.parametrize("times", [2, 10, 100])
@pytest.mark.parametrize("behind", ["get", "subscription"])
def test_what_is_sent_between_puts_with_callback_shows_the_one_before_it(
    ioc: LiveIoc, behind: str, times: int, name: str
) -> None:
    """Not one that was sent after it, however quickly the instrument takes them."""
    for _ in range(5):
        with Raw(ioc) as raw:
            sid = raw.create(name)
            settle(raw, sid)
            asking = {"get": get, "subscription": subscribe}[behind]
            raw.say(
                b"".join(
                    put(sid, float(value), WRITE_NOTIFY, value) + asking(sid, 1000 + value)
                    for value in range(1, times + 1)
                )
            )
            first: dict[int, float] = {}
            while len(first) < times:
                command, body, *_, number = raw.message()
                if command in {READ_NOTIFY, EVENT_ADD}:
                    first.setdefault(number - 1000, raw.number(body))
            assert [first[value] for value in range(1, times + 1)] == [*range(1, times + 1)]


@pytest.mark.parametrize("behind", ["get", "subscription"])
def test_what_is_sent_between_puts_shows_the_one_before_it_also_where_turns_are_over_at_once(
    ioc: LiveIoc, monkeypatch: pytest.MonkeyPatch, behind: str
) -> None:
    """As on a computer that has no time for this process: the next put must not end before the answer."""
    with Raw(ioc) as raw:
        sid = raw.create("PS:Own")
        settle(raw, sid)
        ioc.driver.gate.clear()
        asking = {"get": get, "subscription": subscribe}[behind]
        raw.say(
            b"".join(
                put(sid, float(value), WRITE_NOTIFY, value) + asking(sid, 1000 + value) for value in range(1, 11)
            )
        )
        until(lambda: ioc.server.puts.behind == 10)
        monkeypatch.setattr(turns, "SECONDS", 0.0)
        ioc.driver.gate.set()
        first: dict[int, float] = {}
        while len(first) < 10:
            command, body, *_, number = raw.message()
            if command in {READ_NOTIFY, EVENT_ADD}:
                first.setdefault(number - 1000, raw.number(body))
        assert [first[value] for value in range(1, 11)] == [*range(1, 11)]


@pytest.mark.parametrize("command", [WRITE, WRITE_NOTIFY])
@pytest.mark.parametrize("refused", ["by its limits", "by the instrument"])
def test_behind_a_put_that_is_refused_comes_the_old_value(ioc: LiveIoc, refused: str, command: int) -> None:
    with Raw(ioc) as raw:
        sid = raw.create("PS:Own")
        settle(raw, sid, 5.0)
        if refused == "by the instrument":
            ioc.driver.write_error = Refused("no")
        raw.say(put(sid, 1e9 if refused == "by its limits" else 6.0, command) + get(sid, 8))
        assert raw.number(raw.answer(READ_NOTIFY, 8)[1]) == 5.0


@pytest.mark.parametrize("times", [1, 5])
@pytest.mark.parametrize("behind", ["get", "subscription"])
def test_behind_a_put_whose_place_that_of_another_client_took_comes_the_newest(
    ioc: LiveIoc, behind: str, times: int
) -> None:
    """However often the two take each other's place."""
    with Raw(ioc) as raw, Raw(ioc) as other, Raw(ioc) as first:
        own, others, busy = (each.create("PS:Own") for each in (raw, other, first))
        settle(raw, own)
        ioc.driver.gate.clear()
        first.say(put(busy, 1.0, WRITE_NOTIFY, 1))
        time.sleep(0.05)
        for value in range(2, 2 + 2 * times, 2):
            raw.say(put(own, float(value)))
            raw.say({"get": get(own, 7 + value), "subscription": subscribe(own, 7 + value)}[behind])
            time.sleep(0.01)
            other.say(put(others, float(value + 1)))
            time.sleep(0.01)
        ioc.driver.gate.set()
        for value in range(2, 2 + 2 * times, 2):
            command = EVENT_ADD if behind == "subscription" else READ_NOTIFY
            assert raw.number(raw.answer(command, 7 + value)[1]) == 2 * times + 1


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("times", [1, 3])
def test_a_put_whose_place_one_took_that_failed_is_not_carried_out_and_its_client_is_told(
    ioc: LiveIoc, times: int, refused: bool
) -> None:
    """However many took its place; without callback nobody is told of one whose place a good one took."""
    with Raw(ioc) as raw, Raw(ioc) as other, Raw(ioc) as first:
        own, others, busy = (each.create("PS:Own") for each in (raw, other, first))
        settle(raw, own)
        ioc.driver.log.clear()
        ioc.driver.gate.clear()
        first.say(put(busy, 1.0))
        until(lambda: ("Own", 1.0) in ioc.driver.log)
        raw.say(put(own, 5.0) + get(own, 7))
        for value in range(6, 6 + times):
            time.sleep(0.01)
            other.say(put(others, float(value)))
        time.sleep(0.01)
        ioc.driver.write_error = Refused("no") if refused else None
        ioc.driver.gate.set()
        found = [raw.message() for _ in range(2 if refused else 1)]
        assert sorted(command for command, *_ in found) == ([ERROR, READ_NOTIFY] if refused else [READ_NOTIFY])
        told = [body for command, body, *_ in found if command == ERROR]
        assert all(b"not carried out, a newer put took its place and failed: no" in body for body in told)
        ioc.driver.write_error = None
        settle(first, busy)
        assert ("Own", 5.0) not in ioc.driver.log


def test_a_get_of_another_client_sees_the_put_of_one_that_has_left(ioc: LiveIoc) -> None:
    for value in range(1, 30):
        with Raw(ioc) as raw:
            sid = raw.create("PS:Own")
            raw.say(put(sid, float(value)) + HEADER.pack(12, 0, 0, 0, sid, 1))
            while raw.message()[0] != 12:
                pass
        with Raw(ioc) as raw:
            sid = raw.create("PS:Own")
            raw.say(get(sid, 8))
            assert raw.number(raw.answer(READ_NOTIFY, 8)[1]) == value


@pytest.mark.parametrize("refused", [False, True])
def test_a_client_that_sends_nothing_more_gets_the_answers_to_its_puts_and_is_then_let_go(
    ioc: LiveIoc, refused: bool
) -> None:
    with Raw(ioc) as own, Raw(ioc) as other:
        sid, there = own.create("PS:Own"), other.create("PS:Own")
        settle(own, sid)
        ioc.driver.gate.clear()
        own.say(put(sid, 5.0, WRITE_NOTIFY, 7) + get(sid, 8))
        own.sends_no_more()
        time.sleep(0.1)
        other.say(get(there, 9))  # comes behind the put of who has left, as that of caput does
        ioc.driver.write_error = Refused("not now") if refused else None
        ioc.driver.gate.set()
        assert own.answer(WRITE_NOTIFY, 7)[0] == (PUT_FAIL if refused else NORMAL)
        value = 0.0 if refused else 5.0
        assert own.number(own.answer(READ_NOTIFY, 8)[1]) == value
        assert other.number(other.answer(READ_NOTIFY, 9)[1]) == value
        with pytest.raises(AssertionError, match="closed"):
            own.read_to_the_end()
    until(lambda: not ioc.server.clients)


def test_a_client_that_has_gone_is_forgotten_when_its_put_is_done(ioc: LiveIoc) -> None:
    with Raw(ioc) as own:
        sid = own.create("PS:Own")
        settle(own, sid)
        ioc.driver.gate.clear()
        own.say(put(sid, 6.0, WRITE) + put(sid, 7.0, WRITE_NOTIFY, 7))
    time.sleep(0.1)
    ioc.driver.gate.set()
    until(lambda: not ioc.server.clients)


def test_a_get_behind_a_slow_put_waits_no_longer_than_it_is_patient_and_holds_up_no_other_request(
    ioc: LiveIoc,
) -> None:
    with Raw(ioc) as raw:
        sid, mon = raw.create("PS:Own", 1), raw.create("PS:Mon", 2)
        settle(raw, sid, 5.0)
        ioc.driver.gate.clear()
        began = time.monotonic()
        raw.say(put(sid, 6.0) + get(sid, 8) + get(mon, 9))
        numbers: list[tuple[int, float]] = []
        while len(numbers) < 2:
            command, body, *_, number = raw.message()
            if command == READ_NOTIFY:
                numbers.append((number, raw.number(body)))
        assert numbers == [(9, 1.0), (8, 5.0)]
        assert 0.9 * PUT_PATIENCE < time.monotonic() - began < 5 * PUT_PATIENCE
        began = time.monotonic()
        raw.say(get(sid, 10))
        raw.answer(READ_NOTIFY, 10)
        assert time.monotonic() - began < PUT_PATIENCE
        ioc.driver.gate.set()
        settle(raw, sid)


def test_a_subscription_that_ends_before_its_put_is_done_sends_nothing(ioc: LiveIoc) -> None:
    with Raw(ioc) as raw:
        sid = raw.create("PS:Own", 1)
        settle(raw, sid, 5.0)
        ioc.driver.gate.clear()
        raw.say(put(sid, 6.0) + subscribe(sid, 8) + frame(EVENT_CANCEL, b"", dbr.DOUBLE, 1, sid, 8))
        assert raw.answer(EVENT_ADD, 8)[1] == b""
        ioc.driver.gate.set()
        settle(raw, sid, 7.0)
        raw.say(get(sid, 9))
        assert raw.message()[0] == READ_NOTIFY
    until(lambda: not ioc.instrument.records["Own"].monitors)


def test_floods_of_gets_behind_a_put_are_answered_in_turns(ioc: LiveIoc) -> None:
    ioc.read("lsi", "x" * 100_000)
    with Raw(ioc) as raw, Raw(ioc) as other:
        sid, ai = raw.create("PS:Own", 1), other.create("ai", 2)
        ioc.driver.gate.clear()
        raw.say(put(sid, 6.0) + b"".join(get(sid, number) for number in range(1500)))
        other.say(get(ai, 1))
        other.answer(READ_NOTIFY, 1)
        ioc.driver.gate.set()
        assert [raw.answer(READ_NOTIFY, number)[0] for number in range(1500)] == [1] * 1500
    assert not ioc.server.puts.left


def test_gets_that_are_read_after_the_end_of_a_put_are_answered_behind_those_before_it(ioc: LiveIoc) -> None:
    """The put ends while its client's gets are still being read."""
    with Raw(ioc) as raw:
        sid = raw.create("PS:Own", 1)
        for value in range(5):
            raw.say(put(sid, float(value)) + b"".join(get(sid, number) for number in range(5000)))
            assert [raw.message()[-1] for _ in range(5000)] == [*range(5000)]


def test_no_more_waits_behind_puts_than_there_is_memory_for(ioc: LiveIoc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(puts, "MOST_BEHIND", 3)
    with Raw(ioc) as raw:
        sid = raw.create("PS:Own", 1)
        settle(raw, sid, 5.0)
        ioc.driver.gate.clear()
        raw.say(put(sid, 6.0, WRITE_NOTIFY, 1) + b"".join(get(sid, number) for number in range(10, 15)))
        told = [raw.message() for _ in range(2)]
        assert [(number, raw.number(body)) for _, body, *_, number in told] == [(13, 5.0), (14, 5.0)]
        ioc.driver.gate.set()
        late = [raw.answer(READ_NOTIFY, number) for number in range(10, 13)]
        assert [raw.number(body) for _, body, _ in late] == [6.0] * 3
        ioc.driver.gate.clear()
        raw.say(put(sid, 7.0, WRITE_NOTIFY, 2) + get(sid, 20))
        ioc.driver.gate.set()
        assert raw.number(raw.answer(READ_NOTIFY, 20)[1]) == 7.0


def test_no_more_puts_are_under_way_than_there_is_memory_for_but_what_makes_things_safe(
    ioc: LiveIoc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(puts, "MOST_PUTS", 3)
    with Raw(ioc) as raw:
        sid, safe = raw.create("PS:Own", 1), raw.create("PS:Safe", 2)
        settle(raw, sid, 5.0)
        ioc.driver.gate.clear()
        raw.say(b"".join(put(sid, float(number), WRITE_NOTIFY, number) for number in range(10, 15)))
        assert [raw.message()[-2:] for _ in range(2)] == [(PUT_FAIL, 13), (PUT_FAIL, 14)]
        raw.say(put(safe, 1.0, WRITE_NOTIFY, 30) + put(safe, 0.0, WRITE_NOTIFY, 31))
        assert raw.message()[-2:] == (PUT_FAIL, 30)
        ioc.driver.gate.set()
        assert {raw.message()[-2:] for _ in range(4)} == {(NORMAL, number) for number in (31, 10, 11, 12)}
        settle(raw, sid, 7.0)


def test_many_circuits_have_their_share_of_the_puts_that_there_is_memory_for(
    ioc: LiveIoc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(puts, "PUTS_TOGETHER", 4)
    with Raw(ioc) as flood, Raw(ioc) as other:
        sid, own = flood.create("PS:Own", 1), other.create("PS:Own", 1)
        settle(flood, sid, 5.0)
        ioc.driver.gate.clear()
        flood.say(b"".join(put(sid, float(number), WRITE_NOTIFY, number) for number in range(10, 16)))
        assert [flood.message()[-2:] for _ in range(2)] == [(PUT_FAIL, 14), (PUT_FAIL, 15)]
        other.say(b"".join(put(own, float(number), WRITE_NOTIFY, number) for number in range(20, 24)))
        assert [other.message()[-2:] for _ in range(2)] == [(PUT_FAIL, 22), (PUT_FAIL, 23)]
        ioc.driver.gate.set()
        assert {flood.message()[-2:] for _ in range(4)} == {(NORMAL, number) for number in range(10, 14)}
        assert {other.message()[-2:] for _ in range(2)} == {(NORMAL, number) for number in (20, 21)}
    until(lambda: (ioc.server.puts.puts, ioc.server.puts.clients) == (0, 0))


def test_many_circuits_have_their_share_of_what_waits_behind_puts(
    ioc: LiveIoc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(puts, "BEHIND_TOGETHER", 4)
    with Raw(ioc) as flood, Raw(ioc) as other:
        sid, own = flood.create("PS:Own", 1), other.create("PS:Own", 1)
        settle(flood, sid, 5.0)
        ioc.driver.gate.clear()
        flood.say(put(sid, 6.0, WRITE_NOTIFY, 1) + b"".join(get(sid, number) for number in range(10, 16)))
        assert {flood.message()[-1] for _ in range(2)} == {14, 15}
        other.say(put(own, 7.0, WRITE_NOTIFY, 1) + b"".join(get(own, number) for number in range(20, 24)))
        assert {other.message()[-1] for _ in range(2)} == {22, 23}
        ioc.driver.gate.set()
        assert {flood.message()[-1] for _ in range(5)} == {1, *range(10, 14)}
        assert {other.message()[-1] for _ in range(3)} == {1, 20, 21}
    until(lambda: ioc.server.puts.behind == 0)


def test_what_is_sent_behind_puts_is_done_in_its_order_also_where_the_newest_ends_first() -> None:
    async def scenario() -> list[int]:
        line, done = puts.Line(), list[int]()
        under_way = []
        for number in range(3):
            under_way.append(line.add())
            line.behind(partial(done.append, number))
        for put in (under_way[1], under_way[2], under_way[0]):
            line.done(put, replaced=False)
        return done

    assert asyncio.run(scenario()) == [0, 1, 2]


def test_the_ends_of_thousands_of_puts_behind_one_that_lasts_cost_no_more_each_than_those_of_hundreds() -> None:
    """As where an Off overtakes them: for each the one before it was looked for among all that had ended."""

    async def seconds(number: int) -> float:
        line = puts.Line()
        _, *others = [line.add() for _ in range(number)]
        began = time.process_time()
        for put in others:
            line.done(put, replaced=False)
        return (time.process_time() - began) / number

    assert asyncio.run(seconds(20_000)) < 10 * min(asyncio.run(seconds(1000)) for _ in range(5))
