"""Technix high-voltage generators (SR100KV-5KW and kin) on their RS-232 line.

Source: the manual's chapter "RS-232 control protocol". What the manual leaves open is marked "assumed".

Voltages and currents are magnitudes in kV and mA; the wire has 12-bit counts, 4095 = full scale. Without a command
for 5 s the generator turns HV off and goes to local mode: the scan of the group "status" is also the keep-alive. The
setpoints cannot be read from the generator: they are unknown until they have been put over this connection.
"""

from __future__ import annotations

import errno
import math
import os
import termios
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal

import serial

from drivers.base import (
    BadReply,
    ConfigFault,
    DeviceError,
    Driver,
    DriverConfig,
    LinkDown,
    NoReply,
    Point,
    Reading,
    Readings,
    RecordType,
    Refused,
    Severity,
    Status,
    Value,
)

TOP = 4095  # counts at full scale
WATCHDOG = 5.0  # seconds without a command after which the generator turns HV off
PAUSE = 0.11  # seconds between the answer to the first half of P5/P6 and the second half; the manual asks for 0.1
ANSWER_TIME = 0.5  # seconds for a whole answer, which takes 10 ms on the wire
QUIET = 0.05  # seconds without a byte (48 characters) after which the line counts as drained
DRAIN_TIME = 1.0  # a line that is never quiet is given up after these seconds
LONGEST = 64  # bytes without a carriage return that cannot be an answer any more
SETTLE = 0.5  # seconds within which a status bit follows its command; assumed
MARGIN_WINDOW = 60.0  # seconds that WD:Margin looks back

# The status byte; the manual counts bits from 1
INHIBIT, LOCAL, OFF_CMD, ON_CMD, HV, INTERLOCK, FAULT, VOLTAGE = 0x80, 0x40, 0x20, 0x10, 0x08, 0x04, 0x02, 0x01

_MAJOR = (Severity.NO_ALARM, Severity.MAJOR)
# point: mask, words for 0 and 1, description, severities
_BITS: dict[str, tuple[int, tuple[str, str], str, tuple[Severity, ...]]] = {
    "HV_RBV": (HV, ("Off", "On"), "High voltage", ()),
    "Mode_RBV": (LOCAL, ("Remote", "Local"), "Who is in control", ()),
    "Inhibit_RBV": (INHIBIT, ("Off", "On"), "Output inhibition", ()),
    "Interlock": (INTERLOCK, ("Closed", "Open"), "Interlock loop on the rear panel", _MAJOR),
    "Fault": (FAULT, ("OK", "Fault"), "Reset: HV off button on front panel", _MAJOR),
    "Regulation": (VOLTAGE, ("Current", "Voltage"), "What the generator regulates", ()),
    "OnCmd": (ON_CMD, ("Released", "Given"), "First half of HV on given", ()),
    "OffCmd": (OFF_CMD, ("Released", "Given"), "First half of HV off given", ()),
}


@dataclass(frozen=True, kw_only=True)
class FullScale:
    """What the model gives at 4095 counts: kV and mA, both positive."""

    voltage_kv: float
    current_ma: float


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The highest setpoints that are allowed: kV and mA; None: full scale."""

    voltage_kv: float | None = None
    current_ma: float | None = None


@dataclass(frozen=True, kw_only=True)
class TechnixConfig(DriverConfig):
    """One generator; port is anything that pyserial's serial_for_url takes."""

    port: str
    full_scale: FullScale
    limits: Limits = Limits()
    polarity: Literal["positive", "negative"] = "positive"

    def faults(self) -> Iterable[ConfigFault]:
        """Yield the keys whose numbers make no sense."""
        if not self.port:
            yield ("port",), "is empty: give a serial device or a URL that pyserial knows"
        for key in ("voltage_kv", "current_ma"):
            full_scale, limit = getattr(self.full_scale, key), getattr(self.limits, key)
            if not _positive(full_scale):
                yield ("full_scale", key), f"is {full_scale:g}; it must be a finite number above 0"
            if limit is None:
                continue
            if not _positive(limit):
                yield ("limits", key), f"is {limit:g}; it must be a finite number above 0"
            elif limit > full_scale:
                yield ("limits", key), f"is {limit:g}, above the full scale of {full_scale:g}"


def _positive(number: float) -> bool:
    return math.isfinite(number) and number > 0


