"""What a client holds on to: its channels, and its subscriptions to their values."""

from __future__ import annotations

import struct
from typing import Any

from ioc import faults
from ioc.ca import dbr
from ioc.ca.connection import Connection
from ioc.ca.message import EVENT_ADD, HEADER, NORMAL, failure, reply
from ioc.ca.view import View


class Channel:
    """A name that a client is connected to, under the number ``sid`` here and ``cid`` there.

    ``replaced``: subscriptions in whose place another of the same number came, and that were not ended yet.
    """

    # nearly all have one subscription: a table for it would take more memory, and time, than all else of them
    __slots__ = ("_first", "_others", "cid", "replaced", "sid", "view")

    def __init__(self, sid: int, cid: int, view: View) -> None:
        self.sid = sid
        self.cid = cid
        self.view = view
        self.replaced = 0
        self._first: Subscription | None = None
        self._others: dict[int, Subscription] | None = None

    def add(self, subscription: Subscription) -> Subscription | None:
        """Keep a subscription; return the one of the same number, in whose place it comes."""
        if self._first is None and not self._others:
            self._first = subscription
            return None
        before = self.subscription(subscription.id)
        if before is not None:
            self.remove(before)
        if self._others is None:
            self._others = {}
        self._others[subscription.id] = subscription
        return before

    def subscription(self, number: int) -> Subscription | None:
        """Return the subscription of a number; None if there is none."""
        if self._first is not None and self._first.id == number:
            return self._first
        return self._others.get(number) if self._others else None

    def remove(self, subscription: Subscription) -> None:
        """Keep a subscription no more."""
        if self._first is subscription:
            self._first = None
        elif self._others:
            del self._others[subscription.id]

    def take(self) -> Subscription | None:
        """Return one of the subscriptions and keep it no more; None: there are none."""
        if self._others:
            return self._others.popitem()[1]
        subscription, self._first = self._first, None
        return subscription


# Where the number of a subscription stands in a message
_NUMBER, _ID = 12, struct.Struct(">I")
# What the filters of a view that has none remember
_NOTHING: dict[str, Any] = {}


class Subscription:
    """A client's wish to get updates. ``fast`` ones, nearly all, want a double with its time, after ``head``.

    ``place`` belongs to the server: where it stands among the subscriptions of its record; -1: nowhere yet. So do
    ``crowd``, the many of one client that it stands among, and ``seen``, the last change there that it was sent.
    """

    __slots__ = (
        "connection",
        "count",
        "crowd",
        "dbr",
        "fast",
        "head",
        "id",
        "mask",
        "memory",
        "place",
        "seen",
        "view",
    )

    def __init__(self, connection: Connection, view: View, dbr_type: int, count: int, mask: int, number: int) -> None:
        self.connection = connection
        self.view = view
        self.dbr = dbr_type
        self.count = count
        self.mask = mask
        self.id = number
        self.memory: dict[str, Any] = {} if view.remembers else _NOTHING
        self.place = -1
        self.crowd: Any = None
        self.seen = 0
        self.fast = dbr_type == dbr.TIME_DOUBLE and count <= 1 and view.scalar_double
        self.head = HEADER.pack(EVENT_ADD, dbr.TIME_DOUBLE_SIZE, dbr_type, 1, NORMAL, number) if self.fast else b""

    def passes(self, mask: int) -> bool:
        """Return True if a change is to be sent, as far as a filter is concerned; one that fails lets it pass."""
        if not self.view.remembers:
            return True
        try:
            return self.view.passes(self.memory, mask)
        except Exception as error:
            faults.log_once("the filter", self.view.record.name, error)
            self.memory.clear()
            return True

    def tell(self, wanted: int, mask: int) -> None:
        """Send a change of ``mask``, if a filter lets it pass, to who subscribed to one of ``wanted``."""
        if self.passes(mask):
            self.connection.update(self)

    def frame(self, packed: dict[Any, bytes]) -> bytes:
        """Return the whole message with what the view shows now.

        Thousands may subscribe to one view: ``packed`` keeps, for this moment, what their messages have in common.
        """
        if self.crowd is not None:
            self.seen = self.crowd.now
        if self.fast:
            stat, sevr, time, val = self.view.record.shown()
            return self.head + dbr.time_double(stat, sevr, *dbr.stamp(time), val)
        key = self.view, self.dbr, self.count
        common = packed.get(key)
        if common is None:
            common = packed[key] = reply(EVENT_ADD, self.dbr, self.count, 0, self.view)
        return common[:_NUMBER] + _ID.pack(self.id) + common[_NUMBER + _ID.size :]

    def failed(self, error: Exception) -> bytes:
        """Return the whole message that tells the client that the value of now cannot be had."""
        return failure(EVENT_ADD, self.dbr, self.count, self.id, self.view, error)
