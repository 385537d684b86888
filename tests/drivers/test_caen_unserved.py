"""What is configured of a crate and not there, with real caen-libs above a simulated crate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from drivers.caen import Caen, Config
from drivers.caen.config import Limits, RelativeAlarms
from sim.caen.fake import CrateFake
from sim.rack import Rack
from tests.drivers.test_caen import KEYS, connect_and_explore

VOLTS = RelativeAlarms(voltage_v=Limits(minor=5))
AMPS = RelativeAlarms(current_ratio=Limits(minor=0.8))


@pytest.fixture
def crate() -> Iterator[CrateFake]:
    with Rack({"HV1": {"driver": "caen", **KEYS}}) as rack:
        fake = rack.fakes["HV1"]
        assert isinstance(fake, CrateFake)
        fake.latency = fake.patience = 0.0
        yield fake


@pytest.fixture
def unserved(crate: CrateFake) -> Iterator[Callable[..., list[str]]]:
    drivers = []

    def ask(**keys: object) -> list[str]:
        drivers.append(driver := Caen(Config(**{**KEYS, **keys})))
        connect_and_explore(driver)
        return list(driver.unserved)

    yield ask
    for driver in drivers:
        driver.close()


@pytest.mark.parametrize(
    ("channels", "alarms", "expected"),
    [
        (None, RelativeAlarms(), []),
        ({2: (0, 1)}, RelativeAlarms(voltage_v=VOLTS.voltage_v, current_ratio=AMPS.current_ratio), []),
        ({2: (0,), 3: "ALL"}, RelativeAlarms(), ["no board in slot 3, which is configured under channels"]),
        ({2: (0, 99, 98)}, RelativeAlarms(), ["no channels 98, 99 in slot 2: they are configured, "]),
        ({3: "ALL"}, VOLTS, ["no board in slot 3", "relative_alarms.voltage_v acts on no channel: none has VMon, "]),
    ],
)
def test_what_no_board_has_is_told_by_name(
    unserved: Callable[..., list[str]],
    channels: dict[int, object] | None,
    alarms: RelativeAlarms,
    expected: list[str],
) -> None:
    found = unserved(channels=channels, relative_alarms=alarms)
    assert len(found) == len(expected)
    for sentence, beginning in zip(found, expected, strict=True):
        assert sentence.startswith(beginning)


@pytest.mark.parametrize("lacking", ["VMon", "V0Set", "Status"])
def test_an_alarm_needs_the_measured_value_its_setting_and_the_status(
    unserved: Callable[..., list[str]], crate: CrateFake, lacking: str
) -> None:
    for channel in crate.model.boards[2].channels:
        for name in {lacking, "V1Set" if lacking == "V0Set" else lacking} & channel.params.keys():
            del channel.params[name]
    (sentence,) = unserved(channels={2: "ALL"}, relative_alarms=VOLTS)
    assert sentence.startswith("relative_alarms.voltage_v acts on no channel")
    assert unserved(channels={2: "ALL", 4: (0,)}, relative_alarms=VOLTS) == []


def test_a_desktop_unit_has_what_the_alarms_need(unserved: Callable[..., list[str]], crate: CrateFake) -> None:
    for channel in crate.model.boards[2].channels:
        for before, name in (("V0Set", "VSet"), ("I0Set", "ISet")):
            channel.values[name] = channel.values[before]
            channel.params[name] = replace(channel.params.pop(before), name=name)
        del channel.params["V1Set"], channel.params["I1Set"]
    both = RelativeAlarms(voltage_v=VOLTS.voltage_v, current_ratio=AMPS.current_ratio)
    assert unserved(channels={2: "ALL"}, relative_alarms=both) == []
