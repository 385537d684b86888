"""The configuration file: what is read, and a sentence with file, line and key for everything that is wrong."""

from __future__ import annotations

import re
import sys
import textwrap
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar, Protocol

import pytest

import drivers
from archiver.settings import Policy, SpoolSettings, ThinSettings
from drivers.base import Driver, DriverConfig, Point, RecordType, Severity
from ioc.fields import FIELDS
from rackioc import banner
from rackioc.config.config import ConfigError
from rackioc.config.load import load

GOOD = """\
    prefix: "LAB:"
    instruments:
      HV1:
        driver: caen
        system: SY1527
        link: TCPIP
        host: 192.168.20.51
        username: admin
        password: ${CAEN_PASSWORD}
        channels: {4: ALL, 8: [1, 2, 3]}
      TC1:
        driver: se521
        serial: "A1234"
      GEN:
        driver: technix
        port: /dev/ttyUSB0
        full_scale: {voltage_kv: 100, current_ma: 50}
        limits: {voltage_kv: 60, current_ma: 20}
        polarity: negative
        scan: {status: 0.5}
    records:
      "LAB:HV1:S04:C*:IMon": {HIGH: 5, HSV: MINOR, HIHI: 10, HHSV: MAJOR, HYST: 0.1, MDEL: 0.01, ADEL: 0.05}
    archive:
      database: sqlite:///rack.sqlite
      pvs: ["LAB:*", "OTHER:VACUUM"]
      policies:
        "LAB:*": {deadband: 1%, keep_alive: 1h}
        "LAB:HV1:S0[48]:C*:?Mon": {scan: 60s, keep: 90d, thin: {after: 7d, to: 60s}}
        "OTHER:*": {min_period: 0.5}
      spool: {limit: 2GB, floor: 500MB}
      measurements: {instrument: HV1, channels: {4: ALL, 8: [1, 2]}, interval: 60s, time: utc}
      temperatures: {instrument: TC1, readings: 20, columns: [t, a, b, c, d]}
"""


@dataclass(frozen=True, kw_only=True)
class GaugeConfig(DriverConfig):
    """No keys of its own."""


class Gauge(Driver):
    """A driver without an example, which no file knows but its own."""

    Config = GaugeConfig
    scan: ClassVar = {"pressure": 1.0}
    tables = frozenset({"temperatures"})

    def __init__(self, _: GaugeConfig) -> None:
        self.points = (Point(name="P", rtyp=RecordType.ai, group="pressure"),)

    connect = read = write = close = None  # type: ignore[assignment]


class Write(Protocol):
    """Write a configuration file."""

    def __call__(self, text: str, *replacements: tuple[str, str]) -> Path:
        """Return the path; ``replacements`` are made in the text."""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.setenv("CAEN_PASSWORD", "geheim42")

    def write(text: str, *replacements: tuple[str, str]) -> Path:
        text = textwrap.dedent(text)
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "rack.yaml"
        path.write_text(text)
        return path

    return write


