"""Chromium without a window, driven by selenium, and pictures of what it shows."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

# Where pictures are kept, to be looked at; not in git
PICTURES = Path(os.environ.get("RACKIOC_PICTURES", Path(__file__).parents[3] / "build" / "pictures"))
PATIENCE = 25.0


class Chromium:
    """A browser of a size, as a desktop or a phone has it."""

    def __init__(self, width: int, height: int, *, dark: bool = False) -> None:
        found = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
        if missing := [name for name, path in found.items() if path is None]:
            pytest.skip(f"the page is not tested: {' and '.join(missing)} is not installed (script/setup-servers)")
        options = Options()
        options.binary_location = str(found["chromium"])
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
            options.add_argument(argument)
        # the tests' own nginx has signed its certificate itself
        options.accept_insecure_certs = True
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(found["chromedriver"]))
        phone = width < 600
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone},
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.kind = "phone" if phone else "desktop"

    def open(self, url: str) -> None:
        self.driver.get(url)

    def find(self, selector: str) -> WebElement:
        """The first element, as soon as there is one that is seen."""

        def seen() -> WebElement | None:
            return next((each for each in self.all(selector) if each.is_displayed()), None)

        found = self.wait(seen, selector)
        assert isinstance(found, WebElement)
        return found

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """The text of all elements that are seen, at once."""
        script = "return [...document.querySelectorAll(arguments[0])].map(each => each.innerText).join('\\n')"
        return str(self.driver.execute_script(script, selector))

    def attribute(self, selector: str, name: str) -> str:
        return str(self.find(selector).get_attribute(name))

    def style(self, selector: str, name: str) -> str:
        """How the first element is drawn."""
        script = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
        return str(self.driver.execute_script(script, selector, name))

    def append(self, made: str) -> None:
        """Append what an expression makes of the page's modules ``put`` and ``dom`` to the page."""
        self.run(
            "return Promise.all(['put', 'dom'].map(each => import(`/static/${each}.js`))).then(([put, dom]) => "
            f"document.querySelector('main').append({made}))"
        )

    def run(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def wait(self, condition: Callable[[], Any], what: str = "") -> Any:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                found = condition()
            except StaleElementReferenceException:  # the page has put another one in its place
                found = None
            if found:
                return found
            assert time.monotonic() < deadline, f"waited in vain: {what}\n{self.text('body')[:3000]}\n{self.log()}"
            time.sleep(0.05)

    def picture(self, name: str) -> None:
        """Keep a picture of what is shown."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(PICTURES / f"{name}-{self.kind}.png"))

    def show(self, is_seen: bool) -> None:
        """Minimize the window, or show it again."""
        window = self.driver.execute_cdp_cmd("Browser.getWindowForTarget", {})["windowId"]
        bounds = {"windowState": "normal" if is_seen else "minimized"}
        self.driver.execute_cdp_cmd("Browser.setWindowBounds", {"windowId": window, "bounds": bounds})
        self.wait(lambda: self.run("return document.hidden") is not is_seen, "the window")

    def log(self) -> list[str]:
        """What the browser complains of: scripts that fail, what may not be loaded."""
        entries = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [each["message"] for each in entries if each["level"] == "SEVERE"]

    def overflow(self) -> int:
        """How many pixels the page is wider than the window."""
        return int(self.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    def close(self) -> None:
        self.driver.quit()
