"""Controls of the page for a single PV, in a real browser: what is put is what somebody has asked for."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from drivers.base import Array, Severity, Value
from ioc.record import Record
from tests.small_ioc import POINTS, SmallIoc, until
from tests.system.faults.proxy import Proxy, proxy_to
from tests.web.live.chromium import Chromium
from tests.web.live.conftest import SAFE_LIST, SWITCHED, Browser, WebServer, served, tell_safe
from tests.web.live.test_access import session

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(180)]


class Ioc(SmallIoc):
    """Its puts end when ``free`` is set."""

    def __init__(self) -> None:
        super().__init__(SWITCHED)
        tell_safe(self, "bo 0 Off")
        self.free = Event()
        self.free.set()

    async def put(
        self, record: Record, value: Value | Array, callback: bool = True, asked: float | None = None
    ) -> None:
        await super().put(record, value, callback)
        await self.loop.run_in_executor(None, self.free.wait)


@pytest.fixture
def ioc() -> Iterator[Ioc]:
    ioc = Ioc()
    ioc.read("ao", 0.0)
    ioc.read("bo", 0)
    ioc.read("mbbo", 0)
    yield ioc
    ioc.free.set()
    if not ioc.loop.is_closed():
        ioc.close()


@pytest.fixture
def web(ioc: Ioc, logins_file: Path) -> Iterator[WebServer]:
    web = WebServer(served(ioc.prefix, logins_file, puts="on"))
    yield web
    web.close()


@pytest.fixture
def chromium(ioc: Ioc, web: WebServer) -> Iterator[Chromium]:
    """The page, opened by anna, with a control for each PV that tests put to."""
    chromium = Chromium(1600, 1000)
    try:
        chromium.open(web.url)
        cookie = session(web, "anna").partition("=")
        chromium.driver.add_cookie({"name": cookie[0], "value": cookie[2]})
        open_controls(chromium, web.url, ioc)
        yield chromium
    finally:
        chromium.close()


def open_controls(chromium: Chromium, url: str, ioc: Ioc) -> None:
    """Open the page with a control for each PV that tests put to."""
    chromium.open(url)
    chromium.find(".tiles, .overview")
    for name in ("ao", "bo", "mbbo"):
        chromium.append(f"put.setter(new dom.Scope(), '{ioc.prefix}{name}', '{name}')")
    chromium.wait(lambda: chromium.find(FIELD).is_enabled(), "the field")
    chromium.wait(lambda: chromium.find(LIST).is_enabled(), "the list")
    chromium.wait(lambda: chromium.find(ON).is_enabled(), "the buttons")


FIELD = "input[data-pv$='ao']"
LIST = "select[data-pv$='mbbo']"
SET = f"{LIST} + button"
ON, OFF = "button[data-pv$='bo'][data-state='On']", "button[data-pv$='bo'][data-state='Off']"


@pytest.mark.parametrize(("typed", "put"), [("1,5", 1.5), ("0,125", 0.125), ("1.5e1", 15.0), ("+2", 2.0)])
def test_a_number_may_have_a_point_or_a_comma(ioc: Ioc, chromium: Chromium, typed: str, put: float) -> None:
    chromium.find(FIELD).clear()
    chromium.find(FIELD).send_keys(typed + Keys.ENTER)
    chromium.wait(lambda: ioc.puts == [("ao", put)], "the put")


@pytest.mark.parametrize(
    ("typed", "told"),
    [("1,500", "may be 1.5"), ("0x10", "is no number"), ("1,000,0", "is no number"), ("12 3", "is no")],
)
def test_what_is_not_certainly_one_number_is_not_put(ioc: Ioc, chromium: Chromium, typed: str, told: str) -> None:
    chromium.find(FIELD).clear()
    chromium.find(FIELD).send_keys(typed + Keys.ENTER)
    chromium.wait(lambda: told in chromium.text("#toasts"), "the sentence")
    assert ioc.puts == []


@pytest.mark.parametrize("free", [True, False], ids=["the first has ended", "the first has not ended"])
def test_a_value_that_is_typed_after_another_one_is_not_put_behind_its_digits(
    ioc: Ioc, chromium: Chromium, free: bool
) -> None:
    chromium.find(FIELD).clear()
    chromium.find(FIELD).send_keys("1")
    keys = ActionChains(chromium.driver)
    if not free:
        ioc.free.clear()
    keys.send_keys(Keys.ENTER).perform()
    chromium.wait(lambda: ioc.puts == [("ao", 1.0)], "the put")
    if free:
        chromium.wait(lambda: not chromium.find(FIELD).get_attribute("data-typed"), "the setting")
    keys.send_keys("2" + Keys.ENTER).perform()
    time.sleep(0.5)
    ioc.free.set()
    chromium.wait(lambda: ioc.puts == [("ao", 1.0), ("ao", 2.0)], "the second put")


def test_a_value_that_is_typed_where_the_setting_has_changed_meanwhile_is_not_put_behind_its_digits(
    ioc: Ioc, chromium: Chromium
) -> None:
    chromium.run(f'document.querySelector("{FIELD}").select()')  # as the Tab key does
    ioc.read("ao", 3.0)
    chromium.wait(lambda: chromium.find(FIELD).get_property("value") == "3", "the setting")
    ActionChains(chromium.driver).send_keys("2" + Keys.ENTER).perform()
    chromium.wait(lambda: ioc.puts == [("ao", 2.0)], "the put")


def test_a_value_on_whose_way_another_one_is_the_setting_is_put_whole(ioc: Ioc, chromium: Chromium) -> None:
    def is_typed(typed: bool) -> bool:
        return (chromium.attribute(FIELD, "data-typed") == "yes") is typed

    chromium.run(f'document.querySelector("{FIELD}").select()')
    ActionChains(chromium.driver).send_keys("1").perform()
    chromium.wait(lambda: is_typed(True), "what is typed")
    ioc.read("ao", 1.0)
    chromium.wait(lambda: is_typed(False), "the setting that is alike")
    ioc.read("ao", 2.0)
    chromium.wait(lambda: is_typed(True), "another setting")
    ActionChains(chromium.driver).send_keys("5" + Keys.ENTER).perform()
    chromium.wait(lambda: ioc.puts == [("ao", 15.0)], "the put")


def test_what_stands_for_a_value_is_no_text_to_type_behind(ioc: Ioc, chromium: Chromium) -> None:
    ioc.read("text", "")
    chromium.append(f"put.setter(new dom.Scope(), '{ioc.prefix}text', 'text')")
    field = "input[data-pv$='text']"
    chromium.wait(lambda: chromium.find(field).is_enabled(), "the field")
    assert chromium.attribute(field, "placeholder") == "\N{EN DASH}"
    chromium.find(field).send_keys("abc" + Keys.ENTER)
    chromium.wait(lambda: ioc.puts == [("text", "abc")], "the put")
    ioc.close()
    chromium.wait(lambda: chromium.attribute(field, "placeholder") == "?", "that it is not known")
    assert chromium.find(field).get_property("value") == ""


def test_a_list_of_states_puts_what_is_chosen_and_nothing_on_the_way(ioc: Ioc, chromium: Chromium) -> None:
    chromium.find(LIST).send_keys(Keys.ARROW_DOWN * 3)
    time.sleep(1)
    assert ioc.puts == []
    # what comes meanwhile does not change what somebody has chosen
    ioc.read("mbbo", 1)
    time.sleep(0.5)
    chromium.find(LIST).send_keys(Keys.TAB)
    chromium.driver.switch_to.active_element.send_keys(Keys.ENTER)
    chromium.wait(lambda: ioc.puts == [("mbbo", 3)], "the put")
    chromium.wait(lambda: not chromium.run("return document.activeElement.nextSibling.checkVisibility()"), "rest")


@pytest.mark.parametrize("unknown", ["a state without a word", "invalid"])
def test_a_list_whose_state_is_not_known_shows_none_and_puts_none(ioc: Ioc, chromium: Chromium, unknown: str) -> None:
    chosen = f'return document.querySelector("{LIST}").selectedIndex'
    ioc.read("mbbo", 2)
    chromium.wait(lambda: chromium.run(chosen) == 2, "the state")
    if unknown == "invalid":
        ioc.read("mbbo", 2, Severity.INVALID)
    else:
        ioc.read("mbbo", 9)
    chromium.wait(lambda: chromium.run(chosen) == -1, "no state")
    # there is nothing to put: nobody has chosen anything
    time.sleep(0.3)
    assert not chromium.run(f'return document.querySelector("{SET}").checkVisibility()')
    ioc.read("mbbo", 3)
    chromium.wait(lambda: chromium.run(chosen) == 3, "the state that it has now")
    assert ioc.puts == []


def test_an_off_is_put_again_by_who_presses_it_again_though_the_first_has_not_ended(
    ioc: Ioc, chromium: Chromium
) -> None:
    ioc.read("bo", 1)
    ioc.free.clear()
    chromium.find(OFF).click()
    chromium.find(OFF).click()
    chromium.wait(lambda: ioc.puts == [("bo", 0)], "one put, however often it was clicked")
    # somebody else switches on
    ioc.read("bo", 1)
    time.sleep(1.1)
    chromium.find(OFF).click()
    chromium.wait(lambda: ioc.puts == [("bo", 0), ("bo", 0)], "the second Off")


@pytest.fixture
def network(web: WebServer) -> Iterator[Proxy]:
    """What may lie between the browser and the web server."""
    with proxy_to(web.port) as proxy:
        yield proxy


def test_a_state_is_put_by_its_word_for_its_number_may_be_that_of_another_one_by_now(
    ioc: Ioc, web: WebServer, chromium: Chromium, network: Proxy
) -> None:
    ioc.read("bo", 1)
    open_controls(chromium, f"http://127.0.0.1:{network.port}", ioc)
    network.freeze()
    chromium.find(OFF).click()
    # a board is there by now whose switch has its words the other way round
    ioc.close()
    swapped = next(replace(point, states=("On", "Off")) for point in POINTS if point.name == "bo")
    other = SmallIoc([swapped, SAFE_LIST], ioc.prefix)
    try:
        tell_safe(other, "bo 1 Off")
        other.read("bo", 0)
        with Browser(web) as browser:
            browser.subscribe(f"{ioc.prefix}bo")
            browser.hear_until(lambda message: message.get("labels") == ["On", "Off"], 20)
        network.thaw()
        until(lambda: other.puts, 10)
        assert other.puts == [("bo", 1)]
    finally:
        other.close()


def test_a_sentence_that_covers_an_off_is_clicked_away(ioc: Ioc, chromium: Chromium) -> None:
    off = chromium.find(OFF)
    chromium.run(f"document.querySelector(\"{OFF}\").style = 'position: fixed; right: 3rem; bottom: 1.5rem'")
    chromium.run("return import('/static/dom.js').then(dom => dom.toast('it was not put, for a reason'))")
    ActionChains(chromium.driver).double_click(off).perform()
    until(lambda: not chromium.all(".toast"), 6)
    assert ioc.puts == []
    off.click()
    until(lambda: ioc.puts == [("bo", 0)], 10)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((1.0, -2.5, math.nan), "1.0, -2.5, NaN"), ((1.0, 2.0, 3.0, 4.0, 5.0, 6.0), "1.0, 2.0, 3.0, 4.0, 5.0, …"),
        ((), "\u2013"), ((1e12,), "1.000e+12"),
    ],
)  # fmt: skip
def test_an_array_is_shown_by_its_first_values(
    ioc: Ioc, chromium: Chromium, values: tuple[float, ...], text: str
) -> None:
    ioc.read("wave", values)
    chromium.append(f"put.reading(new dom.Scope(), '{ioc.prefix}wave')")
    shown = ".reading[data-pv$='wave']"
    chromium.wait(lambda: chromium.text(shown) == f"{text}V", "the array")


def test_a_number_that_is_not_known_is_shown_as_such_without_a_unit(ioc: Ioc, chromium: Chromium) -> None:
    ioc.read("ai", 1.5)
    chromium.append(f"put.reading(new dom.Scope(), '{ioc.prefix}ai')")
    shown = ".reading[data-pv$='ai']"
    chromium.wait(lambda: chromium.text(shown) == "1.50kV", "the number")
    for name in ("ai", "ao"):
        ioc.read(name, math.nan)
    chromium.wait(lambda: chromium.text(shown) == "?", "that it is not known")
    chromium.wait(lambda: chromium.attribute(FIELD, "placeholder") == "?", "that the setting is not known")
    assert chromium.attribute(FIELD, "value") == ""
    ioc.read("ai", 2.5)
    chromium.wait(lambda: chromium.text(shown) == "2.50kV", "the number")


def hold(chromium: Chromium, key: str, seconds: float) -> None:
    """Press a key of the keyboard on what has the focus, and let it go later."""
    named = {"Enter": ("Enter", 13, "\r"), "Space": (" ", 32, " ")}[key]
    event = {"key": named[0], "code": key, "windowsVirtualKeyCode": named[1]}
    end = time.monotonic() + seconds
    repeated = False
    while time.monotonic() < end:
        down = {**event, "type": "keyDown", "text": named[2], "autoRepeat": repeated}
        chromium.driver.execute_cdp_cmd("Input.dispatchKeyEvent", down)
        repeated = True
        time.sleep(0.05)
    chromium.driver.execute_cdp_cmd("Input.dispatchKeyEvent", {**event, "type": "keyUp"})


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_a_key_that_is_held_is_one_press(ioc: Ioc, chromium: Chromium, key: str) -> None:
    ioc.read("bo", 1)
    ioc.free.clear()
    chromium.run(f'document.querySelector("{OFF}").focus()')
    hold(chromium, key, 2.5)
    chromium.wait(lambda: ioc.puts == [("bo", 0)], "the put")
    time.sleep(0.5)
    assert ioc.puts == [("bo", 0)]
    # nor does it answer what the press asks
    chromium.run(f'document.querySelector("{ON}").focus()')
    hold(chromium, key, 1.5)
    assert chromium.all("dialog.ask")
    assert ioc.puts == [("bo", 0)]


def test_who_clicks_twice_has_not_answered_the_question(ioc: Ioc, chromium: Chromium) -> None:
    chromium.find(ON).click()
    place = chromium.find("#confirm").rect
    chromium.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    chromium.wait(lambda: not chromium.all("dialog"), "the end of the question")
    # the button stands where that of the question will be
    chromium.run(
        f'Object.assign(document.querySelector("{ON}").style, '
        f"{{position: 'fixed', left: '{place['x']}px', top: '{place['y']}px'}})"
    )
    time.sleep(1)
    ActionChains(chromium.driver).move_to_element(chromium.find(ON)).click().pause(0.2).click().perform()
    time.sleep(0.3)
    assert ioc.puts == []
    chromium.find("#confirm:enabled").click()
    chromium.wait(lambda: ioc.puts == [("bo", 1)], "what was confirmed")


def test_a_question_ends_where_its_ioc_is_lost_for_another_one_may_come_back(ioc: Ioc, chromium: Chromium) -> None:
    chromium.find(ON).click()
    chromium.find("#confirm:enabled")
    ioc.close()
    chromium.wait(lambda: not chromium.all("dialog"), "the end of the question")
    assert "bo: not put, for it was lost" in chromium.text(".toast")
    assert ioc.puts == []