def faults(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load(path)
    lines = str(error.value).splitlines()
    assert all(line.startswith(f"{path}:") for line in lines)
    return [line.removeprefix(f"{path}:") for line in lines]


def key_of(fault: str) -> str:
    found = re.match(r"\d+: ([^ ]+): ", fault)
    assert found is not None, fault
    return found[1]


def test_the_configuration_of_the_contract_is_good(write: Write) -> None:
    config = load(write(GOOD))
    assert config.prefix == "LAB:"
    assert [each.name for each in config.instruments] == ["HV1", "TC1", "GEN"]
    assert config.instruments[2].periods == {"status": 0.5}
    assert config.archive is not None
    assert config.archive.pvs == ("LAB:*", "OTHER:VACUUM")
    assert config.archive.policy("LAB:HV1:S08:C01:VMon").thin == ThinSettings(after="7d", to="60s")
    assert config.archive.policy("LAB:HV1:S08:C01:VMon").deadband == "1%"
    assert config.archive.measurements is not None
    assert config.archive.measurements.channels == {4: "ALL", 8: (1, 2)}
    assert config.archive.temperatures is not None
    assert config.archive.temperatures.columns == ("t", "a", "b", "c", "d")


def test_records_that_show_a_pending_off_can_be_named(write: Write) -> None:
    pattern = "  LAB:GEN:HV:OffPending: {OSV: MINOR}\n"
    load(write(GOOD, ("records:\n", f"records:\n{pattern}")))


def test_a_record_whose_name_has_brackets_can_be_named(write: Write) -> None:
    named = '  "LAB:TC[1]:T1": {HIHI: 60}\n'
    config = load(write(GOOD.replace("TC1", '"TC[1]"'), ("records:\n", f"records:\n{named}")))
    applied = config.site.apply("LAB:TC[1]:T1", Point(name="T1", rtyp=RecordType.ai))
    assert applied.point.hihi == 60.0


def test_off_needs_no_quotes_for_an_output_above_its_limit(write: Write) -> None:
    keys = "polarity: negative, over_limit: off, on_loss: keep".replace(", ", "\n    ")
    load(write(GOOD, ("polarity: negative", keys)))


def test_an_archive_needs_no_more_than_a_database_and_pvs(write: Write) -> None:
    text = textwrap.dedent(GOOD).split("  policies:")[0]
    archive = load(write(text)).archive
    assert archive is not None
    assert archive.policy("LAB:TC1:T1") == Policy()
    assert (archive.spool.limit, archive.measurements) == (SpoolSettings().limit, None)


@pytest.mark.parametrize(
    "line",
    [
        'database: ["mysql+pymysql://lab:geheim42@db1,db2/rack"]',
        "database: {url: 'mysql://lab:geh@im42:geheim42/x@db/rack'}",
        "database: oracle://lab:geheim42@db/rack",
        "database: mysql://lab:geheim42@db",
        "database: mysql://lab:${CAEN_PASSWORD}@db",
        "database: sqlite:///x\n  url: mysql://lab:geheim42@db/rack",
        "database: sqlite:///x\n  spool: mysql://lab:geheim42@db/rack",
        "mysql://lab:geheim42@db/rack",
    ],
)
def test_the_password_of_a_database_is_in_no_fault(write: Write, line: str) -> None:
    found = faults(write(GOOD.split("    archive:", maxsplit=1)[0] + f"    archive:\n      {line}\n"))
    assert found
    assert not [fault for fault in found if "geheim42" in fault or "im42" in fault], found


def test_the_password_of_a_database_is_not_in_the_configuration_as_shown(write: Write) -> None:
    url = "mysql+pymysql://lab:${CAEN_PASSWORD}@db1,db2/rack"
    config = load(write(GOOD, ("sqlite:///rack.sqlite", url)))
    assert config.archive is not None
    assert "geheim42" in config.archive.database
    assert "geheim42" not in repr(config)


@pytest.mark.parametrize("name", ["OTHER:VACUUM ", " OTHER:VACUUM", r"OTHER:VACUUM\t", ""])
def test_a_pv_with_space_around_its_name_is_told(write: Write, name: str) -> None:
    """A server takes two names for one that differ in the space at their end; then it would store nothing."""
    found = faults(write(GOOD, ('"OTHER:VACUUM"', f'"{name}"')))
    assert any("is not the name of a PV: leave out the space around it" in fault for fault in found)


def test_the_archivers_own_pvs_are_there_with_an_archive_alone(write: Write) -> None:
    load(write(GOOD, ('LAB:HV1:S04:C*:IMon": {HIGH: 5', 'LAB:ARCH:Lag": {HIGH: 5')))
    without = textwrap.dedent(GOOD).split("archive:")[0]
    found = faults(write(without, ("LAB:HV1:S04:C*:IMon", "LAB:ARCH:Lag")))
    assert any("matches no PV" in fault for fault in found)
    load(write(without, ("TC1:", "ARCH:")))
    assert any("is taken by the archiver's own records" in fault for fault in faults(write(GOOD, ("TC1:", "ARCH:"))))
    found = [fault for fault in faults(write(GOOD, ("TC1:", "IOC:"))) if "record" in fault]
    assert len(found) == 1, "no fault for each of its records besides"


def test_a_password_comes_from_the_environment_and_shows_nowhere(write: Write) -> None:
    config = load(write(GOOD))
    assert config.raw["HV1"]["password"] == "geheim42"
    assert "geheim42" not in repr(config)
    assert "geheim42" not in repr(config.instruments[0].driver.__dict__)


def test_a_number_may_come_from_the_environment(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMIT", "45.5")
    config = load(write(GOOD, ("{voltage_kv: 60,", "{voltage_kv: '${LIMIT}',")))
    point = next(p for p in config.instruments[2].driver.points if p.name == "VSet")
    assert point.drvh == 45.5


@pytest.mark.parametrize("text", ["[1, 2]", "{a: 1}", "one"])
def test_what_comes_from_the_environment_and_is_no_number_is_a_fault(
    write: Write, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("LIMIT", text)
    with pytest.raises(ConfigError, match=r"limits\.voltage_kv: .*must be a number"):
        load(write(GOOD, ("{voltage_kv: 60,", "{voltage_kv: '${LIMIT}',")))


@pytest.mark.parametrize("password", ["12345", "yes", "1e5", "null"])
def test_a_password_from_the_environment_is_always_a_text(
    write: Write, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    monkeypatch.setenv("CAEN_PASSWORD", password)
    assert load(write(GOOD)).raw["HV1"]["password"] == password


# (what is replaced, by what, line, key, words of the sentence)
WRONG = [
    ("driver: caen", "driver: lecroy", 4, "instruments.HV1.driver", "'lecroy' is not a driver; allowed: caen, "),
    ("driver: caen", "drover: caen", 3, "instruments.HV1.driver", "is missing; allowed: caen"),
    ("system: SY1527", "system: SY9999", 5, "instruments.HV1.system", '"SY9999" must be one of \'SY1527\''),
    ("link: TCPIP", "link: FAX", 6, "instruments.HV1.link", "must be one of 'TCPIP'"),
    ("host: 192.168.20.51", "hots: 1", 7, "instruments.HV1.hots", "unknown key; allowed: driver, scan, system, link"),
    ("host: 192.168.20.51", "host: [5]", 7, "instruments.HV1.host", "[5] must be a text"),
    ("host: 192.168.20.51", "host: null", 7, "instruments.HV1.host", "null must be a text"),
    ("host: 192.168.20.51", "", 3, "instruments.HV1.host", "is missing"),
    ("channels: {4: ALL, 8: [1, 2, 3]}", "channels:", 10, "instruments.HV1.channels", "has no value; write one, or"),
    ("password: ${CAEN_PASSWORD}", "password: {}", 9, "instruments.HV1.password", "must be a text"),
    ("${CAEN_PASSWORD}", "${NO_SUCH_VARIABLE}", 9, "instruments.HV1.password", "NO_SUCH_VARIABLE is not set"),
    ("{4: ALL,", "{four: ALL,", 10, "instruments.HV1.channels.four", "must be a whole number"),
    ("8: [1, 2, 3]", "8: [one]", 10, "instruments.HV1.channels.8.0", "must be a whole"),
    ("voltage_kv: 100", "voltage_kv: 1e-320", 17, "instruments.GEN.full_scale.voltage_kv", "from 1e-09 to 1e+09"),
    ("voltage_kv: 100", "voltage_kv: 1e+308", 17, "instruments.GEN.full_scale.voltage_kv", "from 1e-09 to 1e+09"),
    ("port: /dev/ttyUSB0", r'port: "/dev/tty\0"', 16, "instruments.GEN.port", "a character that cannot be printed"),
    ("port: /dev/ttyUSB0", "port: socket://h:1?logging", 16, "instruments.GEN.port", "logging= pyserial does not"),
    ("port: /dev/ttyUSB0", "port: rfc2217://h:1?logging=on", 16, "instruments.GEN.port", "logging=on pyserial does"),
    ("voltage_kv: 60", "voltage_kv: 120", 18, "instruments.GEN.limits.voltage_kv", "above the full scale of 100"),
    ("voltage_kv: 60", "voltage_kv: high", 18, "instruments.GEN.limits.voltage_kv", '"high" must be a number'),
    ("voltage_kv: 60", "voltage_kv: true", 18, "instruments.GEN.limits.voltage_kv", "true must be a number"),
    ("polarity: negative", "over_limit: on", 19, "instruments.GEN.over_limit", "alarm"),
    ("limits: {voltage_kv: 60, current_ma: 20}", "over_limit: off", 18, "instruments.GEN.over_limit", "is off, but"),
    (
        "{voltage_kv: 60, current_ma: 20}",
        "{voltage_kv: 100}\n    over_limit: off",
        19,
        "instruments.GEN.over_limit",
        "is off, but no key of limits is below full_scale: HV would never be switched off",
    ),
    ("polarity: negative", "on_loss: hold", 19, "instruments.GEN.on_loss", "trip"),
    ("voltage_kv: 60", "voltage_kw: 60", 18, "instruments.GEN.limits.voltage_kw", "allowed: voltage_kv, current_ma"),
    ("polarity: negative", "polarity: left", 19, "instruments.GEN.polarity", "'positive', 'negative'"),
    ('serial: "A1234"', "scan: {temperatures: 0}", 13, "instruments.TC1.scan.temperatures", "from 0.02 s on"),
    ("{status: 0.5}", "{status: 7}", 20, "instruments.GEN.scan.status", "7 s is not a period"),
    ("{status: 0.5}", "{status: 7, fast: 1}", 20, "instruments.GEN.scan.status", "7 s is not a period"),
    ("{status: 0.5}", "{fast: 0.5}", 20, "instruments.GEN.scan.fast", "unknown scan group; allowed: status"),
    ("HSV: MINOR", "HSV: LOUD", 22, "records.LAB:HV1:S04:C*:IMon.HSV", "allowed: NO_ALARM, MINOR, MAJOR, INVALID"),
    ("HYST: 0.1", "HYSTERESIS: 0.1", 22, "records.LAB:HV1:S04:C*:IMon.HYSTERESIS", "unknown record field; allowed"),
    ("HIGH: 5", "HIGH: five", 22, "records.LAB:HV1:S04:C*:IMon.HIGH", "'five' is not a number"),
    ("LAB:HV1:S04:C*:IMon", "LAB:HV2:S04:C*:IMon", 22, "records.LAB:HV2:S04:C*:IMon", "matches no PV"),
    ("LAB:HV1:S04:C*:IMon", "LAB:GEN:VMonn", 22, "records.LAB:GEN:VMonn", "matches no PV"),
    ("LAB:HV1:S04:C*:IMon", "LAB:GEN:HV", 22, "records.LAB:GEN:HV.HIGH", "a record of type bo has no such field"),
    ("LAB:HV1:S04:C*:IMon", "LAB:HV1:Conn", 22, "records.LAB:HV1:Conn.HIGH", "a record of type mbbi has no"),
    ("HIGH: 5", "HIGH: 5 parsec", 22, "records.LAB:HV1:S04:C*:IMon.HIGH", "'parsec' is not a unit that is known"),
    ("HIGH: 5", "MDEL: 5 uAA", 22, "records.LAB:HV1:S04:C*:IMon.MDEL", "'uAA' is not a unit that is known"),
    ("HIGH: 5", "DESC: 5, HIGH: 1e999 V", 22, "records.LAB:HV1:S04:C*:IMon.HIGH", "'1e999 V' is not a number"),
    ("HIGH: 5", r'DESC: "two\nlines"', 22, "records.LAB:HV1:S04:C*:IMon.DESC", "not a text of at most 40 printable"),
    ("LAB:HV1:S04:C*:IMon\": {HIGH: 5", "LAB:GEN:*Mon\": {HIGH: 5 mA", 22, "records.LAB:GEN:*Mon.HIGH",
        "5 mA cannot be converted: LAB:GEN:VMon is in kV"),
    ("LAB:HV1:S04:C*:IMon\": {HIGH: 5", "LAB:GEN:VMon\": {EGU: V", 22, "records.LAB:GEN:VMon.EGU", "V would be"),
    ("LAB:HV1:S04:C*:IMon\": {HIGH: 5", "LAB:GEN:VSet\": {DRVH: 61000 V", 22, "records.LAB:GEN:VSet.DRVH", "of 60"),
    ("LAB:*", "LAP:*", 25, "archive.pvs.0", "matches no PV"),
    ("sqlite:///rack.sqlite", "rack.sqlite", 24, "archive.database", "not a database URL; allowed: sqlite:///FILE"),
    ("sqlite:///rack.sqlite", "sqlite://", 24, "archive.database", "names no file"),
    ("LAB:HV1:S04:C*:IMon\": {HIGH: 5", "LAB:GEN:VSet\": {DRVH: 61", 22, "records.LAB:GEN:VSet.DRVH", "limit of 60"),
    ("sqlite:///rack.sqlite", "oracle://x/y", 24, "archive.database", "oracle is not known"),
    ("database: sqlite:///rack.sqlite", "", 23, "archive.database", "is missing"),
    ("pvs: [", "pvs: [[5], ", 25, "archive.pvs.0", "[5] must be a text"),
    ('pvs: ["LAB:*", "OTHER:VACUUM"]', "pvs: all", 25, "archive.pvs", '"all" must be a list'),
    ("policies:", "policys:", 26, "archive.policys", "allowed: database, pvs, name, policies, spool, measurements,"),
    ("deadband: 1%", "deadbnad: 1%", 27, "archive.policies.LAB:*.deadbnad", "allowed: scan, deadband, min_period"),
    ("deadband: 1%", "deadband: wide", 27, "archive.policies.LAB:*.deadband", "write 0.5 (in the PV's unit), 2%"),
    ("deadband: 1%", "deadband: true", 27, "archive.policies.LAB:*.deadband", "'true' is not a deadband"),
    ("scan: 60s", "scan: 60 parsecs", 28, "archive.policies.LAB:HV1:S0[48]:C*:?Mon.scan", "not a duration: write"),
    ("scan: 60s", "scan: [60]", 28, "archive.policies.LAB:HV1:S0[48]:C*:?Mon.scan", "[60] must be a text or a num"),
    ("scan: 60s", "scan: 0", 28, "archive.policies.LAB:HV1:S0[48]:C*:?Mon.scan", "must be more than 0"),
    ("to: 60s", "till: 60s", 28, "archive.policies.LAB:HV1:S0[48]:C*:?Mon.thin.till", "unknown key; allowed: after"),
    ("to: 60s", "", 28, "archive.policies.LAB:HV1:S0[48]:C*:?Mon.thin.to", "is missing"),
    ("to: 60s", "to: soon", 28, "archive.policies.LAB:HV1:S0[48]:C*:?Mon.thin.to", "'soon' is not a duration"),
    ("thin: {after: 7d, to: 60s}", "thin: 7d", 28, "archive.policies.LAB:HV1:S0[48]:C*:?Mon.thin", "must be a mapp"),
    ("HV1:S0[48]:C*", "GEN:S0[48]*", 28, "archive.policies.LAB:GEN:S0[48]*:?Mon", "matches no PV"),
    ("OTHER:*", "ANOTHER:*", 29, "archive.policies.ANOTHER:*", "matches no PV"),
    ("{min_period: 0.5}", "often", 29, "archive.policies.OTHER:*", '"often" must be a mapping'),
    ("limit: 2GB", "limit: 2 elephants", 30, "archive.spool.limit", "not a size: write 500MB or 2GB"),
    ("limit: 2GB", "limits: 2GB", 30, "archive.spool.limits", "unknown key; allowed: file, limit, floor"),
    ("limit: 2GB", "file: /", 30, "archive.spool.file", "is not the name of a file"),
    ("instrument: HV1", "instrument: TC1", 31, "archive.measurements.instrument", "with driver caen; allowed: HV1"),
    ("driver: caen", "driver: se521", 31, "archive.measurements.instrument", "with driver caen; there is none"),
    ("{4: ALL, 8: [1, 2]}", "{5: ALL}", 31, "archive.measurements.channels.5", "HV1 does not serve the slot"),
    ("{4: ALL, 8: [1, 2]}", "{4: [99], 8: [1, 4]}", 31, "archive.measurements.channels.8", "be no row of [4]: "),
    ("{4: ALL, 8: [1, 2]}", "{4: SOME}", 31, "archive.measurements.channels.4", "must be 'ALL' or a list"),
    ("{4: ALL, 8: [1, 2]}", "{four: ALL}", 31, "archive.measurements.channels.four", "must be a whole number"),
    ("{4: ALL, 8: [1, 2]}", "{8: [one]}", 31, "archive.measurements.channels.8.0", "must be a whole number"),
    ("time: utc", "time: mean", 31, "archive.measurements.time", "must be one of 'local', 'utc'"),
    ("instrument: TC1", "instrument: GEN", 32, "archive.temperatures.instrument", "driver se521; allowed: TC1"),
    ("readings: 20", "readings: 61", 32, "archive.temperatures.readings", "61 readings 1s apart do not fit"),
    ("[t, a, b, c, d]", "[t, a]", 32, "archive.temperatures.columns.2", "is missing"),
    ("[t, a, b, c, d]", "[t, a, b, c, d, e]", 32, "archive.temperatures.columns", "has too many entries"),
    ("HIGH: 5", "hihi: 5", 22, "records.LAB:HV1:S04:C*:IMon.hihi", "unknown record field; did you mean HIHI? a"),
    ("HIGH: 5", "High: 5", 22, "records.LAB:HV1:S04:C*:IMon.High", "did you mean HIGH? "),
    ("HIGH: 5", "ASG: ro", 22, "records.LAB:HV1:S04:C*:IMon.ASG", "there is no access security"),
    ("HIGH: 5", "SCAN: 1 second", 22, "records.LAB:HV1:S04:C*:IMon.SCAN", "by scan: of its instrument"),
    ("keep: 90d", "keep: 3d", 28, "archive.policies.LAB:HV1:S0[48]:C*:?Mon.thin.after", "rows are kept for 3d"),
    ("keep: 90d", "keep: 168h", 28, "archive.policies.LAB:HV1:S0[48]:C*:?Mon.thin.after", "before they are 7d old"),
    ("HYST: 0.1", "HYST: -1", 22, "records.LAB:HV1:S04:C*:IMon.HYST", "-1 is below 0"),
    ("HYST: 0.1", "HYST: -1 uA", 22, "records.LAB:HV1:S04:C*:IMon.HYST", "-1 is below 0"),
    ("HIGH: 5", "HIGH: 50", 22, "records.LAB:HV1:S04:C*:IMon.HIGH", "HIGH 50.0 is above HIHI 10.0"),
    ("HIGH: 5", "LOW: 0.1 mA, HIGH: 5 uA", 22, "records.LAB:HV1:S04:C*:IMon.LOW", "LOW 0.1 mA is above HIGH 5 uA"),
    ('LAB:HV1:S04:C*:IMon": {HIGH: 5', 'LAB:GEN:VMon": {LOW: 6 kV}\n  "LAB:GEN:V*": {HIGH: 5', 22,
        "records.LAB:GEN:VMon.LOW", "LOW 6 is above HIGH 5 kV"),
    ('LAB:HV1:S04:C*:IMon": {HIGH: 5', 'LAB:GEN:VSet": {LOPR: 70, HOPR: 7, HIGH: 5', 22, "records.LAB:GEN:VSet.LOPR",
        "LOPR 70 is above HOPR 7 kV"),
    ("TC1:", '"":', 11, "instruments.", "is empty"),
    ('"LAB:"', '""', 1, "prefix", "is empty"),
    ("pvs: [", 'pvs: ["", ', 25, "archive.pvs.0", "is empty"),
    ('"OTHER:*":', '"":', 29, "archive.policies.", "is empty"),
    ("time: utc", 'table: ""', 31, "archive.measurements.table", "is empty"),
    ("[t, a, b,", "[t, a, A,", 32, "archive.temperatures.columns.2", "'A' is there already"),
    ("[t, a, b,", "[t, a, t,", 32, "archive.temperatures.columns.2", "'t' is there already"),
    ("readings: 20", "table: Sample", 32, "archive.temperatures.table", "is 'Sample', one of the archive's"),
    ("readings: 20", "table: Measurements", 32, "archive.temperatures.table", "is that of measurements, too"),
    ("[t, a,", '[t, "",', 32, "archive.temperatures.columns.1", "is empty"),
    ("archive:", 'site_file: ""\narchive:', 23, "site_file", "is empty"),
    ("archive:", 'state_directory: ""\narchive:', 23, "state_directory", "is empty"),
    ("TC1:", "HV1:", 11, "instruments.HV1", "is there twice (first in line 3)"),
    ("TC1:", "IOC:", 11, "instruments.IOC", "is taken by the IOC's own records"),
    ("TC1:", "T C1:", 11, "instruments.T C1", "character"),
    ('"LAB:"', "[5]", 1, "prefix", "[5] must be a text"),
    ("{4: ALL,", "{04: ALL,", 10, "instruments.HV1.channels.04", '"04" must be a whole number'),
    ("{4: ALL,", "{0x4: ALL,", 10, "instruments.HV1.channels.0x4", '"0x4" must be a whole number'),
    ("{4: ALL,", "{'8': ALL,", 10, "instruments.HV1.channels.8", "is there twice (first in line 10)"),
    ("{status: 0.5}", "{status: .inf}", 20, "instruments.GEN.scan.status", "Infinity must be a number of seconds"),
    ('"LAB:"', '"' + "LONG" * 12 + ':"', 3, "instruments.HV1", "allowed are 60"),
    ("archive:", "archiv:", 23, "archiv", "unknown key; allowed: prefix, instruments, records, state_directory,"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "key", "words"), WRONG, ids=[f"{w[3]}={w[1]}"[:60] for w in WRONG])
def test_a_fault_is_told_with_line_key_and_what_is_allowed(
    write: Write, old: str, new: str, line: int, key: str, words: str
) -> None:
    found = faults(write(GOOD, (old, new)))
    assert any(fault.startswith(f"{line}: {key}: ") and words in fault for fault in found), found


def test_an_unknown_field_is_told_with_those_that_the_record_has(write: Write) -> None:
    (found,) = faults(write(GOOD, ('LAB:HV1:S04:C*:IMon": {HIGH: 5', 'LAB:GEN:VMon": {ZNAM2: x, HIGH: 5')))
    assert "unknown record field" in found
    assert " HIHI," in found
    assert "ZNAM," not in found


def test_rows_that_one_policy_thins_may_be_kept_for_less_by_another(write: Write) -> None:
    archive = load(write(GOOD, ("deadband: 1%", "keep: 1d"), ("keep: 90d, ", ""))).archive
    assert archive is not None
    assert archive.policy("LAB:HV1:S08:C01:VMon").keep == "1d"


def test_a_fault_causes_no_complaints_that_only_follow_from_it(write: Write) -> None:
    assert len(faults(write(GOOD, ("voltage_kv: 60", "voltage_kv: 120")))) == 1
    assert len(faults(write(GOOD, ("driver: caen", "driver: lecroy")))) == 1
    assert len(faults(write(GOOD, ('"OTHER:VACUUM"', '"OTHER:VACUUM", [5]')))) == 1


CRATE = "{driver: caen, system: SY4527, link: TCPIP, host: HOST, username: admin, password: admin}"
LINE = "{driver: technix, port: PORT, full_scale: {voltage_kv: 1, current_ma: 1}}"


@pytest.mark.parametrize(
    ("one", "other", "key"),
    [
        (CRATE, CRATE, "host"),
        (CRATE, CRATE.replace("HOST", "host"), "host"),
        (LINE, LINE, "port"),
        (LINE, LINE.replace("PORT", "./PORT"), "port"),
        (LINE, LINE.replace("PORT", "LINK"), "port"),
        (LINE.replace("PORT", "socket://Moxa:4001"), LINE.replace("PORT", "socket://moxa:4001/"), "port"),
        (LINE.replace("PORT", "socket://moxa:4001"), LINE.replace("PORT", "rfc2217://moxa:4001"), "port"),
        ("{driver: se521}", "{driver: se521}", "driver"),
        ("{driver: se521, serial: A}", "{driver: se521, mean: 3, serial: A}", "serial"),
        ("{driver: se521, usb_port: 1-2}", "{driver: se521, usb_port: 1-2}", "usb_port"),
    ],
)
def test_one_instrument_under_two_names_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one: str, other: str, key: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "LINK").symlink_to("PORT")
    path = tmp_path / "rack.yaml"
    path.write_text(f"prefix: 'A:'\ninstruments:\n  X: {one}\n  Y: {other}\n")
    (fault,) = faults(path)
    assert fault.startswith(f"4: instruments.Y.{key}: ")
    assert "is that of X already" in fault


@pytest.mark.parametrize(
    ("one", "other", "key"),
    [
        ("{driver: se521, serial: A}", "{driver: se521}", "driver"),
        ("{driver: se521}", "{driver: se521, usb_port: 1-2}", "usb_port"),
        ("{driver: se521, serial: A, bus: 1}", "{driver: se521, bus: 1}", "bus"),
        ("{driver: se521, usb_port: 1-2}", "{driver: se521, bus: 1}", "bus"),
    ],
)
def test_a_logger_that_might_be_taken_for_another_is_a_fault(tmp_path: Path, one: str, other: str, key: str) -> None:
    path = tmp_path / "rack.yaml"
    path.write_text(f"prefix: 'A:'\ninstruments:\n  X: {one}\n  Y: {other}\n")
    (fault,) = faults(path)
    assert fault.startswith(f"4: instruments.Y.{key}: SE521")
    assert "may be that of X" in fault


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (CRATE, CRATE.replace("HOST", "other")),
        (LINE, LINE.replace("PORT", "socket://moxa:4001")),
        ("{driver: se521, serial: A, usb_port: 1-2}", "{driver: se521, serial: A, usb_port: 1-3}"),
        ("{driver: se521, serial: A}", "{driver: se521, serial: B}"),
    ],
)
def test_two_instruments_of_a_kind_are_no_fault(tmp_path: Path, one: str, other: str) -> None:
    path = tmp_path / "rack.yaml"
    path.write_text(f"prefix: 'A:'\ninstruments:\n  X: {one}\n  Y: {other}\n")
    load(path)


def test_all_faults_of_a_file_are_told_at_once(write: Write) -> None:
    found = faults(
        write(
            GOOD,
            ("system: SY1527", "system: SY9999"),
            ("host: 192.168.20.51", "hots: 1"),
            ("${CAEN_PASSWORD}", "${NO_SUCH_VARIABLE}"),
            ("voltage_kv: 60", "voltage_kv: 120"),
            ("polarity: negative", "polartiy: negative"),
            ("HSV: MINOR", "HSV: LOUD"),
            ("sqlite:///rack.sqlite", "oracle://x/y"),
            ("LAB:*", "LAP:*"),
        )
    )
    keys = [key_of(fault) for fault in found]
    assert set(keys) == {
        "instruments.HV1.system",
        "instruments.HV1.hots",
        "instruments.HV1.host",
        "instruments.HV1.password",
        "instruments.GEN.limits.voltage_kv",
        "instruments.GEN.polartiy",
        "records.LAB:HV1:S04:C*:IMon.HSV",
        "archive.database",
        "archive.pvs.0",
        "archive.policies.LAP:*",
    }


def test_a_new_driver_needs_no_more_than_its_file(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gauge.py").touch()
    monkeypatch.setattr(drivers, "__path__", [*drivers.__path__, str(tmp_path)])
    monkeypatch.setitem(sys.modules, "drivers.gauge", SimpleNamespace(DRIVER=Gauge))
    gauge = ('driver: se521\n    serial: "A1234"', "driver: gauge")
    config = load(write(GOOD, gauge))
    assert isinstance(config.instruments[1].driver, Gauge)
    text = banner.text(config, tmp_path / "control")
    assert "LAB:*: HV1, TC1, GEN" in text
    assert "LAB:TC1:" not in text
    found = faults(write(GOOD, gauge, ("instrument: TC1", "instrument: GEN")))
    assert "'GEN' is not an instrument with driver gauge or se521; allowed: TC1" in found[0]


def test_an_instrument_that_is_a_list_is_a_fault_and_no_traceback(write: Write) -> None:
    found = faults(write(GOOD, ("instrument: HV1", "instrument: [HV1]")))
    assert [key_of(fault) for fault in found] == ["archive.measurements.instrument"]


def test_a_section_that_lacks_a_key_hides_no_fault_of_others(write: Write) -> None:
    found = faults(write(GOOD, ("instrument: HV1, ", ""), ("limit: 2GB", "limit: 2 elephants")))
    assert [key_of(fault) for fault in found] == [
        "archive.spool.limit",
        "archive.measurements.instrument",
    ]


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    assert faults(tmp_path / "nowhere.yaml") == ["1: cannot be read: No such file or directory"]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("prefix: [", 1, "not YAML"),
        ("prefix: LAB\n\tinstruments: {}", 2, "not YAML: a tabulator stands where a line begins; indent with spaces"),
        ("prefix: " + "[" * 2000, 1, "not YAML: it is nested too deeply"),
        ("a: 1\n---\nb: 2", 2, "not YAML"),
        ("a: 1\nb: \0", 2, "not YAML: the character U+0000 cannot be seen; remove it"),
        (
            "a: &a []\n"
            + "".join(f"{x}: &{y} [*{x},*{x},*{x},*{x},*{x},*{x},*{x},*{x},*{x}]\n" for x, y in pairwise("abcdefgh")),
            1,
            "not YAML: its aliases stand for more than 200,000 values",
        ),
        (
            "a: &a {}\n"
            + "".join(f"{x}: &{y} {{<<: [{', '.join([f'*{x}'] * 9)}]}}\n" for x, y in pairwise("abcdefgh")),
            1,
            "not YAML: its aliases stand for more than 200,000 values",
        ),
        ("- a\n- b", 1, "mapping"),
        ("", 1, "mapping"),
        ("prefix: &a [*a]", 1, "refers to itself"),
        ("prefix: 'A:'", 1, "instruments: is missing"),
        ("prefix: 'A:'\ninstruments: {X: 5}", 2, "instruments.X"),
    ],
)
def test_what_is_no_configuration_at_all_is_told(tmp_path: Path, text: str, line: int, words: str) -> None:
    path = tmp_path / "rack.yaml"
    path.write_text(text)
    found = faults(path)
    assert any(words in fault for fault in found), found
    assert any(fault.startswith(f"{line}:") for fault in found), found


