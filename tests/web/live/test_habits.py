"""What people do with the page: keys, two clicks, two windows, zooming out; and a computer whose clock is wrong."""

from __future__ import annotations

import json
import re
import signal
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
from selenium.webdriver.common.keys import Keys
from websockets.sync.client import connect

from tests.client import Client
from tests.system.conftest import Ioc
from tests.system.conftest import racks as racks  # noqa: PLC0414 - the fixture
from tests.web.live.chromium import Chromium
from tests.web.live.conftest import WebServer, served
from tests.web.live.test_page import SIZES, Page
from tests.web.live.test_page import rack as rack  # noqa: PLC0414 - the fixture
from tests.web.live.test_page import shift as shift  # noqa: PLC0414 - the fixture
from web.live.puts import LATE

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(180)]

HERE = "return location.hash"


@pytest.fixture
def page(rack: tuple[Ioc, int]) -> Iterator[Page]:
    chromium = Chromium(*SIZES["desktop"])
    try:
        page = Page(*rack, chromium)
        page.open()
        yield page
    finally:
        chromium.close()


def press(page: Page, selector: str, *keys: str) -> None:
    """Focus an element and press keys there, as somebody does who has no mouse."""
    page.chromium.wait(lambda: page.chromium.all(selector), selector)
    page.chromium.run(f"document.querySelector({json.dumps(selector)}).focus()")
    for each in keys:
        page.chromium.driver.switch_to.active_element.send_keys(each)


def puts(page: Page, point: str) -> int:
    """How many puts to a point the log tells."""
    return page.ioc.logged().count(f" to {page.ioc(point)}\n")


def remote(page: Page, ca: Client) -> None:
    """Log in, and let the generator be set from here."""
    ca.put(page.ioc("GEN:Mode"), 0)
    page.open("#/i/GEN")
    page.log_in("anna")
    page.chromium.wait(lambda: page.chromium.find(f"input{page.pv('GEN:VSet')}").is_enabled(), "a field")


def on_button(page: Page) -> str:
    return f"button[data-state='On']{page.pv('GEN:HV')}"


def ask_for_on(page: Page, ca: Client) -> None:
    """Press On of the generator, so that the page asks whether that is meant."""
    remote(page, ca)
    press(page, on_button(page), Keys.ENTER)
    page.chromium.find("dialog.ask")


def test_the_way_past_the_menu_leads_to_the_content_of_the_same_page(page: Page) -> None:
    page.open("#/i/TC1")
    page.chromium.find("h1")
    press(page, ".skip", Keys.ENTER)
    assert page.chromium.run(HERE) == "#/i/TC1"
    assert page.chromium.run("return document.activeElement.id") == "main"


def test_another_page_begins_at_its_top_and_back_is_where_one_was(page: Page) -> None:
    chromium = page.chromium
    page.open("#/i/HV1")
    channel = ".channel[href='#/i/HV1/S08/C11']"
    chromium.wait(lambda: len(chromium.all(".channel")) == 64, "64 channels")
    chromium.run(f'document.querySelector("{channel}").scrollIntoView()')
    press(page, channel, Keys.ENTER)
    chromium.wait(lambda: chromium.text("h1") == "HV1 / S08 / C11", "the channel")
    assert chromium.run("return [scrollY, document.activeElement.id]") == [0, "main"]
    chromium.driver.back()
    chromium.wait(lambda: chromium.all(channel), "the crate")
    assert chromium.driver.switch_to.active_element.get_attribute("title") == page.ioc("HV1:S08:C11")


def test_a_history_that_does_not_come_is_shown_as_old(page: Page) -> None:
    chromium = page.chromium
    page.open("#/i/TC1")
    chromium.wait(lambda: "T1" in chromium.text(".history .legend"), "a curve")
    cdp = chromium.driver.execute_cdp_cmd
    cdp("Fetch.enable", {"patterns": [{"urlPattern": "*/api/history*"}]})  # they wait, as for an archive that is busy
    chromium.wait(lambda: "has not answered yet" in chromium.text(".history"), "that it is old")
    assert chromium.attribute(".history", "data-old") == "yes"
    cdp("Fetch.disable", {})
    chromium.wait(lambda: chromium.attribute(".history", "data-old") == "no", "a new history")
    cdp("Fetch.enable", {"patterns": [{"urlPattern": "*/api/history*"}]})
    chromium.run("document.querySelector('.plot-tools [data-span]').click()")
    chromium.wait(lambda: chromium.attribute(".history", "data-old") == "yes", "that it is old")
    cdp("Fetch.disable", {})


