"""What can go wrong with each kind of instrument, and what clients put to it, in the words of its fake."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """A fault: the commands that begin it, those that end it, and how long it may last (s).

    noticed  seconds from its end in which the IOC may still find out about it, and not before: what is well until
             then need not stay so
    once     True for what is over by itself: it has no duration
    """

    title: str
    begin: tuple[str, ...]
    end: tuple[str, ...] = ()
    seconds: tuple[float, ...] = (0.3, 1.0, 3.0, 6.5)
    noticed: float = 0.0

    @property
    def once(self) -> bool:
        return not self.end


def _line(title: str, end: str, *seconds: float) -> Fault:
    return Fault(title, (title,), (end,), seconds or (0.3, 1.0, 3.0, 6.5))


def _once(title: str, *more: str) -> Fault:
    return Fault(title, (title, *more))


NONE = Fault("no fault", ())

# Seconds in which a crate's slots are all looked at once: with each scan of the settings
_SLOTS = 12.0

# A setpoint that is answered and not taken is not among them: the generator cannot be asked for its setpoints
TECHNIX = (
    NONE,
    _line("mute", "unmute", 0.3, 1.0, 3.0, 6.5, 12.0),
    _line("deaf", "deaf 0", 0.3, 1.0, 3.0, 6.5, 12.0),
    _line("rx-noise 0.02", "rx-noise 0", 1.0, 4.0),
    _line("rx-noise 0.3", "rx-noise 0", 2.0, 6.0),
    _line("rx-noise 0.7", "rx-noise 0", 2.0, 6.0),
    _line("late 0.2", "late 0", 2.0),
    _line("late 0.7", "late 0", 2.0, 6.0),
    _once("late 0.7 3"),
    _line("split 1 0.1", "split 0", 2.0),
    _line("split 1 0.6", "split 0", 2.0, 6.0),
    _once("garbage 1"),
    _once("garbage 4"),
    _line("garbage 1000", "garbage 0"),
    _once("drop-byte 1"),
    _once("drop-byte 5"),
    _once("wrong-echo 1"),
    _once("wrong-echo 4"),
    *(_once(f"lose {n}") for n in range(1, 7)),
    *(_once(f"miss {n}") for n in range(1, 7)),
    _once("drop-half"),
    _once("cut 0.05"),
    _once("cut 0.6"),
    _line("unplug", "plug", 0.3, 2.0, 6.5, 12.0),
    _once("strike"),
    Fault("interlock open", ("interlock open",), ("interlock close", "reset"), (0.5, 3.0)),
    Fault("fault", ("fault",), ("reset",), (0.5, 3.0)),
    _once("local"),
    _once("reset"),
    _once("local", "panel-on"),
    *(_once(f"ignore P6,0 {k}") for k in (1, 2, 3)),
    *(_once(f"ignore {command}") for command in ("P5,0", "P7,0", "P7,1", "P8,0", "P8,1")),
    _line("pairs lenient", "pairs strict", 3.0),
)

CAEN = (
    NONE,
    _line("mute", "unmute", 0.3, 2.0, 6.5),
    _line("unplug", "plug", 0.1, 2.0, 6.5),
    *(_once(f"garbage {n}") for n in (1, 2, 4)),
    *(_once(f"hang {seconds}") for seconds in (0.5, 2, 6)),
    _line("lag 0.5", "lag 0", 2.0),
    _line("delay 20", "delay 2", 4.0),
    _line("delay 50", "delay 2", 6.0),
    _line("late 0.3", "late 0", 3.0),
    Fault("pull 4", ("pull 4",), ("insert 4",), (0.5, 3.0, 8.0), noticed=_SLOTS),
    Fault("swap 4", ("swap 4",), ("swap 4",), (6.0,), noticed=_SLOTS),
    *(_once(f"trip 2 {channel}") for channel in (0, 1)),
    _once("trip 4 0"),
    Fault("overcurrent 2 0", ("overcurrent 2 0",), ("set boards.2.channels.0.resistance 1e8",), (3.0,)),
    _once("front 2 0 V0Set 77"),
    _once("front 2 0 Pw 0"),
    Fault("front 4 0 IMRange 1", ("front 4 0 IMRange 1",), ("front 4 0 IMRange 0",), (4.0,)),
    _line("no-decimal", "no-decimal 0", 3.0),
    _line("clip", "clip 0", 3.0),
    _line("idle 0.3", "idle 0", 3.0),
    _once("reboot 3"),
    _line("badchannel 2 1", "badchannel 2 1 0", 3.0),
)

SE521 = (
    NONE,
    _once("stale"),
    _once("half"),
    _line("mute", "unmute", 0.5, 3.0, 12.0),
    _once("garbage 2"),
    _line("late 0.7", "late 0", 3.0),
    _line("split 1", "split 0", 3.0),
    *(_line(f"open {n}", f"close {n}", 4.0) for n in (1, 4)),
    _line("unplug", "plug", 0.1, 3.0),
    Fault("power-loss", ("power-loss",), ("button",), (0.1, 3.0)),
)

FAULTS = {"technix": TECHNIX, "caen": CAEN, "se521": SE521}


@dataclass(frozen=True)
class Wish:
    """What a client may put: a point, the values to choose from, and how often, beside the others."""

    point: str
    values: tuple[float, ...]
    weight: int = 1


_CHANNELS = tuple(f"S{slot:02d}:C{channel:02d}" for slot, channel in ((2, 0), (2, 1), (4, 0), (8, 1)))

WISHES: dict[str, tuple[Wish, ...]] = {
    "technix": (
        Wish("HV", (0,), 8),
        Wish("HV", (1,), 5),
        Wish("VSet", (5, 12.5, 20, 31.7, 60), 5),
        Wish("VSet", (61, -1)),
        Wish("ISet", (3, 8)),
        Wish("Inhibit", (1,), 4),
        Wish("Inhibit", (0,), 2),
        Wish("Mode", (1,), 3),
        Wish("Mode", (0,), 2),
    ),
    "caen": (
        *(Wish(f"{channel}:Pw", (0,), 5) for channel in _CHANNELS),
        *(Wish(f"{channel}:Pw", (1,), 3) for channel in _CHANNELS),
        *(Wish(f"{channel}:V0Set", (50, 101.5, 240), 3) for channel in _CHANNELS),
        Wish("S02:C00:V0Set", (2990,), 2),
        Wish("S02:C00:I0Set", (100, 250), 2),
        Wish("S04:C00:I0Set", (100, 250), 2),
        Wish("Cmd:Kill", (1,), 2),
        Wish("Cmd:ClearAlarm", (1,), 2),
    ),
    "se521": (),
}

# Puts that bring an instrument to where most of its faults matter: point, value. Answers are waited for.
PREPARE: dict[str, tuple[tuple[str, float], ...]] = {
    "technix": (("Mode", 0), ("VSet", 25), ("Inhibit", 0)),
    "caen": (("Cmd:ClearAlarm", 1), *((f"{channel}:V0Set", 120) for channel in _CHANNELS)),
    "se521": (),
}
# What is put with the others in most cases
ENERGIZE: dict[str, tuple[tuple[str, float], ...]] = {
    "technix": (("HV", 1),),
    "caen": tuple((f"{channel}:Pw", 1) for channel in _CHANNELS),
    "se521": (),
}
# Commands that end whatever a case began
CURE: dict[str, tuple[str, ...]] = {
    "technix": (
        *(
            "unmute",
            "deaf 0",
            "rx-noise 0",
            "late 0",
            "split 0",
            "garbage 0",
            "drop-byte 0",
            "wrong-echo 0",
            "lose 0",
        ),
        *("miss 0", "drop-half 0", "plug", "interlock close", "pairs strict"),
        *(f"ignore {command} 0" for command in ("P5,0", "P6,0", "P7,0", "P7,1", "P8,0", "P8,1")),
    ),
    "caen": ("unmute", "plug", "garbage 0", "lag 0", "delay 2", "late 0", "no-decimal 0", "clip 0", "idle 0"),
    "se521": ("unmute", "garbage 0", "late 0", "split 0", "plug", "button"),
}
# Commands without which a case cannot begin
RESET = {"technix": ("reset",), "caen": (), "se521": ()}

# What is put in a matrix of all faults and all puts: of each kind one
MATRIX: dict[str, tuple[Wish, ...]] = {
    "technix": WISHES["technix"],
    "caen": (
        Wish("S02:C00:Pw", (0,)),
        Wish("S02:C00:Pw", (1,)),
        Wish("S04:C00:Pw", (0,)),
        Wish("S02:C00:V0Set", (101.5,)),
        Wish("S02:C00:V0Set", (2990,)),
        Wish("S04:C00:I0Set", (100,)),
        Wish("Cmd:Kill", (1,)),
    ),
    "se521": (),
}
