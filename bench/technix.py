"""Status cycles of the Technix driver on an emulated 9600-baud line, compared with what the line can carry."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
import yaml

from bench.rig import contest, servers
from bench.rig.contest import Rounds, Seconds
from bench.rig.servers import RACKIOC, Failed
from bench.rig.table import Column, Figures
from sim.technix.fake import CHARACTER, TechnixFake
from sim.technix.generator import Generator

# Seconds: the shortest that a configuration may ask for, and shorter than a cycle on the line
PERIOD = 0.02
# Seconds for the IOC to connect, and before the measurement begins
START = 30.0
SETTLE = 1.0
COLUMNS = (
    Column("cycles", "cycles/s", 2),
    Column("limit", "limit of the line, cycles/s", 2),
    Column("share", "of the limit", 3),
    Column("longest", "longest silence, ms", 1),
    Column("cpu", "IOC, cores", 3),
)
GOAL = "at least 0.9 of what the line can carry"


class Counter(TechnixFake):
    """A generator that counts what goes over its line. A cycle is one question E, one a1 and one a2."""

    def __init__(self, port: str, generator: Generator) -> None:
        super().__init__(port, generator)
        self.cycles = 0
        self.characters = 0
        self.longest = 0.0
        self._last = time.monotonic()

    def record(self, transaction: str) -> None:
        """Count a command and its answer, given as ``command -> answer``."""
        command, _, answer = transaction.partition(" -> ")
        self.cycles += command == "E"
        self.characters += len(command) + len(answer) + 2  # each ends with a carriage return
        now = time.monotonic()
        self.longest, self._last = max(self.longest, now - self._last), now


def main(rounds: Rounds = 3, seconds: Seconds = 20) -> None:
    """Measure Technix status cycles a second at full poll on an emulated 9600-baud line."""
    contest.run(f"technix: full poll, {seconds:g} s", [RACKIOC], rounds, lambda _: measure(seconds), COLUMNS, GOAL)


def measure(seconds: float) -> Figures:
    """Measure with a generator that is on, so that its readings have as many digits as they can."""
    generator = Generator(full_kv=100, full_ma=10, set_kv=60, kv=60, on=True, local=False)
    with tempfile.TemporaryDirectory() as folder:
        fake = Counter(str(Path(folder) / "line"), generator)
        fake.plug()
        try:
            with ioc(Path(folder), fake) as pid:
                fake.cycles = fake.characters = 0
                fake.longest = 0.0
                begin, used = time.monotonic(), servers.cpu(pid)
                time.sleep(seconds)
                lasted = time.monotonic() - begin
                cycles, characters, longest = fake.cycles, fake.characters, fake.longest
                used = servers.cpu(pid) - used
        finally:
            fake.unplug()
    limit = cycles / (characters * CHARACTER)
    return {
        "cycles": cycles / lasted,
        "limit": limit,
        "share": cycles / lasted / limit,
        "longest": 1e3 * longest,
        "cpu": used / lasted,
    }


@contextmanager
def ioc(folder: Path, fake: Counter) -> Iterator[int]:
    """Yield the id of the process of rackioc, which polls the generator."""
    keys = {
        "driver": "technix",
        "port": fake.port,
        "full_scale": {"voltage_kv": 100, "current_ma": 10},
        "scan": {"status": PERIOD},
    }
    config = folder / "rack.yaml"
    config.write_text(yaml.safe_dump({"prefix": "B:", "instruments": {"GEN": keys}}))
    command = [sys.executable, "-P", "-m", "rackioc", "ioc", str(config)]
    with servers.launch(command, str(folder), servers.environment()) as (process, _):
        deadline = time.monotonic() + START
        while not fake.cycles:
            if time.monotonic() > deadline:
                raise Failed(f"the generator was not polled within {START:g} s")
            time.sleep(0.05)
        time.sleep(SETTLE)
        yield process.pid


if __name__ == "__main__":
    typer.run(main)
