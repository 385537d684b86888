"""The samples of a PV as pieces: strictly rising times, one type each, gaps as values that are not known."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from archiver.blocks import Block, Integers
from archiver.sample import INVALID, STATUSES, Dated, Gap, Metadata, Sample, Value, is_gap
from archiver.storage.store import Reader
from web.retrieval.payload import Fields, Kind, Piece

# Alarm status of a gap: of those of Channel Access the nearest one.
_GAP_STATUS: Mapping[str, str] = {Gap.DISCONNECTED: "COMM"}
_UNDEFINED = "UDF"
_NUMBERS = {word: number for number, word in enumerate(STATUSES)}

_SECOND_NS = 10**9
_GAPS = frozenset(map(str, Gap))
# Rows that are looked through, backwards, for what a PV was before a gap.
_BACK = 5


def pieces(reader: Reader, pv: str, since_ns: int, until_ns: int, metadata: Sequence[Dated]) -> Iterator[Piece]:
    """Yield the samples of a PV, led by the newest at or before the window; a piece of none if there are none.

    ``metadata``: all of the PV, which a reader reads once for many windows.
    """
    made = _Pieces(metadata, lambda time_ns: _known_before(reader, pv, time_ns))
    for block in reader.blocks(pv, since_ns, until_ns):
        yield from made.add(block)
    if made.last_ns is None:
        yield nothing(made.kind_without_samples, made.metadata_at(until_ns))


def nothing(kind: Kind, metadata: Metadata) -> Piece:
    """Return a piece without samples."""
    none = np.zeros(0, np.int64)
    return Piece(kind, metadata, none, [], none, none, {})


def metadata_at(dated: Sequence[Dated], time_ns: int) -> Metadata:
    """Return the metadata that hold at a time; before the first ones there are texts, which have none."""
    if not dated:
        return Metadata()
    return dated[max(1, bisect_right([each.since_ns for each in dated], time_ns)) - 1].metadata


def _known_before(reader: Reader, pv: str, time_ns: int) -> Value | None:
    """Return the value of a PV before the gap that begins at a time, None if there is none."""
    for _ in range(_BACK):
        sample: Sample | None = next(iter(reader.samples([pv], time_ns - 1, time_ns - 1)), None)
        if sample is None or sample.time_ns >= time_ns:
            return None
        if not is_gap(sample):
            return sample.value
        time_ns = sample.time_ns
    return None


class _Pieces:
    """The pieces of one PV, made block by block; ``before`` returns its value before a gap."""

    def __init__(self, metadata: Sequence[Dated], before: Callable[[int], Value | None]) -> None:
        self._metadata = metadata
        self._before = before
        self._last: Value | None = None
        self._gap: tuple[int, Gap] | None = None
        self.last_ns: int | None = None

    @property
    def kind_without_samples(self) -> Kind:
        """Return the type of a PV of which nothing else is known: texts have no metadata."""
        if not self._metadata:
            return Kind.SCALAR_STRING
        return Kind.SCALAR_ENUM if self._metadata[-1].metadata.words else Kind.SCALAR_DOUBLE

    def metadata_at(self, time_ns: int) -> Metadata:
        """Return the metadata that hold at a time."""
        return metadata_at(self._metadata, time_ns)

    def add(self, block: Block) -> Iterator[Piece]:
        """Yield the pieces of a block."""
        block = self._rising(block)
        changes = np.array([each.since_ns for each in self._metadata[1:]], np.int64)
        cuts = np.searchsorted(block.time_ns, changes)
        ends = [*sorted({int(cut) for cut in cuts if 0 < cut < len(block.time_ns)}), len(block.time_ns)]
        begin = 0
        for end in ends:
            if begin < end:
                yield from self._piece(block.part(begin, end))
            begin = end

    def _rising(self, block: Block) -> Block:
        """Return the rows that are later than all before them."""
        times = block.time_ns if self.last_ns is None else np.append(np.int64(self.last_ns), block.time_ns)
        rising = np.diff(times) > 0
        if self.last_ns is None:
            rising = np.append(np.True_, rising)
        if not rising.all():
            highest = np.maximum.accumulate(times)
            rising = np.diff(highest, prepend=highest[0] - 1)[len(times) - len(block.time_ns) :] > 0
            value: Any = block.value
            value = value[rising] if isinstance(value, np.ndarray) else [value[i] for i in np.flatnonzero(rising)]
            block = Block(block.time_ns[rising], value, block.severity[rising], block.status[rising], block.words)
        if len(block.time_ns):
            self.last_ns = int(block.time_ns[-1])
        return block

    def _piece(self, block: Block) -> Iterator[Piece]:
        """Yield the pieces of rows for which the same metadata hold."""
        metadata = self.metadata_at(int(block.time_ns[0]))
        gaps = _gaps(block)
        severity = np.where(gaps, INVALID, block.severity) if gaps.any() else block.severity
        fields = self._fields(block, gaps)
        status = _statuses(block)
        if isinstance(block.value, np.ndarray) and not gaps.any():
            self._last = float(block.value[-1])
            yield Piece(Kind.SCALAR_DOUBLE, metadata, block.time_ns, block.value, severity, status, fields)
            return
        raw = block.value if isinstance(block.value, list) else block.value.tolist()
        values = self._without_gaps(raw, gaps, int(block.time_ns[0]), metadata)
        whole = Piece(Kind.SCALAR_STRING, metadata, block.time_ns, values, severity, status, fields)
        begin = 0
        for kind, run in groupby(values, lambda value: _kind(value, metadata)):
            end = begin + len(list(run))
            part = whole if end - begin == len(values) else whole.take(slice(begin, end))
            yield part._replace(kind=kind, value=_column(kind, part.value))
            begin = end

    def _without_gaps(
        self, values: Sequence[Value], gaps: Integers, first_ns: int, metadata: Metadata
    ) -> list[Value]:
        """Return the values; in a gap what says that nothing is known, of the type of the value before it."""
        if self._last is None and gaps[0]:
            self._last = self._before(first_ns)
        if self._last is None:
            self._last = next((each for each, gap in zip(values, gaps, strict=True) if not gap), None)
        if self._last is None and self._metadata:
            self._last = 0 if metadata.words else 0.0
        found: list[Value] = []
        for value, gap in zip(values, gaps.tolist(), strict=True):
            if not gap:
                self._last = value
            found.append(_unknown(self._last, value) if gap else value)
        return found

    def _fields(self, block: Block, gaps: Integers) -> dict[int, Fields]:
        """Return what is told with the first sample after each gap: when it began and when it ended."""
        found: dict[int, Fields] = {}
        if self._gap is None and not gaps.any():
            return found
        for index in np.flatnonzero(gaps | np.append(np.True_, gaps[:-1])).tolist():
            if gaps[index]:
                if self._gap is None:
                    self._gap = int(block.time_ns[index]), Gap(block.words[int(block.status[index])])
            elif self._gap is not None:
                lost_ns, cause = self._gap
                found[index] = {
                    "cnxlostepsecs": str(lost_ns // _SECOND_NS),
                    "cnxregainedepsecs": str(int(block.time_ns[index]) // _SECOND_NS),
                    **({"startup": "true"} if cause is Gap.ARCHIVE_OFF else {}),
                }
                self._gap = None
        return found


def _gaps(block: Block) -> Any:
    """Return which rows mark a gap."""
    marks = [number for number, word in block.words.items() if word in _GAPS]
    return np.isin(block.status, marks) if marks else np.zeros(len(block.time_ns), bool)


def _statuses(block: Block) -> Integers:
    """Return the statuses as numbers of Channel Access."""
    numbers = np.unique(block.status)
    table = np.array([_status(block.words[int(number)]) for number in numbers], np.int64)
    return table[np.searchsorted(numbers, block.status)]


def _status(word: str) -> int:
    return _NUMBERS.get(_GAP_STATUS.get(word, word), _NUMBERS[_UNDEFINED])


def _unknown(last: Value | None, marker: Value) -> Value:
    """Return the value of a gap: NaN; a type without it keeps its last one, which is INVALID; of texts the cause."""
    if isinstance(last, tuple):
        return (math.nan,)
    if isinstance(last, int):
        return last
    return math.nan if isinstance(last, float) else marker


def _kind(value: Value, metadata: Metadata) -> Kind:
    if isinstance(value, float):
        return Kind.SCALAR_DOUBLE
    if isinstance(value, int):
        return Kind.SCALAR_ENUM if metadata.words else Kind.SCALAR_INT
    return Kind.SCALAR_STRING if isinstance(value, str) else Kind.WAVEFORM_DOUBLE


def _column(kind: Kind, values: Any) -> Any:
    if kind is Kind.SCALAR_DOUBLE:
        return np.array(values, np.float64)
    return np.array(values, np.int64) if kind in {Kind.SCALAR_INT, Kind.SCALAR_ENUM} else values
