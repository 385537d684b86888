"""The files of the two loggers as a configuration of rackioc, and a sentence for what cannot be converted."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from sqlalchemy.engine import make_url
from typer.testing import CliRunner

from archiver.settings import ArchiveSettings
from archiver.storage.url import DatabaseUrl
from rackioc.cli import app
from rackioc.config import schema
from rackioc.config.config import Config, ConfigError
from rackioc.config.convert import convert
from rackioc.config.load import load
from rackioc.config.yamlfile import YamlFile

CAEN = """\
caen_connection:
  host: '192.168.20.51'
  systype: 'SY1527'
  linktype: 'TCPIP'

database:
  db_file: 'hv_monitoring.db'
  logging_interval_sec: 60

# --- Specify which slots and channels to log ---
monitoring_targets:
  4: "ALL"
  8:
    - 1
    - 2
"""

SE521 = '''\
"""
Settings of the site
"""
import sys


class DB_settings( ):

    user = "solar"
    password = "geheim"

    dbHost = "127.0.0.1"
    dbPort = 3306     # not a string
    dbName = "SE521"
    tableName = "temperatures"
    # columns
    tc1Name = "tc1"
    tc2Name = "tc2"
    tc3Name = "tc3"
    tc4Name = "tc4"
'''


class Site:
    """A directory with a logger's file in it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def write(self, name: str, text: str, *replacements: tuple[str, str]) -> Path:
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        path = self._directory / name
        path.write_text(text)
        return path

    def caen(self, *replacements: tuple[str, str]) -> Path:
        return self.write("config.yml", CAEN, *replacements)

    def se521(self, *replacements: tuple[str, str]) -> Path:
        return self.write("SE521_dbsettings.py", SE521, *replacements)

    def instruments(self, converted: str) -> Config:
        """What rackioc makes of it, but for the archive."""
        text = converted[: converted.index("archive:")]
        return load(self.write("instruments.yaml", text))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def archive(converted: str) -> ArchiveSettings:
    file = YamlFile(yaml.safe_load(converted))
    settings: ArchiveSettings = schema.check(ArchiveSettings, file.data["archive"], ("archive",), file)
    assert file.faults == []
    return settings


def faults(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as error:
        convert(path)
    return [line.removeprefix(f"{path}:") for line in str(error.value).splitlines()]


def test_the_crate_is_that_of_the_logger(site: Site) -> None:
    converted = convert(site.caen())
    site.instruments(converted)
    assert yaml.safe_load(converted)["instruments"] == {
        "HV1": {
            "driver": "caen",
            "system": "SY1527",
            "link": "TCPIP",
            "host": "192.168.20.51",
            "username": "admin",
            "password": "admin",
            "channels": {4: "ALL", 8: [1, 2]},
        }
    }


def test_its_table_goes_on_growing_in_the_old_database(site: Site) -> None:
    settings = archive(convert(site.caen()))
    assert settings.database == "sqlite:///hv_monitoring.db"
    assert settings.measurements is not None
    assert settings.measurements.instrument == "HV1"
    assert settings.measurements.channels == {4: "ALL", 8: (1, 2)}
    assert (settings.measurements.interval, settings.measurements.time) == ("60s", "local")
    assert settings.temperatures is None


@pytest.mark.parametrize("file", ["/var/lib/hv/hv.db", "my #1 50% file?.db"])
def test_any_name_of_a_file_is_carried_over(site: Site, file: str) -> None:
    settings = archive(convert(site.caen(("'hv_monitoring.db'", repr(file)))))
    assert make_url(settings.database).database == file


def test_what_the_logger_took_is_taken(site: Site) -> None:
    path = site.caen(
        ("'TCPIP'", "TCPIP\n  username: root\n  password: 'a: \"b\" #c'"), ('"ALL"', "all"), ("60", "5.0")
    )
    converted = convert(path)
    crate = yaml.safe_load(converted)["instruments"]["HV1"]
    assert (crate["username"], crate["password"], crate["channels"][4]) == ("root", 'a: "b" #c', "ALL")
    assert yaml.safe_load(converted)["archive"]["measurements"]["interval"] == "5s"


def test_the_loggers_database_and_columns_are_those_of_the_settings(site: Site) -> None:
    converted = convert(site.se521(('"temperatures"', '"roof"'), ('"tc3"', '"cold side"')))
    assert [each.name for each in site.instruments(converted).instruments] == ["TC1"]
    settings = archive(converted)
    assert settings.database == "mysql+pymysql://solar:geheim@127.0.0.1:3306/SE521"
    assert settings.temperatures is not None
    assert (settings.temperatures.instrument, settings.temperatures.table) == ("TC1", "roof")
    assert settings.temperatures.columns == ("DateTm", "tc1", "tc2", "cold side", "tc4")
    assert settings.measurements is None


def test_any_password_is_carried_over(site: Site) -> None:
    password = "p@ss:w/rd,#1 %41?&é${HOME}'\"\\"
    settings = archive(convert(site.se521(('"geheim"', repr(password)), ('"solar"', '"s@l,ar"'))))
    (node,) = DatabaseUrl.parse(settings.database).nodes
    assert (node.username, node.password, node.host, node.port) == ("s@l,ar", password, "127.0.0.1", 3306)


def test_assignments_may_stand_outside_a_class(site: Site) -> None:
    flat = "\n".join(line.strip() for line in SE521.splitlines() if "class" not in line)
    path = site.write("settings.py", flat, ("dbPort = 3306", "dbPort: int = 3307"))
    assert "@127.0.0.1:3307/SE521" in archive(convert(path)).database


def test_python_is_not_run(site: Site, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    path = site.se521(("import sys", f"open({str(proof)!r}, 'w')"), ('"geheim"', f"open({str(proof)!r}, 'w').name"))
    assert [line.split(":")[0] for line in faults(path)] == ["4", "10"]
    assert not proof.exists()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("'SY1527'", "SY1", "3: caen_connection.systype: \"SY1\" must be one of 'SY1527'"),
        ("'192.168.20.51'", "''", "2: caen_connection.host: is empty"),
        ("host:", "hots:", "2: caen_connection.hots: unknown key; allowed: host"),
        ("_sec: 60", "_sec: 0.5", "8: database.logging_interval_sec: is 0.5; allowed: whole seconds, 1 at least"),
        ("_sec: 60", "_sec: often", '8: database.logging_interval_sec: "often" must be a number'),
        ("'hv_monitoring.db'", "''", "7: database.db_file: is empty"),
        ('"ALL"', '"SOME"', "12: monitoring_targets.4: "),
        ("- 2", "- two", '15: monitoring_targets.8.1: "two" must be a whole number'),
        ("- 2", "- 1", "13: monitoring_targets.8: names a channel twice"),
        ("database:", "databases:", "6: databases: unknown key"),
        ("  host", " - host", "3: not YAML"),
    ],
)
def test_a_fault_of_the_crates_file_is_told_with_its_line(site: Site, old: str, new: str, expected: str) -> None:
    assert any(line.startswith(expected) for line in faults(site.caen((old, new)))), faults(site.caen((old, new)))


