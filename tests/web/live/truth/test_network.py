"""A network between browser and web server that is gone for a while: no On is carried out when it returns."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.client import Client
from tests.system.conftest import Ioc
from tests.system.conftest import racks as racks  # noqa: PLC0414 - the fixture
from tests.system.faults.proxy import Proxy, proxy_to
from tests.web.live.chromium import Chromium
from tests.web.live.conftest import PASSWORDS
from tests.web.live.test_habits import puts, remote
from tests.web.live.test_page import SIZES, Page
from tests.web.live.test_page import rack as rack  # noqa: PLC0414 - the fixture


@pytest.fixture
def network(rack: tuple[Ioc, int]) -> Iterator[Proxy]:
    """What lies between the browser and the web server."""
    with proxy_to(rack[1]) as proxy:
        yield proxy


@pytest.fixture
def page(rack: tuple[Ioc, int], network: Proxy) -> Iterator[Page]:
    chromium = Chromium(*SIZES["desktop"])
    try:
        page = Page(rack[0], network.port, chromium)
        page.open()
        yield page
    finally:
        chromium.close()


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(180)
def test_what_comes_late_over_a_slow_network_is_not_shown_as_live(page: Page, network: Proxy) -> None:
    chromium = page.chromium
    chromium.wait(lambda: chromium.text("#live") == "● live", "live")
    network.lag = 4.0  # there are news all the time, each of them of a while ago
    chromium.wait(lambda: "network to the web server is slow" in chromium.text("#banner"), "that it is old")
    assert chromium.text("#live") == "✖ not live"
    network.lag = 0.0
    chromium.wait(lambda: chromium.text("#live") == "● live", "live again")


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(180)
def test_a_slow_network_does_not_change_the_time_of_the_page(page: Page, network: Proxy) -> None:
    chromium = page.chromium
    chromium.wait(lambda: chromium.text("#live") == "● live", "live")
    network.lag = 6.0
    entries = "performance.getEntriesByType('resource')"
    answers = f"return {entries}.filter(each => each.responseEnd - each.startTime > 5000).length"
    chromium.wait(lambda: chromium.run(answers) > 1, "answers that are late")
    ahead = "return import('/static/time.js').then(({ now }) => now() - Date.now() / 1000)"
    assert chromium.run(ahead) == pytest.approx(0, abs=1)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(180)
def test_who_has_given_up_to_log_in_is_not_logged_in_when_the_network_returns(page: Page, network: Proxy) -> None:
    chromium = page.chromium
    chromium.find("#who").click()
    network.freeze()
    chromium.find("dialog #name").send_keys("anna")
    chromium.find("dialog #password").send_keys(PASSWORDS["anna"][0])
    chromium.find("dialog #login").click()
    chromium.find("dialog button[type='button']").click()
    network.thaw()
    chromium.wait(lambda: chromium.text("#live") == "● live", "live")
    time.sleep(2)
    assert chromium.text("#who") == "Log in"


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(180)
def test_an_on_is_not_carried_out_when_the_network_returns(page: Page, network: Proxy, ca: Client) -> None:
    chromium = page.chromium
    remote(page, ca)
    chromium.find(f"button[data-state='On']{page.pv('GEN:HV')}").click()
    chromium.find("dialog.ask")
    before = puts(page, "GEN:HV")
    network.freeze()
    chromium.find("#confirm:enabled").click()
    chromium.wait(lambda: "whether it was put is not known" in chromium.text("#toasts"), "what is known of the put")
    network.thaw()
    chromium.wait(lambda: "live" in chromium.text("body"), "the connection")
    time.sleep(2)
    assert puts(page, "GEN:HV") == before
    assert ca.get(page.ioc("GEN:HV")) == 0
    assert "s after it was asked for" in page.ioc.logged()
