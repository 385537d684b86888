"""The subscriptions to fields other than the value: each field is looked at once, however many subscribed to it."""

from __future__ import annotations

from ioc import dbd, faults
from ioc.ca.subscription import Subscription
from ioc.ca.updates.crowd import Member, join, leave
from ioc.ca.view import FieldView, Values, View
from ioc.record import ALARM, LOG, PROPERTY, VALUE, Record

# Fields that change with an alarm; the latter two are also told when only the alarm changed with which they are shown
_ALARM_FIELDS = {"SEVR", "ACKS", "STAT", "AMSG"}
_WITH_ALARM = {"STAT", "AMSG"}
# Fields that change with the value; the latter two are told with an alarm that changes in the same moment
_VALUE_FIELDS = {"NORD", "LEN", "OVAL", "RVAL"}
_WITH_VALUE = {"OVAL", "RVAL"}


class _Watched:
    """One field of one record that somebody subscribed to."""

    def __init__(self, view: View) -> None:
        record = view.record
        self.members: list[Member] = []
        # without the filters of the subscriptions, each of which judges by itself
        self._view = FieldView(record, view.owner, dbd.fields(record.point.rtyp.name)[view.field_name])
        self._last: Values = ()
        self._alarm = record.stat, record.sevr
        self.look()

    def look(self) -> bool:
        """Take the value of now for the last one; return True if it is another, or if that cannot be told."""
        before = self._last
        try:
            self._last = self._view.values()
            return bool(self._last != before)
        except Exception as error:
            faults.log_once("the value", self._view.record.name, error)
            self._last = ()
            return True

    def told_by_alarm(self) -> int:
        """Return to which masks the alarm of now is news, if any (recGblResetAlarms)."""
        record, name = self._view.record, self._view.field_name
        (stat, sevr), self._alarm = self._alarm, (record.stat, record.sevr)
        changed = self.look()
        if name not in _WITH_ALARM:
            return VALUE if changed else 0
        told = VALUE if changed or stat != record.stat else 0
        return told | (ALARM if sevr != record.sevr or (changed and name == "AMSG") else 0)

    def post(self, wanted: int, mask: int) -> None:
        """Send the field to those who subscribed to one of the masks ``wanted``."""
        for member in self.members:
            if member.mask & wanted:
                member.tell(wanted, mask)


class FieldMonitors:
    """All subscriptions to fields, by record and name.

    following   the records with subscriptions to fields that change with the value
    """

    def __init__(self) -> None:
        self._watched: dict[Record, dict[str, _Watched]] = {}
        self.following: set[Record] = set()

    def __contains__(self, record: Record) -> bool:
        return record in self._watched

    def __bool__(self) -> bool:
        return bool(self._watched)

    def add(self, subscription: Subscription) -> None:
        """Send updates to this subscription from now on."""
        record, name = subscription.view.record, subscription.view.field_name
        fields = self._watched.setdefault(record, {})
        if name not in fields:
            fields[name] = _Watched(subscription.view)
            if _follows(record, name):
                self.following.add(record)
        join(fields[name].members, subscription)

    def remove(self, subscription: Subscription) -> None:
        """Send no updates to it any more."""
        record, name = subscription.view.record, subscription.view.field_name
        fields = self._watched.get(record, {})
        watched = fields.get(name)
        if watched is None:
            return
        leave(watched.members, subscription)
        if not watched.members:
            del fields[name]
            if not any(_follows(record, other) for other in fields):
                self.following.discard(record)
        if not fields:
            del self._watched[record]

    def post(self, record: Record, name: str, mask: int) -> None:
        """Send a field that was set."""
        watched = self._watched.get(record, {}).get(name)
        if watched is not None:
            watched.look()
            watched.post(mask, mask)

    def post_alarm(self, record: Record) -> None:
        """Send all fields to those who want alarms: one was acknowledged (putAcks, putAckt)."""
        for watched in self._watched.get(record, {}).values():
            watched.post(ALARM, ALARM)

    def post_changed(self, record: Record, mask: int) -> None:
        """Send what a change of the record concerns.

        DBE_PROPERTY concerns all; an alarm those that show it; a value those that follow it.
        """
        for name, watched in self._watched.get(record, {}).items():
            wanted = mask & PROPERTY
            if mask & ALARM and name in _ALARM_FIELDS:
                wanted |= watched.told_by_alarm()
            if _follows(record, name) and watched.look():
                wanted |= VALUE | LOG | (mask & ALARM if name in _WITH_VALUE else 0)
            if wanted:
                watched.post(wanted, mask)


def _follows(record: Record, name: str) -> bool:
    """Return True for a field that changes with the value; in texts OVAL is not told, as in base."""
    return name in _VALUE_FIELDS and (name != "OVAL" or record.point.rtyp.numeric)
