"""The things in a crate that have points: parameters, channel names, board facts, system properties, commands."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drivers.base import Point, Reading, RecordType, Refused, Severity, Value
from drivers.caen.bits import UNPLUGGED, meaningless, severity_of, text_of, words_of
from drivers.caen.formats import CA_TEXT, Choice, Format, Number, Raw, Switch
from drivers.caen.replies import channel_names, has_functions
from drivers.caen.roles import is_kill, is_range, is_switch, note, off_state

if TYPE_CHECKING:
    from caen_libs._caenhvwrappertypes import Board
    from caen_libs.caenhvwrapper import Device

# The scan groups
MONITOR, SETTINGS = "monitor", "settings"

_COMMAND_WORDS = ("Idle", "Execute")


@dataclass(frozen=True, kw_only=True, slots=True)
class Item(ABC):
    """One thing that a crate has.

    label          the name of its point, or what the names of its points begin with
    slot, channel  whose it is (None: the board's, the crate's)
    board          that was in the slot, once it is served: another one may come
    """

    label: str
    slot: int | None = None
    channel: int | None = None
    board: Board | None = None

    @property
    def switch(self) -> bool:
        """Return True for what switches a channel on and off."""
        return False

    @abstractmethod
    def points(self, title: str) -> Iterator[Point]:
        """Yield its points; ``title`` is what their descriptions begin with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Variable(Item):
    """An item with a value; ``name`` is the crate's own word for it."""

    name: str
    format: Format
    readable: bool = True
    writable: bool = False

    @property
    def group(self) -> str:
        """Return the scan group that reads it.

        A switch moves by itself: by a trip, an interlock, a kill, at the front panel, when the power comes back.
        """
        return MONITOR if self.status or self.switch or not self.writable else SETTINGS

    @property
    def readback(self) -> str:
        """Return the name of the point that shows the value."""
        return f"{self.label}_RBV" if self.writable else self.label

    @property
    def shown(self) -> tuple[str, ...]:
        """Return the names of all points that show the value or a bit of it."""
        return (self.readback, *(f"{self.label}:{name}" for _, name in self.format.bits))

    @property
    def status(self) -> bool:
        """Return True for a word of status bits."""
        return bool(self.format.bits)

    @property
    def switch(self) -> bool:
        """Return True for what switches a channel on and off."""
        return isinstance(self.format, Choice) and is_switch(self.name)

    @property
    def safe(self) -> int | None:
        """Return the value that makes things safe: a switch's word for off, a kill that can only be written."""
        if not isinstance(self.format, Choice) or not self.writable:
            return None
        if is_kill(self.name) and not self.readable:
            return 1
        if not self.switch:
            return None
        zero = -self.format.first  # where no word tells it: the crate's 0 is off in all manuals
        off = off_state(self.format.words)
        return off if off is not None else zero if 0 <= zero < len(self.format.words) else None

    @property
    def volatile(self) -> bool:
        """Return True for what may move when another setting of the same channel or board moves."""
        return self.writable or isinstance(self.format, Number)

    @property
    def current(self) -> bool:
        """Return True for a current of a channel or board, whose unit goes with its range."""
        return isinstance(self.format, Number) and self.format.current and self.slot is not None

    @property
    def range(self) -> bool:
        """Return True for what may choose a range of currents: by its name, or as one of some words (ENUM)."""
        if self.slot is None or not isinstance(self.format, Choice):
            return False
        return is_range(self.name) or (self.writable and not self.switch and not isinstance(self.format, Switch))

    @property
    def family(self) -> Hashable:
        """Return what is equal for things that one call can read: the same parameter of one type on one board."""
        return type(self), self.slot, self.group, self.name, type(self.format)

    def points(self, title: str) -> Iterator[Point]:
        """Yield the setting, the readback and a point for each bit."""
        desc = describe(title, self.name + note(self.name))
        fields = self.format.fields()
        if self.writable:
            yield Point(
                name=self.label,
                rtyp=self.format.output,
                addr=self,
                follows=self.readback if self.readable else None,
                safe=self.safe,
                desc=desc,
                **{**fields, **self.format.limits()},
            )
        if self.readable:
            yield Point(
                name=self.readback,
                rtyp=self.format.input,
                addr=self,
                group=self.group,
                desc=desc,
                **fields,
            )
            yield from self._bit_points(title)

    def _bit_points(self, title: str) -> Iterator[Point]:
        for _, bit in self.format.bits:
            yield Point(
                name=f"{self.label}:{bit}",
                rtyp=RecordType.bi,
                addr=self,
                group=self.group,
                desc=describe(title, text_of(bit)),
                states=words_of(bit),
                severities=(Severity.NO_ALARM, severity_of(bit)),
            )

    def readings(self, raw: Any) -> dict[str, Value | Reading]:
        """Return what the crate said as readings of its points."""
        values: dict[str, Value | Reading] = {self.readback: self.format.reading(raw)}
        for bit, name in self.format.bits:
            values[f"{self.label}:{name}"] = int(raw) >> bit & 1
        for name in self._meaningless(raw):
            values[f"{self.label}:{name}"] = Reading(1, limits=False)
        return values

    def _meaningless(self, raw: Any) -> set[str]:
        """Return the bits that are set and mean nothing now, such as UNV while a channel ramps."""
        names = [name for bit, name in self.format.bits if int(raw) >> bit & 1]
        return meaningless(names, [name for _, name in self.format.bits]) if names else set()

    def unplugged(self, raw: Any) -> bool:
        """Return True if a status word says that there is nothing behind the channel."""
        return any(name == UNPLUGGED and int(raw) >> bit & 1 for bit, name in self.format.bits)

    @property
    @abstractmethod
    def index(self) -> int:
        """Return its number in the list that one call reads."""

    @abstractmethod
    def fetch(self, device: Device, indexes: Sequence[int]) -> Sequence[Any]:
        """Read this of several channels (boards) in one call; the values are in the order of ``indexes``."""

    @abstractmethod
    def write(self, device: Device, raw: Raw) -> None:
        """Set this one, and nothing else."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelParameter(Variable):
    """A parameter of a channel."""

    slot: int
    channel: int

    @property
    def index(self) -> int:
        """Return the channel's number."""
        return self.channel

    def fetch(self, device: Device, indexes: Sequence[int]) -> Sequence[Any]:
        """Read the parameter of several channels."""
        return device.get_ch_param(self.slot, indexes, self.name)

    def write(self, device: Device, raw: Raw) -> None:
        """Set the parameter of this channel. Raises Refused for a text."""
        if isinstance(raw, str):  # up to 3.3 at least set_ch_param fails on text
            raise Refused(f"{self.label}: not sent, caen-libs cannot set a channel's parameter to a text")
        if self.safe is not None and has_functions():
            device.set_switch(self.slot, self.channel, self.name, int(raw))  # type: ignore[attr-defined]
        else:
            device.set_ch_param(self.slot, [self.channel], self.name, raw)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelName(Variable):
    """The name of a channel, which is not a parameter."""

    slot: int
    channel: int

    @property
    def volatile(self) -> bool:
        """Return False: a name does not move by itself."""
        return False

    @property
    def index(self) -> int:
        """Return the channel's number."""
        return self.channel

    def fetch(self, device: Device, indexes: Sequence[int]) -> Sequence[Any]:
        """Read the names of several channels."""
        return channel_names(device, self.slot, indexes)

    def write(self, device: Device, raw: Raw) -> None:
        """Set the name of this channel."""
        device.set_ch_name(self.slot, [self.channel], str(raw))


