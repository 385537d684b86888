"""The rack's instruments and PVs, and what of them makes things safe, kept up to date over Channel Access."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from web.live.hub import Hub
from web.live.pv import Subscription
from web.rack.names import Instrument, instruments

_INVALID = 3
# Characters of a word as Channel Access carries it (db_access.h, MAX_ENUM_STRING_SIZE, less its NUL)
_WORD = 25
# Seconds without a count of the IOC's, which counts once a second, after which it does not answer: as for the page
_SILENT = 5.0


class SafeState(NamedTuple):
    """The state of a record that makes things safe: its number and its word."""

    number: int
    word: str

    def is_of(self, words: Sequence[str]) -> bool:
        """Return whether it is one of these words; others mean that the record has changed since it was told."""
        return [*words[self.number : self.number + 1]] == [self.word[:_WORD]]


class Rack:
    """The PVs of one IOC.

    kinds            instrument -> driver, until its list is told
    pv_list          the PV that holds the names, one a line
    safe_list        the PV that holds those with a state that makes things safe, one a line: number and word follow
    instrument_list  the PV that holds the instruments, one a line: its driver follows
    safe             what the second list said last
    """

    def __init__(
        self, prefix: str, kinds: Mapping[str, str], pv_list: str, safe_list: str, instrument_list: str
    ) -> None:
        self.prefix = prefix
        self.kinds = kinds
        self.pv_list = pv_list
        self.safe_list = safe_list
        self.instrument_list = instrument_list
        self.names: Sequence[str] = ()
        self.safe: Mapping[str, SafeState] = {}
        self.instruments = instruments(prefix, kinds, ())
        self._known: frozenset[str] = frozenset()
        self._heart = next((f"{each.prefix}HEARTBEAT" for each in self.instruments if each.kind == "ioc"), "")
        self._count: object = None  # the IOC's
        self._silent = False
        self._beat = math.inf  # when it counted last (monotonic s); infinite while it has not

    def begin(self, hub: Hub) -> None:
        """Begin to follow the lists."""
        self._list = hub.subscribe(self, self.pv_list).pv
        self._safe_list = hub.subscribe(self, self.safe_list).pv
        hub.subscribe(self, self.instrument_list)
        if self._heart:
            hub.subscribe(self, self._heart)
            hub.each_turn(lambda: self._listen(hub))

    @property
    def connected(self) -> bool:
        """Return whether the IOC answers: libca keeps the connection to one that hangs for half a minute."""
        return self._list.update is not None and not self._late()

    @property
    def tells_safe(self) -> bool:
        """Return whether the IOC tells now what makes things safe: a record that is not in its list is no switch."""
        update = self._safe_list.update
        return update is not None and update.severity != _INVALID

    def is_known(self, record: str) -> bool:
        """Return whether a record is one of the rack; while its list has not come the prefix says so."""
        return record in self._known or (not self._known and record.startswith(self.prefix))

    def instrument(self, name: str) -> Instrument | None:
        """Return the instrument that a PV belongs to."""
        owners = [each for each in self.instruments if name.startswith(each.prefix)]
        return max(owners, key=lambda each: len(each.prefix), default=None)

    def error(self, record: str) -> str | None:
        """Return the PV with the last error of the instrument that a record belongs to."""
        instrument = self.instrument(record)
        return f"{instrument.prefix}Error.VAL$" if instrument else None

    def _late(self) -> bool:
        return time.monotonic() >= self._beat + _SILENT

    def _listen(self, hub: Hub) -> None:
        """Let no value of an IOC that hangs be shown as one of now, until it counts again."""
        if self._late() != self._silent and math.isfinite(self._beat):
            self._silent = not self._silent
            hub.hush(self._silent)

    def changed(self, subscription: Subscription, what: int) -> None:
        """Take a new list or count. What cannot be read (any more) changes no list: the rack is still there."""
        update = subscription.pv.update
        if subscription.name == self._heart:
            count = None if update is None else update.value
            if count != self._count:  # another alarm is no beat
                self._count, self._beat = count, math.inf if count is None else time.monotonic()
            return
        if update is None or not isinstance(update.value, str):
            return
        if subscription.name == self.safe_list:
            if update.value or self.tells_safe:  # before its first scan an IOC has told nothing
                self.safe = dict(_safe_states(update.value))
            return
        kinds, names = self.kinds, self.names
        if subscription.name == self.instrument_list:
            kinds = dict(_kinds(update.value)) or kinds
        else:
            names = tuple(update.value.split()) or names
        if (names, [*kinds.items()]) != (self.names, [*self.kinds.items()]):
            self.kinds, self.names, self._known = kinds, names, frozenset(names)
            self.instruments = instruments(self.prefix, kinds, names)


def _kinds(text: str) -> Iterator[tuple[str, str]]:
    for line in text.split("\n"):
        name, _, kind = line.partition(" ")
        if kind:
            yield name, kind


def _safe_states(text: str) -> Iterator[tuple[str, SafeState]]:
    for line in text.split("\n"):
        name, _, state = line.partition(" ")
        number, _, word = state.partition(" ")
        if number.isdecimal():
            yield name, SafeState(int(number), word)
