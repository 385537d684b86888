"""The one way of a put from a browser: rights, confirmation of what is dangerous, the put itself, the log."""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence

from web.access.access import Access
from web.access.visitor import Visitor
from web.live import puts
from web.live.hub import LONGEST, Hub, plain_name
from web.live.puts import PutError, UnconfirmedError
from web.rack.rack import Rack

# Characters of a value in the log.
_SHOWN = 60
# Puts of people who are not logged in that are told in so many seconds.
STRANGERS, _MINUTE = 20, 60.0

log = logging.getLogger("web.puts")

# Why a put asks for a confirmation
LETS_OUT = "it may let high voltage out"
_NOT_TOLD = "its IOC has not told whether it makes things safe"

# Returns why a put to a record asks for a confirmation, empty if it asks for none; the second argument: the number of
# the state, None for what is none.
Caution = Callable[[str, int | None], str]


class Door:
    """Puts for visitors, to PVs of the rack and to no others."""

    def __init__(self, hub: Hub, access: Access, rack: Rack, caution: Caution) -> None:
        self._hub = hub
        self._access = access
        self._rack = rack
        self._caution = caution
        self._strangers: deque[float] = deque(maxlen=STRANGERS)

    async def put(self, visitor: Visitor, asked: str, wanted: object, confirmed: bool, at: float | None) -> None:
        """Put a value to a PV and wait for its end. Raises PutError, HubError.

        ``at`` is the time (monotonic clock of this computer) at which it was asked for, if the browser tells it: a
        network that was gone for a while delivers what had been sent before.
        """
        record = plain_name(asked).partition(".")[0]
        shown = json.dumps(wanted)[:_SHOWN]
        # one line of the log, whatever was sent as a name
        name = "".join(each if each.isprintable() else "?" for each in asked[:LONGEST])

        came = time.monotonic()

        def check(words: Sequence[str], value: object) -> float:
            state = _state(words, value)
            safe = self._rack.safe.get(record)
            # late and not known: not refused, for it may be an Off, nor put, for it may be an On: a person is asked
            is_known = safe.is_of(words) if safe else not words or self._rack.tells_safe
            is_safe = is_known and safe is not None and state == safe.number
            age = time.monotonic() - (came if at is None else min(at, came))
            is_late = age > puts.LATE and not is_safe
            if is_late and is_known:
                raise PutError(f"{name}: not put, for it came {age:.0f} s after it was asked for")
            reason = "" if is_safe else self._why(record, state, is_known)
            if reason and (is_late or not confirmed):
                raise UnconfirmedError(name, reason)
            # who sees nothing happen believes in no put any more: of an IOC that hangs it is not carried out later
            return puts.END if is_safe else puts.LATE - age

        try:
            if refusal := self._access.refusal(visitor):
                raise PutError(f"{name}: {refusal}")
            if not self._rack.is_known(record):
                raise PutError(f"{name}: it is no PV of this rack, and only to those is put from here")
            await puts.put(self._hub, visitor.name, asked, wanted, check, self._rack.error(record))
        except PutError as error:
            if visitor.name or self._may_be_told():
                log.warning("%s put %s to %s, in vain: %s", visitor, shown, name, error)
            raise
        log.info("%s put %s to %s", visitor, shown, name)

    def _why(self, record: str, state: int | None, is_known: bool) -> str:
        """Return why what is not known to make things safe asks for a confirmation."""
        if record in self._rack.safe:
            return LETS_OUT
        return self._caution(record, state) or ("" if is_known else _NOT_TOLD)

    def _may_be_told(self) -> bool:
        """Return whether one more put of a stranger is logged: they could fill the disk."""
        now, times = time.monotonic(), self._strangers
        if len(times) == STRANGERS and now - times[0] < _MINUTE:
            return False
        times.append(now)
        return True


def _state(words: Sequence[str], value: object) -> int | None:
    """Return the number of a state that is put as its word, or as a number."""
    if isinstance(value, str):
        if value in words:
            return list(words).index(value)
        try:
            value = float(value)
        except ValueError:
            return None
    return int(value) if isinstance(value, int | float) and value % 1 == 0 else None
