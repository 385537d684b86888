"""The settings under ``archive:`` of a configuration, and their faults."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import reduce
from pathlib import Path
from typing import Literal, NamedTuple

from archiver.storage.migrations import own_tables
from archiver.storage.url import DatabaseUrl
from archiver.units import seconds, size

# Of the column in which it is kept (db/mysql/0003_owners.sql).
LONGEST_NAME = 100

# The keep_alive of a PV whose policies give none.
KEEP_ALIVE = "1h"

# A duration, a size or a deadband, with its unit or as a plain number.
Quantity = str | float | int
# The keys below ``archive:``, and a sentence.
Fault = tuple[tuple[str, ...], str]


@dataclass(frozen=True, kw_only=True)
class ThinSettings:
    """The settings ``thin:``. after: the age from which rows are thinned; to: the length of the bins."""

    after: Quantity
    to: Quantity

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong with these settings."""
        yield from _wrong(seconds, after=self.after, to=self.to)


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The settings of how a PV is stored: every update, or with ``scan: 60s`` the newest value at each full period.

    deadband: ``0.5`` in the PV's unit, ``2%`` of the row before, or ``1 digit`` of the last that it shows;
    min_period: at most one row in that time;
    keep_alive: a row at least that often; keep: rows older than that are deleted, but for the last one; thin: see
    ``ThinSettings``. A key that is None has its value from the policies before.
    """

    scan: Quantity | None = None
    deadband: Quantity | None = None
    min_period: Quantity | None = None
    keep_alive: Quantity | None = None
    keep: Quantity | None = None
    thin: ThinSettings | None = None

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong with these settings."""
        durations = {
            "scan": self.scan,
            "min_period": self.min_period,
            "keep_alive": self.keep_alive,
            "keep": self.keep,
        }
        wrong = list(_wrong(seconds, **{key: value for key, value in durations.items() if value is not None}))
        yield from wrong
        if self.deadband is not None:
            yield from _wrong(deadband, deadband=self.deadband)
        if self.thin is not None:
            badly = [(("thin", *key), sentence) for key, sentence in self.thin.faults()]
            yield from badly
            if self.keep is not None and not wrong and not badly and seconds(self.keep) <= seconds(self.thin.after):
                gone = f"rows are kept for {self.keep}, and are gone before they are {self.thin.after} old"
                yield ("thin", "after"), f"{gone}: nothing is ever thinned; keep them longer, or thin earlier"

    def over(self, below: Policy) -> Policy:
        """Return both policies as one: a key that this one leaves open is as in ``below``."""
        return Policy(**{key: getattr(below if getattr(self, key) is None else self, key) for key in _POLICY})


# The name of a PV with elements of its array (WF.[0:3], WF.VAL[2]) or a filter (WF.{"arr":{"s":2}}) of EPICS 7.
_ELEMENTS = re.compile(r"[^*?\[\]{}]+\.[A-Z0-9]*\$?(?:\[-?\d*(?::-?\d*){0,2}\]|\{.*\})")

_POLICY = tuple(Policy.__dataclass_fields__)


@dataclass(frozen=True, kw_only=True)
class SpoolSettings:
    """The settings ``spool:`` of the file in which samples wait while the database is away.

    limit: the largest size of the file; floor: the disk space that is to stay free.
    """

    file: str | None = None
    limit: Quantity = "1GB"
    floor: Quantity = "500MB"

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong with these settings."""
        if self.file is not None and not Path(self.file).name:
            yield ("file",), f"{self.file!r} is not the name of a file"
        yield from _wrong(size, limit=self.limit, floor=self.floor)


@dataclass(frozen=True, kw_only=True)
class MeasurementSettings:
    """The settings ``measurements:``: one row per channel and interval; channels: slot -> ALL, or its channels."""

    instrument: str
    channels: Mapping[int, Literal["ALL"] | tuple[int, ...]]
    interval: Quantity = "60s"
    table: str = "measurements"
    time: Literal["local", "utc"] = "local"

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong with these settings."""
        yield from _wrong(_whole_seconds, interval=self.interval)


