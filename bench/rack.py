"""The whole rack end to end: simulated instruments on the real wire, the archiver, and two screens."""

from __future__ import annotations

import json
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import typer

from bench.rig import contest, servers
from bench.rig.client import DBR_CHAR, Circuit, collect, search
from bench.rig.contest import Count, Rounds, Seconds
from bench.rig.servers import RACKIOC, Failed
from bench.rig.table import Column, Figures

# The simulated rack, as the command line of rackioc, and what the names of its PVs begin with
COMMAND = ("sim", "demo", "--large")
PREFIX = "LARGE:"
SCREENS = 2
ON_A_SCREEN = (":VMon", ":IMon", ":Status")
# Seconds for the rack to serve all
START = 60.0
# Seconds without a new PV after which the rack counts as complete: boards come one by one
SETTLED = 15.0
# Seconds between the screens' first values and the measurement
SETTLE = 5.0
# Seconds between two looks at the generator's silence
LOOK = 0.05
# Seconds of the generator's watchdog
WATCHDOG = 5.0
COLUMNS = (
    Column("records", "PVs", 0),
    Column("shown", "PVs on a screen", 0),
    Column("cpu", "IOC and simulation, cores", 3),
    Column("loop", "of it the event loop, cores", 3),
    Column("archiver", "archiver, cores", 3),
    Column("overruns", "overruns", 0),
    Column("gap", "generator's longest silence, s", 2),
    Column("margin", "the same from WD:Margin, s", 2),
    Column("p99", "screens' latency 99 %, ms", 1),
)
GOAL = "IOC < 0.25 core; no overruns; the generator's longest silence < 1.5 s"


@dataclass(frozen=True)
class RunningRack:
    """A rack that is served."""

    pid: int
    port: int
    control: Path

    def cpu(self) -> Figures:
        """Return the seconds of processor time so far, by process."""
        archiver = [each.pid for each in psutil.Process(self.pid).children() if _archives(each)]
        if len(archiver) != 1:
            raise Failed(f"{len(archiver)} archivers are running, not one")
        return {
            "cpu": servers.cpu(self.pid),
            "loop": servers.thread_cpu(self.pid),
            "archiver": servers.cpu(archiver[0]),
        }


def _archives(process: psutil.Process) -> bool:
    return "archive" in process.cmdline()


class WatchedGenerator:
    """The simulated generator as its control channel shows it.

    ``longest_silence`` is the longest time without a command that its watchdog had (s).
    """

    def __init__(self, path: Path) -> None:
        self.longest_silence = 0.0
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._stream = self._socket.makefile("rw", encoding="utf-8")
        instruments = dict(each.split(":") for each in self._ask("list").split())
        self.name = next(name for name, driver in instruments.items() if driver == "technix")

    def __enter__(self) -> WatchedGenerator:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._socket.close()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Read its silence over and over in a thread, until the block ends."""
        done = threading.Event()
        thread = threading.Thread(target=self._watch, args=(done,), daemon=True)
        thread.start()
        yield
        done.set()
        thread.join()

    def _watch(self, done: threading.Event) -> None:
        while not done.wait(LOOK):
            silence = json.loads(self._ask(f"{self.name} state"))["silence"]
            self.longest_silence = max(self.longest_silence, silence)

    def _ask(self, line: str) -> str:
        self._stream.write(line + "\n")
        self._stream.flush()
        verdict, _, text = self._stream.readline().strip().partition(" ")
        if verdict != "ok":
            raise Failed(f"the simulation answered: {text}")
        return text


def main(rounds: Rounds = 3, seconds: Seconds = 60, count: Count = 1000) -> None:
    """Serve the simulated rack, archiver, and two screens of --count PVs: CPU, overruns, generator's keep-alive."""
    contest.run(
        f"rack: rackioc {' '.join(COMMAND)}, {SCREENS} screens, {seconds:g} s",
        [RACKIOC],
        rounds,
        lambda _: measure(count, seconds),
        COLUMNS,
        GOAL,
    )


def measure(count: int, seconds: float) -> Figures:
    """Measure with two screens of so many PVs, once the rack is complete."""
    with running() as rack, ExitStack() as stack:
        circuit, *screens = (stack.enter_context(Circuit(rack.port)) for _ in range(1 + SCREENS))
        names = _complete(circuit)
        shown = [name for name in names if name.endswith(ON_A_SCREEN)][:count]
        for screen in screens:
            screen.subscribe(screen.connect(shown))
            screen.wait_for_first_values(START)
        counters = circuit.connect([name for name in names if name.endswith(":Overruns")])
        generator = stack.enter_context(WatchedGenerator(rack.control))
        margin = circuit.connect([f"{PREFIX}{generator.name}:WD:Margin"])[0]
        collect(screens, SETTLE)
        before, overruns, begin = rack.cpu(), _sum(circuit, counters), time.time()
        with generator.watched():
            collect(screens, seconds)
        end, after = time.time(), rack.cpu()
        return {
            **{key: (after[key] - before[key]) / (end - begin) for key in after},
            "records": len(names),
            "shown": len(shown),
            "overruns": _sum(circuit, counters) - overruns,
            "gap": generator.longest_silence,
            "margin": WATCHDOG - _number(circuit, margin),
            "p99": max(screen.updates().between(begin, end).latency(0.99) for screen in screens),
        }


@contextmanager
def running() -> Iterator[RunningRack]:
    """Yield the rack, from the moment when it answers."""
    command = [sys.executable, "-P", "-m", "rackioc", *COMMAND, "--control-path", "control"]
    environment = servers.environment()
    with tempfile.TemporaryDirectory() as folder, servers.launch(command, folder, environment) as (process, _):
        port = search(int(environment["EPICS_CA_SERVER_PORT"]), f"{PREFIX}IOC:HEARTBEAT", START)
        yield RunningRack(process.pid, port, Path(folder) / "control")


def _complete(circuit: Circuit) -> list[str]:
    """Return the names of all PVs, once no more come."""
    (pv_list,) = circuit.connect([f"{PREFIX}IOC:PVList.VAL$"])
    names: list[str] = []
    since = time.monotonic()
    while time.monotonic() < since + SETTLED:
        time.sleep(0.5)
        now = circuit.get(pv_list, DBR_CHAR, 0).rstrip(b"\0").decode().split("\n")
        if len(now) != len(names):
            names, since = now, time.monotonic()
    return names


def _sum(circuit: Circuit, numbers: range) -> float:
    return sum(_number(circuit, number) for number in numbers)


def _number(circuit: Circuit, number: int) -> float:
    value: float = struct.unpack(">d", circuit.get(number)[:8])[0]
    return value


if __name__ == "__main__":
    typer.run(main)
