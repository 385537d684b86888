"""Replies that caen-libs cannot decode, read once more through the functions of CAEN's library that it offers.

caen-libs decodes text as ASCII: one other byte, in a board's description or in the name of one parameter, fails the
whole list. Here such a byte is shown as "?", and stays as it is in the name by which the crate knows a parameter.
Only what ``caen_libs.caenhvwrapper`` has without underscore is used: ``lib``, its functions, and ``Device.handle``.
"""

from __future__ import annotations

import ctypes as ct
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from caen_libs._caenhvwrappertypes import Board
    from caen_libs.caenhvwrapper import Device

_Args = ParamSpec("_Args")
_Result = TypeVar("_Result")

# Bytes of the names of parameters and channels with the NUL (CAENHVWrapper.h: MAX_PARAM_NAME, MAX_CH_NAME)
_PARAM_NAME, _CHANNEL_NAME = 10, 12
# More parameters no board has: the end of a list without a count may be noise
_MOST_PARAMETERS = 128


class CrateName(str):
    """A name with other characters than ASCII: one for each byte, so that the crate gets its own bytes back."""

    __slots__ = ()

    def encode(self, encoding: str = "ascii", errors: str = "strict") -> bytes:
        """Return the bytes that the crate sent."""
        return super().encode("latin-1")


def has_functions() -> bool:
    """Return True if this caen-libs offers the functions of the library: ``lib`` is public, but in no manual."""
    from caen_libs import caenhvwrapper  # noqa: PLC0415  loads CAEN's C library

    return hasattr(caenhvwrapper, "lib")


def shown(raw: bytes) -> str:
    """Return text to be shown: what is not ASCII becomes "?"."""
    return raw.decode("ascii", "replace").replace("\ufffd", "?")


def crate_map(device: Device) -> Sequence[Board | None]:
    """Return the boards by slot."""
    boards: Sequence[Board | None] = _decoded(device.get_crate_map, _crate_map, device)
    return boards


def board_in(device: Device, slot: int) -> Board:
    """Return the board that answers in a slot."""
    return _decoded(lambda: device.test_bd_presence(slot), _board_in, device, slot)


def parameter_names(device: Device, slot: int, channel: int | None) -> Sequence[str]:
    """Return the names of the parameters of a channel, or (None) of the board, without empty ones."""
    names: Sequence[str]
    if channel is None:
        names = _decoded(lambda: device.get_bd_param_info(slot), _board_parameters, device, slot)
    else:
        ask = device.get_ch_param_info
        names = _decoded(lambda: ask(slot, channel), _channel_parameters, device, slot, channel)
    return [name for name in names if name]


def channel_names(device: Device, slot: int, channels: Sequence[int]) -> Sequence[str]:
    """Return the names of channels."""
    names: Sequence[str] = _decoded(
        lambda: device.get_ch_name(slot, channels), _channel_names, device, slot, channels
    )
    return names


def property_names(device: Device) -> Sequence[str]:
    """Return the names of the system properties."""
    names: Sequence[str] = _decoded(device.get_sys_prop_list, _counted_names, device, "get_sys_prop_list")
    return names


def command_names(device: Device) -> Sequence[str]:
    """Return the names of the commands."""
    names: Sequence[str] = _decoded(device.get_exec_comm_list, _counted_names, device, "get_exec_comm_list")
    return names


def _decoded(
    ask: Callable[[], _Result], again: Callable[_Args, _Result], *args: _Args.args, **kwargs: _Args.kwargs
) -> _Result:
    """Return what caen-libs made of the reply, or, where it could not, what ``again`` makes of another one."""
    try:
        return ask()
    except ValueError:
        if not has_functions():
            raise
        return again(*args, **kwargs)


def _library() -> Any:
    from caen_libs.caenhvwrapper import lib  # noqa: PLC0415  open_device has imported it before

    return lib


def _name(raw: bytes) -> str:
    return raw.decode() if raw.isascii() else CrateName(raw.decode("latin-1"))


def _strings(address: int, count: int) -> Iterator[bytes]:
    """Yield texts that lie one behind the other, each with its NUL."""
    for _ in range(count):
        raw = ct.string_at(address)
        address += len(raw) + 1
        yield raw


