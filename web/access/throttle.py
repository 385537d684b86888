"""How often somebody may try a password."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from ipaddress import ip_address, ip_network

# Failures of one address in so many seconds, after which the next try has to wait.
MOST, WINDOW = 5, 60.0
# Addresses that are remembered.
REMEMBERED = 10_000


class Throttle:
    """Counts failures by address. Not by name: else whoever knows a name could keep that person out."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def wait(self, address: str) -> float:
        """Return the seconds until an address may try again; 0 if that is now."""
        times = self._failures.get(_network(address))
        return max(0.0, times[0] + WINDOW - time.monotonic()) if times and len(times) == MOST else 0.0

    def failed(self, address: str) -> None:
        """Count a failure."""
        key = _network(address)
        self._failures.setdefault(key, deque(maxlen=MOST)).append(time.monotonic())
        self._failures.move_to_end(key)
        if len(self._failures) > REMEMBERED:
            self._failures.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """Take back what was counted last; the others stay: who has a login could try others' passwords between."""
        if times := self._failures.get(_network(address)):
            times.pop()


def _network(address: str) -> str:
    """Return an address as it is counted: of IPv6 its first 64 bits, for the others a computer chooses itself."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(ip_network((parsed, 64), strict=False)) if parsed.version == 6 else address
