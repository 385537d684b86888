"""The memory of a program that calls the C library, read and written by address."""

from __future__ import annotations

import ctypes as ct
from collections.abc import Iterable, Sequence
from typing import Any

from sim.caen.header import Code, PropertyType, Type
from sim.caen.parameters import CrateError, Param, Property, Value

INT, SHORT, USHORT, UINT, PTR = ct.c_int, ct.c_short, ct.c_ushort, ct.c_uint, ct.c_void_p
# Bytes of the name of a state, with the NUL
ENUM_NAME = 15

PROPERTY_TYPES: dict[PropertyType, Any] = {
    PropertyType.REAL: ct.c_float,
    PropertyType.UINT2: ct.c_uint16,
    PropertyType.UINT4: ct.c_uint32,
    PropertyType.INT2: ct.c_int16,
    PropertyType.INT4: ct.c_int32,
    PropertyType.BOOLEAN: ct.c_uint,
}


def read_text(address: int) -> str:
    """Return the text with a NUL behind at an address: a byte for each character."""
    return ct.string_at(address).decode("latin-1")


def write(kind: Any, address: int, value: Any) -> None:
    """Write one value of a ctypes type."""
    kind.from_address(address).value = value


def write_text(address: int, text: str) -> None:
    """Write a text with its NUL."""
    data = text.encode("latin-1") + b"\0"
    ct.memmove(address, data, len(data))


def read_list(address: int, count: int) -> list[int]:
    """Return ``count`` unsigned shorts."""
    return list((USHORT * count).from_address(address))


def joined(texts: Iterable[str]) -> bytes:
    """Return texts one behind the other, each with its NUL."""
    return b"".join(text.encode("latin-1") + b"\0" for text in texts)


def fixed(texts: Iterable[str], size: int) -> bytes:
    """Return texts in fields of ``size`` bytes, cut and filled with NULs."""
    return b"".join(text.encode("latin-1")[: size - 1].ljust(size, b"\0") for text in texts)


def read_property(prop: Property, address: int) -> Value:
    """Return a value of the type of a system property."""
    if prop.type is PropertyType.STR:
        return read_text(address)
    value: Value = PROPERTY_TYPES[prop.type].from_address(address).value
    return value


def write_values(kind: Type, values: Sequence[Value], address: int) -> None:
    """Write the values of several parameters of one type as an array."""
    if kind is Type.STRING:
        data = joined(map(str, values))
    elif kind is Type.NUMERIC:
        data = bytes((ct.c_float * len(values))(*map(float, values)))
    else:
        data = bytes((INT * len(values))(*map(int, values)))
    ct.memmove(address, data, len(data))


def read_value(kind: Type, address: int) -> Value:
    """Return the value of a parameter of this type."""
    value: Value = 0
    match kind:
        case Type.STRING:
            value = read_text(address)
        case Type.NUMERIC:
            value = ct.c_float.from_address(address).value
        case Type.CMD:
            pass  # has no value
        case _:
            value = INT.from_address(address).value
    return value


def write_param_prop(param: Param, prop: str, address: int) -> None:
    """Write one property of a parameter, if parameters of its type have it."""
    if prop in ("Type", "Mode"):
        write(UINT, address, getattr(param, prop.lower()))
    elif param.type in (Type.NUMERIC, Type.ENUM) and prop in ("Minval", "Maxval"):
        write(ct.c_float, address, getattr(param, prop.lower()))
    elif param.type is Type.NUMERIC and prop in ("Unit", "Exp", "Decimal"):
        write(SHORT, address, getattr(param, prop.lower()))
    elif param.type is Type.ONOFF and prop in ("Onstate", "Offstate"):
        write_text(address, getattr(param, prop.lower()))
    elif param.type is Type.ENUM and prop == "Enum":
        data = fixed(param.enum, ENUM_NAME)
        ct.memmove(address, data, len(data))
    else:
        raise CrateError(Code.PARAMPROPNOTFOUND)
