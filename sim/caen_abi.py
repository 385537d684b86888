"""libcaenhvwrapper.so in Python: the C library's functions as callbacks that read and write the caller's memory.

``LIBRARY`` takes the place of the object that ``ctypes.cdll.LoadLibrary`` returns. There is one for the life of the
process, because a binding looks its functions up when it is imported and keeps them.
"""

from __future__ import annotations

import ctypes as ct
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sim.caen import Code, Crate, CrateError, Node, Param, Property, PropertyType, Type, Value
from sim.caen_fake import LINKS, SYSTEMS, CrateFake, GarbledAnswer, Session

NAME = "libcaenhvwrapper.so"
VERSION = b"7.1.0"  # from 7.0.0 on, serial numbers have 32 bits
GARBAGE = 0x5A5A  # no code of the header
NO_HANDLE = -1
PARAM_NAME = 10  # bytes with the NUL, as the next two
CHANNEL_NAME = 12
ENUM_NAME = 15

INT, SHORT, USHORT, UINT, PTR = ct.c_int, ct.c_short, ct.c_ushort, ct.c_uint, ct.c_void_p

# What comes after the handle. All pointers are addresses here.
_CALLS: dict[str, tuple[Any, ...]] = {
    "GetCrateMap": (PTR,) * 7,
    "GetSysPropList": (PTR, PTR),
    "GetSysPropInfo": (PTR, PTR, PTR),
    "GetSysProp": (PTR, PTR),
    "SetSysProp": (PTR, PTR),
    "GetBdParam": (USHORT, PTR, PTR, PTR),
    "SetBdParam": (USHORT, PTR, PTR, PTR),
    "GetBdParamProp": (USHORT, PTR, PTR, PTR),
    "GetBdParamInfo": (USHORT, PTR),
    "TestBdPresence": (USHORT, PTR, PTR, PTR, PTR, PTR, PTR),
    "GetChParamProp": (USHORT, USHORT, PTR, PTR, PTR),
    "GetChParamInfo": (USHORT, USHORT, PTR, PTR),
    "GetChName": (USHORT, USHORT, PTR, PTR),
    "SetChName": (USHORT, USHORT, PTR, PTR),
    "GetChParam": (USHORT, PTR, USHORT, PTR, PTR),
    "SetChParam": (USHORT, PTR, USHORT, PTR, PTR),
    "GetExecCommList": (PTR, PTR),
    "ExecComm": (PTR,),
}
_EVENT_CALLS: dict[str, tuple[Any, ...]] = {
    "SystemParams": (SHORT, PTR, UINT, PTR),
    "BoardParams": (SHORT, USHORT, PTR, UINT, PTR),
    "ChannelParams": (SHORT, USHORT, USHORT, PTR, UINT, PTR),
}

_libc = ct.CDLL(None)
_libc.malloc.restype = PTR
_libc.malloc.argtypes = (ct.c_size_t,)
_libc.free.argtypes = (PTR,)


