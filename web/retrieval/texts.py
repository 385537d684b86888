"""The formats of the Archiver Appliance that are texts: JSON (two), CSV and tabs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np

from archiver.sample import Metadata
from web.retrieval.payload import Kind, Piece, headers

_SECOND_NS = 10**9


class JsonFormat:
    """The format ``json``; a number that is not finite is written as the Archiver Appliance and JavaScript do."""

    media_type = "application/json"

    def __init__(self) -> None:
        self._before = ""
        self._separator = ""

    def begin(self) -> bytes:
        """Return what comes before all PVs."""
        return b"[ "

    def pv(self, name: str, metadata: Metadata) -> bytes:
        """Return what comes before the samples of a PV."""
        before, self._before, self._separator = self._before, "\n] },\n", ""
        return f'{before}{{ "meta": {json.dumps(self._meta(name, metadata))},\n"data": [ \n'.encode()

    def piece(self, name: str, piece: Piece) -> Iterator[bytes]:
        """Yield some samples of a PV."""
        if len(piece.time_ns):
            yield (self._separator + ",\n".join(self._samples(piece))).encode()
            self._separator = ",\n"

    def end(self) -> bytes:
        """Return what comes after all PVs."""
        return b"\n] }\n ]\n" if self._before else b" ]\n"

    def _meta(self, name: str, metadata: Metadata) -> dict[str, Any]:
        return {"name": name, **headers(metadata)}

    def _samples(self, piece: Piece) -> list[str]:
        seconds, nanos = (each.tolist() for each in np.divmod(piece.time_ns, _SECOND_NS))
        columns = zip(seconds, shown(piece), nanos, piece.severity.tolist(), piece.status.tolist(), strict=True)
        lines = [
            f'{{ "secs": {second}, "val": {value}, "nanos": {nano}, "severity":{severity}, "status":{status} }}'
            for second, value, nano, severity, status in columns
        ]
        for index, fields in piece.fields.items():
            lines[index] = f'{lines[index][:-2]}, "fields": {json.dumps(dict(fields))} }}'
        return lines


class PlotFormat(JsonFormat):
    """The format ``qw``: milliseconds and values, for plots; what is not finite is null."""

    def _meta(self, name: str, metadata: Metadata) -> dict[str, Any]:
        return {"name": name, "waveform": False, **headers(metadata)}

    def _samples(self, piece: Piece) -> list[str]:
        millis = (piece.time_ns // 10**6).tolist()
        values = ("null" if value in _NOT_FINITE else value for value in shown(piece))
        return [f'{{ "millis": {milli}, "val": {value} }}' for milli, value in zip(millis, values, strict=True)]


class CsvFormat:
    """The format ``csv``: seconds, value, severity, status, nanoseconds; no names of columns."""

    media_type = "text/csv"

    def begin(self) -> bytes:
        """Return what comes before all PVs."""
        return b""

    def pv(self, name: str, metadata: Metadata) -> bytes:
        """Return what comes before the samples of a PV."""
        return b""

    def piece(self, name: str, piece: Piece) -> Iterator[bytes]:
        """Yield some samples of a PV."""
        seconds, nanos = (each.tolist() for each in np.divmod(piece.time_ns, _SECOND_NS))
        columns = zip(seconds, _cells(piece), piece.severity.tolist(), piece.status.tolist(), nanos, strict=True)
        yield "".join(f"{a},{b},{c},{d},{e}\n" for a, b, c, d, e in columns).encode(errors="replace")

    def end(self) -> bytes:
        """Return what comes after all PVs."""
        return b""


class TextFormat(CsvFormat):
    """The format ``txt``: UTC, value, severity, status, nanoseconds, a tab between them."""

    media_type = "text/plain"

    def pv(self, name: str, metadata: Metadata) -> bytes:
        """Return what comes before the samples of a PV."""
        return f"Beginning data for {name}\n".encode()

    def piece(self, name: str, piece: Piece) -> Iterator[bytes]:
        """Yield some samples of a PV."""
        seconds, nanos = (each.tolist() for each in np.divmod(piece.time_ns, _SECOND_NS))
        times = (datetime.fromtimestamp(each, UTC).strftime("%b/%d/%Y %H:%M:%S UTC") for each in seconds)
        cells = (str(cell).replace("\t", " ").replace("\n", " ") for cell in _plain(piece))
        columns = zip(times, cells, piece.severity.tolist(), piece.status.tolist(), nanos, strict=True)
        yield "".join("\t".join(map(str, each)) + "\n" for each in columns).encode(errors="replace")


_NOT_FINITE = frozenset({"NaN", "Infinity", "-Infinity"})


def shown(piece: Piece) -> list[str]:
    """Return the values as in JSON, with NaN and Infinity."""
    if piece.kind is Kind.SCALAR_DOUBLE and np.isfinite(piece.value).all():
        return list(map(repr, piece.values()))
    return [json.dumps(value) for value in piece.values()]


def _plain(piece: Piece) -> list[Any]:
    return piece.values() if piece.kind is Kind.SCALAR_STRING else shown(piece)


def _cells(piece: Piece) -> list[str]:
    """Return the values as cells; one with a comma, a quotation mark or an end of a line is in quotation marks."""
    if piece.kind not in {Kind.SCALAR_STRING, Kind.WAVEFORM_DOUBLE}:
        return shown(piece)
    return [
        '"' + text.replace('"', '""') + '"' if set(text) & set(',"\n\r') else text for text in map(str, _plain(piece))
    ]
