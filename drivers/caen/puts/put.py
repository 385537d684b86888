"""The steps of a put. They raise Refused if it is known not to be carried out, another DeviceError if it is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from time import monotonic

from drivers.base import (
    BadReply,
    DeviceError,
    Energizes,
    LinkDown,
    Look,
    NoReply,
    NotShown,
    Readings,
    Refused,
    Step,
    Value,
    Wait,
)
from drivers.caen.board.section import Section
from drivers.caen.formats import Choice, Number, Raw
from drivers.caen.items import Command, Property, Variable
from drivers.caen.puts.limits import (
    Steps,
    ask_limits,
    ask_words,
    is_off,
    is_same_unit,
    other_switch,
    paused,
    words_of_off,
)
from drivers.caen.puts.outcome import is_refusal, is_rounded, is_taken
from drivers.caen.puts.target import Target
from drivers.caen.retry import LAG, looks
from drivers.caen.roles import is_voltage_limit
from drivers.caen.session import BoardGone, Session

# Seconds before each reading-back. The first one lets other puts that switch off go before it
_READ_BACK_AFTER = looks(0.005, 0.045, 0.1, 0.15, 0.25)
# The same where an Off was sent in vain just before
_LOOK_AGAIN_AFTER = 0.5
# Time-outs of the reading-back of one put: each may hold the line for a second
_MOST_TIMEOUTS = 2


def send(session: Session, item: Command | Variable, value: Value) -> None:
    """Send a value, or execute a command, in one call and without a look at anything. Raises DeviceError."""
    with session.asking(item.label, item.slot) as device:
        if isinstance(item, Command):
            item.execute(device)
        else:
            item.write(device, item.format.raw(value))


def execute(session: Session, command: Command, value: Value) -> Iterator[Step]:
    """Execute a command for a 1, do nothing for a 0. Raises DeviceError."""
    if value not in (0, 1):
        raise Refused(f"{command.label}: 1 executes, 0 does nothing; {value!r} is neither")
    if value == 1:
        try:
            send(session, command, value)
        except DeviceError as error:
            if is_refusal(error):
                raise Refused(str(error)) from error
            raise
    yield {}


def set_variable(session: Session, section: Section, item: Variable, meant: Variable, value: Value) -> Iterator[Step]:
    """Set a variable, and yield what the crate reads back. Raises DeviceError.

    ``item`` is the variable as the section knows it, ``meant`` as it was when the value was put: its unit counts.
    """
    target = Target(session, section, item)
    before: Raw | None = target.newest
    if isinstance(item.format, Number):
        before = yield from _look_before(target)
        if not isinstance(item, Property):
            item = yield from ask_limits(target, meant)
    elif isinstance(item.format, Choice):
        if value != item.safe:
            if item.switch:
                before = yield from _look_before(target)
            item = yield from ask_words(target, meant, value)
        elif (other := (yield from other_switch(target))) is not None:
            yield from _send_off_to(target, other)
        elif item.safe is not None and (yield from is_off(target)):
            item = yield from words_of_off(target)
            value = item.safe if item.safe is not None else value
    try:
        raw = item.format.raw(value)
    except Refused as error:
        raise Refused(f"{item.label}: {error}") from None
    yield from _Put(Target(session, section, item), value, raw, before).carry_out()


def _send_off_to(target: Target, other: Variable) -> Iterator[Step]:
    """Send an Off to the switch of a board that is not served yet. Raises NotShown: it is repeated until it is.

    What it reads back would be shown in the words of the board of before.
    """
    assert other.safe is not None
    yield Wait()
    send(target.session, other, other.safe)
    raise NotShown(f"{other.label}: Off was sent to another board than before; it is shown when that is served")


def _look_before(target: Target) -> Steps[Raw | None]:
    """Return what the crate has before a put, for a value that is near to it proves nothing; None: not known.

    Raises Refused where a switch cannot be read before it is switched on: nothing was sent.
    """
    if not target.item.readable:
        return None
    try:
        before, readings = target.read_back()
    except LinkDown:
        raise
    except DeviceError as error:
        if not target.item.switch:
            return None
        sentence = f"{target.item.label}: not sent, for it cannot be read whether it is on already: {error}"
        raise Refused(sentence) from error
    yield readings
    yield Wait()
    if target.item.switch:
        yield from _look_whether_off(target)
    return before


def _look_whether_off(target: Target) -> Iterator[Step]:
    """Say that a put lets voltage out, unless the channel is on: if it fails, one that was off is switched off.

    So is one that ramps down: the switch of a desktop unit is on until it is down. In either case it pauses: an Off
    may have come meanwhile, which ends the put before the On is sent.
    """
    bits: set[str] | None = None
    with suppress(BadReply, NoReply, BoardGone):
        bits, readings = target.read_bits()
        yield readings
    yield Energizes() if bits is not None and ("ON" not in bits or "DOWN" in bits) else Wait()


@dataclass(slots=True)
class _Put:
    """One put to a variable: ``value`` as the client put it, ``raw`` as it goes over the wire.

    before  value that the crate had, as last read; bits_before: of its channel's status; None: not known
    range   of a current, as last read before it was sent
    by_status  True for an Off whose words are not known
    comes_down  True for an On whose switch was on before, of a channel that ramps down: it proves nothing
    switched_off  True if the channel was switched off before, and comes down because of that
    got     value read back last; None: it could not be read
    """

    target: Target
    value: Value
    raw: Raw
    before: Raw | None
    bits_before: set[str] | None = None
    range: tuple[Raw, ...] | None = None
    by_status: bool = False
    comes_down: bool = False
    switched_off: bool = False
    got: Raw | None = None

    def carry_out(self) -> Iterator[Step]:
        """Send the value, and read back until the crate shows it."""
        item = self.target.item
        self.bits_before, self.range = self.target.bits(), self.target.range_state
        on_before = self._is_on_put and self.before == self.raw
        self.comes_down = on_before and self.bits_before is not None and "DOWN" in self.bits_before
        self.switched_off = self.target.is_coming_down
        failure = self._send()
        self.target = replace(self.target, sent=True)
        if item.switch and not self.target.section.metadata.knows_words(item):
            failure = yield from self._ask_words_of_off(failure)
            item = self.target.item
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
        """Send the value; return what the crate said against it. Raises LinkDown, Refused.

        Only an Off goes to a slot whose board has gone since the put was begun: there may be another one in it.
        """
        item, section = self.target.item, self.target.section
        if not section.present and not (item.switch and self.value == item.safe):
            raise Refused(f"{item.label}: not sent, {section.name} has gone meanwhile")
        section.note_put(item)
        if self._is_on_put:
            section.values.under_way.pop(item.label, None)
        try:
            with self.target.session.asking(item.label, item.slot) as device:
                item.write(device, self.raw)
        except (LinkDown, Refused):
            raise
        except DeviceError as error:
            return error
        finally:
            if self._is_on_put:  # only now: the crate may begin with it at the end of a call that took long
                section.note_on(item)
        return None

    def _ask_words_of_off(self, failure: DeviceError | None) -> Steps[DeviceError | None]:
        """Ask whether what was sent as an Off is one, for that is not certain; if it is not, send it once more.

        It went first, for the crate may not answer. Return what the crate said against it.
        """
        yield Wait()
        try:
            now = yield from paused(self.target.section.metadata.question(self.target.session, self.target.item))
        except LinkDown:
            raise
        except DeviceError:
            self.by_status = True
            return failure
        self.target = replace(self.target, item=now)
        self.by_status = now.safe is None
        if now.safe is None or now.format.raw(now.safe) == self.raw:
            return failure
        self.value, self.raw = now.safe, now.format.raw(now.safe)
        return self._send()

    def _read_once(self, failure: DeviceError) -> Iterator[Step]:
        """Read what the crate has after it refused a put, which is good all the same if it has the value."""
        if self.target.item.readable:
            yield Wait(_READ_BACK_AFTER[0])
            with suppress(BadReply, NoReply, BoardGone):
                self.got, readings = self.target.read_back()
                yield readings
                if self._is_taken() and (yield from self._has_its_unit()) and (yield from self._status_agrees()):
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
        for pause in self._looks():
            yield self._pause(pause)
            last, self.got = self.got, None
            try:
                self.got, readings = self.target.read_back()
                same = yield from self._has_its_unit()
            except (BadReply, NoReply, BoardGone) as trouble:
                error, timeouts = trouble, timeouts + isinstance(trouble, NoReply)
                if timeouts == _MOST_TIMEOUTS or isinstance(trouble, BoardGone):
                    break
                continue
            if not same:
                error = self._in_another_unit()
                yield self.target.invalidate(error)
                raise error
            shown = self._is_shown(last) and (yield from self._status_agrees())
            if shown or failure is None:
                yield readings
            if shown or (failure is None and (yield from self._is_under_way())):
                return
        if self.got is None:
            assert error is not None
            if (yield from self._is_off(failure)):
                return
            yield self.target.invalidate(error)
            raise failure or error
        yield readings
        if self._is_taken() and self._is_off_put and not self.by_status:
            raise NotShown(f"{self.target.item.label}: Off was sent, but the status does not show it yet")
        if (yield from self._is_on_as_before(failure)):
            return
        if self.by_status or not self._is_rounded():
            form = self.target.item.format
            what = str(failure or self.target.item.label)
            # An On may still come, as when an interlock closes: it must be undone, as after an unknown outcome
            kind = BadReply if self._is_on_put else Refused
            raise kind(f"{what}: {form.text(self.raw)} was sent, but the crate reads back {form.text(self.got)}")

    def _looks(self) -> Iterator[float]:
        """Yield the seconds before each reading-back: as many as fit into the time that a crate may take.

        Of an Off that was in vain just before it is one: scans look as well, and many such must not fill the line.
        """
        again = self._is_off_put and self.target.item.label in self.target.section.off_in_vain
        until = monotonic() + LAG
        for pause in (_LOOK_AGAIN_AFTER,) if again else _READ_BACK_AFTER:
            if self._is_off_put and monotonic() > until:  # of many on a slow line: it is time to send it again
                return
            yield pause

    def _pause(self, seconds: float = 0.0) -> Wait:
        """Return the pause before a look; scans prove nothing where it is not known which word was sent."""
        return Wait(seconds) if self.by_status else Look(seconds)

    @property
    def _is_on_put(self) -> bool:
        """Return True if a channel is to be switched on."""
        return self.target.item.switch and self.value != self.target.item.safe

    @property
    def _is_off_put(self) -> bool:
        """Return True if a channel is to be switched off, and is served: one of a board of before has no status."""
        item = self.target.item
        return item.switch and self.value == item.safe and item.label in self.target.section.table.items

    def _has_its_unit(self) -> Steps[bool]:
        """Return True if a current still has the unit in which it was sent. Raises DeviceError."""
        return (yield from is_same_unit(self.target, self.target.item, self.range))

    def _in_another_unit(self) -> BadReply:
        """Return the sentence for a current whose unit may have moved when it arrived; it is read soon."""
        label = self.target.item.label
        return BadReply(f"{label}: sent, but its range was changed at the same time; look at it and put it again")

    def _is_shown(self, last: Raw | None) -> bool:
        """Return True if the crate shows the value, or twice another one that it has rounded it to."""
        return self._is_taken() or (self.got == last and self._is_rounded())

    def _status_agrees(self) -> Steps[bool]:
        """Return True if the status shows what the switch itself does not prove.

        That is an Off whose words are not known, an On of a channel that came down with its switch on, and an Off
        that a crate may have answered and lost, and which still shows its switch of before the last On.
        """
        if not (self.by_status or self.comes_down or self._is_off_put):
            return True
        bits = yield from self._read_status()
        if self._is_off_put and not self.by_status:
            return self.target.section.shows_off(self.target.item, bits)
        if bits is None:
            return False
        return "ON" not in bits if self.by_status else "ON" in bits and "DOWN" not in bits

    def _is_off(self, failure: DeviceError | None) -> Steps[bool]:
        """Return True if the status shows an Off of a switch that cannot be read.

        After a ``failure`` that of a channel which was off before proves nothing.
        """
        item = self.target.item
        if not item.switch or not (self.by_status or self.value == item.safe):
            return False
        bits = yield from self._read_status()
        was_on = self.bits_before is not None and "ON" in self.bits_before
        off = bits is not None and "ON" not in bits and self.target.section.shows_off(item, bits)
        return off and (failure is None or was_on)

    def _is_on_as_before(self, failure: DeviceError | None) -> Steps[bool]:
        """Return True for an On of a channel that ramps down and is on. Raises BadReply where it may come on later.

        So it may where the crate took the On, and its switch does not show it before the channel is down.
        """
        if self.comes_down and self._is_taken():
            if failure is None and (yield from self._goes_to_its_setting()):
                return True
            yield from self._not_obeyed()
        if failure is None and self._is_on_put:
            bits = yield from self._read_status()
            if bits is not None and "DOWN" in bits:
                yield from self._not_obeyed()
        return False

    def _goes_to_its_setting(self) -> Steps[bool]:
        """Return True if a channel that goes on ramping down may be on, as before: it is above its setting."""
        if self.switched_off:
            return False
        yield Wait()
        try:
            above, readings = self.target.is_above_setting()
        except (BadReply, NoReply, BoardGone):
            return False
        yield readings
        return above

    def _not_obeyed(self) -> Iterator[Step]:
        """Raise BadReply for an On of a channel that goes on ramping down: it may come on, or go on to be off."""
        item = self.target.item
        if self.switched_off and item.safe is not None:
            self.target.section.values.under_way[item.label] = item.safe
        error = BadReply(
            f"{item.label}: On was sent, but the channel goes on ramping down; put it again when it is off"
        )
        yield self.target.invalidate(error)
        raise error

    def _read_status(self) -> Steps[set[str] | None]:
        """Return the bits that are set in the channel's status; None where it cannot be read."""
        yield self._pause()
        try:
            bits, readings = self.target.read_bits()
        except (BadReply, NoReply, BoardGone):
            return None
        yield readings
        return bits

    def _is_taken(self) -> bool:
        assert self.got is not None
        return is_taken(self.target.item, self.raw, self.got, self.before)

    def _is_rounded(self) -> bool:
        """Return True if the unit took a step near to the value, now or at the last put of the same value."""
        assert self.got is not None
        step, rounded = (self.raw, self.got), self.target.section.rounded
        if self.got == self.before or self.before is None:
            return rounded.get(self.target.item.label) == step
        if not is_rounded(self.target.item, *step, self.target.ceilings()):
            return False
        rounded[self.target.item.label] = step
        return True

    def _is_under_way(self) -> Steps[bool]:
        """Return True if a channel ramps to what its switch was put to, which does not show it until it is there.

        The switch of a desktop unit is the bit ON of its status, which stays until the channel is down. A channel
        that came down before it was switched off proves nothing.
        """
        item = self.target.item
        if not item.switch or item.safe is None:
            return False
        off = self.value == item.safe
        if off and self.target.section.may_come_on(item.channel):
            return False
        ramp = "DOWN" if off else "UP"
        bits = yield from self._read_status()
        known = self.bits_before is not None and ramp not in self.bits_before
        if bits is None or ramp not in bits or not (known or self.target.is_coming_down):
            return False
        self.target.section.values.under_way[item.label] = self.value
        yield {item.label: self.value}
        return True

    def _read_limited(self) -> Iterator[Step]:
        """Read the voltage settings behind a put to their limit: a lower one takes them along."""
        for setting in self.target.voltage_settings():
            yield Wait()
            with suppress(BadReply, NoReply, BoardGone):
                _, readings = self.target.read_back(setting)
                yield readings
