"""The web socket as PVWS speaks it, over a real IOC, with a real client."""

from __future__ import annotations

import base64
import json
import math
import struct
import time
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from drivers.base import Severity, Status
from ioc.record import VALUE
from tests.small_ioc import SmallIoc, until
from tests.web.live.conftest import Browser, WebServer, served
from web.live import pvws

NUMERIC = {"units", "precision", "min", "max", "warn_low", "warn_high", "alarm_low", "alarm_high"}
INVALID = (Severity.INVALID, Status.COMM)


def monitors(small_ioc: SmallIoc, name: str) -> int:
    """How many subscriptions the IOC has for values of a record."""
    return sum(bool(each.mask & VALUE) for each in small_ioc.records[name].monitors)


def test_the_first_update_has_all_metadata_and_later_ones_what_is_new(small_ioc: SmallIoc, browser: Browser) -> None:
    small_ioc.read("ai", 20.0)
    pv = small_ioc.prefix + "ai"
    browser.subscribe(pv)
    first = browser.update(pv)
    now = time.time()
    assert abs(first.pop("seconds") - now) < 5
    assert 0 <= first.pop("nanos") < 10**9
    assert first == {
        "type": "update", "pv": pv, "vtype": "VDouble", "units": "kV", "precision": 2, "min": 0.0, "max": 100.0,
        "warn_high": 50.0, "severity": "NONE", "readonly": True, "value": 20.0,
    }  # fmt: skip
    again = browser.update(pv)
    assert again.keys() == {"type", "pv", "readonly", "value", "seconds", "nanos"}
    small_ioc.read("ai", 21.0)
    later = browser.update(pv)
    assert later.keys() == {"type", "pv", "value", "seconds", "nanos"}
    assert later["value"] == 21.0


@pytest.mark.parametrize(
    ("value", "alarm", "words"),
    [(60.0, (), "MINOR"), (20.0, (Severity.MAJOR, Status.STATE), "MAJOR"), (20.0, INVALID, "INVALID")],
)
def test_severity_is_told_when_it_changes(
    small_ioc: SmallIoc, browser: Browser, value: float, alarm: Any, words: str
) -> None:
    small_ioc.read("ai", 20.0)
    pv = small_ioc.prefix + "ai"
    browser.subscribe(pv)
    browser.value(pv, 20.0)
    small_ioc.read("ai", value, *alarm)
    assert browser.hear_until(lambda message: "severity" in message)["severity"] == words
    small_ioc.read("ai", 21.0)
    assert browser.value(pv, 21.0)["severity"] == "NONE"


def test_an_enum_has_labels_and_word_and_index(small_ioc: SmallIoc, browser: Browser) -> None:
    small_ioc.read("mbbi", 1)
    pv = small_ioc.prefix + "mbbi"
    browser.subscribe(pv)
    first = browser.first(pv)
    assert (first["vtype"], first["labels"]) == ("VEnum", ["Down", "Connecting", "Up"])
    assert (first["value"], first["text"]) == (1, "Connecting")
    small_ioc.read("mbbi", 2)
    later = browser.update(pv)
    assert (later["value"], later["text"], "labels" in later) == (2, "Up", False)


def test_texts_are_texts(small_ioc: SmallIoc, browser: Browser) -> None:
    small_ioc.read("text", 'a "quoted" \\ text')
    small_ioc.read("lsi", "long " * 30)
    text, long = small_ioc.prefix + "text", small_ioc.prefix + "lsi.VAL$"
    browser.subscribe(text, long)
    until(lambda: bool(browser.hear()) and {text, long} <= browser.merged.keys())
    assert (browser.merged[text]["vtype"], browser.merged[text]["text"]) == ("VString", 'a "quoted" \\ text')
    assert (browser.merged[long]["vtype"], browser.merged[long]["text"]) == ("VByteArray", "long " * 30)
    assert base64.b64decode(browser.merged[long]["b64byt"]).startswith(b"long long ")
    # a text that is empty would be a zero with that many digits
    assert not browser.merged[text].keys() & NUMERIC
    assert not browser.merged[long].keys() & NUMERIC


