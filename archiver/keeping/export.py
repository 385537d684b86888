"""The export of PVs to a file for other programs: Parquet, CSV, HDF5; none of it needs the memory of all rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from archiver.history.query import HistoryError, Query
from archiver.keeping.exported import ExportRow, Series
from archiver.sample import INVALID, Sample, is_gap

# Rows that are written together.
BATCH = 50_000


# What writes a file of one format.
Write = Callable[[Path, Iterator[Series]], None]


def export(query: Query, file: Path, form: str) -> int:
    """Write the rows of a query to a new file of a format; return how many. Raises HistoryError.

    The file gets its name when it is whole.
    """
    if file.exists():
        raise HistoryError(f"{file} exists: name another file, or remove it")
    write = _writer(form)
    part = file.with_name(f"{file.name}.part")
    counted = [0]
    try:
        write(part, _all_series(query, counted))
        os.replace(part, file)
    except OSError as error:
        raise HistoryError(f"{file} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            part.unlink()
    if query.missing:
        raise HistoryError("; ".join(query.missing))
    return counted[0]


def _writer(form: str) -> Write:
    """Return what writes a format. Raises HistoryError if its library is not installed."""
    try:
        if form == "parquet":
            from archiver.keeping import parquet  # noqa: PLC0415 - an optional library

            return parquet.write
        if form == "hdf5":
            from archiver.keeping import hdf5  # noqa: PLC0415

            return hdf5.write
    except ImportError as error:
        raise HistoryError(
            f"--format {form} needs {error.name}, which is not installed: pip install 'rackioc[export]'"
        ) from None
    from archiver.keeping import csvfile  # noqa: PLC0415

    return csvfile.write


def _all_series(query: Query, counted: list[int]) -> Iterator[Series]:
    for pv in query.names:
        yield Series(pv, _batches(query, pv, counted))


def _batches(query: Query, pv: str, counted: list[int]) -> Iterator[Sequence[ExportRow]]:
    window, batch = query.window, []
    for sample in query.reader.samples([pv], window.begin_ns, window.until_ns):
        batch.append(_row(sample, query))
        if len(batch) >= BATCH:
            counted[0] += len(batch)
            yield batch
            batch = []
    counted[0] += len(batch)
    if batch:
        yield batch


def _row(sample: Sample, query: Query) -> ExportRow:
    pv, time_ns, value, severity, status = sample
    metadata = query.metadata.at(pv, time_ns)
    unit = "" if isinstance(value, str) else metadata.unit
    if severity == INVALID or is_gap(sample):
        return ExportRow(time_ns, None, None, None, unit, severity, status)
    if isinstance(value, str):
        return ExportRow(time_ns, None, value, None, unit, severity, status)
    if isinstance(value, tuple):
        return ExportRow(time_ns, None, None, value, unit, severity, status)
    words = metadata.words
    word = words[value] if isinstance(value, int) and 0 <= value < len(words) else None
    return ExportRow(time_ns, float(value), word, None, unit, severity, status)
