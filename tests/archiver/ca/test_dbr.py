"""What is made of the structures of Channel Access, whatever an IOC puts into them."""

from __future__ import annotations

import struct

import pytest

from archiver.ca import dbr
from archiver.recording.batch import Batch
from archiver.sample import INVALID, Sample


@pytest.mark.parametrize("severity", [-1, 4, 7, 32767])
def test_a_severity_that_there_is_not_is_invalid_and_its_batch_can_be_read_from_the_spool(severity: int) -> None:
    data = struct.pack("=hhII4xd", 0, severity, 1_000_000_000, 0, 5.5)
    update = dbr.update(dbr.DOUBLE, 1, data)
    assert (update.value, update.severity) == (5.5, INVALID)
    batch = Batch([Sample("B", 1, 1.0, 0, "NO_ALARM"), Sample("A", *update)])
    assert Batch.load(batch.dump()) == batch