def test_later_lines_win_over_earlier_ones(write: Write) -> None:
    records = '"LAB:GEN:*Mon": {HIGH: 5}\n  "LAB:GEN:VMon": {HIGH: 7, DESC: output}'
    text = textwrap.dedent(GOOD)
    text = re.sub(r'"LAB:HV1:S04.*}', records, text)
    site = load(write(text)).site
    point = Point(name="VMon", rtyp=RecordType.ai)
    assert site.apply("LAB:GEN:VMon", point).point.high == 7
    assert site.apply("LAB:GEN:VMon", point).point.desc == "output"
    assert site.apply("LAB:GEN:IMon", point).point.high == 5
    assert site.apply("LAB:GEN:Status", point).point.high is None


def test_a_number_with_a_unit_is_converted_to_that_of_the_record(write: Write) -> None:
    records = (
        '"LAB:GEN:V*": {HIGH: 5 kV}\n  "LAB:GEN:VMon": {HIGH: "7000V", MDEL: 100 V}\n  "LAB:GEN:VSet": {DRVH: 6e4 V}'
    )
    config = load(write(re.sub(r'"LAB:HV1:S04.*}', records, textwrap.dedent(GOOD))))
    points = {point.name: point for point in config.instruments[2].driver.points}
    mon, setting = (config.site.apply(f"LAB:GEN:{name}", points[name]).point for name in ("VMon", "VSet"))
    assert (mon.egu, mon.high, mon.mdel, setting.high, setting.drvh) == ("kV", 7.0, 0.1, 5.0, 60.0)