def test_a_history_that_cannot_be_read_is_not_taken_for_an_empty_one(page: Page) -> None:
    chromium = page.chromium
    page.open("#/i/TC1")
    chromium.wait(lambda: "T1" in chromium.text(".history .legend"), "a curve")
    chromium.driver.execute_cdp_cmd("Network.enable", {})
    chromium.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/api/history*"]})
    chromium.wait(lambda: chromium.attribute(".history", "data-old") == "yes", "that it is old")
    assert "T1" in chromium.text(".history .legend")
    assert "The web server does not answer" in chromium.text(".history .muted")
    chromium.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    chromium.wait(lambda: chromium.attribute(".history", "data-old") == "no", "a new history")


def test_a_saved_picture_tells_what_it_shows_and_when(page: Page) -> None:
    chromium = page.chromium
    names = [page.ioc("TC1:T1"), page.ioc("GEN:VMon")]
    page.open(f"#/history?pv={names[0]}&pv={names[1]}&pv=NOBODY:HAS:IT")
    chromium.wait(lambda: all(each in chromium.text(".legend") for each in names), "two curves")
    chromium.run(
        "window.written = []; const write = CanvasRenderingContext2D.prototype.fillText;"
        "HTMLCanvasElement.prototype.toBlob = function () { window.saved = [this.width, this.height]; };"
        "CanvasRenderingContext2D.prototype.fillText = function (text, ...at) "
        "{ if (!this.canvas.isConnected) window.written.push(text); return write.call(this, text, ...at); };"
    )
    chromium.find("button[title='Save the picture']").click()
    period, *curves, remark = chromium.run("return window.written")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+ \N{EN DASH} \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+", period)
    assert curves == [f"{names[0]} [°C]", f"{names[1]} [kV]"]
    assert "NOBODY:HAS:IT" in remark
    width, height = chromium.run("const c = document.querySelector('canvas.plot'); return [c.width, c.height]")
    assert chromium.run("return window.saved") == [width, height + 4 * 18 + 8]


def test_what_a_logarithmic_axis_leaves_out_is_told(page: Page) -> None:
    chromium = page.chromium
    pv = page.ioc("GEN:VMon")  # a generator whose high voltage is off
    page.open(f"#/history?pv={pv}&pv={page.ioc('TC1:T1')}")
    chromium.wait(lambda: pv in chromium.text(".legend"), "the curve")
    assert "not drawn" not in chromium.text(".history .muted")
    chromium.find("button[title='Logarithmic axis']").click()
    assert f"not drawn: {pv}." in chromium.text(".history .muted")
    time.sleep(6)  # a new answer of the archive
    assert f"not drawn: {pv}." in chromium.text(".history .muted")
    chromium.find("button[title='Logarithmic axis']").click()
    assert "not drawn" not in chromium.text(".history .muted")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0003, "0.0003"), (-2.5e-12, "-2.5e-12"), (21.888900756835938, "21.8889"), (0, "0"), (1250, "1250")],
)
def test_a_number_of_a_history_has_its_digits(page: Page, value: float, text: str) -> None:
    page.open()
    assert page.chromium.run(f"return import('/static/words.js').then(each => each.digits({value}))") == text


@pytest.mark.parametrize(
    ("low", "high", "marks"),
    [
        (0, 10, ["0", "2", "4", "6", "8", "10"]),
        (-0.25, 0.25, ["-0.2", "-0.1", "0", "0.1", "0.2"]),
        (40_000.01, 40_000.26, ["40000.05", "40000.1", "40000.15", "40000.2", "40000.25"]),
        (174e6, 181e6, ["174000000", "176000000", "178000000", "180000000"]),
        (1.74e12, 1.81e12, ["1.74e+12", "1.76e+12", "1.78e+12", "1.80e+12"]),
        (0.000_21, 0.000_24, ["2.20e-4", "2.30e-4", "2.40e-4"]),
    ],
)
def test_marks_of_an_axis_are_told_apart(page: Page, low: float, high: float, marks: list[str]) -> None:
    page.open()
    assert marks == page.chromium.run(
        "return import('/static/plot.js').then(({ ticks, tickText }) => "
        f"ticks({low}, {high}, 5).map((each, _, all) => tickText(each, all[1] - all[0])))"
    )


# The mean of equal readings is another number with each of them, in its last digit
@pytest.mark.parametrize("values", ["[21.3, 21.300000000000004]", "[0.1, 0.1]", "[-1250, -1250.0000000000002]"])
def test_numbers_that_differ_by_a_rounding_are_drawn_in_the_middle(page: Page, values: str) -> None:
    page.open()
    marks = [float(each) for each, _ in drawn(page.chromium, [curve("C", values)]) if re.fullmatch(r"-?[\d.]+", each)]
    assert len(marks) > 2
    assert min(marks) < json.loads(values)[0] < max(marks)


