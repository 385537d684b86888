"""A Technix high-voltage generator: its output, its contacts and its watchdog."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

WATCHDOG = 5.0  # s without a command: HV off, local mode
PAUSE = 0.1  # s between the answer to the first command of a pair and the second command


@dataclass
class Contact:
    """A contact worked by a pair of commands: the first closes it, the second releases it, and then it acts."""

    closed: bool = False
    held: float = 0.0  # s since the first command was answered

    @property
    def held_long_enough(self) -> bool:
        return self.held > PAUSE - 1e-6  # a sum of steps

    def close(self) -> None:
        self.closed, self.held = True, 0.0

    def release(self) -> bool:
        """Open the contact; True when it acts."""
        acts = self.closed and self.held_long_enough
        self.closed = False
        return acts


@dataclass
class Generator:
    """Physics and state. Voltages in kV, currents in mA, so that the load is in megaohm; magnitudes only."""

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
    on_contact: Contact = field(default_factory=Contact)
    off_contact: Contact = field(default_factory=Contact)
    kv: float = 0.0
    silence: float = 0.0
    watchdog_strikes: int = 0

    @property
    def producing(self) -> bool:
        return self.on and not self.inhibited

    @property
    def ma(self) -> float:
        return self.kv / self.resistance

    @property
    def regulates_voltage(self) -> bool:
        """What is regulated now: the full scale of the other quantity takes over when the load asks for it."""
        if self.keeps_voltage:
            return self.set_kv <= self.full_ma * self.resistance
        return self.set_ma * self.resistance > self.full_kv

    def target(self) -> float:
        if not self.producing:
            return 0.0
        wanted = self.set_kv if self.keeps_voltage else self.set_ma * self.resistance
        return min(wanted, self.full_kv, self.full_ma * self.resistance)

    def step(self, dt: float) -> None:
        self.silence += dt
        if self.silence >= WATCHDOG and not self.local:
            self.watchdog_strikes += 1
            self.go_local(True)
        for contact in (self.on_contact, self.off_contact):
            contact.held += dt
        change = (self.slew if self.producing else self.discharge) * dt
        self.kv += max(-change, min(change, self.target() - self.kv))

    def state(self) -> dict[str, Any]:
        return {**asdict(self), "ma": self.ma}

    def switch_on(self) -> None:
        """Nothing happens in local mode, in fault or with the interlock open."""
        self.on = self.on or not (self.local or self.fault or self.interlock_open)

    def switch_off(self) -> None:
        self.on = False

    def go_local(self, local: bool) -> None:
        if local and not self.local:
            self.switch_off()
        self.local = local

    def fail(self) -> None:
        self.fault = True
        self.switch_off()

    def open_interlock(self, is_open: bool) -> None:
        self.interlock_open = is_open
        if is_open:
            self.fail()

    def press_off_button(self) -> None:
        """The front panel's HV off button: the only way out of a fault, once its cause is gone."""
        self.switch_off()
        self.fault = self.interlock_open
