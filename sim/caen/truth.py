"""The true state of a crate in the words of its parameters, which an observer compares with what is shown of it."""

from __future__ import annotations

from collections.abc import Iterator

from sim.caen.channel import Channel
from sim.caen.crate import Crate
from sim.caen.header import Mode
from sim.events import Scalar


def truth(crate: Crate) -> dict[str, Scalar]:
    """Return slot and parameter, or slot, channel and parameter -> its value in its present unit, without noise."""
    return dict(_parameters(crate))


def _parameters(crate: Crate) -> Iterator[tuple[str, Scalar]]:
    for slot, board in crate.boards.items():
        yield f"S{slot:02d}:Model", board.model
        for name, param in board.params.items():
            if param.mode is not Mode.WRONLY:
                yield f"S{slot:02d}:{name}", board.values[name]
        for number, channel in enumerate(board.channels):
            place = f"S{slot:02d}:C{number:02d}"
            for name, param in channel.params.items():
                if param.mode is not Mode.WRONLY:
                    yield f"{place}:{name}", _value(channel, name)


def _value(channel: Channel, name: str) -> Scalar:
    match name:
        case "VMon":
            return channel.volts + channel.offset
        case "IMon":
            return channel.amps * 10.0 ** -channel.param(name).exp
    return channel.get(name)