@pytest.mark.parametrize("logarithmic", ["true", "false"])
@pytest.mark.parametrize(
    ("count", "values"), [(1, "[1e-30, 1e12]"), (3, "[1e-6, 1e5]"), (3, "[0.11, 9]"), (4, "[2, 9]")]
)
def test_marks_of_an_axis_do_not_overlap_on_a_phone(
    rack: tuple[Ioc, int], count: int, values: str, logarithmic: str
) -> None:
    chromium = Chromium(*SIZES["phone"])
    try:
        Page(*rack, chromium).open()
        curves = [curve(f"U{number}", values) for number in range(count)]
        written = drawn(chromium, curves, f"Object.assign(plot, {{ logarithmic: {logarithmic} }})")
        chromium.picture(f"marks-{count}-{logarithmic}")
    finally:
        chromium.close()
    heights = sorted(y for text, y in written if re.fullmatch(r"-?[\d.]+(e[+-]\d+)?", text))
    assert len(heights) >= 2 * count
    assert all(below - above >= 12 for above, below in pairwise(heights))  # the size of the letters


def curve(unit: str, values: str) -> str:
    """A curve of two values, in JavaScript."""
    return f"{{ pv: 'A', unit: '{unit}', words: [], times: [1, 2], values: {values}, severities: [0, 0] }}"


def drawn(chromium: Chromium, curves: list[str], prepare: str = "") -> list[tuple[str, float]]:
    """The texts that a plot of curves writes, each with how far down it stands."""
    chromium.driver.set_script_timeout(10)
    found: list[tuple[str, float]] = chromium.run(
        "return import('/static/plot.js').then(({ Plot }) => {"
        "const canvas = document.createElement('canvas'); canvas.className = 'plot';"
        "document.querySelector('main').prepend(canvas);"
        "const written = []; const pen = canvas.getContext('2d'); const write = pen.fillText.bind(pen);"
        "pen.fillText = (text, ...place) => { written.push([text, place[1]]); write(text, ...place); };"
        f"const plot = new Plot(canvas, {{ changed() {{}}, read() {{}} }}); {prepare};"
        f"plot.set({{ begin: 0, end: 3, curves: [{', '.join(curves)}] }});"
        "return written; })"
    )
    return found


@pytest.mark.parametrize("days", [0.01, 1, 30, 365, 3653, 20_000])
def test_marks_of_time_are_few_and_round(page: Page, days: float) -> None:
    page.open()
    now = 1_795_835_000
    marks = page.chromium.run(
        f"return import('/static/plot.js').then(({{ moments }}) => moments({now - days * 86400}, {now}, 10).found"
        ".map(each => new Date(each * 1000)).map(each => [each.getSeconds(), each.getHours(), each.getDate()]))"
    )
    assert 3 <= len(marks) <= 11
    assert {second for second, _, _ in marks} == {0}
    assert days < 30 or {hour for _, hour, _ in marks} == {0}
    assert days < 365 or {day for _, _, day in marks} == {1}


# Clocks are put back on 25 October 2026, and forward on 29 March; in Chile at midnight, forward on 6 September
@pytest.mark.parametrize(
    ("zone", "day", "missing"),
    [("Europe/Berlin", "2026-10-20", 0), ("Europe/Berlin", "2026-03-25", 0), ("America/Santiago", "2026-09-01", 1)],
)
def test_a_mark_of_a_day_is_where_it_begins_though_clocks_are_changed(
    shift: Page, zone: str, day: str, missing: int
) -> None:
    marks = in_zone(
        shift,
        zone,
        f"const begin = Date.parse('{day}T10:00Z') / 1000; return moments(begin, begin + 9.5 * 86400, 10).found"
        ".map(each => new Date(each * 1000)).map(each => [each.getHours(), each.getDate()])",
    )
    assert sorted(hour for hour, _ in marks) == [0] * (len(marks) - missing) + [1] * missing
    assert len({day for _, day in marks}) == len(marks) >= 9


@pytest.mark.parametrize(
    "begin", ["2026-10-24T20:00Z", "2026-10-25T00:00Z", "2026-10-25T01:00Z", "2026-03-28T22:00Z"]
)
def test_marks_of_time_rise_where_clocks_are_changed(shift: Page, begin: str) -> None:
    for hours in (0.5, 2, 3, 6, 12, 18, 24, 48, 96):
        since, *marks, until = in_zone(
            shift,
            "Europe/Berlin",
            f"const begin = Date.parse('{begin}') / 1000, end = begin + {hours * 3600};"
            "return [begin, ...moments(begin, end, 10).found, end]",
        )
        assert marks == sorted(set(marks))
        assert len(marks) >= 3
        assert since <= marks[0] <= marks[-1] <= until


