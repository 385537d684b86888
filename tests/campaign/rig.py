"""The rig of a campaign: the IOC with its simulated instruments as a process, its clients, and the record of all."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.rig.client import Circuit, search
from sim.events import Event
from tests.campaign.clients import Putters, Watcher
from tests.campaign.faults import CURE, RESET
from tests.campaign.instruments import HEAL, INSTRUMENTS, REST, VITAL
from tests.campaign.plan import CLIENTS, Case, PutStep
from tests.campaign.recording import CaseRun, Recording
from tests.campaign.rules import writes
from tests.system.conftest import Ioc, Racks

# Seconds between two looks at a fake's events, at the list of PVs, and between two gets of the probe
LOOK, LIST, PROBE = 0.1, 2.0, 0.1
# Seconds that puts which prepare a case may take
PREPARED = 8.0
# Seconds in which all instruments come up, and in which no further PV becomes valid then
UP, STEADY = 60.0, 5.0


class Rig:
    """A running IOC, its clients, and what is known of the run so far."""

    def __init__(self, folder: Path, drivers: Sequence[str]) -> None:
        self.names = {driver: INSTRUMENTS[driver][0] for driver in drivers}
        self.recording = Recording({self.names[driver]: driver for driver in drivers})
        self._racks = Racks(folder)
        self._stop = threading.Event()
        self.ioc: Ioc = self._racks.start({INSTRUMENTS[driver][0]: INSTRUMENTS[driver][1] for driver in drivers})
        for name in self.recording.drivers:
            self.ioc.fault(f"{name} watch")
            self.recording.events[name] = []
        self._next = dict.fromkeys(self.recording.drivers, 0)
        self.watcher = Watcher(self.ioc.prefix, self._broke)
        self.recording.updates = self.watcher.updates
        self.putters = Putters(CLIENTS, self.ioc.prefix, folder / "clients.log", self._broke)
        self.recording.puts = self.putters.puts
        self._threads = [
            threading.Thread(target=each, args=args, daemon=True)
            for each, *args in (
                (self._every, LOOK, self._look),
                (self._every, LIST, self.watcher.watch_all),
                (self._probe,),
            )
        ]
        for thread in self._threads:
            thread.start()

    def missing(self, driver: str) -> list[str]:
        """Return what clients see that is wrong with an instrument: not connected, or not read."""
        return self.recording.missing(self.names[driver], VITAL[driver])

    def begin(self) -> None:
        """Wait until all instruments are well, and note what is valid. Raises RuntimeError if they do not come up."""
        deadline = time.monotonic() + UP
        since = 0.0
        before: dict[str, frozenset[str]] = {}
        while time.monotonic() < since + STEADY or any(map(self.missing, self.names)):
            if time.monotonic() > deadline:
                raise RuntimeError(f"the instruments do not come up:\n{self.ioc.logged()}")
            time.sleep(0.1)
            valid = {name: self.recording.valid(name) for name in self.names.values()}
            if valid != before:
                since, before = time.monotonic(), valid
        self.recording.start = before

    def run(self, case: Case) -> CaseRun:
        """Run a case: prepare, carry out its steps, cure, and wait until all is well."""
        name = self.names[case.driver]
        run = CaseRun(case, time.monotonic(), float("inf"))
        self.recording.runs.setdefault(name, []).append(run)
        for line in RESET[case.driver]:
            self._fault(name, line)
        self._prepare(name, case)
        run.faulted = time.monotonic()
        for step in case.steps:
            time.sleep(step.after)
            if isinstance(step.act, PutStep):
                put = step.act
                self.putters.put(put.client, f"{name}:{put.point}", put.value, wait=put.wait)
            else:
                self._fault(name, step.act)
        time.sleep(0.3)
        self._cure(name, case)
        run.cured = time.monotonic()
        self._settle(run)
        return run

    def close(self) -> None:
        """Stop all, and complete the recording."""
        self.recording.end = time.monotonic()
        if self.ioc.process.poll() is not None:
            self._broke(f"the IOC ended with code {self.ioc.process.returncode}")
        self._stop.set()
        for thread in self._threads:
            thread.join(5)
        with suppress(OSError):
            self._look()
        self.putters.close()
        self.ioc.stop()
        log = self.ioc.logged()
        for mark in ("Traceback", " ERROR "):
            if mark in log:
                self._broke(f"the log has an internal error: {log[log.index(mark) :][:2000]}")

    def _prepare(self, name: str, case: Case) -> None:
        for point, value in case.prepare:
            put = self.putters.put(0, f"{name}:{point}", value, wait=True)
            self.putters.wait([put], PREPARED)

    def _fault(self, name: str, line: str) -> None:
        try:
            self.ioc.fault(f"{name} {line}")
        except Exception as error:
            if "SLOTNOTPRES" not in str(error):
                self._broke(f"{name} {line}: {error}")

    def _cure(self, name: str, case: Case) -> None:
        for line in CURE[case.driver]:
            self._fault(name, line)

    def _settle(self, run: CaseRun) -> None:
        """Wait until the instrument is well for good; what is not well in time is told by the rules."""
        rest = max(REST[run.case.driver], run.case.fault.noticed)
        deadline = run.cured + HEAL + rest
        since = None
        while time.monotonic() < deadline and not run.settled and not self._stop.is_set():
            time.sleep(0.05)
            run.missing = tuple(self.missing(run.case.driver))
            since = None if run.missing else since or time.monotonic()
            if since and time.monotonic() - since > rest:
                run.settled, run.well = True, since
        self._await_offs(run)
        run.ended = time.monotonic()

    def _await_offs(self, run: CaseRun) -> None:
        """Leave each Off the time that it has: what the next case puts must not carry it out instead."""
        name = self.names[run.case.driver]
        while not self._stop.is_set():
            self.recording.end = time.monotonic()
            waiting = [
                put
                for put in self.recording.puts
                if put.asked >= run.faulted and writes.waits(self.recording, name, put)
            ]
            if not waiting:
                return
            time.sleep(0.3)

    def _broke(self, sentence: str) -> None:
        if not self._stop.is_set():
            self.recording.broken.append((time.monotonic(), sentence))

    def _every(self, seconds: float, action: Callable[[], None]) -> None:
        while not self._stop.wait(seconds):
            try:
                action()
            except Exception as error:
                self._broke(f"{action.__name__} failed: {error!r}")

    def _look(self) -> None:
        for name in self.recording.drivers:
            page = json.loads(self.ioc.fault(f"{name} events {self._next[name]}"))
            if page["first"] != self._next[name]:
                self._broke(f"{name}: events of the simulation were lost")
            self._next[name] = page["next"]
            self.recording.events[name] += [Event(*each) for each in page["events"]]

    def _probe(self) -> None:
        """Measure how long the IOC takes to answer a get."""
        port = search(int(os.environ["EPICS_CA_SERVER_PORT"]), self.ioc("IOC:HEARTBEAT"), 20)
        with Circuit(port) as circuit:
            (number,) = circuit.connect([self.ioc("IOC:HEARTBEAT")])
            while not self._stop.wait(PROBE):
                began = time.monotonic()
                try:
                    circuit.get(number, timeout=60)
                except (ConnectionError, TimeoutError) as error:
                    self._broke(f"the probe: {error}")
                    return
                self.recording.delays.append((began, time.monotonic() - began))


@contextmanager
def running(folder: Path, drivers: Sequence[str]) -> Iterator[Rig]:
    """Yield a rig whose instruments are all well; raises RuntimeError if they do not come."""
    rig = Rig(folder, drivers)
    try:
        rig.begin()
        yield rig
    finally:
        rig.close()
