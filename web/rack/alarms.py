"""The alarms of the rack, found by its summaries: a board's PVs are watched while its worst alarm says so."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from web.live.hub import Hub, HubError
from web.live.pv import Changed, Subscription
from web.rack.names import Board, Instrument
from web.rack.rack import Rack

# The point with the worst alarm of what is below a crate or a board: the first of these that is there.
_WORST = ("AlarmState", "Alarm")
# Of what is not known; texts beside it.
_UNKNOWN = "UNDEFINED"
_CONNECTION, _ERROR = "Conn", "Error.VAL$"
# The point that says that all of an instrument is away, by its kind; of all others ``_CONNECTION``.
_TELLS_AWAY = {"ioc": "HEARTBEAT", "archiver": "Running"}
_RANKS = {"NONE": 0, "MINOR": 1, "MAJOR": 2, "INVALID": 3, _UNKNOWN: 4}
# Before it no IOC was in use: 2000.
_NEVER_NS = 946_684_800 * 10**9
# Seconds for a PV that is only just being asked for.
_PATIENCE = 10.0


@dataclass(frozen=True)
class Alarm:
    """A PV that is in alarm.

    since    seconds since 1970
    exact    whether it began then; else it was so when this web server first saw it
    message  the record's sentence (AMSG), or of an instrument that is away its last error
    others   how many PVs of the instrument are not told one by one, because it is away
    """

    pv: str
    instrument: str
    severity: str
    status: str
    since: float
    exact: bool
    message: str
    others: int


class _Begin(NamedTuple):
    """Since when a PV has its severity; ``exact``: see ``Alarm``."""

    severity: str
    since: float
    exact: bool


def order(alarm: Alarm) -> tuple[int, bool, float]:
    """Return the place of an alarm in a list: the worst first, of equal ones the latest.

    That an instrument is away stands for all its values, which are INVALID, and comes before those of others: a crate
    of which thousands are not known must not hide it.
    """
    rank = max(_RANKS[alarm.severity], _RANKS["INVALID"] if alarm.others else 0)
    return -rank, not alarm.others, -alarm.since


class Alarms:
    """The alarms of a rack. Each second it looks what has to be watched.

    known  whether all that is watched was told, or waited for in vain, since this web server runs: before, that there
           is no alarm is not known
    """

    def __init__(self, rack: Rack, hub: Hub) -> None:
        self._rack = rack
        self._hub = hub
        self.known = False
        self._subscriptions: dict[str, Subscription] = {}
        self._asked: dict[str, float] = {}
        self._since: dict[str, _Begin] = {}
        self._hung: dict[str, float] = {}  # since when the IOC of a PV hangs
        self._next = 0.0
        self._began = time.time()

    def begin(self) -> None:
        """Begin to watch."""
        self._hub.each_turn(self._turn)

    def changed(self, subscription: Subscription, what: int) -> None:
        """Note when an alarm begins."""
        name, pv = subscription.name, subscription.pv
        before = self._since.get(name)
        if pv.silent:  # what its IOC has told is still what was known last
            self._hung.setdefault(name, time.time())
            return
        self._hung.pop(name, None)
        if not what & Changed.SEVERITY or (before is not None and before.severity == pv.severity):
            return
        # a record that was never processed has the stamp of 1990
        stamped = pv.now is not None and pv.now.stamp_ns > _NEVER_NS
        begin = pv.now.stamp_ns / 1e9 if pv.now and stamped else time.time()
        exact = before is not None and before.severity != _UNKNOWN
        self._since[name] = _Begin(pv.severity, begin, exact)
        self._next = 0.0

    def current(self) -> list[Alarm]:
        """Return the PVs in alarm, the worst first."""
        found = [alarm for instrument in self._rack.instruments for alarm in self._of(instrument)]
        return sorted(found, key=order)

    def _of(self, instrument: Instrument) -> Iterator[Alarm]:
        away = self._away(instrument)
        alarms = [each for name in self._watched(instrument) if (each := self._alarm(instrument, name))]
        if away:
            own = next((each for each in alarms if each.pv == away), None)
            if own is not None:
                yield Alarm(**{**vars(own), "others": len(alarms) - 1})
            return
        summaries = _summaries(instrument)
        # what is below a summary tells more; until that is told, the summary is shown
        told = {_part(instrument, each.pv) for each in alarms if each.pv not in summaries}
        if any(_part(instrument, each.pv) in summaries.values() for each in alarms):
            told.add("")
        yield from (each for each in alarms if summaries.get(each.pv) not in told)

    def _alarm(self, instrument: Instrument, name: str) -> Alarm | None:
        severity = self._severity(name)
        if severity == "NONE":
            return None
        pv = self._subscriptions[name].pv
        known, since, exact = self._since.get(name, _Begin(_UNKNOWN, self._began, False))
        if pv.silent and known == "NONE":  # it was well until then
            since, exact = self._hung[name], False
        if name.endswith(f":{_CONNECTION}"):
            message = self._text(f"{instrument.prefix}{_ERROR}")
        else:
            message = self._text(f"{name}.AMSG")
        status = pv.now.status if pv.now else "DISCONNECTED"
        return Alarm(name, instrument.name, severity, status, since, exact, message, 0)

    def _severity(self, name: str) -> str:
        return "NONE" if self._is_new(name) else self._subscriptions[name].pv.severity

    def _is_new(self, name: str) -> bool:
        """Return whether a PV is only just being asked for."""
        subscription = self._subscriptions.get(name)
        return subscription is None or not (subscription.pv.seen or time.monotonic() - self._asked[name] > _PATIENCE)

    def _text(self, name: str) -> str:
        subscription = self._subscriptions.get(name)
        update = subscription.pv.now if subscription else None
        return str(update.value) if update and isinstance(update.value, str) else ""

    def _away(self, instrument: Instrument) -> str:
        """Return the PV that says that an instrument, the IOC or the archiver is away; empty if it is not."""
        name = f"{instrument.prefix}{_TELLS_AWAY.get(instrument.kind, _CONNECTION)}"
        return "" if self._severity(name) == "NONE" else name

    def _watched(self, instrument: Instrument) -> Iterator[str]:
        """Yield the names of an instrument's PVs that are looked at now."""
        yield from (f"{instrument.prefix}{point}" for point in instrument.points)
        away = bool(self._away(instrument))
        for board in instrument.boards:
            yield from self._on_board(instrument, board, away)

    def _on_board(self, instrument: Instrument, board: Board, away: bool) -> Iterator[str]:
        prefix = f"{instrument.prefix}{board.name}:"
        worst = _worst(board.points)
        yield from (f"{prefix}{point}" for point in worst)
        if away or all(self._severity(f"{prefix}{point}") == "NONE" for point in worst):
            return
        # a status word is as severe as the worst of its bits, which are behind a second colon
        yield from (f"{prefix}{point}" for point in board.points if ":" not in point and point not in worst)
        parameters = [each for each in board.parameters if ":" not in each]
        there = (f"{channel}:{each}" for channel in board.channels for each in parameters)
        missing = set(board.missing)
        yield from (f"{prefix}{each}" for each in there if each not in missing)

    def _turn(self) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + 1.0
        wanted = {name for instrument in self._rack.instruments for name in self._watched(instrument)}
        # of all, however many: a board that is gone must not take the sentences of others; what is not there has none
        told = {name for name in wanted if self._severity(name) not in {"NONE", _UNKNOWN}}
        wanted |= {f"{name}.AMSG" for name in told if not name.endswith(f":{_CONNECTION}")}
        wanted |= {f"{instrument.prefix}{_ERROR}" for instrument in self._rack.instruments}
        for name in self._subscriptions.keys() - wanted:
            self._hub.unsubscribe(self._subscriptions.pop(name))
            self._since.pop(name, None)
            self._hung.pop(name, None)
            self._asked.pop(name, None)
        for name in wanted - self._subscriptions.keys():
            try:
                self._asked[name] = now
                self._subscriptions[name] = self._hub.subscribe(self, name)
            except HubError:
                return  # too many PVs are shown; the next turn tries again
        self.known = self.known or bool(self._rack.names and not any(map(self._is_new, wanted)))


def _worst(points: Sequence[str]) -> list[str]:
    """Return the point that is as severe as the worst one below it, if there is one."""
    return [point for point in _WORST if point in points][:1]


def _summaries(instrument: Instrument) -> dict[str, str]:
    """Return the PVs that are as severe as the worst one below them, by board; with an empty name that of a crate."""
    parts = {board.name: board.points for board in instrument.boards}
    names = {f"{instrument.prefix}{part}:{each}": part for part in parts for each in _worst(parts[part])}
    own = _worst(instrument.points) if parts else []
    return {f"{instrument.prefix}{each}": "" for each in own} | names


def _part(instrument: Instrument, name: str) -> str:
    """Return the first part of the name of a PV within its instrument, which may be that of a board."""
    return name.removeprefix(instrument.prefix).partition(":")[0]