@dataclass(frozen=True, slots=True)
class Scale:
    """The generator's voltage or current range, in the unit ``egu``."""

    full_scale: float
    limit: float
    egu: str

    @property
    def prec(self) -> int:
        """Digits after the point that show a step of one count."""
        return max(0, math.ceil(-math.log10(self.full_scale / TOP)))

    def value(self, counts: int) -> float:
        """Return the value of a number of counts."""
        return counts * self.full_scale / TOP

    def counts(self, value: float) -> int:
        """Return the most counts whose value is not above ``value``, so that ``counts(value(n)) == n``."""
        near = int(value / self.full_scale * TOP)
        # The division may land on the wrong side of a whole number: the values themselves decide.
        return max(n for n in (near - 1, near, near + 1) if self.value(n) <= value)


class Watchdog:
    """What can be known from outside about the generator's watchdog. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._fed: float | None = None
        self._lapse = 0.0
        self._gaps: deque[tuple[float, float]] = deque()  # (end, length), ever shorter: the first is the longest

    def feed(self, now: float) -> None:
        """Note that a command was answered at ``now``."""
        gap = 0.0 if self._fed is None else now - self._fed
        self._fed = now
        if gap > WATCHDOG:
            self._lapse = gap
        while self._gaps and self._gaps[-1][1] <= gap:
            self._gaps.pop()
        self._gaps.append((now, gap))
        while self._gaps[0][0] < now - MARGIN_WINDOW:
            self._gaps.popleft()

    def lapse(self) -> float:
        """Return the length in seconds of the last gap that was too long, once; 0 if there was none."""
        lapse, self._lapse = self._lapse, 0.0
        return lapse

    @property
    def margin(self) -> float:
        """Least time in seconds that was left of the 5 s in the last minute."""
        return max(0.0, WATCHDOG - self._gaps[0][1]) if self._gaps else WATCHDOG


class Line:
    """The serial line: commands, their answers, and the way back when the two do not fit."""

    def __init__(self, url: str, watchdog: Watchdog) -> None:
        self._url = url
        self._watchdog = watchdog
        self._port: serial.Serial | None = None
        # The last commands whose answers may still be on their way. Kept when the line is opened again.
        self._unanswered: deque[str] = deque(maxlen=16)

    def open(self) -> None:
        """Open the line and throw away what is in it. Raises LinkDown."""
        self.close()
        try:
            self._port = serial.serial_for_url(
                self._url, 9600, timeout=QUIET, write_timeout=ANSWER_TIME, exclusive=True, rtscts=False, dsrdtr=False
            )
        except (OSError, termios.error, ValueError) as error:
            raise LinkDown(f"{self._url} cannot be opened: {_reason(error)}") from error
        self._drain()

    def close(self) -> None:
        """Close the line; sends nothing."""
        port, self._port = self._port, None
        if port is not None:
            with suppress(OSError, termios.error):
                port.close()

    def ask(self, command: str) -> int:
        """Send a command and return the number in its answer (0 where there is none).

        Raises NoReply, BadReply, LinkDown. After one of these the next call first gets the line into step again: it
        asks something else, and all that arrives before the answer to that is late and thrown away.
        """
        if self._unanswered:
            self._drain()
            self._exchange(self._probe(), skip=True)
            self._unanswered.clear()
        return self._exchange(command)

    def tell(self, command: str) -> None:
        """Send a command that makes things safe: at once, even when the line is out of step or answers nothing."""
        with suppress(NoReply, BadReply):
            if self._unanswered:
                self._drain()
            self._exchange(command)

    def _probe(self) -> str:
        """Return the question asked in vain the longest time ago, or never: no answer to it is likely on its way."""
        asked = {question: place for place, question in enumerate(self._unanswered)}
        return min(("E", "a1", "a2"), key=lambda question: asked.get(question, -1))

    def _exchange(self, command: str, skip: bool = False) -> int:
        self._send(command)
        deadline = time.monotonic() + ANSWER_TIME
        while (answer := _number(command, line := self._receive(command, deadline))) is None:
            if not skip:
                raise BadReply(f"{command} was answered with {line!r}: noise, a late answer, or a second program")
        self._unanswered.pop()
        self._watchdog.feed(time.monotonic())
        return answer

    def _send(self, command: str) -> None:
        with self._wire() as port:
            stray = port.in_waiting
        if stray:
            self._drain()
        with self._wire() as port:
            self._unanswered.append(command)  # until the answer is here
            port.write(command.encode("ascii") + b"\r")

    def _receive(self, command: str, deadline: float) -> bytes:
        """Return one answer without its carriage return."""
        line = b""
        while time.monotonic() < deadline:
            with self._wire() as port:
                line += port.read(1)
            if line.endswith(b"\r"):
                return line[:-1]
            if len(line) > LONGEST:
                raise BadReply(f"{command} was answered with noise that does not end")
        got = f", only {line!r} came" if line else ""
        raise NoReply(f"{command} was not answered within {ANSWER_TIME:g} s{got}")

    def _drain(self) -> None:
        """Throw away what comes until the line is quiet."""
        deadline = time.monotonic() + DRAIN_TIME
        with self._wire() as port:
            while port.read(64) and time.monotonic() < deadline:
                pass

    @contextmanager
    def _wire(self) -> Iterator[serial.Serial]:
        """Give the port, and turn what pyserial raises into LinkDown."""
        if self._port is None:
            raise LinkDown(f"{self._url} is not open")
        try:
            yield self._port
        except (OSError, termios.error, TypeError) as error:  # TypeError: pyserial, port closed underneath
            raise LinkDown(f"{self._url} is gone: {_reason(error)}") from error


def _number(command: str, line: bytes) -> int | None:
    """The number that an answer appends to its command, 0 if it has none; None if it is not the command's answer."""
    echo, tail = line[: len(command)], line[len(command) :]
    if echo != command.encode("ascii"):
        return None
    highest = {"E": 255, "a1": TOP, "a2": TOP}.get(command)
    if highest is None:
        return None if tail else 0
    return int(tail) if tail.isdigit() and len(tail) <= 4 and int(tail) <= highest else None