class Library:
    """The crates that can be reached, the open handles, and the functions by name."""

    def __init__(self) -> None:
        self.crates: dict[str, CrateFake] = {}
        self.blocks: set[int] = set()  # memory given to the caller and not yet freed
        self._sessions: dict[int, Session] = {}
        self._next_handle = 0
        self._texts = {code: ct.create_string_buffer(code.name.encode()) for code in Code}
        self._version = ct.create_string_buffer(VERSION)
        self._functions = dict(self._define())

    def __getitem__(self, name: str) -> Any:
        try:
            return self._functions[name]
        except KeyError:
            raise AttributeError(f"{NAME}: undefined symbol: {name}") from None

    def _define(self) -> Iterable[tuple[str, Any]]:
        yield _function("CAENHVLibSwRel", PTR, (), lambda: ct.addressof(self._version))
        yield _function("CAENHV_GetError", PTR, (INT,), self._get_error)
        yield _function("CAENHV_Free", INT, (PTR,), self._free)
        yield _function("CAENHV_FreeEventData", INT, (PTR,), lambda _: Code.OK)
        yield _function("CAENHV_GetEventData", INT, (INT, PTR, PTR, PTR), lambda *_: Code.NOTYETIMPLEMENTED)
        yield _function("CAENHV_InitSystem", INT, (INT, INT, PTR, PTR, PTR, PTR), self._init_system)
        yield _function("CAENHV_DeinitSystem", INT, (INT,), self._deinit_system)
        for name, arguments in _EVENT_CALLS.items():
            for verb in ("Subscribe", "UnSubscribe"):
                yield _function(f"CAENHV_{verb}{name}", INT, (INT, *arguments), lambda *_: Code.NOTYETIMPLEMENTED)
        for name, arguments in _CALLS.items():
            method = getattr(self, re.sub("([A-Z])", r"_\1", name).lower())
            yield _function(f"CAENHV_{name}", INT, (INT, *arguments), self._call(name, method))

    def _call(self, name: str, method: Callable[..., str]) -> Callable[..., int]:
        """A function of the library: from a handle to the model and back to a code."""

        def call(handle: int, *arguments: int) -> int:
            session = self._sessions.get(handle)
            if session is None:
                return Code.NOTCONNECTED
            what, code = "", int(Code.OK)
            try:
                with session.fake.call(session, writes=name.startswith(("Set", "Exec"))) as crate:
                    what = method(crate, *arguments)
            except CrateError as error:
                code = session.error = error.code
            except GarbledAnswer:
                code = GARBAGE
            session.fake.record(f"{name} {what} -> {code}")
            return code

        return call

    def _init_system(self, *arguments: int) -> int:
        system, link, host, username, password, handle = arguments
        _write(INT, handle, NO_HANDLE)
        crate = self.crates.get(_text(host))
        if crate is None:
            return Code.NOTCONNECTED
        try:
            session = crate.login(SYSTEMS[system], LINKS[link], _text(username), _text(password))
        except CrateError as error:
            return error.code
        self._sessions[self._next_handle] = session
        _write(INT, handle, self._next_handle)
        self._next_handle += 1
        return Code.OK

    def _deinit_system(self, handle: int) -> int:
        session = self._sessions.pop(handle, None)
        if session is None:
            return Code.NOTCONNECTED
        try:
            session.fake.logout(session)
        except CrateError as error:
            return error.code
        return Code.OK

    def _get_error(self, handle: int) -> int:
        session = self._sessions.get(handle)
        return ct.addressof(self._texts[session.error if session else Code.NOTCONNECTED])

    def _free(self, address: int | None) -> int:
        if address is not None:
            self.blocks.remove(address)
            _libc.free(address)
        return Code.OK

    def _give(self, data: bytes, pointer: int) -> None:
        """Put data into new memory, which the caller is to free, and its address into the caller's pointer."""
        address = _libc.malloc(max(1, len(data)))
        ct.memmove(address, data, len(data))
        self.blocks.add(address)
        _write(PTR, pointer, address)

    def _get_crate_map(self, crate: Crate, *arguments: int) -> str:
        slots, channels, models, descriptions, serials, minors, majors = arguments
        boards = [crate.boards.get(slot) for slot in range(crate.slots)]
        _write(USHORT, slots, crate.slots)
        self._give(bytes((USHORT * crate.slots)(*(len(b.channels) if b else 0 for b in boards))), channels)
        self._give(_joined(b.model if b else "" for b in boards), models)
        self._give(_joined(b.description if b else "" for b in boards), descriptions)
        self._give(bytes((UINT * crate.slots)(*(b.serial if b else 0 for b in boards))), serials)
        self._give(bytes(b.firmware[1] if b else 0 for b in boards), minors)
        self._give(bytes(b.firmware[0] if b else 0 for b in boards), majors)
        return ""

    def _test_bd_presence(self, crate: Crate, slot: int, *arguments: int) -> str:
        channels, model, description, serial, minor, major = arguments
        board = crate.board(slot)
        _write(USHORT, channels, len(board.channels))
        self._give(_joined([board.model]), model)
        self._give(_joined([board.description]), description)
        _write(USHORT, serial, board.serial)
        _write(ct.c_ubyte, minor, board.firmware[1])
        _write(ct.c_ubyte, major, board.firmware[0])
        return f"{slot}"

    def _get_sys_prop_list(self, crate: Crate, count: int, names: int) -> str:
        _write(USHORT, count, len(crate.properties))
        self._give(_joined(crate.properties), names)
        return ""

    def _get_sys_prop_info(self, crate: Crate, name: int, mode: int, kind: int) -> str:
        prop = crate.property(_text(name))
        _write(UINT, mode, prop.mode)
        _write(UINT, kind, prop.type)
        return prop.name

    def _get_sys_prop(self, crate: Crate, name: int, value: int) -> str:
        prop = crate.property(_text(name))
        current = crate.get_property(prop.name)
        if prop.type is PropertyType.STR:
            _write_text(value, str(current))
        else:
            _write(_PROPERTY_TYPES[prop.type], value, current)
        return f"{prop.name} {current}"

    def _set_sys_prop(self, crate: Crate, name: int, value: int) -> str:
        prop = crate.property(_text(name))
        new = _property_value(prop, value)
        crate.put_property(prop.name, new)
        return f"{prop.name} {new}"

    def _get_exec_comm_list(self, crate: Crate, count: int, names: int) -> str:
        _write(USHORT, count, len(crate.commands))
        self._give(_joined(crate.commands), names)
        return ""

    def _exec_comm(self, crate: Crate, name: int) -> str:
        crate.execute(_text(name))
        return _text(name)

    def _get_bd_param_info(self, crate: Crate, slot: int, names: int) -> str:
        """The list ends with an empty name."""
        self._give(_fixed([*crate.board(slot).params, ""], PARAM_NAME), names)
        return f"{slot}"

    def _get_ch_param_info(self, crate: Crate, slot: int, channel: int, names: int, count: int) -> str:
        params = crate.channel(slot, channel).params
        self._give(_fixed(params, PARAM_NAME), names)
        _write(INT, count, len(params))
        return f"{slot}.{channel}"

    def _get_bd_param_prop(self, crate: Crate, slot: int, name: int, prop: int, value: int) -> str:
        _write_param_prop(crate.board(slot).param(_text(name)), _text(prop), value)
        return f"{slot} {_text(name)} {_text(prop)}"

    def _get_ch_param_prop(self, crate: Crate, slot: int, channel: int, name: int, prop: int, value: int) -> str:
        _write_param_prop(crate.channel(slot, channel).param(_text(name)), _text(prop), value)
        return f"{slot}.{channel} {_text(name)} {_text(prop)}"

    def _get_bd_param(self, crate: Crate, count: int, slots: int, name: int, values: int) -> str:
        numbers = _list(slots, count)
        return f"{numbers} {_get(crate, [crate.board(slot) for slot in numbers], _text(name), values)}"

    def _set_bd_param(self, crate: Crate, count: int, slots: int, name: int, value: int) -> str:
        numbers = _list(slots, count)
        return f"{numbers} {_set(crate, [crate.board(slot) for slot in numbers], _text(name), value)}"

    def _get_ch_param(self, crate: Crate, slot: int, name: int, count: int, channels: int, values: int) -> str:
        numbers = _list(channels, count)
        return f"{slot} {numbers} {_get(crate, [crate.channel(slot, c) for c in numbers], _text(name), values)}"

    def _set_ch_param(self, crate: Crate, slot: int, name: int, count: int, channels: int, value: int) -> str:
        numbers = _list(channels, count)
        return f"{slot} {numbers} {_set(crate, [crate.channel(slot, c) for c in numbers], _text(name), value)}"

    def _get_ch_name(self, crate: Crate, slot: int, count: int, channels: int, names: int) -> str:
        numbers = _list(channels, count)
        data = _fixed((crate.channel(slot, channel).name for channel in numbers), CHANNEL_NAME)
        ct.memmove(names, data, len(data))
        return f"{slot} {numbers}"

    def _set_ch_name(self, crate: Crate, slot: int, count: int, channels: int, name: int) -> str:
        numbers = _list(channels, count)
        for channel in numbers:
            crate.channel(slot, channel).name = _text(name)[: CHANNEL_NAME - 1]
        return f"{slot} {numbers} {_text(name)}"


