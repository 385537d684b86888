"""The C client library libca through ctypes, with the memory layouts of db_access.h decoded here.

Clients of a higher level choose types, counts and masks for their users and hide what a server does with the others.
"""

from __future__ import annotations

import ctypes as c
import struct
import time
from collections.abc import Sequence
from typing import Any

from epicscorelibs.path import get_lib

TYPES = ("STRING", "SHORT", "FLOAT", "ENUM", "CHAR", "LONG", "DOUBLE")
FAMILIES = ("", "STS_", "TIME_", "GR_", "CTRL_")
DBR_NAMES = (
    *(family + name for family in FAMILIES for name in TYPES),
    "PUT_ACKT",
    "PUT_ACKS",
    "STSACK_STRING",
    "CLASS_NAME",
)
DBR = {name: number for number, name in enumerate(DBR_NAMES)}
STRING, SHORT, FLOAT, ENUM, CHAR, LONG, DOUBLE = range(7)
STS, TIME, GR, CTRL = 7, 14, 21, 28

VALUE, LOG, ALARM, PROPERTY = 1, 2, 4, 8
MASKS = {"V": VALUE, "L": LOG, "A": ALARM, "P": PROPERTY}

# ECA_... by message number (caerr.h)
STATUS = (
    *("NORMAL", "MAXIOC", "UKNHOST", "UKNSERV", "SOCK", "CONN", "ALLOCMEM", "UKNCHAN", "UKNFIELD", "TOLARGE"),
    *("TIMEOUT", "NOSUPPORT", "STRTOBIG", "DISCONNCHID", "BADTYPE", "CHIDNOTFND", "CHIDRETRY", "INTERNAL"),
    *("DBLCLFAIL", "GETFAIL", "PUTFAIL", "ADDFAIL", "BADCOUNT", "BADSTR", "DISCONN", "DBLCHNL", "EVDISALLOW"),
    *("BUILDGET", "NEEDSFP", "OVEVFAIL", "BADMONID", "NEWADDR", "NEWCONN", "NOCACTX", "DEFUNCT", "EMPTYSTR"),
    *("NOREPEATER", "NOCHANMSG", "DLCKREST", "SERVBEHIND", "NOCAST", "BADMASK", "IODONE", "IOINPROGRESS"),
    *("BADSYNCGRP", "PUTCBINPROG", "NORDACCESS", "NOWTACCESS", "ANACHRONISM", "NOSEARCHADDR", "NOCONVERT"),
    *("BADCHID", "BADFUNCPTR", "ISATTACHED", "UNAVAILINSERV", "CHANDESTROY", "BADPRIORITY", "NOTTHREADED"),
    *("16KARRAYCLIENT", "CONNSEQTMO", "UNRESPTMO"),
)

_CODES = ("40s", "h", "f", "H", "B", "i", "d")
_EPOCH = 631152000
_STATES, _STATE_SIZE = 16, 26


class EventArgs(c.Structure):
    """The struct event_handler_args (cadef.h)."""

    _fields_ = (
        ("usr", c.c_void_p),
        ("chid", c.c_void_p),
        ("type", c.c_long),
        ("count", c.c_long),
        ("dbr", c.c_void_p),
        ("status", c.c_int),
    )


class ConnectionArgs(c.Structure):
    """The struct connection_handler_args (cadef.h)."""

    _fields_ = (("chid", c.c_void_p), ("op", c.c_long))


class AccessArgs(c.Structure):
    """The struct access_rights_handler_args (cadef.h); ``rights``: bit 0 read, bit 1 write."""

    _fields_ = (("chid", c.c_void_p), ("rights", c.c_uint))


class ExceptionArgs(c.Structure):
    """The struct exception_handler_args (cadef.h)."""

    _fields_ = (
        ("usr", c.c_void_p),
        ("chid", c.c_void_p),
        ("type", c.c_long),
        ("count", c.c_long),
        ("addr", c.c_void_p),
        ("stat", c.c_long),
        ("op", c.c_long),
        ("ctx", c.c_char_p),
        ("file", c.c_char_p),
        ("line", c.c_uint),
    )


EVENT_FUNC = c.CFUNCTYPE(None, EventArgs)
CONNECTION_FUNC = c.CFUNCTYPE(None, ConnectionArgs)
ACCESS_FUNC = c.CFUNCTYPE(None, AccessArgs)
EXCEPTION_FUNC = c.CFUNCTYPE(None, ExceptionArgs)