def test_an_array_is_little_endian_in_base64(small_ioc: SmallIoc, browser: Browser) -> None:
    small_ioc.read("wave", (1.5, -2.0, math.nan))
    pv = small_ioc.prefix + "wave"
    browser.subscribe(pv)
    first = browser.first(pv)
    numbers = struct.unpack("<3d", base64.b64decode(first["b64dbl"]))
    assert (first["vtype"], first["units"], numbers[:2]) == ("VDoubleArray", "V", (1.5, -2.0))
    assert math.isnan(numbers[2])
    small_ioc.read("wave", (7.0,))
    assert struct.unpack("<d", base64.b64decode(browser.update(pv)["b64dbl"])) == (7.0,)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_nan_and_the_message_is_json(
    small_ioc: SmallIoc, browser: Browser, value: float
) -> None:
    small_ioc.read("ai", value)
    pv = small_ioc.prefix + "ai"
    browser.subscribe(pv)
    assert browser.value(pv, "NaN")


@pytest.mark.parametrize("scheme", ["ca://", "pva://"])
def test_names_come_back_as_they_were_asked_for_and_cost_one_monitor(
    small_ioc: SmallIoc, browser: Browser, scheme: str
) -> None:
    small_ioc.read("long", 5)
    plain = small_ioc.prefix + "long"
    browser.say(type="monitor", pvs=[plain, scheme + plain])
    until(lambda: bool(browser.hear()) and {plain, scheme + plain} <= browser.merged.keys())
    assert browser.merged[scheme + plain]["value"] == browser.merged[plain]["value"] == 5
    assert monitors(small_ioc, "long") == 1


def test_many_browsers_are_one_monitor(small_ioc: SmallIoc, web: WebServer) -> None:
    small_ioc.read("one", (1.0,))
    pv = small_ioc.prefix + "one"
    browsers = [Browser(web) for _ in range(12)]
    for browser in browsers:
        browser.subscribe(pv)
    for browser in browsers:
        browser.first(pv)
    assert monitors(small_ioc, "one") == 1
    small_ioc.read("one", (2.0,))
    for browser in browsers:
        browser.update(pv)
        browser.close()


def test_list_clear_echo_and_ping(small_ioc: SmallIoc, browser: Browser) -> None:
    small_ioc.read("long", 1)
    pvs = [small_ioc.prefix + "long", "sim://flipflop(29.929)"]
    browser.subscribe(*pvs)
    browser.first(pvs[0])
    browser.say(type="list")
    assert browser.hear()["pvs"] == pvs
    browser.say(type="clear", pvs=[pvs[0], "never:asked:for"])
    browser.say(type="list")
    assert browser.hear()["pvs"] == [pvs[1]]
    small_ioc.read("long", 2)
    browser.say(type="echo", extra=[1])
    assert browser.hear() == {"type": "echo", "extra": [1]}
    browser.say(type="ping")  # the client answers it by itself, and nothing else is sent
    browser.say(type="echo")
    assert browser.hear() == {"type": "echo"}


@pytest.mark.parametrize(
    "text",
    [
        "", "nonsense", "[]", "1", "null", "{}", '{"type": 5}', '{"type": "no such type"}', '{"type": "subscribe"}',
        '{"type": "subscribe", "pvs": "A"}', '{"type": "clear", "pvs": [1]}', '{"type": "write"}',
        '{"type": "write", "pv": "A"}', '{"type": "write", "pv": ["A"], "value": 1}', "[" * 100_000,
        '{"type": "subscribe", "pvs": [""]}', '{"type": "subscribe", "pvs": ["a b"]}',
        '{"type": "subscribe", "pvs": ["a\\u0000b"]}', json.dumps({"type": "subscribe", "pvs": ["x" * 5000]}),
        '{"type": "write", "pv": "A", "value": NaN}',
    ],
)  # fmt: skip
def test_nonsense_is_answered_and_the_connection_goes_on(browser: Browser, text: str) -> None:
    browser.socket.send(text)
    assert browser.error()
    browser.say(type="echo")
    assert browser.hear() == {"type": "echo"}


