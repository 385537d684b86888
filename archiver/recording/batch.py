"""A batch: what is committed together, and its form in the spool."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from archiver.sample import INVALID, Dated, Metadata, Sample, Value
from archiver.storage.store import TableRow

# Errors of ``Batch.load``: the data are damaged, or were written by another version.
UNREADABLE = (zlib.error, ValueError, TypeError, LookupError, AttributeError)


@dataclass
class Batch:
    """The samples, rows of other tables, and metadata by PV, that are stored together; ``size``: bytes in memory."""

    samples: list[Sample] = field(default_factory=list)
    rows: list[TableRow] = field(default_factory=list)
    metadata: dict[str, Dated] = field(default_factory=dict)
    size: int = field(default=0, compare=False)

    def __bool__(self) -> bool:
        return bool(self.samples or self.rows or self.metadata)

    def dump(self) -> bytes:
        """Return the batch as compressed JSON."""
        metadata = {pv: (dated.since_ns, asdict(dated.metadata)) for pv, dated in self.metadata.items()}
        document = json.dumps([self.samples, self.rows, metadata], default=_packed)
        return zlib.compress(document.encode(), level=1)

    @classmethod
    def load(cls, data: bytes) -> Self:
        """Return the batch that was dumped. Raises one of ``UNREADABLE``."""
        samples, rows, metadata = json.loads(zlib.decompress(data))
        return cls(
            [_sample(*each) for each in samples],
            [TableRow(table, tuple(columns), tuple(values), key) for table, columns, values, key in rows],
            {pv: Dated(since, Metadata(**_tuples(about))) for pv, (since, about) in metadata.items()},
        )


def _sample(pv: str, time_ns: int, value: Any, severity: int, status: str) -> Sample:
    """Return the sample of a JSON document. Raises TypeError or ValueError if it is none."""
    sample = Sample(pv, time_ns, _value(value), severity, status)
    if [type(each) for each in (pv, time_ns, severity, status)] != [
        str,
        int,
        int,
        str,
    ] or not 0 <= severity <= INVALID:
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


def _tuples(about: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in about.items()}
