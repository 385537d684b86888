"""The history as structured arrays of numpy, for notebooks."""

from __future__ import annotations

import math
import time
import warnings
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from archiver.history.query import Query, Window, open_query, time_of
from archiver.history.rows import word
from archiver.sample import INVALID, SEVERITIES, Sample

Table = np.ndarray[Any, Any]
COLUMNS = ("time", "value", "severity", "status")
_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclass(slots=True)
class _Series:
    """The rows of one PV as they come; a value that is not known (INVALID, or a gap) is None."""

    times_ns: array[int] = field(default_factory=lambda: array("q"))
    values: list[object] = field(default_factory=list)
    severities: list[str] = field(default_factory=list)
    statuses: list[str] = field(default_factory=list)

    def add(self, sample: Sample, words: tuple[str, ...]) -> None:
        self.times_ns.append(sample.time_ns)
        self.values.append(_value(sample, words))
        self.severities.append(SEVERITIES[sample.severity])
        self.statuses.append(sample.status)

    def table(self) -> Table:
        numeric = all(value is None or isinstance(value, int | float) for value in self.values)
        width = max(map(len, self.statuses), default=1)
        kinds = ["M8[ns]", "f8" if numeric else "O", "U8", f"U{width}"]
        table = np.empty(len(self.values), list(zip(COLUMNS, kinds, strict=True)))
        table["time"] = np.frombuffer(self.times_ns, "M8[ns]")
        table["value"] = _floats(self.values) if numeric else _objects(self.values)
        table["severity"] = self.severities
        table["status"] = self.statuses
        return table


def tables(
    database: str, pvs: Sequence[str], since: str | datetime | None, until: str | datetime | None
) -> dict[str, Table]:
    """Return a table for each PV: float64 values, or objects (words, texts, arrays); NaN or None where not known.

    Warns of PVs that are not in the archive. Raises HistoryError if none is.
    """
    now_ns = time.time_ns()
    until_ns = time_of(until, now_ns)
    window = Window(time_of(since, now_ns), now_ns if until_ns is None else until_ns)
    with open_query(database, pvs, window) as query:
        for sentence in query.missing:
            warnings.warn(sentence, stacklevel=3)
        return {pv: columns.table() for pv, columns in _read(query).items()}


def _read(query: Query) -> dict[str, _Series]:
    found = {pv: _Series() for pv in query.names}
    for sample in query.samples():
        found[sample.pv].add(sample, query.metadata.at(sample.pv, sample.time_ns).words)
    return found


def _value(sample: Sample, words: tuple[str, ...]) -> object:
    if sample.severity == INVALID:
        return None
    value = word(sample.value, words)
    return _NUMBERS.get(value, value) if isinstance(value, str) else value


def _floats(values: Sequence[object]) -> Table:
    return np.array([math.nan if value is None else value for value in values], "f8")


def _objects(values: Sequence[object]) -> Table:
    """Return a column of objects, filled one by one, or numpy would make rows and columns of arrays."""
    column = np.empty(len(values), "O")
    for index, value in enumerate(values):
        column[index] = np.array(value) if isinstance(value, tuple) else value
    return column