def in_zone(page: Page, zone: str, script: str) -> Any:
    """What a script makes of ``moments`` where a browser is in another time zone."""
    override = partial(page.chromium.driver.execute_cdp_cmd, "Emulation.setTimezoneOverride")
    override({"timezoneId": zone})
    made = page.chromium.run(f"return import('/static/plot.js').then(({{ moments }}) => {{ {script} }})")
    override({"timezoneId": ""})
    return made


def test_alarms_that_are_not_told_any_more_are_old(page: Page) -> None:
    chromium = page.chromium
    chromium.wait(lambda: chromium.text("#live") == "● live", "live")
    chromium.driver.execute_cdp_cmd("Network.enable", {})
    chromium.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/api/alarms"]})
    chromium.wait(lambda: "does not tell the alarms" in chromium.text("#banner"), "that they are old")
    assert chromium.attribute("body", "data-stale") == "yes"
    chromium.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    chromium.wait(lambda: chromium.text("#live") == "● live", "live again")


def test_a_board_that_is_gone_hides_no_alarm_of_another(shift: Page) -> None:
    gone = [f"A:HV1:S04:C{channel:02}" for channel in range(20)]
    others = ["A:HV1:S02:C01", "A:HV1:S02:C02", "A:HV1:Interlock"]
    entries = [{"key": key} for key in (*gone, *others)]
    shown = f"chosen({json.dumps(entries)}, 12).map(each => each.key)"
    assert (
        shift.chromium.run(f"return import('/static/alarms.js').then(({{ chosen }}) => {shown})") == gone[:9] + others
    )


# as a view asks that ends it when it is left, with a time of its own; and a login
@pytest.mark.parametrize(
    "ask", ["get('/api/alarms')", "get('/api/alarms', none, 500)", "post('/api/alarms', {}, none)"]
)
def test_a_request_that_is_never_answered_is_given_up(page: Page, ask: str) -> None:
    cdp = page.chromium.driver.execute_cdp_cmd
    cdp("Fetch.enable", {"patterns": [{"urlPattern": "*/api/alarms*"}]})  # as over a connection that is lost
    begin = f"const none = new AbortController().signal; return {ask}"
    made = f"import('/static/rack.js').then(({{ get, post }}) => {{ {begin}; }})"
    script = f"{made}.catch((error) => arguments[0](error.message))"
    assert page.chromium.driver.execute_async_script(script) == "The web server does not answer."
    cdp("Fetch.disable", {})


def test_what_to_do_about_an_alarm_is_opened_by_keys_and_a_link_is_in_no_button(page: Page) -> None:
    chromium = page.chromium
    page.ioc.fault("TC1 unplug")
    button = ".alarms button[data-key$='TC1:Conn']"
    press(page, button, Keys.ENTER)
    assert chromium.attribute(button, "aria-expanded") == "true"
    assert "What to do" in chromium.text(".alarms .advice")
    press(page, button, Keys.SPACE)
    assert not [each for each in chromium.all(".alarms .advice") if each.is_displayed()]
    inside = "return document.querySelectorAll('summary a, summary button, button a, a a, a button, a select').length"
    for address in ("#/", "#/i/HV1", "#/i/GEN", "#/i/TC1", "#/i/HV1/S02/C00"):
        page.open(address)
        chromium.wait(lambda: chromium.text("h1, h2"), "a page")
        assert chromium.run(inside) == 0
    page.ioc.fault("TC1 plug")


def test_an_address_that_is_none_is_told(page: Page) -> None:
    page.open("#/i/%E0%A4%A")
    page.chromium.wait(lambda: "There is no %E0%A4%A" in page.chromium.text("h1"), "the sentence")
    page.chromium.wait(lambda: page.chromium.text("#live") == "● live", "live")


def test_a_question_takes_the_keys_and_gives_the_focus_back(page: Page, ca: Client) -> None:
    chromium = page.chromium
    ask_for_on(page, ca)
    chromium.driver.switch_to.active_element.send_keys("1")
    assert chromium.run(HERE) == "#/i/GEN"
    chromium.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    chromium.wait(lambda: not chromium.all("dialog"), "the end of the question")
    assert chromium.driver.switch_to.active_element.get_attribute("data-state") == "On"


def test_what_is_typed_stays_while_another_instrument_changes_and_is_said_to_be_gone_with_its_own(
    page: Page, ca: Client
) -> None:
    chromium = page.chromium
    remote(page, ca)
    field = f"input{page.pv('GEN:VSet')}"
    press(page, field, "1", "2")
    change_rack(chromium, "[...rack.instruments, { name: 'NEW', prefix: 'NEW:', points: [], boards: [] }]")
    assert "NEW" in chromium.text("#nav")
    assert chromium.text("#nav [aria-current]") == "GEN"
    chromium.driver.switch_to.active_element.send_keys("3")
    assert chromium.attribute(field, "value").endswith("123")
    change_rack(chromium, "rack.instruments.map(each => ({ ...each, points: [...each.points, 'New'] }))")
    chromium.wait(lambda: "What was typed was not put" in chromium.text(".toast"), "that it is gone")
    assert puts(page, "GEN:VSet") == 0


