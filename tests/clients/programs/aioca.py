"""The program of aioca."""

from __future__ import annotations

import asyncio
from typing import Any

import aioca as ca

from tests.clients.programs import augmented, lines


class Aioca:
    """Functions of the event loop."""

    async def get(self, name: str) -> dict[str, Any]:
        return augmented.told(await ca.caget(name, format=ca.FORMAT_CTRL))

    async def put(self, name: str, value: Any) -> None:
        await ca.caput(name, value, wait=True, timeout=10)

    def monitor(self, *names: str) -> None:
        augmented.monitor(ca, names)


if __name__ == "__main__":
    asyncio.run(lines.listen_async(Aioca()))