@dataclass(frozen=True, kw_only=True)
class TemperatureSettings:
    """The settings ``temperatures:``: one row per interval, the mean of some readings around the full interval."""

    instrument: str
    interval: Quantity = "60s"
    readings: int = 20
    spacing: Quantity = "1s"
    table: str = "temperatures"
    columns: tuple[str, str, str, str, str] = ("DateTm", "tc1", "tc2", "tc3", "tc4")
    time: Literal["local", "utc"] = "local"

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong with these settings."""
        wrong = [*_wrong(_whole_seconds, interval=self.interval), *_wrong(seconds, spacing=self.spacing)]
        yield from wrong
        if not wrong and not 1 <= self.readings <= seconds(self.interval) / seconds(self.spacing):
            long = f"{self.readings} readings {self.spacing} apart do not fit into the interval of {self.interval}"
            yield ("readings",), "must be at least 1" if self.readings < 1 else long
        folded = [column.casefold() for column in self.columns]  # a database takes tc1 and TC1 for one
        for number, column in enumerate(self.columns):
            if folded.index(folded[number]) < number:
                yield ("columns", str(number)), f"{column!r} is there already; give each column a name of its own"


@dataclass(frozen=True, kw_only=True)
class ArchiveSettings:
    """The settings ``archive:``.

    database: an SQLAlchemy URL; pvs: globs over the IOC's own PVs, and names of other IOCs' PVs; name: whose rows
    they are, where several archivers have one database; policies: name or glob -> ``Policy``; of several that match a
    PV the later ones win, key by key.
    """

    database: str = field(repr=False)
    pvs: tuple[str, ...]
    name: str | None = None
    policies: Mapping[str, Policy] = field(default_factory=dict)
    spool: SpoolSettings = SpoolSettings()
    measurements: MeasurementSettings | None = None
    temperatures: TemperatureSettings | None = None

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong with these settings beyond their types."""
        wrong = DatabaseUrl.faults(self.database)
        yield from ((("database",), sentence) for sentence in wrong)
        if self.name is not None and not 0 < len(self.name) <= LONGEST_NAME:
            yield ("name",), f"must have 1 to {LONGEST_NAME} characters"
        for number, pv in enumerate(self.pvs):
            if pv != pv.strip() or not pv:  # on a server it would be the same name as that without
                yield ("pvs", str(number)), f"{pv!r} is not the name of a PV: leave out the space around it"
        parts: dict[tuple[str, ...], Policy | SpoolSettings | MeasurementSettings | TemperatureSettings | None] = {
            ("spool",): self.spool,
            ("measurements",): self.measurements,
            ("temperatures",): self.temperatures,
            **{("policies", pattern): policy for pattern, policy in self.policies.items()},
        }
        loggers = {"measurements": self.measurements, "temperatures": self.temperatures}
        tables = {name: each.table.casefold() for name, each in loggers.items() if each is not None}
        if len(tables) > len(set(tables.values())):
            yield ("temperatures", "table"), "is that of measurements, too; give each a table of its own"
        taken = own_tables(DatabaseUrl.parse(self.database).backend) if tables and not wrong else set()
        for name, logger in loggers.items():
            if logger is not None and tables[name] in taken:
                yield (name, "table"), f"is {logger.table!r}, one of the archive's own tables; write another name"
        for where, part in parts.items():
            if part is not None:
                yield from (((*where, *key), sentence) for key, sentence in part.faults())

    @property
    def shown(self) -> str:
        """Return the URL of the database without its password."""
        return DatabaseUrl.parse(self.database).shown

    def identity(self, config: Path, prefix: str) -> str:
        """Return the name of this archiver in its database, whatever happens to the process and to the files."""
        return self.name or f"{prefix}{config.stem}"

    def spool_file(self, config: Path) -> Path:
        """Return the path of the spool; the default for rack.yaml is rack.spool in the working directory."""
        return Path(self.spool.file or f"{config.stem}.spool")

    def status_file(self, config: Path) -> Path:
        """Return the path of the archiver's status file (see ``archiver.health``): beside the spool."""
        spool = self.spool_file(config)
        return spool.with_name(f"{spool.name}.status")

    def figures_file(self, config: Path) -> Path:
        """Return the path of the file with the figures of each PV: beside the spool."""
        spool = self.spool_file(config)
        return spool.with_name(f"{spool.name}.pvs")

    def matches(self, pv: str) -> bool:
        """Return whether a PV is to be archived."""
        return any(_fits(pv, pattern) for pattern in self.pvs)

    def policy(self, pv: str) -> Policy:
        """Return the policy of a PV: all that match it as one."""
        matching = (policy for pattern, policy in self.policies.items() if _fits(pv, pattern))
        return reduce(lambda below, above: above.over(below), matching, Policy())


def is_name(pattern: str) -> bool:
    """Return whether an entry under ``pvs`` is the name of a PV and no glob; elements of an array are a name, too."""
    return not set(pattern) & set("*?[") or _ELEMENTS.fullmatch(pattern) is not None


def is_glob(pattern: str) -> bool:
    """Return whether an entry is a glob and no name; one with brackets alone, such as ``T[12]``, may be either."""
    return not is_name(pattern) and bool(set(pattern) & set("*?"))


def _fits(pv: str, pattern: str) -> bool:
    return pv == pattern or (not is_name(pattern) and fnmatchcase(pv, pattern))


class Deadband(NamedTuple):
    """A deadband: a width, and of what it is: ``unit``, ``value`` (then it is a fraction) or ``digit``."""

    width: float
    of: Literal["unit", "value", "digit"]


def deadband(text: Quantity) -> Deadband:
    """Return the deadband of ``0.5``, ``2%`` or ``1 digit``. Raises ValueError."""
    match = re.fullmatch(r"(.*?)\s*(%|digits?)?", str(text).strip())
    number, suffix = match.groups() if match else ("", None)
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ValueError(
            f"{text!r} is not a deadband: write 0.5 (in the PV's unit), 2% (of its value) or 1 digit (its last one)"
        )
    if suffix == "%":
        return Deadband(value / 100, "value")
    return Deadband(value, "digit" if suffix else "unit")


def _whole_seconds(text: Quantity) -> float:
    """Return the seconds of an interval of a table whose times have no fractions. Raises ValueError."""
    value = seconds(text)
    if value % 1:
        raise ValueError(f"{text!r} is not a number of whole seconds")
    return value


def _wrong(parse: Callable[[Quantity], object], **values: Quantity) -> Iterator[Fault]:
    for key, value in values.items():
        try:
            parsed = parse(value)
        except ValueError as error:
            yield (key,), str(error)
        else:
            if parse in {seconds, _whole_seconds} and parsed == 0:
                yield (key,), "must be more than 0"