def test_invented_names_are_bounded(browser: Browser) -> None:
    browser.subscribe(*(f"NOBODY:HAS:{number}" for number in range(600)))
    assert "no server answers for" in browser.error()


@pytest.mark.parametrize("wrong", ["", "has a space", "x" * 300])
def test_a_name_that_cannot_be_shown_keeps_no_other_of_its_message_out(
    small_ioc: SmallIoc, browser: Browser, wrong: str
) -> None:
    small_ioc.read("ai", 5.0)
    browser.subscribe(wrong, small_ioc.prefix + "ai")
    assert "is not the name of a PV" in browser.error()
    browser.value(small_ioc.prefix + "ai", 5.0)


def test_what_cannot_be_shown_is_not_looked_at_without_end(browser: Browser) -> None:
    browser.subscribe(*(f" {number}" for number in range(pvws.MOST_REFUSED)), "NOBODY:BEHIND")
    assert "' 0'" in browser.error()
    browser.say(type="list")
    assert browser.hear() == {"type": "list", "pvs": []}


def test_invented_names_of_who_has_left_keep_nothing_from_others(small_ioc: SmallIoc, web: WebServer) -> None:
    small_ioc.read("wave", (1.0, 2.0))
    with Browser(web) as inventive:
        inventive.subscribe(*(f"NOBODY:LEFT:{number}" for number in range(600)))
        assert "no server answers for" in inventive.error()
    until(lambda: shows(web, f"{small_ioc.prefix}wave.VAL[0:1]"))


def shows(web: WebServer, pv: str) -> bool:
    """Whether a browser that has just come is shown a PV."""
    with Browser(web) as browser:
        browser.subscribe(pv)
        return "b64dbl" in browser.hear_until(lambda message: "b64dbl" in message or message["type"] == "error")


def test_a_flood_is_shown_with_its_newest_value_a_few_times_a_second(small_ioc: SmallIoc, browser: Browser) -> None:
    small_ioc.read("ai", 0.0)
    pv = small_ioc.prefix + "ai"
    browser.subscribe(pv)
    browser.first(pv)
    begin = time.monotonic()
    for number in range(1, 401):
        small_ioc.read("ai", number / 10)
    seconds = time.monotonic() - begin
    browser.hear_until(lambda message: message.get("value") == 40.0)
    assert len([each for each in browser.heard if each.get("pv") == pv]) < 8 + 6 * seconds


def test_a_browser_that_does_not_read_loses_old_values_never_the_newest(small_ioc: SmallIoc, web: WebServer) -> None:
    pv = small_ioc.prefix + "wave"
    small_ioc.read("wave", (0.0,))
    with Browser(web) as reads, Browser(web, max_queue=1) as sleeps:
        names = [pv, *(f"{pv}.VAL[0:{number}]" for number in range(1, 6))]
        reads.subscribe(pv)
        sleeps.subscribe(*names)
        reads.first(pv)
        for number in range(1, 30):
            small_ioc.read("wave", (float(number),) * 6)
            shown = -1.0
            while shown != number:
                (shown,) = struct.unpack_from("<d", base64.b64decode(reads.update(pv)["b64dbl"]))
        last = dict.fromkeys(names, 0.0)
        while any(each != 29.0 for each in last.values()):
            message = sleeps.hear()
            if "b64dbl" in message:
                last[message["pv"]] = struct.unpack_from("<d", base64.b64decode(message["b64dbl"]))[0]


def test_a_web_socket_of_another_site_may_look(small_ioc: SmallIoc, web: WebServer) -> None:
    small_ioc.read("ai", 1.0)
    with Browser(web, {"Origin": "https://displays.example.org"}) as browser:
        browser.subscribe(small_ioc.prefix + "ai")
        assert browser.value(small_ioc.prefix + "ai", 1.0)


def test_nothing_is_shown_to_who_is_not_logged_in_where_that_is_wanted(small_ioc: SmallIoc, logins_file: Any) -> None:
    web = WebServer(served(small_ioc.prefix, logins_file, view="login"))
    try:
        with pytest.raises(InvalidStatus, match="401"), connect(f"ws://127.0.0.1:{web.port}/pvws/pv"):
            pass
    finally:
        web.close()
