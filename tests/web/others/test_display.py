"""The screens that we make, shown by a web display of others (cs-web-lib) over our web socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from tests.client import Client
from tests.exports.displays import Widget, widgets
from tests.web.live.chromium import Chromium
from tests.web.live.conftest import PASSWORDS
from tests.web.others.conftest import Rack
from tests.web.others.display import PAGE, add_screens, build
from tests.web.others.nginx import Nginx
from tests.web.others.pages import block

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(180)]

SCREENS = [
    *(
        "overview.bob",
        "HV1.bob",
        "HV1_S02.bob",
        "HV1_S02_board.bob",
        "HV1_S02_channel.bob&C=C03",
        "GEN.bob",
        "TC1.bob",
    ),
    *("health.bob", "archiver.bob"),
]
# What holds a value: a text of several lines, too
FIELD = ":is(input, textarea)"
# What a text update shows before it has a value
NO_VALUE = "######"
# The letters of what is in alarm
RED, BLACK = "rgb(255, 0, 0)", "rgb(0, 0, 0)"
# The texts that are wider than what they are in
CUT = """return [...document.querySelectorAll('#screen p, #screen button span, #screen input, #screen textarea')]
    .filter(each => each.scrollWidth > each.clientWidth + 1).map(each => each.value ?? each.innerText)"""


class Display:
    """A browser that shows screens of a folder."""

    def __init__(self, rack: Rack, folder: Path, site: str, chromium: Chromium) -> None:
        self.ioc, self.site, self.chromium = rack.ioc, site, chromium
        self._folder = folder
        self._widgets: list[Widget] = []

    def show(self, screen: str) -> list[Widget]:
        """Open a screen (``file.bob&MACRO=value``), wait until all is there, and return its widgets."""
        file, *macros = screen.split("&")
        text = (self._folder / file).read_text(encoding="utf-8")
        self._widgets = list(widgets(text, dict(macro.split("=") for macro in macros)))
        self.chromium.open(f"{self.site}/screens/?file={screen}")
        places = "#screen div[style*='position: absolute; top:']"
        self.chromium.wait(lambda: len(self.chromium.all(places)) >= len(self._widgets), f"all of {file}")
        return self._widgets

    def of(self, name: str, *kinds: str) -> str:
        """The selector of what shows a PV, by its place in the file."""
        found = [each for each in self._widgets if each.get("pv_name") == self.ioc(name)]
        (widget,) = [each for each in found if each.kind in (kinds or ("textupdate",))]
        return place(widget)

    def value(self, selector: str) -> str:
        """What is in a field."""
        return str(self.chromium.run(f'return document.querySelector("{selector} {FIELD}").value'))

    def colour(self, selector: str) -> str:
        """The colour of the letters in a field."""
        return str(self.chromium.run(f'return getComputedStyle(document.querySelector("{selector} {FIELD}")).color'))

    def press(self, text: str) -> None:
        """Press a button of the screen."""
        (button,) = [each for each in self._widgets if each.kind == "action_button" and each.get("text") == text]
        self.chromium.find(f"{place(button)} button").click()

    def enter(self, selector: str, text: str) -> None:
        """Type a text in the place of what is in a field."""
        field = self.chromium.find(f"{selector} input")
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text + Keys.ENTER)

    def log_in(self, name: str) -> None:
        """Log in on the page of the rack."""
        chromium = self.chromium
        chromium.open(f"{self.site}/")
        chromium.find("#who").click()
        chromium.find("dialog #name").send_keys(name)
        chromium.find("dialog #password").send_keys(PASSWORDS[name][0])
        chromium.find("dialog #login").click()
        chromium.wait(lambda: name in chromium.text("#who"), "the login")


def place(widget: Widget) -> str:
    """The selector of what is where a widget has its place."""
    left, top, right, bottom = widget.box
    return f"#screen div[style*='top: {top}px; left: {left}px; width: {right - left}px; height: {bottom - top}px']"


@pytest.fixture(scope="module")
def site(rack: Rack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder with the display and the screens, and the address at which nginx serves it beside the web server."""
    folder = tmp_path_factory.mktemp("rack") / "screens"
    folder.mkdir()
    more = block(PAGE, "rack.conf").replace("/srv/rack", str(folder.parent))
    nginx = Nginx(tmp_path_factory.mktemp("nginx"), rack.port, more)
    try:
        build(folder)
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("TEST_PASSWORD", "geheim42")
            add_screens(folder, rack.ioc.folder / "rack.yaml")
        yield folder, f"https://127.0.0.1:{nginx.port}"
    finally:
        nginx.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    chromium = Chromium(1920, 1080)
    yield chromium
    chromium.close()


@pytest.fixture
def display(rack: Rack, site: tuple[Path, str], chromium: Chromium) -> Iterator[Display]:
    """Somebody who is not logged in, with nothing to complain of at the end."""
    folder, address = site
    chromium.driver.delete_all_cookies()
    yield Display(rack, folder, address, chromium)
    assert [each for each in chromium.log() if "favicon" not in each] == []


@pytest.mark.parametrize("screen", SCREENS)
def test_a_screen_is_shown_whole_with_all_its_values(display: Display, screen: str) -> None:
    chromium = display.chromium
    content = display.show(screen)
    readings = [f"{place(each)} {FIELD}" for each in content if each.kind == "textupdate"]
    shown = f"return {readings!r}.map(each => document.querySelector(each).value)"
    chromium.wait(lambda: NO_VALUE not in chromium.run(shown), "all values")
    texts = chromium.text("#screen")
    assert [each.get("text") for each in content if each.kind in {"label", "action_button"}]
    for each in content:
        if each.kind in {"label", "action_button"}:
            assert each.get("text").strip() in texts
    chromium.picture(f"display-{screen.partition('.')[0]}")
    assert chromium.run(CUT) == []
    sentences = [display.value(place(each)) for each in content if each.get("pv_name").endswith(".VAL$")]
    assert not set(sentences) & {"0", "NaN"}