def _reason(error: BaseException) -> str:
    number = getattr(error, "errno", None)
    if number == errno.EAGAIN:  # from the lock that goes with exclusive=True
        return "another program uses it"
    return os.strerror(number) if number else str(error)


class Technix(Driver):
    """One generator. Puts are judged by the status byte, since the manual does not say how a refusal is answered."""

    Config = TechnixConfig
    scan: ClassVar[Mapping[str, float]] = MappingProxyType({"status": 0.25})
    longest_period: ClassVar[float | None] = 1.0

    def __init__(self, config: TechnixConfig) -> None:
        full_scale, limits = config.full_scale, config.limits
        self._scales = {
            "VSet": Scale(full_scale.voltage_kv, limits.voltage_kv or full_scale.voltage_kv, "kV"),
            "ISet": Scale(full_scale.current_ma, limits.current_ma or full_scale.current_ma, "mA"),
        }
        self._negative = config.polarity == "negative"
        self.points = tuple(_points(self._scales["VSet"], self._scales["ISet"]))
        self._watchdog = Watchdog()
        self._line = Line(config.port, self._watchdog)
        self._setpoints: dict[str, int | None] = {"VSet": None, "ISet": None}  # counts
        self._unknown_since = "the start"
        self._strikes = 0
        self._remote = False  # seen in remote mode, and not told to leave it
        self._begun = 0  # ON_CMD, OFF_CMD: pairs that this process began and has not seen completed
        self._stuck = -1  # the status byte that completing them ended with in vain

    def connect(self) -> None:
        """Open the line and ask for the status: the generator has no other identification. Raises DeviceError."""
        self._forget_setpoints("the connection was opened")
        try:
            self._line.open()
            self._status()
        except DeviceError:
            self.close()
            raise

    def close(self) -> None:
        """Close the line without a word: a generator in remote mode turns HV off 5 s later (manual)."""
        self._line.close()

    def read(self, group: str) -> Iterator[Readings]:
        """Read status, voltage and current: the three blocks of the one group."""
        bits = self._status()
        if self._begun and bits != self._stuck:
            bits = self._complete_pair(bits)
        yield self._readings(bits)
        yield {"VMon": self._scales["VSet"].value(self._line.ask("a1"))}
        yield {"IMon": self._scales["ISet"].value(self._line.ask("a2"))}

    def write(self, point: Point, value: Value) -> Readings:
        """Carry out a put; return the setpoint as taken (kV, mA), or the status as it is afterwards."""
        name = point.name
        if name in self._setpoints:
            return self._set(name, float(value))
        if value not in (0, 1):
            raise Refused(f"{name} takes 0 ({point.states[0]}) and 1 ({point.states[1]}), not {value}")
        put = {"HV": self._put_hv, "Mode": self._put_mode, "Inhibit": self._put_inhibit}[name]
        return self._readings(put(value == 1))

    def urgent(self, point: Point, value: Value) -> bool:
        """True for HV off and for Inhibit on."""
        return (point.name, value) in {("HV", 0), ("Inhibit", 1)}

    def undoes(self, urgent: Point, waiting: Point) -> bool:
        """True for puts that would switch on, or make ready to, after an HV off or Inhibit on."""
        return waiting.name in {"HV", "Inhibit", "Mode"}

    def _status(self) -> int:
        """Ask for the status byte, and learn from it what happened since the last one."""
        bits = self._line.ask("E")
        self._begun &= bits
        lapse = self._watchdog.lapse()
        why = f"no command was answered for {lapse:.1f} s" if lapse else ""
        if self._remote and bits & LOCAL and not bits & HV:
            self._strikes += 1
            why = f"it went to local mode by itself, probably by its watchdog ({why or '5 s without a command'})"
        if why:
            self._forget_setpoints(why)
        self._remote = not bits & LOCAL
        return bits

    def _forget_setpoints(self, since: str) -> None:
        self._setpoints = dict.fromkeys(self._setpoints)
        self._unknown_since = since

    def _readings(self, bits: int) -> dict[str, Value | Reading]:
        readings: dict[str, Value | Reading] = {name: int(bool(bits & mask)) for name, (mask, *_) in _BITS.items()}
        for name, counts in self._setpoints.items():
            unknown = Reading(None, Severity.INVALID, Status.UDF)
            readings[f"{name}_RBV"] = unknown if counts is None else self._scales[name].value(counts)
        return readings | {
            "Status": bits,
            "Polarity": int(self._negative),
            "WD:Margin": self._watchdog.margin,
            "WD:Strikes": self._strikes,
        }

    def _set(self, name: str, value: float) -> Readings:
        scale = self._scales[name]
        if not 0 <= value <= scale.limit:  # also false for NaN
            raise Refused(f"{name} takes 0 to {scale.limit!r} {scale.egu} (magnitudes), not {value!r} {scale.egu}")
        counts = scale.counts(value)
        self._status()  # a strike seen only after the put would make the new setpoint unknown
        self._setpoints[name] = None
        self._unknown_since = f"a put to {name} was not answered"
        self._line.ask(f"{'d1' if name == 'VSet' else 'd2'},{counts}")
        self._setpoints[name] = counts
        return {f"{name}_RBV": scale.value(counts)}

    def _put_hv(self, on: bool) -> int:
        return self._switch_on() if on else self._switch_off()

    def _put_mode(self, local: bool) -> int:
        self._status()
        self._remote = self._remote and not local
        self._line.ask(f"P7,{local:d}")
        return self._await("Mode", LOCAL, local)

    def _put_inhibit(self, on: bool) -> int:
        if on:
            self._line.tell("P8,1")
        else:
            self._status()
            self._line.ask("P8,0")
        return self._await("Inhibit", INHIBIT, on)

    def _switch_on(self) -> int:
        """Give the P5 pair; one that is not answered properly is released and followed by HV off."""
        obstacles = _obstacles(self._status())
        if all(counts is None for counts in self._setpoints.values()):
            obstacles.append(f"VSet and ISet are unknown since {self._unknown_since}: put VSet or ISet first")
        if obstacles:
            raise Refused(f"HV on: {'; '.join(obstacles)}")
        self._begun |= ON_CMD
        try:
            self._line.ask("P5,1")
            time.sleep(PAUSE)
            self._line.ask("P5,0")
            bits = self._settled(HV, HV)
        except (NoReply, BadReply) as error:
            time.sleep(PAUSE)
            self._line.tell("P5,0")
            self._switch_off()
            raise Refused(f"HV on was given up and HV off sent: {error}") from error
        if not bits & HV:
            # Without an obstacle it could still come on after the put has failed.
            obstacles = _obstacles(bits) or [f"it did not come on within {SETTLE:g} s, and HV off was sent"]
            self._send_off()
            raise Refused(f"HV on: {'; '.join(obstacles)}")
        return bits

    def _switch_off(self) -> int:
        """Give the P6 pair; an HV on that somebody else left half sent is completed as HV off, too."""
        self._send_off()
        bits = self._await("HV", HV, False)
        if bits & ON_CMD:
            self._begun |= ON_CMD
            bits = self._complete_pair(bits)
        return bits

    def _send_off(self) -> None:
        """Give the P6 pair, answered or not: the generator may hear what cannot be heard here."""
        self._begun |= OFF_CMD
        self._line.tell("P6,1")
        time.sleep(PAUSE)
        self._line.tell("P6,0")

    def _complete_pair(self, bits: int) -> int:
        """Complete a pair whose second half was lost, and return the status afterwards.

        HV off lacks only its release. HV on has failed for who asked, so it must end as HV off. The manual does not
        say whether the release is what switches HV on: it is given under inhibition, and HV off follows. Inhibition
        is taken back only if it was not active before and the status shows that HV is off and both pairs complete.
        """
        if self._begun & ON_CMD:
            self._line.ask("P8,1")
            self._line.tell("P5,0")
            self._send_off()
            unwanted = HV | ON_CMD | OFF_CMD
        else:
            self._line.tell("P6,0")
            unwanted = OFF_CMD
        after = self._settled(unwanted, 0)
        if after & unwanted:
            self._stuck = after
            raise BadReply(f"a half-sent HV on or off could not be completed (status {after}): look at the generator")
        if unwanted & HV and not bits & INHIBIT:
            self._line.ask("P8,0")
            after = self._settled(INHIBIT, 0)
        return after

    def _settled(self, mask: int, wanted: int) -> int:
        """Return the status when its ``mask`` is as wanted, or as it is when it has had the time for that."""
        deadline = time.monotonic() + SETTLE
        while (bits := self._status()) & mask != wanted and time.monotonic() < deadline:
            time.sleep(QUIET)
        return bits

    def _await(self, name: str, mask: int, wanted: bool) -> int:
        """Return the status once a put has shown there. Raises Refused when it does not."""
        _, words, _, _ = _BITS[f"{name}_RBV"]
        try:
            bits = self._settled(mask, mask * wanted)
        except (NoReply, BadReply) as error:
            raise type(error)(f"{name} {words[wanted]} was sent, its effect is unknown: {error}") from error
        if bool(bits & mask) != wanted:
            raise Refused(f"{name} {words[wanted]} was sent, but it stays {words[not wanted]}")
        return bits