def test_every_record_field_can_be_set(write: Write) -> None:
    values = {"TEXT": "word", "NUMBER": 1.5, "COUNT": 2, "SEVERITY": "MAJOR"}
    for name, field in FIELDS.items():
        rtyp = sorted(field.rtyps)[0]
        point = field.set(Point(name="x", rtyp=rtyp), field.parse(values[field.kind.name]))
        expected = Severity.MAJOR if field.kind.name == "SEVERITY" else values[field.kind.name]
        assert field.get(point) == expected, name


@pytest.mark.parametrize(
    ("scan", "wrong"),
    [
        ("{settings: 30}", []),
        ("{monitor: 20}", []),  # the settings are read often enough
        ("{monitor: 20, settings: 30}", ["monitor", "settings"]),
        ("{monitor: 10, settings: 60}", []),
    ],
)
def test_one_scan_group_must_ask_a_crate_as_often_as_it_keeps_a_session(
    write: Write, scan: str, wrong: list[str]
) -> None:
    path = write(GOOD, ("link: TCPIP", f"link: TCPIP\n    scan: {scan}"))
    if not wrong:
        assert load(path)
        return
    found = faults(path)
    assert [key_of(fault) for fault in found] == [f"instruments.HV1.scan.{group}" for group in wrong]
    assert all("is not a period for it; allowed: from 0.02 s to 10 s" in fault for fault in found)
