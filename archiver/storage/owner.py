"""The owners of an archive's channels: archivers with a name of their own, and a sign of life of each."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import NamedTuple, Self

from archiver.storage.store import Gone
from archiver.times import format_time

# An archiver shows that it lives with each commit, and after LIFE_PERIOD at the latest (s). Without that for
# LIFE_PATIENCE it is dead: that allows for three missed ones, and for clocks of two computers that differ a little.
# One that is further in the future than LIFE_FUTURE is of a clock that was ahead: nobody knows how long it holds.
LIFE_PERIOD = 10.0
LIFE_PATIENCE_NS = 30 * 10**9
LIFE_FUTURE_NS = 300 * 10**9
# A sample may come this long after its stamp: it was on its way, or the clock of its IOC is a little behind. By that
# a sign of life says less than all that came: what a killed archiver did not get any more lies behind its mark.
ON_ITS_WAY_NS = 10**9


# An end of life that is before all rows: nothing is known after the newest.
FROM_ITS_ROWS = 1

# In the place of what this system does not tell.
_UNKNOWN = "-"


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return _UNKNOWN


# The present run of this computer: another computer never has the same.
_BOOT = _boot()

# Runs of this process that have closed their store; a file that left its path may still name one of them.
_left: set[str] = set()

# Name and sign of life of each archiver.
ARCHIVERS = "SELECT name, alive_time FROM archiver ORDER BY name"


class Owner(NamedTuple):
    """An archiver: its name, which it keeps for ever, and the process that runs now."""

    name: str
    run: str

    @classmethod
    def of(cls, name: str) -> Self:
        """Return this process as the archiver of a name."""
        run = (socket.gethostname(), os.getpid(), time.time_ns(), _began("self"), _BOOT, _namespace())
        return cls(name, " ".join(map(str, run)))

    def check(self, run: str, alive_ns: int, place: str) -> None:
        """Raise Gone if the process that has the name in the database is not this one, and may still live."""
        may_live = alive_ns and end_of_life(alive_ns, time.time_ns()) is None
        if run in {"", self.run, *_left} or not may_live or _has_ended(run):
            return
        raise Gone(
            f"{place}: an archiver named {self.name} runs already, {process(run)}: give one of the two another "
            "archive.name"
        )

    def leave(self) -> None:
        """Record that this run writes no more, whatever an archive says in which that cannot be noted."""
        _left.add(self.run)

    def lost(self, place: str) -> Gone:
        """Return the error of an archiver whose name another process has now."""
        return Gone(f"{place}: another archiver named {self.name} has begun: give one of them another archive.name")

    def claims(self, nobodys: Iterable[tuple[int, str]], own: Iterable[str], *, alone: bool) -> list[tuple[int, str]]:
        """Return which channels that belong to nobody, by id and name, are this archiver's, each with its PV.

        These are those that name it; if it is ``alone``, those that name none, too. It has one of a PV at most.
        """
        known, claimed = set(own), []
        found = [(number, *_pv_and_archiver(name)) for number, name in nobodys]
        for archiver in (self.name, None) if alone else (self.name,):
            for number, pv, of in found:
                if of == archiver and pv not in known:
                    known.add(pv)
                    claimed.append((number, pv))
        return claimed


def names(pv: str, archiver: str) -> Iterator[str]:
    """Yield the names for an archiver's channel of a PV: it has the first that is not another archiver's.

    Where others keep the PV, too, they tell whose it is. No PV has a space in its name.
    """
    yield pv
    yield (series := f"{pv} ({archiver})")
    yield from (f"{series} {number}" for number in count(2))


def _pv_and_archiver(name: str) -> tuple[str, str | None]:
    """Return what the name of a channel says: its PV and its archiver, None if it tells no archiver."""
    pv, _, archiver = name.partition(" (")
    return (pv, archiver[:-1]) if archiver.endswith(")") else (name, None)


def end_of_life(alive_ns: int, now_ns: int) -> int | None:
    """Return after which time nothing is known from an archiver; None while it lives, or if it never gave a sign.

    FROM_ITS_ROWS where its sign of life was given by a clock that was ahead: after its newest rows.
    """
    if alive_ns > now_ns + LIFE_FUTURE_NS:
        return FROM_ITS_ROWS
    return alive_ns if alive_ns and now_ns - alive_ns > LIFE_PATIENCE_NS else None


def alive(alive_ns: int) -> str:
    """Return the sign of life of an archiver for users."""
    return f"alive at {format_time(alive_ns)}" if alive_ns else "gave no sign of life"


def lives(archivers: Mapping[int, int], owners: Mapping[int, int | None], now_ns: int) -> dict[int, int]:
    """Return the end of life of the owner of each channel whose owner is dead, or that has none.

    ``archivers``: archiver -> its sign of life; ``owners``: channel -> archiver.
    """
    ends: dict[int | None, int | None] = {
        number: end_of_life(alive_ns, now_ns) for number, alive_ns in archivers.items()
    }
    # of nobody, or an archiver whose row somebody has deleted, nothing is known after the newest rows
    found = {channel: ends.get(archiver, FROM_ITS_ROWS) for channel, archiver in owners.items()}
    return {channel: end_ns for channel, end_ns in found.items() if end_ns is not None}


def process(run: str) -> str:
    """Return the process of a run for users."""
    host, pid, *_ = run.split()
    return f"pid {pid} on {host}"


def _has_ended(run: str) -> bool:
    """Return whether a process has ended; of another computer or container, or before a restart, it is not known.

    A number of a process is given again: the process that has it now began at another tick of the same boot.
    """
    _, pid, _, *identity = run.split()
    if len(identity) < 3:  # of the version before
        return False
    began, boot, namespace = identity
    if _UNKNOWN in identity or (boot, namespace) != (_BOOT, _namespace()):
        return False
    return _began(pid) != began


def _began(pid: str) -> str:
    """Return when a process began, in ticks since the start of the computer."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return _UNKNOWN
    return stat.rpartition(")")[2].split()[19]  # its name, in brackets, may hold brackets and spaces


def _namespace() -> str:
    """Return what tells the processes of one container from those of another."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return _UNKNOWN
