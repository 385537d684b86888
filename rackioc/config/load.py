"""Reading a configuration file: checked whole, and turned into drivers, record fields and the archive's settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archiver.settings import ArchiveSettings, Fault
from ioc import status
from rackioc import archive_status
from rackioc.config import schema, yamlfile
from rackioc.config.archive import read_archive
from rackioc.config.config import Config, ConfigError
from rackioc.config.instruments import Instruments
from rackioc.config.names import RecordNames
from rackioc.config.places import Places
from rackioc.config.records import read_records
from rackioc.config.yamlfile import Key, YamlFile, as_mapping
from web.settings import WebSettings


@dataclass(frozen=True, kw_only=True)
class _File:
    """The keys at the top of the file; what stands below them is checked part by part."""

    prefix: str
    instruments: dict[str, dict[str, Any]]
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    state_directory: str | None = None
    site_file: str | None = None
    archive: dict[str, Any] | None = None
    web: dict[str, Any] | None = None

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong beyond the types."""
        if not self.prefix:
            yield ("prefix",), "is empty; it begins the names of all PVs, such as LAB:"
        for key in ("state_directory", "site_file"):
            if getattr(self, key) == "":
                yield (key,), "is empty; write a path, or leave the key out"


def load(path: Path, *, directories: bool = False) -> Config:
    """Read and check a configuration file, touching no instrument. Raises ConfigError with all its faults.

    ``directories``: one that is not there is a fault, too. Who serves goes on: its disk may come later.
    """
    return _checked(path, yamlfile.read(path), directories)


def load_instruments(path: Path, *, simulated: bool = False) -> Config:
    """Return what a configuration says of its PVs, not where they are kept, nor of ``web``. Raises ConfigError.

    ``simulated``: fakes are asked in the place of the instruments, and take any password.
    """
    return _without_database(path, lambda key: key[0] != "web", simulated)


def load_simulated(path: Path) -> Config:
    """Return a configuration for its simulation, which has a database of its own. Raises ConfigError."""
    return _without_database(path, lambda key: True, simulated=True)


def _without_database(path: Path, wanted: Callable[[Key], bool], simulated: bool) -> Config:
    def any_text(key: Key) -> bool:
        return simulated and key[0] == "instruments" and key[-1] == "password"

    file = yamlfile.read(path, lambda key: wanted(key) and key[:2] != ("archive", "database"), any_text)
    if isinstance(archive := as_mapping(file.data).get("archive"), dict):
        archive["database"] = "sqlite:///unread"  # must be given, and is not needed
    return _checked(path, file)


def _checked(path: Path, file: YamlFile, directories: bool = False) -> Config:
    config = None if file.data is None and file.faults else _load(path, file, directories)
    if file.faults or config is None:
        raise ConfigError(path, file.faults)
    return config


def load_archive(path: Path, *keys: str) -> ArchiveSettings:
    """Return what a configuration says under ``archive``, and read nothing else of it. Raises ConfigError.

    ``keys``: what is needed of it, if that is not all: the rest is neither read nor checked.
    """

    def wanted(key: Key) -> bool:
        if key[0] == "archive":
            return len(key) == 1 or not keys or key[1] in keys
        return key[0] == "state_directory"

    file = yamlfile.read(path, wanted)
    if file.data is None and file.faults:
        raise ConfigError(path, file.faults)
    data = as_mapping(file.data)
    archive, given = None, data.get("archive")
    if given is None:
        file.fault(("archive",), "is missing; it says what to keep (pvs) and where (database)")
    else:
        # in the place of what must be given and is not needed
        unread = {"database": "sqlite:///unread", "pvs": []} if keys else {}
        there = {**unread, **given} if isinstance(given, dict) else given
        archive = schema.check(ArchiveSettings, there, ("archive",), file)
    places = Places(path, data, file)
    places.check_state()
    if file.faults or archive is None:
        raise ConfigError(path, file.faults)
    return places.archive(archive)


def load_prefix(path: Path) -> str:
    """Return the prefix of a configuration, and read nothing else of it. Raises ConfigError."""
    file = yamlfile.read(path, lambda key: key[0] == "prefix")
    prefix = as_mapping(file.data).get("prefix")
    if not file.faults and not (isinstance(prefix, str) and prefix):
        file.fault(("prefix",), "is missing")
    if file.faults:
        raise ConfigError(path, file.faults)
    return str(prefix)


def _load(path: Path, file: YamlFile, directories: bool) -> Config | None:
    """Return the configuration; None when it has faults, which are in ``file`` then."""
    data = file.data
    if "caen_connection" in as_mapping(data):
        file.fault(
            ("caen_connection",), f"is of the CAEN HV logger; 'rackioc convert {path} > rack.yaml' takes it over"
        )
        return None
    schema.check(_File, data, (), file)
    if not isinstance(data, dict):
        return None
    prefix = data.get("prefix")
    if not isinstance(prefix, str):
        prefix = ""
    names = RecordNames(prefix, file)
    names.check_characters(prefix, ("prefix",))
    own = {status.NAME: ("IOC", status.POINTS)}
    if data.get("archive") is not None:
        own[archive_status.NAME] = ("archiver", archive_status.POINTS)
    raw = as_mapping(data.get("instruments"))
    reserved = {name: owner for name, (owner, _) in own.items()}
    instruments = Instruments(names, file, reserved).read(raw)
    for name, (_, points) in own.items():
        if name not in raw:  # else that is the fault
            names.add(name, points, ())
    site = read_records(as_mapping(data.get("records")), names, file)
    archive = read_archive(data.get("archive"), raw, names, file)
    web = None if data.get("web") is None else schema.check(WebSettings, data["web"], ("web",), file)
    places = Places(path, data, file)
    site_file = places.site_file(data.get("site_file"))
    if archive is not None:
        archive = places.archive(archive)
    if web is not None:
        web = places.web(web)
    places.check_distinct(site_file, archive, web)
    if directories:
        places.check_directories(site_file, archive, web)
    if file.faults:
        return None
    keys = {str(name): own for name, own in raw.items()}
    return Config(path, prefix, instruments, site, site_file, archive, web, keys)