lib = c.CDLL(get_lib("ca"))
for _name, _result, _arguments in (
    ("ca_context_create", c.c_int, (c.c_int,)),
    ("ca_context_destroy", None, ()),
    ("ca_flush_io", c.c_int, ()),
    ("ca_pend_io", c.c_int, (c.c_double,)),
    ("ca_pend_event", c.c_int, (c.c_double,)),
    ("ca_add_exception_event", c.c_int, (EXCEPTION_FUNC, c.c_void_p)),
    ("ca_create_channel", c.c_int, (c.c_char_p, CONNECTION_FUNC, c.c_void_p, c.c_uint, c.POINTER(c.c_void_p))),
    ("ca_puser", c.c_void_p, (c.c_void_p,)),
    ("ca_clear_channel", c.c_int, (c.c_void_p,)),
    ("ca_replace_access_rights_event", c.c_int, (c.c_void_p, ACCESS_FUNC)),
    ("ca_field_type", c.c_short, (c.c_void_p,)),
    ("ca_element_count", c.c_ulong, (c.c_void_p,)),
    ("ca_read_access", c.c_uint, (c.c_void_p,)),
    ("ca_write_access", c.c_uint, (c.c_void_p,)),
    ("ca_array_get", c.c_int, (c.c_long, c.c_ulong, c.c_void_p, c.c_void_p)),
    ("ca_array_get_callback", c.c_int, (c.c_long, c.c_ulong, c.c_void_p, EVENT_FUNC, c.c_void_p)),
    ("ca_array_put", c.c_int, (c.c_long, c.c_ulong, c.c_void_p, c.c_void_p)),
    ("ca_array_put_callback", c.c_int, (c.c_long, c.c_ulong, c.c_void_p, c.c_void_p, EVENT_FUNC, c.c_void_p)),
    (
        "ca_create_subscription",
        c.c_int,
        (c.c_long, c.c_ulong, c.c_void_p, c.c_long, EVENT_FUNC, c.c_void_p, c.POINTER(c.c_void_p)),
    ),
    ("ca_clear_subscription", c.c_int, (c.c_void_p,)),
    ("ca_sg_create", c.c_int, (c.POINTER(c.c_uint),)),
    ("ca_sg_array_put", c.c_int, (c.c_uint, c.c_long, c.c_ulong, c.c_void_p, c.c_void_p)),
    ("ca_sg_array_get", c.c_int, (c.c_uint, c.c_long, c.c_ulong, c.c_void_p, c.c_void_p)),
    ("ca_sg_block", c.c_int, (c.c_uint, c.c_double)),
    ("ca_sg_delete", c.c_int, (c.c_uint,)),
):
    _function = getattr(lib, _name)
    _function.restype, _function.argtypes = _result, _arguments

_value_offset = (c.c_ushort * len(DBR_NAMES)).in_dll(lib, "dbr_value_offset")
_value_size = (c.c_ushort * len(DBR_NAMES)).in_dll(lib, "dbr_value_size")


def status_name(status: int) -> str:
    """Return the name of an ECA status, without ECA_."""
    number = status >> 3
    return STATUS[number] if number < len(STATUS) else f"ECA {status}"


def mask_name(mask: int) -> str:
    """Return an event mask as its letters: V, L, A, P."""
    return "".join(letter for letter, bit in MASKS.items() if mask & bit)


def encode(dbr: int, values: Sequence[Any]) -> bytes:
    """Return the memory for a put by libca; a text of 40 characters gets no NUL, as from a careless client."""
    if dbr in {DBR["PUT_ACKT"], DBR["PUT_ACKS"]}:
        return b"".join(struct.pack("H", value) for value in values)
    code = _CODES[dbr]
    if dbr == STRING:
        return b"".join(struct.pack(code, value.encode("latin-1")) for value in values)
    return b"".join(struct.pack(code, value) for value in values)


def decode(dbr: int, count: int, address: int) -> dict[str, Any]:
    """Return the content of a callback's memory as named aspects."""
    if dbr == DBR["STSACK_STRING"]:
        status, severity, ackt, acks = struct.unpack("4H", c.string_at(address, 8))
        head: dict[str, Any] = {"stat": status, "sevr": severity, "ackt": ackt, "acks": acks}
    elif dbr < STS or dbr >= DBR["PUT_ACKT"]:
        head = {}
    else:
        head = _head(dbr, c.string_at(address, max(_value_offset[dbr], 4)))
    return head | {"value": _values(dbr, count, address)}


def _values(dbr: int, count: int, address: int) -> list[Any]:
    kind = STRING if dbr >= DBR["STSACK_STRING"] else ENUM if dbr >= DBR["PUT_ACKT"] else dbr % len(TYPES)
    size = _value_size[dbr]
    raw = c.string_at(address + _value_offset[dbr], size * count)
    items = [struct.unpack_from(_CODES[kind], raw, index * size)[0] for index in range(count)]
    return [_text(item) for item in items] if kind == STRING else items


def _head(dbr: int, raw: bytes) -> dict[str, Any]:
    status, severity = struct.unpack_from("hh", raw)
    head: dict[str, Any] = {"stat": status, "sevr": severity}
    family, kind = divmod(dbr, len(TYPES))
    if family == TIME // len(TYPES):
        head["stamp"] = struct.unpack_from("II", raw, 4)
    elif family >= GR // len(TYPES) and kind == ENUM:
        head |= _states(raw)
    elif family >= GR // len(TYPES) and kind != STRING:
        head |= _properties(kind, raw, 6 + 2 * (family == CTRL // len(TYPES)))
    return head


def _states(raw: bytes) -> dict[str, Any]:
    number = struct.unpack_from("h", raw, 4)[0]
    texts = [_text(raw[start : start + _STATE_SIZE]) for start in range(6, 6 + _STATES * _STATE_SIZE, _STATE_SIZE)]
    beyond = {"states_beyond": texts[number:]} if any(texts[number:]) else {}
    return {"states": texts[:number], **beyond}


def _properties(kind: int, raw: bytes, number: int) -> dict[str, Any]:
    """Return units, precision (floating types only) and ``number`` limits in the order of db_access.h."""
    floating = kind in {FLOAT, DOUBLE}
    at = 8 if floating else 4
    head: dict[str, Any] = {"prec": struct.unpack_from("h", raw, 4)[0]} if floating else {}
    head["units"] = _text(raw[at : at + 8])
    names = ("hopr", "lopr", "hihi", "high", "low", "lolo", "drvh", "drvl")[:number]
    return head | dict(zip(names, struct.unpack_from(f"={number}{_CODES[kind]}", raw, at + 8), strict=True))


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("latin-1")


def comparable_stamp(stamp: tuple[int, int]) -> str:
    """Return a time stamp as two servers can be compared by: "zero", "fresh" (of this run), or how far it is off."""
    seconds, nanoseconds = stamp
    if not seconds and not nanoseconds:
        return "zero"
    age = time.time() - _EPOCH - seconds
    return "fresh" if -5 < age < 3600 and nanoseconds < 10**9 else f"off by {age:.0f} s"
