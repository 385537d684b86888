"""The PVs that somebody is shown: one monitor each, however many they are, and a turn five times a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from archiver.ca.libca import NOT_CONNECTED
from web.live.channel import State
from web.live.circuits import Circuits
from web.live.client import Client
from web.live.pv import Changed, Listener, Pv, Subscription

# Seconds from one turn to the next: what changes more often is shown with its newest value.
TURN = 0.2
# Seconds for which a PV that nobody is shown stays connected: who turns a page sees values at once.
LINGER = 60.0
# PVs of any name that are searched for at once: each costs broadcasts. Those of the rack itself are not counted.
MOST_SEARCHED = 500
# Characters of a name.
LONGEST = 200
# PVs in all.
MOST = 200_000

# Fields of a record that are not counted either; others are found at once where there are such.
FIELDS = frozenset({"", "VAL", "VAL$", "AMSG", "DESC", "RTYP"})

# What stands before a name: kinds of PVs that Channel Access has.
_SCHEMES = ("ca://", "pva://")


class HubError(Exception):
    """A PV that is not shown: a sentence for the user."""


class Hub:
    """The PVs by name. ``is_known``: whether a record of this name is one of the rack's."""

    def __init__(self, is_known: Callable[[str], bool]) -> None:
        self._is_known = is_known
        self._client = Client()
        self._circuits = Circuits()
        self._pvs: dict[str, Pv] = {}
        self._strangers: set[str] = set()
        self._unused: dict[str, Pv] = {}
        self._turns: set[Callable[[], None]] = set()

    async def run(self) -> None:
        """Take turns until cancelled."""
        self._client.start()
        try:
            while True:
                await asyncio.sleep(TURN)
                self._turn()
        finally:
            self._circuits.close()
            self._client.stop()

    def each_turn(self, act: Callable[[], None]) -> None:
        """Call a function at the end of each turn."""
        self._turns.add(act)

    def pv(self, name: str) -> Pv:
        """Return a PV, which is searched for if it is new. Raises HubError."""
        plain = plain_name(name)
        found = self._pvs.get(plain)
        if found is None:
            self._check(plain)
            found = self._pvs[plain] = Pv(plain)
            self._keep_a_while(found)
            if not _nowhere(plain):
                self._client.open([plain])
        return found

    def subscribe(self, listener: Listener, name: str) -> Subscription:
        """Show a PV: the listener is told when there is a value, now or later. Raises HubError."""
        pv = self.pv(name)
        subscription = Subscription(listener, pv, name)
        pv.subscriptions[subscription] = None
        self._unused.pop(pv.name, None)
        if pv.update is not None:
            listener.changed(subscription, int(Changed.ALL))
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription; the listener is not called any more."""
        pv = subscription.pv
        pv.subscriptions.pop(subscription, None)
        if not pv.subscriptions:
            self._keep_a_while(pv)

    def hush(self, silent: bool) -> None:
        """Note whether the rack's IOC hangs: what its PVs were is not shown as what they are."""
        for pv in self._pvs.values():
            if self._is_known(pv.name.partition(".")[0]):
                pv.hush(silent)

    async def put(self, person: str, name: str, kind: int, count: int, data: bytes) -> asyncio.Future[int]:
        """Put values of a DBR type under a person's name; return the ECA status that is to come.

        Raises NotThereError: nothing was put then.
        """
        plain = plain_name(name)
        server = await self._client.server(plain)
        return await self._circuits.begin(person, server, plain, kind, count, data)

    async def get(self, name: str) -> tuple[int, State]:
        """Read a PV anew; return the ECA status and the state with what was read."""
        return await self._client.get(plain_name(name))

    async def connected(self, pv: Pv, seconds: float) -> bool:
        """Return whether a PV has a value; one that has none yet is waited for."""
        end = time.monotonic() + seconds
        while pv.update is None and time.monotonic() < end:
            await asyncio.sleep(TURN / 4)
            self._take(self._client.take())
        return pv.update is not None

    def _check(self, name: str) -> None:
        if not name or len(name) > LONGEST or not all(map(_is_of_a_name, name)):
            raise HubError(f"{name[:LONGEST]!r} is not the name of a PV")
        if len(self._pvs) >= MOST:
            raise HubError(f"{name} is not shown: {MOST} PVs are, by all browsers together; close some pages")
        record, _, field = name.partition(".")
        if _nowhere(name) or (field in FIELDS and self._is_known(record)):
            return
        if len(self._strangers) >= MOST_SEARCHED:
            self._close([each for each in self._strangers if each in self._unused])
        if len(self._strangers) >= MOST_SEARCHED:
            raise HubError(
                f"{name} is not shown: no server answers for {MOST_SEARCHED} other names that were asked for; close "
                "the pages that show them"
            )
        self._strangers.add(name)

    def _keep_a_while(self, pv: Pv) -> None:
        pv.unused = time.monotonic()
        self._unused.pop(pv.name, None)  # behind those that are unused for longer
        self._unused[pv.name] = pv

    def _turn(self) -> None:
        self._take(self._client.take())
        self._forget()
        for act in self._turns:
            act()

    def _take(self, states: dict[str, State]) -> None:
        for name, state in states.items():
            if pv := self._pvs.get(name):
                pv.take(state)
                if state.native != NOT_CONNECTED:
                    self._strangers.discard(name)

    def _forget(self) -> None:
        """Close the PVs that nobody has been shown for long."""
        before = time.monotonic() - LINGER
        old = []
        for pv in self._unused.values():
            if pv.unused > before:
                break
            old.append(pv.name)
        self._close(old)

    def _close(self, unused: list[str]) -> None:
        for name in unused:
            del self._unused[name], self._pvs[name]
            self._strangers.discard(name)
        if unused:
            self._client.close(unused)


def plain_name(name: str) -> str:
    """Return the name of a PV without what says by which protocol it is to be found."""
    for scheme in _SCHEMES:
        if name.startswith(scheme):
            return name.removeprefix(scheme)
    return name


def _is_of_a_name(sign: str) -> bool:
    """Return whether a name may have a character: one that is printed, and no half of a pair (JSON has such)."""
    return 32 < ord(sign) != 127 and not 0xD800 <= ord(sign) < 0xE000


def _nowhere(name: str) -> bool:
    """Return whether a name is of a kind that no server has (sim://, loc://): displays ask for them all the same."""
    return "://" in name
