"""The export to a CSV file: a line for each row, PV after PV."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from archiver.history.formats import write_csv
from archiver.keeping.exported import Series
from archiver.sample import SEVERITIES
from archiver.times import format_time

COLUMNS = ("time", "pv", "value", "text", "array", "unit", "severity", "status")


def write(file: Path, series: Iterator[Series]) -> None:
    """Write all series to a file. Raises OSError."""
    with file.open("w", encoding="utf-8", newline="") as out:
        write_csv(chain([COLUMNS], _rows(series)), out)


def _rows(series: Iterator[Series]) -> Iterator[tuple[object, ...]]:
    for pv, batches in series:
        for row in chain.from_iterable(batches):
            severity = SEVERITIES[row.severity]
            yield format_time(row.time_ns), pv, row.value, row.text, _json(row.array), row.unit, severity, row.status


def _json(array: tuple[float, ...] | None) -> str | None:
    """Return an array as JSON, which has no NaN: it is null there."""
    return None if array is None else json.dumps([each if math.isfinite(each) else None for each in array])