_PROPERTY_TYPES: dict[PropertyType, Any] = {
    PropertyType.REAL: ct.c_float,
    PropertyType.UINT2: ct.c_uint16,
    PropertyType.UINT4: ct.c_uint32,
    PropertyType.INT2: ct.c_int16,
    PropertyType.INT4: ct.c_int32,
    PropertyType.BOOLEAN: ct.c_uint,
}


def _function(name: str, result: Any, arguments: tuple[Any, ...], body: Callable[..., int]) -> tuple[str, Any]:
    """A C function that runs the body. It has the attributes that ctypes gives to a function of a library."""

    def guarded(*values: Any) -> int:
        try:
            return body(*values)
        except Exception:
            logging.getLogger(__name__).exception("the fake %s failed", name)
            return Code.SYSERR

    function: Any = ct.CFUNCTYPE(result, *arguments)(guarded)
    function.__name__ = name
    return name, function


def _text(address: int) -> str:
    return ct.string_at(address).decode("ascii")


def _write(kind: Any, address: int, value: Any) -> None:
    kind.from_address(address).value = value


def _write_text(address: int, text: str) -> None:
    data = text.encode("ascii") + b"\0"
    ct.memmove(address, data, len(data))


def _list(address: int, count: int) -> list[int]:
    return list((USHORT * count).from_address(address))


