"""A Technix generator: its scan and its puts.

Voltages and currents are magnitudes in kV and mA; the wire has 12-bit counts, 4095 = full scale. Without a command
for 5 s the generator turns HV off and goes to local mode: the scan of the group "status" is also the keep-alive. The
setpoints cannot be read from the generator: they are unknown until they have been put over this connection.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import ClassVar

from drivers.base import (
    BadReply,
    DeviceError,
    Driver,
    Example,
    NoReply,
    NotShown,
    Point,
    Reading,
    Readings,
    Refused,
    SafePut,
    Severity,
    Step,
    Value,
    Wait,
)
from drivers.technix.config import TechnixConfig
from drivers.technix.line import LONGEST_QUESTION, LONGEST_READ, REPLY_TIMEOUT, Line
from drivers.technix.loss import Loss
from drivers.technix.points import BITS, HV, OFF_CMD, ON_CMD, points
from drivers.technix.setpoints import COMMANDS, Setpoints
from drivers.technix.status import StatusByte
from drivers.technix.switching import PAUSE, Switching
from drivers.technix.watchdog import Watchdog

# Switch -> the command that sets it
_SWITCHES = {"Mode": "P7", "Inhibit": "P8"}
# Measured value -> the question for it, and the setpoint that has its range
_OUTPUTS = {"VMon": ("a1", "VSet"), "IMon": ("a2", "ISet")}


class Technix(Driver):
    """One generator.

    The status byte shows whether a put succeeded: the manual does not say how a refused command is answered.
    """

    Config = TechnixConfig
    scan: ClassVar[Mapping[str, float]] = MappingProxyType({"status": 0.25})
    longest_period: ClassVar[float | None] = 1.0
    # Soon enough for the watchdog where it is to be fed
    longest_retry: ClassVar[float] = 2.5
    longest_reply: ClassVar[float] = REPLY_TIMEOUT + PAUSE
    longest_call: ClassVar[float] = PAUSE + LONGEST_READ
    example = Example("VMon", "VSet 30")

    def __init__(self, config: TechnixConfig) -> None:
        self._setpoints = Setpoints(config)
        self.points = tuple(points(self._setpoints.scales["VSet"], self._setpoints.scales["ISet"]))
        watchdog = Watchdog()
        self._line = Line(config.port, watchdog)
        self._keep = config.on_loss == "keep"
        self._loss = Loss(self._line, self._keep)
        self._status = StatusByte(self._line, watchdog, self._setpoints, config.polarity == "negative")
        self._switching = Switching(self._line, self._status, self._setpoints)
        self._trips = config.over_limit != "alarm"
        self._outputs = list(_OUTPUTS)  # in the order in which they are asked for

    @property
    def reopens(self) -> bool:
        """Return False if the generator is to be kept on and would be without a question for too long meanwhile."""
        return not self._keep or (self._line.quick and self._line.just_sent)

    def connect(self) -> Readings:
        """Open the line and ask for the status: the generator has no other identification. Raises DeviceError."""
        self._setpoints.forget_all("the connection was opened")
        self._switching.reset()
        self._loss.check()
        try:
            self._line.open()
            self._line.drain()
            return self._ask_first()
        except DeviceError:
            self.close()
            raise

    def _ask_first(self) -> Readings:
        """Ask for the status; where that fails, ask something else, and leave the status to the scan.

        A single reply that was lost must not cost a whole try: the next may be seconds away. Raises DeviceError.
        """
        began = time.monotonic()
        try:
            return self._status.ask()
        except (NoReply, BadReply) as error:
            if time.monotonic() - began > LONGEST_QUESTION:
                raise
            with suppress(NoReply, BadReply):
                self._line.ask("a1")
                return {}
            raise error from None

    def close(self) -> None:
        """Close the line and send nothing: a generator in remote mode turns HV off 5 s later (manual)."""
        self._line.close()

    def read(self, group: str) -> Iterator[Step]:
        """Read status, voltage (kV) and current (mA): the three blocks of the one group.

        Raises DeviceError at the end, when all is read, for what was wrong besides.
        """
        self._loss.check()
        yield from self._switching.free()
        yield self._status.ask()
        wrong: DeviceError | None = None
        try:
            yield from self._switching.tidy()
        except (BadReply, Refused) as error:
            wrong = error
        for name in tuple(self._outputs):
            yield from self._switching.free()
            reading = self._output(name)
            yield {name: reading}
            # Not again and again where HV is off, and its output goes down slowly
            if self._trips and reading.severity is Severity.MAJOR and self._status.bits & HV:
                excess = f"{name} is {reading.value:g}, {reading.message}"
                wrong = DeviceError(f"{excess}: HV off is put (over_limit: off)")
                yield SafePut(name="HV", what=excess, why="over_limit: off")
        if wrong is not None:
            raise wrong

    def _output(self, name: str) -> Reading:
        """Ask for a voltage or current; one that fails ends the scan, and goes behind the other from then on.

        So the other one is watched all the same, and a dying line costs no more time. Raises DeviceError.
        """
        question, setpoint = _OUTPUTS[name]
        try:
            return self._setpoints.scales[setpoint].output(self._line.read(question))
        except DeviceError:
            self._outputs.sort(key=name.__eq__)
            raise

    def write(self, point: Point, value: Value) -> Iterator[Step]:
        """Carry out a put; yield the status as it is seen in its course, and the setpoint as sent (kV, mA)."""
        name = point.name
        if name in COMMANDS:
            yield from self._set(name, float(value))
            return
        if value not in (0, 1):
            raise Refused(f"{name} accepts 0 ({point.states[0]}) and 1 ({point.states[1]}), not {value}")
        if value == point.safe:
            yield from self._make_safe(name, int(value))
        elif name == "HV":
            yield from self._switch_on()
        else:
            yield from self._switch(name, int(value))

    def write_blind(self, point: Point, value: Value) -> Iterator[Step]:
        """Send HV off, inhibition or local mode over a line that is opened for it, and expect no answer.

        Raises LinkDown where there is no line, or while nothing may be sent (``loss``).
        """
        self._loss.check_blind(point.name)
        self._line.open()
        self._loss.note_blind(point.name)
        yield from self._send_safe(point.name, int(value))

    def energizes(self, point: Point, value: Value) -> bool:
        """Return True for HV on and for Inhibit off: remote mode by itself lets nothing out."""
        return super().energizes(point, value) and point.name != "Mode"

    def shown(self, point: Point, value: Value, readings: Readings) -> bool:
        """Return True if the status shows it; HV off is not over while an HV on is left half given.

        In local mode it is: there HV on cannot be given (manual), and its first half is released after it.
        """
        half_on = point.name == "HV" and readings.get("OnCmd") and not readings.get("Mode_RBV")
        return super().shown(point, value, readings) and not half_on

    def undoes(self, safe: Point, waiting: Point) -> bool:
        """Return True for puts that would switch on, or make ready to, after what makes things safe."""
        return waiting.name in {"HV", "Inhibit", "Mode"}

    def _look_before(self, what: str) -> Iterator[Step]:
        """Read the status before something is sent. Raises Refused where that fails: nothing was sent."""
        yield from self._switching.free()
        try:
            yield self._status.ask()
        except DeviceError as error:
            raise Refused(f"{what} was not sent: {error}") from error

    def _look_before_switching(self, what: str) -> Iterator[Step]:
        """Read the status, and pause: what makes things safe may have come meanwhile, and ends the put."""
        yield from self._look_before(what)
        yield Wait()
        yield from self._switching.free()
        self._status.listen()

    def _set(self, name: str, value: float) -> Iterator[Step]:
        scale = self._setpoints.scales[name]
        if not 0 <= value <= scale.limit:  # also false for NaN
            raise Refused(f"{name} accepts 0 to {scale.limit!r} {scale.egu} (magnitudes), not {value!r} {scale.egu}")
        counts = scale.counts(value)
        # A strike seen only after the put would make the new setpoint unknown.
        yield from self._look_before(name)
        if self._status.local:
            raise Refused(f"{name} was not sent: in local mode the front panel sets it (put Mode Remote first)")
        self._setpoints.forget(name, f"a put to {name} was not answered")
        self._line.ask(f"{COMMANDS[name]},{counts}")
        self._line.overheard.discard(COMMANDS[name])  # what was heard before the reply is undone by it
        self._setpoints.store(name, counts)
        yield {f"{name}_RBV": scale.value(counts)}

    def _switch_on(self) -> Iterator[Step]:
        yield from self._look_before_switching("HV on")
        self._check_obstacles()
        try:
            yield from self._switching.finish()
        except DeviceError as error:
            raise Refused(f"HV on was not sent: {error}") from error
        self._check_obstacles()  # that may have taken seconds
        if self._status.bits & (HV | ON_CMD | OFF_CMD) != HV:
            yield from self._switching.on()

    def _check_obstacles(self) -> None:
        if obstacles := self._status.obstacles() + self._setpoints.obstacles():
            raise Refused(f"HV on was not sent: {'; '.join(obstacles)}")

    def _switch(self, name: str, value: int) -> Iterator[Step]:
        """Put Mode Remote or Inhibit Off."""
        mask, words, _, _ = BITS[f"{name}_RBV"]
        yield from self._look_before_switching(f"{name} {words[value]}")
        if name == "Inhibit":
            # With HV on it lets out what the setpoints say, as HV on does.
            if self._status.bits & HV and (obstacles := self._setpoints.obstacles()):
                raise Refused(f"Inhibit Off was not sent, for HV is on: {'; '.join(obstacles)}")
            self._switching.own_inhibition()
        self._line.ask(f"{_SWITCHES[name]},{value}")
        yield from self._switching.settled(mask, mask * value)
        if self._status.bits & mask != mask * value:
            # What lets voltage out may still do so: it must be undone, as after an unknown outcome.
            kind = BadReply if name == "Inhibit" else Refused
            raise kind(f"{name} {words[value]} was sent, but it stays {words[not value]}")

    def _make_safe(self, name: str, value: int) -> Iterator[Step]:
        """Put what makes things safe: sent at once, whatever the line says, and then looked for in the status."""
        mask, words, _, _ = BITS[f"{name}_RBV"]
        if name == "HV":
            steps = self._switching.off()
        else:
            yield from self._send_safe(name, value)
            steps = self._switching.settled(mask, mask * value)
        try:
            yield from steps
        except (NoReply, BadReply) as error:
            raise type(error)(f"{name} {words[value]} was sent, its effect is unknown: {error}") from error
        if self._status.bits & mask != mask * value:
            raise NotShown(f"{name} {words[value]} was sent, but it stays {words[not value]}")

    def _send_safe(self, name: str, value: int) -> Iterator[Step]:
        if name == "HV":
            yield from self._switching.pulse_off()
            return
        if name == "Mode":
            self._status.expect_local()
        else:
            self._switching.own_inhibition()
        self._line.await_reply(self._line.send(f"{_SWITCHES[name]},{value}"), REPLY_TIMEOUT)
        yield Wait()
