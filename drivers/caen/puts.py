"""How a put is carried out: sent, read back, and compared with what was asked."""

from __future__ import annotations

from time import sleep

from drivers.base import Readings, Refused, Value
from drivers.caen.board.section import Section
from drivers.caen.formats import Number, Raw
from drivers.caen.items import Command, Property, Variable
from drivers.caen.session import Garbled, Session

# Seconds before each reading-back: crates take up to a second to show what they were set to
_READ_BACK_AFTER = (0.0, 0.05, 0.1, 0.15, 0.25, 0.4)


def execute(session: Session, command: Command, value: Value) -> Readings:
    """Execute a command for a 1, do nothing for a 0; return the point at rest. Raises DeviceError."""
    if value not in (0, 1):
        raise Refused(f"{command.label}: 1 executes, 0 does nothing; {value!r} is neither")
    if value == 1:
        with session.asking(command.label, command.slot) as device:
            command.execute(device)
    return {command.label: 0}


def set_variable(session: Session, section: Section, item: Variable, meant: Variable, value: Value) -> Readings:
    """Set a variable and return what the crate reads back. Raises DeviceError.

    ``item`` is the variable as the section knows it, ``meant`` as it was when the value was put: its unit counts.
    """
    if isinstance(item.format, Number) and not isinstance(item, Property):
        item = _check_unit(section.metadata.read(session, item), meant)
    try:
        raw = item.format.raw(value)
    except Refused as error:
        raise Refused(f"{item.label}: {error}") from None
    try:
        with session.asking(item.label, item.slot) as device:
            item.write(device, raw)
    except Garbled:
        if not item.readable:
            raise
    return section.values.decode([item], [_read_back(session, item, raw)]) if item.readable else {}


def _check_unit(now: Variable, meant: Variable) -> Variable:
    """Return the parameter if its unit is still the one that was ``meant``: 5 uA are not sent as 5 mA."""
    before, after = meant.format.fields()["egu"], now.format.fields()["egu"]
    if before != after:
        raise Refused(
            f"{now.label}: not sent, its unit has changed from {before} to {after}; put it again in {after}"
        )
    return now


def _read_back(session: Session, item: Variable, raw: Raw) -> Raw:
    """Read back until the crate shows what was sent. Raises Refused with both values when it does not."""
    for pause in _READ_BACK_AFTER:
        sleep(pause)
        with session.asking(f"{item.label}: sent, but it could not be read back", item.slot) as device:
            got: Raw = item.fetch(device, [item.index])[0]
        if item.format.agrees(raw, got):
            return got
    if item.format.agrees(raw, got, patient=False):
        return got
    raise Refused(f"{item.label}: {item.format.text(raw)} was sent, but the crate reads back {item.format.text(got)}")
