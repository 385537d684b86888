"""What a browser puts: its value as Channel Access takes it, and the reason of a refusal."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Sequence
from math import isfinite

from archiver.ca import dbr, libca
from archiver.ca.libca import DISCONNECTED, NORMAL
from archiver.ca.listener import PvUpdate
from archiver.sample import Metadata
from web.live import value
from web.live.channel import State
from web.live.circuit import NotThereError
from web.live.hub import Hub, plain_name

Data = tuple[int, int, bytes]
# Returns the seconds within which a put has to be begun; raises PutError.
Check = Callable[[Sequence[str], object], float]

# Bytes of a text as DBR_STRING carries it, with the zero at its end (db_access.h, MAX_STRING_SIZE).
_STRING_SIZE = 40
# Elements of an array that is put.
_MOST = 100_000
# Seconds after which a put that a browser has sent is not carried out any more, unless it makes things safe.
LATE = 5.0
# Seconds for a PV to connect, for a put to end (and for its server to take one that makes things safe); for what
# explains a refusal, each.
CONNECT, END, SOON = 5.0, 30.0, 1.0


class PutError(Exception):
    """A put that was not carried out, or of which that is not known: a sentence for the user."""


class UnconfirmedError(PutError):
    """A put that nobody has confirmed; ``why`` says why it asks for that."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name}: not put, for nobody has confirmed it: {why}")
        self.why = why


def encode(state: State, metadata: Metadata, wanted: object) -> Data:
    """Return DBR type, count and bytes, as the protocol has them, of a value for a PV. Raises PutError."""
    if isinstance(wanted, list):
        return _numbers(state, wanted)
    if not isinstance(wanted, str | int | float) or (isinstance(wanted, bool) and state.native != dbr.ENUM):
        raise PutError("a value is a number, a text or a list of numbers")
    if isinstance(wanted, str):
        return _text(state, _without_unit(state, metadata, wanted))
    if not _is_finite(wanted):
        raise PutError("NaN, infinity and what is larger than any double cannot be put")
    if state.native == dbr.ENUM:
        return _state(metadata, wanted)
    if state.native == dbr.STRING:
        return _text(state, f"{wanted:.15g}")
    return dbr.DOUBLE, 1, struct.pack(">d", wanted)


async def put(hub: Hub, person: str, name: str, wanted: object, check: Check, error: str | None) -> None:
    """Put a value to a PV for a person, whose name its IOC gets, and wait until that has processed it.

    ``check`` is called with the words of the PV's states and a value that can be put, before it is: a put that its
    server has not taken within the time that it returns is given up. ``error`` is the PV that holds the last error
    of the instrument, if there is one. Raises PutError, HubError, what ``check`` does.
    """
    pv = hub.pv(name)
    if not await hub.connected(pv, CONNECT):
        raise PutError(f"{name} is not connected: nothing was put")
    try:
        kind, count, data = encode(pv.state, pv.metadata, wanted)
    except PutError as reason:
        raise PutError(f"{name}: {reason}") from None
    within = check(pv.metadata.words, wanted)
    before = hub.pv(error).update if error else None
    try:
        async with asyncio.timeout(within):
            ended = await hub.put(person, name, kind, count, data)
    except (TimeoutError, NotThereError):
        raise PutError(f"{name}: its server takes no connection for {person}: nothing was put") from None
    try:
        async with asyncio.timeout(END):
            status = await ended
    except TimeoutError:
        raise PutError(f"{name}: the put has not ended within {END:g} s; it goes on") from None
    if status == DISCONNECTED:
        raise PutError(f"{name}: the connection was lost; whether it was put is not known")
    if status != NORMAL:
        after = await _read(hub, error) if error else None
        known = await _reason(hub, name, after) or _newer(before, after)
        raise PutError(f"{name}: {known or libca.message(status)}")


async def _reason(hub: Hub, name: str, error: PvUpdate | None) -> str:
    """Return why a put was refused: the record's alarm is WRITE then, and AMSG begins the sentence.

    An IOC of rackioc has the whole sentence in the record Error of the instrument.
    """
    record = plain_name(name).partition(".")[0]
    now = await _read(hub, record)
    if now is None or now.status != "WRITE":
        return ""
    message = await _read(hub, f"{record}.AMSG")
    reason = str(message.value) if message else ""
    whole = str(error.value) if error else ""
    return whole if reason and whole.startswith(reason) else reason


def _newer(before: PvUpdate | None, after: PvUpdate | None) -> str:
    """Return the last error of the instrument if it was set since the put; another alarm may hide WRITE."""
    if after is None or (before is not None and before.stamp_ns == after.stamp_ns):
        return ""
    return str(after.value)


async def _read(hub: Hub, name: str) -> PvUpdate | None:
    """Return what a PV is now, None if it does not tell."""
    if not await hub.connected(hub.pv(name), SOON):
        return None
    try:
        async with asyncio.timeout(SOON):
            status, state = await hub.get(name)
    except TimeoutError:
        return None
    return value.update(state) if status == NORMAL else None


def _state(metadata: Metadata, wanted: float) -> Data:
    """Return the state of a number: 1.5 is none of two."""
    if wanted != int(wanted) or not 0 <= wanted < max(len(metadata.words), 1):
        raise PutError(f"{wanted:g} is none of the states {', '.join(metadata.words)}")
    return dbr.ENUM, 1, struct.pack(">H", int(wanted))


def _without_unit(state: State, metadata: Metadata, wanted: str) -> str:
    """Return a number as text without the PV's own unit behind it: displays show it where one types.

    Raises PutError for another unit: a number is for the unit beside which it was typed.
    """
    if state.native in {dbr.STRING, dbr.CHAR, dbr.ENUM} or not metadata.unit:
        return wanted
    unit = metadata.unit.strip()
    number, _, typed = wanted.strip().rpartition(" ")
    if typed != unit and _is_number(number):
        raise PutError(f"not put: its unit is {unit} now, not {typed}")
    return wanted.rstrip().removesuffix(unit)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _text(state: State, wanted: str) -> Data:
    data = wanted.encode()
    if b"\0" in data:
        raise PutError("a text has no zero byte")
    if state.native == dbr.CHAR and state.size > 1:
        if len(data) >= state.size:
            raise PutError(f"the text has {len(data)} bytes; there is room for {state.size - 1}")
        return dbr.CHAR, len(data) + 1, data + b"\0"
    if len(data) >= _STRING_SIZE:
        raise PutError(f"the text has {len(data)} bytes; there is room for {_STRING_SIZE - 1}")
    return dbr.STRING, 1, data.ljust(_STRING_SIZE, b"\0")


def _is_finite(number: float) -> bool:
    try:
        return isfinite(number)
    except OverflowError:  # an integer of more than 308 digits
        return False


def _numbers(state: State, wanted: list[object]) -> Data:
    if not 0 < len(wanted) <= min(state.size, _MOST):
        raise PutError(f"{len(wanted)} values do not fit; there is room for {state.size}")
    numbers = [
        each for each in wanted if isinstance(each, int | float) and not isinstance(each, bool) and _is_finite(each)
    ]
    if len(numbers) < len(wanted):
        raise PutError("a list holds numbers alone, and no NaN")
    return dbr.DOUBLE, len(numbers), struct.pack(f">{len(numbers)}d", *numbers)
