"""Switches of a rack and who puts to them, for the tests of what makes things safe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from drivers.base import Point, RecordType
from rackioc import guidance
from tests.small_ioc import SmallIoc
from tests.web.live.conftest import Browser, WebServer, served
from tests.web.live.test_access import session
from web.live.puts import LATE

LETS_OUT = "it may let high voltage out"
WHOLE_CRATE = "it acts on the whole crate"
NOT_TOLD = "its IOC has not told whether it makes things safe"


class Person(Browser):
    """Anna, who may put."""

    def __init__(self, web: WebServer) -> None:
        super().__init__(web, {"Cookie": session(web, "anna")})

    def asked(self, pv: str, value: object, **more: Any) -> str:
        """Put without a confirmation; what is to be confirmed, or an empty text if it was put."""
        self.say(type="write", pv=pv, value=value, id=7, **more)
        answer = self.hear_until(lambda message: message.get("id") == 7, 40)
        if "confirm" not in answer:
            assert answer.get("message", "") == "", answer
        return str(answer.get("confirm", ""))

    def refused(self, pv: str, value: object, **more: Any) -> str:
        """Put what was confirmed; the reason of a refusal."""
        return self.write(pv, value, confirmed=True, **more)

    def asked_if_there(self, pv: str, value: object) -> str:
        """Put without a confirmation to what may not be there yet; fails if it was sent."""
        self.say(type="write", pv=pv, value=value, id=7)
        answer = self.hear_until(lambda message: message.get("id") == 7, 40)
        missing = ("it is no PV of this rack", "is not connected: nothing was put")
        assert "confirm" in answer or any(each in answer.get("message", "") for each in missing), answer
        return str(answer.get("confirm", ""))

    @property
    def ago(self) -> float:
        """A time that is too long ago for a put, by the clock of the web server."""
        self.say(type="clock")
        return float(self.hear_until(lambda message: message["type"] == "clock")["clock"]) - LATE - 3


@contextmanager
def person(ioc: SmallIoc, logins_file: Path) -> Iterator[Person]:
    """Anna at a web server of a rack."""
    web = WebServer(replace(served(ioc.prefix, logins_file, puts="on"), caution=guidance.caution(ioc.prefix)))
    try:
        with Person(web) as anna:
            yield anna
    finally:
        web.close()


def switch(name: str, *words: str) -> Point:
    return Point(name=name, rtyp=RecordType.mbbo if len(words) > 2 else RecordType.bo, states=words or ("Off", "On"))


SWITCHES = (
    switch("GEN:HV"), switch("GEN:Inhibit"), switch("GEN:Mode", "Remote", "Local"),
    switch("HV1:S02:C00:Pw"), switch("HV1:S02:C01:Pw", "On", "Off"), switch("HV1:S02:C02:Pw", "Kill", "On", "Off it"),
    switch("HV1:S02:C03:Pw", "?", "!"), switch("HV1:S02:C04:Pw", "1", "0"), switch("TC1:Retry", "Idle", "Connect"),
    switch("HV1:Cmd:Kill", "Idle", "Execute"), switch("HV1:Cmd:ClearAlarm", "Idle", "Execute"),
    Point(name="HV1:Sys:IPAddr", rtyp=RecordType.stringout),
    Point(name="GEN:VSet", rtyp=RecordType.ao, egu="kV"), Point(name="HV1:S02:C00:V0Set", rtyp=RecordType.ao),
)  # fmt: skip
SAFE = ("GEN:HV 0 Off", "GEN:Inhibit 1 On", "GEN:Mode 1 Local", "HV1:S02:C00:Pw 0 Off", "HV1:S02:C01:Pw 1 Off",
        "HV1:S02:C02:Pw 2 Off it", "HV1:S02:C04:Pw 1 0", "HV1:Cmd:Kill 1 Execute")  # fmt: skip
