"""The steps of a put. They raise Refused if it is known not to be carried out, another DeviceError if it is not."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from drivers.base import BadReply, DeviceError, LinkDown, NoReply, Readings, Refused, Step, Value, Wait
from drivers.caen.board.section import Section
from drivers.caen.formats import Number, Raw
from drivers.caen.items import Command, Property, Variable
from drivers.caen.puts.outcome import is_refusal, is_rounded
from drivers.caen.puts.target import Target
from drivers.caen.questions import Question
from drivers.caen.roles import is_voltage_limit
from drivers.caen.session import BoardGone, Session

# Seconds before each reading-back: crates take up to a second to show what they were set to. The first one lets other
# puts that switch off go before it
_READ_BACK_AFTER = (0.005, 0.045, 0.1, 0.15, 0.25, 0.4)
# Time-outs of the reading-back of one put: each may hold the line for a second
_MOST_TIMEOUTS = 2
# How often a parameter is asked for its limits and unit while other settings of its channel move them
_MOST_QUESTIONS = 5

_Result = TypeVar("_Result")
_Steps = Generator[Step, None, _Result]


def execute(session: Session, command: Command, value: Value) -> Iterator[Step]:
    """Execute a command for a 1, do nothing for a 0; yield the point at rest. Raises DeviceError."""
    if value not in (0, 1):
        raise Refused(f"{command.label}: 1 executes, 0 does nothing; {value!r} is neither")
    if value == 1:
        try:
            with session.asking(command.label, command.slot) as device:
                command.execute(device)
        except DeviceError as error:
            if is_refusal(error):
                raise Refused(str(error)) from error
            raise
    yield {command.label: 0}


def set_variable(session: Session, section: Section, item: Variable, meant: Variable, value: Value) -> Iterator[Step]:
    """Set a variable, and yield what the crate reads back. Raises DeviceError.

    ``item`` is the variable as the section knows it, ``meant`` as it was when the value was put: its unit counts.
    """
    if isinstance(item.format, Number) and not isinstance(item, Property):
        item = yield from _ask_limits(session, section, item, meant)
    try:
        raw = item.format.raw(value)
    except Refused as error:
        raise Refused(f"{item.label}: {error}") from None
    yield from _Put(Target(session, section, item), value, raw).carry_out()


def _ask_limits(session: Session, section: Section, item: Variable, meant: Variable) -> _Steps[Variable]:
    """Return the parameter as it is now. Raises Refused where that cannot be told: nothing was sent."""
    for _ in range(_MOST_QUESTIONS):
        try:
            for each in section.values.ranges_of(item) if item.current else ():
                yield section.fetch(session, [each])
                yield Wait()
            moves = _moves(section, item)
            now = yield from _paused(section.metadata.question(session, item))
        except LinkDown:
            raise
        except DeviceError as error:
            raise Refused(f"{item.label}: not sent, for it was asked for its limits in vain: {error}") from error
        if _moves(section, item) == moves:
            return _check_unit(now, meant)
    raise Refused(f"{item.label}: not sent, other settings move its limits and unit all the time; put it again")


def _moves(section: Section, item: Variable) -> tuple[int, int]:
    """Return what differs when a put, or a change that was seen, may have moved limits and unit of a parameter."""
    return section.doubts.sent(item.channel), section.metadata.marks(item.label)


def _paused(question: Question[_Result]) -> _Steps[_Result]:
    """Ask, with a pause between two calls."""
    while True:
        try:
            next(question)
        except StopIteration as end:
            result: _Result = end.value
            return result
        yield Wait()


def _check_unit(now: Variable, meant: Variable) -> Variable:
    """Return the parameter if its unit is still the one that was ``meant``: 5 uA are not sent as 5 mA."""
    before, after = meant.format.fields()["egu"], now.format.fields()["egu"]
    if before != after:
        raise Refused(
            f"{now.label}: not sent, its unit has changed from {before} to {after}; put it again in {after}"
        )
    return now


@dataclass(slots=True)
class _Put:
    """One put to a variable: ``value`` as the client put it, ``raw`` as it goes over the wire.

    before  value that the crate had, as last read; bits_before: of its channel's status; None: not known
    got     value read back last; None: it could not be read
    """

    target: Target
    value: Value
    raw: Raw
    before: Raw | None = None
    bits_before: set[str] | None = None
    got: Raw | None = None

    def carry_out(self) -> Iterator[Step]:
        """Send the value, and read back until the crate shows it."""
        item = self.target.item
        self.before, self.bits_before = self.target.newest, self.target.bits()
        failure = self._send()
        if failure is not None and is_refusal(failure):
            yield from self._read_once(failure)
        elif item.readable:
            yield from self._until_shown(failure)
        elif failure is not None:
            raise failure
        else:
            yield {}
        if is_voltage_limit(item.name):
            yield from self._read_limited()

    def _send(self) -> DeviceError | None:
        """Send the value; return what the crate said against it. Raises LinkDown, Refused."""
        item, section = self.target.item, self.target.section
        section.doubts.setting_sent(item)
        if item.switch and self.value != item.safe:
            section.switched_off.discard(item.channel)
        try:
            with self.target.session.asking(item.label, item.slot) as device:
                item.write(device, self.raw)
        except (LinkDown, Refused):
            raise
        except DeviceError as error:
            return error
        return None

    def _read_once(self, failure: DeviceError) -> Iterator[Step]:
        """Read what the crate has after it refused a put, which is good all the same if it has the value."""
        if self.target.item.readable:
            yield Wait(_READ_BACK_AFTER[0])
            with suppress(BadReply, NoReply, BoardGone):
                self.got, readings = self.target.read_back()
                yield readings
                if self.target.item.format.agrees(self.raw, self.got):
                    return
        raise Refused(str(failure)) from failure

    def _until_shown(self, failure: DeviceError | None) -> Iterator[Step]:
        """Read back until the crate shows the value, and judge what it shows in the end.

        After a ``failure``, which says nothing of what the crate did, the readback is INVALID until then.
        """
        if failure is not None:
            yield self.target.invalidate(failure)
        readings: Readings = {}
        error: DeviceError | None = None
        timeouts = 0
        for pause in _READ_BACK_AFTER:
            yield Wait(pause)
            last, self.got = self.got, None
            try:
                self.got, readings = self.target.read_back()
            except (BadReply, NoReply, BoardGone) as trouble:
                error, timeouts = trouble, timeouts + isinstance(trouble, NoReply)
                if timeouts == _MOST_TIMEOUTS or isinstance(trouble, BoardGone):
                    break
                continue
            shown = self._is_shown(last)
            if shown or failure is None:
                yield readings
            if shown or (failure is None and (yield from self._is_under_way())):
                return
        if self.got is None:
            assert error is not None
            yield self.target.invalidate(error)
            raise failure or error
        yield readings
        if not self._is_rounded():
            form = self.target.item.format
            what = str(failure or self.target.item.label)
            raise Refused(f"{what}: {form.text(self.raw)} was sent, but the crate reads back {form.text(self.got)}")

    def _is_shown(self, last: Raw | None) -> bool:
        """Return True if the crate shows the value, or twice another one that it has rounded it to."""
        if self.target.item.format.agrees(self.raw, self.got):
            return True
        return self.got == last and self.got != self.before and self._is_rounded()

    def _is_rounded(self) -> bool:
        assert self.got is not None
        return is_rounded(self.target.item, self.raw, self.got, self.target.ceilings())

    def _is_under_way(self) -> _Steps[bool]:
        """Return True if a channel ramps to what its switch was put to, which does not show it until it is there.

        The switch of a desktop unit is the bit ON of its status, which stays until the channel is down. A channel
        that came down before it was switched off proves nothing.
        """
        item, section = self.target.item, self.target.section
        if not item.switch or item.safe is None:
            return False
        off = self.value == item.safe
        ramp = "DOWN" if off else "UP"
        yield Wait()
        try:
            bits, readings = self.target.read_bits()
        except (BadReply, NoReply, BoardGone):
            return False
        yield readings
        known = self.bits_before is not None and ramp not in self.bits_before
        if ramp not in bits or not (known or item.channel in section.switched_off):
            return False
        if off:
            section.switched_off.add(item.channel)
        yield {item.label: self.value}
        return True

    def _read_limited(self) -> Iterator[Step]:
        """Read the voltage settings behind a put to their limit: a lower one takes them along."""
        for setting in self.target.voltage_settings():
            yield Wait()
            with suppress(BadReply, NoReply, BoardGone):
                _, readings = self.target.read_back(setting)
                yield readings
