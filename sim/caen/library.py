"""The C library ``libcaenhvwrapper.so`` in Python: callbacks that read and write the caller's memory.

``LIBRARY`` takes the place of the object that ``ctypes.cdll.LoadLibrary`` returns. There is one for the life of the
process, because a binding looks its functions up when it is imported and keeps them.

Source: CAENHVWrapper.h and the manual of the library.
"""

from __future__ import annotations

import ctypes as ct
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sim.caen.crate import Crate
from sim.caen.faults import describe
from sim.caen.functions import CALLS, EVENT_CALLS, c_function
from sim.caen.header import LINKS, SYSTEMS, Code, PropertyType, Type
from sim.caen.login import GarbledAnswer, Host, Login
from sim.caen.memory import (
    INT,
    PROPERTY_TYPES,
    PTR,
    UINT,
    USHORT,
    fixed,
    joined,
    read_list,
    read_property,
    read_text,
    read_value,
    write,
    write_param_prop,
    write_text,
    write_values,
)
from sim.caen.parameters import CrateError, Node

NAME = "libcaenhvwrapper.so"
# From 7.0.0 on, serial numbers have 32 bits
VERSION = b"7.1.0"
# A result code that the header does not have
GARBAGE = 0x5A5A
NO_HANDLE = -1
# Bytes of names, with the NUL
PARAM_NAME = 10
CHANNEL_NAME = 12

_libc = ct.CDLL(None)
_libc.malloc.restype = PTR
_libc.malloc.argtypes = (ct.c_size_t,)
_libc.free.argtypes = (PTR,)