def test_buttons_lead_from_screen_to_screen_with_their_macros(display: Display) -> None:
    display.show("overview.bob")
    display.press("S04")
    display.chromium.wait(lambda: "HV1 S04" in display.chromium.text("#screen p"), "the board")
    display.show("HV1_S04.bob")
    display.press("C05")
    display.chromium.wait(lambda: "HV1 S04 C05" in display.chromium.text("#screen p"), "the channel")


def test_values_change(display: Display) -> None:
    display.show("TC1.bob")
    shown = display.of("TC1:T1")
    display.chromium.wait(lambda: display.value(shown).endswith(" C"), "a temperature")
    before = display.value(shown)
    display.chromium.wait(lambda: display.value(shown) != before, "another temperature")


def test_a_trip_is_seen_in_words_and_by_the_colour_of_its_board(display: Display) -> None:
    chromium = display.chromium
    display.show("HV1_S02.bob")
    status, other = display.of("HV1:S02:C03:Status.AMSG"), display.of("HV1:S02:C04:Status.AMSG")
    power = display.of("HV1:S02:C03:Pw", "bool_button")
    chromium.wait(lambda: "On" in chromium.text(power), "a channel that is on")
    assert display.colour(status) == BLACK
    display.ioc.fault("HV1 trip 2 3")
    chromium.wait(lambda: "trip" in display.value(status), "the trip in words")
    chromium.wait(lambda: display.colour(status) == RED, "its colour")
    assert display.colour(other) == BLACK
    chromium.picture("display-trip")
    display.show("overview.bob")
    board = display.of("HV1:S02:Alarm")
    chromium.wait(lambda: display.colour(board) == RED, "the board")
    chromium.wait(lambda: display.value(board) == "MAJOR", "the board's severity")
    chromium.picture("display-trip-overview")


def test_an_instrument_that_is_unplugged_is_seen_and_comes_back(display: Display) -> None:
    chromium = display.chromium
    display.show("TC1.bob")
    connection = display.of("TC1:Conn")
    chromium.wait(lambda: display.value(connection) == "Up", "the connection")
    display.ioc.fault("TC1 unplug")
    try:
        chromium.wait(lambda: display.value(connection) != "Up", "that it is away")
        chromium.wait(lambda: display.colour(connection) == RED, "its colour")
        error = display.of("TC1:Error.VAL$")
        chromium.wait(lambda: "switched on" in display.value(error), "the reason, as a whole")
        chromium.picture("display-unplugged")
    finally:
        display.ioc.fault("TC1 plug")
    chromium.wait(lambda: (display.value(connection), display.colour(connection)) == ("Up", BLACK), "its return")


def test_who_is_not_logged_in_puts_nothing(display: Display, ca: Client) -> None:
    chromium, ioc = display.chromium, display.ioc
    before = ca.get(ioc("GEN:VSet"))
    display.show("GEN.bob")
    field = display.of("GEN:VSet", "textentry")
    chromium.wait(lambda: display.value(field).endswith(" kV"), "the field")
    display.enter(field, "9")
    refused = f'somebody not logged in at 127.0.0.1 put "9" to ca://{ioc("GEN:VSet")}, in vain'
    chromium.wait(lambda: refused in ioc.logged(), "the refusal")
    assert ca.get(ioc("GEN:VSet")) == before


def test_who_is_logged_in_puts_what_is_safe_and_what_is_dangerous_is_refused(display: Display, ca: Client) -> None:
    chromium, ioc = display.chromium, display.ioc
    ca.put(ioc("GEN:Mode"), 0)
    display.log_in("anna")
    display.show("GEN.bob")
    field, read = display.of("GEN:VSet", "textentry"), display.of("GEN:VSet_RBV")
    chromium.wait(lambda: display.value(field).endswith(" kV"), "the field")
    display.enter(field, "5")
    chromium.wait(lambda: display.value(read) == "4.98 kV", "the value, rounded down to 1/4095 of full scale")
    # the unit stays where it is in the field
    display.enter(field, "6.00 kV")
    chromium.wait(lambda: display.value(read) == "5.98 kV", "the next one")
    display.enter(field, "500 kV")
    chromium.wait(lambda: f'put "500 kV" to ca://{ioc("GEN:VSet")}, in vain' in ioc.logged(), "the refusal")
    assert display.value(read) == "5.98 kV"
    switch = f"{display.of('GEN:HV', 'bool_button')} button"
    chromium.find(switch).click()
    chromium.wait(lambda: f"{ioc('GEN:HV')}: not put, for nobody has confirmed it" in ioc.logged(), "the question")
    assert ca.get(ioc("GEN:HV")) == ca.get(ioc("GEN:HV_RBV")) == 0
    ca.put(ioc("GEN:ISet"), 1)
    ca.put(ioc("GEN:HV"), 1)
    chromium.wait(lambda: display.value(display.of("GEN:HV_RBV")) == "On", "high voltage")
    chromium.wait(lambda: "On" in chromium.text(switch), "its switch")
    chromium.picture("display-high-voltage")
    chromium.find(switch).click()
    chromium.wait(lambda: ca.get(ioc("GEN:HV_RBV")) == 0, "off, at once")
    chromium.wait(lambda: "Off" in chromium.text(switch), "its switch")
    assert f"anna at 127.0.0.1 put 0 to ca://{ioc('GEN:HV')}" in ioc.logged()
