"""The program of caproto's client with asyncio."""

from __future__ import annotations

import asyncio
from typing import Any

from caproto.asyncio.client import PV, Context, Subscription

from tests.clients.programs import lines, responses


class Asyncio:
    """PVs of one context."""

    def __init__(self) -> None:
        self._context = Context()
        self._subscriptions: list[Subscription] = []

    async def get(self, name: str) -> dict[str, Any]:
        return responses.told(await (await self._pv(name)).read(data_type="control", timeout=10))

    async def put(self, name: str, value: Any) -> bool:
        response = await (await self._pv(name)).write(value, data_type=responses.writable(value), timeout=10)
        return bool(response.status.success)

    async def monitor(self, *names: str) -> None:
        for name in names:
            pv = await self._pv(name)
            subscription = pv.subscribe(data_type=responses.readable(pv.channel.native_data_type))
            subscription.add_callback(take)
            self._subscriptions.append(subscription)

    async def _pv(self, name: str) -> PV:
        (pv,) = await self._context.get_pvs(name)
        await pv.wait_for_connection(timeout=10)
        return pv


async def take(subscription: Subscription, response: Any) -> None:
    """Hand on an update."""
    responses.take(subscription.pv.name, response)


async def main() -> None:
    """Make the context where its event loop runs."""
    await lines.listen_async(Asyncio())


if __name__ == "__main__":
    asyncio.run(main())
