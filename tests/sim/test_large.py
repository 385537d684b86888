"""The full rack: its crate, its configuration, and the command that serves it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from rackioc.cli import app, simulation
from rackioc.config.config import Config
from rackioc.config.load import load
from sim import rack as rack_module
from sim.caen.boards import demo_crate, large_crate
from sim.caen.crate import Crate
from sim.caen.fake import CrateFake
from sim.rack import Rack

LARGE = Path(rack_module.__file__).with_name("large.yaml")


@pytest.fixture(scope="module")
def crate() -> Crate:
    return large_crate("SY4527")


def test_every_slot_has_48_channels_on_and_settled(crate: Crate) -> None:
    assert {slot: len(board.channels) for slot, board in crate.boards.items()} == dict.fromkeys(range(16), 48)
    assert {channel.status() for channel in crate.all_channels()} == {1}
    assert all(channel.resting for channel in crate.all_channels())
    assert len({channel.name for channel in crate.all_channels()}) == 768


def test_a_crate_with_more_channels_steps_less_often(crate: Crate) -> None:
    large, demo = CrateFake(crate), CrateFake(demo_crate("SY4527"))
    assert demo.shortest_step < 0.01 < large.shortest_step < large.longest_step < 0.2


def test_its_configuration_has_no_faults_and_is_the_rack_of_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RACKIOC_RUNTIME", "/run/user/1000/rackioc")
    monkeypatch.setenv("RACKIOC_WEB_PORT", "8080")
    load(LARGE)
    large, demo = (yaml.safe_load(LARGE.with_name(name).read_text()) for name in ("large.yaml", "demo.yaml"))
    assert large["instruments"].keys() == demo["instruments"].keys()
    assert large["archive"]["pvs"] == ["LARGE:*"]


def test_a_rack_can_have_it() -> None:
    options = {"caen": {"crate": large_crate}}
    fake = Rack(yaml.safe_load(LARGE.read_text())["instruments"], only=["HV1"], options=options).fakes["HV1"]
    assert len(fake.model.boards) == 16


@pytest.mark.parametrize(
    ("words", "served"),
    [
        (["--large"], ("large.yaml", simulation.CONTROL, True)),
        (["demo"], ("demo.yaml", simulation.CONTROL, False)),
        (["demo", "--large", "--control-path", "x"], ("large.yaml", Path("x"), True)),
    ],
)
def test_the_command_line_chooses_the_crate(
    monkeypatch: pytest.MonkeyPatch, words: list[str], served: tuple[Any, ...]
) -> None:
    asked = []

    def note(config: Config, control: Path, *, large: bool = False, **_: Any) -> None:
        asked.append((config.path.name, control, large))

    monkeypatch.setattr(simulation, "_simulate", note)
    assert CliRunner().invoke(app, ["sim", *words]).exit_code == 0
    assert asked == [served]


@pytest.mark.parametrize("words", [["--large", "demo"], ["--large", "fault", "GEN", "help"], []])
def test_what_serves_nothing_says_how_to_ask(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.setattr(simulation, "_simulate", lambda *_, **__: pytest.fail("served"))
    result = CliRunner().invoke(app, ["sim", *words])
    assert result.exit_code == 2
    assert "--large" in result.output
