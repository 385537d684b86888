"""The configuration of a simulation: that of a rack, with files and serial lines of its own.

A simulation writes values that nobody measured. So it never has the archive, the tables, the site file or the devices
of the configuration that it simulates: it runs on a copy of it, in a directory where all of that is its own.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import get_type_hints

import yaml

from archiver.storage.url import DatabaseUrl, of_file
from rackioc.config.config import Config
from rackioc.config.load import load

_HEAD = "# Written by rackioc at each start of a simulation of {path}: change that file.\n"
_TEXT = "tag:yaml.org,2002:str"

# What is to stand at a key in the place of what does
Changes = Mapping[str, "str | int | Changes"]

# What pyserial calls so is this of each pseudo-terminal, which refuses anything else at the second opening
_PSEUDO_TERMINAL: dict[str, str | int] = {"bytesize": 8, "parity": "N"}
# Which a fake takes, as any
_PASSWORD = "simulated"


class SimulationError(Exception):
    """A configuration that cannot be simulated, with a sentence that says why."""


def copy(config: Config, folder: Path) -> Config:
    """Return the configuration of a simulation of ``config``, written into a folder that is made for it.

    No secret is in it, and no variable that holds one is needed for it: fakes take any password.

    Raises SimulationError, and OSError where the folder cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    node = yaml.compose(config.path.read_text(encoding="utf-8"))
    assert isinstance(node, yaml.MappingNode)  # it was loaded
    text = yaml.serialize(_changed(node, _changes(config, folder)), allow_unicode=True, width=10_000)
    path = folder / config.path.name
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=folder, delete=False) as out:  # for its user alone
        out.write(_HEAD.format(path=config.path.absolute()) + text)
    os.replace(out.name, path)
    made = load(path)
    _check(made, folder)
    return made


def _changes(config: Config, folder: Path) -> Changes:
    stem = config.path.stem
    # also keys that the file leaves to the driver: its default may be a line with parity
    known = {each.name: get_type_hints(each.driver.Config) for each in config.instruments}
    lines = {
        name: {
            "port": str(folder / f"{name.replace('/', '_')}.line"),
            **{key: value for key, value in _PSEUDO_TERMINAL.items() if key in known[name]},
        }
        for name, keys in config.raw.items()
        if isinstance(keys.get("port"), str)
    }
    passwords = {name: {"password": _PASSWORD} for name, keys in config.raw.items() if "password" in keys}
    changes: dict[str, str | int | Changes] = {
        "state_directory": str(folder),
        "site_file": f"{stem}.site.yaml",
        "instruments": {name: {**lines.get(name, {}), **passwords.get(name, {})} for name in {**lines, **passwords}},
    }
    if config.archive is not None:
        changes["archive"] = {"database": of_file(f"{stem}.sqlite"), "spool": {"file": f"{stem}.spool"}}
    if config.web is not None:
        # these are read alone, where they are
        read = {key: getattr(config.web, key) for key in ("logins", "certificate", "key")}
        changes["web"] = {key: path for key, path in read.items() if path is not None}
    return changes


def _changed(node: yaml.Node | None, changes: Changes) -> yaml.MappingNode:
    """Return a mapping with its changes; the node stays as it is, for others may refer to it."""
    copied = yaml.MappingNode("tag:yaml.org,2002:map", list(node.value) if isinstance(node, yaml.MappingNode) else [])
    yaml.SafeLoader("").flatten_mapping(copied)
    pairs = {key.value: (key, value) for key, value in copied.value}
    for name, change in changes.items():
        key, value = pairs.get(name, (yaml.ScalarNode(_TEXT, name), None))
        new = _changed(value, change) if isinstance(change, Mapping) else _scalar(change)
        pairs[name] = (key, new)
    copied.value = list(pairs.values())
    copied.flow_style = False
    return copied


def _scalar(value: str | int) -> yaml.ScalarNode:
    if isinstance(value, str):
        return yaml.ScalarNode(_TEXT, value, style='"')
    return yaml.ScalarNode("tag:yaml.org,2002:int", str(value))


def _check(made: Config, folder: Path) -> None:
    """Raise SimulationError if a file that it writes is not its own, however the file was put together."""
    places = [made.site_file]
    if made.archive is not None:
        file = DatabaseUrl.parse(made.archive.database).file
        assert file is not None  # as it was changed
        places += [file, made.archive.spool_file(made.path)]
    if foreign := [place for place in places if place.parent != folder]:
        raise SimulationError(f"{foreign[0]} would be written by the simulation, and is not its own")