def change_rack(chromium: Chromium, instruments: str) -> None:
    """Let the page believe that the rack has other instruments: an expression of the module's ``rack``."""
    chromium.run(
        "return import('/static/rack.js').then(({ rack }) => "
        f"{{ rack.instruments = {instruments}; rack.dispatchEvent(new Event('changed')); }})"
    )


def test_a_question_ends_with_what_it_is_about(page: Page, ca: Client) -> None:
    chromium = page.chromium
    ask_for_on(page, ca)
    chromium.driver.back()
    chromium.wait(lambda: not chromium.all("dialog"), "the end of the question")
    page.open("#/i/GEN")
    chromium.wait(lambda: chromium.find(on_button(page)).is_enabled(), "a button")
    press(page, on_button(page), Keys.ENTER)
    chromium.find("dialog.ask")
    (server,) = [each for each in psutil.Process(page.ioc.process.pid).children() if each.cmdline()[4] == "web"]
    server.kill()
    chromium.wait(lambda: not chromium.all("dialog"), "the end of the question")
    chromium.wait(lambda: chromium.text("#live") == "● live", "live again")
    assert ca.get(page.ioc("GEN:HV")) == 0
    assert puts(page, "GEN:HV") == 0


def test_who_clicks_twice_or_holds_a_key_has_asked_once(page: Page, ca: Client) -> None:
    chromium = page.chromium
    remote(page, ca)
    page.ioc.fault("GEN late 0.2")
    before = puts(page, "GEN:VSet")
    field = f"input{page.pv('GEN:VSet')}"
    chromium.find(field).clear()
    chromium.find(field).send_keys("7" + Keys.ENTER * 4)
    chromium.wait(lambda: "voltage 7" in chromium.text("#toasts"), "the put")
    page.ioc.fault("GEN late 0")
    chromium.wait(lambda: "6.9" in chromium.text(f".reading{page.pv('GEN:VSet_RBV')}"), "the value")
    time.sleep(1)
    assert puts(page, "GEN:VSet") == before + 1
    on = json.dumps(on_button(page))
    chromium.run(f"const on = document.querySelector({on}); on.click(); on.click()")
    chromium.find("dialog.ask")
    time.sleep(0.5)
    assert len(chromium.all("dialog.ask")) == 1


