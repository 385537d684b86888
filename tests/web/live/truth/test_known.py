"""What the page says of what is not known, or has become something else: a crate away, another unit or type."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from selenium.webdriver.common.keys import Keys

from tests.client import Client
from tests.small_ioc import until
from tests.system.conftest import Racks
from tests.system.conftest import racks as racks  # noqa: PLC0414 - the fixture
from tests.web.live.chromium import Chromium
from tests.web.live.test_page import SIZES, Page
from tests.web.served import start_rack

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(180)]

# A sign that an address of the page takes for its own
CRATE = "HV/1"


@pytest.fixture(scope="module")
def page(racks: Racks, logins_file: Path) -> Iterator[Page]:
    """The page on a phone, and somebody who may put."""
    chromium = Chromium(*SIZES["phone"])
    page = Page(*start_rack(racks, logins_file, CRATE), chromium)
    try:
        page.open()
        page.log_in("anna")
        chromium.wait(lambda: "anna" in chromium.text("#who"), "the name")
        yield page
        assert chromium.log() == []
    finally:
        chromium.close()


def switch(page: Page) -> dict[str, str | None]:
    """What the buttons of a channel's switch say: word -> whether it is shown as the state."""
    return {each.text: each.get_attribute("aria-pressed") for each in page.chromium.all(".power button")}


def test_links_lead_to_a_channel_of_an_instrument_whatever_its_name(page: Page) -> None:
    chromium = page.chromium
    page.open()
    chromium.find(".tile[href='#/i/HV%2F1']").click()
    chromium.find(".board h2 a").click()
    chromium.wait(lambda: chromium.text("h1") == f"{CRATE} / S02", "the board")
    chromium.find(".channel").click()
    chromium.wait(lambda: chromium.text("h1") == f"{CRATE} / S02 / C00", "the channel")
    chromium.find(".choice a[title='C01']").click()
    chromium.wait(lambda: chromium.text("h1") == f"{CRATE} / S02 / C01", "its neighbour")


def test_a_switch_of_a_crate_that_is_away_shows_no_state_and_that_its_off_waits(page: Page) -> None:
    chromium = page.chromium
    page.open("#/i/HV%2F1/S02/C01")
    chromium.wait(lambda: switch(page) == {"Off": "false", "On": "true"}, "a channel that is on")
    assert not chromium.find(".power").find_elements("css selector", ".chip")[0].is_displayed()
    page.ioc.fault(f"{CRATE} unplug")
    chromium.wait(lambda: switch(page) == {"Off": "false", "On": "false"}, "a state that is not known")
    chromium.wait(lambda: f"{CRATE}:Conn" in chromium.text(".alarms"), "why, where the channel's alarms are")
    chromium.find(".power button[data-state='Off']").click()
    chromium.wait(lambda: "not shown yet" in chromium.text(".power .chip[data-set='yes']"), "that it waits")
    chromium.picture("off-waits")
    page.ioc.fault(f"{CRATE} plug")
    chromium.wait(lambda: switch(page) == {"Off": "true", "On": "false"}, "the Off")
    chromium.wait(lambda: f"{CRATE}:Conn" not in chromium.text(".alarms"), "the end of the alarm")


def test_whether_an_off_waits_is_not_known_while_the_ioc_does_not_answer(page: Page) -> None:
    chromium = page.chromium
    page.open("#/i/GEN")
    chromium.wait(lambda: len(chromium.all(".pending[data-set='no']")) == 3, "a generator of which nothing waits")
    page.ioc.process.send_signal(signal.SIGSTOP)
    try:
        until(lambda: len(chromium.all(".pending[data-set='unknown']")) == 3, 60)
        assert chromium.text(".pending").splitlines()[0] == "HV off: whether it waits is not known"
    finally:
        page.ioc.process.send_signal(signal.SIGCONT)
    chromium.wait(lambda: len(chromium.all(".pending[data-set='no']")) == 3, "that nothing waits")


def test_an_ioc_that_hangs_with_its_connections_open_is_told_to_programs_within_seconds(page: Page) -> None:
    def told() -> tuple[bool, bool]:
        alarms, metrics = (
            urlopen(f"http://127.0.0.1:{page.port}{path}").read() for path in ("/api/alarms", "/metrics")
        )
        return json.loads(alarms)["connected"], b"\nrackioc_up 1.0\n" in metrics

    until(lambda: told() == (True, True), 20)
    page.ioc.process.send_signal(signal.SIGSTOP)
    try:
        until(lambda: told() == (False, False), 20)  # libca takes 35 s
    finally:
        page.ioc.process.send_signal(signal.SIGCONT)
    until(lambda: told() == (True, True), 20)


def test_a_setting_has_the_unit_of_its_number_and_none_is_put_in_another(page: Page, ca: Client) -> None:
    chromium = page.chromium
    channel = page.ioc(f"{CRATE}:S04:C01")
    page.open("#/i/HV%2F1/S04/C01")
    field = f"input[data-pv='{channel}:I0Set']"
    unit = f"{field} + .unit"
    chromium.wait(lambda: chromium.text(unit) == "µA", "the unit")
    chromium.wait(lambda: chromium.find(field).is_enabled(), "the field")
    before = ca.get(f"{channel}:I0Set")
    chromium.find(field).clear()
    chromium.find(field).send_keys("7")
    ca.put(f"{channel}:IMRange", 1)
    chromium.wait(lambda: chromium.text(unit) == "nA", "the unit of the other range")
    assert "its unit is nA now" in chromium.text("#toasts")
    chromium.find(field).send_keys(Keys.ENTER)
    chromium.wait(lambda: float(chromium.attribute(field, "value")) == ca.get(f"{channel}:I0Set"), "the setting")
    assert ca.get(f"{channel}:I0Set") > before
    chromium.find(field).clear()
    chromium.find(field).send_keys("8" + Keys.ENTER)
    # with its unit: there may be another one before it arrives
    chromium.wait(lambda: f'put "8 nA" to {channel}:I0Set\n' in page.ioc.logged(), "the put")
    assert ca.get(f"{channel}:I0Set") == 8
