"""The watch over an instrument by a clock that no scan can hold up: it may hang, be silent, or its values be old."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from drivers.base import DeviceError, NoReply
from ioc.port.ages import Ages
from ioc.port.port import Port


@dataclass(frozen=True, slots=True)
class ScanState:
    """How the scans of an instrument keep their periods.

    seconds      that the most important scan takes, or has taken so far; missed: scans of all groups
    main_late, main_stale   its period cannot be kept; values of it had to go INVALID
    late, stale             the same of any group
    """

    seconds: float
    missed: int
    main_late: bool
    main_stale: bool
    late: bool
    stale: bool


class Watched(Protocol):
    """The instrument that is watched, and shows what is found."""

    def lost(self, error: DeviceError) -> None:
        """Show that nothing of the instrument is known any more."""

    def back(self) -> None:
        """Show that it answers again."""

    def expired(self, names: Iterable[str], error: DeviceError, told: bool) -> None:
        """Show that values have become too old to be true; ``told``: so have others of their group before."""

    def show_scans(self, state: ScanState) -> None:
        """Show how long the scans take, and how many were missed."""


class Watch:
    """What was found last.

    hang    the call in progress has not returned in time: puts are not to wait behind it
    silent  nothing good was heard for too long
    """

    def __init__(self, name: str, port: Port, ages: Ages, watched: Watched) -> None:
        self.hang: DeviceError | None = None
        self.silent = False
        self._name = name
        self._port = port
        self._ages = ages
        self._watched = watched
        self._shown: ScanState | None = None
        self._told: set[str] = set()  # scan groups of which was said that values are too old

    def look(self, groups: Mapping[str, str], up: bool, now: float) -> None:
        """Look at ``now`` (monotonic s); ``groups``: point -> its scan group; ``up``: there is a connection."""
        self._look_for_a_hang(now)
        if up:
            self._look_for_silence(now)
            self._look_for_old_values(groups, now)
            self.show_scans(groups, now)
        else:
            self.silent = False

    def show_scans(self, groups: Mapping[str, str], now: float) -> None:
        """Show how long the most important scan takes, and the scans missed, also while one has not ended."""
        scans = self._port.scans
        main = scans[0]
        stale = {groups.get(name) for name in self._ages.stale}
        late = {scan.group for scan in scans if scan.late or scan.lasts(now) > scan.period}
        seconds = max(main.took, main.lasts(now)) if main.group in late else main.took
        missed = sum(scan.missed(now) for scan in scans)
        shown = ScanState(
            seconds, missed, main.group in late, main.group in stale, late=bool(late), stale=bool(stale)
        )
        if shown != self._shown:
            self._shown = shown
            self._watched.show_scans(shown)

    def _look_for_a_hang(self, now: float) -> None:
        """Find a call that hangs inside a vendor's library: nothing can be done about it but say so."""
        deadline = self._port.deadline
        hangs = deadline is not None and now > deadline
        if hangs and self.hang is None:
            self.hang = NoReply(f"{self._name} hangs: a call to it has not returned")
            self._watched.lost(self.hang)
            self._port.refuse(self.hang)
        elif not hangs and self.hang is not None:
            self.hang = None
            self._watched.back()

    def _look_for_silence(self, now: float) -> None:
        """Find a connection on which nothing good is heard, whatever the answers are."""
        silent = now - self._port.heard > self._port.silence
        if silent is self.silent:
            return
        self.silent = silent
        if silent:
            self._watched.lost(NoReply(f"{self._name} is silent: no good answer for {self._port.silence:g} s"))
        else:
            self._watched.back()

    def _look_for_old_values(self, groups: Mapping[str, str], now: float) -> None:
        expired = self._ages.expire(self._port.scans, now)
        for group, names in expired.items():
            what = f"{group} was not read in time; {len(names)} values are too old to be true"
            self._watched.expired(names, NoReply(f"{self._name}: {what}"), told=group in self._told)
        self._told = {groups.get(name, "") for name in self._ages.stale}
