"""A PV as it is shown: who is shown it, what has changed, and the texts that tell it, each made once."""

from __future__ import annotations

import json
from enum import IntFlag
from typing import Protocol

from archiver.ca.listener import PvUpdate
from archiver.sample import Metadata
from web.live import value
from web.live.channel import State
from web.live.frames import text_frame


class Changed(IntFlag):
    """What of a PV is new to a client."""

    VALUE = 1
    SEVERITY = 2
    READONLY = 4
    METADATA = 8
    ALL = 15


class Listener(Protocol):
    """A user of PVs."""

    def changed(self, subscription: Subscription, what: int) -> None:
        """Note that something of a PV is new."""


class Subscription:
    """What a listener asked for: ``name`` is how it asked, such as ``ca://X``."""

    __slots__ = ("listener", "name", "pv")

    def __init__(self, listener: Listener, pv: Pv, name: str) -> None:
        self.listener, self.pv, self.name = listener, pv, name


class Pv:
    """The newest state of a PV.

    update     value, alarm and time; None while it is not connected, or may not be read
    silent     whether its IOC hangs with the connection open: what was told is of before
    seen       whether it was connected since somebody asked for it
    unused     since when (monotonic clock) nobody has asked for it
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = State()
        self.update: PvUpdate | None = None
        self.silent = False
        self.metadata = Metadata()
        self.seen = False
        self.unused = 0.0
        self.subscriptions: dict[Subscription, None] = {}
        self._description = ""
        self._frames: dict[tuple[str, int, bool], bytes] = {}

    @property
    def now(self) -> PvUpdate | None:
        """Return value, alarm and time if they can be shown as those of now."""
        return None if self.silent else self.update

    @property
    def severity(self) -> str:
        """Return the severity in the words of PVWS."""
        return value.UNDEFINED if self.now is None else value.SEVERITIES[self.now.severity]

    def hush(self, silent: bool) -> None:
        """Note whether its IOC hangs, and tell those who asked for the PV."""
        if silent != self.silent and self.update is not None:
            self.silent = silent
            self._tell(int(Changed.ALL))

    def take(self, state: State) -> None:
        """Take a new state, and tell those who asked for the PV."""
        before, self.state = self.state, state
        if not state.known:
            if self.update is None:
                return
            self.state = before  # its type is that of what was shown
            self.update, self.silent, what = None, False, int(Changed.ALL)
        else:
            what = self._take(before, state)
        self._tell(what)

    def _tell(self, what: int) -> None:
        self._frames.clear()
        for subscription in self.subscriptions:
            subscription.listener.changed(subscription, what)

    def _take(self, before: State, state: State) -> int:
        first = self.update is None
        was = self.severity
        self.update, self.seen = value.update(state), True
        what = Changed.VALUE | (Changed.SEVERITY if self.severity != was else 0)
        if first or state.metadata != before.metadata or state.native != before.native:
            self.metadata = value.metadata(state)
            self._description = value.describe(state, self.metadata)
            what |= Changed.METADATA
        if first or state.writable != before.writable:
            what |= Changed.READONLY
        return int(what)

    def frame(self, name: str, what: int, may_put: bool) -> bytes:
        """Return the frame that tells what is new under the name that was asked for."""
        key = (name, what, may_put)
        frame = self._frames.get(key)
        if frame is None:
            members = ",".join(self._members(what, may_put))
            frame = text_frame(f'{{"type":"update","pv":{json.dumps(name)},{members}}}'.encode())
            self._frames[key] = frame
        return frame

    def _members(self, what: int, may_put: bool) -> list[str]:
        severity = f'"severity":"{self.severity}"'
        # an Off can be put to an IOC that hangs
        rights = value.rights(self.update is not None and self.state.writable and may_put)
        if self.now is None:
            return [severity, value.lost(self.state), rights]
        parts = (
            (Changed.METADATA, self._description),
            (Changed.SEVERITY, severity),
            (Changed.READONLY, rights),
        )
        told = [text for flag, text in parts if what & flag]
        return [*told, value.tell(self.state, self.now, self.metadata)]
