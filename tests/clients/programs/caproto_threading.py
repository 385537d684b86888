"""The program of caproto's client with threads."""

from __future__ import annotations

from typing import Any

from caproto.threading.client import PV, Context, Subscription

from tests.clients.programs import lines, responses


class Threading:
    """PVs of one context."""

    def __init__(self) -> None:
        self._context = Context(timeout=10)
        self._subscriptions: list[Subscription] = []

    def get(self, name: str) -> dict[str, Any]:
        return responses.told(self._pv(name).read(data_type="control"))

    def put(self, name: str, value: Any) -> bool:
        response = self._pv(name).write(value, data_type=responses.writable(value))
        return bool(response.status.success)

    def monitor(self, *names: str) -> None:
        for name in names:
            pv = self._pv(name)
            subscription = pv.subscribe(data_type=responses.readable(pv.channel.native_data_type))
            subscription.add_callback(take)
            self._subscriptions.append(subscription)

    def _pv(self, name: str) -> PV:
        (pv,) = self._context.get_pvs(name)
        pv.wait_for_connection()
        return pv


def take(subscription: Subscription, response: Any) -> None:
    """Hand on an update."""
    responses.take(subscription.pv.name, response)


if __name__ == "__main__":
    lines.listen(Threading())
