"""What must not cost a row: a MariaDB server that stops, hangs, is killed, or takes the archiver's rights away."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from archiver.sample import Gap
from bench.rig.mariadb import USER, Server
from tests.archiver.processes import Ioc
from tests.system.faults.archiver import Archiver
from tests.system.faults.counting import SLOW
from tests.system.faults.proxy import Proxy, proxy_to
from tests.system.faults.rows import MariadbDatabase, check_complete, gaps, stretches

DATABASE = "archive"
# Numbers that come in each second
RATE = len(SLOW)

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def archive(own_server: Server) -> MariadbDatabase:
    return MariadbDatabase(own_server, DATABASE)


@pytest.fixture
def archiver(archiver: Archiver, ioc: Ioc, own_server: Server) -> Archiver:
    """Not started yet; the IOC runs."""
    archiver.database = own_server.create(DATABASE)
    return archiver


@pytest.fixture
def proxy(archiver: Archiver, own_server: Server) -> Iterator[Proxy]:
    """Between the archiver and its server."""
    with proxy_to(own_server.port) as proxy:
        archiver.database = archiver.database.replace(f":{own_server.port}/", f":{proxy.port}/")
        yield proxy


def start(archiver: Archiver) -> None:
    """Returns when all PVs are connected."""
    archiver.start(SLOW)
    archiver.wait_connected()


@pytest.mark.parametrize("seconds", [6, pytest.param(60, marks=pytest.mark.slow)])
def test_a_server_that_is_away_and_then_killed(
    archiver: Archiver, own_server: Server, archive: MariadbDatabase, seconds: float
) -> None:
    start(archiver)
    archiver.wait_stored()
    own_server.stop()
    time.sleep(seconds)
    archiver.wait(lambda: archiver.spooled >= RATE * (seconds - 4))
    assert archiver.health.database == "away"
    own_server.start()
    archiver.wait(lambda: archiver.health.database == "ok")
    own_server.kill9()
    archiver.wait(lambda: archiver.health.database == "away")
    own_server.start()
    archiver.wait_stored()
    check_complete(archive, archiver.stop(), SLOW)


@pytest.mark.alone
@pytest.mark.slow
def test_live_samples_do_not_wait_for_the_spool(
    archiver: Archiver, own_server: Server, archive: MariadbDatabase, proxy: Proxy
) -> None:
    start(archiver)
    archiver.wait_stored()
    own_server.stop()
    archiver.wait(lambda: archiver.spooled > 8 * RATE)
    proxy.rate = 400e3  # twice of what comes in, about
    own_server.start()
    archiver.wait(lambda: archive.newest() > time.time() - 3 and archiver.spooled > 4 * RATE)
    archiver.wait_stored()
    check_complete(archive, archiver.stop(), SLOW)


def test_a_connection_that_is_cut_at_a_commit(archiver: Archiver, archive: MariadbDatabase, proxy: Proxy) -> None:
    """After it, before it, and both again: what was committed is sent twice, what was not is sent once more."""

    def wait_cuts(number: int) -> None:
        archiver.wait(lambda: proxy.cuts == number)

    start(archiver)
    archiver.wait_stored()
    for number, cut in enumerate([proxy.cut_after_commit, proxy.cut_before_commit] * 2, 1):
        cut()
        wait_cuts(number)
    archiver.wait_stored()
    check_complete(archive, archiver.stop(), SLOW)
    assert "samples wait in" in archiver.log


@pytest.mark.alone
@pytest.mark.slow
def test_a_server_that_does_not_answer(archiver: Archiver, archive: MariadbDatabase, proxy: Proxy) -> None:
    start(archiver)
    archiver.wait_stored()
    before = archiver.memory
    proxy.freeze()
    frozen = time.monotonic()
    archiver.wait(lambda: archiver.spooled)
    assert time.monotonic() - frozen < 5
    queues = []
    while time.monotonic() < frozen + 6:
        queues.append(archiver.health.queue)
        time.sleep(0.2)
    assert archiver.health.database == "slow"
    assert max(queues) <= 3 * RATE
    assert archiver.memory - before < 30e6
    assert archiver.spooled > 3 * RATE
    proxy.thaw()
    archiver.wait_stored()
    check_complete(archive, archiver.stop(), SLOW)


@pytest.mark.slow
def test_an_archiver_that_starts_while_the_server_does_not_answer(
    archiver: Archiver, archive: MariadbDatabase, proxy: Proxy
) -> None:
    proxy.freeze()
    began = time.monotonic()
    start(archiver)
    assert time.monotonic() - began < 15
    archiver.wait(lambda: archiver.spooled)
    proxy.thaw()
    archiver.wait_stored()
    check_complete(archive, archiver.stop(), SLOW)


@pytest.mark.slow
def test_rights_that_are_taken_away_and_given_back(
    archiver: Archiver, own_server: Server, archive: MariadbDatabase
) -> None:
    start(archiver)
    archiver.wait_stored()
    own_server.execute(f"REVOKE INSERT ON {DATABASE}.* FROM {USER}", *disconnections(own_server))
    archiver.wait(lambda: archiver.spooled > 3 * RATE)
    assert "INSERT command denied" in archiver.health.last_error
    own_server.execute(f"GRANT INSERT ON {DATABASE}.* TO {USER}")
    archiver.wait_stored()
    check_complete(archive, archiver.stop(), SLOW)
    assert archiver.log.count("INSERT command denied") == 1


@pytest.mark.slow
@pytest.mark.parametrize("kills", [1, 2])
def test_an_archiver_that_is_killed_while_the_server_is_away(
    archiver: Archiver, own_server: Server, archive: MariadbDatabase, kills: int
) -> None:
    def wait_spooled(count: float) -> None:
        archiver.wait(lambda: archiver.spooled > count)

    start(archiver)
    archiver.wait_stored()
    own_server.stop()
    killed_ns = []
    for _ in range(kills):
        wait_spooled(archiver.spooled + 2 * RATE)
        killed_ns.append(archiver.kill())
        time.sleep(1.5)  # so that no number is seen by both
        start(archiver)
    archiver.wait(lambda: archiver.health.stored == 0 and archiver.health.spool_rows)
    own_server.start()
    archiver.wait_stored()
    archiver.stop()
    pvs = stretches(archive, SLOW).values()
    assert [gaps(parts) for parts in pvs] == [[Gap.ARCHIVE_OFF] * (kills + 1)] * len(pvs)
    for number, when_ns in enumerate(killed_ns):
        newest_ns = max(parts[number].times_ns[-1] for parts in pvs)
        for parts in pvs:
            before, after = parts[number : number + 2]
            assert before.numbers[-1] < after.numbers[0]
            assert when_ns - 3 * 10**9 < before.times_ns[-1] < before.gap_ns
            assert before.gap_ns < newest_ns + 10**8 < after.times_ns[0]


def disconnections(server: Server) -> list[str]:
    """A right on a database is looked up when a connection is made."""
    found = server.execute(f"SELECT id FROM information_schema.processlist WHERE user = '{USER}'")
    return [f"KILL {number}" for (number,) in found]
