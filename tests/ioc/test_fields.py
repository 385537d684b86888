"""Record fields over Channel Access: what libca finds beside a value, and what it may change."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Coroutine, Iterator
from typing import Any

import aioca
import pytest

from drivers.base import LinkDown
from ioc.ca.server import Server
from ioc.instrument import Instrument
from ioc.site import Site
from tests.client import Client
from tests.ioc.bench import Bench
from tests.small_ioc import until


class Stand:
    """A whole instrument behind a server, in a thread of its own."""

    def __init__(self) -> None:
        self.prefix = f"F{time.monotonic_ns()}:"
        self.driver = Bench()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.do(self._start())

    async def _start(self) -> None:
        self.server = Server()
        self.instrument = Instrument("PS", self.prefix, self.driver, Site(), self.server)
        self._serving = asyncio.create_task(self.server.run())
        while self.server.port is None:
            await asyncio.sleep(0.01)
        self.instrument.start()

    def pv(self, name: str) -> str:
        return f"{self.prefix}PS:{name}"

    def do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(15)

    def close(self) -> None:
        async def stop() -> None:
            await self.instrument.close()
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)
            await asyncio.sleep(0.2)

        self.do(stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    stand = Stand()
    yield stand
    stand.close()


@pytest.fixture(autouse=True)
def ready(stand: Stand, ca: Client) -> None:
    until(lambda: ca.get(stand.pv("Set"), format=aioca.FORMAT_TIME).severity == 0)


def writes(stand: Stand) -> list[Any]:
    return [entry for entry in stand.driver.log if isinstance(entry, tuple)]


def test_a_limit_put_at_run_time_is_felt_and_told_at_once(stand: Stand, ca: Client) -> None:
    alarms = ca.monitor(stand.pv("Mon"), events=aioca.DBE_ALARM)
    properties = ca.monitor(stand.pv("Mon"), events=aioca.DBE_PROPERTY, format=aioca.FORMAT_CTRL)
    fields = ca.monitor(stand.pv("Mon.HIHI"))
    severities = ca.monitor(stand.pv("Mon.SEVR"))
    until(lambda: alarms and properties and fields and severities)
    ca.put(stand.pv("Mon.HIHI"), 0.5)
    until(lambda: [value.severity for value in alarms][-1] == 2)
    until(lambda: properties[-1].upper_alarm_limit == 0.5)
    until(lambda: float(fields[-1]) == 0.5)
    until(lambda: int(severities[-1]) == 2)
    ca.put(stand.pv("Mon.HIHI"), float("nan"))
    until(lambda: alarms[-1].severity == 0)
    assert writes(stand) == []


def test_alarms_are_acknowledged(stand: Stand, ca: Client) -> None:
    ca.put(stand.pv("Mon.ACKS"), 3)
    ca.put(stand.pv("Mon.HIGH"), 0.5)
    assert ca.get(stand.pv("Mon.ACKS"), datatype=str) == "MINOR"
    ca.put(stand.pv("Mon.HIGH"), float("nan"))
    assert ca.get(stand.pv("Mon.ACKS"), datatype=str) == "MINOR"  # gone by, but nobody has seen it
    ca.put(stand.pv("Mon.ACKS"), 1)
    assert ca.get(stand.pv("Mon.ACKS"), datatype=str) == "NO_ALARM"


def test_a_put_to_a_field_of_one_byte_is_told_as_a_number(
    stand: Stand, ca: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "rackioc.puts"):
        for value in (1, 0):
            ca.put(stand.pv("Set.DISP"), value)
            until(lambda value=value: f"put {value} to {stand.pv('Set.DISP')}" in caplog.text)  # type: ignore[misc]
    lines = [each.getMessage() for each in caplog.records if each.name == "rackioc.puts"]
    told = [line.partition(".DISP")[2] for line in lines if ".DISP" in line]
    assert told == [" (was 0)", " (was 1)"]


@pytest.mark.parametrize("field", ["", ".ACKS", ".ACKT", ".EGU"])
def test_an_acknowledgement_is_told_to_all_who_want_alarms_as_by_base(stand: Stand, ca: Client, field: str) -> None:
    ca.put(stand.pv("Mon.HIGH"), 0.5)
    told = ca.monitor(stand.pv(f"Mon{field}"), events=aioca.DBE_ALARM)
    until(lambda: told)
    ca.put(stand.pv("Mon.ACKS"), 3)
    until(lambda: len(told) > 1)


@pytest.mark.parametrize("events", [aioca.DBE_VALUE, aioca.DBE_ALARM])
def test_what_an_acknowledgement_changes_is_told(stand: Stand, ca: Client, events: int) -> None:
    ca.put(stand.pv("Mon.HIGH"), float("nan"))
    ca.put(stand.pv("Mon.ACKT"), 1)
    ca.put(stand.pv("Mon.HIGH"), 0.5)
    told = ca.monitor(stand.pv("Mon.ACKS"), events=events)
    until(lambda: [float(each) for each in told] == [1])
    ca.put(stand.pv("Mon.HIGH"), float("nan"))  # gone by, and to be acknowledged all the same
    ca.put(stand.pv("Mon.ACKT"), 0)

    until(lambda: float(told[-1]) == 0)


@pytest.mark.parametrize("limit", ["Infinity", "3e9", "-2147483649", "1e300"])
@pytest.mark.parametrize("field", ["HIHI", "MDEL", "HOPR"])
def test_a_limit_of_whole_numbers_that_does_not_fit_is_refused(
    stand: Stand, ca: Client, field: str, limit: str
) -> None:
    """It was -2147483648: an alarm for all values, an update for each reading."""
    name = stand.pv(f"ErrorCount.{field}")
    ca.put(name, "7.9")
    assert ca.get(name) == 7
    with pytest.raises(aioca.CANothing):
        ca.put(name, limit)
    assert "does not fit into 32 bits" in ca.get(stand.pv("Error.VAL$"), datatype=aioca.DBR_CHAR_STR)
    assert ca.get(name) == 7
    ca.put(name, "nan" if field == "HIHI" else 0)


def test_disp_locks_puts_out(stand: Stand, ca: Client) -> None:
    ca.put(stand.pv("Set.DISP"), 1)
    with pytest.raises(aioca.CANothing):
        ca.put(stand.pv("Set"), 12.0)
    with pytest.raises(aioca.CANothing):
        ca.put(stand.pv("Set.DESC"), "x")
    assert writes(stand) == []
    assert "locked out (DISP is 1)" in ca.get(stand.pv("Error.VAL$"), datatype=aioca.DBR_CHAR_STR)
    ca.put(stand.pv("Set.DISP"), 0)
    ca.put(stand.pv("Set"), 12.0)
    assert writes(stand) == [("Set", 12.0)]
    stand.driver.log.clear()


def test_proc_reads_anew_and_commands_nothing(stand: Stand, ca: Client) -> None:
    stand.driver.values["Set_RBV"] = 33.0
    before = ca.get(stand.pv("Set_RBV"), format=aioca.FORMAT_TIME).timestamp
    ca.put(stand.pv("Set.PROC"), 1)
    after = ca.get(stand.pv("Set_RBV"), format=aioca.FORMAT_TIME)
    assert (float(after), after.timestamp > before) == (33.0, True)
    assert float(ca.get(stand.pv("Set"))) == 33.0
    assert writes(stand) == []


def test_proc_fails_with_the_instruments_sentence(stand: Stand, ca: Client) -> None:
    stand.driver.read_error["slow"] = LinkDown("the cable is out")
    with pytest.raises(aioca.CANothing):
        ca.put(stand.pv("Set_RBV.PROC"), 1)
    assert ca.get(stand.pv("Error.VAL$"), datatype=aioca.DBR_CHAR_STR) == "the cable is out"
    until(lambda: ca.get(stand.pv("Mon.AMSG")) == "the cable is out")
    stand.driver.read_error.clear()
    ca.put(stand.pv("Retry"), 1)


@pytest.mark.parametrize("field", ["DRVH", "EGU", "NAME", "SCAN", "ASG", "INP"])
def test_what_is_not_the_clients_to_change_is_announced_as_read_only(stand: Stand, ca: Client, field: str) -> None:
    with pytest.raises(Exception, match="denied"):
        ca.put(stand.pv(f"{'Set' if field == 'DRVH' else 'Mon'}.{field}"), 1)


def test_a_put_without_callback_is_shown_to_the_read_that_follows(stand: Stand, ca: Client) -> None:
    assert float(ca.put_and_get(stand.pv("Set"), 21.0)) == 21.0
    stand.driver.log.clear()


def test_fields_that_nobody_watches_are_not_kept(stand: Stand, ca: Client) -> None:
    ca.get(stand.pv("Retry.DESC"))
    assert stand.instrument.records["Retry"] not in stand.server.field_monitors