def _fields(address: int, size: int) -> Iterator[bytes]:
    """Yield the texts of fields of ``size`` bytes, without end."""
    while True:
        yield ct.string_at(address, size).split(b"\0")[0]
        address += size


def _address(pointer: Any) -> int:
    return ct.addressof(pointer.contents)


def _crate_map(device: Device) -> Sequence[Board | None]:
    from caen_libs.caenhvwrapper import Board, FwVersion  # type: ignore[attr-defined]  # noqa: PLC0415

    lib = _library()
    slots = ct.c_ushort()
    serial = ct.c_uint if lib.support_32bit_pid() else ct.c_ushort
    with (
        lib.auto_ptr(ct.c_ushort) as channels,
        lib.auto_ptr(ct.c_char) as models,
        lib.auto_ptr(ct.c_char) as descriptions,
        lib.auto_ptr(serial) as serials,
        lib.auto_ptr(ct.c_ubyte) as minors,
        lib.auto_ptr(ct.c_ubyte) as majors,
    ):
        lib.get_crate_map(device.handle, slots, channels, models, descriptions, serials, minors, majors)
        count = slots.value
        texts = zip(_strings(_address(models), count), _strings(_address(descriptions), count), strict=True)
        return tuple(
            Board(
                slot, shown(model), shown(text), serials[slot], channels[slot], FwVersion(majors[slot], minors[slot])
            )
            if channels[slot]
            else None
            for slot, (model, text) in enumerate(texts)
        )


def _board_in(device: Device, slot: int) -> Board:
    from caen_libs.caenhvwrapper import Board, FwVersion  # type: ignore[attr-defined]  # noqa: PLC0415

    lib = _library()
    channels, serial, minor, major = ct.c_ushort(), ct.c_ushort(), ct.c_ubyte(), ct.c_ubyte()
    with lib.auto_ptr(ct.c_char) as model, lib.auto_ptr(ct.c_char) as text:
        lib.test_bd_presence(device.handle, slot, channels, model, text, serial, minor, major)
        (name,), (description,) = _strings(_address(model), 1), _strings(_address(text), 1)
    firmware = FwVersion(major.value, minor.value)
    return Board(slot, shown(name), shown(description), serial.value, channels.value, firmware)


def _board_parameters(device: Device, slot: int) -> Sequence[str]:
    """Return the names before the empty one that ends them, or before what is no name: noise (SMARTHV)."""
    lib = _library()
    names: list[str] = []
    with lib.auto_ptr(ct.c_char) as fields:
        lib.get_bd_param_info(device.handle, slot, fields)
        for raw in _fields(_address(fields), _PARAM_NAME):
            if not _is_name(raw) or len(names) == _MOST_PARAMETERS:
                return names
            names.append(_name(raw))
    raise AssertionError("unreachable")


def _channel_parameters(device: Device, slot: int, channel: int) -> Sequence[str]:
    lib = _library()
    count = ct.c_int()
    with lib.auto_ptr(ct.c_char) as fields:
        lib.get_ch_param_info(device.handle, slot, channel, fields, count)
        raws = [raw for _, raw in zip(range(count.value), _fields(_address(fields), _PARAM_NAME), strict=False)]
        return [_name(raw) for raw in raws if _is_name(raw)]


def _is_name(raw: bytes) -> bool:
    return 0 < len(raw) < _PARAM_NAME and min(raw) > 0x20


def _channel_names(device: Device, slot: int, channels: Sequence[int]) -> Sequence[str]:
    # One more, for a library that ends the list with an empty name
    buffer = ct.create_string_buffer(_CHANNEL_NAME * (len(channels) + 1))
    numbers = (ct.c_ushort * len(channels))(*channels)
    _library().get_ch_name(device.handle, slot, len(channels), numbers, buffer)
    raws = _fields(ct.addressof(buffer), _CHANNEL_NAME)
    return [shown(raw) for _, raw in zip(channels, raws, strict=False)]


def _counted_names(device: Device, function: str) -> Sequence[str]:
    lib = _library()
    count = ct.c_ushort()
    with lib.auto_ptr(ct.c_char) as texts:
        getattr(lib, function)(device.handle, count, texts)
        return [_name(raw) for raw in _strings(_address(texts), count.value)] if count.value else []
