"""Questions to a crate about what it has. What cannot be asked is logged and left out; the rest is served."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from drivers.base import BadReply
from drivers.caen.bits import board_bits, channel_bits
from drivers.caen.formats import Text, clean, parameter_format, property_format
from drivers.caen.items import BoardParameter, ChannelName, ChannelParameter, Command, Facts, Item, Property
from drivers.caen.session import Session, Unsupported

if TYPE_CHECKING:
    from caen_libs._caenhvwrappertypes import Board, ParamProp, SystemType

log = logging.getLogger(__name__)

# Characters: caen-libs reads 12 bytes a name, one of them the terminating zero
_NAME_SIZE = 11
_Args = ParamSpec("_Args")
_Result = TypeVar("_Result")


def crate_items(session: Session) -> Iterator[Item]:
    """Yield the crate's properties and commands as they are found. Raises LinkDown, NoReply."""
    for names in _tolerate(_property_names, session):
        for name in names:
            yield from _tolerate(_property, session, name)
    for names in _tolerate(_command_names, session):
        for name in names:
            yield Command(label=f"Cmd:{clean(name)}", name=name)


def board_items(
    session: Session, board: Board, channels: Sequence[int], in_full: Callable[[], bool]
) -> Iterator[tuple[Item, bool]]:
    """Yield a board's items and those of its channels as they are found, each after a few calls to the crate.

    Each channel is asked for its own list, for one board can have channels of several kinds. What its parameters
    are is asked, too, as long as ``in_full()``; after that it is assumed to be as with a channel of the same list.
    With each item comes whether the crate was asked about it.
    Raises BoardGone when the board is pulled meanwhile; LinkDown, NoReply.
    """
    slot = board.slot
    yield Facts(label=f"S{slot:02d}", slot=slot, board=board), True
    for names in _tolerate(parameter_names, session, slot, None):
        for name in names:
            for item in _tolerate(ask_parameter, session, slot, None, name):
                yield item, True
    kinds: dict[tuple[str, ...], list[Item]] = {}
    for channel in channels:
        for names in _tolerate(parameter_names, session, slot, channel):
            alike = kinds.get(tuple(names))
            if alike is None or in_full():
                alike = kinds[tuple(names)] = []
                for name in names:
                    for item in _tolerate(ask_parameter, session, slot, channel, name):
                        alike.append(item)
                        yield item, True
            else:
                yield from ((_of_channel(item, channel), False) for item in alike)
    for items in _tolerate(_channel_names, session, slot, channels):
        yield from ((item, True) for item in items)


def _of_channel(item: Item, channel: int) -> Item:
    """Return the same parameter of another channel."""
    assert item.slot is not None
    name = item.label.rsplit(":", 1)[1]
    return replace(item, channel=channel, label=f"{label_of(item.slot, channel)}:{name}")


def parameter_names(session: Session, slot: int, channel: int | None) -> Sequence[str]:
    """Return the names of the parameters of a channel, or (None) of the board. Raises DeviceError."""
    with session.asking(f"{label_of(slot, channel)}: list of parameters", slot) as device:
        names: Sequence[str]
        names = device.get_bd_param_info(slot) if channel is None else device.get_ch_param_info(slot, channel)
        return names


def ask_parameter(session: Session, slot: int, channel: int | None, name: str) -> Item:
    """Ask the crate what a parameter is; its limits and unit move with other settings. Raises DeviceError."""
    with session.asking(f"{label_of(slot, channel)}:{name}", slot) as device:
        if channel is None:
            prop = device.get_bd_param_prop(slot, name)
        else:
            prop = device.get_ch_param_prop(slot, channel, name)
        return _parameter(slot, channel, name, prop, device.system_type)


def label_of(slot: int, channel: int | None) -> str:
    """Return what the names of a channel's (None: a board's) points begin with."""
    return f"S{slot:02d}" if channel is None else f"S{slot:02d}:C{channel:02d}"


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


def _channel_names(session: Session, slot: int, channels: Sequence[int]) -> Sequence[Item]:
    """Return the names as items, also those that cannot be read now, unless the crate has no names at all."""
    try:
        with session.asking(f"{label_of(slot, None)}: names", slot) as device:
            device.get_ch_name(slot, channels)
    except Unsupported:
        raise
    except BadReply as error:
        log.warning("%s", error)
    return [
        ChannelName(
            label=f"{label_of(slot, channel)}:Name",
            slot=slot,
            channel=channel,
            name="Name",
            format=Text(_NAME_SIZE),
            writable=True,
        )
        for channel in channels
    ]


def _property_names(session: Session) -> Sequence[str]:
    with session.asking("list of system properties") as device:
        names: Sequence[str] = device.get_sys_prop_list()
        return names


def _property(session: Session, name: str) -> Item:
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


def _command_names(session: Session) -> Sequence[str]:
    with session.asking("list of commands") as device:
        names: Sequence[str] = device.get_exec_comm_list()
        return names


def _tolerate(ask: Callable[_Args, _Result], *args: _Args.args, **kwargs: _Args.kwargs) -> Iterator[_Result]:
    """Yield the result, or nothing when the crate has none."""
    try:
        result = ask(*args, **kwargs)
    except BadReply as error:
        log.warning("left out (no PVs are made of it): %s", error)
    else:
        yield result
