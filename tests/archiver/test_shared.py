"""Two racks and a redundant pair on one MariaDB while each is killed, stopped and started again and again.

For five minutes: ``RACKIOC_SHARED_SECONDS=300 pytest -m slow --log-cli-level=INFO tests/archiver/test_shared.py``.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import cycle, pairwise
from pathlib import Path

import pytest

from archiver.sample import Sample, is_gap
from archiver.storage.database import open_reader
from archiver.storage.manage import init
from tests.archiver.processes import Archiver, Ioc, Wait

LOG = logging.getLogger(__name__)

SECONDS = float(os.environ.get("RACKIOC_SHARED_SECONDS", "15"))
# Seconds for which an archiver stays away, and from then to the next end of one
AWAY, PAUSE = (0.0, 4.0), (1.5, 4.0)
# Seconds for which the first rack keeps its rows
KEEP = 8
# Seconds before its end of which a killed archiver may have told nothing: it commits each second
LATE = 2.5
# PVs that each archiver keeps
KINDS = {"one": "One", "two": "Two", "left": "Both", "right": "Both"}
PVS = {kind: [f"T:{kind}:{number}" for number in range(3)] for kind in KINDS.values()}


@dataclass
class Rack:
    """An archiver that is ended and started; ``away``: from when to when, in s since 1970, it may not archive."""

    archiver: Archiver
    name: str
    database: str
    away: list[tuple[float, float]] = field(default_factory=list)

    def start(self, wait: Wait) -> None:
        """Return when it is connected to its PVs."""
        keys: dict[str, object] = {"policies": {"*": {"keep": f"{KEEP}s"}}} if self.name == "one" else {}
        before = self._connections() if self.away else 0
        self.archiver.start(*PVS[KINDS[self.name]], name=self.name, database=self.database, **keys)
        wait(lambda: self._connections() > before)

    def restart(self, how: signal.Signals, pause: float, wait: Wait) -> None:
        """End it and start it again."""
        began = time.time() - (LATE if how is signal.SIGKILL else 0.0)
        self.away.append((began, began))
        self.archiver.signal(how)
        time.sleep(pause)
        self.start(wait)
        self.away[-1] = began, time.time()

    def gaps_are_its_own(self, rows: list[Sample]) -> bool:
        """Return True if there is no gap, marked or not, but when it was away."""
        gaps = [row.time_ns / 1e9 for row in rows if is_gap(row)]
        numbers = [(row.time_ns / 1e9, row.value) for row in rows if isinstance(row.value, float)]
        gaps += [at for (at, value), (_, after) in pairwise(numbers) if after - value not in {0.0, 1.0}]
        return all(any(begin - 0.2 <= at <= end for begin, end in self.away) for at in gaps)

    def _connections(self) -> int:
        return self.archiver.log.count("3 of 3 PVs connected")


def read(database: str, pv: str) -> list[Sample]:
    with closing(open_reader(database)) as reader:
        return list(reader.samples([pv], 0, 2**63 - 1)) if pv in reader.names() else []


@pytest.fixture
def racks(tmp_path: Path, environment: dict[str, str], mysql_database: str) -> Iterator[dict[str, Rack]]:
    for name in KINDS:
        (tmp_path / name).mkdir()
    racks = {name: Rack(Archiver(tmp_path / name, environment), name, mysql_database) for name in KINDS}
    yield racks
    for rack in racks.values():
        rack.archiver.stop()


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 300)
def test_racks_and_a_redundant_pair_on_one_server_leave_each_other_whole(
    ioc: Ioc, racks: dict[str, Rack], mysql_database: str, wait: Wait
) -> None:
    init(mysql_database)
    tick = 'field(CALC, "VAL+1") field(SCAN, ".1 second") field(PINI, "YES")'
    ioc.start("\n".join(f'record(calc, "{pv}") {{ {tick} }}' for pvs in PVS.values() for pv in pvs))
    for rack in racks.values():
        rack.start(wait)
    wait(lambda: all(len(read(mysql_database, pv)) > 20 for pvs in PVS.values() for pv in pvs))
    firsts = {pv: read(mysql_database, pv)[0] for kind in ("Two", "Both") for pv in PVS[kind]}
    choice, turns = random.Random(1), cycle(racks.values())
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        how = choice.choice([signal.SIGKILL, signal.SIGTERM])
        next(turns).restart(how, choice.uniform(*AWAY), wait)
        time.sleep(choice.uniform(*PAUSE))
    racks["one"].restart(signal.SIGTERM, KEEP, wait)
    kept_ns = int((racks["one"].away[-1][0] - LATE) * 1e9)
    wait(lambda: all(row.time_ns > kept_ns for row in read(mysql_database, "T:One:0")[1:]))
    for rack in racks.values():
        rack.archiver.signal(signal.SIGTERM)

    for name in ("one", "two"):
        for pv in PVS[KINDS[name]]:
            assert racks[name].gaps_are_its_own(read(mysql_database, pv)[:-1]), pv
    for pv, first in firsts.items():  # what one of them deletes is its own
        assert read(mysql_database, pv)[0] == first
    for pv in PVS["Both"]:  # one of the two was always there
        *rows, last = read(mysql_database, pv)
        assert is_gap(last)
        assert not [row for row in rows if is_gap(row)]
        numbers = [row.value for row in rows if isinstance(row.value, float)]
        assert {after - before for before, after in pairwise(numbers)} <= {0.0, 1.0}
    restarts = {name: len(rack.away) for name, rack in racks.items()}
    LOG.info("restarts: %s; rows of T:Two:0: %d", restarts, len(read(mysql_database, "T:Two:0")))
