"""A CAEN crate whose calls take time, as a network and a mainframe make them: what is old, and for how long."""

from __future__ import annotations

import itertools
import json
import math
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer

from bench.rig import contest, servers, table
from bench.rig.client import DBR_CHAR, Circuit, collect, search
from bench.rig.crate import CONTROL, NAME, PREFIX
from bench.rig.servers import Failed
from bench.rig.table import Column, Figures, TableRow
from sim import control

# Seconds for the IOC to answer a search
START = 30.0
# Seconds after the start that are left out of the ages
BEGINNING = 20.0
# Seconds between two looks at the simulation's events, and at the list of PVs
LOOK = 0.5
# Puts of each kind, and the seconds that one may take
PUTS = 12
PUT_TIME = 30.0
# What a value may differ from the crate's: noise of the monitors (V, uA)
NOISE = 3.0
MONITORS = {"VMon", "IMon", "Status"}
COLUMNS = (
    Column("records", "PVs", 0),
    Column("call", "a full call, ms", 1),
    Column("pass", "all calls once, s", 2),
    Column("scan", "ScanTime, s", 2),
    Column("true", "served and true after, s", 1),
    Column("monitor", "oldest monitor value, s", 2),
    Column("setting", "oldest setting, s", 1),
    Column("put", "put to V0Set, s", 3),
    Column("worst_put", "worst, s", 3),
    Column("off", "put to Pw Off, s", 3),
    Column("worst_off", "worst, s", 3),
    Column("heard", "Off heard after, full calls", 1),
    Column("worst_heard", "worst, full calls", 1),
    Column("failed", "puts failed", 0),
    Column("cpu", "IOC, cores", 3),
)
GOAL = (
    "full rack at 5 ms served and true within 20 s; ages at most two periods (monitor 1 s, settings 10 s) or two "
    "durations of the scan; Off heard within 2 full calls' time"
)

_CALL = re.compile(r"(Get|Set)ChParam (\d+) \[([\d, ]*)\] (\w+)(?: (\S+))?.* -> 0$")


@dataclass(frozen=True)
class Case:
    """A crate: boards, channels of each, and the time of a call in ms, and for each channel in it."""

    boards: int
    channels: int
    ms: float
    ms_channel: float = 0.0

    @property
    def full_call(self) -> float:
        """Return the seconds of a call that reads all channels of a board."""
        return (self.ms + self.ms_channel * self.channels) / 1e3

    @property
    def title(self) -> str:
        """Return it in words."""
        more = f" + {self.ms_channel:g} ms a channel" if self.ms_channel else ""
        return f"{self.boards} x {self.channels} channels, {self.ms:g} ms a call{more}"


CASES = (
    *(Case(7, 12, ms) for ms in (5.0, 20.0, 50.0)),
    *(Case(16, 48, ms, 0.05) for ms in (5.0, 20.0)),
)


@dataclass
class Reads:
    """When the crate was asked what, from the simulation's events (monotonic s)."""

    path: str
    times: dict[str, list[float]] = field(default_factory=dict)  # slot, channel and parameter -> when it was read
    writes: list[tuple[float, str, str]] = field(default_factory=list)
    calls: set[tuple[str, str]] = field(default_factory=set)  # slot and parameter
    _next: int = 0

    def look(self) -> None:
        """Fetch the events that are new."""
        while True:
            page = json.loads(control.send(self.path, f"{NAME} events {self._next}"))
            if page["first"] != self._next:
                raise Failed("events of the simulation were lost")
            self._next = page["next"]
            for moment, what, value in page["events"]:
                if what == "wire" and (call := _CALL.match(value)):
                    self._add(moment, call)
            if not page["events"]:
                return

    def _add(self, moment: float, call: re.Match[str]) -> None:
        verb, slot, channels, name, value = call.groups()
        for channel in channels.split(", "):
            label = f"S{int(slot):02d}:C{int(channel):02d}:{name}"
            if verb == "Get":
                self.times.setdefault(label, []).append(moment)
            else:
                self.writes.append((moment, label, value))
        if verb == "Get":
            self.calls.add((slot, name))

    def heard(self, label: str, value: str, since: float) -> float:
        """Return the seconds from ``since`` until the crate acted on a write; infinity if it did not."""
        return next((m - since for m, *write in self.writes if m >= since and write == [label, value]), math.inf)

    def oldest(self, labels: Sequence[str], begin: float, end: float) -> float:
        """Return the longest time from one reading of any of these to the next, within a span."""
        return max((_gap(self.times.get(label, []), begin, end) for label in labels), default=math.nan)


