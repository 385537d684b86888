"""Reading a configuration file: checked whole, and turned into drivers, record fields and the archive's settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ioc import status
from rackioc import archive_status
from rackioc.config import schema, yamlfile
from rackioc.config.archive import read_archive
from rackioc.config.config import Config, ConfigError
from rackioc.config.instruments import Instruments
from rackioc.config.names import RecordNames
from rackioc.config.records import read_records
from rackioc.config.yamlfile import YamlFile, as_mapping


@dataclass(frozen=True, kw_only=True)
class _File:
    """The keys at the top of the file; what stands below them is checked part by part."""

    prefix: str
    instruments: dict[str, dict[str, Any]]
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    site_file: str | None = None
    archive: dict[str, Any] | None = None


def load(path: Path) -> Config:
    """Read and check a configuration file, touching no instrument. Raises ConfigError with all its faults."""
    file = yamlfile.read(path)
    config = None if file.data is None and file.faults else _load(path, file)
    if file.faults or config is None:
        raise ConfigError(path, file.faults)
    return config


def _load(path: Path, file: YamlFile) -> Config | None:
    """Return the configuration; None when it has faults, which are in ``file`` then."""
    data = file.data
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
        names.add(name, points, ())
    site = read_records(as_mapping(data.get("records")), names, file)
    archive = read_archive(data.get("archive"), raw, names, file)
    if file.faults:
        return None
    site_file = Path(data.get("site_file") or f"{path.stem}.site.yaml")
    return Config(path, prefix, instruments, site, site_file, archive, raw)
