"""A Technix high-voltage generator: its output, its contacts and its watchdog."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

# Seconds without a command after which HV goes off and the mode is local
WATCHDOG = 5.0
# Seconds from the answer to the first command of a pair to the second command, at least
PAUSE = 0.1


@dataclass
class Contact:
    """A contact worked by a pair of commands: the first closes it; the second releases it and takes effect."""

    closed: bool = False
    held: float = 0.0  # s since the first command was answered
    late: bool = False  # that answer was kept back: the driver could not know when the pause begins

    @property
    def held_long_enough(self) -> bool:
        """Return True once it was held for as long as the manual asks."""
        return self.held > PAUSE - 1e-6  # a sum of steps

    def close(self) -> None:
        """Close the contact."""
        self.closed, self.held, self.late = True, 0.0, False

    def release(self, *, strict: bool) -> bool:
        """Open the contact; returns True when that takes effect: ``strict`` asks for the manual's pause."""
        acts = self.closed and (self.held_long_enough or not strict)
        self.closed = False
        return acts


@dataclass
class Generator:
    """State and physics of the generator.

    Voltages are in kV and currents in mA, so that the load is in megaohm; magnitudes only.
    """

    full_kv: float = 100.0
    full_ma: float = 50.0
    resistance: float = 8.0
    slew: float = 20.0  # kV/s, up and down under regulation
    discharge: float = 80.0  # kV/s, when there is no output
    noise: float = 0.0  # of a reading, in converter steps
    set_kv: float = 0.0
    set_ma: float = 0.0
    keeps_voltage: bool = True  # chosen by the last setting; False: keeps the current
    on: bool = False
    local: bool = True
    inhibited: bool = False
    fault: bool = False
    interlock_open: bool = False
    strict: bool = True  # a pair of commands acts only with the manual's pause between the two
    on_contact: Contact = field(default_factory=Contact)
    off_contact: Contact = field(default_factory=Contact)
    kv: float = 0.0
    silence: float = 0.0
    watchdog_strikes: int = 0

    @property
    def producing(self) -> bool:
        """Return True while there is an output."""
        return self.on and not self.inhibited

    @property
    def ma(self) -> float:
        """Return the current through the load (mA)."""
        return self.kv / self.resistance

    @property
    def regulates_voltage(self) -> bool:
        """Return True while the voltage is regulated.

        The full scale of the other quantity takes over when the load asks for it.
        """
        if self.keeps_voltage:
            return self.set_kv <= self.full_ma * self.resistance
        return self.set_ma * self.resistance > self.full_kv

    def target(self) -> float:
        """Return the voltage to which the output goes (kV)."""
        if not self.producing:
            return 0.0
        wanted = self.set_kv if self.keeps_voltage else self.set_ma * self.resistance
        return min(wanted, self.full_kv, self.full_ma * self.resistance)

    def step(self, dt: float) -> None:
        """Let ``dt`` seconds pass."""
        self.silence += dt
        if self.silence >= WATCHDOG:
            self.strike()
        for contact in (self.on_contact, self.off_contact):
            contact.held += dt
        change = (self.slew if self.producing else self.discharge) * dt
        self.kv += max(-change, min(change, self.target() - self.kv))

    def state(self) -> dict[str, Any]:
        """Return all that can be seen and set from the control channel."""
        return {**asdict(self), "ma": self.ma}

    def switch_on(self) -> None:
        """Switch HV on; does nothing in local mode, in fault or with the interlock open."""
        self.on = self.on or not (self.local or self.fault or self.interlock_open)

    def switch_off(self) -> None:
        """Switch HV off."""
        self.on = False

    def go_local(self, local: bool) -> None:
        """Switch to local mode or to remote mode; HV goes off with the change to local."""
        if local and not self.local:
            self.switch_off()
        self.local = local

    def fail(self) -> None:
        """Go into fault; HV goes off."""
        self.fault = True
        self.switch_off()

    def open_interlock(self, is_open: bool) -> None:
        """Open or close the interlock; an open one is a fault."""
        self.interlock_open = is_open
        if is_open:
            self.fail()

    def strike(self) -> None:
        """Let the watchdog strike, whatever was heard."""
        if not self.local:
            self.watchdog_strikes += 1
            self.go_local(True)

    def press_on_button(self) -> None:
        """Press HV on on the front panel, which acts in local mode alone (assumed)."""
        self.on = self.on or (self.local and not (self.fault or self.interlock_open))

    def press_off_button(self) -> None:
        """Press HV off on the front panel: the only way out of a fault, once its cause is gone."""
        self.switch_off()
        self.fault = self.interlock_open
