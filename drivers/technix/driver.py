"""A Technix generator: its scan, its puts, and the pairs of commands that switch high voltage.

Voltages and currents are magnitudes in kV and mA; the wire has 12-bit counts, 4095 = full scale. Without a command
for 5 s the generator turns HV off and goes to local mode: the scan of the group "status" is also the keep-alive. The
setpoints cannot be read from the generator: they are unknown until they have been put over this connection.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import ClassVar

from drivers.base import (
    BadReply,
    DeviceError,
    Driver,
    Example,
    NoReply,
    Point,
    Reading,
    Readings,
    Refused,
    Severity,
    Status,
    Step,
    Value,
)
from drivers.technix.config import TechnixConfig
from drivers.technix.line import QUIET, Line
from drivers.technix.points import (
    BITS,
    FAULT,
    HV,
    INHIBIT,
    INTERLOCK,
    LOCAL,
    OFF_CMD,
    ON_CMD,
    Scale,
    points,
)
from drivers.technix.watchdog import Watchdog

# Seconds between the reply to the first half of P5/P6 and the second half; the manual asks for 0.1
PAUSE = 0.11
# Seconds within which a status bit follows its command; assumed
SETTLE = 0.5


class Technix(Driver):
    """One generator.

    The status byte shows whether a put succeeded: the manual does not say how a refused command is answered.
    """

    Config = TechnixConfig
    scan: ClassVar[Mapping[str, float]] = MappingProxyType({"status": 0.25})
    longest_period: ClassVar[float | None] = 1.0
    example = Example("VMon", "VSet 30")

    def __init__(self, config: TechnixConfig) -> None:
        full_scale, limits = config.full_scale, config.limits
        self._scales = {
            "VSet": Scale(full_scale.voltage_kv, limits.voltage_kv or full_scale.voltage_kv, "kV"),
            "ISet": Scale(full_scale.current_ma, limits.current_ma or full_scale.current_ma, "mA"),
        }
        self._negative = config.polarity == "negative"
        self.points = tuple(points(self._scales["VSet"], self._scales["ISet"]))
        self._watchdog = Watchdog()
        self._line = Line(config.port, self._watchdog)
        self._setpoints: dict[str, int | None] = {"VSet": None, "ISet": None}  # counts
        self._unknown_since = "the start"
        self._strikes = 0
        self._remote = False  # seen in remote mode, and not put to local mode since
        self._begun = 0  # ON_CMD, OFF_CMD: pairs that this process began and has not seen completed
        self._stuck = -1  # the status byte that completing them ended with in vain

    def connect(self) -> Readings:
        """Open the line and ask for the status: the generator has no other identification. Raises DeviceError."""
        self._discard_setpoints("the connection was opened")
        try:
            self._line.open()
            return self._readings(self._status())
        except DeviceError:
            self.close()
            raise

    def close(self) -> None:
        """Close the line and send nothing: a generator in remote mode turns HV off 5 s later (manual)."""
        self._line.close()

    def read(self, group: str) -> Iterator[Step]:
        """Read status, voltage (kV) and current (mA): the three blocks of the one group."""
        bits = self._status()
        if self._begun and bits != self._stuck:
            bits = self._complete_pair(bits)
        yield self._readings(bits)
        yield {"VMon": self._scales["VSet"].value(self._line.ask("a1"))}
        yield {"IMon": self._scales["ISet"].value(self._line.ask("a2"))}

    def write(self, point: Point, value: Value) -> Iterator[Step]:
        """Carry out a put; yield the setpoint as sent (kV, mA), or the status as it is afterwards."""
        name = point.name
        if name in self._setpoints:
            yield self._set(name, float(value))
            return
        if value not in (0, 1):
            raise Refused(f"{name} accepts 0 ({point.states[0]}) and 1 ({point.states[1]}), not {value}")
        put = {"HV": self._put_hv, "Mode": self._put_mode, "Inhibit": self._put_inhibit}[name]
        yield self._readings(put(value == 1))

    def energizes(self, point: Point, value: Value) -> bool:
        """Return True for HV on and for Inhibit off: remote mode by itself lets nothing out."""
        return super().energizes(point, value) and point.name != "Mode"

    def undoes(self, safe: Point, waiting: Point) -> bool:
        """Return True for puts that would switch on, or make ready to, after an HV off or Inhibit on."""
        return waiting.name in {"HV", "Inhibit", "Mode"}

    def _status(self) -> int:
        """Ask for the status byte, and record what it says about the time since the last one."""
        bits = self._line.ask("E")
        self._begun &= bits
        lapse = self._watchdog.lapse()
        why = f"no command was answered for {lapse:.1f} s" if lapse else ""
        if self._remote and bits & LOCAL and not bits & HV:
            self._strikes += 1
            why = f"it went to local mode by itself, probably by its watchdog ({why or '5 s without a command'})"
        if why:
            self._discard_setpoints(why)
        self._remote = not bits & LOCAL
        return bits

    def _discard_setpoints(self, since: str) -> None:
        self._setpoints = dict.fromkeys(self._setpoints)
        self._unknown_since = since

    def _readings(self, bits: int) -> dict[str, Value | Reading]:
        readings: dict[str, Value | Reading] = {name: int(bool(bits & mask)) for name, (mask, *_) in BITS.items()}
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
            raise Refused(f"{name} accepts 0 to {scale.limit!r} {scale.egu} (magnitudes), not {value!r} {scale.egu}")
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
            self._line.send_blind("P8,1")
        else:
            self._status()
            self._line.ask("P8,0")
        return self._await("Inhibit", INHIBIT, on)

    def _switch_on(self) -> int:
        """Send the P5 pair; one that is not answered properly is released and followed by HV off."""
        obstacles = _obstacles(self._status())
        if all(counts is None for counts in self._setpoints.values()):
            obstacles.append(f"VSet and ISet are unknown since {self._unknown_since}: put VSet or ISet first")
        if obstacles:
            raise Refused(f"HV on was not sent: {'; '.join(obstacles)}")
        self._begun |= ON_CMD
        try:
            self._line.ask("P5,1")
            time.sleep(PAUSE)
            self._line.ask("P5,0")
            bits = self._settled(HV, HV)
        except (NoReply, BadReply) as error:
            time.sleep(PAUSE)
            self._line.send_blind("P5,0")
            self._switch_off()
            raise Refused(f"HV on failed: {error}; HV off was sent") from error
        if not bits & HV:
            # Without an obstacle it could still come on after the put has failed.
            obstacles = _obstacles(bits) or [f"it did not come on within {SETTLE:g} s"]
            self._send_off()
            raise Refused(f"HV on failed: {'; '.join(obstacles)}; HV off was sent")
        return bits

    def _switch_off(self) -> int:
        """Send the P6 pair; an HV on that somebody else left half sent is completed as HV off, too."""
        self._send_off()
        bits = self._await("HV", HV, False)
        if bits & ON_CMD:
            self._begun |= ON_CMD
            bits = self._complete_pair(bits)
        return bits

    def _send_off(self) -> None:
        """Send the P6 pair, answered or not: it may arrive where no reply comes back."""
        self._begun |= OFF_CMD
        self._line.send_blind("P6,1")
        time.sleep(PAUSE)
        self._line.send_blind("P6,0")

    def _complete_pair(self, bits: int) -> int:
        """Complete a pair whose second half was lost, and return the status afterwards.

        HV off lacks only its release. HV on has failed for who asked, so it must end as HV off. The manual does not
        say whether the release is what switches HV on: it is sent under inhibition, and HV off follows. Inhibition
        is released only if it was not active before and the status shows that HV is off and both pairs complete.
        """
        if self._begun & ON_CMD:
            self._line.ask("P8,1")
            self._line.send_blind("P5,0")
            self._send_off()
            unwanted = HV | ON_CMD | OFF_CMD
        else:
            self._line.send_blind("P6,0")
            unwanted = OFF_CMD
        after = self._settled(unwanted, 0)
        if after & unwanted:
            self._stuck = after
            raise BadReply(f"a half-sent HV on or off could not be completed (status {after}): check the generator")
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
        _, words, _, _ = BITS[f"{name}_RBV"]
        try:
            bits = self._settled(mask, mask * wanted)
        except (NoReply, BadReply) as error:
            raise type(error)(f"{name} {words[wanted]} was sent, its effect is unknown: {error}") from error
        if bool(bits & mask) != wanted:
            raise Refused(f"{name} {words[wanted]} was sent, but it stays {words[not wanted]}")
        return bits


def _obstacles(bits: int) -> list[str]:
    """Return what keeps a generator with this status from switching HV on."""
    obstacles = {
        INTERLOCK: "the interlock is open",
        FAULT: "it reports a fault (remove the cause, then press HV off on its front panel)",
        LOCAL: "it is in local mode (put Mode Remote first)",
    }
    return [sentence for mask, sentence in obstacles.items() if bits & mask]