def hang_at_enter(page: Page, selector: str, seconds: float) -> None:
    """Focus an element and press Enter there while the page hangs: it hears of the key when it goes on."""
    page.chromium.wait(lambda: page.chromium.find(selector).is_enabled(), selector)
    page.chromium.run(f"document.querySelector({json.dumps(selector)}).focus()")
    address = page.chromium.driver.capabilities["goog:chromeOptions"]["debuggerAddress"]
    with urllib.request.urlopen(f"http://{address}/json") as found:
        (window,) = [each for each in json.load(found) if each["type"] == "page"]
    hang = f"const end = performance.now() + {seconds * 1000}; while (performance.now() < end);"
    enter = {"type": "keyDown", "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
    with connect(window["webSocketDebuggerUrl"]) as cdp:  # the driver itself waits for a page that hangs
        cdp.send(json.dumps({"id": 1, "method": "Runtime.evaluate", "params": {"expression": hang}}))
        time.sleep(0.5)
        cdp.send(json.dumps({"id": 2, "method": "Input.dispatchKeyEvent", "params": enter}))
        for _ in range(2):
            cdp.recv(seconds + 10)


def test_what_was_asked_of_a_page_that_hung_is_not_put_late_but_an_off(page: Page, ca: Client) -> None:
    chromium = page.chromium
    remote(page, ca)
    voltage, switch = puts(page, "GEN:VSet"), puts(page, "GEN:HV")
    field = f"input{page.pv('GEN:VSet')}"
    chromium.find(field).clear()
    chromium.find(field).send_keys("11")
    hang_at_enter(page, field, LATE + 2)
    chromium.wait(lambda: "s after it was asked for" in chromium.text("#toasts"), "why it was not put")
    hang_at_enter(page, "button.off", LATE + 2)
    chromium.wait(lambda: ": Off" in chromium.text("#toasts"), "the Off")
    assert puts(page, "GEN:VSet") == voltage
    assert puts(page, "GEN:HV") == switch + 1


def test_a_question_is_not_answered_by_what_was_clicked_before_it_was_seen(page: Page, ca: Client) -> None:
    chromium = page.chromium
    ask_for_on(page, ca)
    chromium.wait(lambda: chromium.find("#confirm").is_enabled(), "that it can be answered")
    before = "new MouseEvent('click'), 'timeStamp', { value: performance.now() - 5000 }"
    chromium.run(f"document.getElementById('confirm').dispatchEvent(Object.defineProperty({before}))")
    time.sleep(0.5)
    assert chromium.all("dialog.ask")
    chromium.find("#confirm").click()
    chromium.wait(lambda: not chromium.all("dialog"), "the end of the question")


def test_who_sets_a_value_by_keys_stays_in_its_field(page: Page, ca: Client) -> None:
    chromium = page.chromium
    remote(page, ca)
    field = f"input{page.pv('GEN:VSet')}"
    chromium.find(field).clear()
    chromium.find(field).send_keys("3" + Keys.TAB)
    assert chromium.driver.switch_to.active_element.text == "Set"
    chromium.driver.switch_to.active_element.send_keys(Keys.ENTER)
    chromium.wait(lambda: "voltage 3" in chromium.text("#toasts"), "the put")
    assert chromium.driver.switch_to.active_element.get_attribute("data-pv") == page.ioc("GEN:VSet")


def test_who_logs_out_in_another_window_is_logged_out_in_all(page: Page, ca: Client) -> None:
    chromium = page.chromium
    remote(page, ca)
    first = chromium.driver.current_window_handle
    chromium.driver.switch_to.new_window("tab")
    page.open("#/")
    chromium.wait(lambda: "anna" in chromium.text("#who"), "the name")
    chromium.find("#who").click()
    chromium.wait(lambda: chromium.text("#who") == "Log in", "the logout")
    chromium.driver.close()
    chromium.driver.switch_to.window(first)
    chromium.wait(lambda: chromium.text("#who") == "Log in", "the logout in the first window")
    chromium.wait(lambda: not chromium.find(f"input{page.pv('GEN:VSet')}").is_enabled(), "the field")


# What asks every ten seconds: here nobody is to find out by it what has to be found out at once.
RARELY = "const each = setInterval; setInterval = (act, after) => after === 10000 ? 0 : each(act, after);"
# As it ends after some hours: the page is not told.
END_SESSION = """
return fetch('/api/me').then((answer) => answer.json())
  .then(({ csrf }) => fetch('/api/logout', { method: 'POST', headers: { 'X-CSRF-Token': csrf } }))
"""


def ended_session(page: Page) -> str:
    """Log in, and let the session end by itself; return the selector of an Off."""
    page.chromium.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": RARELY})
    page.open("#/i/GEN")
    page.log_in("anna")
    off = f"button[data-state='Off']{page.pv('GEN:HV')}"
    page.chromium.wait(lambda: page.chromium.find(off).is_enabled(), "Off")
    page.chromium.run(END_SESSION)
    assert "anna" in page.chromium.text("#who")
    return off


def test_who_wants_off_when_the_session_has_ended_is_told_and_can_log_in_at_once(page: Page) -> None:
    chromium = page.chromium
    off = ended_session(page)
    chromium.run(f"document.querySelector({json.dumps(off)}).click()")
    chromium.wait(lambda: "log in first" in chromium.text("#toasts"), "the refusal")
    chromium.wait(lambda: "anna is logged out" in chromium.text("#toasts"), "what has happened")
    page.log_in("anna")
    chromium.wait(lambda: chromium.find(off).is_enabled(), "Off")


def test_who_logs_out_when_the_session_has_ended_is_logged_out(page: Page) -> None:
    chromium = page.chromium
    ended_session(page)
    chromium.find("#who").click()
    chromium.wait(lambda: chromium.text("#who") == "Log in", "the logout")
    assert "a logout comes from" not in chromium.text("#toasts")


def test_a_history_is_read_and_moved_with_a_finger(rack: tuple[Ioc, int]) -> None:
    chromium = Chromium(*SIZES["phone"])
    try:
        page = Page(*rack, chromium)
        page.open(f"#/history?pv={page.ioc('TC1:T1')}")
        chromium.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 2})
        chromium.wait(lambda: "°C" in chromium.text(".legend"), "the curve")
        left, top, width, height = chromium.run(
            "const place = document.querySelector('.plot').getBoundingClientRect();"
            "return [place.left, place.top, place.width, place.height]"
        )

        def touch(kind: str, *fingers: float) -> None:
            points = [{"x": left + width * x, "y": top + height / 2, "id": n} for n, x in enumerate(fingers)]
            chromium.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        def follows() -> bool:
            return bool(chromium.all("[data-span][aria-pressed=true]"))

        touch("touchStart", 0.5)
        touch("touchEnd")
        chromium.wait(lambda: re.search(r"\d:\d\d", chromium.text(".when")), "the time that was pointed at")
        # two fingers mean no window between the places of one and of the other
        touch("touchStart", 0.5)
        touch("touchStart", 0.5, 0.7)
        for step in range(5):
            touch("touchMove", 0.5 - step / 20, 0.7 + step / 20)
        touch("touchEnd")
        assert follows()
        chromium.find("[aria-label=earlier]").click()
        chromium.wait(lambda: not follows(), "an earlier window")
    finally:
        chromium.close()


