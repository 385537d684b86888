"""The configuration files of the two loggers that rackioc takes over from, as a configuration of rackioc."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sqlalchemy.engine import URL

from drivers.base import ConfigFault
from drivers.caen.config import Config, Link, System
from rackioc.config import assignments, schema, yamlfile
from rackioc.config.config import ConfigError
from rackioc.config.yamlfile import YamlFile


@dataclass(frozen=True, kw_only=True)
class _Connection:
    host: str
    systype: System
    linktype: Link
    username: str = "admin"  # the logger knew no other login
    password: str = field(default="admin", repr=False)


@dataclass(frozen=True, kw_only=True)
class _Database:
    db_file: str
    logging_interval_sec: float


@dataclass(frozen=True, kw_only=True)
class CaenLogger:
    """``config.yml`` of the CAEN HV logger."""

    caen_connection: _Connection
    database: _Database
    monitoring_targets: dict[int, Literal["ALL"] | tuple[int, ...]]

    def faults(self) -> Iterator[ConfigFault]:
        """Yield what the type hints cannot say."""
        crate = self.caen_connection
        config = Config(system=crate.systype, link=crate.linktype, host=crate.host, channels=self.monitoring_targets)
        for key, sentence in config.faults():
            slots = key[0] == "channels"
            yield ("monitoring_targets", *key[1:]) if slots else ("caen_connection", *key), sentence
        if not self.database.db_file:
            yield ("database", "db_file"), "is empty"
        interval = self.database.logging_interval_sec
        if interval < 1 or interval % 1:
            yield ("database", "logging_interval_sec"), f"is {interval:g}; allowed: whole seconds, 1 at least"


@dataclass(frozen=True, kw_only=True)
class LoggerSettings:
    """``DB_settings`` of the SE521 data logger."""

    user: str
    password: str = field(repr=False)
    dbHost: str  # noqa: N815 - its names, not ours
    dbPort: int = 3306  # noqa: N815
    dbName: str  # noqa: N815
    tableName: str  # noqa: N815
    tc1Name: str  # noqa: N815
    tc2Name: str  # noqa: N815
    tc3Name: str  # noqa: N815
    tc4Name: str  # noqa: N815

    def faults(self) -> Iterator[ConfigFault]:
        """Yield what the type hints cannot say."""
        for key in ("dbHost", "dbName", "tableName", "tc1Name", "tc2Name", "tc3Name", "tc4Name"):
            if not getattr(self, key):
                yield (key,), "is empty"
        if not 0 < self.dbPort < 65536:
            yield ("dbPort",), f"is {self.dbPort}; ports are numbered from 1 to 65535"


def convert(path: Path) -> str:
    """Return a configuration for rackioc; raises ConfigError with all faults of the file."""
    python = path.suffix == ".py"
    file = assignments.read(path) if python else _read_yaml(path)
    found = None
    if not file.faults:
        found = schema.check(LoggerSettings if python else CaenLogger, file.data, (), file)
        # Not where all that it names is wrong
        if isinstance(file.data, dict) and file.data.get("monitoring_targets") == {}:
            file.fault(("monitoring_targets",), "names no slot")
    if found is None or file.faults:
        raise ConfigError(path, file.faults)
    return _se521(path.name, found) if python else _caen(path.name, found)


# ---- reading ----


def _read_yaml(path: Path) -> YamlFile:
    file = yamlfile.read(path)
    targets = file.data.get("monitoring_targets") if isinstance(file.data, dict) else None
    if isinstance(targets, dict):  # "all" was as good as "ALL"
        all_or_not = {slot: each.upper() if isinstance(each, str) else each for slot, each in targets.items()}
        file.data["monitoring_targets"] = all_or_not
    return file


# ---- writing ----


def _caen(source: str, logger: CaenLogger) -> str:
    crate, database = logger.caen_connection, logger.database
    channels = [f"{slot}: {_channels(wanted)}" for slot, wanted in logger.monitoring_targets.items()]
    return f"""\
# Made by rackioc convert from {_quoted(source)} of the CAEN HV logger.
# The logger only read. rackioc also serves the settings: V0Set, Pw, ... can be put by whoever reaches its port.
prefix: "LAB:"  # begins the names of all PVs

instruments:
  HV1:
    driver: caen
    system: {crate.systype}
    link: {crate.linktype}
    host: {_quoted(crate.host)}
    username: {_quoted(crate.username)}
    password: {_quoted(crate.password)}  # may be taken from the environment, as ${{NAME}}
    channels:  # what is served as PVs; without this key every channel of every board
      {_lines(channels, 6)}

archive:
  # A path without a leading / counts from the directory of this file, but from state_directory where that is given,
  # as for a service: then move the file there before the first start. rackioc adds tables of its own.
  database: {_quoted(URL.create("sqlite", database=database.db_file).render_as_string())}
  # PVs of which every change is kept besides, such as "LAB:HV1:*:VMon"; see docs/how-to/retention.md before
  # taking them all.
  pvs: ["LAB:HV1:Conn"]
  policies:  # of them: no rows for a last digit that flickers, nor more often than needed
    "LAB:HV1:*Mon": {{deadband: 1 digit, min_period: 5s}}
    "LAB:HV1:*:Array": {{min_period: 60s}}
  measurements:  # the logger's table goes on growing
    instrument: HV1
    interval: {database.logging_interval_sec:.0f}s
    time: local  # as the logger; or utc
    channels:
      {_lines(channels, 6)}
"""


def _se521(source: str, logger: LoggerSettings) -> str:
    columns = ["DateTm", logger.tc1Name, logger.tc2Name, logger.tc3Name, logger.tc4Name]
    server = (logger.user, logger.password, logger.dbHost, logger.dbPort, logger.dbName)
    url = URL.create("mysql+pymysql", *server).render_as_string(hide_password=False)
    return f"""\
# Made by rackioc convert from {_quoted(source)} of the SE521 data logger.
prefix: "LAB:"  # begins the names of all PVs

instruments:
  TC1:
    driver: se521  # where there are several: serial, or usb_port

archive:
  # User and password are in it, with special characters as %40 and so on; ${{NAME}} is taken from the environment.
  # rackioc adds tables of its own: the user needs more rights than INSERT ('rackioc check' tells which).
  database: {_quoted(url)}
  # PVs of which every change is kept besides, such as "LAB:TC1:T?"; see docs/reference/archive.md.
  pvs: ["LAB:TC1:Conn"]
  policies:  # of them: no rows for a last digit that flickers, nor more often than needed
    "LAB:TC1:T*": {{deadband: 1 digit, min_period: 10s}}
  temperatures:  # the logger's table goes on growing; interval, readings, spacing: if they were changed in the script
    instrument: TC1
    table: {_quoted(logger.tableName)}
    columns: {_quoted(columns)}
    time: local  # as the logger; or utc
"""


def _channels(wanted: Literal["ALL"] | tuple[int, ...]) -> str:
    return "ALL" if wanted == "ALL" else str(list(wanted))


def _lines(lines: list[str], indent: int) -> str:
    return ("\n" + " " * indent).join(lines)


def _quoted(value: str | list[str]) -> str:
    """JSON is YAML."""
    return json.dumps(value, ensure_ascii=False)
