"""A batch: what is committed together, and its form in the spool."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from archiver.sample import INVALID, RESOLUTION_NS, Dated, Gap, Metadata, Sample, Value, gap_marker
from archiver.storage.store import TableRow

# Errors of ``Batch.load``: the data are damaged, or were written by another version.
UNREADABLE = (zlib.error, ValueError, TypeError, LookupError, AttributeError)

_NUMBERS = (float, int)
_SCALARS = (*_NUMBERS, str)


@dataclass
class Batch:
    """The samples, rows of other tables, and metadata with their PV, that are stored together.

    size      bytes in memory
    lost_ns   when samples were spooled that are lost, of nobody knows which PVs (ns since 1970); 0 if there are none
    """

    samples: list[Sample] = field(default_factory=list)
    rows: list[TableRow] = field(default_factory=list)
    metadata: list[tuple[str, Dated]] = field(default_factory=list)
    size: int = field(default=0, compare=False)
    lost_ns: int = 0

    def __bool__(self) -> bool:
        return bool(self.samples or self.rows or self.metadata or self.lost_ns)

    def dump(self) -> bytes:
        """Return the batch as compressed JSON."""
        metadata = [(pv, (dated.since_ns, asdict(dated.metadata))) for pv, dated in self.metadata]
        lost = [self.lost_ns] if self.lost_ns else []
        document = json.dumps([self.samples, self.rows, metadata, *lost], default=_packed)
        return zlib.compress(document.encode(), level=1)

    @classmethod
    def load(cls, data: bytes) -> Self:
        """Return the batch that was dumped. Raises one of ``UNREADABLE``."""
        samples, rows, metadata, *lost = json.loads(zlib.decompress(data))
        (lost_ns,) = map(int, lost or [0])
        if isinstance(metadata, dict):  # as the archiver wrote it before, one entry a PV
            metadata = list(metadata.items())
        return cls(
            [_sample(*each) for each in samples],
            [TableRow(table, tuple(columns), tuple(values), key) for table, columns, values, key in rows],
            [(pv, Dated(since, _metadata(about))) for pv, (since, about) in metadata],
            lost_ns=lost_ns,
        )

    @classmethod
    def lost(cls, data: bytes, spooled_ns: int) -> Self:
        """Return what takes the place of a batch that cannot be read, and was spooled at a time.

        It marks a gap right before the first row of each PV that is named there. So the rows find their places should
        they be brought in later.
        """
        try:
            samples = json.loads(zlib.decompress(data))[0]
            first_ns: dict[str, int] = {}
            for pv, time_ns, *_ in samples:
                if type(pv) is not str or type(time_ns) is not int:
                    raise TypeError(pv)
                first_ns[pv] = min(time_ns, first_ns.get(pv, time_ns))
        except UNREADABLE:
            return cls(lost_ns=spooled_ns)
        before = {pv: (time_ns // RESOLUTION_NS - 1) * RESOLUTION_NS for pv, time_ns in first_ns.items()}
        return cls([gap_marker(pv, time_ns, Gap.DAMAGED) for pv, time_ns in before.items()])


def _sample(pv: str, time_ns: int, value: Any, severity: int, status: str) -> Sample:
    """Return the sample of a JSON document. Raises TypeError or ValueError if it is none."""
    sample = Sample(pv, time_ns, _value(value), severity, status)
    if [type(each) for each in (pv, time_ns, severity, status)] != [
        str,
        int,
        int,
        str,
    ] or not (0 <= severity <= INVALID and _is_value(sample.value)):
        raise ValueError(f"{sample} is not a sample")
    return sample


def _packed(value: bytes) -> dict[str, str]:
    """Return a packed array for a JSON document."""
    return {"packed": base64.b64encode(value).decode()}


def _value(value: Any) -> Value:
    """Return a value of a JSON document, in which tuples are lists."""
    if isinstance(value, dict):
        return base64.b64decode(value["packed"])
    return tuple(value) if isinstance(value, list) else value


def _is_value(value: object) -> bool:
    """Return whether a store can take a value."""
    if isinstance(value, bytes):
        return len(value) == 4 + 8 * int.from_bytes(value[:4], "big")
    return type(value) in _SCALARS or (isinstance(value, tuple) and all(type(each) in _NUMBERS for each in value))


def _metadata(about: dict[str, Any]) -> Metadata:
    """Return the metadata of a JSON document. Raises TypeError or ValueError if they are none."""
    metadata = Metadata(**_tuples(about))
    limits = [limit for low, high in (metadata.display, metadata.warning, metadata.alarm) for limit in (low, high)]
    types = {type(limit) for limit in limits} <= {*_NUMBERS, type(None)} and type(metadata.precision) is int
    if not types or {type(text) for text in (metadata.unit, *metadata.words)} != {str}:
        raise ValueError(f"{metadata} is not of a PV")
    return metadata


def _tuples(about: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in about.items()}
