"""A CAEN driver that is scanned as a port does it, on a clock that passes only while somebody waits.

Each call of the simulated library takes its time on that clock, so that a minute with a crate takes no time, and what
is measured is the same each time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest

from drivers.base import Array, DeviceError, NoReply, Reading, Readings, Severity, Step, Value, Wait
from drivers.caen import Caen, Config
from sim.caen.crate import Crate
from sim.caen.fake import CrateFake
from sim.caen.faults import Fault
from sim.rack import Rack

KEYS: dict[str, Any] = {"system": "SY4527", "link": "TCPIP", "host": "crate", "username": "u", "password": "p"}
# Where the driver asks for the time
_CLOCKS = ("retry", "session", "driver", "inventory", "board.section", "board.reread")
# Scan group -> its period (s)
PERIODS = {"monitor": 1.0, "settings": 10.0}


class CrateRun:
    """A driver, its crate, and what a client would see of it.

    logins   how often the driver connected, or tried to
    """

    def __init__(self, fake: CrateFake, driver: Caen, clock: Clock) -> None:
        self.fake = fake
        self.driver = driver
        self.clock = clock
        self.logins = 0
        self.error: DeviceError | None = None
        self.values: dict[str, Value | Array | Reading] = {}
        self.log: dict[str, list[tuple[float, Any]]] = {}  # name -> (time, value or None where INVALID)
        self._good: dict[str, float] = {}  # name -> when it was last read
        self._up = False
        self._retry_at, self._retry_after = 0.0, 1.0
        self._scans: dict[str, Iterator[Step]] = {}
        self._due = dict.fromkeys(PERIODS, 0.0)

    def run(self, seconds: float, sample: Callable[[], None] | None = None) -> None:
        """Scan for some time; call ``sample`` four times a second."""
        end, next_sample = self.clock.now + seconds, self.clock.now
        while self.clock.now < end:
            self._turn()
            while sample and next_sample <= self.clock.now:
                sample()
                next_sample += 0.25

    def until(self, condition: Callable[[], bool], most: float = 200.0) -> float:
        """Scan until something is so; return the seconds that it took."""
        began = self.clock.now
        while not condition():
            assert self.clock.now - began < most, "it does not come"
            self._turn()
        return self.clock.now - began

    def settle(self) -> None:
        """Scan until everything is served and confirmed."""
        self.until(lambda: self._up and not self.driver.exploring and not self._open_questions())
        self.run(12)

    def _open_questions(self) -> bool:
        metadata = [section.metadata for section in self.driver._inventory.sections.values()]
        return any(each.assumed or each.stale or each.unconfirmed for each in metadata)

    def fault(self, **keys: Any) -> Fault:
        """Let calls fail from now on."""
        fault = Fault(**keys)
        self.fake.faults.append(fault)
        return fault

    def put(self, name: str, value: Value) -> Readings:
        """Carry out a put, without scans meanwhile; return all that was read in its course."""
        (point,) = (point for point in self.driver.points if point.name == name)
        read: dict[str, Value | Array | Reading] = {}
        for step in self.driver.write(point, value):
            if isinstance(step, Wait):
                self.clock.now += step.seconds
            else:
                self._take(step)
                read |= step
        return read

    def valid(self, name: str) -> bool:
        """Return True if a client sees the value as true: read well, within two periods of its group."""
        group = next((point.group for point in self.driver.points if point.name == name), None)
        if not self._up or not group:
            return False
        return self.clock.now - self._good.get(name, -math.inf) <= 2 * PERIODS[group]

    def share_invalid(self, prefix: str, seconds: float, group: str = "monitor") -> float:
        """Scan for some time; return the part of it in which the points of a group were not all valid."""
        names = [p.name for p in self.driver.points if p.name.startswith(prefix) and p.group == group]
        assert names
        samples: list[bool] = []
        self.run(seconds, lambda: samples.append(all(self.valid(name) for name in names)))
        return samples.count(False) / len(samples)

    def invalid_names(self, prefix: str = "") -> set[str]:
        """Return the points that are not valid now."""
        return {
            p.name for p in self.driver.points if p.group and p.name.startswith(prefix) and not self.valid(p.name)
        }

    def until_settings(self) -> None:
        """Scan until the settings have just been read."""
        self.until(lambda: "settings" not in self._scans and self._due["settings"] - self.clock.now > 9, 30)

    def longest_invalid(self, prefix: str, since: float) -> tuple[float, str]:
        """Return the longest time (s) for which a point was shown INVALID since a moment, and its name."""
        longest = 0.0, ""
        for name, log in self.log.items():
            began = None
            seen = [each for each in log if each[0] >= since and name.startswith(prefix)]
            for moment, value in (*seen, (self.clock.now, True)):
                if value is None and began is None:
                    began = moment
                elif value is not None and began is not None:
                    longest, began = max(longest, (moment - began, name)), None
        return longest

    def longest_unread(self, suffix: str, but: str, since: float) -> tuple[float, str]:
        """Return the longest time (s) between two readings of a point since a moment, and its name.

        ``suffix`` ends the names, but for those that begin with ``but``.
        """
        names = [name for name in self.log if name.endswith(suffix) and not name.startswith(but)]
        moments = {name: [moment for moment, _ in self.log[name] if moment >= since] for name in names}
        return max((after - before, name) for name in names for before, after in pairwise(moments[name]))

    def _turn(self) -> None:
        now = self.clock.now
        if not self._up:
            if now < self._retry_at:
                self.clock.now = self._retry_at
            self._connect()
            return
        active = [group for group in PERIODS if group in self._scans or self._due[group] <= now]
        if not active:
            self.clock.now = min(self._due.values())
            return
        for group in active:
            if group not in self._scans:
                self._scans[group] = self.driver.read(group)
                self._due[group] = max(self._due[group] + PERIODS[group], now)
            try:
                block = next(self._scans[group], None)
            except DeviceError as error:
                self._down(error)
                return
            if block is None:
                del self._scans[group]
                self._due[group] = max(self._due[group], self.clock.now)
            elif isinstance(block, Wait):
                self.clock.now += block.seconds
            else:
                self._take(block)

    def _take(self, block: Readings) -> None:
        for name, value in block.items():
            invalid = isinstance(value, Reading) and value.severity is Severity.INVALID
            self.values[name] = value
            plain = value.value if isinstance(value, Reading) else value
            self.log.setdefault(name, []).append((self.clock.now, None if invalid else plain))
            if invalid:
                self._good.pop(name, None)
            else:
                self._good[name] = self.clock.now

    def _connect(self) -> None:
        self.logins += 1
        try:
            self.driver.connect()
        except DeviceError as error:
            self._down(error)
        else:
            self._up = True
            self._due = dict.fromkeys(PERIODS, self.clock.now)
            self._retry_after = 1.0

    def _down(self, error: DeviceError) -> None:
        assert not (self._up and isinstance(error, NoReply)), "a scan does not end with a missing reply"
        self.error, self._up = error, False
        self.driver.close()
        self._scans.clear()
        self._good.clear()
        self._retry_at = self.clock.now + self._retry_after
        self._retry_after = min(2 * self._retry_after, 30.0)


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@contextmanager
def crate_run(
    monkeypatch: pytest.MonkeyPatch,
    crate: Callable[[str], Crate] | None = None,
    latency: float = 0.005,
    **keys: Any,
) -> Iterator[CrateRun]:
    """Yield a run that has not connected yet; ``latency``: seconds a call."""
    clock = Clock()
    for module in _CLOCKS:
        monkeypatch.setattr(f"drivers.caen.{module}.monotonic", clock)
    monkeypatch.setattr("time.sleep", clock.sleep)
    options = {"caen": {"crate": crate}} if crate else {}
    instrument = {**KEYS, **keys}
    sim = {key: instrument[key] for key in KEYS}
    with Rack({"HV1": {"driver": "caen", **sim}}, clock=clock, options=options) as rack:
        fake = rack.fakes["HV1"]
        assert isinstance(fake, CrateFake)
        fake.latency = latency
        driver = Caen(Config(**instrument))
        run = CrateRun(fake, driver, clock)
        yield run
        driver.close()
        assert fake.violations == []
