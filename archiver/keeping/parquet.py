"""The export to a Parquet file: one table, PV after PV."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow
from pyarrow import parquet

from archiver.keeping.exported import Series
from archiver.sample import SEVERITIES

SCHEMA = pyarrow.schema(
    [
        ("time", pyarrow.timestamp("ns", tz="UTC")),
        ("pv", pyarrow.string()),
        ("value", pyarrow.float64()),
        ("text", pyarrow.string()),
        ("array", pyarrow.list_(pyarrow.float64())),
        ("unit", pyarrow.string()),
        ("severity", pyarrow.string()),
        ("status", pyarrow.string()),
    ]
)


def write(file: Path, series: Iterator[Series]) -> None:
    """Write all series to a file. Raises OSError."""
    with parquet.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
        for pv, batches in series:
            for batch in batches:
                times, values, texts, arrays, units, severities, statuses = zip(*batch, strict=True)
                words = [SEVERITIES[severity] for severity in severities]
                columns = (times, [pv] * len(batch), values, texts, arrays, units, words, statuses)
                made = [pyarrow.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
                writer.write_table(pyarrow.table(made, schema=SCHEMA))