class Library:
    """The C library: the crates that it can reach, its open handles, and its functions by name."""

    def __init__(self) -> None:
        self.crates: dict[str, Host] = {}
        self.blocks: set[int] = set()  # addresses of memory that the caller has not freed yet
        self._logins: dict[int, Login] = {}
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
        yield c_function("CAENHVLibSwRel", PTR, (), lambda: ct.addressof(self._version))
        yield c_function("CAENHV_GetError", PTR, (INT,), self._get_error)
        yield c_function("CAENHV_Free", INT, (PTR,), self._free)
        yield c_function("CAENHV_FreeEventData", INT, (PTR,), lambda _: Code.OK)
        yield c_function("CAENHV_GetEventData", INT, (INT, PTR, PTR, PTR), lambda *_: Code.NOTYETIMPLEMENTED)
        yield c_function("CAENHV_InitSystem", INT, (INT, INT, PTR, PTR, PTR, PTR), self._init_system)
        yield c_function("CAENHV_DeinitSystem", INT, (INT,), self._deinit_system)
        for name, arguments in EVENT_CALLS.items():
            for verb in ("Subscribe", "UnSubscribe"):
                yield c_function(f"CAENHV_{verb}{name}", INT, (INT, *arguments), lambda *_: Code.NOTYETIMPLEMENTED)
        for name, arguments in CALLS.items():
            method = getattr(self, re.sub("([A-Z])", r"_\1", name).lower())
            yield c_function(f"CAENHV_{name}", INT, (INT, *arguments), self._call(name, method))

    def _call(self, name: str, method: Callable[..., str]) -> Callable[..., int]:
        """Return a function of the library, which takes a handle and returns a result code."""

        def call(handle: int, *arguments: int) -> int:
            login = self._logins.get(handle)
            if login is None:
                return Code.NOTCONNECTED
            what, code = "", int(Code.OK)
            try:
                place = describe(name, arguments)
                if (hit := login.host.hit(place)) is not None:
                    login.error = hit
                    return hit
                with login.host.call(login, writes=name.startswith(("Set", "Exec"))) as crate:
                    what = method(crate, *arguments)
                if (hit := login.host.hit_late(place)) is not None:
                    code = login.error = hit
            except CrateError as error:
                code = login.error = error.code
            except GarbledAnswer:
                code = GARBAGE
            login.host.record(f"{name} {what} -> {code}")
            return code

        return call

    def _init_system(self, *arguments: int) -> int:
        system, link, host, username, password, handle = arguments
        write(INT, handle, NO_HANDLE)
        crate = self.crates.get(read_text(host))
        if crate is None:
            return Code.NOTCONNECTED
        try:
            login = crate.login(SYSTEMS[system], LINKS[link], read_text(username), read_text(password))
        except CrateError as error:
            return error.code
        self._logins[self._next_handle] = login
        write(INT, handle, self._next_handle)
        self._next_handle += 1
        return Code.OK

    def _deinit_system(self, handle: int) -> int:
        login = self._logins.pop(handle, None)
        if login is None:
            return Code.NOTCONNECTED
        try:
            login.host.logout(login)
        except CrateError as error:
            return error.code
        return Code.OK

    def _get_error(self, handle: int) -> int:
        login = self._logins.get(handle)
        code = login.error if login else Code.NOTCONNECTED
        return ct.addressof(self._texts[Code(code) if code in self._texts else Code.SYSERR])

    def _free(self, address: int | None) -> int:
        if address is not None:
            self.blocks.remove(address)
            _libc.free(address)
        return Code.OK

    def _allocate(self, data: bytes, pointer: int) -> None:
        """Copy data into new memory, which the caller must free, and write its address to ``pointer``."""
        address = _libc.malloc(max(1, len(data)))
        ct.memmove(address, data, len(data))
        self.blocks.add(address)
        write(PTR, pointer, address)

    def _get_crate_map(self, crate: Crate, *arguments: int) -> str:
        slots, channels, models, descriptions, serials, minors, majors = arguments
        boards = [crate.boards.get(slot) for slot in range(crate.slots)]
        write(USHORT, slots, crate.slots)
        self._allocate(bytes((USHORT * crate.slots)(*(len(b.channels) if b else 0 for b in boards))), channels)
        self._allocate(joined(b.model if b else "" for b in boards), models)
        self._allocate(joined(b.description if b else "" for b in boards), descriptions)
        self._allocate(bytes((UINT * crate.slots)(*(b.serial if b else 0 for b in boards))), serials)
        self._allocate(bytes(b.firmware[1] if b else 0 for b in boards), minors)
        self._allocate(bytes(b.firmware[0] if b else 0 for b in boards), majors)
        return ""

    def _test_bd_presence(self, crate: Crate, slot: int, *arguments: int) -> str:
        channels, model, description, serial, minor, major = arguments
        board = crate.board(slot)
        write(USHORT, channels, len(board.channels))
        self._allocate(joined([board.model]), model)
        self._allocate(joined([board.description]), description)
        write(USHORT, serial, board.serial)
        write(ct.c_ubyte, minor, board.firmware[1])
        write(ct.c_ubyte, major, board.firmware[0])
        return f"{slot}"

    def _get_sys_prop_list(self, crate: Crate, count: int, names: int) -> str:
        write(USHORT, count, len(crate.properties))
        self._allocate(joined(crate.properties), names)
        return ""

    def _get_sys_prop_info(self, crate: Crate, name: int, mode: int, kind: int) -> str:
        prop = crate.property(read_text(name))
        write(UINT, mode, prop.mode)
        write(UINT, kind, prop.type)
        return prop.name

    def _get_sys_prop(self, crate: Crate, name: int, value: int) -> str:
        prop = crate.property(read_text(name))
        current = crate.get_property(prop.name)
        if prop.type is PropertyType.STR:
            write_text(value, str(current))
        else:
            write(PROPERTY_TYPES[prop.type], value, current)
        return f"{prop.name} {current}"

    def _set_sys_prop(self, crate: Crate, name: int, value: int) -> str:
        prop = crate.property(read_text(name))
        new = read_property(prop, value)
        crate.put_property(prop.name, new)
        return f"{prop.name} {new}"

    def _get_exec_comm_list(self, crate: Crate, count: int, names: int) -> str:
        write(USHORT, count, len(crate.commands))
        self._allocate(joined(crate.commands), names)
        return ""

    def _exec_comm(self, crate: Crate, name: int) -> str:
        crate.execute(read_text(name))
        return read_text(name)

    def _get_bd_param_info(self, crate: Crate, slot: int, names: int) -> str:
        """Write the names of a board's parameters; an empty name ends them, or noise."""
        board = crate.board(slot)
        self._allocate(fixed(board.params, PARAM_NAME) + board.noise + bytes(PARAM_NAME), names)
        return f"{slot}"

    def _get_ch_param_info(self, crate: Crate, slot: int, channel: int, names: int, count: int) -> str:
        params = crate.channel(slot, channel).params
        self._allocate(fixed(params, PARAM_NAME), names)
        write(INT, count, len(params))
        return f"{slot}.{channel}"

    def _get_bd_param_prop(self, crate: Crate, slot: int, name: int, prop: int, value: int) -> str:
        _write_param_prop(crate, crate.board(slot), read_text(name), read_text(prop), value)
        return f"{slot} {read_text(name)} {read_text(prop)}"

    def _get_ch_param_prop(self, crate: Crate, slot: int, channel: int, name: int, prop: int, value: int) -> str:
        _write_param_prop(crate, crate.channel(slot, channel), read_text(name), read_text(prop), value)
        return f"{slot}.{channel} {read_text(name)} {read_text(prop)}"

    def _get_bd_param(self, crate: Crate, count: int, slots: int, name: int, values: int) -> str:
        numbers = read_list(slots, count)
        return f"{numbers} {_get(crate, [crate.board(slot) for slot in numbers], read_text(name), values)}"

    def _set_bd_param(self, crate: Crate, count: int, slots: int, name: int, value: int) -> str:
        numbers = read_list(slots, count)
        return f"{numbers} {_set(crate, [crate.board(slot) for slot in numbers], read_text(name), value)}"

    def _get_ch_param(self, crate: Crate, slot: int, name: int, count: int, channels: int, values: int) -> str:
        numbers = read_list(channels, count)
        return f"{slot} {numbers} {_get(crate, [crate.channel(slot, c) for c in numbers], read_text(name), values)}"

    def _set_ch_param(self, crate: Crate, slot: int, name: int, count: int, channels: int, value: int) -> str:
        numbers = read_list(channels, count)
        return f"{slot} {numbers} {_set(crate, [crate.channel(slot, c) for c in numbers], read_text(name), value)}"

    def _get_ch_name(self, crate: Crate, slot: int, count: int, channels: int, names: int) -> str:
        numbers = read_list(channels, count)
        data = fixed((crate.channel(slot, channel).name for channel in numbers), CHANNEL_NAME)
        ct.memmove(names, data, len(data))
        return f"{slot} {numbers}"

    def _set_ch_name(self, crate: Crate, slot: int, count: int, channels: int, name: int) -> str:
        numbers = read_list(channels, count)
        for channel in numbers:
            crate.channel(slot, channel).name = read_text(name)[: CHANNEL_NAME - 1]
        return f"{slot} {numbers} {read_text(name)}"


