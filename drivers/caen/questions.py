"""Questions to a crate about a parameter, a property or a list. Each takes one call a step."""

from __future__ import annotations

import ctypes as ct
import math
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from drivers.base import BadReply
from drivers.caen import replies
from drivers.caen.bits import board_bits, channel_bits
from drivers.caen.formats import Choice, Number, Switch, clean, parameter_format, property_format, unit_of
from drivers.caen.items import BoardParameter, ChannelParameter, Command, Item, Property
from drivers.caen.session import Session, Unsupported

if TYPE_CHECKING:
    from caen_libs._caenhvwrappertypes import ParamMode, ParamProp, ParamType, SystemType

_Result = TypeVar("_Result")

# What a question yields between its calls, and returns in the end
Question = Generator[None, None, _Result]

# Bytes of a state word (as much as caen-libs allows for), and of each of an ENUM's words (the manual of the library)
_WORD, _ENUM_WORD = 1024, 15
# More words no EPICS record has
_MOST_WORDS = 16
# What a variable holds before the call: some libraries answer well and leave it as it is (N1470)
_UNTOUCHED: dict[type[Any], float] = {
    ct.c_uint: 0xBAAAAAAD,
    ct.c_ushort: 0xBAAD,
    ct.c_short: -0x4BAD,
    ct.c_float: -(2.0**100),
}


def _untouched(kind: type[Any]) -> Callable[[], Any]:
    return lambda: kind(_UNTOUCHED[kind])


# The variable that receives a property (CAENHVWrapper.h). Strings: with room for what a library writes too much
_VARIABLES: dict[str, Callable[[], Any]] = {
    "Type": _untouched(ct.c_uint),
    "Mode": _untouched(ct.c_uint),
    "Unit": _untouched(ct.c_ushort),
    "Exp": _untouched(ct.c_short),
    "Minval": _untouched(ct.c_float),
    "Maxval": _untouched(ct.c_float),
    "Decimal": _untouched(ct.c_short),
    "Resol": _untouched(ct.c_short),
    "Onstate": lambda: ct.create_string_buffer(_WORD),
    "Offstate": lambda: ct.create_string_buffer(_WORD),
    "Enum": lambda: ct.create_string_buffer(_WORD),
}


def label_of(slot: int, channel: int | None) -> str:
    """Return what the names of a channel's (None: a board's) points begin with."""
    return f"S{slot:02d}" if channel is None else f"S{slot:02d}:C{channel:02d}"


def parameter_names(session: Session, slot: int, channel: int | None) -> Sequence[str]:
    """Return the names of the parameters of a channel, or (None) of the board. Raises DeviceError."""
    with session.asking(f"{label_of(slot, channel)}: list of parameters", slot) as device:
        return replies.parameter_names(device, slot, channel)


def property_names(session: Session) -> Sequence[str]:
    """Return the names of the system properties. Raises DeviceError."""
    with session.asking("list of system properties") as device:
        return replies.property_names(device)


def command_names(session: Session) -> Sequence[str]:
    """Return the names of the crate's commands. Raises DeviceError."""
    with session.asking("list of commands") as device:
        return replies.command_names(device)


def ask_property(session: Session, name: str) -> Item:
    """Ask what a system property is. Raises DeviceError."""
    with session.asking(f"Sys:{name}") as device:
        prop = device.get_sys_prop_info(name)
        mode = prop.mode.name
        return Property(
            label=f"Sys:{clean(name)}",
            name=name,
            format=property_format(prop),
            readable=mode != "WRONLY",
            writable=mode != "RDONLY",
        )


def ask_parameter(session: Session, slot: int, channel: int | None, name: str) -> Question[Item]:
    """Ask the crate what a parameter is; its limits and unit move with other settings. Raises DeviceError."""
    prop = yield from _properties(session, slot, channel, name)
    with session.asking(f"{label_of(slot, channel)}:{name}", slot) as device:  # no call, but what the replies mean
        return _parameter(slot, channel, name, prop, device.system_type)


def ask_unit(session: Session, slot: int, channel: int | None, name: str) -> Question[tuple[str, int]]:
    """Ask for the unit of a number: its text and its decimal exponent. Raises DeviceError."""
    prop = yield from _properties(session, slot, channel, name, ("Unit", "Exp"))
    with session.asking(f"{label_of(slot, channel)}:{name}", slot):
        return unit_of(prop), prop.exp or 0


def ask_exponent(session: Session, slot: int, channel: int | None, name: str) -> Question[int]:
    """Ask for the decimal exponent of a number's unit alone. Raises DeviceError."""
    prop = yield from _properties(session, slot, channel, name, ("Exp",))
    return prop.exp or 0


def has_words(session: Session, slot: int, channel: int | None, name: str, form: Choice) -> Question[bool]:
    """Ask for the word of 1 of a switch, or for those of a list: True if they are those of ``form``.

    That the crate tells them tells the type, too. Raises DeviceError.
    """
    wanted = ("Onstate",) if isinstance(form, Switch) else ("Minval", "Maxval", "Enum")
    try:
        prop = yield from _properties(session, slot, channel, name, wanted)
    except BadReply:  # it may be another kind of parameter
        return False
    now = parameter_format(prop)
    if isinstance(form, Switch):
        return isinstance(now, Switch) and prop.onstate is not None and now.words[1] == form.words[1]
    return now == form


