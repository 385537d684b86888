"""The rack's PVs: its list of names, kept up to date over Channel Access."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from web.live.hub import Hub
from web.live.pv import Subscription
from web.rack.names import Instrument, instruments


class Rack:
    """The PVs of one IOC. ``kinds``: instrument -> driver; ``pv_list``: the PV that holds the names, one a line."""

    def __init__(self, prefix: str, kinds: Mapping[str, str], pv_list: str) -> None:
        self.prefix = prefix
        self.kinds = kinds
        self.pv_list = pv_list
        self.names: Sequence[str] = ()
        self.instruments = instruments(prefix, kinds, ())
        self._known: frozenset[str] = frozenset()

    def begin(self, hub: Hub) -> None:
        """Begin to follow the list."""
        self._list = hub.subscribe(self, self.pv_list).pv

    @property
    def connected(self) -> bool:
        """Return whether the IOC answers."""
        return self._list.update is not None

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

    def changed(self, subscription: Subscription, what: int) -> None:
        """Take a new list. One that cannot be read (any more) changes nothing: the instruments are still there."""
        update = subscription.pv.update
        if update is None or not isinstance(update.value, str):
            return
        names = update.value.split()
        if names and tuple(names) != self.names:
            self.names, self._known = tuple(names), frozenset(names)
            self.instruments = instruments(self.prefix, self.kinds, names)
