"""PVs of one request: they are shown for a moment, as to a browser."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from web.live.hub import Hub
from web.live.pv import Pv, Subscription

# Seconds for those that are new to connect.
PATIENCE = 3.0


class Shown:
    """PVs by name, as a context; its ``async with`` raises HubError for a name that cannot be shown."""

    def __init__(self, hub: Hub, names: Sequence[str]) -> None:
        self._hub = hub
        self._names = names
        self._subscriptions: list[Subscription] = []

    def changed(self, subscription: Subscription, what: int) -> None:
        """Do nothing: the values are looked at once."""

    async def __aenter__(self) -> list[Pv]:
        try:
            for name in self._names:
                self._subscriptions.append(self._hub.subscribe(self, name))
        except Exception:
            self._end()
            raise
        pvs = [each.pv for each in self._subscriptions]
        await asyncio.gather(*(self._hub.connected(pv, PATIENCE) for pv in pvs if pv.update is None))
        return pvs

    async def __aexit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        for subscription in self._subscriptions:
            self._hub.unsubscribe(subscription)
