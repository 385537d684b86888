"""``instruments:``: each one's driver, its own keys, its scan periods."""

from __future__ import annotations

import json
import math
import pkgutil
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import drivers
from drivers.base import Driver, DriverConfig
from rackioc.config import schema
from rackioc.config.config import InstrumentConfig
from rackioc.config.names import RecordNames
from rackioc.config.yamlfile import Key, YamlFile, as_mapping

# Keys of every instrument; the others are its driver's
_COMMON = ("driver", "scan")
SHORTEST_PERIOD = 0.02


class Instruments:
    """The section ``instruments:``: drivers made from its keys.

    ``reserved``: names that no instrument may have -> whose they are.
    """

    def __init__(self, names: RecordNames, file: YamlFile, reserved: Mapping[str, str]) -> None:
        self._names = names
        self._file = file
        self._reserved = reserved
        self._placed: dict[str, DriverConfig] = {}  # instrument -> its keys

    def read(self, raw: Mapping[Any, Any]) -> tuple[InstrumentConfig, ...]:
        """Return the instruments without faults; the faults of the others are in the file."""
        return tuple(filter(None, (self._instrument(name, as_mapping(keys)) for name, keys in raw.items())))

    def _instrument(self, name: Any, keys: dict[Any, Any]) -> InstrumentConfig | None:
        key: Key = ("instruments", name)
        name = str(name)
        if not name:
            self._file.fault(key, "is empty; the name of an instrument is a part of its PVs' names")
        self._names.check_characters(name, key)
        if name in self._reserved:
            self._file.fault(key, f"the name {name} is taken by the {self._reserved[name]}'s own records")
        kind = self._driver_class(keys, key)
        if kind is None:
            self._names.add_unknown(name)  # no complaints that only follow from this fault
            return None
        own = {each: value for each, value in keys.items() if each not in _COMMON}
        settings = schema.check(kind.Config, own, key, self._file, also=_COMMON)
        periods = self._periods(kind, keys.get("scan", {}), (*key, "scan"))
        if settings is None:
            self._names.add_unknown(name)
            return None
        self._check_place(name, settings, key)
        driver = kind(settings)  # type: ignore[call-arg]
        self._names.add(name, driver.points, key)
        if kind.discovers:
            self._names.add_unknown(name)
            self._names.check_size(name, kind.name_size, key)
        return InstrumentConfig(name, driver, periods)

    def _check_place(self, name: str, settings: DriverConfig, key: Key) -> None:
        """Report an instrument that is, or may be, at the place of one before: there is one instrument, or line."""
        where, place = settings.place
        for other, others in self._placed.items():
            if place and others.place[1] == place:
                sentence = f"{place} is that of {other} already; give each instrument its own, or configure it once"
            elif settings.fits(others) or others.fits(settings):
                sentence = f"{place} may be that of {other}: the keys of one fit both; give each a serial or the like"
            else:
                continue
            self._file.fault((*key, where), sentence)
            break
        self._placed[name] = settings

    def _driver_class(self, keys: dict[Any, Any], key: Key) -> type[Driver] | None:
        names = driver_names()
        name = keys.get("driver")
        if name not in names:
            problem = f"{name!r} is not a driver" if "driver" in keys else "is missing"
            self._file.fault((*key, "driver"), f"{problem}; allowed: {', '.join(names)}")
            return None
        return driver_class(name)

    def _periods(self, kind: type[Driver], scan: Any, key: Key) -> Mapping[str, float]:
        if not isinstance(scan, dict):
            self._file.fault(key, "must be a mapping of scan group to seconds")
            return {}
        for group, period in scan.items():
            longest = _longest_period(kind, scan, group)
            if group not in kind.scan:
                self._file.fault((*key, group), f"unknown scan group; allowed: {', '.join(kind.scan)}")
            elif isinstance(period, bool) or not isinstance(period, int | float) or not math.isfinite(period):
                self._file.fault((*key, group), f"{json.dumps(period)} must be a number of seconds")
            elif not SHORTEST_PERIOD <= period <= longest:
                allowed = f"from {SHORTEST_PERIOD:g} s " + (f"to {longest:g} s" if math.isfinite(longest) else "on")
                self._file.fault((*key, group), f"{period:g} s is not a period for it; allowed: {allowed}")
        return scan


def _longest_period(kind: type[Driver], scan: dict[Any, Any], group: str) -> float:
    """Return the longest period of a scan group: one group must ask the instrument as often as it needs it."""
    if kind.longest_period is None:
        return math.inf
    others = [period for name, period in {**kind.scan, **scan}.items() if name in kind.scan and name != group]
    asked = any(isinstance(period, int | float) and period <= kind.longest_period for period in others)
    return math.inf if asked else kind.longest_period


def driver_names() -> list[str]:
    """Return the names of the drivers that there are: the files and folders in ``drivers/``."""
    return sorted(each.name for each in pkgutil.iter_modules(drivers.__path__) if each.name != "base")


def driver_class(name: str) -> type[Driver]:
    """Return the driver of that name, one of ``driver_names()``."""
    kind: type[Driver] = import_module(f"drivers.{name}").DRIVER
    return kind