def test_what_only_names_wrong_slots_is_not_said_to_name_none(tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    path.write_text(f"{CAEN.partition('monitoring_targets')[0]}monitoring_targets: {{4: [0, x]}}\n")
    with pytest.raises(ConfigError) as error:
        convert(path)
    assert "must be a whole number" in str(error.value)
    assert "names no slot" not in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"solar"', 'os.environ["USER"]', "9: user: must be a text in quotes or a number; the file is not run"),
        ('"geheim"', "1234", "10: password: must be a text"),
        ("3306", '"3306"', '13: dbPort: "3306" must be a whole number'),
        ("3306", "33060000", "13: dbPort: is 33060000; ports are numbered from 1 to 65535"),
        ('"SE521"', '""', "14: dbName: is empty"),
        ("    user =", "    uesr =", "9: uesr: unknown key; allowed: user, password"),
        ("    password =", "    a, password =", "10: only lines such as name = value are understood"),
        ("3306", "{[]: 1}", "13: dbPort: must be a text in quotes or a number"),
        ("( ):", "(:", "7: not Python: "),
    ],
)
def test_a_fault_of_the_settings_is_told_with_its_line(site: Site, old: str, new: str, expected: str) -> None:
    found = faults(site.se521((old, new)))
    assert any(line.startswith(expected) for line in found), found
    assert "geheim" not in "".join(found)


def test_another_file_is_told(site: Site, tmp_path: Path) -> None:
    (script := tmp_path / "SE521_logger.py").write_text("import time\nwhile True:\n    time.sleep(1)\n")
    assert "2: only lines such as name = value are understood, as in SE521_dbsettings.py" in faults(script)[0]
    assert faults(site.write("rack.yaml", "- 1")) == ["1: must be a mapping (key: value)"]
    assert faults(tmp_path / "nix.yml") == ["1: cannot be read: No such file or directory"]


def test_the_command_prints_the_configuration_or_ends_with_2(site: Site) -> None:
    good = CliRunner().invoke(app, ["convert", str(site.caen())])
    assert (good.exit_code, good.stdout) == (0, convert(site.caen()))
    bad = CliRunner().invoke(app, ["convert", str(site.caen(("SY1527", "SY1")))])
    assert (bad.exit_code, bad.stdout) == (2, "")
    assert "config.yml:3: caen_connection.systype" in bad.stderr


@pytest.mark.parametrize("kind", ["caen", "se521"])
def test_what_was_converted_is_a_good_configuration(site: Site, kind: str) -> None:
    config = load(site.write("rack.yaml", convert(getattr(site, kind)())))
    assert config.archive is not None
    assert (config.archive.measurements is not None, config.archive.temperatures is not None) == {
        "caen": (True, False),
        "se521": (False, True),
    }[kind]


def test_the_loggers_own_file_is_told_to_be_converted(tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    path.write_text(CAEN)
    for command in ("check", "run", "sim run"):
        result = CliRunner().invoke(app, [*command.split(), str(path)])
        sentence = f"is of the CAEN HV logger; 'rackioc convert {path} > rack.yaml' takes it over"
        assert (result.exit_code, result.output) == (2, f"{path}:1: caen_connection: {sentence}\n")