@pytest.fixture
def closed(rack: tuple[Ioc, int], logins_file: Path) -> Iterator[WebServer]:
    """A web server on which only who is logged in may see."""
    asked = served(rack[0].prefix, logins_file, view="login")
    web = WebServer(replace(asked, kinds={"TC1": "se521", "IOC": "ioc"}))
    yield web
    web.close()


def test_where_only_who_is_logged_in_may_see_values_are_live_after_the_login(
    rack: tuple[Ioc, int], closed: WebServer
) -> None:
    chromium = Chromium(*SIZES["desktop"])
    try:
        page = Page(rack[0], closed.port, chromium)
        page.open()
        chromium.wait(lambda: "Log in to see" in chromium.text("main"), "the sentence")
        assert not chromium.text("#live")
        page.log_in("bob")
        chromium.wait(lambda: "°C" in chromium.text(".tile"), "values")
        time.sleep(7)
        assert (chromium.text("#live"), chromium.text("#banner")) == ("● live", "")
        # who has opened the page in one window and logs out in another one
        chromium.run("fetch('/api/me').then(a => a.json()).then(me => fetch('/api/logout', "
                     "{method: 'POST', headers: {'X-CSRF-Token': me.csrf}}))")  # fmt: skip
        chromium.wait(lambda: "Log in to see" in chromium.text("main"), "nothing to be seen any more")
        assert not chromium.text("#banner")
    finally:
        chromium.close()


SHIFTED = """
const Right = Date;
Date = class extends Right {
  constructor(...given) { given.length ? super(...given) : super(Date.now()); }
  static now() { return Right.now() + AHEAD; }
};
"""


@pytest.mark.parametrize("hours", [-1, 1])
def test_times_are_those_of_the_web_server(page: Page, hours: int) -> None:
    chromium = page.chromium
    script = SHIFTED.replace("AHEAD", str(hours * 3600_000))
    chromium.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
    page.open("#/")
    chromium.wait(lambda: " min" in chromium.text(".age") or " s" in chromium.text(".age"), "how old alarms are")
    ages = [each.strip("≥ ▾\n").split() for each in chromium.text(".age").splitlines()]
    minutes = [float(age) / {"s": 60, "min": 1}[unit] for age, unit in ages]
    ran = (time.time() - page.ioc.started) / 60
    assert all(age <= ran + 1 for age in minutes), minutes
    assert max(minutes) > 0
    page.open(f"#/history?pv={page.ioc('TC1:T1')}")
    chromium.find("button[data-span='600']").click()
    chromium.wait(lambda: "°C" in chromium.text(".legend"), "a curve that reaches to now")


def test_what_is_old_is_told_though_the_clock_was_set_back(page: Page) -> None:
    chromium = page.chromium
    chromium.wait(lambda: chromium.text("#live") == "● live", "live")
    (server,) = [each for each in psutil.Process(page.ioc.process.pid).children() if each.cmdline()[4] == "web"]
    server.send_signal(signal.SIGSTOP)
    try:
        chromium.run(SHIFTED.replace("AHEAD", "-3600_000").replace("Date = class", "window.Date = class"))
        chromium.wait(lambda: "No news from the IOC" in chromium.text("#banner"), "that the values are old")
        chromium.wait(
            lambda: "No connection to the web server" in chromium.text("#banner"), "that it does not answer"
        )
    finally:
        server.send_signal(signal.SIGCONT)
    chromium.wait(lambda: chromium.text("#live") == "● live", "live again")


def test_a_page_that_nobody_looked_at_does_not_take_the_last_news_for_new(page: Page) -> None:
    chromium = page.chromium
    chromium.wait(lambda: chromium.text("#live") == "● live", "live")
    chromium.show(False)
    time.sleep(2.5)  # for news that are drawn later
    page.ioc.process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(7)
        chromium.show(True)
        chromium.driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
        assert chromium.text("#live") == "✖ not live"
        chromium.wait(lambda: "The IOC does not answer" in chromium.text("#banner"), "that the IOC hangs")
    finally:
        page.ioc.process.send_signal(signal.SIGCONT)
    chromium.wait(lambda: chromium.text("#live") == "● live", "live again")


