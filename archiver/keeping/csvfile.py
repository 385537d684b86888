"""The export to a CSV file: a line for each row, PV after PV."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path

from archiver.keeping.exported import Series
from archiver.sample import SEVERITIES
from archiver.times import format_time

COLUMNS = ("time", "pv", "value", "text", "array", "unit", "severity", "status")


def write(file: Path, series: Iterator[Series]) -> None:
    """Write all series to a file. Raises OSError."""
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(COLUMNS)
        for pv, batches in series:
            for batch in batches:
                writer.writerows(
                    (format_time(row.time_ns), pv, row.value, row.text, _json(row.array), row.unit,
                     SEVERITIES[row.severity], row.status)
                    for row in batch
                )  # fmt: skip


def _json(array: tuple[float, ...] | None) -> str | None:
    """Return an array as JSON, which has no NaN: it is null there."""
    return None if array is None else json.dumps([each if math.isfinite(each) else None for each in array])
