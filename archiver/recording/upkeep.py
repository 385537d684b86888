"""The upkeep of the archive, one small step at a time: old rows go by months where they can, else PV by PV."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from archiver.settings import Policy
from archiver.storage.store import Store
from archiver.units import seconds

# Seconds from the end of one round over all PVs to the next.
PERIOD = 3600.0


class Upkeep:
    """The rounds over all PVs; ``policy`` returns how long a PV's rows are kept, and when they are thinned."""

    def __init__(self, policy: Callable[[str], Policy]) -> None:
        self._policy = policy
        self._round: Iterator[None] | None = None
        self._next = 0.0

    def step(self, store: Store) -> bool:
        """Do one step; return False when nothing is to be done before the next round. Raises StoreError."""
        if self._round is None:
            if time.monotonic() < self._next:
                return False
            self._round = self._steps(store)
        for _ in self._round:
            return True
        self._round, self._next = None, time.monotonic() + PERIOD
        return False

    def _steps(self, store: Store) -> Iterator[None]:
        policies = {newest.pv: self._policy(newest.pv) for newest in store.newest()}
        keep = {pv: seconds(policy.keep) for pv, policy in policies.items() if policy.keep is not None}
        while store.expire_months({pv: _before(age) for pv, age in keep.items()}):
            yield
        yield
        for pv, policy in policies.items():
            if pv in keep:
                while store.expire(pv, _before(keep[pv])):
                    yield
                yield
            if policy.thin is not None:
                width_ns = int(seconds(policy.thin.to) * 10**9)
                while store.thin(pv, _before(seconds(policy.thin.after)), width_ns):
                    yield
                yield
        while store.shrink():
            yield


def _before(age: float) -> int:
    return time.time_ns() - int(age * 10**9)
