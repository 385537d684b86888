"""The configuration file: read, checked whole, and turned into drivers, overrides and the archive's settings."""

from __future__ import annotations

import math
import pkgutil
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from typing import Any

import drivers
from archiver.settings import ArchiveSettings
from drivers.base import Driver, Point
from ioc import health, status
from ioc.fields import FIELDS, TIGHTER
from ioc.site import NAME_SIZE, Site, is_glob
from rackioc import archive_status
from rackioc.config import schema, yamlfile
from rackioc.config.yamlfile import Fault, Key, YamlFile

_NAME = re.compile(r"[A-Za-z0-9_\-+:;<>/,#\[\]{}^]*")
# Tables of the archive that one instrument fills -> the driver of that instrument
_TABLES = {"measurements": "caen", "temperatures": "se521"}
_COMMON = ("driver", "scan")  # keys of every instrument
SHORTEST_PERIOD = 0.02


@dataclass(frozen=True, kw_only=True)
class _File:
    prefix: str
    instruments: dict[str, dict[str, Any]]
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    site_file: str | None = None
    archive: dict[str, Any] | None = None


@dataclass(frozen=True)
class InstrumentConfig:
    """An instrument as configured: a driver that has not connected yet, and the site's scan periods."""

    name: str
    driver: Driver
    periods: Mapping[str, float]


@dataclass(frozen=True)
class Config:
    """A configuration without faults."""

    path: Path
    prefix: str
    instruments: tuple[InstrumentConfig, ...]
    site: Site
    site_file: Path
    archive: ArchiveSettings | None
    raw: Mapping[str, Mapping[str, Any]] = field(repr=False)

    @property
    def pv_list(self) -> str:
        """The PV that holds the names of all records."""
        return f"{self.prefix}{status.NAME}:{status.PV_LIST}.VAL$"


class ConfigError(Exception):
    """A configuration that cannot be used; ``str(error)`` has a line for each fault."""

    def __init__(self, path: Path, faults: list[Fault]) -> None:
        self.faults = sorted(faults)
        super().__init__("\n".join(fault.render(path) for fault in self.faults))


def load(path: Path) -> Config:
    """Read and check a configuration file, touching no instrument; raises ConfigError with all its faults."""
    file = yamlfile.read(path)
    config = None if file.data is None and file.faults else _Loader(path, file).load()
    if file.faults or config is None:
        raise ConfigError(path, file.faults)
    return config