def _write_param_prop(crate: Crate, node: Node, name: str, prop: str, address: int) -> None:
    param = node.param(name)
    if prop in crate.lacking:
        raise CrateError(Code.PARAMPROPNOTFOUND)
    write_param_prop(param, prop, address)


def _get(crate: Crate, nodes: Sequence[Node], name: str, address: int) -> str:
    """Write one parameter of several nodes into the caller's array, in the type of the first."""
    values = [crate.get(node, name) for node in nodes]
    kind = nodes[0].param(name).type
    write_values(kind, values, address)
    return f"{name} {' '.join(f'{value:g}' if kind is Type.NUMERIC else str(value) for value in values)}"


def _set(crate: Crate, nodes: Sequence[Node], name: str, address: int) -> str:
    """Set all nodes to the first value of the caller's array, as an SY4527 does."""
    value = read_value(nodes[0].param(name).type, address)
    crate.put(nodes, name, value)
    return f"{name} {value}"


LIBRARY = Library()


@contextmanager
def replaced(crates: Mapping[str, Host]) -> Iterator[None]:
    """Put the fake library in place of the real one in this process, with these crates by host name.

    Raises RuntimeError when the binding already runs on the real library.
    """
    _check_binding()
    loader: Any = ct.cdll
    load = loader.LoadLibrary
    LIBRARY.crates |= crates
    loader.LoadLibrary = lambda name: LIBRARY if name == NAME else load(name)
    try:
        yield
    finally:
        loader.LoadLibrary = load
        for host in crates:
            del LIBRARY.crates[host]


def _check_binding() -> None:
    """Raise RuntimeError if the binding was imported over the real library: it keeps that until the process ends."""
    binding = sys.modules.get("caen_libs.caenhvwrapper")
    if binding is not None and binding.lib.get("CAENHVLibSwRel") is not LIBRARY["CAENHVLibSwRel"]:
        raise RuntimeError("caen_libs already uses the real CAEN library in this process; start the simulation first")