def _joined(texts: Iterable[str]) -> bytes:
    """Texts one behind the other, each with its NUL."""
    return b"".join(text.encode("ascii") + b"\0" for text in texts)


def _fixed(texts: Iterable[str], size: int) -> bytes:
    """Texts in fields of one size, NULs behind."""
    return b"".join(text.encode("ascii")[: size - 1].ljust(size, b"\0") for text in texts)


def _property_value(prop: Property, address: int) -> Value:
    if prop.type is PropertyType.STR:
        return _text(address)
    value: Value = _PROPERTY_TYPES[prop.type].from_address(address).value
    return value


def _get(crate: Crate, nodes: Sequence[Node], name: str, address: int) -> str:
    """Write one parameter of several nodes into the caller's array, in the type of the first."""
    values = [crate.get(node, name) for node in nodes]
    kind = nodes[0].param(name).type
    if kind is Type.STRING:
        data = _joined(map(str, values))
    elif kind is Type.NUMERIC:
        data = bytes((ct.c_float * len(values))(*map(float, values)))
    else:
        data = bytes((INT * len(values))(*map(int, values)))
    ct.memmove(address, data, len(data))
    return f"{name} {' '.join(f'{value:g}' if kind is Type.NUMERIC else str(value) for value in values)}"


def _set(crate: Crate, nodes: Sequence[Node], name: str, address: int) -> str:
    """Set all nodes to the first value of the caller's array, as an SY4527 does."""
    value: Value = 0
    match nodes[0].param(name).type:
        case Type.STRING:
            value = _text(address)
        case Type.NUMERIC:
            value = ct.c_float.from_address(address).value
        case Type.CMD:
            pass  # has no value
        case _:
            value = INT.from_address(address).value
    crate.put(nodes, name, value)
    return f"{name} {value}"


def _write_param_prop(param: Param, prop: str, address: int) -> None:
    """Write one property of a parameter, if parameters of its type have it."""
    if prop in ("Type", "Mode"):
        _write(UINT, address, getattr(param, prop.lower()))
    elif param.type in (Type.NUMERIC, Type.ENUM) and prop in ("Minval", "Maxval"):
        _write(ct.c_float, address, getattr(param, prop.lower()))
    elif param.type is Type.NUMERIC and prop in ("Unit", "Exp", "Decimal"):
        _write(SHORT, address, getattr(param, prop.lower()))
    elif param.type is Type.ONOFF and prop in ("Onstate", "Offstate"):
        _write_text(address, getattr(param, prop.lower()))
    elif param.type is Type.ENUM and prop == "Enum":
        data = _fixed(param.enum, ENUM_NAME)
        ct.memmove(address, data, len(data))
    else:
        raise CrateError(Code.PARAMPROPNOTFOUND)


LIBRARY = Library()
