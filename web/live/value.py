"""What the web socket says of a PV, as members of a JSON object in the words of PVWS (ornl-epics/pvws).

Each function returns the text of some members, so that what many browsers are told is written once.
"""

from __future__ import annotations

import base64
import json
import sys
from math import isfinite
from typing import Any

import numpy as np

from archiver.ca import dbr
from archiver.ca.listener import PvUpdate
from archiver.sample import Metadata
from web.live.channel import State

SEVERITIES = ("NONE", "MINOR", "MAJOR", "INVALID")
# The severity of a PV of which nothing is known: it is not connected.
UNDEFINED = "UNDEFINED"

# Of DBR_STRING to DBR_DOUBLE: the type of a single value, and for an array that of its elements, and its member.
_SINGLE = ("VString", "VShort", "VFloat", "VEnum", "VByte", "VInt", "VDouble")
_ARRAYS = {dbr.SHORT: ("i2", "b64srt"), dbr.FLOAT: ("f4", "b64flt"), dbr.ENUM: ("u2", "b64srt"),
           dbr.CHAR: ("i1", "b64byt"), dbr.LONG: ("i4", "b64int"), dbr.DOUBLE: ("f8", "b64dbl")}  # fmt: skip


def vtype(state: State) -> str:
    """Return the name of the type of a PV, as Phoebus has it."""
    return _SINGLE[state.native] + ("" if state.size == 1 else "Array")


def metadata(state: State) -> Metadata:
    """Return the unit, limits and words of a PV that is connected."""
    return dbr.metadata(state.native, state.metadata) if state.metadata else Metadata()


def update(state: State) -> PvUpdate:
    """Return the value, its alarm and its time."""
    return dbr.update(state.native, state.size, state.value)


def describe(state: State, known: Metadata) -> str:
    """Return the members that do not change with each value."""
    members: dict[str, Any] = {"vtype": vtype(state)}
    if state.native == dbr.ENUM:
        members["labels"] = known.words
    elif not dbr.is_text(state.native, state.size):
        members["units"] = known.unit
        members["precision"] = known.precision
        ranges = (("min", "max", known.display), ("warn_low", "warn_high", known.warning),
                  ("alarm_low", "alarm_high", known.alarm))  # fmt: skip
        for low, high, (lowest, highest) in ranges:
            members |= {key: limit for key, limit in ((low, lowest), (high, highest)) if limit is not None}
    return json.dumps(members, separators=(",", ":"))[1:-1]


def tell(state: State, now: PvUpdate, known: Metadata) -> str:
    """Return the members with the value and its time."""
    seconds, nanos = divmod(now.stamp_ns, 1_000_000_000)
    return f'{_value(state, now, known)},"seconds":{seconds},"nanos":{nanos}'


def rights(writable: bool) -> str:
    """Return the member that says whether somebody may put."""
    return f'"readonly":{json.dumps(not writable)}'


def lost(state: State) -> str:
    """Return the members of a PV that is no longer connected, or may not be read: nothing is known of its value.

    Browsers keep what a message leaves out: a text must not stay as if it were the value.
    """
    words = ',"text":"Disconnected"' if state.native in {dbr.STRING, dbr.ENUM} else ""
    return f'"value":"NaN"{words}'


def _value(state: State, now: PvUpdate, known: Metadata) -> str:
    native, value = state.native, now.value
    if state.size != 1 and native != dbr.STRING:
        return _array(state, value)
    if isinstance(value, str):
        return f'"text":{json.dumps(value)}'
    if now.status == "UDF" and now.stamp_ns == dbr.EPICS_EPOCH_NS:
        # a record that was never processed has a zero for a value
        return '"value":"NaN"' + (',"text":""' if native == dbr.ENUM else "")
    if native == dbr.ENUM:
        word = known.words[value] if isinstance(value, int) and value < len(known.words) else str(value)
        return f'"value":{json.dumps(value)},"text":{json.dumps(word)}'
    if isinstance(value, float) and not isfinite(value):
        return '"value":"NaN"'
    return f'"value":{json.dumps(value)}'


def _array(state: State, value: Any) -> str:
    kind, member = _ARRAYS[state.native]
    data = state.value[dbr.LAYOUT[dbr.TIME + state.native][0] :]
    if sys.byteorder == "big":
        data = np.frombuffer(data, kind).byteswap().tobytes()
    text = f',"text":{json.dumps(value)}' if isinstance(value, str) else ""
    return f'"{member}":"{base64.b64encode(data).decode()}"{text}'