def _gap(times: Sequence[float], begin: float, end: float) -> float:
    """Return the longest time without one of these, within a span, from the first of them on."""
    before = [each for each in times if each <= begin][-1:]
    marks = [*before, *(each for each in times if begin < each < end), end]
    return max((b - a for a, b in itertools.pairwise(marks)), default=math.inf)


def main(
    seconds: Annotated[float, typer.Option(min=1, help="Length of a measurement after the first 20 s.")] = 60.0,
    only: Annotated[str, typer.Option(help="Numbers of the cases, with commas between; all if not given.")] = "",
    patience: Annotated[float, typer.Option(help="Seconds for all to be served and true.")] = 180.0,
) -> None:
    """Serve crates of 84 and of 768 channels whose calls take 5 to 50 ms: ages, start, puts, Off, CPU."""
    contest.clean_up_when_terminated()
    chosen = [CASES[int(each)] for each in only.split(",")] if only else CASES
    rows = []
    for case in chosen:
        typer.echo(case.title, err=True)
        try:
            rows.append(TableRow(case.title, [measure(case, seconds, patience)]))
        except (Failed, ConnectionError, TimeoutError) as error:
            rows.append(TableRow(case.title, reason=f"failed: {error}"))
    table.show(f"crate: calls that take time, {seconds:g} s", COLUMNS, rows, None, GOAL, head="crate")


def measure(case: Case, seconds: float, patience: float) -> Figures:
    """Measure with a client that watches all PVs of channels, and puts when all is served."""
    with serving(case) as (pid, port, path), Circuit(port) as circuit, Circuit(port) as putter:
        began = time.monotonic(), time.time()
        reads, truth = Reads(path), _truth(path)
        screen = Screen(circuit, truth)
        true_after = screen.wait(began[1], patience, reads.look)
        begin, cpu = time.monotonic(), _cpu(pid, path)
        begin = max(begin, began[0] + BEGINNING)
        while (left := begin + seconds - time.monotonic()) > 0:
            collect([circuit], min(LOOK, left))
            reads.look()
        end, used = time.monotonic(), _cpu(pid, path) - cpu
        return {
            "records": len(screen.names),
            "call": 1e3 * case.full_call,
            "pass": case.full_call * len(reads.calls),
            "scan": screen.newest(f"{PREFIX}{NAME}:ScanTime") / 1e3,
            "true": true_after,
            "monitor": reads.oldest(screen.shown(monitors=True), began[0] + BEGINNING, end),
            "setting": reads.oldest(screen.shown(monitors=False), began[0] + BEGINNING, end),
            "cpu": used / (end - begin),
            **_puts(circuit, putter, reads, case),
        }


class Screen:
    """All PVs of channels with their monitors, as they come; ``truth``: what each has to show."""

    def __init__(self, circuit: Circuit, truth: Mapping[str, float]) -> None:
        self._circuit = circuit
        self.truth = {f"{PREFIX}{NAME}:{label}": value for label, value in truth.items()}
        self.names: list[str] = [f"{PREFIX}{NAME}:ScanTime"]
        circuit.subscribe(circuit.connect(self.names))
        # a channel of its own, of another type, for the list of PVs
        (self._list,) = circuit.connect([f"{PREFIX}IOC:PVList.VAL$"])
        self._numbers = {self.names[0]: 0}

    def wait(self, began: float, patience: float, look: Callable[[], None]) -> float:
        """Return the seconds until each PV was valid and true for the first time; infinity if that took too long."""
        while time.time() < began + patience:
            collect([self._circuit], LOOK)
            look()
            self._connect()
            if self.truth.keys() <= self._numbers.keys() and (when := self._all_true()) < math.inf:
                return when - began
        return math.inf

    def newest(self, name: str) -> float:
        """Return the last value of a PV."""
        updates = self._circuit.updates()
        return float(updates.value[updates.channel == self._numbers[name]][-1])

    def shown(self, *, monitors: bool) -> list[str]:
        """Return the labels of what is valid in the end, measured values or settings."""
        updates = self._circuit.updates()
        severities = np.full(max(self._numbers.values()) + 1, 3)
        severities[updates.channel] = updates.severity
        head = len(PREFIX + NAME) + 1
        return [
            name[head:].removesuffix("_RBV")
            for name, number in self._numbers.items()
            if name in self.truth and severities[number] < 3 and (name[head:][8:] in MONITORS) == monitors
        ]

    def _connect(self) -> None:
        text = self._circuit.get(self._list, DBR_CHAR, 0).rstrip(b"\0").decode()
        new = [name for name in text.split("\n") if name in self.truth and name not in self._numbers]
        if new:
            numbers = self._circuit.connect(new)
            self._circuit.subscribe(numbers)
            self._numbers |= dict(zip(new, numbers, strict=True))
            self.names += new

    def _all_true(self) -> float:
        """Return when the last PV came to be true (s since 1970); infinity as long as one is not."""
        updates = self._circuit.updates()
        size = max(self._numbers.values()) + 1
        wanted = np.full(size, np.nan)
        for name, value in self.truth.items():
            wanted[self._numbers[name]] = value
        good = (updates.severity < 3) & (np.abs(updates.value - wanted[updates.channel]) <= NOISE)
        first = np.full(size, np.inf)
        np.minimum.at(first, updates.channel[good], updates.received[good])
        return float(first[~np.isnan(wanted)].max())


