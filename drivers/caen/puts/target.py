"""What a put is about: a variable of a board, with what its channel has besides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from drivers.base import DeviceError, Readings
from drivers.caen.bits import SWITCHES
from drivers.caen.board.section import Section
from drivers.caen.formats import Raw
from drivers.caen.items import Variable
from drivers.caen.roles import is_measured_voltage, is_voltage_limit, is_voltage_setting
from drivers.caen.session import Session

# V, and part of the setting, by which a voltage may be above its setting at rest; assumed
_NEAR_VOLTS, _NEAR_PART = 1.0, 1e-3


@dataclass(frozen=True, slots=True)
class Target:
    """A variable in a section. Where the board was replaced, its table may not have it: then nothing is published.

    sent  True once the put was sent: what cannot be read then is not known
    """

    session: Session
    section: Section
    item: Variable
    sent: bool = False

    @property
    def newest(self) -> Raw | None:
        """Return the value that was read last; None where none was."""
        value: Raw | None = self.section.values.newest(self.item.label)
        return value

    @property
    def ranges(self) -> Sequence[Variable]:
        """Return the settings that choose the range of a current and can be read."""
        return self.section.values.ranges_of(self.item) if self.item.current else ()

    @property
    def range_state(self) -> tuple[Raw, ...] | None:
        """Return these ranges as last read; None where one cannot be read."""
        return self.section.values.range_state(self.item)

    def read_back(self, item: Variable | None = None) -> tuple[Raw, Readings]:
        """Read the variable (or another one of the section): the value and the readings. Raises DeviceError."""
        item = item or self.item
        what = f"{self.item.label}: sent, but it could not be read back" if self.sent else ""
        raw, readings = self.section.read_back(self.session, item, what)
        return raw, readings if item.label in self.section.table.items else {}

    def invalidate(self, error: DeviceError) -> Readings:
        """Return INVALID readings, as long as it is not known what a put made of the variable; it is read soon."""
        if self.item.label not in self.section.table.items:
            return {}
        self.section.doubts.unknown[self.item.label] = None
        return self.section.values.invalidate([self.item.label], error.status)

    def bits(self) -> set[str] | None:
        """Return the bits that are set in the channel's status as last read; None where it is not known."""
        status = self._status()
        word: Any = None if status is None else self.section.values.newest(status.label)
        return None if status is None or word is None else _names(status, word)

    @property
    def status_is_old(self) -> bool:
        """Return True if the channel's status was read, but not the last time, or not since the board was away."""
        return self.bits() is not None and self.section.values.status(self.item.channel) is None

    @property
    def is_off(self) -> bool:
        """Return True if the channel's status, as last read, says that it is off."""
        bits = self.section.values.status(self.item.channel)
        return bits is not None and not bits & SWITCHES

    @property
    def is_coming_down(self) -> bool:
        """Return True if the channel was switched off by a put, and its switch does not show it yet."""
        promised = self.section.values.under_way.get(self.item.label)
        return promised is not None and promised == self.item.safe

    def read_bits(self) -> tuple[set[str] | None, Readings]:
        """Read the channel's status: its bits that are set (None: no status), the readings. Raises DeviceError."""
        status = self._status()
        if status is None:
            return None, {}
        word, readings = self.read_back(status)
        return _names(status, word), readings

    def is_above_setting(self) -> tuple[bool, Readings]:
        """Read the channel's voltage: True if it is above its setting, the readings. Raises DeviceError."""
        channel = [item for item in self.section.table.variables() if item.channel == self.item.channel]
        settings = [item for item in channel if is_voltage_setting(item.name) or is_voltage_limit(item.name)]
        known = [raw for item in settings if isinstance(raw := self.section.values.newest(item.label), float)]
        measured = next((item for item in channel if is_measured_voltage(item.name)), None)
        if measured is None or not known:
            return False, {}
        volts, readings = self.read_back(measured)
        lowest = min(known)
        return float(volts) > lowest + max(_NEAR_VOLTS, _NEAR_PART * lowest), readings

    def voltage_settings(self) -> Iterator[Variable]:
        """Yield the voltage settings that a limit of the channel (or board) moves."""
        for item in self.section.table.variables():
            if is_voltage_setting(item.name) and item.readable and self.item.channel in (None, item.channel):
                yield item

    def ceilings(self) -> Iterator[float]:
        """Yield the voltages, as last read, to which others limit a voltage setting."""
        for item in self.section.table.variables() if is_voltage_setting(self.item.name) else ():
            if is_voltage_limit(item.name) and item.channel in (None, self.item.channel):
                newest = self.section.values.newest(item.label)
                if isinstance(newest, float):
                    yield newest

    def _status(self) -> Variable | None:
        """Return the channel's status word."""
        words = (item for item in self.section.table.variables() if item.status and item.readable)
        return next((item for item in words if item.channel == self.item.channel), None)


def _names(status: Variable, word: Any) -> set[str]:
    return {name for bit, name in status.format.bits if int(word) >> bit & 1}
