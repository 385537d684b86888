"""A list of states on the page, in a real browser."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from tests.small_ioc import SmallIoc
from tests.web.live.chromium import Chromium
from tests.web.live.conftest import WebServer, served
from tests.web.live.test_access import session

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(180)]


def test_a_list_of_states_puts_what_is_chosen_and_nothing_on_the_way(small_ioc: SmallIoc, logins_file: Path) -> None:
    web = WebServer(served(small_ioc.prefix, logins_file, puts="on"))
    chromium = Chromium(1600, 1000)
    small_ioc.read("mbbo", 0)
    name = f"{small_ioc.prefix}mbbo"
    before = len(small_ioc.puts)
    try:
        chromium.open(web.url)
        cookie = session(web, "anna").partition("=")
        chromium.driver.add_cookie({"name": cookie[0], "value": cookie[2]})
        chromium.open(web.url)
        chromium.find(".tiles, .overview")
        chromium.append(f"put.setter(new dom.Scope(), '{name}', 'mode')")
        field = f"select[data-pv='{name}']"
        chromium.wait(lambda: chromium.find(field).is_enabled(), "the list")
        chromium.find(field).send_keys(Keys.ARROW_DOWN * 3)
        time.sleep(1)
        assert small_ioc.puts[before:] == []
        # what comes meanwhile does not change what somebody has chosen
        small_ioc.read("mbbo", 1)
        time.sleep(0.5)
        chromium.find(field).send_keys(Keys.TAB)
        chromium.driver.switch_to.active_element.send_keys(Keys.ENTER)
        chromium.wait(lambda: small_ioc.puts[before:] == [("mbbo", 3)], "the put")
        chromium.wait(lambda: not chromium.run("return document.activeElement.nextSibling.checkVisibility()"), "rest")
    finally:
        chromium.close()
        web.close()
