"""Names with a channel filter, as caproto reads them."""

from __future__ import annotations

import json
import time
from typing import Any

import aioca
import pytest

from drivers.base import Severity, Status
from tests.client import Client
from tests.small_ioc import EVENT_ADD, Raw, SmallIoc, search, until


def filtered(small_ioc: SmallIoc, name: str, **filters: Any) -> str:
    return f"{small_ioc.prefix}{name}.VAL{json.dumps(filters, separators=(',', ':'))}"


def test_a_deadband_filter_passes_what_leaves_the_band(small_ioc: SmallIoc, ca: Client) -> None:
    small_ioc.read("ai", 0.0)
    updates = ca.monitor(filtered(small_ioc, "ai", dbnd={"abs": 5.0}))
    plain = ca.monitor(small_ioc.prefix + "ai")
    until(lambda: updates and plain)
    for value in (1.0, 4.0, 6.0, 7.0, 20.0):
        small_ioc.read("ai", value)
    until(lambda: [float(value) for value in plain][-1] == 20.0)
    until(lambda: [float(value) for value in updates] == [0.0, 6.0, 20.0])


def test_an_array_filter_cuts_a_piece_out(small_ioc: SmallIoc, ca: Client) -> None:
    small_ioc.read("wave", (1.0, 2.0, 3.0, 4.0))
    assert list(ca.get(filtered(small_ioc, "wave", arr={"s": 1, "e": 2}))) == [2.0, 3.0]
    assert list(ca.get(f"{small_ioc.prefix}wave.VAL[0:1]")) == [1.0, 2.0]


def test_a_time_filter_stamps_with_the_time_of_the_update(small_ioc: SmallIoc, ca: Client) -> None:
    small_ioc.read("ai", 1.0)
    time.sleep(0.3)
    plain = ca.get(small_ioc.prefix + "ai", format=aioca.FORMAT_TIME)
    stamped = ca.get(filtered(small_ioc, "ai", ts={}), format=aioca.FORMAT_TIME)
    assert stamped == plain == 1.0
    assert stamped.timestamp - plain.timestamp > 0.2


def test_a_filtered_value_comes_with_alarm_unit_and_words(small_ioc: SmallIoc, ca: Client) -> None:
    small_ioc.read("ai", 55.5)
    value = ca.get(filtered(small_ioc, "ai", dbnd={"abs": 1.0}), format=aioca.FORMAT_CTRL)
    assert (float(value), value.severity, value.units, value.precision) == (55.5, 1, "kV", 2)
    small_ioc.read("mbbi", 2)
    assert ca.get(filtered(small_ioc, "mbbi", dbnd={"abs": 1.0}), datatype=str) == "Up"
    small_ioc.read("lsi", "hello")
    assert ca.get(f"{small_ioc.prefix}lsi.VAL$" + '{"ts":{}}', datatype=aioca.DBR_CHAR_STR) == "hello"


def test_a_relative_deadband_moves_with_the_value(small_ioc: SmallIoc, ca: Client) -> None:
    small_ioc.read("ai", 10.0)
    updates = ca.monitor(filtered(small_ioc, "ai", dbnd={"rel": 10.0}))
    until(lambda: updates)
    for value in (10.5, 12.0, 13.0, 14.0):
        small_ioc.read("ai", value)
    until(lambda: [float(value) for value in updates] == [10.0, 12.0, 14.0])


def test_an_alarm_passes_every_deadband(small_ioc: SmallIoc, ca: Client) -> None:
    small_ioc.read("ai", 10.0)
    updates = ca.monitor(filtered(small_ioc, "ai", dbnd={"abs": 1000.0}))
    until(lambda: updates)
    small_ioc.read("ai", None, Severity.INVALID, Status.COMM)
    until(lambda: [value.severity for value in updates] == [0, 3])
    small_ioc.read("ai", 10.0)


@pytest.mark.parametrize(("mode", "passes"), [("unless", True), ("while", False), ("first", False)])
def test_no_state_of_this_server_ever_comes(small_ioc: SmallIoc, ca: Client, mode: str, passes: bool) -> None:
    small_ioc.read("ai", 1.0)
    updates = ca.monitor(filtered(small_ioc, "ai", sync={"m": mode, "s": "red"}))
    plain = ca.monitor(small_ioc.prefix + "ai")
    until(lambda: updates and plain)
    small_ioc.read("ai", 2.0)
    until(lambda: len(plain) == 2)
    time.sleep(0.1)
    assert len(updates) == (2 if passes else 1)


def test_masks_hold_for_filtered_names_too(small_ioc: SmallIoc, ca: Client) -> None:
    small_ioc.read("long", 1)
    alarms = ca.monitor(filtered(small_ioc, "long", dbnd={"abs": 0.0}), events=aioca.DBE_ALARM)
    until(lambda: alarms)
    small_ioc.read("long", 2)
    small_ioc.read("long", None, Severity.INVALID, Status.COMM)
    until(lambda: len(alarms) >= 2)
    assert [(int(value), value.severity) for value in alarms] == [(1, 0), (2, 3)]
    small_ioc.read("long", 2)


def test_a_put_through_a_filtered_name_is_carried_out_or_refused(small_ioc: SmallIoc, ca: Client) -> None:
    small_ioc.puts.clear()
    ca.put(filtered(small_ioc, "ao", dbnd={"abs": 1.0}), 12.0)
    assert small_ioc.puts == [("ao", 12.0)]
    with pytest.raises(aioca.CANothing):
        ca.put(filtered(small_ioc, "ao", dbnd={"abs": 1.0}), 61.0)
    assert small_ioc.puts == [("ao", 12.0)]


@pytest.mark.parametrize("name", ['ai.VAL{"dbnd":{"d":5}}', 'ai.VAL{"nonsense":{}}', "ai.VAL{", "ai.NONE{}", "ai[x"])
def test_a_filter_that_is_wrong_is_a_name_that_nobody_has(small_ioc: SmallIoc, name: str) -> None:
    assert search(small_ioc, small_ioc.prefix + name) is None


@pytest.mark.alone
def test_a_client_that_does_not_read_gets_the_newest_of_a_filtered_name(small_ioc: SmallIoc) -> None:
    small_ioc.read("ai", 0.0)
    with Raw(small_ioc, receive_buffer=4096) as raw:
        raw.subscribe(raw.create('ai.VAL{"dbnd":{"abs":0.5}}', 1), 1)
        plain = raw.create("ai", 2)
        for number in range(2, 3000):
            raw.subscribe(plain, number)
        client = raw.client
        for number in range(200):
            small_ioc.read("ai", float(number))
        until(lambda: client.blocked)
        small_ioc.read("ai", -7.0)
        newest = None
        while newest != -7.0:
            command, body, *_, subscription = raw.message()
            if command == EVENT_ADD and subscription == 1:
                newest = raw.number(body)
