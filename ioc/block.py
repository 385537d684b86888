"""Records that are always read together, in columns: a thousand values cost what thirty cost one by one.

A record that is in a block keeps its value, time and deadbands there instead of in itself (``Record.block``,
``row``); whoever asks the record notices nothing. What is not plain (an alarm that changes, a reading that is no
number) is processed by the record as ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from drivers.base import Reading, Readings, RecordType
from ioc.record import LOG, TICK, VALUE, WRONG, Record

# Fewer values than this are cheaper one by one
FEWEST = 100

Column = npt.NDArray[np.float64]
Masks = npt.NDArray[np.uint8]

_NUMBERS = {RecordType.ai, RecordType.ao}


class Block:
    """The records of one transaction, in its order. ``monitors`` belongs to the server; None: to be arranged anew."""

    def __init__(self, records: list[Record]) -> None:
        self.records = records
        columns = [np.zeros(len(records)) for _ in range(8)]
        self.val, self.time, self.mlst, self.alst, self.mdel, self.adel, self.above, self.below = columns
        self.stat = np.zeros(len(records), np.uint16)
        self.sevr = np.zeros(len(records), np.uint16)
        self.monitors: Any = None
        for row, record in enumerate(records):
            self.val[row], self.time[row], self.mlst[row], self.alst[row] = record.move_into(self, row)

    def process(self, values: Column, moment: float) -> Masks:
        """Process a value for each record; return the event masks of each, as ``Record.process`` does."""
        calm = (values > self.above) & (values < self.below)
        self.val[calm] = values[calm]
        ahead = self.time - moment
        self.time[calm] = np.where((ahead < 0) | (ahead > WRONG), moment, self.time + TICK)[calm]
        masks = np.zeros(len(values), np.uint8)
        for last, deadband, mask in ((self.mlst, self.mdel, VALUE), (self.alst, self.adel, LOG)):
            with np.errstate(invalid="ignore"):  # infinities are not calm, and not looked at here
                beyond = calm & ~(np.abs(values - last) <= deadband)
            last[beyond] = values[beyond]
            masks[beyond] |= mask
        for row in np.flatnonzero(~calm).tolist():
            masks[row] = self._process_alone(row, Reading(values.item(row)), moment)
        return masks

    def _process_alone(self, row: int, reading: Reading, moment: float) -> int:
        """Process one record by its own rules, outside its columns, where single numbers are slow to reach."""
        record = self.records[row]
        record.move_out(self, self.val.item(row), self.time.item(row), self.mlst.item(row), self.alst.item(row))
        mask = record.process(reading, moment)
        self.val[row], self.time[row], self.mlst[row], self.alst[row] = record.move_into(self, row)
        return mask

    def dissolve(self) -> None:
        """Give the values back to the records."""
        columns = (self.val, self.time, self.mlst, self.alst)
        for record, *numbers in zip(self.records, *(column.tolist() for column in columns), strict=True):
            record.move_out(self, *numbers)


class Blocks:
    """The blocks of an instrument, found by the names that they are read by."""

    def __init__(self) -> None:
        self._blocks: dict[tuple[str, ...], Block] = {}
        self._seen: set[tuple[str, ...]] = set()

    def find(self, records: Mapping[str, Record], readings: Readings) -> tuple[Block, Column] | None:
        """Return the block of these readings and its values; None if they are to be processed one by one."""
        if len(readings) < FEWEST or set(map(type, readings.values())) != {float}:
            return None
        names = tuple(readings)
        block = self._blocks.get(names) or self._form(records, names)
        return None if block is None else (block, np.fromiter(readings.values(), float, len(readings)))

    def dissolve(self) -> None:
        """Forget all blocks: the instrument has other records now."""
        for block in self._blocks.values():
            block.dissolve()
        self._blocks.clear()
        self._seen.clear()

    def _form(self, records: Mapping[str, Record], names: tuple[str, ...]) -> Block | None:
        """Make a block of what has come together twice, if it may be one."""
        if names not in self._seen:
            self._seen.add(names)
            return None
        found = [records.get(name) for name in names]
        if not all(record and record.block is None and record.point.rtyp in _NUMBERS for record in found):
            return None
        block = self._blocks[names] = Block([record for record in found if record])
        return block
