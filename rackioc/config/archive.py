"""``archive:``: what is kept, where, and by which rules."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from archiver.settings import Archive
from ioc.site import is_glob
from rackioc.config import schema
from rackioc.config.instruments import driver_names
from rackioc.config.names import RecordNames
from rackioc.config.yamlfile import Key, YamlFile, as_list, as_mapping

# Tables of the archive that one instrument fills -> the driver of that instrument
_TABLES = {"measurements": "caen", "temperatures": "se521"}


def read_archive(data: Any, instruments: Mapping[Any, Any], names: RecordNames, file: YamlFile) -> Archive | None:
    """Return the settings of the archive; None where there are none, or faults, which are in ``file`` then."""
    if data is None:
        return None
    archive: Archive | None = schema.check(Archive, data, ("archive",), file)
    keys = as_mapping(data)
    pvs = [pattern if isinstance(pattern, str) else "" for pattern in as_list(keys.get("pvs"))]
    for index, pattern in enumerate(pvs):
        if is_glob(pattern):
            names.check_matches(pattern, ("archive", "pvs", index))
    for pattern in map(str, as_mapping(keys.get("policies"))):
        if is_glob(pattern) and not any(fnmatchcase(name, pattern) for name in pvs if not is_glob(name)):
            names.check_matches(pattern, ("archive", "policies", pattern))
    for table, driver in _TABLES.items():
        _check_instrument(as_mapping(keys.get(table)), driver, instruments, ("archive", table), file)
    return archive


def _check_instrument(
    table: dict[Any, Any], driver: str, instruments: Mapping[Any, Any], key: Key, file: YamlFile
) -> None:
    """Report a table that is to be filled by an instrument that there is not, or that has another driver."""
    name = table.get("instrument")
    kinds = {str(each): as_mapping(keys).get("driver") for each, keys in instruments.items()}
    wrong = kinds[name] in driver_names() and kinds[name] != driver if name in kinds else isinstance(name, str)
    if wrong:
        allowed = [each for each, kind in kinds.items() if kind == driver]
        known = f"allowed: {', '.join(allowed)}" if allowed else "there is none"
        file.fault((*key, "instrument"), f"'{name}' is not an instrument with driver {driver}; {known}")
