"""What clients set at run time (alarm limits, deadbands, descriptions), kept over a restart in a small YAML file.

A number has the unit behind it that the record had when it was put ("20 uA"); one without, as earlier versions wrote
them, is for the unit of the record's first value.
Never a value that drives hardware: only fields that say how a record judges and shows what it has.
"""

from __future__ import annotations

import asyncio
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from drivers.base import Severity
from ioc.fields import FIELDS, Kind
from ioc.units import Quantity
from rackioc.config import yamlfile
from rackioc.config.places import is_missing
from rackioc.config.yamlfile import Fault

log = logging.getLogger("rackioc.site")

# Seconds after a change before the file is written: a script that sets a hundred limits causes one write
DELAY = 0.5
# Seconds after which a file that could not be written is tried again
AGAIN = 10.0
_HEAD = "# Written by rackioc: fields that clients set at run time. They win over the configuration.\n"

Kept = dict[str, dict[str, Any]]


def load(path: Path) -> tuple[Kept, list[Fault]]:
    """Return what was kept, and what is wrong with the file; no file is no fault."""
    if is_missing(path):
        return {}, []
    file = yamlfile.read(path)
    kept: Kept = {}
    for name, fields in (file.data if isinstance(file.data, dict) else {}).items():
        for field, value in (fields if isinstance(fields, dict) else {}).items():
            if field not in FIELDS or not FIELDS[field].live:
                file.fault((name, field), "is not a field that clients may set; remove the line")
                continue
            there = file.as_text((name, field), value) if FIELDS[field].kind is Kind.TEXT else value
            try:
                kept.setdefault(str(name), {})[field] = FIELDS[field].restore(there)
            except ValueError as error:
                file.fault((name, field), f"{error}; correct or remove the line")
    if file.data is not None and not isinstance(file.data, dict):
        file.fault((), "must be a mapping of PV names to fields; remove the file to do without it")
    return kept, file.faults


class SiteFile:
    """The file, written soon after each change, whole or not at all, in a thread: a slow disk holds up nothing.

    trouble   why the file cannot be written, the reason first: of an alarm's text clients show 39 characters; "" if
              it can
    """

    def __init__(self, path: Path, kept: Kept) -> None:
        self._path = path
        self._kept = kept
        self._waiting: asyncio.TimerHandle | None = None
        self._again: asyncio.TimerHandle | None = None
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="site file")
        self.trouble = ""

    def start(self) -> None:
        """Try whether a file can be written there, in the event loop: at the first change it is late to be told."""
        self._write({}, asyncio.get_running_loop())

    def changed(self) -> None:
        """Something was set (called in the event loop's thread)."""
        if self._waiting is None:
            self._waiting = asyncio.get_running_loop().call_later(DELAY, self._save)

    def close(self) -> None:
        """Write what is not written yet."""
        if self._again is not None:
            self._again.cancel()
        if self._waiting is not None:
            self._waiting.cancel()
            self._save()
        self._writer.shutdown()

    def _save(self) -> None:
        self._waiting = self._again = None
        now = {name: fields.copy() for name, fields in self._kept.items()}
        self._writer.submit(self._write, now, asyncio.get_running_loop())

    def _write(self, kept: Kept, loop: asyncio.AbstractEventLoop) -> None:
        """Write in the place of the file what is kept, if that is nothing only try whether that could be done."""
        scratch = self._path.with_name(f"{self._path.name}.new")
        try:
            with scratch.open("w", encoding="ascii") as out:
                out.write(_text(kept))
                out.flush()
                os.fsync(out.fileno())
            if kept:
                scratch.replace(self._path)
            else:
                scratch.unlink()
        except OSError as error:
            if not self.trouble:
                log.error(
                    "%s cannot be written (%s): fields that clients set now are lost at the next restart",
                    self._path,
                    error.strerror,
                )
            self.trouble = f"{error.strerror}: {self._path.name}"
            loop.call_soon_threadsafe(self._try_again)
        else:
            if self.trouble:
                log.info("%s can be written again", self._path)
            self.trouble = ""

    def _try_again(self) -> None:
        if self._again is None:
            self._again = asyncio.get_running_loop().call_later(AGAIN, self._save)


def _text(kept: Kept) -> str:
    """Return the file's text: of 20,000 fields it takes most of a second to make."""
    data = {name: {field: _written(value) for field, value in fields.items()} for name, fields in kept.items()}
    return _HEAD + yaml.safe_dump(data)


def _written(value: Any) -> Any:
    """Return a value as it stands in the file."""
    return value.name if isinstance(value, Severity) else str(value) if isinstance(value, Quantity) else value
