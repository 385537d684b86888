"""The page in a real browser, over a simulated rack: what a shift does with it, on a desktop and on a phone."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.client import Client
from tests.system.conftest import Ioc, Racks
from tests.system.conftest import racks as racks  # noqa: PLC0414 - the fixture
from tests.web.live.chromium import Chromium
from tests.web.live.conftest import PASSWORDS
from tests.web.served import start_rack

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(180)]

SIZES = {"desktop": (1600, 1000), "phone": (390, 844)}


class Page:
    """A rack, and a browser that shows its page."""

    def __init__(self, ioc: Ioc, port: int, chromium: Chromium) -> None:
        self.ioc, self.port, self.chromium = ioc, port, chromium

    def open(self, address: str = "#/") -> None:
        self.chromium.open("about:blank")
        self.chromium.open(f"http://127.0.0.1:{self.port}/{address}")
        self.chromium.find("#nav a[href='#/history']")

    def pv(self, name: str) -> str:
        """The selector of what shows a PV."""
        return f"[data-pv='{self.ioc(name)}']"

    def log_in(self, name: str, password: str = "") -> None:
        self.chromium.find("#who").click()
        self.chromium.find("dialog #name").send_keys(name)
        self.chromium.find("dialog #password").send_keys(password or PASSWORDS[name][0])
        self.chromium.find("dialog #login").click()


@pytest.fixture(scope="module")
def rack(racks: Racks, logins_file: Path) -> tuple[Ioc, int]:
    return start_rack(racks, logins_file)


@pytest.fixture(params=SIZES)
def page(request: pytest.FixtureRequest, rack: tuple[Ioc, int]) -> Iterator[Page]:
    """The page at each size; at the end nothing may have gone wrong in the browser, nor be wider than its window."""
    chromium = Chromium(*SIZES[request.param])
    try:
        page = Page(*rack, chromium)
        page.open()
        yield page
        assert chromium.overflow() <= 0
        # a wrong password, and a server that is away, are told by the browser as well
        assert [each for each in chromium.log() if "401" not in each and "net::ERR_" not in each] == []
    finally:
        chromium.close()


@pytest.fixture(scope="module")
def shift(rack: tuple[Ioc, int]) -> Iterator[Page]:
    """The page, opened once."""
    chromium = Chromium(*SIZES["desktop"])
    page = Page(*rack, chromium)
    page.open()
    yield page
    chromium.close()


def test_values_are_shown_and_change(page: Page) -> None:
    chromium = page.chromium
    page.open("#/i/TC1")
    shown = page.pv("TC1:T1")
    chromium.wait(lambda: "°C" in chromium.text(shown), "a temperature")
    before = chromium.text(shown)
    chromium.wait(lambda: chromium.text(shown) != before, "another temperature")
    chromium.wait(lambda: chromium.text("#live") == "● live", "live")
    chromium.picture("thermocouples")


def test_an_instrument_that_is_unplugged_is_seen_and_comes_back(page: Page) -> None:
    chromium = page.chromium
    page.ioc.fault("TC1 unplug")
    chromium.wait(lambda: "TC1:Conn" in chromium.text(".alarms"), "the alarm")
    chromium.wait(lambda: "SE521" in chromium.text(".alarms"), "why")
    chromium.wait(lambda: "Down" in chromium.text(".tile[href='#/i/TC1']"), "the tile")
    chromium.find(".alarms .row:has([data-key$='TC1:Conn']) .what").click()
    assert "What to do" in chromium.text(".alarms .advice")
    chromium.picture("alarms")
    assert chromium.attribute(page.pv("TC1:T1"), "data-severity") == "INVALID"
    page.ioc.fault("TC1 plug")
    chromium.wait(lambda: "TC1:Conn" not in chromium.text(".alarms"), "the end of the alarm")


def test_all_channels_are_seen_and_one_that_trips(page: Page) -> None:
    chromium = page.chromium
    page.open("#/i/HV1")
    chromium.wait(lambda: len(chromium.all(".channel")) == 64, "64 channels")
    chromium.wait(lambda: "…" not in chromium.text(".channel .v"), "their voltages")
    # one of its own for each size: to ramp up again takes long
    number = 3 if chromium.kind == "desktop" else 5
    channel = f".channel[href='#/i/HV1/S02/C0{number}']"
    chromium.wait(lambda: chromium.text(f"{channel} .status") == "on", "a channel that is on")
    page.ioc.fault(f"HV1 trip 2 {number}")
    chromium.wait(lambda: chromium.attribute(channel, "data-severity") == "MAJOR", "the trip")
    chromium.wait(lambda: "internal trip" in chromium.text(f"{channel} .status"), "the trip in words")
    chromium.picture("crate")
    chromium.find(channel).click()
    chromium.wait(lambda: "internal trip" in chromium.text(".chip[data-set='yes']"), "the status")
    chromium.find("canvas.plot")
    chromium.picture("channel")
    chromium.find(f".choice a.button[title='C0{number + 1}']").click()
    chromium.wait(lambda: f"C0{number + 1}" in chromium.text("h1"), "the next channel")


# How many entries the list of alarms has, what its badges say, and what the instruments say of themselves
COUNTED = """
const number = (text) => Number(text.match(/[0-9]+/)?.[0] ?? 0);
const all = (selector) => [...document.querySelectorAll(selector)];
const sum = (selector) => all(selector).reduce((found, each) => found + number(each.innerText), 0);
return [all('.alarms > li .row').length, sum('#counts .badge'), sum('.tile .worst')]
"""


def test_alarms_are_counted_as_they_are_listed(shift: Page) -> None:
    chromium = shift.chromium
    shift.ioc.fault("HV1 trip 2 7")
    chromium.wait(lambda: "HV1:S02:C07" in chromium.text(".alarms .pv"), "the trip")
    chromium.wait(lambda: "Also:" in str(chromium.find(".alarms").get_property("textContent")), "more")
    entries, *counted = chromium.run(COUNTED)
    assert counted == [entries, entries]


def test_the_menu_of_a_phone_shows_where_one_is(rack: tuple[Ioc, int]) -> None:
    chromium = Chromium(*SIZES["phone"])
    try:
        page = Page(*rack, chromium)
        for address in ("#/history", "#/"):
            page.open(address)
            chromium.wait(lambda: chromium.all("#nav [aria-current]"), "the page")
            left, right, width = chromium.run(
                "const { left, right } = document.querySelector('#nav [aria-current]').getBoundingClientRect();"
                "return [left, right, innerWidth]"
            )
            assert 0 <= left < right <= width
    finally:
        chromium.close()


NAMES = ["ON", "UP", "DOWN", "OVC", "TRIP", "KILL"]


@pytest.mark.parametrize(
    ("names", "word", "told", "words"),
    [
        (NAMES, 0, {}, "off"),
        (NAMES, 1, {}, "on"),
        (NAMES, 0b011, {}, "ramping up"),
        # bit 3 has no name: OVC is bit 4 and TRIP bit 8 of this crate
        (NAMES, 0x10, {"OVC": 1, "TRIP": 0, "KILL": 0}, "overcurrent"),
        (NAMES, 0x103, {"OVC": 0, "TRIP": 1, "KILL": 0}, "ramping up, tripped"),
        (NAMES, 0x109, {"OVC": 0, "TRIP": 1, "KILL": 0}, "tripped, another bit"),
        (NAMES, 0x80000001, {"OVC": 0, "TRIP": 0, "KILL": 0}, "another bit"),
        (NAMES, 0x10, {}, "…"),
        (NAMES, 0x11, {"OVC": 1}, "overcurrent"),
        (["TRIP"], 0, {}, "\N{EN DASH}"),
        (["TRIP"], 1, {}, "another bit"),
        ([], 9, {}, "another bit"),
    ],
)
def test_the_status_of_a_channel_is_told_by_the_names_of_its_bits(
    shift: Page, names: list[str], word: int, told: dict[str, int], words: str
) -> None:
    known = [[name, {"severity": "NONE", "value": value}] for name, value in told.items()]
    asked = f"{{severity: 'NONE', value: {word}}}, {json.dumps(names)}, new Map({json.dumps(known)})"
    script = f"return import('/static/status.js').then(each => each.statusWords({asked}))"
    assert shift.chromium.run(script) == words


def test_the_map_has_all_channels(page: Page) -> None:
    chromium = page.chromium
    page.open("#/i/HV1")
    chromium.find("button[data-view='map']").click()
    chromium.wait(lambda: len(chromium.all(".tile-channel")) == 64, "64 channels")
    chromium.wait(lambda: "…" not in chromium.text(".tile-channel .v"), "their voltages")
    chromium.picture("map")
    chromium.find("button[data-view='cards']").click()


def test_a_channel_that_has_tripped_is_as_bright_as_any_in_the_map(page: Page) -> None:
    chromium = page.chromium
    number = 11 if chromium.kind == "desktop" else 13
    tripped = f".tile-channel[href='#/i/HV1/S02/C{number}'][data-severity='MAJOR']"
    off = ".tile-channel[data-on='0'][data-severity='NONE']"
    page.open("#/i/HV1")
    chromium.find("button[data-view='map']").click()
    page.ioc.fault(f"HV1 trip 2 {number}")
    chromium.find(f"{tripped}[data-on='0']")
    assert chromium.style(tripped, "opacity") == "1"
    assert chromium.style(tripped, "backgroundColor") != chromium.style(off, "backgroundColor")
    chromium.find("button[data-view='cards']").click()


def test_a_voltage_that_is_not_known_is_in_italics(page: Page) -> None:
    chromium = page.chromium
    page.open("#/i/HV1/S04")
    chromium.find(".channel .v[data-severity='NONE']")
    page.ioc.fault("HV1 unplug")
    chromium.find(".channel .v[data-severity='INVALID']")
    assert chromium.style(".channel .v[data-severity='INVALID']", "fontStyle") == "italic"
    page.ioc.fault("HV1 plug")
    chromium.find(".channel .v[data-severity='NONE']")
    assert chromium.style(".channel .v[data-severity='NONE']", "fontStyle") == "normal"


def test_who_is_not_logged_in_can_put_nothing(page: Page) -> None:
    chromium = page.chromium
    page.open("#/i/GEN")
    field = chromium.find(f"input{page.pv('GEN:VSet')}")
    assert not field.is_enabled()
    assert "log in first" in str(field.get_attribute("title"))
    page.log_in("anna", "not her password")
    chromium.wait(lambda: "name or password is wrong" in chromium.text("dialog"), "the refusal")
    chromium.picture("login")


def test_a_login_puts_is_refused_with_the_reason_and_asked_before_what_is_dangerous(page: Page, ca: Client) -> None:
    chromium, ioc = page.chromium, page.ioc
    ca.put(ioc("GEN:Mode"), 0)
    page.open("#/i/GEN")
    page.log_in("anna")
    chromium.wait(lambda: "anna" in chromium.text("#who"), "the name")
    field = f"input{page.pv('GEN:VSet')}"
    chromium.wait(lambda: chromium.find(field).is_enabled(), "a field")

    def enter(keys: str) -> None:
        chromium.find(field).clear()
        chromium.find(field).send_keys(keys)

    # what is typed while a put is under way is kept: it is the next one
    page.ioc.fault("GEN late 0.2")
    enter("5\n")
    enter("500")
    chromium.wait(lambda: "GEN:VSet: voltage 5" in chromium.text("#toasts"), "the put")
    page.ioc.fault("GEN late 0")
    assert chromium.attribute(field, "value") == "500"
    chromium.wait(lambda: "4.98" in chromium.text("td .reading"), "the value, rounded down to 1/4095 of full scale")
    chromium.find(field).send_keys("\n")
    chromium.wait(lambda: "above the upper limit" in chromium.text("#toasts"), "the refusal")
    assert float(ca.get(ioc("GEN:VSet_RBV"))) == pytest.approx(5, abs=0.05)
    chromium.picture("refused")
    ca.put(ioc("GEN:ISet"), 1)
    on = f"button[data-state='On']{page.pv('GEN:HV')}"
    chromium.run(f"document.querySelector({json.dumps(on)}).scrollIntoView({{block: 'center'}})")
    chromium.find(on).click()
    chromium.wait(lambda: "high voltage" in chromium.text("dialog.ask"), "the question")
    chromium.picture("confirm")
    assert ca.get(ioc("GEN:HV")) == 0
    chromium.find("dialog.ask #confirm:enabled").click()
    chromium.wait(lambda: "On" in chromium.text(page.pv("GEN:HV_RBV")), "high voltage")
    chromium.picture("generator")
    chromium.run("document.querySelector('button.off').scrollIntoView({block: 'center'})")
    chromium.find("button.off").click()
    chromium.wait(lambda: ca.get(ioc("GEN:HV_RBV")) == 0, "off, without a question")
    assert "anna at 127.0.0.1 put" in ioc.logged()
    chromium.find("#who").click()
    chromium.wait(lambda: chromium.text("#who") == "Log in", "the logout")


def test_history_of_any_pvs_is_searched_zoomed_and_read(page: Page) -> None:
    chromium = page.chromium
    page.open("#/history")
    chromium.find("#search").send_keys("TC1:T1")
    chromium.find(".found button").click()
    chromium.find("#search").send_keys("S02:C05:VMon")
    chromium.find(".found button").click()
    chromium.wait(lambda: len(chromium.all(".legend .key")) == 2, "two curves")
    chromium.find("button[data-span='600']").click()
    chromium.wait(lambda: "°C" in chromium.text(".legend"), "the value at the cursor")
    chromium.picture("history")
    canvas = "document.querySelector('canvas.plot')"
    drag = (
        f"const c = {canvas}, r = c.getBoundingClientRect();"
        "const at = (kind, part) => c.dispatchEvent(new PointerEvent(kind, {bubbles: true, pointerId: 1, "
        "isPrimary: true, clientX: r.left + 64 + part * (r.width - 76), clientY: r.top + 50}));"
        "c.setPointerCapture = () => {}; at('pointerdown', 0.9); at('pointermove', 0.999); at('pointerup', 0.999);"
    )
    chromium.run(drag)
    chromium.wait(lambda: not chromium.all(".plot-tools button[data-span][aria-pressed='true']"), "the zoom")
    chromium.picture("zoomed")
    chromium.find(".chip button").click()
    chromium.wait(lambda: len(chromium.all(".legend .key")) == 1, "one curve")


def test_it_is_seen_at_once_that_nothing_is_live(page: Page) -> None:
    chromium = page.chromium
    (server,) = [each for each in psutil.Process(page.ioc.process.pid).children() if each.cmdline()[4] == "web"]
    chromium.wait(lambda: chromium.text("#live") == "● live", "live")
    server.send_signal(signal.SIGSTOP)
    try:
        chromium.wait(lambda: chromium.text("#live") == "✖ not live", "the sign")
        assert chromium.text("#banner")
        chromium.picture("stale")
    finally:
        server.send_signal(signal.SIGCONT)
    chromium.wait(lambda: chromium.text("#live") == "● live", "live again")
    server.kill()
    since = re.compile(r"No connection to the web server since \d\d:\d\d:\d\d: ")  # a time of today has no day
    chromium.wait(lambda: since.match(chromium.text("#banner")), "the reason, and since when")
    chromium.wait(lambda: chromium.text("#live") == "● live", "live again, by itself")


# Elements that are wider than what they stand in, for who reads a failure
WIDE = """
const wide = [...document.querySelectorAll('main *')].filter(each => each.getBoundingClientRect().right > 320);
return wide.map(each => `${each.tagName}.${each.className} ${each.innerText}`.slice(0, 80))
"""
TYPED = """
for (const each of document.querySelectorAll('details')) each.open = true;
const fields = document.querySelectorAll('.setter input');
for (const each of fields) each.value += '1', each.dispatchEvent(new Event('input'));
"""


def test_no_page_is_wider_than_a_small_phone(rack: tuple[Ioc, int]) -> None:
    chromium = Chromium(320, 640)
    try:
        page = Page(*rack, chromium)
        page.open()
        page.log_in("anna")
        chromium.wait(lambda: "anna" in chromium.text("#who"), "the name")
        pages = [str(each.get_attribute("href")).partition("/#")[2] for each in chromium.all("#nav a")]
        assert {"/", "/i/HV1", "/i/GEN", "/i/TC1", "/i/IOC", "/i/ARCH", "/history"} <= set(pages)
        chart = "/history?" + "&".join(f"pv={page.ioc(each)}" for each in ("HV1:S02:C05:VMon", "GEN:VMon"))
        for address in (*pages, "/i/HV1/S02", "/i/HV1/S02/C00", "/i/HV1/S08/C11", chart):
            page.open(f"#{address}")
            chromium.wait(lambda: not chromium.all("main p.muted:only-child"), "the page")
            time.sleep(0.5)
            chromium.run(TYPED)
            time.sleep(0.5)
            wide = address, chromium.overflow(), chromium.run(WIDE)
            assert wide[1] <= 0, wide
        assert chromium.log() == []
    finally:
        chromium.close()


@pytest.mark.parametrize("size", ["light", "dark"])
def test_light_dark_large_and_keys(rack: tuple[Ioc, int], size: str) -> None:
    chromium = Chromium(1600, 1000, dark=size == "dark")
    try:
        page = Page(*rack, chromium)
        page.open()
        chromium.wait(lambda: "…" not in chromium.text(".tile dd"), "the tiles")
        chromium.picture(f"overview-{size}")
        colour = "return getComputedStyle(document.body).backgroundColor"
        before = chromium.run(colour)
        chromium.find("#theme").click()
        assert chromium.run(colour) != before
        chromium.find("#size").click()
        assert float(chromium.run("return parseFloat(getComputedStyle(document.body).fontSize)")) > 20
        chromium.picture(f"large-{size}")
        assert chromium.overflow() <= 0
        chromium.find("body").send_keys("1")
        chromium.wait(lambda: "HV1" in chromium.text("h1"), "the crate, by a key")
    finally:
        chromium.close()