def is_like(session: Session, slot: int, channel: int | None, name: str, form: Number | Choice) -> Question[bool]:
    """Ask what may differ of two parameters of one name, in one call or few: the exponent, or words (``has_words``).

    Another parameter told ``form``. Raises DeviceError.
    """
    if isinstance(form, Choice):
        return (yield from has_words(session, slot, channel, name, form))
    try:
        exponent = yield from ask_exponent(session, slot, channel, name)
    except BadReply:  # it may be another kind of parameter
        return False
    return exponent == form.exponent


# What is asked of a parameter of a type behind its type and mode
_NUMBER = ("Unit", "Exp", "Minval", "Maxval", "Decimal")
_ASKED = {"NUMERIC": _NUMBER, "ONOFF": ("Onstate", "Offstate"), "ENUM": ("Minval", "Maxval", "Enum")}
# What a number must have: without it nobody knows how much it is
_NEEDED = {"Unit", "Exp"}


def _properties(
    session: Session, slot: int, channel: int | None, name: str, wanted: Sequence[str] = ()
) -> Question[ParamProp]:
    """Ask for type and mode of a parameter and what its type has, or for some properties alone.

    What is not told is None. Some properties alone are taken to be those of the type that has them.
    """
    from caen_libs import caenhvwrapper as hv  # noqa: PLC0415  loads CAEN's C library

    what = f"{label_of(slot, channel)}:{name}"
    if not replies.has_functions():  # all in one long step
        with session.asking(what, slot) as device:
            if channel is None:
                return device.get_bd_param_prop(slot, name)
            return device.get_ch_param_prop(slot, channel, name)

    def ask(prop: str) -> Question[Any]:
        value = _VARIABLES[prop]()
        with session.asking(what, slot) as device:
            told = device.property(slot, channel, name, prop.encode(), value)  # type: ignore[attr-defined]
        yield
        told = told and value.value != _UNTOUCHED.get(type(value))
        if not told and prop in _NEEDED:
            raise BadReply(f"{what}: the crate does not tell the parameter's {prop}")
        if prop == "Enum":
            return _words(value.raw, found) if told else None
        return value.value if told else None

    found: dict[str, Any] = {}
    for prop in wanted:
        found[prop] = yield from ask(prop)
    if wanted:
        of_type = next(each for each, props in _ASKED.items() if wanted[0] in props and wanted[-1] in props)
        return _as_prop((hv.ParamType[of_type], hv.ParamMode.RDONLY), found)  # type: ignore[attr-defined]
    kind = session.kinds.get((slot, channel, name))
    if kind is None:
        codes = (yield from ask("Type")), (yield from ask("Mode"))
        if None in codes:
            raise Unsupported(f"{what}: the crate lists the parameter, but does not have it")
        try:
            kind = hv.ParamType(codes[0]), hv.ParamMode(codes[1])  # type: ignore[attr-defined]
        except ValueError as error:
            raise BadReply(f"{what}: the reply makes no sense: {error}") from error
        session.kinds[slot, channel, name] = kind
    for prop in _ASKED.get(kind[0].name, ()):
        if prop != "Enum" or _count(found):
            found[prop] = yield from ask(prop)
            if found[prop] is None and prop != "Decimal":  # one stray code must not change limits and words
                found[prop] = yield from ask(prop)
    if kind[0].name == "NUMERIC" and session.system == "V8100":  # as caen-libs: the others do not have it
        found["Resol"] = yield from ask("Resol")
    return _as_prop(kind, found)


def _as_prop(kind: tuple[ParamType, ParamMode], found: dict[str, Any]) -> ParamProp:
    """Return the answers in the type of caen-libs; a unit that it does not know stays a number."""
    from caen_libs import caenhvwrapper as hv  # noqa: PLC0415  loads CAEN's C library

    symbol = found.get("Unit")
    with suppress(ValueError):
        symbol = symbol if symbol is None else hv.ParamUnit(symbol)  # type: ignore[attr-defined]
    off, on = (None if found.get(prop) is None else replies.shown(found[prop]) for prop in ("Offstate", "Onstate"))
    return hv.ParamProp(  # type: ignore[attr-defined]
        *kind,
        minval=found.get("Minval"),
        maxval=found.get("Maxval"),
        unit=symbol,
        exp=found.get("Exp"),
        decimal=found.get("Decimal"),
        resol=found.get("Resol"),
        enum=found.get("Enum"),
        onstate=on,
        offstate=off,
    )


def _count(found: dict[str, Any]) -> int:
    """Return how many words an ENUM has; 0 where its limits make no sense, or where no record has as many."""
    low, high = found["Minval"], found["Maxval"]
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return 0
    return int(high - low + 1) if 0 <= high - low < _MOST_WORDS else 0


def _words(raw: bytes, found: dict[str, Any]) -> tuple[str, ...]:
    """Return the words of an ENUM."""
    fields = (raw[_ENUM_WORD * index : _ENUM_WORD * (index + 1)] for index in range(_count(found)))
    return tuple(replies.shown(field.split(b"\0")[0]) for field in fields)


def _parameter(slot: int, channel: int | None, name: str, prop: ParamProp, system: SystemType) -> Item:
    where = f"{label_of(slot, channel)}:{clean(name)}"
    bits = {"CHSTATUS": channel_bits, "BDSTATUS": board_bits}.get(prop.type.name)
    form = parameter_format(prop, bits(system) if bits else ())
    mode = prop.mode.name
    readable, writable = mode != "WRONLY", mode != "RDONLY"
    if form is None:
        return Command(label=where, slot=slot, channel=channel, name=name)
    if channel is None:
        return BoardParameter(label=where, slot=slot, name=name, format=form, readable=readable, writable=writable)
    return ChannelParameter(
        label=where, slot=slot, channel=channel, name=name, format=form, readable=readable, writable=writable
    )
