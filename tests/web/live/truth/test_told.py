"""What makes things safe is told by the IOC, also to a web server that runs since before it was another one."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from pathlib import Path

import pytest
import yaml

from bench.rig.loopback import free_port
from tests.client import Client
from tests.small_ioc import SmallIoc, until
from tests.system.conftest import CRATE, GENERATOR, LOGGER, MODULE, Racks
from tests.system.conftest import racks as racks  # noqa: PLC0414 - the fixture
from tests.web.live.conftest import SAFE_LIST, WebServer, tell_safe
from tests.web.live.truth.switches import LETS_OUT, NOT_TOLD, SAFE, SWITCHES, WHOLE_CRATE, Person, person, switch


@pytest.mark.parametrize("has_list", [False, True])
def test_while_nothing_is_told_a_switch_is_asked_about_and_a_late_off_not_refused(
    logins_file: Path, has_list: bool
) -> None:
    ioc = SmallIoc([*SWITCHES, *([SAFE_LIST] if has_list else [])])
    ioc.read("GEN:HV", 0)
    ioc.read("HV1:S02:C00:Pw", 0)
    ioc.read("GEN:VSet", 0.0)
    try:
        with person(ioc, logins_file) as anna:
            assert anna.asked(ioc.prefix + "GEN:VSet", 5) == ""
            for value in ("On", "Off"):
                assert anna.asked(ioc.prefix + "GEN:HV", value) == NOT_TOLD
                # of neither is it known what it is: a person says it anew
                assert anna.asked(ioc.prefix + "GEN:HV", value, at=anna.ago) == NOT_TOLD
                assert anna.asked(ioc.prefix + "GEN:HV", value, at=anna.ago, confirmed=True) == NOT_TOLD
            assert anna.asked(ioc.prefix + "HV1:S02:C00:Pw", "On") == LETS_OUT
            assert ioc.puts == [("GEN:VSet", 5)]
            assert anna.asked(ioc.prefix + "GEN:HV", "Off", confirmed=True) == ""
            assert ioc.puts[1:] == [("GEN:HV", 0)]
            if has_list:
                tell_safe(ioc, *SAFE)
                until(lambda: anna.asked(ioc.prefix + "GEN:HV", "Off", at=anna.ago) == "", 10)
    finally:
        ioc.close()


def test_words_that_are_others_since_the_list_was_told_are_asked_about(logins_file: Path) -> None:
    ioc = SmallIoc([switch("HV1:S02:C00:Pw", "On", "Off"), SAFE_LIST])
    ioc.read("HV1:S02:C00:Pw", 1)
    tell_safe(ioc, "HV1:S02:C00:Pw 0 Off")  # the board of before
    name = ioc.prefix + "HV1:S02:C00:Pw"
    try:
        with person(ioc, logins_file) as anna:
            for value in (0, "On", 1, "Off"):
                assert anna.asked(name, value) == LETS_OUT
                assert anna.asked(name, value, at=anna.ago, confirmed=True) == LETS_OUT
            tell_safe(ioc, "HV1:S02:C00:Pw 1 Off")
            until(lambda: anna.asked(name, "Off", at=anna.ago) == "", 10)
            assert anna.asked(name, 0) == LETS_OUT
            assert ioc.puts == [("HV1:S02:C00:Pw", 1)]
    finally:
        ioc.close()


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_what_was_told_holds_while_the_ioc_starts_again(logins_file: Path) -> None:
    ioc = SmallIoc([*SWITCHES, SAFE_LIST])
    ioc.read("GEN:HV", 1)
    tell_safe(ioc, *SAFE)
    name = ioc.prefix + "GEN:HV"
    try:
        with person(ioc, logins_file) as anna:
            until(lambda: anna.asked(name, "Off", at=anna.ago) == "", 10)
            ioc.close()
            ioc = SmallIoc([*SWITCHES, SAFE_LIST], ioc.prefix)  # it has told nothing yet
            ioc.read("GEN:HV", 1)
            anna.subscribe(name)
            anna.hear_until(lambda message: message.get("labels") == ["Off", "On"], 60)
            assert anna.asked(name, "Off", at=anna.ago) == ""
            assert anna.asked(name, "On") == LETS_OUT
            assert anna.asked(ioc.prefix + "TC1:Retry", 1) == NOT_TOLD
            assert ioc.puts == [("GEN:HV", 0)]
    finally:
        ioc.close()


class Beside(WebServer):
    """A web server in a process of its own, with a configuration of its own."""

    def __init__(self, folder: Path, prefix: str, logins_file: Path) -> None:
        self.port = free_port()
        web = {"port": self.port, "puts": "on", "logins": str(logins_file)}
        folder.mkdir()
        config = {"prefix": prefix, "instruments": {"TC1": LOGGER}, "web": web}
        (folder / "rack.yaml").write_text(yaml.safe_dump(config))
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen([*MODULE, "web", "rack.yaml"], cwd=folder, stderr=log)
        until(lambda: "listening" in self._log.read_text() or self._process.poll() is not None, 20)

    @property
    def instruments(self) -> dict[str, str]:
        with urllib.request.urlopen(f"{self.url}/api/instruments") as answer:
            return {each["name"]: each["kind"] for each in json.load(answer)["instruments"]}

    def close(self) -> None:
        self._process.terminate()
        assert self._process.wait(20) == 0
        assert "Traceback" not in self._log.read_text()


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_an_ioc_that_starts_again_with_other_instruments_tells_their_off(
    racks: Racks, ca: Client, tmp_path: Path, logins_file: Path
) -> None:
    folder, prefix = racks.prepare({"TC1": LOGGER})
    ioc = racks.launch(folder, prefix)
    web = Beside(tmp_path / "web", prefix, logins_file)
    try:
        with Person(web) as anna:
            until(lambda: anna.write(ioc("TC1:Retry"), 1) == "", 20)  # it has the lists
            assert ioc.stop() == 0
            instruments = {"TC1": LOGGER, "GEN": {**GENERATOR, "port": str(folder / "GEN")}, "HV1": CRATE}
            (folder / "rack.yaml").write_text(yaml.safe_dump({"prefix": prefix, "instruments": instruments}))
            ioc = racks.launch(folder, prefix)
            until(lambda: web.instruments == {"TC1": "se521", "GEN": "technix", "HV1": "caen", "IOC": "ioc"}, 20)
            # nothing of it is ever put unasked
            until(lambda: anna.asked_if_there(ioc("GEN:HV"), "On") == LETS_OUT, 20)
            assert anna.asked(ioc("GEN:Inhibit"), "Off") == LETS_OUT
            ca.wait(ioc("GEN:Conn"), lambda value: value == 2, 20)
            assert anna.asked(ioc("GEN:Mode"), "Remote", confirmed=True) == ""
            for point, value in (("VSet", 10), ("ISet", 5)):
                assert anna.asked(ioc(f"GEN:{point}"), value) == ""
            assert anna.asked(ioc("GEN:HV"), "On", confirmed=True) == ""
            ca.wait(ioc("GEN:HV_RBV"), lambda value: value == 1, 10)
            assert anna.asked(ioc("GEN:HV"), "Off", at=anna.ago) == ""
            ca.wait(ioc("GEN:HV_RBV"), lambda value: value == 0, 10)
            # a crate tells its boards when it is connected
            channel = ioc("HV1:S08:C11:Pw")
            until(lambda: anna.asked_if_there(channel, "On") == LETS_OUT, 60)
            assert anna.asked(channel, "Off", at=anna.ago) == ""
            assert anna.asked(ioc("HV1:Cmd:ClearAlarm"), 1) == WHOLE_CRATE
            assert anna.asked(ioc("HV1:Cmd:Kill"), 1, at=anna.ago) == ""
            told = ca.long(ioc("IOC:SafeList")).split("\n")
            assert [each for each in told if ":GEN:" in each] == [
                ioc("GEN:HV 0 Off"), ioc("GEN:Mode 1 Local"), ioc("GEN:Inhibit 1 On")
            ]  # fmt: skip
            assert sum(":Pw " in each for each in told) == 64
            assert ioc("HV1:Cmd:Kill 1 Execute") in told
    finally:
        web.close()