@dataclass(frozen=True, kw_only=True, slots=True)
class BoardParameter(Variable):
    """A parameter of a board."""

    slot: int

    @property
    def index(self) -> int:
        """Return the board's slot."""
        return self.slot

    def fetch(self, device: Device, indexes: Sequence[int]) -> Sequence[Any]:
        """Read the parameter of several boards."""
        return device.get_bd_param(indexes, self.name)

    def write(self, device: Device, raw: Raw) -> None:
        """Set the parameter of this board."""
        device.set_bd_param([self.slot], self.name, raw)


@dataclass(frozen=True, kw_only=True, slots=True)
class Property(Variable):
    """A property of the crate."""

    @property
    def group(self) -> str:
        """Return the slow group, also for what cannot be set."""
        return SETTINGS

    @property
    def index(self) -> int:
        """Return 0: one call reads one property."""
        return 0

    def fetch(self, device: Device, indexes: Sequence[int]) -> Sequence[Any]:
        """Read the property."""
        return [device.get_sys_prop(self.name)]

    def write(self, device: Device, raw: Raw) -> None:
        """Set the property."""
        device.set_sys_prop(self.name, raw)


@dataclass(frozen=True, kw_only=True, slots=True)
class Command(Item):
    """Something that a put of 1 executes: a command of the crate, or a parameter of type CMD."""

    name: str

    def points(self, title: str) -> Iterator[Point]:
        """Yield the one point."""
        desc = describe(title, self.name if self.slot is not None else f"{self.name}: acts on the whole crate")
        yield Point(
            name=self.label, rtyp=RecordType.bo, command=True, addr=self, desc=desc, states=_COMMAND_WORDS,
            safe=1 if is_kill(self.name) else None,
        )  # fmt: skip

    def execute(self, device: Device) -> None:
        """Execute it, once."""
        if self.slot is None:
            device.exec_comm(self.name)
        elif self.channel is None:
            device.set_bd_param([self.slot], self.name, None)
        else:
            device.set_ch_param(self.slot, [self.channel], self.name, None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts(Item):
    """What the crate map says of a board."""

    slot: int
    board: Board

    def points(self, title: str) -> Iterator[Point]:
        """Yield a point for each fact."""
        for name, value in self.readings().items():
            rtyp = RecordType.longin if isinstance(value, int) else RecordType.stringin
            desc = describe(title, name.rpartition(":")[2].lower())
            yield Point(name=name, rtyp=rtyp, addr=self, group=SETTINGS, desc=desc)

    def readings(self) -> dict[str, Value | Reading]:
        """Return the readings; the serial number is text, for it may pass 2**31 and nobody computes with it."""
        board = self.board
        return {
            f"{self.label}:Model": board.model[:CA_TEXT],
            f"{self.label}:Description": board.description[:CA_TEXT],
            f"{self.label}:Serial": str(board.serial_number),
            f"{self.label}:Firmware": str(board.fw_version),
            f"{self.label}:Channels": board.n_channel,
        }


def summary(names: Container[str], title: str, members: Iterable[str]) -> Point:
    """Return the point with the worst alarm of a board, or (without title) of the crate.

    ``names`` are those of the other points: some units have a parameter "Alarm". ``members``: what the names of the
    points begin with whose alarms count.
    """
    begin = f"{title}:" if title else ""
    return Point(
        name=f"{begin}Alarm" if f"{begin}Alarm" not in names else f"{begin}AlarmState",
        rtyp=RecordType.mbbi,
        worst_of=tuple(members),
        desc=describe(title, "worst alarm of all channels"),
        states=tuple(severity.name for severity in Severity),
        severities=tuple(Severity),
    )


def describe(title: str, text: str) -> str:
    """Return a DESC: 40 printable characters."""
    printable = "".join(filter(str.isprintable, f"{title} {text}".strip()))[:40]
    return printable.encode("ascii", "replace").decode()
