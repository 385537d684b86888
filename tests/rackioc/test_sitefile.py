"""What clients set at run time outlives the process."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from drivers.base import Severity
from ioc.record import ALARM, LOG, PROPERTY, VALUE
from ioc.site import Site
from rackioc.config import sitefile
from rackioc.config.sitefile import SiteFile
from tests.ioc.bench import Rig, Scenario, running


async def session(path: Path, scenario: Scenario) -> None:
    """A life of the IOC: what was kept is taken up, and what is set is kept."""
    kept, faults = sitefile.load(path)
    assert faults == []
    site, file = Site(), SiteFile(path, kept)
    site.restore(kept, file.changed)
    async with running(site=site) as rig:
        await scenario(rig)
        file.close()


def test_a_limit_acts_at_once_and_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "rack.site.yaml"

    async def first(rig: Rig) -> None:
        rig.instrument.set_field(rig.record("Mon"), "HIHI", 0.5)
        assert rig.state("Mon") == (1.0, "HIHI", "MAJOR")
        assert rig.posts[-3:] == [
            ("Mon.HIHI", VALUE | LOG, 1.0, "NO_ALARM"),
            ("Mon", PROPERTY, 1.0, "NO_ALARM"),
            ("Mon", ALARM, 1.0, "HIHI"),
        ]
        rig.instrument.set_field(rig.record("Mon"), "HHSV", "MINOR")
        rig.instrument.set_field(rig.record("Mon"), "DESC", "the monitor")
        rig.instrument.set_field(rig.record("Mon"), "MDEL", 2)

    async def second(rig: Rig) -> None:
        await rig.until(lambda: rig.state("Mon") == (1.0, "HIHI", "MINOR"))
        point = rig.record("Mon").point
        assert (point.desc, point.mdel, point.hihi, point.hhsv) == ("the monitor", 2.0, 0.5, Severity.MINOR)
        rig.instrument.set_field(rig.record("Mon"), "HIHI", float("nan"))
        assert rig.state("Mon")[2] == "NO_ALARM"

    async def third(rig: Rig) -> None:
        assert rig.record("Mon").point.hihi is None

    for scenario in (first, second, third):
        asyncio.run(session(path, scenario))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("T:PS:Mon: {HIHI: high}", "rack.site.yaml:1: T:PS:Mon.HIHI: 'high' is not a number; correct or remove"),
        ("T:PS:Set: {DRVH: 5000}", "is not a field that clients may set; remove the line"),
        ("T:PS:Set: {VAL: 5000}", "is not a field that clients may set; remove the line"),
        ("T:PS:Mon: {HIHI: [1]}", "rack.site.yaml:1: T:PS:Mon.HIHI: [1] is not a number; correct or remove"),
        (f"T:PS:Mon: {{HIHI: {10**400}}}", "rack.site.yaml:1: T:PS:Mon.HIHI: "),
        ("[1, 2]", "must be a mapping"),
        ("{", "not YAML"),
    ],
)
def test_a_damaged_file_is_told_by_line(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "rack.site.yaml"
    path.write_text(text)
    _, faults = sitefile.load(path)
    assert any(sentence in fault.render(Path(path.name)) for fault in faults)


def test_a_disk_that_does_not_take_it_is_told_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(rig: Rig) -> None:
        rig.instrument.set_field(rig.record("Mon"), "HIGH", 5.0)

    asyncio.run(session(tmp_path / "missing" / "rack.site.yaml", scenario))
    assert "cannot be written" in caplog.text
