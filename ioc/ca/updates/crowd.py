"""Many subscriptions of one client to one value: looked at in turns of that client, not in that of each change."""

from __future__ import annotations

from typing import Any

from ioc import faults
from ioc.ca.connection import Connection
from ioc.ca.subscription import Subscription
from ioc.record import ALARM, LOG, PROPERTY, VALUE

# Subscriptions of a client to one value that are looked at whenever it changes
FEW = 8
# Members that are looked at in one go
_STEP = 32
_EVENTS = (VALUE, LOG, ALARM, PROPERTY)
# Above the events that members want stand, in one number, those that their filters are told
_TOLD = 8


class Crowd:
    """The subscriptions of a client to one value beyond the first FEW, among which it stands like one of them.

    When it is told of a change it notes only what has changed; its members get the newest value, one after the
    other, as the client's turns have room. Changes are counted, so that each gets what is new to it, and once.
    """

    __slots__ = ("_left", "_members", "_newest", "_next", "_since", "connection", "mask", "now", "place")

    fast = False

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.mask = 0
        self.place = -1
        self.now = 0
        self._members: list[Subscription] = []
        # The number of the last change of each event
        self._newest = dict.fromkeys((*_EVENTS, *(event << _TOLD for event in _EVENTS)), 0)
        # What has changed since a change, as far as somebody asked since the last
        self._since: dict[int, int] = {}
        self._next = self._left = 0

    def __bool__(self) -> bool:
        return bool(self._members)

    def add(self, subscription: Subscription) -> None:
        """Let a subscription be a member."""
        subscription.crowd, subscription.seen, subscription.place = self, self.now, len(self._members)
        self._members.append(subscription)
        self.mask |= subscription.mask
        if self._left:
            self._left += 1  # it stands before those at the beginning that have had no turn yet

    def remove(self, subscription: Subscription) -> None:
        """Let a member go."""
        last = self._members.pop()
        if last is not subscription:
            last.place = subscription.place
            self._members[last.place] = last
        self._left = len(self._members)  # who took its place may have had no turn yet

    def tell(self, wanted: int, mask: int) -> None:
        """Note a change, and send it to those who want it."""
        self.now += 1
        changed = wanted | mask << _TOLD
        for event in self._newest:
            if changed & event:
                self._newest[event] = self.now
        self._since.clear()
        self._left = len(self._members)
        self.connection.update(self)

    def frame(self, packed: dict[Any, bytes]) -> bytes:
        """Return the message of the next member to which something is new, if one is soon found; come again."""
        message = b""
        for _ in range(min(self._left, _STEP)):
            self._next = (self._next + 1) % len(self._members)
            self._left -= 1
            message = self._message(self._members[self._next], packed)
            if message:
                break
        if self._left:
            self.connection.update(self)
        return message

    def failed(self, error: Exception) -> bytes:
        """Return nothing: each member tells the failure of its own value."""
        faults.log_once("the updates of many subscriptions", "a client", error)
        return b""

    def _message(self, member: Subscription, packed: dict[Any, bytes]) -> bytes:
        changed = self._changed_since(member.seen)
        member.seen = self.now
        first_is_due = member in self.connection.due
        if first_is_due or not member.mask & changed or not member.passes(changed >> _TOLD):
            return b""
        try:
            return member.frame(packed)
        except Exception as error:  # a fault of one value must not cost anybody the others
            return member.failed(error)

    def _changed_since(self, seen: int) -> int:
        changed = self._since.get(seen)
        if changed is None:
            changed = self._since[seen] = sum(event for event, number in self._newest.items() if number > seen)
        return changed


Member = Subscription | Crowd


def join(members: list[Member], subscription: Subscription) -> None:
    """Add a subscription to those to one value."""
    if len(members) >= FEW:
        own = [each for each in members if each.connection is subscription.connection]
        if len(own) >= FEW:
            crowd = next((each for each in own if isinstance(each, Crowd)), None)
            if crowd is None:
                crowd = Crowd(subscription.connection)
                _append(members, crowd)
            crowd.add(subscription)
            return
    _append(members, subscription)


def leave(members: list[Member], subscription: Subscription) -> None:
    """Remove a subscription from those to one value; one that never joined them, too."""
    if subscription.crowd is not None:
        crowd: Crowd = subscription.crowd
        crowd.remove(subscription)
        if not crowd:
            crowd.connection.due.pop(crowd, None)
            _remove(members, crowd)
    elif subscription.place >= 0:
        _remove(members, subscription)


def _append(members: list[Member], member: Member) -> None:
    member.place = len(members)
    members.append(member)


def _remove(members: list[Member], member: Member) -> None:
    last = members.pop()
    if last is not member:
        last.place = member.place
        members[last.place] = last
