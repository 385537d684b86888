"""``archive:``: what is kept, where, and by which rules."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from archiver.settings import ArchiveSettings, is_glob, is_name
from rackioc.config import schema
from rackioc.config.instruments import driver_class, driver_names
from rackioc.config.names import RecordNames
from rackioc.config.yamlfile import Key, YamlFile, as_list, as_mapping

# Keys whose table is filled by one instrument
_TABLES = ("measurements", "temperatures")


def read_archive(
    data: Any, instruments: Mapping[Any, Any], names: RecordNames, file: YamlFile
) -> ArchiveSettings | None:
    """Return the settings of the archive; None where there are none, or faults, which are in ``file`` then."""
    if data is None:
        return None
    archive: ArchiveSettings | None = schema.check(ArchiveSettings, data, ("archive",), file)
    keys = as_mapping(data)
    pvs = [pattern if isinstance(pattern, str) else "" for pattern in as_list(keys.get("pvs"))]
    for index, pattern in enumerate(pvs):
        if is_glob(pattern):
            names.check_matches(pattern, ("archive", "pvs", index))
    for pattern in map(str, as_mapping(keys.get("policies"))):
        if is_glob(pattern) and not any(fnmatchcase(name, pattern) for name in pvs if is_name(name)):
            names.check_matches(pattern, ("archive", "policies", pattern))
    _check_names(keys, file)
    for section in _TABLES:
        _check_instrument(section, as_mapping(keys.get(section)), instruments, file)
    if archive is not None:
        _check_channels(as_mapping(keys.get("measurements")), instruments, file)
    return archive


def _check_names(keys: dict[Any, Any], file: YamlFile) -> None:
    """Report names of PVs, tables and columns that are empty."""
    tables = {section: as_mapping(keys.get(section)) for section in _TABLES}
    names: dict[Key, Any] = {
        **{("pvs", index): name for index, name in enumerate(as_list(keys.get("pvs")))},
        **{("policies", name): name for name in as_mapping(keys.get("policies"))},
        **{(section, "table"): table.get("table") for section, table in tables.items()},
        **{
            (section, "columns", index): name
            for section, table in tables.items()
            for index, name in enumerate(as_list(table.get("columns")))
        },
    }
    for path, name in names.items():
        if name == "":
            file.fault(("archive", *path), "is empty; write a name")


def _check_instrument(section: str, table: dict[Any, Any], instruments: Mapping[Any, Any], file: YamlFile) -> None:
    """Report a table that is to be filled by an instrument that there is not, or whose driver cannot."""
    name = table.get("instrument")
    if not isinstance(name, str):
        return
    kinds: dict[str, Any] = {str(each): as_mapping(keys).get("driver") for each, keys in instruments.items()}
    if name in kinds and (kinds[name] not in driver_names() or section in driver_class(kinds[name]).tables):
        return  # a driver that does not exist is a fault already
    able = [driver for driver in driver_names() if section in driver_class(driver).tables]
    allowed = [each for each, kind in kinds.items() if kind in able]
    known = f"allowed: {', '.join(allowed)}" if allowed else "there is none"
    problem = f"'{name}' is not an instrument with driver {' or '.join(able)}; {known}"
    file.fault(("archive", section, "instrument"), problem)


def _check_channels(table: dict[Any, Any], instruments: Mapping[Any, Any], file: YamlFile) -> None:
    """Report channels of which there would never be a row, as the crate's own keys leave them out."""
    name = table.get("instrument")
    keys: dict[str, Any] = {str(each): as_mapping(own) for each, own in instruments.items()}
    served = as_mapping(keys.get(name, {}).get("channels")) if isinstance(name, str) else {}
    if not served:
        return  # all are
    for slot, wanted in as_mapping(table.get("channels")).items():
        path = ("archive", "measurements", "channels", slot)
        if slot not in served:
            file.fault(path, f"there would be no row: 'channels' of {name} does not serve the slot")
        elif isinstance(served[slot], list) and (
            missing := [each for each in as_list(wanted) if each not in served[slot]]
        ):
            file.fault(path, f"there would be no row of {missing}: 'channels' of {name} does not serve them")
