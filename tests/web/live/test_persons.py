"""Puts under the name of the person: access security and put log of an IOC by others, pythonSoftIOC."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from tests.small_ioc import until
from tests.web.live.conftest import PASSWORDS, Browser, WebServer, served
from tests.web.live.test_access import session
from web.access import logins
from web.live import circuits

PROGRAM = Path(__file__).parents[1] / "programs" / "softioc.py"
SECURITY = """
UAG(operators) {anna}
ASG(DEFAULT) {
    RULE(1, READ)
    RULE(1, WRITE, TRAPWRITE) {UAG(operators)}
}
ASG(CLOSED) {
    RULE(1, READ)
}
# its log of puts has room for single values alone
ASG(ARRAYS) {
    RULE(1, READ)
    RULE(1, WRITE, NOTRAPWRITE) {UAG(operators)}
}
"""


class SoftIoc:
    """The IOC as a process; ``log``: what it has told of puts."""

    def __init__(self, folder: Path) -> None:
        self.prefix = f"P{time.monotonic_ns()}:"
        self._folder = folder
        self._log = folder / "log"
        (folder / "rights.acf").write_text(SECURITY)
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-P", "-u", str(PROGRAM), self.prefix, str(self._folder / "rights.acf")]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder)
        until(lambda: "\nready\n" in self._log.read_text() or self._process.poll() is not None, 30)
        assert self._process.poll() is None, self._log.read_text()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def told(self, point: str) -> list[tuple[str, str]]:
        """Who put to a record, and the new value, as the log has them."""
        line = re.compile(rf".*?(\w+)@\S+ {self.prefix}{point}\S* .*?(\S+)$")
        found = (line.match(each) for each in self._log.read_text().splitlines())
        return [(each[1], each[2]) for each in found if each]

    def connections(self) -> int:
        """How many clients are connected."""
        return sum(each.status == "ESTABLISHED" for each in psutil.Process(self._process.pid).net_connections("tcp"))


@pytest.fixture(scope="module")
def ioc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftIoc]:
    if find_spec("softioc") is None:
        pytest.skip("softioc is not installed: script/setup test,clients")
    ioc = SoftIoc(tmp_path_factory.mktemp("softioc"))
    yield ioc
    ioc.stop()


@pytest.fixture(scope="module")
def site(ioc: SoftIoc, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """A web server over it; anna and carl may put, as far as the web server is asked."""
    path = tmp_path_factory.mktemp("site") / "logins"
    lines = [logins.line("anna", PASSWORDS["anna"][0], "put"), logins.line("carl", PASSWORDS["anna"][0], "put")]
    path.write_text("\n".join(lines) + "\n")
    site = WebServer(served(ioc.prefix, path, puts="on"))
    yield site
    site.close()


def person(site: WebServer, name: str) -> Browser:
    return Browser(site, {"Cookie": session(site, name, PASSWORDS["anna"][0])})


def test_the_put_log_of_an_ioc_has_the_name_of_the_person(ioc: SoftIoc, site: WebServer) -> None:
    with person(site, "anna") as anna:
        assert anna.write(ioc.prefix + "AO", 2.5) == ""
        assert anna.write(ioc.prefix + "BO", "On", confirmed=True) == ""
    until(lambda: ioc.told("AO")[-1:] == [("anna", "2.5")])
    until(lambda: [who for who, _ in ioc.told("BO")][-1:] == ["anna"])


def test_the_rights_that_an_ioc_gives_are_those_of_the_person(ioc: SoftIoc, site: WebServer) -> None:
    with person(site, "carl") as carl, person(site, "anna") as anna:
        assert "denied" in carl.write(ioc.prefix + "AO", 3)
        assert anna.write(ioc.prefix + "AO", 4) == ""
        assert "denied" in carl.write(ioc.prefix + "AO", 5)
        assert "denied" in anna.write(ioc.prefix + "NOBODY", 1)
        until(lambda: ioc.told("AO")[-1:] == [("anna", "4")])
    assert {who for who, _ in ioc.told("AO")} == {"anna"}


def test_puts_of_a_person_arrive_in_the_order_in_which_they_were_made(ioc: SoftIoc, site: WebServer) -> None:
    with person(site, "anna") as anna, person(site, "anna") as other:
        before = len(ioc.told("AO"))
        for number in range(100):
            anna.say(type="write", pv=ioc.prefix + "AO", value=1000 + number, id=number)
        other.say(type="echo")
        heard = [anna.hear_until(lambda message: "id" in message) for _ in range(100)]
        assert {each["type"] for each in heard} == {"written"}
        until(lambda: len(ioc.told("AO")) == before + 100)
    assert [value for _, value in ioc.told("AO")[before:]] == [str(1000 + number) for number in range(100)]


def test_a_long_array_arrives_whole(ioc: SoftIoc, site: WebServer) -> None:
    with person(site, "anna") as anna:
        anna.subscribe(ioc.prefix + "WAVE")
        anna.update(ioc.prefix + "WAVE")
        assert anna.write(ioc.prefix + "WAVE", [0.5] * 19_999 + [1.5]) == ""
        data = anna.hear_until(lambda message: message.get("b64dbl", "").endswith("AAAAAAD4Pw=="))["b64dbl"]
        assert len(base64.b64decode(data)) == 20_000 * 8
        assert "there is room for 20000" in anna.write(ioc.prefix + "WAVE", [0.5] * 20_001)


def test_a_connection_ends_when_the_person_puts_no_more(
    ioc: SoftIoc, site: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with person(site, "anna") as anna:
        until(lambda: anna.write(ioc.prefix + "AO", 1) == "")
        monkeypatch.setattr(circuits, "LINGER", 0.1)
        ioc.stop()
        ioc.start()
        # one for all values, and one for the person
        until(lambda: anna.write(ioc.prefix + "AO", 6) == "", 60)
        assert ioc.told("AO")[-1] == ("anna", "6")
        until(lambda: ioc.connections() == 1)
        assert anna.write(ioc.prefix + "AO", 7) == ""
