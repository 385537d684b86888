"""What the crate said of a board's variables as readings, and which of its values are void."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from drivers.base import Array, Reading, Readings, Severity, Status, Value
from drivers.caen.bits import RAMPS, SWITCHES
from drivers.caen.board.arrays import ChannelArray
from drivers.caen.board.doubts import Doubts
from drivers.caen.board.metadata import ParameterMetadata
from drivers.caen.board.points import PointTable
from drivers.caen.board.relative import SetpointAlarms
from drivers.caen.formats import Number
from drivers.caen.items import MONITOR, ChannelName, Property, Variable

# Why a current is void: a factor of 1000 may be wrong
NO_UNIT = "its unit or range is not certain now"


class Values:
    """The newest raw values of a board with their readings, and what follows from them for others.

    Void, which is INVALID with the last value, are numbers of an unplugged channel, currents whose unit or range is
    not known, and what could not be read.

    under_way  label of a switch -> what it was put to, while its channel ramps there and it does not show it yet
    """

    def __init__(
        self, table: PointTable, metadata: ParameterMetadata, alarms: SetpointAlarms, doubts: Doubts
    ) -> None:
        self._table = table
        self._metadata = metadata
        self._doubts = doubts
        self._alarms = alarms
        self._cache: dict[str, tuple[Variable, Any, Readings]] = {}  # label -> as last read
        self._unplugged: set[int | None] = set()
        self._array_of = {label: array for array in table.arrays for label in array.labels}
        self._ranges = [item for item in table.variables() if item.range and item.readable]
        self._words = {item.channel: item for item in table.variables() if item.status and item.readable}
        self._range: dict[str, Any] = {}  # label of a range -> as last read
        self._unread: set[str] = set()  # labels of ranges that could not be read the last time
        self._lost: set[str] = set()  # labels of status words that could not be read the last time, or not yet
        self.under_way: dict[str, Value] = {}

    def begin(self, labels: Sequence[str]) -> None:
        """Begin a new scan of the array in which these variables are."""
        if array := self._array_of.get(labels[0]):
            array.begin()

    def ranges_of(self, variable: Variable) -> Sequence[Variable]:
        """Return the settings that choose the range of a channel's currents."""
        return [each for each in self._ranges if each.channel in (None, variable.channel)]

    def range_state(self, variable: Variable) -> tuple[Any, ...] | None:
        """Return the ranges of a channel as last read; None where one cannot be read now.

        One that was never read is none: some crates list what they do not have.
        """
        ranges = [each.label for each in self.ranges_of(variable) if each.label in self._range]
        return None if self._unread.intersection(ranges) else tuple(self._range[label] for label in ranges)

    def newest(self, label: str) -> Any:
        """Return what the crate said last of a variable, as it came over the wire; None where it said nothing."""
        cached = self._cache.get(label)
        return None if cached is None else cached[1]

    def decode(self, variables: Sequence[Variable], raws: Sequence[Any], doubted: Collection[str] = ()) -> Readings:
        """Return what was read of some channels' variable as readings, with the array that it completes.

        ``doubted`` are the labels of currents whose range is not certain.
        """
        self._doubts.read(variable.label for variable in variables)
        if variables[0].range:
            self._record_ranges(variables, raws)
        if variables[0].status:
            self._lost.difference_update(variable.label for variable in variables)
        readings: dict[str, Value | Array | Reading] = {}
        for variable, raw in zip(variables, raws, strict=True):
            cached = self._cache.get(variable.label)
            if cached is None or cached[0] is not variable or _differs(cached[1], raw):
                cached = self._update(variable, raw, cached)
            readings.update(cached[2])
            if variable.label in self.under_way:
                readings |= self._end_of_way(variable)
        self._alarms.record(variables, raws)
        if isinstance(variables[0], ChannelName):
            self._table.rename({variable.channel: str(raw) for variable, raw in zip(variables, raws, strict=True)})
        if self._unplugged or self._metadata.unknown or doubted:
            for variable in variables:
                readings.update(self._void_readings(variable, doubted))
            # A setting is not left to the next scan of its group: its range is known by the next monitor scan
            again = (each.label for each in variables if each.label in doubted and each.group != MONITOR)
            self._doubts.labels |= dict.fromkeys(again)
        if array := self._array_of.get(variables[0].label):
            told = array.is_told_by(variables)
            for variable in variables:
                array.set_value(variable, readings[variable.readback])
            readings |= _complete(array) if told else {}
        return readings

    def invalidate(self, labels: Iterable[str], status: Status, why: str = "") -> Readings:
        """Return INVALID readings for variables that cannot be read now, with the array that they complete."""
        readings: dict[str, Value | Array | Reading] = {}
        for label in labels:
            variable = self._table.variable(label)
            readings |= invalid(variable.shown, status, why)
            self._alarms.discard(variable)
            if variable.range:
                self._unread.add(label)
            if variable.status:
                self._lost.add(label)
            if array := self._array_of.get(label):
                array.set_invalid(variable, status, why)
                readings |= _complete(array)
        return readings

    def _update(
        self, variable: Variable, raw: Any, cached: tuple[Variable, Any, Readings] | None
    ) -> tuple[Variable, Any, Readings]:
        """Cache a value that is not the one of before: most settings and status words stay for hours."""
        if variable.writable and not variable.range and cached is not None and _differs(cached[1], raw):
            self._setting_changed(variable)
        if variable.status:
            if cached is not None:
                self._doubts.word_changed(variable, int(cached[1]), int(raw))
            (self._unplugged.add if variable.unplugged(raw) else self._unplugged.discard)(variable.channel)
        self._cache[variable.label] = new = (variable, raw, variable.readings(raw))
        return new

    def _setting_changed(self, setting: Variable) -> None:
        """React to a setting that changed, by whosever hand."""
        if not isinstance(setting, ChannelName | Property):
            self._alarms.unsettle(setting.channel)
            if setting.switch:  # moves no limits; what moved with it, the status word tells
                return
            self._metadata.setting_changed(setting)
            self._doubts.add(setting.channel)

    def _record_ranges(self, variables: Sequence[Variable], raws: Sequence[Any]) -> None:
        """Record ranges; the units that go with one that moved, or is read for the first time, are not certain."""
        for variable, raw in zip(variables, raws, strict=True):
            self._unread.discard(variable.label)
            if variable.label not in self._range:
                self._metadata.doubt_units(variable.channel)
            elif self._range[variable.label] != raw:
                self._setting_changed(variable)
            self._range[variable.label] = raw

    def _end_of_way(self, switch: Variable) -> Readings:
        """Return what the setting of a switch is when its channel ramps no more, or goes another way.

        The readback may have been that all the time: of a channel that was switched on again on its way down.
        """
        bits, position = self.status(switch.channel), switch.format.reading(self.newest(switch.label))
        if position == self.under_way[switch.label]:
            del self.under_way[switch.label]
            return {}
        is_on = position != switch.safe
        if bits is None or bits & RAMPS == ({"DOWN"} if is_on else {"UP"}) or is_on != bool(bits & SWITCHES):
            return {}
        del self.under_way[switch.label]
        return {switch.label: position}

    def _void_readings(self, variable: Variable, doubted: Collection[str]) -> Readings:
        """Return what replaces the value of a variable that is void, else nothing."""
        if variable.channel in self._unplugged and isinstance(variable.format, Number):
            # Nothing is connected there, but the crate goes on returning numbers.
            return invalid(variable.shown, Status.COMM, "nothing is plugged into the channel")
        if variable.label not in self._metadata.unknown and variable.label not in doubted:
            return {}
        if variable.switch and self._status_agrees(variable):
            return {}
        self._alarms.discard(variable)
        why = "not certain which word the number means" if variable.switch else NO_UNIT
        return invalid(variable.shown, Status.UDF, why)

    def _status_agrees(self, switch: Variable) -> bool:
        """Return True if the channel's status says that it is what the switch says, and nothing else.

        Then the word that was assumed is true. A channel that ramps or has tripped does not tell what its switch is,
        nor does a status that could not be read the last time.
        """
        bits, position = self.status(switch.channel), self.newest(switch.label)
        if bits is None or position is None or switch.safe is None:
            return False
        is_off = switch.format.reading(position) == switch.safe
        return bits == (set() if is_off else SWITCHES)

    def forget_status(self) -> None:
        """Discard what the channels' status words said: a board that was away may have been switched off and on.

        Arrays are told when all of their channels were read anew.
        """
        self._lost.update(word.label for word in self._words.values())
        for array in self._table.arrays:
            array.begin()

    def status(self, channel: int | None) -> set[str] | None:
        """Return the bits that are set in a channel's status.

        None where it could not be read the last time, was not read since the board is there (again), or does not tell
        whether the channel is on.
        """
        word = self._words.get(channel)
        raw = None if word is None or word.label in self._lost else self.newest(word.label)
        if word is None or raw is None or not any(name in SWITCHES for _, name in word.format.bits):
            return None
        named = dict(word.format.bits)
        return {named.get(bit, f"bit {bit}") for bit in range(32) if int(raw) >> bit & 1}


def invalid(names: Iterable[str], status: Status, why: str = "") -> Readings:
    """Return readings that keep the last values and say that they are not true now, and why."""
    return dict.fromkeys(names, Reading(None, Severity.INVALID, status, message=why))


def _differs(before: Any, raw: Any) -> bool:
    """Return True if a value is not the one of before. NaN is no number, but the same NaN as before."""
    return bool(before != raw and (before == before or raw == raw))  # noqa: PLR0124  NaN is what differs from itself


def _complete(array: ChannelArray) -> Readings:
    """Return the array's reading with the last of its channels."""
    return {array.name: array.reading()} if array.complete else {}