def _obstacles(bits: int) -> list[str]:
    """What keeps a generator with this status from switching HV on."""
    obstacles = {
        INTERLOCK: "the interlock is open",
        FAULT: "it reports a fault (remove the cause, then press HV off on its front panel)",
        LOCAL: "it is in local mode (put Mode Remote first)",
    }
    return [sentence for mask, sentence in obstacles.items() if bits & mask]


def _points(voltage: Scale, current: Scale) -> Iterator[Point]:
    for letter, scale, word in (("V", voltage, "voltage"), ("I", current, "current")):
        yield Point(
            name=f"{letter}Set", rtyp=RecordType.ao, follows=f"{letter}Set_RBV", desc=f"Set {word}, magnitude",
            egu=scale.egu, prec=scale.prec, lopr=0, hopr=scale.limit, drvl=0, drvh=scale.limit,
        )  # fmt: skip
        for name, desc in ((f"{letter}Set_RBV", f"Set {word} as last put"), (f"{letter}Mon", f"Output {word}")):
            yield Point(
                name=name, rtyp=RecordType.ai, group="status", desc=f"{desc}, magnitude",
                egu=scale.egu, prec=scale.prec, lopr=0, hopr=scale.full_scale,
            )  # fmt: skip
    for name in ("HV", "Mode", "Inhibit"):
        _, words, desc, _ = _BITS[f"{name}_RBV"]
        yield Point(name=name, rtyp=RecordType.bo, follows=f"{name}_RBV", desc=desc, states=words)
    for name, (_, words, desc, severities) in _BITS.items():
        yield Point(name=name, rtyp=RecordType.bi, group="status", desc=desc, states=words, severities=severities)
    yield Point(
        name="Polarity", rtyp=RecordType.bi, group="status", desc="Polarity, as configured",
        states=("Positive", "Negative"),
    )  # fmt: skip
    yield Point(name="Status", rtyp=RecordType.longin, group="status", desc="Status byte", lopr=0, hopr=255)
    yield Point(
        name="WD:Margin", rtyp=RecordType.ai, group="status", desc="Least watchdog time left, last minute",
        egu="s", prec=2, lopr=0, hopr=WATCHDOG, low=2.5,
    )  # fmt: skip
    yield Point(
        name="WD:Strikes", rtyp=RecordType.longin, group="status", desc="Times the watchdog has struck",
        egu="strikes", lopr=0,
    )  # fmt: skip


DRIVER = Technix
Config = TechnixConfig
