"""Rows of the history as a table, csv and json."""

import csv
import json
from collections.abc import Callable, Iterable
from typing import TextIO

from archiver.row import Row
from archiver.sample import Value
from archiver.when import format_time

COLUMNS = ("time", "pv", "value", "unit", "severity", "status")


def show_table(rows: Iterable[Row], out: TextIO) -> None:
    """For the eye: numbers with the precision of their PV. By hand, for rich takes 0.3 ms a row."""
    lines = [COLUMNS, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(map(str.ljust, line, widths)).rstrip(), file=out)


def show_csv(rows: Iterable[Row], out: TextIO) -> None:
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_exact(row) for row in rows)


def show_json(rows: Iterable[Row], out: TextIO) -> None:
    """One array, an object a line: written as it is read, so that a long history needs no memory."""
    separator = "[\n"
    for row in rows:
        out.write(separator + json.dumps(dict(zip(COLUMNS, _exact(row), strict=True)), ensure_ascii=False))
        separator = ",\n"
    out.write("[]\n" if separator == "[\n" else "\n]\n")


FORMATS: dict[str, Callable[[Iterable[Row], TextIO], None]] = {
    "table": show_table,
    "csv": show_csv,
    "json": show_json,
}


def _cells(row: Row) -> tuple[str, ...]:
    return (format_time(row.time_ns), row.pv, _number(row.value, row.precision), *row[3:6])


def _exact(row: Row) -> tuple[Value, ...]:
    return (format_time(row.time_ns), *row[1:6])


def _number(value: Value, precision: int) -> str:
    """PREC 0 is what a record has that was given none: then as many digits as are worth reading."""
    if isinstance(value, float):
        return f"{value:.{precision}f}" if precision > 0 else f"{value:.7g}"
    return str(value)