class _Loader:
    def __init__(self, path: Path, file: YamlFile) -> None:
        self._path = path
        self._file = file
        # record name -> point, of what is known without asking an instrument
        self._known: dict[str, Point] = {}
        # beginnings of names of instruments that say only later what they have
        self._open: list[str] = []
        # names that no instrument may have -> whose they are
        self._taken = {status.NAME: "IOC"}

    def load(self) -> Config | None:
        data = self._file.data
        schema.check(_File, data, (), self._file)
        if not isinstance(data, dict):
            return None
        prefix = self._prefix(data.get("prefix"))
        if data.get("archive") is not None:
            self._taken[archive_status.NAME] = "archiver"
        raw = _mapping(data.get("instruments"))
        instruments = [self._instrument(prefix, name, _mapping(keys)) for name, keys in raw.items()]
        self._learn(prefix, status.NAME, status.POINTS, ())
        if data.get("archive") is not None:
            self._learn(prefix, archive_status.NAME, archive_status.POINTS, ())
        site = self._site(_mapping(data.get("records")))
        archive = self._archive(data.get("archive"), raw)
        if self._file.faults:
            return None
        site_file = Path(data.get("site_file") or f"{self._path.stem}.site.yaml")
        return Config(self._path, prefix, tuple(filter(None, instruments)), site, site_file, archive, raw)

    def _prefix(self, prefix: Any) -> str:
        if not isinstance(prefix, str):
            return ""
        self._check_name(prefix, ("prefix",))
        return prefix

    def _check_name(self, name: str, key: Key) -> None:
        if not _NAME.fullmatch(name):
            self._file.fault(key, f"'{name}' has a character that PV names lack; allowed: letters, digits, _-+:")

    # ---- instruments ----

    def _instrument(self, prefix: str, name: Any, keys: dict[Any, Any]) -> InstrumentConfig | None:
        key: Key = ("instruments", name)
        name = str(name)
        self._check_name(name, key)
        if name in self._taken:
            self._file.fault(key, f"the name {name} is taken by the {self._taken[name]}'s own records")
        kind = self._driver_class(keys, key)
        if kind is None:
            self._open.append(f"{prefix}{name}:")  # its records are not known: no complaints that follow from that
            return None
        own = {each: value for each, value in keys.items() if each not in _COMMON}
        settings = schema.check(kind.Config, own, key, self._file, also=_COMMON)
        periods = self._periods(kind, keys.get("scan", {}), (*key, "scan"))
        if settings is None:
            self._open.append(f"{prefix}{name}:")
            return None
        driver = kind(settings)  # type: ignore[call-arg]
        self._learn(prefix, name, driver.points, key)
        if kind.discovers:
            self._open.append(f"{prefix}{name}:")
            self._check_size(f"{prefix}{name}:" + "x" * kind.name_size, key)
        return InstrumentConfig(name, driver, periods)

    def _driver_class(self, keys: dict[Any, Any], key: Key) -> type[Driver] | None:
        names = _drivers()
        allowed = f"allowed: {', '.join(names)}"
        name = keys.get("driver")
        if name not in names:
            problem = f"{name!r} is not a driver" if "driver" in keys else "is missing"
            self._file.fault((*key, "driver"), f"{problem}; {allowed}")
            return None
        kind: type[Driver] = import_module(f"drivers.{name}").DRIVER
        return kind

    def _periods(self, kind: type[Driver], scan: Any, key: Key) -> Mapping[str, float]:
        if not isinstance(scan, dict):
            self._file.fault(key, "must be a mapping of scan group to seconds")
            return {}
        longest = kind.longest_period or math.inf
        for group, period in scan.items():
            if group not in kind.scan:
                self._file.fault((*key, group), f"unknown scan group; allowed: {', '.join(kind.scan)}")
            elif isinstance(period, bool) or not isinstance(period, int | float):
                self._file.fault((*key, group), f"{period!r} must be a number of seconds")
            elif not SHORTEST_PERIOD <= period <= longest:
                allowed = f"from {SHORTEST_PERIOD:g} s to {longest:g} s"
                self._file.fault((*key, group), f"{period:g} s is not a period for it; allowed: {allowed}")
        return scan

    def _learn(self, prefix: str, instrument: str, points: tuple[Point, ...], key: Key) -> None:
        longest = ""
        for point in (*health.POINTS, *points):
            name = f"{prefix}{instrument}:{point.name}"
            if name in self._known:
                self._file.fault(key, f"two records would have the name {name}")
            self._known[name] = point
            longest = max(longest, name, key=len)
        self._check_size(longest, key)

    def _check_size(self, longest: str, key: Key) -> None:
        excess = len(longest) - NAME_SIZE
        if excess > 0:
            self._file.fault(
                key,
                f"its PV names would be up to {len(longest)} characters long, allowed are {NAME_SIZE}; "
                f"shorten the prefix or the instrument's name by {excess}",
            )

    # ---- records and archive ----

    def _site(self, records: dict[Any, Any]) -> Site:
        return Site([(str(name), self._fields(str(name), fields)) for name, fields in records.items()])

    def _fields(self, pattern: str, fields: Any) -> dict[str, Any]:
        key: Key = ("records", pattern)
        self._check_matches(pattern, key)
        parsed = {}
        for name, value in _mapping(fields).items():
            if name not in FIELDS:
                self._file.fault((*key, name), f"unknown record field; allowed: {', '.join(FIELDS)}")
                continue
            self._check_has(pattern, name, (*key, name))
            try:
                parsed[name] = FIELDS[name].parse(value)
            except ValueError as error:
                self._file.fault((*key, name), str(error))
            else:
                self._check_narrows(pattern, name, parsed[name], (*key, name))
        return parsed

    def _matches(self, pattern: str) -> list[Point]:
        return [point for name, point in self._known.items() if fnmatchcase(name, pattern)]

    def _may_match(self, pattern: str) -> bool:
        """True if an instrument that is asked later may have a record for the pattern."""
        head = re.split(r"[*?\[]", pattern)[0]
        return any(
            start.startswith(head) if is_glob(pattern) and len(head) < len(start) else head.startswith(start)
            for start in self._open
        )

    def _check_matches(self, pattern: str, key: Key) -> None:
        if not self._matches(pattern) and not self._may_match(pattern):
            self._file.fault(key, "matches no PV; 'rackioc pvs' lists the names")

    def _check_has(self, pattern: str, field_name: str, key: Key) -> None:
        points = self._matches(pattern)
        if points and not self._may_match(pattern) and not any(p.rtyp in FIELDS[field_name].rtyps for p in points):
            types = ", ".join(sorted({point.rtyp.name for point in points}))
            self._file.fault(key, f"a record of type {types} has no such field")

    def _check_narrows(self, pattern: str, name: str, value: Any, key: Key) -> None:
        for point in self._matches(pattern) if name in TIGHTER else ():
            own = FIELDS[name].get(point)
            if own is not None and TIGHTER[name](own, value) != value:
                self._file.fault(key, f"{value:g} is beyond the instrument's own limit of {own:g} {point.egu}")

    def _archive(self, data: Any, instruments: dict[Any, Any]) -> ArchiveSettings | None:
        if data is None:
            return None
        archive: ArchiveSettings | None = schema.check(ArchiveSettings, data, ("archive",), self._file)
        keys = _mapping(data)
        pvs = [pattern if isinstance(pattern, str) else "" for pattern in _list(keys.get("pvs"))]
        for index, pattern in enumerate(pvs):
            if is_glob(pattern):
                self._check_matches(pattern, ("archive", "pvs", index))
        for pattern in map(str, _mapping(keys.get("policies"))):
            if is_glob(pattern) and not any(fnmatchcase(name, pattern) for name in pvs if not is_glob(name)):
                self._check_matches(pattern, ("archive", "policies", pattern))
        for section, driver in _TABLES.items():
            self._check_instrument(_mapping(keys.get(section)), driver, instruments, ("archive", section))
        return archive

    def _check_instrument(self, table: dict[Any, Any], driver: str, instruments: dict[Any, Any], key: Key) -> None:
        name = table.get("instrument")
        kinds = {str(each): _mapping(keys).get("driver") for each, keys in instruments.items()}
        wrong = kinds[name] in _drivers() and kinds[name] != driver if name in kinds else isinstance(name, str)
        if wrong:
            allowed = [each for each, kind in kinds.items() if kind == driver]
            known = f"allowed: {', '.join(allowed)}" if allowed else "there is none"
            self._file.fault((*key, "instrument"), f"'{name}' is not an instrument with driver {driver}; {known}")


def _drivers() -> list[str]:
    return sorted(each.name for each in pkgutil.iter_modules(drivers.__path__) if each.name != "base")


def _list(data: Any) -> list[Any]:
    return data if isinstance(data, list) else []


def _mapping(data: Any) -> dict[Any, Any]:
    return data if isinstance(data, dict) else {}