def _puts(circuit: Circuit, putter: Circuit, reads: Reads, case: Case) -> dict[str, float]:
    """Put voltages and Off to channels of all boards while everything is scanned."""
    draw = random.Random(1)
    places = [(slot, channel) for slot in range(case.boards) for channel in range(case.channels)]
    chosen = [f"S{slot:02d}:C{channel:02d}" for slot, channel in draw.sample(places, PUTS)]
    voltage: list[float] = []
    off: list[float] = []
    heard: list[float] = []
    failed = 0
    for place in chosen:
        for name, value, times in (("V0Set", 900.0, voltage), ("Pw", 0.0, off)):
            (number,) = putter.connect([f"{PREFIX}{NAME}:{place}:{name}"])
            began = time.monotonic()
            took, done = _put(circuit, putter, number, value)
            times.append(took)
            failed += not done
            if name == "Pw":
                reads.look()
                heard.append(reads.heard(f"{place}:Pw", "0", began) / case.full_call)
            collect([circuit], draw.uniform(0.2, 1.5))
            reads.look()
    return {
        "put": median(voltage),
        "worst_put": max(voltage),
        "off": median(off),
        "worst_off": max(off),
        "heard": median(heard),
        "worst_heard": max(heard),
        "failed": failed,
    }


def _put(circuit: Circuit, putter: Circuit, number: int, value: float) -> tuple[float, bool]:
    """Put, and go on reading the monitors; returns the seconds until the answer, and whether it was good."""
    outcome: dict[str, float] = {}

    def answered() -> bool:
        if putter.put_done(ioid):
            outcome["took"] = time.monotonic() - began
        return bool(outcome)

    began = time.monotonic()
    ioid = putter.start_put(number, value)
    try:
        collect([circuit, putter], PUT_TIME, answered)
    except ConnectionError:  # refused
        return time.monotonic() - began, False
    return outcome.get("took", math.inf), bool(outcome)


def _truth(path: str) -> dict[str, float]:
    """Return what the PVs of channels have to show, by label; a setting stands for its readback, too."""
    labels: dict[str, float] = json.loads(control.send(path, f"{NAME} truth"))
    return labels | {f"{label}_RBV": value for label, value in labels.items() if label[8:] not in MONITORS}


def _cpu(pid: int, path: str) -> float:
    """Return the processor time of the IOC without that of the simulated crate (s)."""
    return servers.cpu(pid) - float(control.send(path, f"{NAME} cpu"))


@contextmanager
def serving(case: Case) -> Iterator[tuple[int, int, str]]:
    """Yield process id, TCP port and control socket of an IOC in front of a crate."""
    numbers: list[Any] = [case.boards, case.channels, case.ms, case.ms_channel]
    command = [sys.executable, "-P", "-m", "bench.rig.crate", *map(str, numbers)]
    own = servers.environment()
    with tempfile.TemporaryDirectory() as folder, servers.launch(command, folder, own) as (process, _):
        port = search(int(own["EPICS_CA_SERVER_PORT"]), f"{PREFIX}IOC:HEARTBEAT", START)
        yield process.pid, port, str(Path(folder) / CONTROL)


if __name__ == "__main__":
    typer.run(main)
