"""What a test asks of a crate beyond result codes: time, idle sessions, settings that are clipped, other boards."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sim.caen.boards import spare_board
from sim.caen.crate import Board, Crate
from sim.caen.login import Login
from sim.caen.parameters import CrateError
from sim.fake import Clock, CommandError, Fake


class CrateFaults(Fake[Crate]):
    """A crate with the faults of its time, its sessions and its boards; the network is the part of a subclass."""

    def __init__(self, crate: Crate, clock: Clock = time.monotonic) -> None:
        super().__init__(crate, clock)
        self.latency = 0.002  # s a call
        self.channel_latency = 0.0  # s more for each channel of a call
        self.idle_time = math.inf  # s without a call after which a login is lost
        self._spares: dict[int, Board] = {}

    def has_idled(self, login: Login) -> bool:
        """Return True when a login was not used for too long; note that it is used now."""
        now = self.clock()
        idled = login.used is not None and now - login.used > self.idle_time
        login.used = now
        return idled

    @contextmanager
    def slot(self, slot: int) -> Iterator[Crate]:
        """Yield the model; a CrateError in the block becomes a CommandError."""
        with self.present() as crate:
            try:
                yield crate
            except CrateError as error:
                raise CommandError(f"slot {slot}: {error}") from None

    def do_delay(self, ms: float, ms_channel: float = 0.0) -> None:
        """Let each call take so long, and so much longer for each channel in it (ms)."""
        self.latency, self.channel_latency = ms / 1e3, ms_channel / 1e3

    def do_idle(self, seconds: float = 15.0) -> None:
        """Drop logins that were not used for so long (0: never)."""
        self.idle_time = seconds or math.inf

    def do_clip(self, on: int = 1) -> None:
        """Clip a setting outside its limits silently, where else it is refused (0: no more)."""
        self.model.clips = bool(on)

    def do_no_decimal(self, on: int = 1) -> None:
        """Lack the property Decimal of all parameters (0: no more)."""
        self.model.lacking = frozenset({"Decimal"} if on else ())

    def do_swap(self, slot: int) -> None:
        """Put another board in the place of the one in a slot; once more: put the first one back."""
        with self.slot(slot) as crate:
            other = self._spares.pop(slot, None) or spare_board(slot, crate.system)
            self._spares[slot], crate.boards[slot] = crate.board(slot), other
            other.power_down()

    def do_overcurrent(self, slot: int, channel: int) -> None:
        """Let the load drop to half of what the current limit can feed."""
        with self.slot(slot) as crate:
            victim = crate.channel(slot, channel)
            if not victim.voltage_setting or math.isinf(victim.current_limit):
                raise CommandError(f"slot {slot}, channel {channel}: no voltage is set, or it has no current limit")
            victim.resistance = victim.voltage_setting / (2 * victim.current_limit)
