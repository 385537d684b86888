"""The commands that make files: what they write, and their exit codes."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from drivers.base import LinkDown
from drivers.caen import Caen
from exports.alarms import alarms
from exports.screens.screens import make
from rackioc import listing
from rackioc.cli import app
from rackioc.config.load import load
from sim.rack import Rack as Fakes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drivers.base import Step

CONFIG = """\
prefix: "LAB:"
instruments:
  TC1: {driver: se521}
  GEN: {driver: technix, port: /dev/ttyUSB0, full_scale: {voltage_kv: 100, current_ma: 50}}
"""
CRATE = "  HV1: {driver: caen, system: SY4527, link: TCPIP, host: nowhere.invalid, username: a, password: geheim42}\n"
COMMANDS = ["alarms", "appliance", "engine", "reference", "snapshot"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "rack.yaml"
    path.write_text(CONFIG)
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_is_written_or_printed_and_the_same_each_time(command: str, config: Path) -> None:
    out = config.with_name("out")
    written = CliRunner().invoke(app, [command, str(config), "-o", str(out)])
    printed = CliRunner().invoke(app, [command, str(config)])
    assert (written.exit_code, written.output) == (0, "")
    assert (printed.exit_code, printed.stdout) == (0, out.read_text())
    assert "LAB:GEN:" in printed.stdout
    assert str(config.parent) not in printed.stdout


@pytest.mark.parametrize("command", [*COMMANDS, "screens"])
def test_a_full_disk_is_told_with_the_path(command: str, config: Path) -> None:
    directory = config.with_name("out")
    directory.mkdir()
    out = directory / "overview.bob" if command == "screens" else directory / "out"
    out.symlink_to("/dev/full")
    result = CliRunner().invoke(app, [command, str(config), "-o", str(directory if command == "screens" else out)])
    assert (result.exit_code, result.output) == (1, f"rackioc: {out}: No space left on device\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_an_instrument_that_cannot_be_asked_is_named_and_the_rest_is_written(command: str, config: Path) -> None:
    config.write_text(CONFIG + CRATE)
    out = config.with_name("out")
    result = CliRunner().invoke(app, [command, str(config), "-o", str(out)])
    assert result.exit_code == 1
    assert result.output.startswith("HV1: ")
    assert "LAB:GEN:" in out.read_text()
    assert "geheim42" not in out.read_text() + result.output


def test_what_a_crate_told_before_it_was_lost_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RACKIOC_RUNTIME", "/run/user/1000/rackioc")
    monkeypatch.setenv("RACKIOC_WEB_PORT", "8080")
    config = load(Path(str(files("sim") / "demo.yaml")))
    read = Caen.read

    def read_until_it_is_lost(self: Caen, group: str) -> Iterator[Step]:
        for number, step in enumerate(read(self, group)):
            if number == 400:
                raise LinkDown("the cable was pulled")
            yield step

    monkeypatch.setattr(Caen, "read", read_until_it_is_lost)
    with Fakes({"HV1": config.raw["HV1"]}):
        rack, silent = listing.rack(config)
    assert silent == [
        "HV1: the cable was pulled; only the PVs that are known by now are listed (--simulated asks a simulated one)"
    ]
    assert not rack.instruments[0].complete
    assert "DEMO:HV1:S02:C00:VMon" in alarms(rack)
    assert "overview.bob" in make(rack)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_that_cannot_be_written_is_one_sentence(command: str, config: Path) -> None:
    result = CliRunner().invoke(app, [command, str(config), "-o", str(config.parent / "no" / "out")])
    assert result.exit_code == 1
    assert result.output.startswith("rackioc: ")
    assert result.output.count("\n") == 1
