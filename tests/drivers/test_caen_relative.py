"""Alarms relative to the settings, with real caen-libs above a simulated crate."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from drivers.base import Reading, Readings, Severity, Status
from drivers.caen import Caen, Config
from drivers.caen.config import Limits, RelativeAlarms
from sim.caen.channel import Channel
from sim.caen.fake import CrateFake
from sim.rack import Rack
from tests.drivers.steps import blocks, merged

KEYS: dict[str, Any] = {
    "system": "SY4527",
    "link": "TCPIP",
    "host": "crate",
    "username": "admin",
    "password": "hunter2",
}
ALARMS = RelativeAlarms(voltage_v=Limits(minor=5.0, major=20.0), current_ratio=Limits(minor=0.8, major=0.95))
MINOR, MAJOR = Severity.MINOR, Severity.MAJOR

Place = tuple[int, int]
V1, PLAIN = (2, 0), (4, 0)  # channels with and without a second setting


@pytest.fixture
def rack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rack]:
    seconds = itertools.count(1000)
    monkeypatch.setattr("drivers.caen.retry.monotonic", lambda: float(next(seconds)))  # each wait is soon over
    with Rack({"HV1": {"driver": "caen", **KEYS}}, clock=lambda: 1000.0) as rack:
        yield rack


@pytest.fixture
def crate(rack: Rack) -> CrateFake:
    fake = rack.fakes["HV1"]
    assert isinstance(fake, CrateFake)
    fake.latency = 0.0
    for place in (V1, PLAIN):
        channel = fake.model.channel(*place)
        channel.noise = 0.0
        channel.values |= {"V0Set": 200.0, "I0Set": 100.0}
        channel.volts, channel.resistance = 200.0, 1e8  # 2 uA
    return fake


@pytest.fixture
def start(crate: CrateFake) -> Iterator[Callable[..., Caen]]:
    drivers: list[Caen] = []

    def connect(alarms: RelativeAlarms = ALARMS) -> Caen:
        config = Config(**KEYS, channels={2: (0, 1), 4: (0, 1)}, relative_alarms=alarms)
        driver = Caen(config)
        drivers.append(driver)
        driver.connect()
        while driver.exploring:
            scan(driver)
        return driver

    yield connect
    for driver in drivers:
        driver.close()
    assert crate.violations == []
    assert crate.writes == 0


@pytest.fixture
def caen(start: Callable[..., Caen]) -> Caen:
    """A driver that knows all that it needs to judge."""
    driver = start()
    scan(driver)
    return driver


def scan(driver: Caen, group: str = "monitor") -> dict[str, Any]:
    return dict(merged(driver.read(group)))


def volts(readings: Readings, place: Place = PLAIN) -> Any:
    return readings[f"S{place[0]:02d}:C{place[1]:02d}:VMon"]


def amps(readings: Readings, place: Place = PLAIN) -> Any:
    return readings[f"S{place[0]:02d}:C{place[1]:02d}:IMon"]


def channel(crate: CrateFake, place: Place = PLAIN) -> Channel:
    return crate.model.channel(*place)


def before(monkeypatch: pytest.MonkeyPatch, name: str, action: Callable[[], None]) -> None:
    """Do something when a parameter of slot 4 (or, of the second settings, slot 2) is about to be read."""
    from caen_libs import caenhvwrapper as hv

    read = hv.Device.get_ch_param

    def acting(self: Any, slot: int, channels: Sequence[int], parameter: str) -> Any:
        if parameter == name and slot == (2 if name == "V1Set" else 4):
            action()
        return read(self, slot, channels, parameter)

    monkeypatch.setattr(hv.Device, "get_ch_param", acting)


# ---- what is an alarm ----


@pytest.mark.parametrize(
    ("offset", "severity", "status"),
    [(5, MINOR, Status.HIGH), (20, MAJOR, Status.HIHI), (-5, MINOR, Status.LOW), (-199, MAJOR, Status.LOLO)],
)
def test_a_voltage_off_its_setting_is_an_alarm(
    caen: Caen, crate: CrateFake, offset: float, severity: Severity, status: Status
) -> None:
    channel(crate).offset = offset
    readings = scan(caen)
    assert volts(readings) == Reading(200.0 + offset, severity, status)
    assert readings["S04:VMon:Array"][0] == 200.0 + offset  # alarms are the channels' own
    channel(crate).offset = 4.9
    assert volts(scan(caen)) == 204.9


@pytest.mark.parametrize(("micro", "severity", "status"), [(80, MINOR, Status.HIGH), (95, MAJOR, Status.HIHI)])
def test_a_current_near_its_limit_is_an_alarm(
    caen: Caen, crate: CrateFake, micro: float, severity: Severity, status: Status
) -> None:
    channel(crate).resistance = 200 / (micro * 1e-6)
    assert amps(scan(caen)) == Reading(micro, severity, status)
    channel(crate).resistance = 200 / (79e-6)
    assert amps(scan(caen)) == 79.0


def test_units_that_differ_are_converted(caen: Caen, rack: Rack, crate: CrateFake) -> None:
    rack.command("HV1 front 4 0 IMRange 1")
    for _ in range(3):
        scan(caen, "settings")
        scan(caen)
    rack.command("HV1 front 4 0 I0Set 1000")  # nA
    for _ in range(3):
        scan(caen, "settings")
        scan(caen)
    channel(crate).resistance = 200 / 0.9e-6
    assert amps(scan(caen)) == Reading(900.0, MINOR, Status.HIGH)


def test_a_crate_that_gives_a_sign_is_judged_by_the_magnitude(
    caen: Caen, crate: CrateFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    from caen_libs import caenhvwrapper as hv

    read = hv.Device.get_ch_param

    def negative(self: Any, slot: int, channels: Sequence[int], name: str) -> Any:
        values = read(self, slot, channels, name)
        return [-float(value) for value in values] if name == "VMon" else values

    monkeypatch.setattr(hv.Device, "get_ch_param", negative)
    assert volts(scan(caen)) == -200.0
    channel(crate).offset = -10.0
    assert volts(scan(caen)) == Reading(-190.0, MINOR, Status.LOW)


def test_without_limits_there_are_no_alarms(start: Callable[..., Caen], crate: CrateFake) -> None:
    channel(crate).offset = -100.0
    channel(crate).resistance = 200 / 99e-6
    for alarms in (RelativeAlarms(), RelativeAlarms(voltage_v=Limits(minor=150.0))):
        driver = start(alarms)
        for _ in range(3):
            readings = scan(driver)
        assert volts(readings) == 100.0
        assert amps(readings) == 99.0


def test_either_limit_may_be_left_out(start: Callable[..., Caen], crate: CrateFake) -> None:
    driver = start(RelativeAlarms(voltage_v=Limits(major=50.0)))
    scan(driver)
    channel(crate).offset = 49.0
    assert volts(scan(driver)) == 249.0
    channel(crate).offset = 50.0
    assert volts(scan(driver)) == Reading(250.0, MAJOR, Status.HIHI)


# ---- two settings ----


def test_a_channel_that_may_obey_either_setting_is_judged_by_the_nearer(caen: Caen, crate: CrateFake) -> None:
    channel(crate, V1).values |= {"V1Set": 50.0, "I1Set": 10.0}
    scan(caen, "settings")
    scan(caen)
    scan(caen)
    channel(crate, V1).uses_second_set = True
    channel(crate, V1).volts = 50.0
    channel(crate, V1).resistance = 50 / 9e-6
    readings = scan(caen)
    assert (volts(readings, V1), amps(readings, V1)) == (50.0, 9.0)  # 9 of 10 uA, or 9 of 100
    channel(crate, V1).offset = 8.0
    assert volts(scan(caen), V1) == Reading(58.0, MINOR, Status.HIGH)


# ---- what is silent ----


def test_a_channel_that_is_off_is_silent(caen: Caen, crate: CrateFake) -> None:
    channel(crate).switch(False)
    channel(crate).volts = 0.0
    assert volts(scan(caen)) == 0.0
    assert volts(scan(caen)) == 0.0


def test_a_tripped_channel_is_silent(caen: Caen, rack: Rack) -> None:
    rack.command("HV1 trip 4 0")
    assert volts(scan(caen)) == 200.0
    assert amps(scan(caen)) == 2.0


def test_a_ramping_channel_is_silent_and_for_one_scan_more(caen: Caen, crate: CrateFake) -> None:
    channel(crate).volts = 100.0
    assert channel(crate).status() & 2
    assert volts(scan(caen)) == 100.0
    channel(crate).volts = 200.0
    channel(crate).offset = -50.0
    assert volts(scan(caen)) == 150.0
    assert volts(scan(caen)) == Reading(150.0, MAJOR, Status.LOLO)


def test_a_limit_of_zero_is_no_limit(caen: Caen, crate: CrateFake) -> None:
    channel(crate).values["I0Set"] = 0.0
    channel(crate).volts = channel(crate).values["V0Set"] = 0.0
    scan(caen, "settings")
    for _ in range(3):
        assert amps(scan(caen)) == 0.0


def test_a_channel_switched_off_after_its_status_was_read_is_silent(
    caen: Caen, crate: CrateFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def off() -> None:
        channel(crate).switch(False)
        channel(crate).volts = 0.0

    before(monkeypatch, "VMon", off)
    readings = scan(caen)
    assert volts(readings) == 0.0
    assert readings["S04:C00:Status:ON"] == 0  # what was found out on the way is told, too


def test_a_setting_changed_at_the_front_is_read_before_an_alarm_is_told(
    caen: Caen, crate: CrateFake, rack: Rack
) -> None:
    rack.command("HV1 front 4 0 V0Set 300")
    channel(crate).volts = 300.0  # the ramp was too quick to be seen
    readings = scan(caen)
    assert volts(readings) == 300.0
    assert readings["S04:C00:V0Set_RBV"] == 300.0
    channel(crate).offset = 10.0
    scan(caen)
    scan(caen)
    assert volts(scan(caen)) == Reading(310.0, MINOR, Status.HIGH)


def test_the_crate_is_asked_again_for_a_new_alarm_only(caen: Caen, crate: CrateFake) -> None:
    def asked() -> list[str]:
        lines = [line.split(maxsplit=1)[1] for line in crate.transactions]
        crate.transactions.clear()
        return [line for line in lines if line.startswith("GetChParam 4 [0] ")]

    channel(crate).offset = 10.0
    asked()
    scan(caen)
    assert asked() == ["GetChParam 4 [0] V0Set 200 -> 0", "GetChParam 4 [0] Status 1 -> 0"]
    scan(caen)
    assert asked() == []
    channel(crate).offset = 30.0  # it got worse
    scan(caen)
    assert len(asked()) == 2


def test_a_put_is_silent_until_the_status_shows_what_follows(caen: Caen, crate: CrateFake) -> None:
    setting = next(point for point in caen.points if point.name == "S04:C00:V0Set")
    scanning = blocks(caen.read("monitor"))
    seen: dict[str, Any] = {}
    while "S04:C00:Status" not in seen:
        seen |= next(scanning)
    merged(caen.write(setting, 300.0))
    for block in scanning:
        seen |= block
    assert volts(seen) == 200.0
    crate.writes = 0


def test_a_put_is_silent_while_the_crate_is_slow_to_show_what_follows(
    caen: Caen, crate: CrateFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = next(point for point in caen.points if point.name == "S04:C00:V0Set")
    monkeypatch.setattr(Channel, "status", lambda self: 1)
    scanning = blocks(caen.read("monitor"))
    seen: dict[str, Any] = {}
    while "S04:C00:Status" not in seen:
        seen |= next(scanning)
    merged(caen.write(setting, 300.0))
    for block in scanning:
        seen |= block
    assert volts(seen) == 200.0
    assert volts(scan(caen)) == 200.0
    assert volts(scan(caen)) == Reading(200.0, MAJOR, Status.LOLO)
    crate.writes = 0


def failing(code: str = "READERR") -> None:
    from caen_libs import caenhvwrapper as hv

    raise hv.Error("the crate's own words", hv.Error.Code[code].value, "CAENHV_GetChParam")


def test_a_status_that_cannot_be_read_makes_it_silent(
    caen: Caen, crate: CrateFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel(crate).offset = 10.0
    with monkeypatch.context() as patch:
        before(patch, "Status", failing)
        for _ in range(3):
            assert volts(scan(caen)) == 210.0
    while not isinstance(scan(caen)["S04:C00:Status"].value, int):
        pass
    assert volts(scan(caen)) == Reading(210.0, MINOR, Status.HIGH)


def test_a_second_setting_that_cannot_be_read_makes_it_silent(
    start: Callable[..., Caen], crate: CrateFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel(crate, V1).offset = 10.0
    with monkeypatch.context() as patch:
        before(patch, "V1Set", failing)
        driver = start()
        for _ in range(3):
            assert volts(scan(driver), V1) == 210.0
    for _ in range(8):
        scan(driver, "settings")
    assert volts(scan(driver), V1) == Reading(210.0, MINOR, Status.HIGH)


def test_a_setting_that_cannot_be_read_makes_it_silent(
    caen: Caen, crate: CrateFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        before(patch, "V0Set", failing)
        channel(crate).offset = 10.0
        for _ in range(3):
            assert volts(scan(caen)) == 210.0
        scan(caen, "settings")
        assert volts(scan(caen)) == 210.0
    for _ in range(4):
        scan(caen, "settings")
    assert volts(scan(caen)) == Reading(210.0, MINOR, Status.HIGH)


@pytest.mark.parametrize("code", ["READERR", "TIMEERR"])
@pytest.mark.parametrize("name", ["V0Set", "I0Set"])
def test_one_lost_answer_on_the_way_to_an_alarm_delays_it_by_a_scan_and_costs_nothing_else(
    caen: Caen, crate: CrateFake, monkeypatch: pytest.MonkeyPatch, name: str, code: str
) -> None:
    channel(crate).offset = 10.0
    channel(crate).resistance = 210 / 90e-6
    lost: list[str] = []

    def lose() -> None:
        if not lost:
            lost.append(name)
            failing(code)

    before(monkeypatch, name, lose)
    late, other = (volts, amps) if name == "V0Set" else (amps, volts)
    seen = scan(caen)
    assert lost
    assert isinstance(late(seen), float)  # what was measured is told
    assert other(seen).severity is MINOR
    invalid = (reading for reading in seen.values() if isinstance(reading, Reading))
    assert not [reading for reading in invalid if reading.severity is Severity.INVALID]
    assert late(scan(caen)).severity is MINOR


@pytest.mark.parametrize("name", ["V0Set", "I0Set"])
def test_a_setting_that_times_out_on_the_way_to_an_alarm_leaves_what_was_measured_valid(
    caen: Caen, crate: CrateFake, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    channel(crate).offset = 10.0
    channel(crate).resistance = 210 / 90e-6
    before(monkeypatch, name, lambda: failing("TIMEERR"))
    for _ in range(3):
        seen = scan(caen)
        measured = {"V0Set": volts, "I0Set": amps}
        assert isinstance(measured.pop(name)(seen), float)
        (other,) = measured.values()
        assert other(seen).severity is MINOR


@pytest.mark.parametrize(("offset", "load", "lost"), [(10.0, 1e8, "V"), (0.0, 210 / 90e-6, "I")])
def test_a_step_waits_for_one_lost_answer_at_most_on_the_way_to_an_alarm(
    caen: Caen, crate: CrateFake, monkeypatch: pytest.MonkeyPatch, offset: float, load: float, lost: str
) -> None:
    """A step of two time-outs takes longer than a call may, and is told as a crate that hangs."""
    from caen_libs import caenhvwrapper as hv

    channel(crate, V1).values |= {"V1Set": 200.0, "I1Set": 1.0}
    for group in ("settings", *["monitor"] * 5):  # with all questions that a setting which moved raises
        scan(caen, group)
    channel(crate, V1).offset, channel(crate, V1).resistance = offset, load
    read = hv.Device.get_ch_param
    failed: list[str] = []

    def failing_settings(self: Any, slot: int, channels: Sequence[int], parameter: str) -> Any:
        if slot == V1[0] and parameter in {f"{lost}0Set", f"{lost}1Set"}:
            failed.append(parameter)
            failing("TIMEERR")
        return read(self, slot, channels, parameter)

    monkeypatch.setattr(hv.Device, "get_ch_param", failing_settings)
    most = 0
    for _ in blocks(caen.read("monitor")):
        most = max(most, len(failed))
        failed.clear()
    assert most == 1


def test_a_range_that_moves_on_the_way_to_an_alarm_makes_no_wrong_setting(
    caen: Caen, crate: CrateFake, rack: Rack, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel(crate).resistance = 200 / 90e-6
    moved: list[str] = []

    def move() -> None:
        if not moved:
            moved.append(rack.command("HV1 front 4 0 IMRange 1"))

    before(monkeypatch, "I0Set", move)
    told = [block["S04:C00:I0Set_RBV"] for block in blocks(caen.read("monitor")) if "S04:C00:I0Set_RBV" in block]
    assert moved
    assert told
    assert all(isinstance(each, Reading) and each.severity is Severity.INVALID for each in told)  # nA by now


@pytest.mark.parametrize("name", ["V0Set", "I0Set"])
def test_a_board_that_goes_while_the_crate_is_asked_again_is_invalid(
    caen: Caen, crate: CrateFake, rack: Rack, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    channel(crate).offset = 10.0 if name == "V0Set" else 0.0
    channel(crate).resistance = 200 / 90e-6
    pulled: list[str] = []

    def pull() -> None:
        if not pulled:
            pulled.append(rack.command("HV1 pull 4"))

    before(monkeypatch, name, pull)
    readings = scan(caen)
    assert pulled
    gone = Reading(None, Severity.INVALID, Status.COMM, message="the board is gone")
    assert volts(readings) == readings["S04:VMon:Array"] == gone


def test_after_a_reconnect_nothing_is_judged_by_what_was(caen: Caen, crate: CrateFake) -> None:
    channel(crate).offset = 10.0
    caen.connect()
    for _ in range(3):
        assert volts(scan(caen)) == 210.0
    scan(caen, "settings")
    assert volts(scan(caen)) == Reading(210.0, MINOR, Status.HIGH)


# ---- configuration ----


@pytest.mark.parametrize(
    ("alarms", "path", "words"),
    [
        (
            RelativeAlarms(voltage_v=Limits(minor=0.0)),
            "voltage_v.minor",
            "is 0; it must be a number of volts",
        ),
        (RelativeAlarms(voltage_v=Limits(major=float("inf"))), "voltage_v.major", "must be a number of volts"),
        (
            RelativeAlarms(voltage_v=Limits(minor=5.0, major=4.0)),
            "voltage_v.minor",
            "is 5; it must not be above major, which is 4",
        ),
        (RelativeAlarms(current_ratio=Limits(major=80.0)), "current_ratio.major", "must be a part of I0Set: above 0"),
    ],
)
def test_limits_that_make_no_sense_are_faults(alarms: RelativeAlarms, path: str, words: str) -> None:
    ((where, sentence),) = Config(**KEYS, relative_alarms=alarms).faults()
    assert ".".join(where) == f"relative_alarms.{path}"
    assert words in sentence


def test_good_limits_are_no_fault() -> None:
    assert list(Config(**KEYS, relative_alarms=ALARMS).faults()) == []


def test_the_configuration_file_takes_them(tmp_path: Any) -> None:
    from rackioc.config.config import ConfigError
    from rackioc.config.load import load

    path = tmp_path / "rack.yaml"
    text = """\
prefix: "LAB:"
instruments:
  HV1:
    driver: caen
    system: SY4527
    link: TCPIP
    host: crate
    relative_alarms:
      voltage_v: {minor: 5, major: 20}
      current_ratio: {major: 0.95}
"""
    path.write_text(text)
    driver = load(path).instruments[0].driver
    assert isinstance(driver, Caen)
    assert driver._config.relative_alarms == RelativeAlarms(
        voltage_v=Limits(minor=5, major=20), current_ratio=Limits(major=0.95)
    )
    path.write_text(text.replace("major: 0.95", "major: 95").replace("minor: 5", "mayor: 5"))
    with pytest.raises(ConfigError) as refusal:
        load(path)
    assert "mayor: unknown key; allowed: minor, major" in str(refusal.value)
    path.write_text(text.replace("major: 0.95", "major: 95"))
    with pytest.raises(ConfigError, match=r":10: instruments.HV1.relative_alarms.current_ratio.major: is 95"):
        load(path)
