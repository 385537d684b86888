"""What is sent of a PV: pieces of samples of one type, year by year in the protocol, with the metadata that hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from archiver.blocks import Floats, Integers
from archiver.sample import Metadata, Range, Value


class Kind(IntEnum):
    """Types of samples, numbered as PayloadType of EPICSEvent.proto; the others of it are never archived here."""

    SCALAR_STRING = 0
    SCALAR_ENUM = 3
    SCALAR_INT = 5
    SCALAR_DOUBLE = 6
    WAVEFORM_DOUBLE = 13

    @property
    def dbr_type(self) -> str:
        """Return the name of the type in descriptions of PVs."""
        return f"DBR_{self.name}"


NUMBERS = frozenset({Kind.SCALAR_ENUM, Kind.SCALAR_INT, Kind.SCALAR_DOUBLE})

# Names and values that belong to one sample.
Fields = Mapping[str, str]


class Piece(NamedTuple):
    """Samples of one kind in order of time.

    value      an array of numbers, with a row of a table for each sample if all samples are arrays of one length; a
               list of texts or of arrays
    status     numbers of alarm statuses of Channel Access
    fields     index of a sample -> what is told with it
    """

    kind: Kind
    metadata: Metadata
    time_ns: Integers
    value: Floats | Integers | list[Any]
    severity: Integers
    status: Integers
    fields: Mapping[int, Fields]

    def take(self, chosen: Any) -> Piece:
        """Return the samples of some indexes, or of a slice."""
        numbers = np.arange(len(self.time_ns))[chosen].tolist()
        value = self.value[chosen] if isinstance(self.value, np.ndarray) else [self.value[each] for each in numbers]
        fields = (
            {new: self.fields[old] for new, old in enumerate(numbers) if old in self.fields} if self.fields else {}
        )
        return self._replace(
            time_ns=self.time_ns[chosen],
            value=value,
            severity=self.severity[chosen],
            status=self.status[chosen],
            fields=fields,
        )

    def values(self) -> list[Value]:
        """Return the values as numbers, texts and lists of numbers."""
        return self.value.tolist() if isinstance(self.value, np.ndarray) else self.value

    @property
    def elements(self) -> int:
        """Return the number of elements of the first sample."""
        if self.kind is not Kind.WAVEFORM_DOUBLE or not len(self.time_ns):
            return 1
        return len(self.value[0])


def headers(metadata: Metadata) -> dict[str, str]:
    """Return the metadata as the Archiver Appliance names and writes them: numbers as doubles."""
    found: dict[str, str] = {}
    for names, limits in (
        (("LOPR", "HOPR"), metadata.display),
        (("LOW", "HIGH"), metadata.warning),
        (("LOLO", "HIHI"), metadata.alarm),
    ):
        found |= _limits(names, limits)
    if metadata.words:
        return {f"ENUM_{number}": word for number, word in enumerate(metadata.words)}
    if metadata.unit:
        found["EGU"] = metadata.unit
    return {**found, "PREC": f"{float(metadata.precision)}"}


def _limits(names: tuple[str, str], limits: Range) -> dict[str, str]:
    return {
        name: repr(float(limit))
        for name, limit in zip(names, limits, strict=True)
        if limit is not None and math.isfinite(limit)
    }
