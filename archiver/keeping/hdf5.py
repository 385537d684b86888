"""The export to an HDF5 file: a group for each PV, with a dataset for each column."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from archiver.keeping.exported import ExportRow, Series

# Rows of a chunk of a dataset
CHUNK = 4096

_TEXT = h5py.string_dtype()
COLUMNS: dict[str, Any] = {
    "time": np.int64,
    "value": np.float64,
    "text": _TEXT,
    "unit": _TEXT,
    "severity": np.int8,
    "status": _TEXT,
}
# A dataset of its own for PVs that have arrays
ARRAY = h5py.vlen_dtype(np.float64)


def write(file: Path, series: Iterator[Series]) -> None:
    """Write all series to a file. Raises OSError."""
    with h5py.File(file, "w") as archive:
        for pv, batches in series:
            group = archive.require_group(pv)  # it is there if a name before goes on with a slash: A:B/C, A:B
            for name, kind in COLUMNS.items():
                _dataset(group, name, kind)
            for batch in batches:
                _append(group, batch)


def _dataset(group: Any, name: str, kind: Any) -> None:
    group.create_dataset(name, (0,), kind, maxshape=(None,), chunks=(CHUNK,), compression="gzip", shuffle=True)


def _append(group: Any, batch: Sequence[ExportRow]) -> None:
    begin = len(group["time"])
    columns = {
        "time": [row.time_ns for row in batch],
        "value": [math.nan if row.value is None else row.value for row in batch],
        "text": [row.text or "" for row in batch],
        "unit": [row.unit for row in batch],
        "severity": [row.severity for row in batch],
        "status": [row.status for row in batch],
    }
    for name, values in columns.items():
        group[name].resize((begin + len(batch),))
        group[name][begin:] = values
    if "array" not in group and any(row.array is not None for row in batch):
        _dataset(group, "array", ARRAY)
    if "array" in group:
        group["array"].resize((begin + len(batch),))
        for number, row in enumerate(batch, begin):
            if row.array:
                group["array"][number] = np.array(row.array)
