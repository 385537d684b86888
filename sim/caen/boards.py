"""The boards and system properties of two crates.

The demo crate has three boards that differ as much as real ones do; the large one is full of large boards.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

from sim.caen.channel import Channel, RangedChannel
from sim.caen.crate import Board, Crate
from sim.caen.header import Mode, PropertyType, Type, Unit, status_bits
from sim.caen.parameters import Param, Property

RDONLY, WRONLY, RDWR = Mode.RDONLY, Mode.WRONLY, Mode.RDWR


def _volts(name: str, top: float, decimal: int, default: float) -> Param:
    return Param(name=name, unit=Unit.VOLT, maxval=top, decimal=decimal, default=default)


def _monitor(param: Param) -> Param:
    return replace(param, mode=RDONLY)


def _amps(name: str, exp: int, top: float, decimal: int, default: float) -> Param:
    return Param(name=name, unit=Unit.AMPERE, exp=exp, maxval=top, decimal=decimal, default=default)


def _rate(name: str, default: float) -> Param:
    return Param(name=name, unit=Unit.VPS, minval=1, maxval=500, default=default)


def _onoff(name: str, on: str = "On", off: str = "Off", default: int = 0) -> Param:
    return Param(name=name, type=Type.ONOFF, onstate=on, offstate=off, default=default)


def _celsius(name: str, default: float) -> Param:
    return Param(name=name, mode=RDONLY, unit=Unit.CELSIUS, maxval=100, decimal=1, default=default)


_STATUS = Param(name="Status", type=Type.CHSTATUS, mode=RDONLY)
_POWER = (_onoff("Pw"), _onoff("POn", "Enabled", "Disabled"), _onoff("PDwn", "Ramp", "Kill"))
_TRIP = Param(name="Trip", unit=Unit.SECOND, maxval=1000, decimal=1, default=10.0)
_TRIP_LINES = (Param(name="TripInt", maxval=127), Param(name="TripExt", maxval=1023))
_BOARD_STATUS = Param(name="BdStatus", type=Type.BDSTATUS, mode=RDONLY)

DETECTOR = (
    _volts("V0Set", 3000, 1, 0),
    _amps("I0Set", -6, 500, 1, 200),
    _volts("V1Set", 3000, 1, 0),
    _amps("I1Set", -6, 500, 1, 200),
    _rate("RUp", 50),
    _rate("RDWn", 100),
    _TRIP,
    _volts("SVMax", 3000, 0, 2500),
    _monitor(_volts("VMon", 3000, 1, 0)),
    _monitor(_amps("IMon", -6, 500, 2, 0)),
    _STATUS,
    *_POWER,
    *_TRIP_LINES,
)

SILICON = (
    _volts("V0Set", 500, 3, 0),
    _amps("I0Set", -6, 1000, 2, 500),
    Param(name="IMRange", type=Type.ENUM, enum=("High", "Low"), maxval=1),
    _rate("RUp", 10),
    _rate("RDWn", 20),
    _TRIP,
    _volts("SVMax", 500, 0, 450),
    _monitor(_volts("VMon", 500, 3, 0)),
    _monitor(_amps("IMon", -6, 1000, 3, 0)),
    Param(name="Polarity", type=Type.STRING, mode=RDONLY, default="-"),
    _celsius("Temp", 31.0),
    _STATUS,
    *_POWER,
)

PRIMARY = (
    _volts("V0Set", 1200, 1, 1000),
    _monitor(_volts("VMon", 1200, 1, 0)),
    _rate("RUp", 100),
    _rate("RDWn", 100),
    Param(name="Alarms", type=Type.BINARY, mode=RDONLY),
    Param(name="ClrAlarm", type=Type.CMD, mode=WRONLY),
    _celsius("HsTemp", 38.0),
    _STATUS,
    _onoff("Pw", "On", "Off"),
)

DISTRIBUTED = (
    _volts("V0Set", 1000, 1, 0),
    _amps("I0Set", -3, 20, 3, 10),
    _monitor(_volts("VMon", 1000, 1, 0)),
    _monitor(_amps("IMon", -3, 20, 4, 0)),
    _rate("RUp", 50),
    _rate("RDWn", 50),
    _TRIP,
    Param(name="CtrlMask", type=Type.BINARY, default=5),
    Param(name="ZeroAdj", type=Type.CMD, mode=WRONLY),
    _STATUS,
    _onoff("Pw"),
)

PLAIN = (
    _volts("V0Set", 2000, 1, 0),
    _amps("I0Set", -6, 100, 2, 50),
    _monitor(_volts("VMon", 2000, 1, 0)),
    _monitor(_amps("IMon", -6, 100, 2, 0)),
    _STATUS,
    _onoff("Pw"),
)

DETECTOR_BOARD = (
    _BOARD_STATUS,
    _monitor(_volts("HVMax", 3000, 0, 2800)),
    _onoff("BdIlk", "Yes", "No"),
    _celsius("Temp", 29.5),
)
SILICON_BOARD = (_BOARD_STATUS, _monitor(_volts("HVMax", 500, 0, 480)), _celsius("Temp", 27.0))
DISTRIBUTOR_BOARD = (
    _BOARD_STATUS,
    _celsius("Temp1", 33.0),
    _celsius("Temp2", 34.5),
    Param(name="FanSpeed", maxval=6, default=3),
)

PLAIN_BOARD = (_BOARD_STATUS, _celsius("Temp", 31.0))

LARGE_SLOTS, LARGE_CHANNELS = 16, 48


def demo_crate(system: str) -> Crate:
    """Return a crate with 28 + 24 + 12 channels, most of them on and settled."""
    bits = status_bits(system)
    boards = {2: _detector_board(bits), 4: _silicon_board(bits), 8: _distributor_board(bits)}
    return _crate(system, boards)


def large_crate(system: str) -> Crate:
    """Return a crate with 16 boards of 48 channels, all of them on and settled."""
    bits = status_bits(system)
    return _crate(system, {slot: _plain_board(slot, bits) for slot in range(LARGE_SLOTS)})


def _crate(system: str, boards: Mapping[int, Board]) -> Crate:
    for slot, board in boards.items():
        for number, channel in enumerate(board.channels):
            channel.name = f"S{slot:02d}C{number:02d}"
            channel.noise = 1.0
    return Crate(system, boards, _properties(system))


def _detector_board(bits: Mapping[str, int]) -> Board:
    board = Board("A1833P", "28 Ch Pos. 3KV 500uA", 1042, DETECTOR_BOARD)
    draw = random.Random(2)
    for number in range(28):
        channel = Channel(DETECTOR, bits, seed=200 + number)
        channel.hvmax = 2800.0
        channel.values |= {"V0Set": float(draw.randrange(1200, 2000, 50)), "I0Set": 400.0, "POn": int(number < 4)}
        channel.resistance = float(channel.values["V0Set"]) / (draw.uniform(20, 250) * 1e-6)
        _settle(channel, on=number < 20)
        board.channels.append(channel)
    return board


def _silicon_board(bits: Mapping[str, int]) -> Board:
    board = Board("A1535DN", "24 Ch Neg. 500V 1mA", 70311, SILICON_BOARD)
    draw = random.Random(4)
    for number in range(24):
        channel = RangedChannel(SILICON, bits, seed=400 + number)
        channel.hvmax = 480.0
        channel.values |= {"V0Set": float(draw.randrange(100, 400, 10)), "Temp": 30 + draw.random()}
        channel.resistance = draw.uniform(2e6, 2e7)
        _settle(channel, on=number < 12)
        board.channels.append(channel)
    return board


def _distributor_board(bits: Mapping[str, int]) -> Board:
    """Return a board whose channel 0 is the supply that feeds all others."""
    board = Board("A1737", "1+11 Ch Distributor", 512, DISTRIBUTOR_BOARD)
    board.channels.append(Channel(PRIMARY, bits, seed=800))
    for number in range(1, 12):
        channel = Channel(DISTRIBUTED, bits, seed=800 + number)
        channel.values["V0Set"] = 400.0 + 10 * number
        channel.resistance = 2e5
        board.channels.append(channel)
    for number, channel in enumerate(board.channels):
        _settle(channel, on=number < 8)
    return board


def _plain_board(slot: int, bits: Mapping[str, int]) -> Board:
    board = Board("SIM48", "48 Ch Sim. 2KV 100uA", 4800 + slot, PLAIN_BOARD)
    draw = random.Random(slot)
    for number in range(LARGE_CHANNELS):
        channel = Channel(PLAIN, bits, seed=1000 * slot + number)
        channel.values["V0Set"] = float(draw.randrange(1000, 1800, 10))
        channel.resistance = float(channel.values["V0Set"]) / (draw.uniform(5, 30) * 1e-6)
        _settle(channel, on=True)
        board.channels.append(channel)
    return board


def spare_board(slot: int, system: str) -> Board:
    """Return a board of another model than those of the demo crate, all of its channels off."""
    board = Board("SIM4", "4 Ch Sim. 2KV 100uA", 400 + slot, PLAIN_BOARD)
    board.channels += [Channel(PLAIN, status_bits(system), seed=400 + number) for number in range(4)]
    return board


def _settle(channel: Channel, *, on: bool) -> None:
    """Bring a channel to where it is long after it was switched on or off."""
    channel.on = on
    channel.volts = channel.target


def _properties(system: str) -> list[Property]:
    kind = PropertyType
    return [
        Property("ModelName", kind.STR, RDONLY, system),
        Property("SwRelease", kind.STR, RDONLY, "1.6.12"),
        Property("Sessions", kind.STR, RDONLY, ""),
        Property("SymbolicName", kind.STR, RDWR, "demo"),
        Property("IPAddr", kind.STR, RDWR, "192.0.2.51"),
        Property("IPNetMsk", kind.STR, RDWR, "255.255.255.0"),
        Property("IPGw", kind.STR, RDWR, "192.0.2.1"),
        Property("HvPwSM", kind.STR, RDONLY, "1:1:0:0"),
        Property("HVFanStat", kind.STR, RDONLY, "1:1200:1:1190"),
        Property("FrontPanIn", kind.UINT2, RDONLY, 0),
        Property("FrontPanOut", kind.UINT2, RDONLY, 4),
        Property("GenSignCfg", kind.UINT2, RDWR, 0),
        Property("ResFlagCfg", kind.UINT2, RDWR, 0),
        Property("ClkFreq", kind.INT2, RDONLY, 200),
        Property("UpTime", kind.UINT4, RDONLY, 0),
        Property("TimeZone", kind.INT4, RDWR, 3600),
        Property("CPULoad", kind.REAL, RDONLY, 12.5),
        Property("Interlock", kind.BOOLEAN, RDONLY, 0),
        Property("OutputLevel", kind.BOOLEAN, RDWR, 1),
        Property("PWCurrent", kind.REAL, RDONLY, None),
        Property("Message", kind.STR, WRONLY, ""),
    ]