def test_a_beat_that_is_told_again_after_a_login_makes_nothing_live(page: Page) -> None:
    chromium = page.chromium
    chromium.wait(lambda: chromium.text("#live") == "● live", "live")
    page.ioc.process.send_signal(signal.SIGSTOP)
    try:
        chromium.wait(lambda: "The IOC does not answer" in chromium.text("#banner"), "that the IOC hangs")
        page.log_in("anna")
        chromium.wait(lambda: "anna" in chromium.text("#who"), "the name")
        until = time.monotonic() + 3
        shown = set()
        while time.monotonic() < until:
            shown.add(chromium.text("#live"))
        assert "● live" not in shown
    finally:
        page.ioc.process.send_signal(signal.SIGCONT)
    chromium.wait(lambda: chromium.text("#live") == "● live", "live again")


@pytest.mark.parametrize("key", ["-", Keys.ARROW_RIGHT])
def test_a_plot_ends_where_times_do(page: Page, key: str) -> None:
    chromium = page.chromium
    page.open(f"#/history?pv={page.ioc('TC1:T1')}")
    chromium.wait(lambda: "°C" in chromium.text(".legend"), "the curve")
    chromium.driver.set_script_timeout(10)
    press(page, "canvas.plot", *[key] * 60)
    time.sleep(1)
    assert not chromium.log()
    assert "until" not in chromium.text(".history .muted")


def test_names_are_found_in_small_letters(page: Page) -> None:
    chromium = page.chromium
    page.open("#/history")
    chromium.find("#search").send_keys("s02:c05:vmon")
    press(page, "#search", Keys.ARROW_DOWN)
    chromium.wait(lambda: chromium.all(".found button"), "the name")
    press(page, "#search", Keys.ARROW_DOWN, Keys.ENTER)
    chromium.wait(lambda: page.ioc("HV1:S02:C05:VMon") in chromium.text(".legend"), "the curve")


def test_names_are_chosen_by_keys_one_after_the_other(page: Page) -> None:
    chromium = page.chromium
    page.open("#/history")
    chromium.find("#search").send_keys("tc1:t1", Keys.ENTER)  # before the names have come
    chromium.wait(lambda: chromium.text(".chips").startswith(page.ioc("TC1:T1")), "the first PV")
    chromium.driver.switch_to.active_element.send_keys("gen:vmon", Keys.ENTER)
    chromium.wait(lambda: page.ioc("GEN:VMon") in chromium.text(".chips"), "the second PV, not what was found before")
    chromium.driver.switch_to.active_element.send_keys("gen:imon")
    chromium.wait(lambda: page.ioc("GEN:IMon") in chromium.text(".found"), "the name")
    press(page, "#search", Keys.ARROW_DOWN)
    chromium.driver.switch_to.active_element.send_keys(Keys.ENTER)
    chromium.wait(lambda: page.ioc("GEN:IMon") in chromium.text(".chips"), "the third PV")
    assert chromium.driver.switch_to.active_element.get_attribute("id") == "search"
    press(page, f"button[aria-label='remove {page.ioc('TC1:T1')}']", Keys.ENTER)
    remove_next = f"remove {page.ioc('GEN:VMon')}"
    assert chromium.driver.switch_to.active_element.get_attribute("aria-label") == remove_next


def test_a_plot_is_read_by_keys(page: Page) -> None:
    chromium = page.chromium
    page.open(f"#/history?pv={page.ioc('TC1:T1')}")
    chromium.wait(lambda: "°C" in chromium.text(".legend"), "the curve")
    press(page, "canvas.plot", Keys.SHIFT + Keys.ARROW_LEFT)
    first = chromium.wait(lambda: chromium.text(".plot-tools .when"), "the time that is read")
    press(page, "canvas.plot", Keys.SHIFT + Keys.ARROW_LEFT)
    chromium.wait(lambda: chromium.text(".plot-tools .when") not in ("", first), "an earlier time")
    assert chromium.find("button[data-span='3600']").get_attribute("aria-pressed") == "true"


def test_curves_of_one_colour_are_told_apart_in_the_legend(page: Page) -> None:
    chromium = page.chromium
    names = [f"HV1:S02:C{number:02}:VMon" for number in range(9)]
    page.open("#/history?" + "&".join(f"pv={page.ioc(name)}" for name in names))
    chromium.wait(lambda: len(chromium.all(".legend .key")) == len(names), "the curves")
    swatches = "return [...document.querySelectorAll('.legend i')].map(each => getComputedStyle(each).background)"
    assert len(set(chromium.run(swatches))) == len(names)


def test_the_last_error_is_shown_as_a_whole_sentence(page: Page, ca: Client) -> None:
    chromium = page.chromium
    told = ca.refused(page.ioc("GEN:VSet"), 1e6)
    assert len(told) > 39
    page.open("#/i/GEN")
    chromium.find("details summary").click()
    chromium.wait(lambda: told in chromium.text("[data-point='Error']"), "all of it")
