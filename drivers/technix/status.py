"""The status byte of a Technix generator, and what follows from it beside its bits: strikes, unknown setpoints."""

from __future__ import annotations

import time

from drivers.base import Reading, Value
from drivers.technix.line import Line
from drivers.technix.points import BITS, FAULT, HV, INHIBIT, INTERLOCK, LOCAL, ON_CMD
from drivers.technix.setpoints import COMMANDS, Setpoints
from drivers.technix.watchdog import Watchdog

# Seconds within which a status bit follows its command; assumed
SETTLE = 0.5


class StatusByte:
    """The status byte as it was read last.

    bits    the masks are in ``points``
    """

    def __init__(self, line: Line, watchdog: Watchdog, setpoints: Setpoints, negative: bool) -> None:
        self.bits = 0
        self._begun = False
        self._begun_at = 0.0
        self._line = line
        self._watchdog = watchdog
        self._setpoints = setpoints
        self._negative = negative
        self._strikes = 0
        self._remote = False  # seen in remote mode
        self._told_local = False  # by this process, since it was seen in local mode

    @property
    def begun(self) -> bool:
        """Return True if the first half of an HV on shows which this process has to complete as HV off."""
        return self._begun and bool(self.bits & ON_CMD)

    @property
    def local(self) -> bool:
        """Return True in local mode, and where it was put last and does not show yet: that may be of before."""
        return bool(self.bits & LOCAL) or (self._told_local and self._line.switched.get("P7") == "P7,1")

    def note_on(self, *, begun: bool) -> None:
        """Note whether the first half of an HV on is to be completed as HV off where it shows, now or soon."""
        self._begun, self._begun_at = begun, time.monotonic()

    def expect_local(self) -> None:
        """Note that local mode is being put: it is no strike when it shows."""
        self._told_local = True

    def ask(self) -> dict[str, Value | Reading]:
        """Ask for the status byte; return all that it says as readings. Raises DeviceError."""
        before, self.bits = self.bits, self._line.read("E")
        if time.monotonic() - self._begun_at > SETTLE:  # before, the status may be that of before the command
            self._begun = self.begun
        lapse = self._watchdog.lapse()
        local = bool(self.bits & LOCAL)
        why = f"no command was answered for {lapse:.1f} s" if lapse else ""
        if local and self._remote:
            if lapse and not self._told_local:
                self._strikes += 1
                why = f"it went to local mode by itself, probably by its watchdog ({why})"
            else:
                why = "it went to local mode, in which its front panel may change them"
        elif local:
            why = "it is in local mode, in which its front panel may change them"
        elif fallen := self._fallen(before):
            why = f"{fallen} went off by itself: it may have been without power"
        if why:
            self._setpoints.forget_all(why)
        self._heed_others()
        # What was put before remote mode is no reason any more
        self._told_local = self._told_local and not local and self._line.switched.get("P7") != "P7,0"
        self._remote = not local
        return self._readings()

    def listen(self) -> None:
        """Make unknown what a second program has set since the last look. Raises LinkDown."""
        self._line.listen()
        self._heed_others()

    def obstacles(self) -> list[str]:
        """Return what keeps the generator from switching HV on."""
        obstacles = {
            INTERLOCK: "the interlock is open",
            FAULT: "it reports a fault (remove the cause, then press HV off on its front panel)",
            LOCAL: "it is in local mode (put Mode Remote first)",
        }
        bits = self.bits | (LOCAL if self.local else 0)
        return [sentence for mask, sentence in obstacles.items() if bits & mask]

    def _heed_others(self) -> None:
        for name, command in COMMANDS.items():
            if command in self._line.overheard:
                self._setpoints.forget(name, "a second program on the line set it")
        self._line.overheard.clear()

    def _fallen(self, before: int) -> str:
        """Return what went off though neither a put nor a fault is a reason: as after a loss of power."""
        fallen = before & ~self.bits
        if fallen & INHIBIT and self._line.switched.get("P8") != "P8,0":
            return "inhibition"
        off = self._line.switched.get("HV", "").startswith("P6") or self.bits & (FAULT | INTERLOCK)
        return "HV" if fallen & HV and not off else ""

    def _readings(self) -> dict[str, Value | Reading]:
        bits: dict[str, Value | Reading] = {name: int(bool(self.bits & mask)) for name, (mask, *_) in BITS.items()}
        return (
            bits
            | self._setpoints.readings()
            | {
                "Status": self.bits,
                "Polarity": int(self._negative),
                "WD:Margin": self._watchdog.margin,
                "WD:Strikes": self._strikes,
            }
        )
