"""The program of caproto's synchronous client, which makes a connection for every call."""

from __future__ import annotations

import threading
import time
from typing import Any

from caproto import CaprotoError
from caproto.sync import client as ca

from tests.clients.programs import lines, responses


class Sync:
    """Functions; a thread waits for updates."""

    def get(self, name: str) -> dict[str, Any]:
        return responses.told(ca.read(name, data_type="control", force_int_enums=True, timeout=5))

    def put(self, name: str, value: Any) -> bool:
        response = ca.write(name, value, notify=True, timeout=10)
        return bool(response.status.success)

    def monitor(self, *names: str) -> None:
        threading.Thread(target=self._block, args=(names,), daemon=True).start()

    def _block(self, names: tuple[str, ...]) -> None:
        subscriptions = [ca.subscribe(name) for name in names]
        for subscription in subscriptions:
            subscription.add_callback(take)
        while True:
            # it raises when the server goes, a KeyError if there are several: to call it again is left to the user
            try:
                ca.block(*subscriptions, timeout=1)
            except (CaprotoError, OSError, KeyError):
                time.sleep(0.2)


def take(subscription: ca.Subscription, response: Any) -> None:
    """Hand on an update."""
    responses.take(subscription.pv_name, response)


if __name__ == "__main__":
    lines.listen(Sync())
